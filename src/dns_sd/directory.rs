//! The RTSP services of others, as advertised by DNS-SD (RFC 6763). Sans-IO: datagrams and times
//! in, services and questions out.
//!
//! Not a cache of records: it keeps only what a list shows, within bounds. It is fair to hosts, so
//! that one with many services cannot keep others out. A service that has been silent for a while
//! is forgotten whatever its TTL, since the camera may have been unplugged.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use super::message::{self, Kind, PORT, Record};
use super::path;
use crate::clock::Mono;
use crate::text::printable;

/// Most services kept, some 500 bytes each.
const MAX_SERVICES: usize = 512;
/// Most services of one host.
const MAX_OF_HOST: usize = 64;
/// Most addresses of one service.
const MAX_ADDRESSES: usize = 8;
/// Most characters of a name; the same as in an announcement by SAP.
const MAX_NAME: usize = 128;
/// The shortest and the longest time between questions. RFC 6762 §5.2: "the intervals between
/// successive queries MUST increase by at least a factor of two".
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A service is forgotten after this time, in which it has left three questions unanswered.
const FORGOTTEN: Duration = Duration::from_secs(200);
/// RFC 6762 §10.1: a withdrawn record is kept for one second.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often to ask for the missing records of a service, and the wait before the first time.
const MOST_ASKED: u8 = 3;
const ASK_AFTER: Duration = Duration::from_millis(200);
/// Most services in one query.
const ASKED_AT_ONCE: usize = 8;
/// Most known answers in one query.
const MOST_KNOWN: usize = 24;

/// An advertised service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, safe to print on a terminal.
    pub name: String,
    /// The addresses of the host that advertised it.
    pub from: Vec<IpAddr>,
    /// The index of the interface on which this was received.
    pub interface: u32,
    /// Its addresses, the most useful one first.
    pub addresses: Vec<SocketAddr>,
    /// The path, as advertised.
    pub path: String,
    /// When it first appeared.
    pub since: Mono,
}

/// A service, as far as it is known.
#[derive(Debug)]
struct Entry {
    name: Name<'static>,
    service: Service,
    /// The host in its SRV record.
    host: Option<(Name<'static>, u16)>,
    has_text: bool,
    addresses: Vec<IpAddr>,
    heard: Mono,
    expires: Mono,
    asked: u8,
    ask_at: Mono,
}

/// The services, in order of appearance.
#[derive(Debug, Default)]
pub struct Directory {
    entries: Vec<Entry>,
    turned_away: u64,
    ask_at: Mono,
    wait: Duration,
}

impl Service {
    /// Its URL, safe to print and paste; `None` if not known yet.
    pub fn url(&self) -> Option<String> {
        let address = self.addresses.first()?;
        Some(path::url(*address, &self.path))
    }

    /// Whether a user who says `name` may mean this service.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.path == path::path_of(name)
    }

    /// Whether this is the stream `name` of the host with this address.
    pub fn is_stream(&self, name: &str, host: IpAddr) -> bool {
        let is_there = self.from.contains(&host) || self.addresses.iter().any(|a| a.ip() == host);
        is_there && self.path == path::path_of(name)
    }
}

impl Entry {
    /// What is still missing.
    fn missing(&self) -> Vec<(Name<'static>, TYPE)> {
        let mut missing = Vec::new();
        if self.host.is_none() {
            missing.push((self.name.clone(), TYPE::SRV));
        }
        if !self.has_text {
            missing.push((self.name.clone(), TYPE::TXT));
        }
        if let Some((host, _)) = self.host.as_ref().filter(|_| self.addresses.is_empty()) {
            missing.push((host.clone(), TYPE::A));
            missing.push((host.clone(), TYPE::AAAA));
        }
        missing
    }

    fn settle(&mut self) {
        let port = self.host.as_ref().map_or(0, |(_, port)| *port);
        // IPv4 first, as every player knows it; link-local addresses mean nothing without their
        // interface, which URLs do not have (RFC 6874 is hardly implemented).
        self.addresses
            .sort_by_key(|ip| (message::is_link_local(ip), ip.is_ipv6()));
        let usable = self.addresses.iter().map(|ip| SocketAddr::new(*ip, port));
        self.service.addresses = usable.filter(|_| port != 0).collect();
    }
}

