//! Answers for this machine's services and, if nothing else does, for its name: multicast DNS
//! (RFC 6762) with DNS-SD's records (RFC 6763). Sans-IO: datagrams and times in, datagrams and the
//! next deadline out.
//!
//! It is not a resolver and has no cache: it looks in others' messages only for its own names, so
//! nobody can make it grow. Each link (interface) is handled by itself, but a name that is taken on
//! one of them is changed on all.
//!
//! **The host's name.** Avahi or systemd-resolved may already answer for it on this machine, and
//! would give it up if another answer differed from theirs. So it is first queried, as any program
//! would do. If an address of this machine comes back, another program here has the name; if one
//! starts to probe for it later, it gets the name at once. The services point to the name in any
//! case. From time to time it is queried again, since that program may have ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use super::message::{self, Kind, PORT, Record};
use super::path::path_of;
use crate::clock::Mono;

/// How often questions and probes are sent, and the time in between. RFC 6762 §8.1.
const TIMES: u8 = 3;
const BETWEEN: Duration = Duration::from_millis(250);
/// The pause between the two announcements, and before repeating a probe that lost. RFC 6762 §8.2,
/// §8.3.
const PAUSE: Duration = Duration::from_secs(1);
/// After this many conflicts within the first time, each further probe waits for the second.
/// RFC 6762 §8.1.
const MOST_CONFLICTS: usize = 15;
const CONFLICTS_WITHIN: Duration = Duration::from_secs(10);
const PENANCE: Duration = Duration::from_secs(5);
/// How long another program on this machine is believed to have the host's name.
const YIELD: Duration = Duration::from_secs(60);
/// A record is not multicast again within the first time, or the second if that defends it against
/// a probe. RFC 6762 §6.
const REPEAT: Duration = Duration::from_secs(1);
const REPEAT_TO_PROBE: Duration = Duration::from_millis(250);
/// How many milliseconds answers wait that others may give too (RFC 6762 §6), and those to a query
/// whose known answers continue in another datagram (§7.2).
const SHARED_WAIT: (u64, u64) = (20, 100);
const TRUNCATED_WAIT: (u64, u64) = (400, 100);
/// Most answers to one-shot queries in a second: they go to a single address, which may be forged.
const MOST_ONE_SHOT: u32 = 20;
/// The TTL of these answers in seconds. RFC 6762 §6.7.
const ONE_SHOT_TTL: u32 = 10;
/// Most questions read from one query.
const MOST_QUESTIONS: usize = 32;
/// Most own datagrams remembered, to recognise those that the kernel loops back.
const OWN: usize = 64;

/// What is advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// This machine's name.
    pub host: String,
    /// The address of the RTSP server.
    pub rtsp: Option<SocketAddr>,
    /// The names of its streams.
    pub streams: Vec<String>,
    /// The address of the page.
    pub page: Option<SocketAddr>,
}

impl Facts {
    /// Whether there is nothing for other machines to reach.
    pub fn is_nothing(&self) -> bool {
        services(self).is_empty()
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The index of the interface.
    pub interface: u32,
    /// The host; `None` for everybody.
    pub to: Option<SocketAddr>,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// The state of everything advertised.
#[derive(Debug)]
pub struct Responder {
    host: Label,
    services: Vec<Service>,
    links: Vec<State>,
    next_id: u32,
    conflicts: VecDeque<Mono>,
    one_shot: (Mono, u32),
    own: VecDeque<u64>,
    out: Vec<Outgoing>,
    random: u64,
}

/// A label that gets a number if others have it too.
#[derive(Debug)]
struct Label {
    base: String,
    number: u32,
}

#[derive(Debug)]
struct Service {
    id: u32,
    kind: Kind,
    label: Label,
    path: String,
    address: SocketAddr,
}

/// A link's state.
#[derive(Debug)]
struct State {
    link: Link,
    claims: Vec<Claim>,
    waiting: Vec<Waiting>,
    /// When each record was last multicast.
    said: HashMap<Record, Mono>,
}

/// A name that is claimed.
#[derive(Debug)]
struct Claim {
    of: Of,
    phase: Phase,
    due: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Host,
    Service(u32),
}

/// The stages of a claim, with how often each message has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Querying whether anybody has the name.
    Asking(u8),
    /// Probing. RFC 6762 §8.1.
    Probing(u8),
    /// Announcing: the name is ours from here on. RFC 6762 §8.3.
    Announcing(u8),
    Held,
    /// Another program on this machine has the name.
    Yielded,
}

/// An answer that waits.
#[derive(Debug)]
struct Waiting {
    record: Record,
    due: Mono,
    /// Who asked; `None` if there are several.
    querier: Option<SocketAddr>,
}

impl Label {
    fn new(base: String) -> Label {
        Label { base, number: 1 }
    }

