//! Reading and writing messages of multicast DNS. The `simple-dns` crate knows the format (RFC 1035
//! §4.1). It trusts the counts in the header, so they are checked here first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{A, AAAA, NSEC, NsecTypeBitMap, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Label, Name, OPCODE, Packet, PacketFlag, RCODE, ResourceRecord, TYPE};

/// RFC 6762 §3.
pub(crate) const PORT: u16 = 5353;
pub(crate) const GROUPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
];
/// RFC 6762 §17: "a Multicast DNS packet, including IP and UDP headers, MUST NOT exceed 9000 bytes."
pub(crate) const MAX_LEN: usize = 9000 - 28;
/// The most that fits into an Ethernet frame with IPv6.
const ROOM: usize = 1452;
/// RFC 6762 §10: the TTL of records with a host's name or address, and of others, in seconds.
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;
/// Longest label in bytes. RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;

/// A record to send.
pub(super) type Record = ResourceRecord<'static>;

/// A kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rtsp,
    Http,
}

impl Kind {
    /// `_rtsp._tcp.local`
    pub(super) fn name(self) -> Name<'static> {
        match self {
            Kind::Rtsp => name(&["_rtsp", "_tcp", "local"]),
            Kind::Http => name(&["_http", "_tcp", "local"]),
        }
    }

    /// The name of an instance.
    pub(super) fn instance(self, label: &str) -> Name<'static> {
        match self {
            Kind::Rtsp => name(&[label, "_rtsp", "_tcp", "local"]),
            Kind::Http => name(&[label, "_http", "_tcp", "local"]),
        }
    }
}

/// The name by which the kinds of services are found. RFC 6763 §9.
pub(super) fn kinds() -> Name<'static> {
    name(&["_services", "_dns-sd", "_udp", "local"])
}

/// A host's name.
pub(super) fn host(label: &str) -> Name<'static> {
    name(&[label, "local"])
}

fn name(labels: &[&str]) -> Name<'static> {
    let label = |text: &&str| Label::new_unchecked(text.as_bytes().to_vec());
    Name::new_with_labels(&labels.iter().map(label).collect::<Vec<_>>())
}

/// `base` followed by `suffix`, with `base` shortened if both together are too long for a label.
pub(super) fn label(base: &str, suffix: &str) -> String {
    let mut end = base.len().min(MAX_LABEL.saturating_sub(suffix.len()));
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &base[..end])
}

/// Parses a datagram; `None` if it is not a message of multicast DNS.
pub(super) fn parse(datagram: &[u8]) -> Option<Packet<'_>> {
    // RFC 1035 §4.1.1: id, flags, and the counts of questions and of three kinds of records.
    // `simple-dns` allocates as many as they say. The shortest question has 5 bytes, the shortest
    // record 11.
    let counts = datagram.get(4..12)?.chunks_exact(2);
    let mut counts = counts.map(|c| usize::from(u16::from_be_bytes([c[0], c[1]])));
    let questions = counts.next()?;
    let shortest = questions * 5 + counts.sum::<usize>() * 11;
    if datagram.len() > MAX_LEN || shortest > datagram.len() {
        return None;
    }
    let packet = Packet::parse(datagram).ok()?;
    // RFC 6762 §18.3, §18.11: other opcodes and response codes are ignored.
    let is_plain = packet.opcode() == OPCODE::StandardQuery && packet.rcode() == RCODE::NoError;
    is_plain.then_some(packet)
}

/// Whether it is a response; otherwise it is a query.
pub(super) fn is_response(packet: &Packet<'_>) -> bool {
    packet.has_flags(PacketFlag::RESPONSE)
}

/// Address records, one for each address.
pub(super) fn addresses(host: &Name<'static>, all: &[IpAddr]) -> Vec<Record> {
    let record = |ip: &IpAddr| {
        let data = match *ip {
            IpAddr::V4(v4) => RData::A(A {
                address: v4.to_bits(),
            }),
            IpAddr::V6(v6) => RData::AAAA(AAAA {
                address: v6.to_bits(),
            }),
        };
        unique(host, HOST_TTL, data)
    };
    all.iter().map(record).collect()
}

/// The address in a record.
pub(super) fn address(record: &ResourceRecord<'_>) -> Option<IpAddr> {
    match &record.rdata {
        RData::A(a) => Some(Ipv4Addr::from_bits(a.address).into()),
        RData::AAAA(aaaa) => Some(Ipv6Addr::from_bits(aaaa.address).into()),
        _ => None,
    }
}