impl Directory {
    /// The services with known addresses.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        let all = self.entries.iter().map(|entry| &entry.service);
        all.filter(|service| !service.addresses.is_empty())
    }

    /// Counts services for which there was no room, each time they were advertised.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Takes a datagram from `from`, received on `interface`.
    pub fn push(&mut self, now: Mono, from: SocketAddr, interface: u32, datagram: &[u8]) {
        // RFC 6762 §6: responses from another port are ignored.
        let Some(packet) = message::parse(datagram).filter(|_| from.port() == PORT) else {
            return;
        };
        if !message::is_response(&packet) {
            return;
        }
        let records = || {
            let all = packet.answers.iter().chain(&packet.additional_records);
            all.filter(|record| record.class == CLASS::IN)
        };
        // In this order, since each kind of record refers to the next.
        let kind = Kind::Rtsp.name();
        for record in records().filter(|record| record.name == kind) {
            if let RData::PTR(to) = &record.rdata {
                self.pointed(now, from.ip(), interface, &to.0, record.ttl);
            }
        }
        for record in records() {
            self.describe(now, record);
        }
        self.locate(&records().collect::<Vec<_>>());
    }

    /// Takes a PTR record: an instance exists, or no longer.
    fn pointed(&mut self, now: Mono, from: IpAddr, interface: u32, name: &Name<'_>, ttl: u32) {
        let known = self.entries.iter_mut().find(|e| e.name == *name);
        if let Some(entry) = known {
            entry.heard = now;
            let heard_from = &mut entry.service.from;
            if heard_from.len() < MAX_ADDRESSES && !heard_from.contains(&from) {
                heard_from.push(from);
            }
            entry.expires = match ttl {
                0 => now + GOODBYE,
                _ => now + FORGOTTEN.min(Duration::from_secs(ttl.into())),
            };
            return;
        }
        let Some(label) = name.without(&Kind::Rtsp.name()).filter(|_| ttl > 0) else {
            return;
        };
        let is_of_host = |e: &&Entry| e.service.from.contains(&from);
        let of_host = self.entries.iter().filter(is_of_host).count();
        if self.entries.len() >= MAX_SERVICES || of_host >= MAX_OF_HOST {
            self.turned_away += 1;
            return;
        }
        // RFC 6763 §4.1.1: one label, in UTF-8.
        let labels: Vec<_> = label.as_bytes().map(String::from_utf8_lossy).collect();
        self.entries.push(Entry {
            name: name.clone().into_owned(),
            service: Service {
                name: printable(&labels.join("."), MAX_NAME),
                from: vec![from],
                interface,
                addresses: Vec::new(),
                path: String::new(),
                since: now,
            },
            host: None,
            has_text: false,
            addresses: Vec::new(),
            heard: now,
            expires: now + FORGOTTEN.min(Duration::from_secs(ttl.into())),
            asked: 0,
            ask_at: now + ASK_AFTER,
        });
    }

    /// Takes the SRV and TXT records of an instance: host, port and path.
    fn describe(&mut self, now: Mono, record: &ResourceRecord<'_>) {
        if record.ttl == 0 {
            return;
        }
        let Some(entry) = self.entries.iter_mut().find(|e| e.name == record.name) else {
            return;
        };
        match &record.rdata {
            RData::SRV(srv) => {
                let host = srv.target.clone().into_owned();
                if entry.host.as_ref().is_none_or(|(name, _)| *name != host) {
                    entry.addresses.clear();
                    entry.asked = 0;
                    entry.ask_at = now + ASK_AFTER;
                }
                entry.host = Some((host, srv.port));
                entry.settle();
            }
            RData::TXT(txt) => {
                entry.has_text = true;
                let is_path = |(key, _): &(&[u8], _)| key.eq_ignore_ascii_case(b"path");
                let path = txt.iter_raw().find(is_path).and_then(|(_, value)| value);
                entry.service.path = String::from_utf8_lossy(path.unwrap_or_default()).into_owned();
            }
            _ => {}
        }
    }

    /// Takes the addresses of the instances' hosts.
    fn locate(&mut self, records: &[&ResourceRecord<'_>]) {
        if !records.iter().any(|r| message::address(r).is_some()) {
            return;
        }
        for entry in &mut self.entries {
            let Some((host, _)) = &entry.host else {
                continue;
            };
            let of_host = records.iter().filter(|r| r.ttl > 0 && r.name == *host);
            let told: Vec<(IpAddr, bool)> = of_host
                .filter_map(|r| Some((message::address(r)?, r.cache_flush)))
                .take(MAX_ADDRESSES)
                .collect();
            if told.is_empty() {
                continue;
            }
            // RFC 6762 §10.2: they replace the earlier ones of their type.
            for is_ipv6 in [false, true] {
                let replaces = |(ip, flush): &(IpAddr, bool)| *flush && ip.is_ipv6() == is_ipv6;
                if told.iter().any(replaces) {
                    entry.addresses.retain(|ip| ip.is_ipv6() != is_ipv6);
                }
            }
            for (ip, _) in told {
                if entry.addresses.len() < MAX_ADDRESSES && !entry.addresses.contains(&ip) {
                    entry.addresses.push(ip);
                }
            }
            entry.settle();
        }
    }

    /// Forgets what has expired; returns the questions to multicast now.
    pub fn poll(&mut self, now: Mono) -> Vec<Vec<u8>> {
        self.entries.retain(|entry| now < entry.expires);
        let mut out = Vec::new();
        if now >= self.ask_at {
            self.wait = (self.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
            self.ask_at = now + self.wait;
            out.extend(message::bytes(&self.question(now)));
        }
        let mut packet = Packet::new_query(0);
        let is_due = |e: &&mut Entry| now >= e.ask_at && e.asked < MOST_ASKED;
        let asked = self
            .entries
            .iter_mut()
            .filter(is_due)
            .filter(|e| !e.missing().is_empty());
        for entry in asked.take(ASKED_AT_ONCE) {
            entry.asked += 1;
            entry.ask_at = now + FIRST_WAIT;
            let questions = entry.missing().into_iter();
            packet
                .questions
                .extend(questions.map(|(name, kind)| question(name, kind)));
        }
        if !packet.questions.is_empty() {
            out.extend(message::bytes(&packet));
        }
        out
    }

    /// The question for all services; those heard of recently are its known answers: RFC 6762 §7.1.
    fn question(&self, now: Mono) -> Packet<'static> {
        let mut packet = Packet::new_query(0);
        packet
            .questions
            .push(question(Kind::Rtsp.name(), TYPE::PTR));
        let is_known = |e: &&Entry| now.since(e.heard) < LONGEST_WAIT && e.missing().is_empty();
        let known = self.entries.iter().filter(is_known);
        let known = known.map(|e| message::pointer(Kind::Rtsp.name(), e.name.clone()));
        packet.answers = known.take(MOST_KNOWN).collect::<Vec<Record>>();
        while message::bytes(&packet).is_none() && packet.answers.pop().is_some() {}
        packet
    }
}

fn question(name: Name<'static>, kind: TYPE) -> Question<'static> {
    let class = QCLASS::CLASS(CLASS::IN);
    Question::new(name, QTYPE::TYPE(kind), class, false)
}