    /// Numbered as Avahi and Apple's responder do it for hosts.
    fn of_host(&self) -> String {
        match self.number {
            1 => message::label(&self.base, ""),
            n => message::label(&self.base, &format!("-{n}")),
        }
    }

    /// Numbered as in RFC 6763, appendix D.
    fn of_instance(&self) -> String {
        match self.number {
            1 => message::label(&self.base, ""),
            n => message::label(&self.base, &format!(" ({n})")),
        }
    }
}

impl Service {
    fn name(&self) -> Name<'static> {
        self.kind.instance(&self.label.of_instance())
    }

    /// Whether it can be reached over this link.
    fn is_on(&self, link: &Link) -> bool {
        self.address.ip().is_unspecified() || link.addresses.contains(&self.address.ip())
    }

    fn is_same(&self, other: &Service) -> bool {
        self.kind == other.kind
            && self.label.base == other.label.base
            && self.path == other.path
            && self.address == other.address
    }
}

impl Claim {
    fn new(of: Of, due: Mono) -> Claim {
        let phase = match of {
            Of::Host => Phase::Asking(0),
            Of::Service(_) => Phase::Probing(0),
        };
        Claim { of, phase, due }
    }

    fn is_ours(&self) -> bool {
        matches!(self.phase, Phase::Announcing(_) | Phase::Held)
    }

    fn set(&mut self, phase: Phase, due: Mono) {
        self.phase = phase;
        self.due = due;
    }
}

impl State {
    fn claim(&mut self, of: Of) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|claim| claim.of == of)
    }

    fn has(&self, of: Of) -> bool {
        self.claims.iter().any(|c| c.of == of && c.is_ours())
    }

    fn is_host_settled(&self) -> bool {
        let host = self.claims.iter().find(|claim| claim.of == Of::Host);
        host.is_none_or(|host| host.is_ours() || host.phase == Phase::Yielded)
    }

    fn next_due(&self) -> Option<Mono> {
        let claims = self.claims.iter().filter(|c| c.phase != Phase::Held);
        let waiting = self.waiting.iter().map(|w| w.due);
        claims.map(|c| c.due).chain(waiting).min()
    }
}

impl Responder {
    /// Nothing is advertised until there are links. `random` must not be zero, and should differ
    /// between machines.
    pub fn new(facts: &Facts, random: u64) -> Responder {
        let mut responder = Responder {
            host: Label::new(host_label(&facts.host)),
            services: Vec::new(),
            links: Vec::new(),
            next_id: 0,
            conflicts: VecDeque::new(),
            one_shot: (Mono(0), 0),
            own: VecDeque::new(),
            out: Vec::new(),
            random: random.max(1),
        };
        responder.follow(Mono(0), facts);
        responder
    }

