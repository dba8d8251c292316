//! The advertising thread: sockets for a [`Responder`]. It inherits the priority of the thread that
//! starts it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{debug, info};

use super::message::{GROUPS, MAX_LEN, PORT};
use super::responder::{Facts, Link, Responder};
use crate::clock::Mono;
use crate::host;
use crate::net::thread::join;
use crate::net::{Bell, BellRope, Interface, ListenError, Listener};

/// How often to check the interfaces.
const LOOK: Duration = Duration::from_secs(1);

/// Advertises until it is dropped, and then withdraws everything.
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
    /// Another program has the port and does not share it, or no descriptors or threads are left.
    pub fn start(facts: Facts) -> Result<DnsSd, ListenError> {
        let listener = Listener::among_neighbours(PORT, &GROUPS, None, MAX_LEN)?;
        let (bell, rope) = Bell::new()?;
        let wanted = Arc::new(Mutex::new(Wanted::default()));
        let shared = Arc::clone(&wanted);
        let thread = thread::Builder::new()
            .name("lancam-dns-sd".to_owned())
            .spawn(move || advertise(listener, &facts, &shared, &bell))?;
        Ok(DnsSd {
            wanted,
            rope,
            thread: Some(thread),
        })
    }

    /// Sets what to advertise from now on.
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

fn advertise(mut listener: Listener, facts: &Facts, wanted: &Mutex<Wanted>, bell: &Bell) {
    let mut responder = Responder::new(facts, host::random());
    responder.set_links(Mono::now(), links(&listener));
    loop {
        let next = responder.poll(Mono::now());
        speak(&listener, &mut responder);
        let wait = next.map_or(LOOK, |next| next.since(Mono::now()).min(LOOK));
        let heard = listener.receive(wait, Some(bell), |interface, from, datagram| {
            responder.push(Mono::now(), interface.index, from, datagram);
        });
        if let Err(error) = heard {
            info!("DNS-SD has ended: cannot wait for datagrams: {error}");
            return;
        }
        if listener.refresh() {
            responder.set_links(Mono::now(), links(&listener));
        }
        let wanted = std::mem::take(&mut *wanted.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(facts) = wanted.facts {
            responder.follow(Mono::now(), &facts);
        }
        if wanted.is_over {
            responder.end_all();
            speak(&listener, &mut responder);
            debug!("DNS-SD: everything advertised is withdrawn");
            return;
        }
    }
}

fn speak(listener: &Listener, responder: &mut Responder) {
    for outgoing in responder.take() {
        let Some(to) = outgoing.to else {
            listener.send_to_groups(outgoing.interface, &outgoing.bytes);
            continue;
        };
        if let Err(error) = listener.send(outgoing.interface, to, &outgoing.bytes) {
            debug!("DNS-SD: cannot answer {to}: {error}");
        }
    }
}

fn links(listener: &Listener) -> Vec<Link> {
    let link = |i: &Interface| Link {
        index: i.index,
        addresses: i.addresses.clone(),
    };
    listener.interfaces().into_iter().map(link).collect()
}
