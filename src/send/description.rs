//! A stream's SDP, shared by the file of `--sdp`, the announcements and the printed commands. Its
//! version increases when size, rate or the sender's address change.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::identity::Identity;
use crate::config::{Repair, Stream};
use crate::files;
use crate::host;
use crate::net::Interface;
use crate::players::{self, Watched};
use crate::rtp::Ssrc;
use crate::rtp::repair;
use crate::rtp::rtcp::sender;
use crate::rtp::sdp::{Announcement, is_source_specific};

/// The SDP of one stream.
#[derive(Debug)]
pub(super) struct Description {
    stream: Stream,
    session: u64,
    ssrc: Ssrc,
    cname: String,
    version: u64,
    origin: IpAddr,
    media: MediaInfo,
    sdp: String,
}

/// What is known only while the stream runs, and may change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MediaInfo {
    /// Width and height of the pictures in pixels.
    pub(super) size: Option<(u16, u16)>,
    /// The frame interval that the source states.
    pub(super) interval: Option<Duration>,
}

impl Description {
    /// The SDP of `stream` as sent by `origin`, before size and rate are known.
    pub(super) fn new(stream: &Stream, identity: &Identity, origin: IpAddr) -> Description {
        let mut description = Description {
            stream: stream.clone(),
            session: identity.session,
            ssrc: identity.ssrc,
            cname: host::description(sender::TOOL).cname,
            version: 0,
            origin,
            media: MediaInfo::default(),
            sdp: String::new(),
        };
        description.rewrite();
        description
    }

    /// Updates it; returns whether anything changed.
    pub(super) fn update(&mut self, media: MediaInfo, origin: IpAddr) -> bool {
        if (media, origin) == (self.media, self.origin) {
            return false;
        }
        (self.media, self.origin) = (media, origin);
        self.rewrite();
        true
    }

    fn rewrite(&mut self) {
        // RFC 8866 §5.2 recommends a timestamp, so that a version is never used twice.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.version = now.unwrap_or_default().as_secs().max(self.version + 1);
        let group = self.stream.group;
        self.sdp = Announcement {
            name: &self.stream.name,
            session: self.session,
            version: self.version,
            ssrc: Some((self.ssrc, &self.cname)),
            origin: self.origin,
            destination: group,
            ttl: self.stream.ttl,
            source: is_source_specific(group.ip()).then_some(self.origin),
            framerate: self.media.interval.map(rate),
            size: self.media.size,
            repair_port: (self.stream.repair != Repair::Off)
                .then(|| group.port() + repair::PORT_OFFSET),
            control: None,
        }
        .to_sdp();
    }

    /// Writes the file of `--sdp`, if there is one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write_file(&self) -> Result<()> {
        let Some(path) = &self.stream.sdp else {
            return Ok(());
        };
        files::replace(path, self.sdp.as_bytes())
            .with_context(|| format!("the SDP cannot be written to {}", path.display()))
    }

    /// The text.
    pub(super) fn sdp(&self) -> &str {
        &self.sdp
    }

    /// The session id in its `o=` line.
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// The stream's settings.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The sender's address in it.
    pub(super) fn origin(&self) -> IpAddr {
        self.origin
    }

    /// Width and height of the pictures in pixels, once they are known.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.media.size
    }
}

/// Frames a second to three decimals, so that 33.333333 ms is 30 and not 30.0000003.
fn rate(interval: Duration) -> f64 {
    (1e3 / interval.as_secs_f64()).round() / 1e3
}

/// The address that viewers see as the sender's.
pub(super) fn origin(interface: &Interface, is_ipv6: bool) -> IpAddr {
    let fitting = interface.addresses.iter().find(|a| a.is_ipv6() == is_ipv6);
    fitting.copied().unwrap_or(if is_ipv6 {
        IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
    } else {
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
    })
}
/// The players' commands for `stream`, whose SDP is `sdp` and whose pictures have this size, if
/// known.
pub(super) fn how_to_watch(
    stream: &Stream,
    size: Option<(u16, u16)>,
    sdp: &str,
) -> Vec<players::Command> {
    let is_announced = stream.announce && stream.group.ip().is_multicast();
    let sdp_file = stream.sdp.as_ref().map(|path| path.display().to_string());
    players::commands(&Watched {
        group: stream.group,
        name: is_announced.then_some(stream.name.as_str()),
        size,
        sdp,
        sdp_file: sdp_file.as_deref(),
    })
}