    /// Sets what to advertise from now on.
    pub fn follow(&mut self, now: Mono, facts: &Facts) {
        let host = host_label(&facts.host);
        if host != self.host.base {
            self.end_host();
            self.host = Label::new(host);
            self.begin_host(now);
        }
        let mut wanted = services(facts);
        let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.services)
            .into_iter()
            .partition(|old| wanted.iter().any(|new| new.is_same(old)));
        wanted.retain(|new| !kept.iter().any(|old| old.is_same(new)));
        self.services = ended;
        for id in self.services.iter().map(|s| s.id).collect::<Vec<_>>() {
            self.end(Of::Service(id));
        }
        self.services = kept;
        for mut service in wanted {
            service.id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            self.services.push(service);
        }
        self.complete(now);
    }

    /// Sets the interfaces to advertise on from now on.
    pub fn set_links(&mut self, now: Mono, links: Vec<Link>) {
        self.links
            .retain(|s| links.iter().any(|l| l.index == s.link.index));
        for link in links {
            match self.links.iter_mut().find(|s| s.link.index == link.index) {
                Some(state) if state.link == link => {}
                Some(state) => {
                    state.link = link;
                    if let Some(host) = state.claim(Of::Host) {
                        host.set(Phase::Asking(0), now);
                    }
                }
                None => self.links.push(State {
                    link,
                    claims: Vec::new(),
                    waiting: Vec::new(),
                    said: HashMap::new(),
                }),
            }
        }
        self.complete(now);
    }

    /// Makes each link claim the services that can be reached over it, and the host's name if there
    /// are any.
    fn complete(&mut self, now: Mono) {
        // RFC 6762 §8.1: "a short random delay", since many hosts may have been switched on
        // together.
        let due = now + self.wait(0, 250);
        for state in &mut self.links {
            let link = &state.link;
            let there = self.services.iter().filter(|s| s.is_on(link));
            let mut wanted: Vec<Of> = there.map(|s| Of::Service(s.id)).collect();
            if !wanted.is_empty() {
                wanted.insert(0, Of::Host);
            }
            state.claims.retain(|claim| wanted.contains(&claim.of));
            for of in wanted {
                if state.claim(of).is_none() {
                    state.claims.push(Claim::new(of, due));
                }
            }
        }
    }

    /// Takes a datagram from `from`, received on `interface`.
    pub fn push(&mut self, now: Mono, interface: u32, from: SocketAddr, datagram: &[u8]) {
        let Some(at) = self.links.iter().position(|s| s.link.index == interface) else {
            return;
        };
        if self.own.contains(&hash(datagram)) {
            return;
        }
        let Some(packet) = message::parse(datagram) else {
            return;
        };
        match message::is_response(&packet) {
            // RFC 6762 §6: "MUST silently ignore any Multicast DNS responses they receive where
            // the source UDP port is not 5353."
            true if from.port() == PORT => self.hear(now, at, &packet),
            true => {}
            false => self.answer(now, at, from, &packet),
        }
    }

    /// Does what is due; returns the next deadline.
    pub fn poll(&mut self, now: Mono) -> Option<Mono> {
        for at in 0..self.links.len() {
            self.advance(now, at);
            let state = &mut self.links[at];
            let (due, later) = std::mem::take(&mut state.waiting)
                .into_iter()
                .partition(|w| w.due <= now);
            state.waiting = later;
            let due: Vec<Waiting> = due;
            let records = due.into_iter().map(|w| w.record).collect();
            self.say(now, at, records, REPEAT);
        }
        self.links.iter().filter_map(State::next_due).min()
    }

    /// The datagrams to send now.
    pub fn take(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// Withdraws everything. RFC 6762 §10.1.
    pub fn end_all(&mut self) {
        let services: Vec<Of> = self.services.iter().map(|s| Of::Service(s.id)).collect();
        services.into_iter().for_each(|of| self.end(of));
        self.end_host();
    }

    /// The advertised names: the host's, then the services'.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<String> {
        let services = self.services.iter().map(|s| s.label.of_instance());
        std::iter::once(self.host.of_host())
            .chain(services)
            .collect()
    }
}

// ---- Records ----

