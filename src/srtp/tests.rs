use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::cipher::{Cipher, Place, Trailer, keystream};
use super::hello::HELLO_ID;
use super::open::{MAX_RUNS, TRIALS, Trials};
use super::window::{WINDOW, Window};
use super::*;
use crate::clock::Mono;
use crate::rtp::header::{Header, Packet};
use crate::rtp::{PacketPlan, PlannedPacket, RtpTime, SeqNo, Ssrc};

const SSRC: Ssrc = Ssrc(0xCAFE_BABE);
const NOW: Mono = Mono(5_000_000_000);
const SUITES: [Suite; 2] = [Suite::Gcm, Suite::Cm80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let pairs = digits.chunks(2);
    pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn key16(text: &str) -> [u8; 16] {
    hex(text).try_into().expect("16 bytes")
}

// Vectors.

/// RFC 3711 §B.2.
#[test]
fn the_keystream_is_that_of_the_rfc() {
    let key = key16("2B7E151628AED2A6ABF7158809CF4F3C");
    let mut stream = vec![0; 0xFF02 * 16];
    keystream(&key, key16("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"), &mut stream);
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
        41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(stream[..48], hex(expected));
    let expected = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
        6A2CC3787889374FBEB4C81B17BA6C44";
    assert_eq!(stream[0xFEFF * 16..][..48], hex(expected));
}

/// RFC 3711 §B.3.
#[test]
fn session_keys_are_those_of_the_rfc() {
    let bytes = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    let master = MasterKey::from_bytes(Suite::Cm80, &bytes).expect("30 bytes");
    let derived = |label, len| {
        let mut out = vec![1; len];
        master.derive(label, &mut out);
        out
    };
    assert_eq!(derived(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derived(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    let auth = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
        E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
        6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2";
    assert_eq!(derived(1, 94), hex(auth));
}

/// The packets of libsrtp's own test, with the keys of RFC 3711 §B.3.
#[test]
fn cm80_packets_are_those_of_libsrtp() {
    let bytes = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    let master = MasterKey::from_bytes(Suite::Cm80, &bytes).expect("30 bytes");
    let plain = hex("800F1234 DECAFBAD CAFEBABE ABABABAB ABABABAB ABABABAB ABABABAB");
    let sealed = hex("800F1234 DECAFBAD CAFEBABE
        4E55DC4C E79978D8 8CA4D215 949D2402 B78D6ACC 99EA179B 8DBB");
    let place = Place {
        ssrc: SSRC,
        index: 0x1234,
    };
    both_ways_rtp(&master.rtp(), place, &plain, &sealed);

    let plain = hex("81C8000B CAFEBABE ABABABAB ABABABAB ABABABAB ABABABAB");
    let sealed = hex("81C8000B CAFEBABE 7128035B E487B9BD BEF89041 F977A5A8
        80000001 993E08CD 54D6C123 0798");
    both_ways_rtcp(&master.rtcp(), 1, &plain, &sealed);
}

/// RFC 7714 §16.1 and §17.1.
#[test]
fn gcm_packets_are_those_of_the_rfc() {
    let salt = *hex("51756964 2070726F 2071756F").first_chunk().expect("12");
    let cipher = Cipher::gcm(&key16("000102030405060708090A0B0C0D0E0F"), salt);
    let plain = hex(
        "8040F17B 8041F8D3 5501A0B2 47616C6C 69612065 7374206F 6D6E6973 20646976
        69736120 696E2070 61727465 73207472 6573",
    );
    let sealed = hex(
        "8040F17B 8041F8D3 5501A0B2 F24DE3A3 FB34DE6C ACBA861C 9D7E4BCA
        BE633BD5 0D294E6F 42A5F47A 51C7D19B 36DE3ADF 8833 899D7F27 BEB16A91 52CF765E E4390CCE",
    );
    let place = Place {
        ssrc: Ssrc(0x5501_A0B2),
        index: 0xF17B,
    };
    both_ways_rtp(&cipher, place, &plain, &sealed);

    let plain = hex(
        "81C8000D 4D617273 4E545031 4E545032 52545020 0000042A 0000E930
        4C756E61 DEADBEEF DEADBEEF DEADBEEF DEADBEEF DEADBEEF",
    );
    let sealed = hex(
        "81C8000D 4D617273 63E94885 DCDAB67C A727D766 2F6B7E99 7FF5C0F7
        6C06F32D C676A5F1 730D6FDA 4CE09B46 86303DED 0BB9275B C84AA458 96CF4D2F C5ABF872
        45D9EADE 800005D4",
    );
    both_ways_rtcp(&cipher, 0x5D4, &plain, &sealed);
}

fn both_ways_rtp(cipher: &Cipher, place: Place, plain: &[u8], sealed: &[u8]) {
    let mut packet = plain.to_vec();
    packet.resize(sealed.len(), 0);
    cipher.seal_rtp(place, 12, &mut packet);
    assert_eq!(packet, sealed);
    let len = cipher.open_rtp(place, 12, &mut packet).expect("authentic");
    assert_eq!(packet[..len], *plain);
}

fn both_ways_rtcp(cipher: &Cipher, index: u32, plain: &[u8], sealed: &[u8]) {
    let ssrc = Ssrc(u32::from_be_bytes(plain[4..8].try_into().expect("4 bytes")));
    let place = Place {
        ssrc,
        index: index.into(),
    };
    let mut packet = plain.to_vec();
    cipher.seal_rtcp(place, &mut packet, &[]);
    assert_eq!(packet, sealed);
    let (text, trailer, []) = Trailer::split(cipher.suite(), sealed).expect("a trailer");
    assert_eq!(trailer.index(), index);
    let mut text = text.to_vec();
    let len = cipher.open_rtcp(ssrc, &mut text, &trailer);
    assert_eq!(text[..len.expect("authentic")], *plain);
}

/// lancam's own: a secret and a salt that others can check their HKDF with.
#[test]
fn a_runs_master_key_is_hkdf_of_secret_and_salt() {
    let secret = Secret::new(key16("000102030405060708090A0B0C0D0E0F"));
    let salt = Salt(*b"hello world");
    for (suite, expected) in [
        (
            Suite::Gcm,
            "75a7eed9588e135336e7e4cc514664777968ccd073d72657de9b2f2b",
        ),
        (
            Suite::Cm80,
            "0f99d0dadb4f7c3817549463adb30d5d19612d58b0bdfd83562f568d0402",
        ),
    ] {
        let master = MasterKey::of_run(&secret, suite, salt);
        assert_eq!(master.bytes(), hex(expected), "{}", suite.name());
    }
}

// Both ends.

fn secret(n: u8) -> Secret {
    Secret::new([n; 16])
}

fn opener(secrets: &[u8]) -> Opener {
    Opener::new(Keys::Secrets(secrets.iter().map(|&n| secret(n)).collect()))
}

/// A sender's end with what its packets are made of.
struct Sender {
    sealer: Sealer,
    ssrc: Ssrc,
    next: SeqNo,
}

impl Sender {
    fn new(suite: Suite, salt: u8, first: u16) -> Sender {
        let salt = Salt([salt; 11]);
        let first = SeqNo(first);
        Sender {
            sealer: Sealer::new(&secret(1), suite, salt, SSRC, first),
            ssrc: SSRC,
            next: first,
        }
    }

    /// The next packet in clear, as the first of a frame or not.
    fn plain(&self, is_first: bool) -> Vec<u8> {
        let mut packet = Vec::new();
        Header {
            extension: is_first,
            marker: false,
            payload_type: 26,
            seq: self.next,
            time: RtpTime(7),
            ssrc: self.ssrc,
        }
        .write(&mut packet);
        if is_first {
            packet.extend_from_slice(&[0xBE, 0xDE, 0, 5, HELLO_ID << 4 | 15]);
            packet.extend_from_slice(&self.sealer.hello(self.next).to_bytes());
            packet.extend_from_slice(&[0; 3]);
        }
        packet.extend_from_slice(&[self.next.0 as u8; 40]);
        packet
    }

    fn sealed(&mut self, is_first: bool) -> (Vec<u8>, Vec<u8>) {
        let plain = self.plain(is_first);
        let mut sealed = vec![0; self.sealer.sealed_len(plain.len())];
        let (header, payload) = plain.split_at(plain.len() - 30);
        assert!(self.sealer.seal(header, payload, &mut sealed));
        self.next = self.next.plus(1);
        (plain, sealed)
    }

    fn skip(&mut self, packets: u32) {
        (0..packets).for_each(|_| drop(self.sealed(false)));
    }
}

fn open(opener: &mut Opener, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut packet = sealed.to_vec();
    let len = opener.open(NOW, &mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn a_viewer_that_has_the_secret_reads_from_the_first_packet_of_a_frame_on() {
    for suite in SUITES {
        let (mut sender, mut viewer) = (Sender::new(suite, 1, 0xFFF0), opener(&[1]));
        let (_, before) = sender.sealed(false);
        assert_eq!(open(&mut viewer, &before), Err(Refusal::Unknown));
        for i in 0..40 {
            let (plain, sealed) = sender.sealed(i % 10 == 0);
            assert_eq!(open(&mut viewer, &sealed), Ok(plain), "{i}");
            assert_eq!(open(&mut viewer, &sealed), Err(Refusal::Replayed));
        }
        // It was only early.
        assert!(open(&mut viewer, &before).is_ok());
    }
}

#[test]
fn another_secret_opens_nothing() {
    for suite in SUITES {
        let (mut sender, mut viewer) = (Sender::new(suite, 1, 9), opener(&[2]));
        let (_, first) = sender.sealed(true);
        let (_, second) = sender.sealed(false);
        assert_eq!(open(&mut viewer, &first), Err(Refusal::Unauthentic));
        assert_eq!(open(&mut viewer, &second), Err(Refusal::Unknown));
    }
}

#[test]
fn a_late_viewer_learns_the_rollover_counter() {
    let mut sender = Sender::new(Suite::Gcm, 1, 9);
    sender.skip(3 << 16);
    let mut viewer = opener(&[1]);
    for is_first in [true, false] {
        let (plain, sealed) = sender.sealed(is_first);
        assert_eq!(open(&mut viewer, &sealed), Ok(plain));
    }
    // And again after a silence in which the numbers wrapped.
    sender.skip(2 << 16);
    let (_, unreadable) = sender.sealed(false);
    assert_eq!(open(&mut viewer, &unreadable), Err(Refusal::Unauthentic));
    for is_first in [true, false] {
        let (plain, sealed) = sender.sealed(is_first);
        assert_eq!(open(&mut viewer, &sealed), Ok(plain));
    }
}

#[test]
fn who_was_told_the_key_reads_without_a_hello() {
    for suite in SUITES {
        let mut sender = Sender::new(suite, 1, 0xFFFE);
        let mut viewer = Opener::new(Keys::Master(sender.sealer.master().clone()));
        for _ in 0..5 {
            let (plain, sealed) = sender.sealed(false);
            assert_eq!(open(&mut viewer, &sealed), Ok(plain));
        }
    }
}

#[test]
fn viewers_with_both_secrets_lose_no_packet_when_it_changes() {
    for suite in SUITES {
        let (mut sender, mut viewer) = (Sender::new(suite, 1, 0xFFFE), opener(&[2, 1]));
        let mut old_ones = opener(&[1]);
        for is_first in [true, false] {
            let (plain, sealed) = sender.sealed(is_first);
            assert_eq!(open(&mut viewer, &sealed).as_ref(), Ok(&plain));
            assert_eq!(open(&mut old_ones, &sealed), Ok(plain));
        }
        let (plain, late) = sender.sealed(false);
        sender.sealer.change(&secret(2));
        for is_first in [false, true, false] {
            let (plain, sealed) = sender.sealed(is_first);
            assert_eq!(open(&mut viewer, &sealed), Ok(plain));
            assert_eq!(open(&mut old_ones, &sealed), Err(Refusal::Unauthentic));
        }
        assert_eq!(open(&mut viewer, &late), Ok(plain));
    }
}

#[test]
fn a_restarted_sender_with_the_same_ssrc_is_read_at_once() {
    let (mut first, mut viewer) = (Sender::new(Suite::Gcm, 1, 700), opener(&[1]));
    assert!(open(&mut viewer, &first.sealed(true).1).is_ok());
    let mut again = Sender::new(Suite::Cm80, 2, 3);
    for is_first in [true, false] {
        let (plain, sealed) = again.sealed(is_first);
        assert_eq!(open(&mut viewer, &sealed), Ok(plain));
    }
}

#[test]
fn what_a_header_says_is_believed_only_with_its_tag() {
    for suite in SUITES {
        let (mut sender, mut viewer) = (Sender::new(suite, 1, 9), opener(&[1]));
        let (plain, sealed) = sender.sealed(true);
        // Every bit of the packet: version and lengths, hello, payload, tag.
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut viewer, &forged).is_err(), "bit {bit}");
            assert!(viewer.open(NOW, &mut sealed.clone()[..bit / 8]).is_err());
            viewer = opener(&[1]);
        }
        assert_eq!(open(&mut viewer, &sealed).as_ref(), Ok(&plain));
        // Nor does it change what is known.
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&mut viewer, &forged).is_err(), "bit {bit}");
        }
        let (plain, sealed) = sender.sealed(false);
        assert_eq!(open(&mut viewer, &sealed), Ok(plain));
    }
}

#[test]
fn a_packet_that_was_opened_is_sealed_again_as_it_came() {
    for suite in SUITES {
        let (mut sender, mut viewer) = (Sender::new(suite, 1, 0xFFFE), opener(&[2, 1]));
        let mut again = Vec::new();
        let packets: Vec<_> = (0..4).map(|i| sender.sealed(i == 0)).collect();
        for (plain, sealed) in &packets {
            assert!(!viewer.seal_again(&plain[..12], &plain[12..], &mut again));
            assert!(open(&mut viewer, sealed).is_ok());
        }
        for (plain, sealed) in &packets {
            let (header, payload) = plain.split_at(plain.len() - 30);
            assert!(viewer.seal_again(header, payload, &mut again));
            assert_eq!(again, *sealed);
        }
    }
}

#[test]
fn packets_in_clear_are_refused_whatever_is_known() {
    let (mut sender, mut viewer) = (Sender::new(Suite::Gcm, 1, 9), opener(&[1]));
    let plain = sender.plain(false);
    assert_eq!(open(&mut viewer, &plain), Err(Refusal::Unknown));
    assert!(open(&mut viewer, &sender.sealed(true).1).is_ok());
    let plain = sender.plain(false);
    assert_eq!(open(&mut viewer, &plain), Err(Refusal::Unauthentic));
}

#[test]
fn a_number_is_sealed_once() {
    let mut sender = Sender::new(Suite::Gcm, 1, 0);
    let plain = sender.plain(false);
    let mut out = vec![0; sender.sealer.sealed_len(plain.len())];
    assert!(sender.sealer.seal(&plain, &[], &mut out));
    let first = out.clone();
    assert!(!sender.sealer.seal(&plain, &[], &mut out));
    // From far ahead: with the next rollover counter, so by another keystream.
    sender.next = SeqNo(1);
    let second = sender.plain(false);
    assert!(sender.sealer.seal(&second, &[], &mut out));
    assert!(sender.sealer.seal(&plain, &[], &mut out));
    assert_ne!(first, out);
}

#[test]
fn strangers_neither_use_up_memory_nor_push_out_runs() {
    let (mut sender, mut viewer) = (Sender::new(Suite::Gcm, 1, 9), opener(&[1]));
    assert!(open(&mut viewer, &sender.sealed(true).1).is_ok());
    for n in 0..3 * TRIALS {
        let mut stranger = Sender::new(Suite::Gcm, n as u8, 5);
        stranger.ssrc = Ssrc(n);
        stranger.sealer = Sealer::new(&secret(3), Suite::Gcm, Salt([4; 11]), Ssrc(n), SeqNo(5));
        let expected = match n < TRIALS - 1 {
            true => Refusal::Unauthentic,
            false => Refusal::Busy,
        };
        assert_eq!(open(&mut viewer, &stranger.sealed(true).1), Err(expected));
    }
    let (plain, sealed) = sender.sealed(false);
    assert_eq!(open(&mut viewer, &sealed), Ok(plain));
}

#[test]
fn the_run_that_was_silent_longest_is_forgotten() {
    let mut viewer = opener(&[1]);
    let mut senders: Vec<Sender> = (0..=MAX_RUNS as u32)
        .map(|n| {
            let mut sender = Sender::new(Suite::Gcm, n as u8, 5);
            sender.ssrc = Ssrc(n);
            sender.sealer = Sealer::new(
                &secret(1),
                Suite::Gcm,
                Salt([n as u8; 11]),
                Ssrc(n),
                SeqNo(5),
            );
            sender
        })
        .collect();
    for (n, sender) in senders.iter_mut().enumerate() {
        let now = NOW + Duration::from_secs(n as u64);
        assert!(viewer.open(now, &mut sender.sealed(true).1).is_ok());
    }
    let known = senders
        .iter_mut()
        .map(|sender| open(&mut viewer, &sender.sealed(false).1).is_ok());
    let known: Vec<bool> = known.collect();
    assert_eq!(known.iter().position(|known| !known), Some(0));
    assert!(known[1..].iter().all(|&known| known));
}

#[test]
fn trials_come_back_after_a_second() {
    let mut trials = Trials::default();
    assert_eq!(
        (0..TRIALS + 5).filter(|_| trials.take(NOW)).count(),
        TRIALS as usize
    );
    assert!(!trials.take(NOW + Duration::from_millis(999)));
    assert!(trials.take(NOW + Duration::from_secs(1)));
}

#[test]
fn a_frame_is_sealed_in_bursts_as_its_packets_are_one_by_one() {
    let (ssrc, first) = (SSRC, SeqNo(0xFFFE));
    let data: Vec<u8> = (0..250).collect();
    let mut plan = PacketPlan {
        ssrc,
        first_seq: first,
        ..PacketPlan::default()
    };
    for (n, part) in [(0, 0..100), (1, 100..200), (2, 200..250)] {
        let header_start = plan.headers.len() as u32;
        Header {
            extension: false,
            marker: false,
            payload_type: 26,
            seq: first.plus(n),
            time: RtpTime(7),
            ssrc,
        }
        .write(&mut plan.headers);
        plan.packets.push(PlannedPacket {
            header_start,
            header_len: 12,
            payload_start: part.start,
            payload_len: part.end - part.start,
        });
    }
    let sealer = || Sealer::new(&secret(1), Suite::Gcm, Salt([1; 11]), ssrc, first);
    let (mut one, mut all) = (sealer(), sealer());
    let mut frame = SealedFrame::default();
    frame.begin(&all, &plan);
    assert!(frame.seal(&mut all, &plan, &data, 0..2));
    assert!(frame.seal(&mut all, &plan, &data, 2..3));
    let (sent, bytes) = frame.sent();
    for (i, (_, sealed)) in sent.packets(0..3, bytes).enumerate() {
        let (header, payload) = plan.parts(i, &data);
        let mut expected = vec![0; one.sealed_len(header.len() + payload.len())];
        assert!(one.seal(header, payload, &mut expected));
        assert_eq!(sealed, expected);
    }
    assert_eq!((sent.first_seq, sent.ssrc), (first, ssrc));
    // The same once more would use the keystream again.
    assert!(!frame.seal(&mut all, &plan, &data, 2..3));
}

// RTCP.

fn report(ssrc: Ssrc) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.0.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 2, 1, 2, 3, 4, 1, 0, 0, 0]);
    packet
}

