//! Session announcements (SAP, RFC 2974): packets, where and how often they are sent, and a directory of those that
//! were heard. Not the descriptions that they carry: those are [`super::sdp`]. Encrypted and compressed announcements
//! are refused: nobody is known to send them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::sdp::{SdpError, StreamDescription};
use crate::clock::Mono;

/// The port of all announcements. RFC 2974 §3.
pub const PORT: u16 = 9875;
/// Longest announcement that is read, in bytes. RFC 2974 §6 recommends under 1 kB.
pub const MAX_LEN: usize = 16 * 1024;

const V4_GLOBAL: Ipv4Addr = Ipv4Addr::new(224, 2, 127, 254);
const V4_ORGANISATION: Ipv4Addr = Ipv4Addr::new(239, 195, 255, 255);
const V4_LOCAL: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 255);
const V4_LINK: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 255);
/// The scopes of IPv6 groups that have a name. RFC 7346 §2.
const V6_SCOPES: [u16; 7] = [1, 2, 3, 4, 5, 8, 14];

/// Where a stream that goes to `destination` is announced: the group of its scope. `None`: it goes to one
/// host, and is not announced. RFC 2974 §3.
pub fn group_for(destination: IpAddr) -> Option<SocketAddr> {
    if !destination.is_multicast() {
        return None;
    }
    let group = match destination {
        IpAddr::V4(v4) => v4_group(v4).into(),
        // "FF0X:0:0:0:0:0:2:7FFE", X being the scope of the stream's group.
        IpAddr::V6(v6) => v6_group(v6.segments()[0] & 0xf).into(),
    };
    Some(SocketAddr::new(group, PORT))
}

/// "The highest multicast address in the relevant administrative scope zone" (RFC 2974 §3), with the zones of
/// RFC 2365 §6. Of 239/8 outside of its two named zones nobody can know the zone: it is taken for local, as
/// ffmpeg takes it.
fn v4_group(destination: Ipv4Addr) -> Ipv4Addr {
    match destination.octets() {
        [224, 0, 0, _] => V4_LINK,
        [239, 192..=195, ..] => V4_ORGANISATION,
        [239, ..] => V4_LOCAL,
        _ => V4_GLOBAL,
    }
}

fn v6_group(scope: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 2, 0x7ffe)
}

/// All groups that announcements may come to.
pub fn groups() -> Vec<IpAddr> {
    let v4 = [V4_GLOBAL, V4_ORGANISATION, V4_LOCAL, V4_LINK].map(IpAddr::V4);
    v4.into_iter()
        .chain(V6_SCOPES.map(|scope| IpAddr::V6(v6_group(scope))))
        .collect()
}

/// Why a datagram is no announcement that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SapError {
    /// Longer than [`MAX_LEN`].
    #[error("the announcement has {0} bytes, {MAX_LEN} are allowed")]
    TooLong(usize),
    /// It ends within its header.
    #[error("the announcement ends within its header")]
    Short,
    /// Not version 1.
    #[error("version {0} of SAP is not known")]
    Version(u8),
    /// Encrypted (RFC 2974 §8).
    #[error("the announcement is encrypted")]
    Encrypted,
    /// Compressed by zlib (RFC 2974 §6).
    #[error("the announcement is compressed")]
    Compressed,
    /// It carries something else than SDP.
    #[error("the announcement carries no SDP")]
    NotSdp,
    /// Its SDP says nothing about a stream.
    #[error(transparent)]
    Sdp(#[from] SdpError),
}

/// One announcement, or the word that it holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The stream is over.
    pub is_deletion: bool,
    /// Together with `origin`, what identifies this version of this announcement. 0: not told.
    pub hash: u16,
    /// Who announces.
    pub origin: IpAddr,
    /// The SDP; of a deletion its `o=` line, or nothing.
    pub sdp: &'a [u8],
}