impl Responder {
    fn host_name(&self) -> Name<'static> {
        message::host(&self.host.of_host())
    }

    fn name(&self, of: Of) -> Option<Name<'static>> {
        match of {
            Of::Host => Some(self.host_name()),
            Of::Service(id) => self.service(id).map(Service::name),
        }
    }

    fn service(&self, id: u32) -> Option<&Service> {
        self.services.iter().find(|s| s.id == id)
    }

    /// The unique records.
    fn unique(&self, link: &Link, of: Of) -> Vec<Record> {
        match of {
            Of::Host => message::addresses(&self.host_name(), &published(link)),
            Of::Service(id) => self.service(id).map_or(Vec::new(), |service| {
                let name = service.name();
                let srv = message::srv(&name, &self.host_name(), service.address.port());
                vec![srv, message::txt(&name, &service.path)]
            }),
        }
    }

    /// The shared records.
    fn shared(&self, of: Of) -> Vec<Record> {
        let Of::Service(id) = of else {
            return Vec::new();
        };
        self.service(id).map_or(Vec::new(), |service| {
            let kind = service.kind.name();
            let kinds = message::pointer(message::kinds(), kind.clone());
            vec![message::pointer(kind, service.name()), kinds]
        })
    }

    /// The additional records, which save the next question. RFC 6763 §12.
    fn additional(&self, at: usize, answers: &[Record]) -> Vec<Record> {
        let state = &self.links[at];
        let mut more: Vec<Record> = Vec::new();
        for claim in state.claims.iter().filter(|c| c.is_ours()) {
            let wants = |record: &Record| match claim.of {
                Of::Host => message::is(record, TYPE::PTR) || message::is(record, TYPE::SRV),
                of => self.shared(of).first() == Some(record),
            };
            if answers.iter().any(wants) {
                more.extend(self.unique(&state.link, claim.of));
            }
        }
        more.retain(|record| !answers.contains(record));
        more
    }
}

// ---- Coming and going ----

impl Responder {
    /// Sends the questions, probes and announcements that are due on a link.
    fn advance(&mut self, now: Mono, at: usize) {
        let (mut asked, mut probed) = (Vec::new(), Vec::new());
        let mut announced = Vec::new();
        let is_host_settled = self.links[at].is_host_settled();
        for claim in &mut self.links[at].claims {
            if claim.due > now {
                continue;
            }
            // A service's record contains the host, which also distinguishes it from others.
            if claim.phase == Phase::Probing(0) && claim.of != Of::Host && !is_host_settled {
                claim.due = now + BETWEEN / 5;
                continue;
            }
            match claim.phase {
                Phase::Held => {}
                Phase::Yielded => claim.set(Phase::Asking(0), now),
                Phase::Asking(TIMES) => claim.set(Phase::Probing(0), now),
                Phase::Probing(TIMES) => claim.set(Phase::Announcing(0), now),
                _ => {}
            }
            match claim.phase {
                Phase::Asking(n) => {
                    claim.set(Phase::Asking(n + 1), now + BETWEEN);
                    asked.push(claim.of);
                }
                Phase::Probing(n) => {
                    claim.set(Phase::Probing(n + 1), now + BETWEEN);
                    probed.push(claim.of);
                }
                Phase::Announcing(0) => {
                    claim.set(Phase::Announcing(1), now + PAUSE);
                    announced.push(claim.of);
                }
                Phase::Announcing(_) => {
                    claim.set(Phase::Held, now);
                    announced.push(claim.of);
                }
                Phase::Held | Phase::Yielded => {}
            }
        }
        if !asked.is_empty() {
            let types = [TYPE::A, TYPE::AAAA].map(QTYPE::TYPE);
            let host = self.host_name();
            let questions = types.map(|kind| question(&host, kind)).to_vec();
            self.ask(at, questions, Vec::new());
        }
        for of in probed {
            // RFC 6762 §8.1. One packet for each name: several may not fit into one. The answers
            // must be multicast, since unicast ones would go to another program on this port.
            let Some(name) = self.name(of) else { continue };
            let ours = self.unique(&self.links[at].link, of);
            let ours = ours
                .into_iter()
                .map(|r| r.with_cache_flush(false))
                .collect();
            self.ask(at, vec![question(&name, QTYPE::ANY)], ours);
        }
        let mut records = Vec::new();
        for of in announced {
            records.extend(self.shared(of));
            records.extend(self.unique(&self.links[at].link, of));
        }
        self.say(now, at, records, Duration::ZERO);
    }

