//! The streams announced on this network: a [`net::Listener`](crate::net::Listener) that feeds a
//! [`Directory`]; and which of them can be shown here.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock::Mono;
use crate::net::{Listener, interface};
use crate::rtp::sap::{self, Change, Directory};
use crate::rtp::sdp::StreamDescription;

/// How often interfaces and timeouts are checked.
const REFRESH: Duration = Duration::from_secs(1);

/// Listens to announcements.
pub struct Announced {
    listener: Listener,
    directory: Directory,
    refresh_at: Mono,
}

impl Announced {
    /// Listens on all interfaces, or on the one with this name or address.
    ///
    /// # Errors
    /// There is no such interface, or nothing can be received.
    pub fn open(interface: Option<&str>) -> Result<Announced> {
        let listener = Listener::open(sap::PORT, &sap::groups(), interface, sap::MAX_LEN)
            .context("cannot listen for announcements")?;
        Ok(Announced {
            listener,
            directory: Directory::default(),
            refresh_at: Mono::now() + REFRESH,
        })
    }

    /// Waits for announcements, at most `wait`; returns the changes.
    ///
    /// # Errors
    /// The kernel refused to wait.
    pub fn receive(&mut self, wait: Duration) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let directory = &mut self.directory;
        self.listener
            .receive(wait, None, |interface, from, datagram| {
                changes.extend(directory.push(Mono::now(), from.ip(), &interface.name, datagram));
            })
            .context("cannot listen for announcements")?;
        let now = Mono::now();
        if now >= self.refresh_at {
            self.refresh_at = now + REFRESH;
            self.listener.refresh();
            changes.extend(self.directory.expire(now));
        }
        Ok(changes)
    }

    /// The streams received so far.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

/// Whether this machine can show the stream.
///
/// # Errors
/// Why not, for the user.
pub fn can_show(stream: &StreamDescription) -> Result<(), String> {
    stream.playable.clone()?;
    let to = stream.addr.ip();
    if to.is_unspecified() {
        return Err("its description has no destination".to_owned());
    }
    if to.is_multicast() || is_own(to) {
        return Ok(());
    }
    Err(format!("it is sent to {to} only, which is another machine"))
}

fn is_own(ip: IpAddr) -> bool {
    let interfaces = interface::list().unwrap_or_default();
    ip.is_loopback() || interfaces.iter().any(|i| i.addresses.contains(&ip))
}