#[test]
fn members_with_one_ssrc_share_no_keystream() {
    for suite in SUITES {
        let mut members =
            [5, 6].map(|n| ControlSealer::new(&secret(1), suite, Salt([n; 11]), SSRC));
        let mut all = ControlOpener::new(Keys::Secrets(vec![secret(2), secret(1)]));
        let sealed = members.each_mut().map(|member| {
            let mut packet = report(SSRC);
            assert!(member.seal(&mut packet));
            assert_eq!(packet.len(), report(SSRC).len() + control::overhead(suite));
            packet
        });
        assert_ne!(sealed[0][8..20], sealed[1][8..20]);
        for packet in &sealed {
            assert_eq!(all.open(NOW, packet), Ok(&report(SSRC)[..]));
            assert_eq!(all.open(NOW, packet), Err(Refusal::Replayed));
        }
    }
}

#[test]
fn reports_are_opened_once_in_any_order() {
    let mut member = ControlSealer::new(&secret(1), Suite::Gcm, Salt([5; 11]), SSRC);
    let mut sealed: Vec<Vec<u8>> = Vec::new();
    for _ in 0..200 {
        let mut packet = report(SSRC);
        assert!(member.seal(&mut packet));
        sealed.push(packet);
    }
    let mut all = ControlOpener::new(Keys::Secrets(vec![secret(1)]));
    for at in [100, 40, 36, 164, 101, 165, 199] {
        assert!(all.open(NOW, &sealed[at]).is_ok(), "{at}");
        assert_eq!(all.open(NOW, &sealed[at]), Err(Refusal::Replayed), "{at}");
    }
    // Too old to tell.
    assert_eq!(all.open(NOW, &sealed[134]), Err(Refusal::Replayed));
    assert!(all.open(NOW, &sealed[136]).is_ok());
}