// RFC 2974 §6:
//  0                   1                   2                   3
//  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// | V=1 |A|R|T|E|C|   auth len    |         msg id hash           |
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// :                originating source (32 or 128 bits)            :
// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
// |                    optional authentication data               |
// :                     optional payload type, 0                  :
// :                             payload                           :
const VERSION: u8 = 1;
const IS_V6: u8 = 0x10;
const IS_DELETION: u8 = 0x04;
const IS_ENCRYPTED: u8 = 0x02;
const IS_COMPRESSED: u8 = 0x01;
const PAYLOAD_TYPE: &[u8] = b"application/sdp";

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// If it is no announcement, or one that lancam does not read.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, SapError> {
        if datagram.len() > MAX_LEN {
            return Err(SapError::TooLong(datagram.len()));
        }
        let (head, rest) = datagram.split_first_chunk::<4>().ok_or(SapError::Short)?;
        let [flags, auth_words, hash @ ..] = *head;
        match flags {
            _ if flags >> 5 != VERSION => return Err(SapError::Version(flags >> 5)),
            _ if flags & IS_ENCRYPTED != 0 => return Err(SapError::Encrypted),
            _ if flags & IS_COMPRESSED != 0 => return Err(SapError::Compressed),
            _ => {}
        }
        let (origin, rest) = origin(flags, rest).ok_or(SapError::Short)?;
        // Authentication data is stepped over: lancam knows no keys.
        let rest = rest
            .get(usize::from(auth_words) * 4..)
            .ok_or(SapError::Short)?;
        let is_deletion = flags & IS_DELETION != 0;
        Ok(Packet {
            is_deletion,
            hash: u16::from_be_bytes(hash),
            origin,
            sdp: payload(rest, is_deletion).ok_or(SapError::NotSdp)?,
        })
    }

    /// The datagram, written over `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        let (family, address) = match self.origin {
            IpAddr::V4(v4) => (0, v4.octets().to_vec()),
            IpAddr::V6(v6) => (IS_V6, v6.octets().to_vec()),
        };
        let deletion = if self.is_deletion { IS_DELETION } else { 0 };
        out.extend([VERSION << 5 | family | deletion, 0]);
        out.extend(self.hash.to_be_bytes());
        out.extend(address);
        // Optional, but ffmpeg drops announcements without it.
        out.extend(PAYLOAD_TYPE);
        out.push(0);
        out.extend(self.sdp);
    }
}

fn origin(flags: u8, rest: &[u8]) -> Option<(IpAddr, &[u8])> {
    if flags & IS_V6 != 0 {
        let (octets, rest) = rest.split_first_chunk::<16>()?;
        return Some((IpAddr::from(*octets), rest));
    }
    let (octets, rest) = rest.split_first_chunk::<4>()?;
    Some((IpAddr::from(*octets), rest))
}

/// RFC 2974 §6: "If the payload type is omitted, the payload is SDP; it starts with v=0 then."
fn payload(rest: &[u8], is_deletion: bool) -> Option<&[u8]> {
    if rest.starts_with(b"v=0") || is_deletion && (rest.is_empty() || rest.starts_with(b"o=")) {
        return Some(rest);
    }
    let end = rest.iter().position(|&b| b == 0)?;
    let (name, payload) = (&rest[..end], &rest[end + 1..]);
    name.eq_ignore_ascii_case(PAYLOAD_TYPE).then_some(payload)
}

/// A message id hash for `sdp`: another one for another text, as RFC 2974 §6 wants it, and never 0, which says that there
/// is none; VLC drops those.
pub fn hash(sdp: &[u8]) -> u16 {
    // FNV-1a, folded.
    let fnv = sdp.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((fnv >> 16) as u16 ^ fnv as u16).max(1)
}

/// What all announcements together may take of the network, in bits a second. RFC 2974 §3.1.
const BANDWIDTH: u64 = 4_000;
/// An announcement is not repeated more often than this (RFC 2974 §3.1 has 300 s, for a network that is the whole Internet):
/// who asks for a stream should not wait for it.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(2);
/// The first repeats of an announcement, which may be lost: the waits before the second and the third.
const FIRST_WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(700)];