    fn ask(&mut self, at: usize, questions: Vec<Question<'static>>, ours: Vec<Record>) {
        let mut packet = Packet::new_query(0);
        packet.questions = questions;
        packet.name_servers = ours;
        if let Some(bytes) = message::bytes(&packet) {
            self.send(at, None, bytes);
        }
    }

    /// Multicasts records, except those that were multicast within `repeat`.
    fn say(&mut self, now: Mono, at: usize, mut records: Vec<Record>, repeat: Duration) {
        let said = &self.links[at].said;
        let is_due = |r: &Record| said.get(r).is_none_or(|at| now.since(*at) >= repeat);
        let mut seen = HashSet::new();
        records.retain(|r| is_due(r) && seen.insert(r.clone()));
        if records.is_empty() {
            return;
        }
        let additional = self.additional(at, &records);
        for bytes in message::datagrams(&records, additional) {
            self.send(at, None, bytes);
        }
        let said = &mut self.links[at].said;
        said.retain(|_, at| now.since(*at) < REPEAT);
        said.extend(records.into_iter().map(|record| (record, now)));
    }

    /// Withdraws our records of this name on all links.
    fn end(&mut self, of: Of) {
        for at in 0..self.links.len() {
            if !self.links[at].has(of) {
                continue;
            }
            let mut records = self.unique(&self.links[at].link, of);
            // Others may have services of this kind too.
            records.extend(self.shared(of).into_iter().take(1));
            records.iter_mut().for_each(|r| r.ttl = 0);
            for bytes in message::datagrams(&records, Vec::new()) {
                self.send(at, None, bytes);
            }
        }
        self.links
            .iter_mut()
            .for_each(|s| s.claims.retain(|c| c.of != of));
    }

    fn end_host(&mut self) {
        self.end(Of::Host);
    }

    /// Claims the host's new name, and everything that points to it.
    fn begin_host(&mut self, now: Mono) {
        let due = now + self.wait(0, 250);
        for state in &mut self.links {
            for claim in &mut state.claims {
                *claim = Claim::new(claim.of, due);
            }
        }
    }

    /// Chooses another name, since another machine has this one, and starts again. RFC 6762 §9.
    fn rename(&mut self, now: Mono, of: Of) {
        let due = now + self.conflict(now);
        match of {
            Of::Host => {
                self.host.number = self.host.number.saturating_add(1);
                self.begin_host(due);
            }
            Of::Service(id) => {
                if let Some(service) = self.services.iter_mut().find(|s| s.id == id) {
                    service.label.number = service.label.number.saturating_add(1);
                }
                for claim in self.links.iter_mut().filter_map(|s| s.claim(of)) {
                    claim.set(Phase::Probing(0), due);
                }
            }
        }
    }

    /// How long to wait after a conflict.
    fn conflict(&mut self, now: Mono) -> Duration {
        self.conflicts
            .retain(|at| now.since(*at) < CONFLICTS_WITHIN);
        if self.conflicts.len() >= MOST_CONFLICTS {
            return PENANCE;
        }
        self.conflicts.push_back(now);
        self.wait(0, 250)
    }

    /// This many milliseconds, and a random part of `spread` more.
    fn wait(&mut self, least: u64, spread: u64) -> Duration {
        // Xorshift: the delays need not be unpredictable, only different between machines.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Duration::from_millis(least + self.random % spread)
    }

    fn send(&mut self, at: usize, to: Option<SocketAddr>, bytes: Vec<u8>) {
        if self.own.len() == OWN {
            self.own.pop_front();
        }
        self.own.push_back(hash(&bytes));
        let interface = self.links[at].link.index;
        self.out.push(Outgoing {
            interface,
            to,
            bytes,
        });
    }
}

// ---- What others say ----

/// What another's record means for a claim.
#[derive(Clone, Copy)]
enum Verdict {
    Nothing,
    /// Another program on this machine has the name.
    Yield,
    /// Another program on this machine has given it up.
    Ask(Duration),
    /// Another machine may have it.
    Probe,
    /// Another machine has it.
    Rename,
}