#[test]
fn who_was_told_the_key_sends_and_reads_reports_without_an_mki() {
    for suite in SUITES {
        let key = MasterKey::of_run(&secret(1), suite, Salt([1; 11]));
        let mut packet = report(SSRC);
        assert!(ControlSealer::with_master(&key, SSRC).seal(&mut packet));
        assert_eq!(
            packet.len() + 12,
            report(SSRC).len() + control::overhead(suite)
        );
        let mut all = ControlOpener::new(Keys::Master(key));
        assert_eq!(all.open(NOW, &packet), Ok(&report(SSRC)[..]));
    }
}

#[test]
fn forged_reports_are_refused() {
    for suite in SUITES {
        let mut packet = report(SSRC);
        let mut member = ControlSealer::new(&secret(1), suite, Salt([5; 11]), SSRC);
        assert!(member.seal(&mut packet));
        let mut all = ControlOpener::new(Keys::Secrets(vec![secret(1)]));
        for bit in 0..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(all.open(NOW, &forged).is_err(), "bit {bit}");
            assert!(
                all.open(NOW, &packet[..bit / 8]).is_err(),
                "{} bytes",
                bit / 8
            );
        }
        assert!(all.open(NOW, &report(SSRC)).is_err());
        assert!(all.open(NOW, &packet).is_ok());
        let mut foreign = report(Ssrc(1));
        assert!(!member.seal(&mut foreign));
        assert!(!member.seal(&mut Vec::new()));
    }
}

