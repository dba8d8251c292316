//! Looks for services: sockets for a [`Directory`].

use std::io;
use std::time::Duration;

use super::directory::{Directory, Service};
use super::message::{GROUPS, MAX_LEN, PORT};
use crate::clock::Mono;
use crate::net::{GroupError, Listener};

/// How often to check the interfaces.
const LOOK: Duration = Duration::from_secs(1);

/// Looks for what others serve by RTSP.
pub struct Browser {
    listener: Listener,
    directory: Directory,
    look_at: Mono,
}

impl Browser {
    /// Looks on all interfaces, or on the one with this name or address.
    ///
    /// # Errors
    /// There is no such interface, or the port is another program's alone.
    pub fn open(interface: Option<&str>) -> Result<Browser, GroupError> {
        Ok(Browser {
            listener: Listener::among_neighbours(PORT, &GROUPS, interface, MAX_LEN)?,
            directory: Directory::default(),
            look_at: Mono::now() + LOOK,
        })
    }

    /// Reads what has arrived, and sends the questions that are due. Call it several times a
    /// second.
    ///
    /// # Errors
    /// The kernel refused to look for datagrams.
    pub fn receive(&mut self) -> io::Result<()> {
        let directory = &mut self.directory;
        self.listener
            .receive(Duration::ZERO, None, |interface, from, datagram| {
                directory.push(Mono::now(), from, interface.index, datagram);
            })?;
        let now = Mono::now();
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.listener.refresh();
        }
        for question in self.directory.poll(now) {
            for interface in self.listener.interfaces() {
                self.listener.send_to_groups(interface.index, &question);
            }
        }
        Ok(())
    }

    /// The services found.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The name of the interface on which a service was found.
    pub fn interface(&self, service: &Service) -> String {
        let all = self.listener.interfaces();
        let found = all.iter().find(|i| i.index == service.interface);
        found.map_or(String::new(), |i| i.name.clone())
    }
}
