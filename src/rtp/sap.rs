//! Session announcements (SAP, RFC 2974): packets, where and how often they are sent, and a
//! directory of what others announce. The descriptions inside are [`super::sdp`]'s. Encrypted and
//! compressed announcements are refused: no sender of them is known.

use std::collections::HashMap;
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

/// Where a stream that goes to `destination` is announced: the group of its scope. `None`: it goes
/// to one host, and is not announced. RFC 2974 §3.
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

/// "The highest multicast address in the relevant administrative scope zone" (RFC 2974 §3), with
/// the zones of RFC 2365 §6. The zone of 239/8 outside its two named zones cannot be known: it is
/// taken for local, as ffmpeg takes it.
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

/// All groups that announcements may be sent to.
pub fn groups() -> Vec<IpAddr> {
    let v4 = [V4_GLOBAL, V4_ORGANISATION, V4_LOCAL, V4_LINK].map(IpAddr::V4);
    v4.into_iter()
        .chain(V6_SCOPES.map(|scope| IpAddr::V6(v6_group(scope))))
        .collect()
}

/// Why a datagram is not an announcement that lancam can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SapError {
    /// Longer than [`MAX_LEN`].
    #[error("the announcement is {0} bytes long, the limit is {MAX_LEN}")]
    TooLong(usize),
    /// It ends within its header.
    #[error("the announcement ends within its header")]
    Short,
    /// Not version 1.
    #[error("unknown SAP version {0}")]
    Version(u8),
    /// Encrypted (RFC 2974 §8).
    #[error("the announcement is encrypted")]
    Encrypted,
    /// Compressed by zlib (RFC 2974 §6).
    #[error("the announcement is compressed")]
    Compressed,
    /// It carries something other than SDP.
    #[error("the announcement carries no SDP")]
    NotSdp,
    /// Its SDP describes no stream.
    #[error(transparent)]
    Sdp(#[from] SdpError),
}

/// An announcement, or its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The stream is over.
    pub is_deletion: bool,
    /// With `origin`, identifies this version of this announcement. 0: unknown.
    pub hash: u16,
    /// The announcing host.
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
    /// It is not an announcement, or one that lancam does not read.
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
        // Authentication data is skipped: lancam has no keys.
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

/// A message id hash for `sdp`: different for different text, as RFC 2974 §6 wants, and never 0,
/// which means "none" and which VLC drops.
pub fn hash(sdp: &[u8]) -> u16 {
    // FNV-1a, folded.
    let fnv = sdp.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((fnv >> 16) as u16 ^ fnv as u16).max(1)
}

/// Bandwidth of all announcements together, in bits a second. RFC 2974 §3.1 has 4,000 "if not
/// otherwise specified", for a scope that may be the whole Internet; on a LAN a viewer should not
/// wait for minutes.
const BANDWIDTH: u64 = 40_000;
/// Announcements are not repeated more often than this. RFC 2974 §3.1 has 300 s, for the same
/// reason.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(2);
/// Nor less often, whatever others announce: at most 30 s apart, a third of it random.
const LONGEST_INTERVAL: Duration = Duration::from_millis(22_500);
/// The first repeats of an announcement, which may be lost: the waits before the second and the
/// third.
const FIRST_WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(700)];

/// The mean time between two announcements of a stream if its host announces `bytes` bytes in all,
/// and this many hosts announce. RFC 2974 §3.1, with the bandwidth shared by hosts: one that
/// announces much delays itself, not the others.
pub fn interval(bytes: usize, hosts: usize) -> Duration {
    let bits = (bytes as u64 * 8).saturating_mul(hosts as u64);
    let millis = bits.saturating_mul(1000) / BANDWIDTH;
    Duration::from_millis(millis).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// The longest that may pass between two announcements with the mean `interval`.
pub fn longest(interval: Duration) -> Duration {
    interval.mul_f64(4.0 / 3.0)
}

/// When to repeat one announcement.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    sent: usize,
}

impl Schedule {
    /// How long to wait after an announcement before the next, with the mean `interval`. `random`:
    /// any number, different each time.
    pub fn next(&mut self, interval: Duration, random: u32) -> Duration {
        let first = FIRST_WAITS.get(self.sent);
        self.sent = self.sent.saturating_add(1);
        if let Some(wait) = first {
            return *wait;
        }
        // RFC 2974 §3.1: "offset = rand(interval * 2/3) - (interval / 3)".
        interval.mul_f64(2.0 / 3.0 + 2.0 / 3.0 * f64::from(random) / f64::from(u32::MAX))
    }