impl Responder {
    /// Takes a response: it may claim one of our names.
    fn hear(&mut self, now: Mono, at: usize, packet: &Packet<'_>) {
        let claims = self.links[at].claims.iter().map(|claim| claim.of);
        let names: Vec<_> = claims.map(|of| (self.name(of), of)).collect();
        for record in packet.answers.iter().chain(&packet.additional_records) {
            let is_it = |(name, _): &&(Option<Name<'_>>, Of)| name.as_ref() == Some(&record.name);
            let Some((_, of)) = names
                .iter()
                .find(is_it)
                .filter(|_| record.class == CLASS::IN)
            else {
                continue;
            };
            let of = *of;
            let verdict = match of {
                Of::Host => self.judge_host(at, record),
                Of::Service(_) => self.judge_service(at, of, record),
            };
            self.obey(now, at, of, verdict);
            if matches!(verdict, Verdict::Rename) {
                // The name has just been changed; more records of the old one do not matter.
                return;
            }
        }
    }

    fn judge_host(&self, at: usize, record: &ResourceRecord<'_>) -> Verdict {
        let Some(address) = message::address(record) else {
            return Verdict::Nothing;
        };
        let phase = self.phase(at, Of::Host);
        match (phase, self.is_own(address), record.ttl) {
            (Phase::Yielded, true, 0) => Verdict::Ask(PAUSE),
            (_, true, 1..) => Verdict::Yield,
            (Phase::Asking(_) | Phase::Probing(_), false, 1..) => Verdict::Rename,
            (Phase::Announcing(_) | Phase::Held, false, 1..) => Verdict::Probe,
            // The program that has the name here may now have another.
            (Phase::Yielded, false, 1..) => Verdict::Ask(PAUSE * 2),
            (_, _, 0) => Verdict::Nothing,
        }
    }

    fn judge_service(&self, at: usize, of: Of, record: &ResourceRecord<'_>) -> Verdict {
        let ours = self.unique(&self.links[at].link, of);
        let differs =
            |r: &Record| r.rdata.type_code() == record.rdata.type_code() && r.rdata != record.rdata;
        if record.ttl == 0 || !ours.iter().any(differs) {
            return Verdict::Nothing;
        }
        match self.phase(at, of) {
            Phase::Asking(_) | Phase::Probing(_) => Verdict::Rename,
            _ => Verdict::Probe,
        }
    }

    fn obey(&mut self, now: Mono, at: usize, of: Of, verdict: Verdict) {
        let wait = match verdict {
            Verdict::Rename => return self.rename(now, of),
            Verdict::Probe => self.conflict(now),
            _ => Duration::ZERO,
        };
        let Some(claim) = self.links[at].claim(of) else {
            return;
        };
        match verdict {
            Verdict::Yield => claim.set(Phase::Yielded, now + YIELD),
            Verdict::Ask(wait) => {
                // But not later than it would be otherwise.
                let due = claim.due.min(now + wait);
                claim.set(Phase::Yielded, due);
            }
            // RFC 6762 §9: "MUST immediately reset its conflicted unique record to probing state".
            Verdict::Probe => claim.set(Phase::Probing(0), now + wait),
            Verdict::Rename | Verdict::Nothing => {}
        }
    }

    fn phase(&self, at: usize, of: Of) -> Phase {
        let found = self.links[at].claims.iter().find(|claim| claim.of == of);
        found.map_or(Phase::Held, |claim| claim.phase)
    }

    /// Whether it is an address of this machine, on any link.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.links.iter().any(|s| s.link.addresses.contains(&ip))
    }

    /// Takes a probe: somebody wants the names of the records in it.
    fn weigh(&mut self, now: Mono, at: usize, packet: &Packet<'_>) {
        let claims: Vec<(Of, Phase)> = self.links[at]
            .claims
            .iter()
            .map(|c| (c.of, c.phase))
            .collect();
        for (of, phase) in claims {
            let name = self.name(of);
            let theirs: Vec<_> = (packet.name_servers.iter())
                .filter(|record| name.as_ref() == Some(&record.name))
                .collect();
            if theirs.is_empty() {
                continue;
            }
            let mut addresses = theirs.iter().filter_map(|record| message::address(record));
            if of == Of::Host && addresses.any(|ip| self.is_own(ip)) {
                self.obey(now, at, of, Verdict::Yield);
                continue;
            }
            if matches!(phase, Phase::Probing(_)) && self.loses(at, of, &theirs) {
                // RFC 6762 §8.2: "waits one second, and then begins probing for this name again".
                if let Some(claim) = self.links[at].claim(of) {
                    claim.set(Phase::Probing(0), now + PAUSE);
                }
            }
        }
    }

