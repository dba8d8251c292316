//! The thread that advertises: sockets for a [`Responder`]. It takes on the priority of the thread
//! that starts it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{debug, info};

use super::message::{GROUPS, MAX_LEN, PORT};
use super::responder::{Facts, Link, Responder};
use crate::clock::Mono;
use crate::host;
use crate::net::thread::join;
use crate::net::{Bell, BellRope, Interface, Neighbours, Way};

/// How often interfaces are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Advertises until it is dropped, which takes everything back.
#[derive(Debug)]
pub struct DnsSd {
    wanted: Arc<Mutex<Wanted>>,
    rope: BellRope,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Wanted {
    facts: Option<Facts>,
    is_over: bool,
}

impl DnsSd {
    /// Starts to advertise.
    ///
    /// # Errors
    /// The port is another program's alone, or there are no descriptors or threads left.
    pub fn start(facts: Facts) -> io::Result<DnsSd> {
        let neighbours = Neighbours::open(GROUPS, PORT, None, MAX_LEN)?;
        let (bell, rope) = Bell::new()?;
        let wanted = Arc::new(Mutex::new(Wanted::default()));
        let shared = Arc::clone(&wanted);
        let thread = thread::Builder::new()
            .name("lancam-dns-sd".to_owned())
            .spawn(move || advertise(neighbours, &facts, &shared, &bell))?;
        Ok(DnsSd {
            wanted,
            rope,
            thread: Some(thread),
        })
    }

    /// What is advertised has changed, or not.
    pub fn follow(&self, facts: Facts) {
        self.with(|wanted| wanted.facts = Some(facts));
    }

    fn with(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.rope.pull();
    }
}

impl Drop for DnsSd {
    fn drop(&mut self) {
        self.with(|wanted| wanted.is_over = true);
        if let Some(thread) = self.thread.take() {
            join(thread);
        }
    }
}

fn advertise(mut neighbours: Neighbours, facts: &Facts, wanted: &Mutex<Wanted>, bell: &Bell) {
    let mut responder = Responder::new(facts, host::random());
    responder.set_links(Mono::now(), links(&neighbours));
    loop {
        let next = responder.poll(Mono::now());
        speak(&neighbours, &mut responder);
        let wait = next.map_or(LOOK, |next| next.since(Mono::now()).min(LOOK));
        let heard = neighbours.receive(wait, Some(bell), |way, datagram| {
            responder.push(Mono::now(), way.interface, way.from, datagram);
        });
        if let Err(error) = heard {
            info!("DNS-SD ends: cannot wait for datagrams: {error}");
            return;
        }
        if neighbours.refresh() {
            responder.set_links(Mono::now(), links(&neighbours));
        }
        let wanted = std::mem::take(&mut *wanted.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(facts) = wanted.facts {
            responder.follow(Mono::now(), &facts);
        }
        if wanted.is_over {
            responder.end_all();
            speak(&neighbours, &mut responder);
            debug!("what was advertised by DNS-SD is taken back");
            return;
        }
    }
}

fn speak(neighbours: &Neighbours, responder: &mut Responder) {
    for outgoing in responder.take() {
        match outgoing.to {
            None => neighbours.say(outgoing.interface, &outgoing.bytes),
            Some(from) => {
                let interface = outgoing.interface;
                neighbours.tell(Way { interface, from }, &outgoing.bytes);
            }
        }
    }
}

fn links(neighbours: &Neighbours) -> Vec<Link> {
    let link = |i: &Interface| Link {
        index: i.index,
        addresses: i.addresses.clone(),
    };
    neighbours.interfaces().into_iter().map(link).collect()
}
