//! Looks for services: sockets for a [`Directory`].

use std::io;
use std::time::Duration;

use super::directory::{Directory, Service};
use super::message::{GROUPS, MAX_LEN, PORT};
use crate::clock::Mono;
use crate::net::Neighbours;

/// How often interfaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks for services that others serve by RTSP.
pub struct Browser {
    neighbours: Neighbours,
    directory: Directory,
    look_at: Mono,
}

impl Browser {
    /// Looks on all interfaces, or on the one with this name or address.
    ///
    /// # Errors
    /// There is no such interface, or the port is another program's alone.
    pub fn open(interface: Option<&str>) -> io::Result<Browser> {
        Ok(Browser {
            neighbours: Neighbours::open(GROUPS, PORT, interface, MAX_LEN)?,
            directory: Directory::default(),
            look_at: Mono::now() + LOOK,
        })
    }

    /// Takes what has come, and asks what is to be asked. Call it some times a second.
    ///
    /// # Errors
    /// The kernel refused to look for datagrams.
    pub fn receive(&mut self) -> io::Result<()> {
        let directory = &mut self.directory;
        self.neighbours
            .receive(Duration::ZERO, None, |way, datagram| {
                directory.push(Mono::now(), way.from, way.interface, datagram);
            })?;
        let now = Mono::now();
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.neighbours.refresh();
        }
        for question in self.directory.poll(now) {
            for interface in self.neighbours.interfaces() {
                self.neighbours.say(interface.index, &question);
            }
        }
        Ok(())
    }

    /// What was found.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The name of the interface by which a service was found.
    pub fn interface(&self, service: &Service) -> String {
        let all = self.neighbours.interfaces();
        let found = all.iter().find(|i| i.index == service.interface);
        found.map_or(String::new(), |i| i.name.clone())
    }
}