    /// RFC 6762 §8.2.1: the lexicographically later data wins, and the longer list.
    fn loses(&self, at: usize, of: Of, theirs: &[&ResourceRecord<'_>]) -> bool {
        let ours = self.unique(&self.links[at].link, of);
        let mut ours: Vec<_> = ours.iter().map(message::rank).collect();
        let mut theirs: Vec<_> = theirs.iter().map(|record| message::rank(record)).collect();
        ours.sort();
        theirs.sort();
        ours < theirs
    }

    /// Takes a query.
    fn answer(&mut self, now: Mono, at: usize, from: SocketAddr, packet: &Packet<'_>) {
        let is_probe = !packet.name_servers.is_empty();
        if is_probe {
            self.weigh(now, at, packet);
        }
        let known = |record: &Record| {
            let is_same = |k: &ResourceRecord<'_>| k == record && k.ttl >= record.ttl / 2;
            packet.answers.iter().any(is_same)
        };
        // RFC 6762 §7.2: more known answers, which did not fit into the query.
        if packet.questions.is_empty() {
            let waiting = &mut self.links[at].waiting;
            waiting.retain(|w| w.querier != Some(from) || !known(&w.record));
            return;
        }
        let (mut answers, is_shared) = self.answers(at, packet);
        if from.port() != PORT {
            return self.answer_one_shot(now, at, from, packet, answers);
        }
        // RFC 6762 §7.1.
        answers.retain(|record| !known(record));
        let is_truncated = packet.has_flags(PacketFlag::TRUNCATION);
        if is_probe || !is_shared && !is_truncated {
            let repeat = if is_probe { REPEAT_TO_PROBE } else { REPEAT };
            return self.say(now, at, answers, repeat);
        }
        let (least, spread) = if is_truncated {
            TRUNCATED_WAIT
        } else {
            SHARED_WAIT
        };
        let due = now + self.wait(least, spread);
        let waiting = &mut self.links[at].waiting;
        for record in answers {
            match waiting.iter_mut().find(|w| w.record == record) {
                Some(same) if same.querier != Some(from) => same.querier = None,
                Some(_) => {}
                None => {
                    let querier = Some(from);
                    waiting.push(Waiting {
                        record,
                        due,
                        querier,
                    });
                }
            }
        }
    }

    /// The answers to all questions, and whether others may have answers too.
    fn answers(&self, at: usize, packet: &Packet<'_>) -> (Vec<Record>, bool) {
        let state = &self.links[at];
        let (mut all, mut is_shared) = (Vec::new(), false);
        for question in packet.questions.iter().take(MOST_QUESTIONS) {
            for claim in state.claims.iter().filter(|c| c.is_ours()) {
                let shared = self.shared(claim.of).into_iter();
                let shared: Vec<Record> = shared.filter(|r| is_asked(question, r)).collect();
                is_shared |= !shared.is_empty();
                all.extend(shared);
                let unique = self.unique(&state.link, claim.of).into_iter();
                let unique: Vec<Record> = unique.filter(|r| is_asked(question, r)).collect();
                if unique.is_empty() && claim.of == Of::Host {
                    all.extend(self.denial(&state.link, question));
                }
                all.extend(unique);
            }
        }
        let mut seen = HashSet::new();
        all.retain(|record: &Record| seen.insert(record.clone()));
        (all, is_shared)
    }

    /// The answer that the host has no address of this kind. RFC 6762 §6.1.
    fn denial(&self, link: &Link, question: &Question<'_>) -> Option<Record> {
        let name = self.host_name();
        let is_meant = question.qname == name && question.qtype != QTYPE::ANY;
        let addresses = published(link);
        let has_v4 = addresses.iter().any(IpAddr::is_ipv4);
        let has_v6 = addresses.iter().any(IpAddr::is_ipv6);
        is_meant.then(|| message::no_other(&name, has_v4, has_v6))
    }

    /// Answers a simple resolver, which asks from another port and does not know multicast DNS.
    /// RFC 6762 §6.7.
    fn answer_one_shot(
        &mut self,
        now: Mono,
        at: usize,
        from: SocketAddr,
        packet: &Packet<'_>,
        mut answers: Vec<Record>,
    ) {
        if now.since(self.one_shot.0) >= Duration::from_secs(1) {
            self.one_shot = (now, 0);
        }
        // No resolver has such a port, but services that answer anything do: that would be a loop.
        if answers.is_empty() || from.port() < 1024 || self.one_shot.1 >= MOST_ONE_SHOT {
            return;
        }
        self.one_shot.1 += 1;
        let mut additional = self.additional(at, &answers);
        for record in answers.iter_mut().chain(&mut additional) {
            record.ttl = record.ttl.min(ONE_SHOT_TTL);
            record.cache_flush = false;
        }
        let with = |additional: Vec<Record>| {
            let mut reply = message::response(answers.clone(), additional);
            reply.set_id(packet.id());
            let questions = packet.questions.iter().take(MOST_QUESTIONS);
            reply.questions = questions.cloned().map(Question::into_owned).collect();
            message::bytes(&reply)
        };
        if let Some(bytes) = with(additional).or_else(|| with(Vec::new())) {
            self.send(at, Some(from), bytes);
        }
    }
}

fn is_asked(question: &Question<'_>, record: &Record) -> bool {
    let kind = match question.qtype {
        QTYPE::ANY => true,
        QTYPE::TYPE(kind) => message::is(record, kind),
        _ => false,
    };
    let is_class = matches!(question.qclass, QCLASS::ANY | QCLASS::CLASS(CLASS::IN));
    kind && is_class && record.name == question.qname
}

fn question(name: &Name<'static>, kind: QTYPE) -> Question<'static> {
    Question::new(name.clone(), kind, QCLASS::CLASS(CLASS::IN), false)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The services that other machines can reach.
fn services(facts: &Facts) -> Vec<Service> {
    let host = host_label(&facts.host);
    let service = |kind, name: &str, path: String, address: SocketAddr| {
        let label = match name == host {
            true => host.clone(),
            false => format!("{} on {host}", message::label(name, "")),
        };
        Service {
            id: 0,
            kind,
            label: Label::new(label),
            path,
            address,
        }
    };
    let is_for_others = |address: &SocketAddr| !address.ip().is_loopback();
    let rtsp = facts.rtsp.filter(is_for_others);
    let page = facts.page.filter(is_for_others);
    let streams = rtsp.into_iter().flat_map(|address| {
        let one = move |name: &String| service(Kind::Rtsp, name, path_of(name), address);
        facts.streams.iter().map(one)
    });
    let page = page.map(|address| service(Kind::Http, "lancam", "/".to_owned(), address));
    streams.chain(page).collect()
}

/// The first label of the machine's name, reduced to the characters that RFC 952 allows.
fn host_label(name: &str) -> String {
    let first = name.split('.').next().unwrap_or_default();
    let kept = first
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
    let label = message::label(&kept.collect::<String>(), "");
    match label.is_empty() || label.eq_ignore_ascii_case("localhost") {
        true => "lancam".to_owned(),
        false => label,
    }
}

/// The addresses of the host's name on a link. As in Avahi, link-local ones only if there is no
/// other of their IP version: two programs that answer for a name must give the same answer.
fn published(link: &Link) -> Vec<IpAddr> {
    let all = &link.addresses;
    let is_best = |ip: &&IpAddr| {
        let mut alike = all.iter().filter(|other| other.is_ipv4() == ip.is_ipv4());
        !message::is_link_local(ip) || alike.all(message::is_link_local)
    };
    all.iter().filter(is_best).copied().collect()
}