/// Whether it is link-local. RFC 3927, RFC 4291 §2.5.6.
pub(super) fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// RFC 2782: the host and port of a service.
pub(super) fn srv(instance: &Name<'static>, host: &Name<'static>, port: u16) -> Record {
    let srv = SRV {
        priority: 0,
        weight: 0,
        port,
        target: host.clone(),
    };
    unique(instance, HOST_TTL, RData::SRV(srv))
}

/// RFC 6763 §6: additional data of a service.
pub(super) fn txt(instance: &Name<'static>, path: &str) -> Record {
    let mut txt = TXT::new();
    // A path that does not fit is left out. RFC 6763 §6.1 wants "at least one string".
    if txt.add_attribute("path", Some(path.as_bytes())).is_err() {
        let _ = txt.add_string("");
    }
    unique(instance, OTHER_TTL, RData::TXT(txt))
}

/// RFC 6763 §4.1: points to an instance of a service.
pub(super) fn pointer(of: Name<'static>, to: Name<'static>) -> Record {
    ResourceRecord::new(of, CLASS::IN, OTHER_TTL, RData::PTR(PTR(to)))
}

/// RFC 6762 §6.1: `host` has addresses of these types only.
pub(super) fn no_other(host: &Name<'static>, has_v4: bool, has_v6: bool) -> Record {
    // RFC 4034 §4.1.2: A is type 1, AAAA type 28, bits from the left.
    let mut bitmap = vec![u8::from(has_v4) << 6, 0, 0, u8::from(has_v6) << 3];
    bitmap.truncate(if has_v6 { 4 } else { 1 });
    let window = NsecTypeBitMap {
        window_block: 0,
        bitmap: bitmap.into(),
    };
    let nsec = NSEC {
        next_name: host.clone(),
        type_bit_maps: vec![window],
    };
    unique(host, HOST_TTL, RData::NSEC(nsec))
}

/// Marks a record as unique: it replaces cached ones of its name (RFC 6762 §10.2).
fn unique(name: &Name<'static>, ttl: u32, data: RData<'static>) -> Record {
    ResourceRecord::new(name.clone(), CLASS::IN, ttl, data).with_cache_flush(true)
}

/// The key that decides between two hosts that claim a name at the same time. RFC 6762 §8.2: "first
/// the record class, then the record type, then the raw content of the binary rdata".
pub(super) fn rank(record: &ResourceRecord<'_>) -> (u16, u16, Vec<u8>) {
    let kind = u16::from(record.rdata.type_code());
    let mut alone = Packet::new_query(0);
    let nameless = ResourceRecord::new(
        Name::new_with_labels(&[]),
        CLASS::IN,
        0,
        record.rdata.clone(),
    );
    alone.answers.push(nameless);
    let bytes = alone.build_bytes_vec().unwrap_or_default();
    // After 12 bytes of header and 11 of the record: RFC 1035 §4.1.3.
    let data = bytes.get(23..).unwrap_or_default().to_vec();
    (record.class as u16, kind, data)
}

/// Whether it is of this type.
pub(super) fn is(record: &ResourceRecord<'_>, kind: TYPE) -> bool {
    record.rdata.type_code() == kind
}

/// A response; `None` if it does not fit into a datagram.
pub(super) fn response(answers: Vec<Record>, additional: Vec<Record>) -> Packet<'static> {
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    packet.answers = answers;
    packet.additional_records = additional;
    packet
}

/// The packet's bytes, if they fit into a datagram.
pub(super) fn bytes(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let bytes = packet.build_bytes_vec_compressed().ok()?;
    (bytes.len() <= ROOM).then_some(bytes)
}

/// Puts answers into as few datagrams as possible, and additional records where there is room.
pub(super) fn datagrams(answers: &[Record], additional: Vec<Record>) -> Vec<Vec<u8>> {
    if let Some(bytes) = bytes(&response(answers.to_vec(), additional)) {
        return vec![bytes];
    }
    if let Some(bytes) = bytes(&response(answers.to_vec(), Vec::new())) {
        return vec![bytes];
    }
    let (first, second) = answers.split_at(answers.len() / 2);
    if first.is_empty() {
        return Vec::new();
    }
    let mut all = datagrams(first, Vec::new());
    all.extend(datagrams(second, Vec::new()));
    all
}