// Properties.

proptest! {
    #[test]
    fn the_window_knows_what_came(
        steps in prop::collection::vec((0..3 * WINDOW, any::<bool>()), 1..300),
        start in 0..1u64 << 40,
    ) {
        let (mut window, mut came) = (Window::default(), BTreeSet::new());
        let mut at = start;
        for (step, back) in steps {
            at = match back {
                true => at.saturating_sub(step / 3),
                false => at + step / 50,
            };
            let highest = came.last().copied();
            let expected = highest.is_some_and(|h| at + WINDOW <= h) || came.contains(&at);
            prop_assert_eq!(window.has(at), expected);
            if !expected {
                window.note(at);
                came.insert(at);
            }
        }
    }

    #[test]
    fn an_index_is_found_again(highest in 0..(1u64 << 48) - (1 << 16), step in -0x7FFF..0x8000i64) {
        let mut window = Window::default();
        window.note(highest);
        let index = highest.checked_add_signed(step);
        let seq = SeqNo((highest as i64 + step) as u16);
        prop_assert_eq!(window.estimate(seq), index);
    }

    #[test]
    fn packets_of_any_size_and_order_are_read(
        first: u16,
        lens in prop::collection::vec(0..1500usize, 2..40),
        order in any::<prop::sample::Index>(),
        gcm: bool,
    ) {
        let suite = if gcm { Suite::Gcm } else { Suite::Cm80 };
        let mut sender = Sender::new(suite, 1, first);
        let mut viewer = opener(&[1]);
        let (plain, sealed) = sender.sealed(true);
        prop_assert_eq!(open(&mut viewer, &sealed), Ok(plain));
        let mut packets: Vec<_> = lens.iter().map(|&len| {
            let mut plain = sender.plain(false);
            plain.resize(12 + len, 0x5A);
            let mut sealed = vec![0; sender.sealer.sealed_len(plain.len())];
            assert!(sender.sealer.seal(&plain[..12], &plain[12..], &mut sealed));
            sender.next = sender.next.plus(1);
            (plain, sealed)
        }).collect();
        let turn = order.index(packets.len());
        packets.rotate_left(turn);
        for (plain, sealed) in packets {
            prop_assert_eq!(open(&mut viewer, &sealed), Ok(plain));
        }
    }

    #[test]
    fn any_bytes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), rtp: bool) {
        if let (true, Some(first)) = (rtp, bytes.first_mut()) {
            *first = 0x80 | *first & 0x1F;
        }
        let (mut sender, mut viewer) = (Sender::new(Suite::Gcm, 1, 9), opener(&[1, 2]));
        let known = Packet::parse_head(&bytes).is_ok();
        let refusal = viewer.open(NOW, &mut bytes.clone()).expect_err("not authentic");
        prop_assert_eq!(refusal == Refusal::Malformed, !known);
        prop_assert!(open(&mut viewer, &sender.sealed(true).1).is_ok());
        prop_assert!(ControlOpener::new(Keys::Secrets(vec![secret(1)])).open(NOW, &bytes).is_err());
    }
}
