//! Values that have several forms or parts, and defaults that other modules use too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::users::UsersFrom;

/// Where streams are sent, and looked for, by default.
pub const DEFAULT_GROUP: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 3, 29, 71)), 10_000);

/// Where the status page listens by default: only this host can see it.
pub const DEFAULT_STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where RTSP is served by default: to every machine, at the port that players try.
pub const DEFAULT_RTSP: SocketAddr =
    SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 8554);
/// The most repair that `Auto` sends by default, in repair packets per packet.
pub const REPAIR_AUTO_MAX: f32 = 0.5;

/// How repair packets (FEC) are made for a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Repair {
    /// None.
    #[default]
    Off,
    /// This many repair packets for each packet of the frame, above 0 and up to 1.
    Fixed(f32),
    /// As many as the viewers' reports ask for.
    Auto {
        /// At most this many for each packet of the frame, above 0 and up to 1.
        max: f32,
    },
}

/// What to reduce when the network is full.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Adapt {
    /// Nothing: every frame is sent.
    #[default]
    Off,
    /// The frame rate.
    FrameRate {
        /// Never below this many frames a second.
        min: f64,
    },
}

/// The status page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// None.
    #[default]
    Off,
    /// Served by HTTP.
    On {
        /// Address and port that it listens on.
        listen: SocketAddr,
        /// What a visitor must know; `None`: anyone may look.
        token: Option<String>,
        /// Origins of other web pages that may embed the page and its pictures, such as
        /// `https://ha.local`.
        embed: Vec<String>,
    },
}

/// What is served to visitors, besides the streams that everybody on the network gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// The status page.
    pub status: Status,
    /// Address and port at which RTSP is served; `None`: it is not.
    pub rtsp: Option<SocketAddr>,
    /// Who may watch by RTSP, ONVIF and the page; nobody is listed: everybody may.
    pub users: UsersFrom,
    /// Whether the page's server answers ONVIF clients too.
    pub onvif: bool,
    /// Whether page and RTSP are announced by DNS-SD.
    pub dns_sd: bool,
}

impl Default for Services {
    fn default() -> Services {
        Services {
            status: Status::Off,
            rtsp: None,
            users: UsersFrom::default(),
            onvif: false,
            dns_sd: true,
        }
    }
}

/// Delay the start until viewers report, or until a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitForViewers {
    /// This many viewers, 1 to 10000.
    pub count: u32,
    /// Seconds to wait at most, 1 to 86400.
    pub at_most_s: u32,
}