/// The mean time between two announcements of a stream where all announcements have `bytes` bytes together. RFC 2974 §3.1.
pub fn interval(bytes: usize) -> Duration {
    let millis = (bytes as u64).saturating_mul(8 * 1000) / BANDWIDTH;
    Duration::from_millis(millis).max(SHORTEST_INTERVAL)
}

/// When to repeat one announcement.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    sent: usize,
}

impl Schedule {
    /// How long to wait after an announcement before the next, with `bytes` bytes of announcements on the network, this one
    /// among them. `random`: any number, another one each time.
    pub fn next(&mut self, bytes: usize, random: u32) -> Duration {
        let first = FIRST_WAITS.get(self.sent);
        self.sent = self.sent.saturating_add(1);
        if let Some(wait) = first {
            return *wait;
        }
        // RFC 2974 §3.1: "offset = rand(interval * 2/3) - (interval / 3)".
        let interval = interval(bytes);
        interval.mul_f64(2.0 / 3.0 + 2.0 / 3.0 * f64::from(random) / f64::from(u32::MAX))
    }

    /// Begins again with the quick repeats: what is announced has changed, or the network was away.
    pub fn restart(&mut self) {
        self.sent = 0;
    }
}

/// Streams that a directory holds at most.
const MOST_STREAMS: usize = 256;
/// Of one sender's.
const MOST_OF_ONE: usize = 64;
/// Bytes of their announcements together.
const MOST_BYTES: usize = 1 << 20;
/// A stream is forgotten after ten of its periods, but not before the shorter and at the latest after the longer time; after
/// the longer where its period is not known. RFC 2974 §4 would keep each for an hour: a sender that was
/// unplugged is gone sooner.
const TIME_OUT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// A stream that is announced.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// What is said of it.
    pub stream: StreamDescription,
    /// Who announces it: the datagrams' sender.
    pub from: IpAddr,
    /// The interface that it was heard on.
    pub interface: String,
    hash: u16,
    origin: IpAddr,
    bytes: usize,
    last: Mono,
    /// The longest time between two announcements.
    period: Option<Duration>,
}

impl Heard {
    fn is_same(&self, other: &Heard) -> bool {
        // Not by the session of the `o=` line: ffmpeg gives all of its streams the same one, and a sender that was
        // killed and comes back has another.
        self.from == other.from && self.stream.addr == other.stream.addr
    }

    /// Who the announcement says to be from.
    pub fn origin(&self) -> IpAddr {
        self.origin
    }

    /// Size of its announcement in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn times_out(&self) -> Mono {
        let after = self
            .period
            .map_or(TIME_OUT.1, |p| (p * 10).clamp(TIME_OUT.0, TIME_OUT.1));
        self.last + after
    }
}

/// What became of a stream in a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Appeared,
    /// Its description is another one.
    Changed,
    /// It is announced no more.
    Gone,
}

/// A change in a [`Directory`].
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub what: What,
    /// The stream.
    pub heard: Arc<Heard>,
}

/// The streams that are announced, in the order in which they were heard first. Bounded: strangers cannot make it large, nor put
/// streams out of it that are announced again and again.
#[derive(Debug, Default)]
pub struct Directory {
    streams: Vec<Arc<Heard>>,
    bytes: usize,
    refused: u64,
    turned_away: u64,
}

impl Directory {
    /// The streams.
    pub fn streams(&self) -> &[Arc<Heard>] {
        &self.streams
    }

    /// Bytes of their announcements together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Datagrams that were no announcement that can be read, or a deletion of nothing.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Announcements for which there was no room.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Takes a datagram that `from` sent and that came by `interface`.
    pub fn push(
        &mut self,
        now: Mono,
        from: IpAddr,
        interface: &str,
        datagram: &[u8],
    ) -> Vec<Change> {
        let taken = Packet::parse(datagram).and_then(|packet| {
            if packet.is_deletion {
                return Ok(self.delete(from, &packet));
            }
            let heard = Heard {
                stream: StreamDescription::parse(packet.sdp)?,
                from,
                interface: interface.to_owned(),
                hash: packet.hash,
                origin: packet.origin,
                bytes: datagram.len(),
                last: now,
                period: None,
            };
            Ok(self.announce(now, heard))
        });
        taken.unwrap_or_else(|_| {
            self.refused += 1;
            Vec::new()
        })
    }