    /// Restarts with the quick repeats: the description has changed, or the network was down.
    pub fn restart(&mut self) {
        self.sent = 0;
    }
}

/// Streams that a directory holds at most, some 2 KB each.
const MAX_STREAMS: usize = 1024;
/// Of one host's.
const MAX_OF_HOST: usize = 64;
/// A stream is forgotten after ten of its periods, but not before the shorter and at the latest
/// after the longer time; after the longer if its period is not known. RFC 2974 §4 would keep each
/// for an hour: a sender that was unplugged is gone sooner.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// A stream that is announced.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Its description.
    pub stream: StreamDescription,
    /// The host that announces it: the source address of the datagrams.
    pub from: IpAddr,
    /// The interface that the announcements come in on.
    pub interface: String,
    hash: u16,
    origin: IpAddr,
    bytes: usize,
    last: Mono,
    /// The longest time between two announcements; `None`: there was only one.
    period: Option<Duration>,
}

impl Listing {
    /// Whether both are of the same stream, perhaps with different versions of its description.
    pub fn is_same(&self, other: &Listing) -> bool {
        // Not by the session of the `o=` line: ffmpeg gives all its streams the same one, and a
        // sender that was killed and comes back has another.
        self.from == other.from && self.stream.addr == other.stream.addr
    }

    /// The originating source in the SAP header.
    pub fn origin(&self) -> IpAddr {
        self.origin
    }

    /// Whether this was announced later than the other, which may be over.
    pub fn is_newer_than(&self, other: &Listing) -> bool {
        self.last > other.last
    }

    fn times_out(&self) -> Mono {
        let after = self
            .period
            .map_or(TIMEOUT.1, |p| (p * 10).clamp(TIMEOUT.0, TIMEOUT.1));
        self.last + after
    }
}

/// What became of a stream in a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Appeared,
    /// Its description has changed.
    Changed,
    /// It is no longer announced.
    Gone,
}

/// A change in a [`Directory`].
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub what: What,
    /// The stream.
    pub listing: Arc<Listing>,
}

/// The announced streams, in the order in which they appeared. Bounded and fair to hosts: one that
/// announces many cannot keep another's out.
#[derive(Debug, Default)]
pub struct Directory {
    streams: Vec<Arc<Listing>>,
    refused: u64,
    turned_away: u64,
}

impl Directory {
    /// The streams.
    pub fn streams(&self) -> &[Arc<Listing>] {
        &self.streams
    }

    /// Datagrams that lancam cannot read as announcements, and deletions of unknown streams.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Announcements for which there was no room.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// The hosts that keep announcing, each with the bytes of its announcements. What came once may
    /// never come again.
    pub fn hosts(&self) -> HashMap<IpAddr, usize> {
        let mut hosts = HashMap::new();
        for listing in self.streams.iter().filter(|l| l.period.is_some()) {
            *hosts.entry(listing.from).or_default() += listing.bytes;
        }
        hosts
    }

    /// The longest time that any of them takes between two announcements.
    pub fn longest_interval(&self) -> Duration {
        let hosts = self.hosts();
        let intervals = hosts.values().map(|&bytes| interval(bytes, hosts.len()));
        longest(intervals.max().unwrap_or(SHORTEST_INTERVAL))
    }

