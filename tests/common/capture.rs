//! What other senders put on the wire (tests/data/captures). Fuzzing's seeds are made from it too.
#![allow(unreachable_pub)]

use std::fs;

use lancam::clock::Mono;

/// A file of tests/data/captures.
pub fn read(name: &str) -> Vec<u8> {
    // Of the repository's root and of fuzz/.
    let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("/fuzz");
    let path = format!("{root}/tests/data/captures/{name}");
    fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The UDP payloads of NAME.pcap: little-endian, Ethernet frames with IPv4.
pub fn datagrams(name: &str) -> Vec<(Mono, Vec<u8>)> {
    let pcap = read(&format!("{name}.pcap"));
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 0xA1B2_C3D4, "not a little-endian pcap");
    assert_eq!(word(20), 1, "not Ethernet");
    let mut out = Vec::new();
    let mut at = 24;
    while at < pcap.len() {
        let nanos = u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4)) * 1_000;
        let len = word(at + 8) as usize;
        let ip = &pcap[at + 16 + 14..at + 16 + len];
        let udp = &ip[usize::from(ip[0] & 0x0F) * 4..];
        let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        out.push((Mono(nanos), udp[8..udp_len].to_vec()));
        at += 16 + len;
    }
    out
}