    /// Forgets what has not been announced for long.
    pub fn expire(&mut self, now: Mono) -> Vec<Change> {
        let mut gone = Vec::new();
        while let Some(i) = self.streams.iter().position(|h| h.times_out() <= now) {
            gone.push(self.remove(i));
        }
        gone
    }

    /// Only who announced a stream can take it back, and only its latest version. RFC 2974 §4.
    fn delete(&mut self, from: IpAddr, packet: &Packet<'_>) -> Vec<Change> {
        let is_meant =
            |h: &Arc<Heard>| h.from == from && h.origin == packet.origin && h.hash == packet.hash;
        match self.streams.iter().position(is_meant) {
            Some(i) => vec![self.remove(i)],
            None => {
                self.refused += 1;
                Vec::new()
            }
        }
    }

    fn announce(&mut self, now: Mono, mut heard: Heard) -> Vec<Change> {
        let Some(i) = self.streams.iter().position(|h| h.is_same(&heard)) else {
            return self.add(heard);
        };
        let before = &self.streams[i];
        let gap = now.since(before.last);
        heard.period = Some(before.period.map_or(gap, |p| p.max(gap)));
        // A machine in two networks hears it twice: the first counts.
        heard.interface.clone_from(&before.interface);
        let is_changed = heard.stream != before.stream;
        self.bytes = self.bytes - before.bytes + heard.bytes;
        let heard = Arc::new(heard);
        self.streams[i] = Arc::clone(&heard);
        let what = What::Changed;
        is_changed
            .then_some(Change { what, heard })
            .into_iter()
            .collect()
    }

    fn add(&mut self, heard: Heard) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.has_room(&heard) {
            changes.extend(self.make_room(heard.from));
            if !self.has_room(&heard) {
                self.turned_away += 1;
                return changes;
            }
        }
        let heard = Arc::new(heard);
        self.bytes += heard.bytes;
        self.streams.push(Arc::clone(&heard));
        let what = What::Appeared;
        changes.push(Change { what, heard });
        changes
    }

    fn has_room(&self, heard: &Heard) -> bool {
        self.streams.len() < MOST_STREAMS
            && self.bytes + heard.bytes <= MOST_BYTES
            && self.of(heard.from) < MOST_OF_ONE
    }

    fn of(&self, from: IpAddr) -> usize {
        self.streams.iter().filter(|h| h.from == from).count()
    }

    /// Puts out one that was heard only once, perhaps to fill the directory up; of `from`, if that has too many.
    fn make_room(&mut self, from: IpAddr) -> Option<Change> {
        let is_many = self.of(from) >= MOST_OF_ONE;
        let is_loose = |h: &Arc<Heard>| h.period.is_none() && (!is_many || h.from == from);
        let i = self.streams.iter().position(is_loose)?;
        Some(self.remove(i))
    }

    fn remove(&mut self, i: usize) -> Change {
        let heard = self.streams.remove(i);
        self.bytes -= heard.bytes;
        let what = What::Gone;
        Change { what, heard }
    }

    /// The stream that `name` means: the one of that name, else the one of that name with other capitals, else (if
    /// `or_beginning`) the one whose name begins so. Several where there are several of the best kind; none where there is none.
    pub fn find(&self, name: &str, or_beginning: bool) -> Vec<Arc<Heard>> {
        let lower = name.to_lowercase();
        let kinds: [&dyn Fn(&str) -> bool; 3] =
            [&|n| n == name, &|n| n.to_lowercase() == lower, &|n| {
                or_beginning && n.to_lowercase().starts_with(&lower)
            }];
        let of_kind = |is_kind: &&dyn Fn(&str) -> bool| {
            let found = self.streams.iter().filter(|h| is_kind(&h.stream.name));
            found.cloned().collect::<Vec<_>>()
        };
        let found = kinds.iter().map(of_kind).find(|found| !found.is_empty());
        found.unwrap_or_default()
    }
}