    /// Takes a datagram that `from` sent and that came in on `interface`.
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
            let listing = Listing {
                stream: StreamDescription::parse(packet.sdp)?,
                from,
                interface: interface.to_owned(),
                hash: packet.hash,
                origin: packet.origin,
                bytes: datagram.len(),
                last: now,
                period: None,
            };
            Ok(self.announce(now, listing))
        });
        taken.unwrap_or_else(|_| {
            self.refused += 1;
            Vec::new()
        })
    }

    /// Removes what has not been announced for long.
    pub fn expire(&mut self, now: Mono) -> Vec<Change> {
        let mut gone = Vec::new();
        while let Some(i) = self.streams.iter().position(|l| l.times_out() <= now) {
            gone.push(self.remove(i));
        }
        gone
    }

    /// Only who announced a stream can take it back, and only its latest version. RFC 2974 §4.
    fn delete(&mut self, from: IpAddr, packet: &Packet<'_>) -> Vec<Change> {
        let is_meant =
            |l: &Arc<Listing>| l.from == from && l.origin == packet.origin && l.hash == packet.hash;
        match self.streams.iter().position(is_meant) {
            Some(i) => vec![self.remove(i)],
            None => {
                self.refused += 1;
                Vec::new()
            }
        }
    }

    fn announce(&mut self, now: Mono, mut listing: Listing) -> Vec<Change> {
        let Some(i) = self.streams.iter().position(|l| l.is_same(&listing)) else {
            return self.add(listing);
        };
        let before = &self.streams[i];
        let gap = now.since(before.last);
        listing.period = Some(before.period.map_or(gap, |p| p.max(gap)));
        // A machine in two networks receives it twice: the first counts.
        listing.interface.clone_from(&before.interface);
        let is_changed = listing.stream != before.stream;
        let listing = Arc::new(listing);
        self.streams[i] = Arc::clone(&listing);
        let what = What::Changed;
        is_changed
            .then_some(Change { what, listing })
            .into_iter()
            .collect()
    }

    fn add(&mut self, listing: Listing) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.streams.len() >= MAX_STREAMS || self.of(listing.from) >= MAX_OF_HOST {
            let Some(i) = self.dispensable(listing.from) else {
                self.turned_away += 1;
                return changes;
            };
            changes.push(self.remove(i));
        }
        let listing = Arc::new(listing);
        self.streams.push(Arc::clone(&listing));
        let what = What::Appeared;
        changes.push(Change { what, listing });
        changes
    }

    fn of(&self, host: IpAddr) -> usize {
        self.streams.iter().filter(|l| l.from == host).count()
    }

    /// The stream to remove for a new one of `host`: the newest of the host that has most,
    /// preferably one announced only once. That host may be `host` itself, which then keeps what it
    /// announces repeatedly.
    fn dispensable(&self, host: IpAddr) -> Option<usize> {
        let mut counts = HashMap::from([(host, 0)]);
        for listing in &self.streams {
            *counts.entry(listing.from).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let is_own = counts[&host] == most;
        let streams = self.streams.iter().enumerate();
        let found = streams.filter(|(_, l)| match is_own {
            true => l.from == host && l.period.is_none(),
            false => counts[&l.from] == most,
        });
        let found = found.max_by_key(|(i, l)| (l.period.is_none(), *i));
        found.map(|(i, _)| i)
    }

    fn remove(&mut self, i: usize) -> Change {
        Change {
            what: What::Gone,
            listing: self.streams.remove(i),
        }
    }

    /// The streams that `name` means: those of that name, else of that name in other capitals, else
    /// (if `or_beginning`) those whose names begin with it. `name@address` means those of one host.
    pub fn find(&self, name: &str, or_beginning: bool) -> Vec<Arc<Listing>> {
        let found = self.of_name(name, None, or_beginning);
        if !found.is_empty() {
            return found;
        }
        let Some((name, host)) = name.rsplit_once('@') else {
            return found;
        };
        match host.parse() {
            Ok(host) => self.of_name(name, Some(host), or_beginning),
            Err(_) => found,
        }
    }

    fn of_name(&self, name: &str, host: Option<IpAddr>, or_beginning: bool) -> Vec<Arc<Listing>> {
        let lower = name.to_lowercase();
        let kinds: [&dyn Fn(&str) -> bool; 3] =
            [&|n| n == name, &|n| n.to_lowercase() == lower, &|n| {
                or_beginning && n.to_lowercase().starts_with(&lower)
            }];
        let is_of_host = |l: &&Arc<Listing>| host.is_none_or(|host| l.from == host);
        let of_kind = |is_kind: &&dyn Fn(&str) -> bool| {
            let found = self.streams.iter().filter(is_of_host);
            let found = found.filter(|l| is_kind(&l.stream.name));
            found.cloned().collect::<Vec<_>>()
        };
        let found = kinds.iter().map(of_kind).find(|found| !found.is_empty());
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\no=- 7 1 IN IP4 10.0.0.7\r\ns=porch\r\nc=IN IP4 224.3.29.71/1\r\nt=0 0\r\n\
        m=video 10000 RTP/AVP 26\r\n";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn packet(sdp: &str, is_deletion: bool) -> Vec<u8> {
        let mut out = Vec::new();
        Packet {
            is_deletion,
            hash: hash(sdp.as_bytes()),
            origin: ip("10.0.0.7"),
            sdp: sdp.as_bytes(),
        }
        .write(&mut out);
        out
    }

    /// A stream of its own by name and port.
    fn stream(name: &str, port: u16) -> String {
        SDP.replace("porch", name)
            .replace("10000", &port.to_string())
    }

    /// Each change in a word.
    fn words(changes: Vec<Change>) -> Vec<String> {
        let word = |c: &Change| format!("{:?} {}", c.what, c.listing.stream.name);
        changes.iter().map(word).collect()
    }

    struct Listener {
        directory: Directory,
        now: Mono,
    }

    impl Listener {
        fn new() -> Listener {
            Listener {
                directory: Directory::default(),
                now: Mono(0),
            }
        }

        fn after(&mut self, seconds: u64) -> &mut Listener {
            self.now = self.now + Duration::from_secs(seconds);
            self
        }

        fn receives(&mut self, from: &str, datagram: &[u8]) -> Vec<String> {
            words(self.directory.push(self.now, ip(from), "eth0", datagram))
        }
    }

    #[test]
    fn the_header_byte_by_byte() {
        let mut out = Vec::new();
        let packet = Packet {
            is_deletion: false,
            hash: 0x1234,
            origin: ip("10.0.0.7"),
            sdp: b"v=0\r\n",
        };
        packet.write(&mut out);
        assert_eq!(out, b"\x20\0\x12\x34\x0a\0\0\x07application/sdp\0v=0\r\n");
        assert_eq!(Packet::parse(&out), Ok(packet));
        let deletion = Packet {
            is_deletion: true,
            origin: ip("2001:db8::7"),
            ..packet
        };
        deletion.write(&mut out);
        assert_eq!(out[0], 0x34);
        assert_eq!(Packet::parse(&out), Ok(deletion));
    }

    #[test]
    fn what_others_send_is_read() {
        // Two words of authentication data, no payload type.
        let bare = [b"\x20\x02\0\x01\x0a\0\0\x07", &[0xff; 8][..], b"v=0\n"].concat();
        assert_eq!(Packet::parse(&bare).unwrap().sdp, b"v=0\n");
        let upper = b"\x20\0\0\x01\x0a\0\0\x07Application/SDP\0v=0\n";
        assert_eq!(Packet::parse(upper).unwrap().sdp, b"v=0\n");
        let deletion = b"\x24\0\0\x01\x0a\0\0\x07";
        assert!(Packet::parse(deletion).unwrap().is_deletion);
    }

    #[test]
    fn what_is_not_read_says_why() {
        let refused = |bytes: &[u8]| Packet::parse(bytes).unwrap_err();
        assert_eq!(refused(b""), SapError::Short);
        assert_eq!(refused(b"\x20\0\0\x01\x0a\0\0"), SapError::Short);
        assert_eq!(refused(b"\x20\xff\0\x01\x0a\0\0\x07v=0"), SapError::Short);
        assert_eq!(
            refused(b"\x40\0\0\x01\x0a\0\0\x07v=0"),
            SapError::Version(2)
        );
        assert_eq!(refused(b"\x22\0\0\x01\x0a\0\0\x07v=0"), SapError::Encrypted);
        assert_eq!(
            refused(b"\x21\0\0\x01\x0a\0\0\x07v=0"),
            SapError::Compressed
        );
        assert_eq!(
            refused(b"\x20\0\0\x01\x0a\0\0\x07text/plain\0x"),
            SapError::NotSdp
        );
        assert_eq!(refused(b"\x20\0\0\x01\x0a\0\0\x07"), SapError::NotSdp);
        assert_eq!(
            refused(&vec![0x20; MAX_LEN + 1]),
            SapError::TooLong(MAX_LEN + 1)
        );
    }

    #[test]
    fn each_scope_has_its_group() {
        let group = |to: &str| group_for(ip(to)).map(|g| g.to_string());
        assert_eq!(group("224.3.29.71").unwrap(), "224.2.127.254:9875");
        assert_eq!(group("232.1.1.1").unwrap(), "224.2.127.254:9875");
        assert_eq!(group("239.255.1.1").unwrap(), "239.255.255.255:9875");
        assert_eq!(group("239.192.1.1").unwrap(), "239.195.255.255:9875");
        assert_eq!(group("239.9.9.9").unwrap(), "239.255.255.255:9875");
        assert_eq!(group("224.0.0.200").unwrap(), "224.0.0.255:9875");
        assert_eq!(group("ff15::1").unwrap(), "[ff05::2:7ffe]:9875");
        assert_eq!(group("ff3e::1").unwrap(), "[ff0e::2:7ffe]:9875");
        assert_eq!(group("10.0.0.7"), None);
        assert_eq!(group("fe80::1"), None);
        for to in [
            "224.3.29.71",
            "239.255.1.1",
            "239.193.1.1",
            "ff12::1",
            "ff18::1",
        ] {
            let group = group_for(ip(to)).unwrap().ip();
            assert!(groups().contains(&group), "nobody listens to {group}");
        }
    }

    #[test]
    fn the_hash_tells_versions_apart_and_is_never_0() {
        assert_ne!(hash(b"o=- 7 1"), hash(b"o=- 7 2"));
        let zero = (0..200_000_u32).find(|n| {
            let fnv = n.to_string().bytes().fold(0x811c_9dc5_u32, |h, b| {
                (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
            });
            (fnv >> 16) as u16 == fnv as u16
        });
        let text = zero.expect("one text in 65,536 would have it").to_string();
        assert_eq!(hash(text.as_bytes()), 1);
    }

    #[test]
    fn repeats_are_quick_at_first_and_then_keep_the_bandwidth() {
        let mut schedule = Schedule::default();
        let mean = interval(400, 1);
        let waits: Vec<_> = (0..2).map(|_| schedule.next(mean, 0)).collect();
        assert!(
            waits.iter().sum::<Duration>() < Duration::from_secs(1),
            "{waits:?}"
        );
        assert_eq!(schedule.next(mean, u32::MAX / 2).as_secs_f64().round(), 2.0);
        // 100 hosts with 400 bytes: 320,000 bits take 8 s at 40,000 bit/s, a third less or more.
        let near = |wait: Duration, seconds: f64| (wait.as_secs_f64() - seconds).abs() < 0.01;
        let mean = interval(400, 100);
        assert!(near(schedule.next(mean, 0), 8.0 * 2.0 / 3.0));
        assert!(near(schedule.next(mean, u32::MAX), 8.0 * 4.0 / 3.0));
        assert!(near(longest(mean), 8.0 * 4.0 / 3.0));
        schedule.restart();
        assert_eq!(schedule.next(mean, 0), waits[0]);
    }

    #[test]
    fn nobody_else_can_silence_a_stream() {
        for (bytes, hosts) in [(400, 1_000_000), (1 << 20, 1), (1 << 20, usize::MAX)] {
            let wait = Schedule { sent: 2 }.next(interval(bytes, hosts), u32::MAX);
            assert!(wait <= Duration::from_secs(30), "{bytes} {hosts}: {wait:?}");
        }
        // One host that announces a megabyte delays itself alone.
        assert_eq!(interval(400, 2), SHORTEST_INTERVAL);
    }

    #[test]
    fn a_stream_comes_changes_and_goes() {
        let mut listener = Listener::new();
        let first = packet(SDP, false);
        assert_eq!(listener.receives("10.0.0.7", &first), ["Appeared porch"]);
        assert!(listener.after(2).receives("10.0.0.7", &first).is_empty());
        let second = SDP.replace("7 1 IN", "7 2 IN");
        let changed = packet(&second, false);
        assert_eq!(
            listener.after(2).receives("10.0.0.7", &changed),
            ["Changed porch"]
        );
        // The deletion of the version before comes late.
        assert!(listener.receives("10.0.0.7", &packet(SDP, true)).is_empty());
        // Somebody else wants it gone.
        let deletion = packet(&second, true);
        assert!(listener.receives("10.0.0.8", &deletion).is_empty());
        assert_eq!(listener.directory.refused(), 2);
        assert_eq!(listener.receives("10.0.0.7", &deletion), ["Gone porch"]);
        assert!(listener.directory.streams().is_empty());
    }

    #[test]
    fn who_falls_silent_is_forgotten() {
        let mut listener = Listener::new();
        let datagram = packet(SDP, false);
        listener.receives("10.0.0.7", &datagram);
        listener.after(20).receives("10.0.0.7", &datagram);
        // A sender that announced once, with an unknown period.
        listener.receives("10.0.0.8", &datagram);
        let mut after = |seconds| {
            let now = listener.after(seconds).now;
            words(listener.directory.expire(now)).len()
        };
        assert_eq!((after(199), after(1), after(3399), after(1)), (0, 1, 0, 1));
    }

    #[test]
    fn strangers_can_neither_fill_it_up_nor_empty_it() {
        let mut listener = Listener::new();
        let known = packet(SDP, false);
        listener.receives("10.0.0.7", &known);
        listener.after(2).receives("10.0.0.7", &known);
        for host in 0..20 {
            for port in 1..100 {
                let from = format!("10.1.0.{host}");
                listener.receives(&from, &packet(&stream("flood", port), false));
            }
        }
        let directory = &listener.directory;
        assert_eq!(directory.streams().len(), MAX_STREAMS);
        assert_eq!(directory.find("porch", false).len(), 1);
        let from_one = |l: &&Arc<Listing>| l.from == ip("10.1.0.19");
        assert!(directory.streams().iter().filter(from_one).count() <= MAX_OF_HOST);
        // What came once does not count as an announcer.
        assert_eq!(directory.hosts().len(), 1);
        // A host that is new gets the place of one of theirs.
        let new = listener.receives("10.0.0.9", &packet(&stream("yard", 10_000), false));
        assert_eq!(new, ["Gone flood", "Appeared yard"]);
    }

    #[test]
    fn hosts_that_keep_announcing_many_make_room_too() {
        let mut listener = Listener::new();
        for _ in 0..3 {
            for (host, port) in (0..20).flat_map(|host| (1..=60).map(move |port| (host, port))) {
                let from = format!("10.1.0.{host}");
                listener.receives(&from, &packet(&stream("flood", port), false));
            }
            listener.after(2);
        }
        let new = listener.receives("10.0.0.9", &packet(&stream("yard", 10_000), false));
        assert_eq!(new, ["Gone flood", "Appeared yard"]);
        // As many as places, one each: those that were there first stay, but who comes is there at
        // first.
        let mut listener = Listener::new();
        listener.receives("10.0.0.7", &packet(SDP, false));
        for _ in 0..3 {
            listener.after(2).receives("10.0.0.7", &packet(SDP, false));
            for host in 0..1100 {
                let from = format!("10.1.{}.{}", host / 250, host % 250);
                listener.receives(&from, &packet(&stream("flood", 1), false));
            }
        }
        assert_eq!(listener.directory.find("porch", false).len(), 1);
        listener.receives("10.0.0.9", &packet(&stream("yard", 10_000), false));
        assert_eq!(listener.directory.find("yard", false).len(), 1);
    }

    #[test]
    fn names_are_found() {
        let mut listener = Listener::new();
        for (port, name) in [(1, "Porch"), (2, "porch"), (3, "Porch left"), (4, "yard")] {
            listener.receives("10.0.0.7", &packet(&stream(name, port), false));
        }
        listener.receives("10.0.0.8", &packet(&stream("yard", 4), false));
        let find = |name: &str, or_beginning| {
            let found = listener.directory.find(name, or_beginning);
            let names = found.iter().map(|h| h.stream.name.clone());
            names.collect::<Vec<_>>()
        };
        assert_eq!(find("porch", true), ["porch"]);
        assert_eq!(find("PORCH", true), ["Porch", "porch"]);
        assert_eq!(find("porch l", true), ["Porch left"]);
        assert_eq!(find("Y", true), ["yard", "yard"]);
        assert_eq!(find("yard@10.0.0.8", false), ["yard"]);
        assert_eq!(find("ya@10.0.0.8", true), ["yard"]);
        assert!(find("yard@10.0.0.9", true).is_empty());
        assert!(find("y", false).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(hash: u16, v6: bool, a: u128, is_deletion: bool, tail in "[ -~]{0,60}") {
            let origin = if v6 { IpAddr::V6(a.into()) } else { IpAddr::V4((a as u32).into()) };
            let sdp = format!("v=0\r\n{tail}");
            let packet = Packet { is_deletion, hash, origin, sdp: sdp.as_bytes() };
            let mut out = Vec::new();
            packet.write(&mut out);
            prop_assert_eq!(Packet::parse(&out), Ok(packet));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(
            head in 0x20_u8..0x40,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            lines in prop::collection::vec("[vosicbtamkrz]=[ -~]{0,40}", 0..8),
        ) {
            let mut directory = Directory::default();
            for datagram in [
                [&[head], &bytes[..]].concat(),
                [&[head, 0, 1, 2, 3, 4, 5, 6][..], b"v=0\n", lines.join("\n").as_bytes()].concat(),
            ] {
                let changes = directory.push(Mono(0), IpAddr::V4(Ipv4Addr::LOCALHOST), "lo", &datagram);
                prop_assert!(changes.len() <= 1);
            }
        }
    }
}
