//! The stream's SDP, for the status page and for the file that `--sdp` asks for: made at the start, so that mistakes
//! show at once, and again whenever size or rate of the pictures turn out to be others.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::warn;

use crate::clock::Ntp;
use crate::config::check::REPAIR_PORT_OFFSET;
use crate::config::{Repair, Stream};
use crate::files;
use crate::net::Interface;
use crate::rtp::sdp::Announcement;
use crate::stats::Latest;

/// Keeps text and file true.
pub(super) struct Description {
    /// `None`: no file is asked for.
    path: Option<PathBuf>,
    text: Arc<Latest<String>>,
    stream: Stream,
    session: u64,
    version: u64,
    written: Option<Facts>,
}

/// What may change while the stream runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) size: Option<(u16, u16)>,
    pub(super) interval: Option<Duration>,
    pub(super) origin: IpAddr,
}

impl Description {
    /// Of this stream; it is kept in `text`.
    pub(super) fn of(stream: &Stream, text: Arc<Latest<String>>) -> Description {
        Description {
            path: stream.sdp.clone(),
            text,
            stream: stream.clone(),
            // RFC 8866 §5.2 recommends an NTP timestamp.
            session: Ntp::from(std::time::SystemTime::now()).0 >> 32,
            version: 0,
            written: None,
        }
    }

    /// Writes both if they would say something else than they do.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn update(&mut self, facts: Facts) -> Result<()> {
        if self.written == Some(facts) {
            return Ok(());
        }
        self.version += 1;
        let text = Announcement {
            name: &self.stream.name,
            session: self.session,
            version: self.version,
            origin: facts.origin,
            destination: self.stream.group,
            ttl: self.stream.ttl,
            source: is_source_specific(self.stream.group.ip()).then_some(facts.origin),
            framerate: facts.interval.map(rate),
            size: facts.size,
            repair_port: (self.stream.repair != Repair::Off)
                .then(|| self.stream.group.port() + REPAIR_PORT_OFFSET),
        }
        .to_sdp();
        if let Some(path) = &self.path {
            files::replace(path, text.as_bytes())
                .with_context(|| format!("the SDP cannot be written to {}", path.display()))?;
        }
        self.text.set(text);
        self.written = Some(facts);
        Ok(())
    }

    /// The same where a failure must not stop the stream.
    pub(super) fn try_update(&mut self, facts: Facts) {
        if let Err(error) = self.update(facts) {
            warn!("{error:#}");
            // Not tried again for each frame.
            self.written = Some(facts);
        }
    }
}

/// Frames a second to three places, so that 33.333333 ms is 30 and not 30.0000003.
fn rate(interval: Duration) -> f64 {
    (1e3 / interval.as_secs_f64()).round() / 1e3
}

/// RFC 4607 §1: 232/8 and ff3x::/32 are source-specific.
fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets()[0] == 232,
        IpAddr::V6(v6) => v6.segments()[0] & 0xfff0 == 0xff30,
    }
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
