//! The sockets of WS-Discovery: one thread that answers clients looking for ONVIF devices on this
//! machine's networks, and follows its interfaces. [`crate::onvif`] decides what is answered, and
//! to whom.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tracing::debug;

use crate::clock::Mono;
use crate::net::{Bell, BellRope, Interface, ListenError, Listener, thread};
use crate::onvif::discovery::{GROUPS, MAX_LEN, PORT, REPEATS, Target};
use crate::onvif::{Network, Uuid};

/// How often to check the interfaces.
const REFRESH: Duration = Duration::from_secs(1);

/// The running thread. When dropped, it says Bye and ends.
#[derive(Debug)]
pub(super) struct Discovery {
    stop: Arc<AtomicBool>,
    rope: BellRope,
    thread: Option<JoinHandle<()>>,
}

impl Discovery {
    /// Says Hello, and answers from now on. `page` is where the services listen.
    pub(super) fn start(id: Uuid, host: &str, page: SocketAddr) -> Result<Discovery, ListenError> {
        let listener = Listener::open(PORT, &GROUPS, None, MAX_LEN)?;
        let (bell, rope) = Bell::new()?;
        let stop = Arc::new(AtomicBool::new(false));
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started = started.map_or(0, |time| time.as_secs() as u32);
        let answering = Answering {
            listener,
            target: Target::new(id, host, page.port(), started),
            page: page.ip(),
            networks: HashMap::new(),
        };
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("lancam-discovery".to_owned())
            .spawn(move || answering.run(&bell, &asked_to_stop))?;
        Ok(Discovery {
            stop,
            rope,
            thread: Some(thread),
        })
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.rope.pull();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; in a release build it has ended the process.
            drop(thread.join());
        }
    }
}

struct Answering {
    listener: Listener,
    target: Target,
    page: IpAddr,
    /// For each interface, the addresses at which the services can be reached.
    networks: HashMap<u32, Vec<Network>>,
}

impl Answering {
    fn run(mut self, bell: &Bell, stop: &AtomicBool) {
        thread::after_others();
        self.follow_interfaces();
        while !stop.load(Ordering::Relaxed) {
            if self.listener.refresh() {
                self.follow_interfaces();
            }
            let now = Mono::now();
            let due = self.target.next_due().map(|due| due.since(now));
            if let Err(error) = self.receive(due.unwrap_or(REFRESH).min(REFRESH), bell) {
                return debug!("WS-Discovery ended: {error}");
            }
            while let Some(outgoing) = self.target.poll(Mono::now()) {
                self.send(outgoing.interface, outgoing.to, &outgoing.bytes);
            }
        }
        self.say_bye();
    }

    fn receive(&mut self, timeout: Duration, bell: &Bell) -> io::Result<()> {
        let (target, networks) = (&mut self.target, &self.networks);
        self.listener
            .receive(timeout, Some(bell), |interface, from, datagram| {
                if let Some(here) = networks.get(&interface.index) {
                    target.receive(Mono::now(), from, interface.index, here, datagram);
                }
            })
    }

    /// Says Hello on interfaces that are new or have a new address.
    fn follow_interfaces(&mut self) {
        let before = std::mem::take(&mut self.networks);
        for interface in self.listener.interfaces() {
            let here = reachable(interface, self.page);
            if before.get(&interface.index) != Some(&here) {
                self.target.hello(Mono::now(), interface.index, &here);
            }
            self.networks.insert(interface.index, here);
        }
    }

    fn say_bye(&mut self) {
        let bye = self.target.bye();
        for _ in 0..REPEATS {
            for (&interface, here) in &self.networks {
                for group in GROUPS {
                    if here.iter().any(|n| n.address.is_ipv4() == group.is_ipv4()) {
                        self.send(interface, SocketAddr::new(group, PORT), &bye);
                    }
                }
            }
        }
    }

    fn send(&self, interface: u32, to: SocketAddr, message: &str) {
        if let Err(error) = self.listener.send(interface, to, message.as_bytes()) {
            debug!("WS-Discovery: cannot send to {to} by interface {interface}: {error}");
        }
    }
}

/// The addresses of an interface at which services that listen on `page` can be reached.
fn reachable(interface: &Interface, page: IpAddr) -> Vec<Network> {
    let is_reached = |address: IpAddr| match page {
        IpAddr::V4(page) if page.is_unspecified() => address.is_ipv4(),
        IpAddr::V6(page) if page.is_unspecified() => true,
        page => address == page,
    };
    Network::all(&interface.addresses, &interface.prefixes)
        .filter(|network| is_reached(network.address))
        .collect()
}
