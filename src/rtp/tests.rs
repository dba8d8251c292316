//! Packetizer and depacketizer against each other, and what networks and other senders do in
//! between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::depacketizer::LostFrame;
use super::header::Header;
use super::jpeg::wire::{self, FrameHeader};
use super::source::{AnnouncedSource, Cause, SourceChange};
use super::stats::{ViewerSnapshot, ViewerStats};
use super::*;
use crate::clock::{Mono, Ntp};
use crate::jpeg::header::Header as JpegHeader;
use crate::jpeg::recode::partial::Concealer;
use crate::jpeg::tables::quant_for_q;
use crate::jpeg::{Picture, Sampling};

const INTERVAL: u32 = 3_000;
/// Where the sender is, and a stranger.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// A scan that no other number gives, without markers.
fn scan(n: u32, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 25) as u8
        })
        .collect()
}

fn picture(scan: &[u8]) -> Picture<'_> {
    Picture {
        width: 322,
        height: 242,
        sampling: Sampling::Yuv420,
        restart_interval: 0,
        quant: std::array::from_fn(|i| i as u8 + 1),
        scan,
    }
}

/// A sender: frames of `packets` datagrams each.
struct Source {
    packetizer: Packetizer,
    time: RtpTime,
    packets: usize,
}

impl Source {
    fn new(ssrc: u32, seq: u16, time: u32) -> Source {
        Source {
            packetizer: Packetizer::new(Ssrc(ssrc), SeqNo(seq), 256),
            time: RtpTime(time),
            packets: 5,
        }
    }

    fn of(self, packets: usize) -> Source {
        Source { packets, ..self }
    }

    /// Frame `n`'s scan.
    fn scan(&self, n: u32) -> Vec<u8> {
        // The first packet takes less than 80 bytes, the others 236.
        scan(n, 20 + (self.packets - 1) * 236)
    }

    fn frame(&mut self, n: u32) -> Vec<Vec<u8>> {
        let scan = self.scan(n);
        let captured = Some(Ntp(u64::from(n)));
        let plan = self
            .packetizer
            .plan(&picture(&scan), self.time, captured)
            .unwrap();
        self.time = RtpTime(self.time.0.wrapping_add(INTERVAL));
        assert_eq!(plan.packets.len(), self.packets);
        (0..self.packets)
            .map(|i| {
                let (header, payload) = plan.parts(i, &scan);
                [header, payload].concat()
            })
            .collect()
    }
}

/// A viewer with the numbers of the frames that it saw, by their scans.
struct Sink {
    depacketizer: Depacketizer,
    stats: Arc<ViewerStats>,
    now: Mono,
    frames: Vec<Vec<u8>>,
    lost: Vec<LostFrame>,
    sources: Vec<SourceChange>,
    others: Vec<Ssrc>,
    partial: Vec<FrameBuffer>,
}

impl Sink {
    fn new() -> Sink {
        Sink::with(Options::default())
    }

    fn with(options: Options) -> Sink {
        let stats = Arc::new(ViewerStats::default());
        Sink {
            depacketizer: Depacketizer::new(options, stats.clone()),
            stats,
            now: Mono(1_000_000_000),
            frames: Vec::new(),
            lost: Vec::new(),
            sources: Vec::new(),
            others: Vec::new(),
            partial: Vec::new(),
        }
    }

    fn push(&mut self, datagram: &[u8]) {
        self.push_from(HERE, datagram);
    }

    fn push_from(&mut self, address: IpAddr, datagram: &[u8]) {
        self.depacketizer.push(self.now, address, datagram);
        self.drain();
    }

    fn push_all<'a>(&mut self, datagrams: impl IntoIterator<Item = &'a Vec<u8>>) {
        datagrams.into_iter().for_each(|d| self.push(d));
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.depacketizer.poll(self.now) {
            match event {
                Event::Frame(ReceivedFrame::Jpeg(frame)) => {
                    assert!(frame.is_whole());
                    let scan = frame.picture().scan;
                    assert!(matches!(frame.present(), [all] if *all == (0..scan.len())));
                    assert!(frame.jpeg().ends_with(&[0xFF, 0xD9]));
                    let header = JpegHeader::parse(frame.jpeg()).unwrap();
                    assert!(frame.jpeg()[header.scan_start..].starts_with(scan));
                    self.frames.push(scan.to_vec());
                    self.depacketizer.recycle(frame);
                }
                Event::Partial(ReceivedFrame::Jpeg(frame)) => self.partial.push(*frame),
                Event::Lost(lost) => self.lost.push(lost),
                Event::Source(change) => self.sources.push(change),
                Event::OtherSource { ssrc, .. } => self.others.push(ssrc),
            }
        }
    }

    /// Which of the source's frames came, in the order in which they did.
    fn numbers(&self, source: &Source) -> Vec<u32> {
        let known: Vec<Vec<u8>> = (0..50).map(|n| source.scan(n)).collect();
        let number = |frame| known.iter().position(|k| k == frame);
        let number = |frame| number(frame).expect("a frame that was never sent") as u32;
        self.frames.iter().map(number).collect()
    }

    fn stats(&self) -> ViewerSnapshot {
        self.stats.snapshot()
    }
}

#[test]
fn a_frame_comes_back_with_all_that_is_known_of_it() {
    let mut source = Source::new(7, 65_533, u32::MAX - 10);
    let mut depacketizer = Depacketizer::new(Options::default(), Arc::default());
    for (i, d) in source.frame(3).iter().enumerate() {
        depacketizer.push(Mono(100 + i as u64), HERE, d);
    }
    let Some(Event::Source(change)) = depacketizer.poll(Mono(104)) else {
        panic!("no sender");
    };
    assert_eq!(
        (change.ssrc, change.previous, change.cause),
        (Ssrc(7), None, Cause::First)
    );
    let Some(Event::Frame(ReceivedFrame::Jpeg(frame))) = depacketizer.poll(Mono(104)) else {
        panic!("no frame");
    };
    assert_eq!((frame.width(), frame.height()), (322, 242));
    assert_eq!(
        (frame.time(), frame.captured()),
        (RtpTime(u32::MAX - 10), Some(Ntp(3)))
    );
    assert_eq!(
        (frame.first_arrival(), frame.last_arrival()),
        (Mono(100), Mono(104))
    );
    assert_eq!(
        (frame.packets(), frame.missing(), frame.repaired()),
        (5, 0, 0)
    );
    let header = JpegHeader::parse(frame.jpeg()).unwrap();
    let got = frame.picture();
    assert!(frame.jpeg()[header.scan_start..].starts_with(got.scan));
    let scan = source.scan(3);
    let sent = picture(&scan);
    assert_eq!((got.sampling, got.restart_interval), (sent.sampling, 0));
    assert_eq!((got.quant, got.scan), (sent.quant, sent.scan));
    assert!(depacketizer.poll(Mono(104)).is_none());
}

#[test]
fn numbers_and_timestamps_wrap() {
    let mut source = Source::new(7, 65_533, u32::MAX - 10);
    let mut sink = Sink::new();
    for n in 0..5 {
        sink.push_all(&source.frame(n));
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2, 3, 4]);
    assert!(sink.lost.is_empty());
    assert_eq!(sink.depacketizer.reception().unwrap().lost(), 0);
}

#[test]
fn reordering_across_the_frame_boundary_loses_nothing() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0));
    let (a, b) = (source.frame(1), source.frame(2));
    // Two packets of the first frame, its end among them, come after the whole second frame.
    sink.push_all(&[&a[..2], &a[3..4], &b[..]].concat());
    assert_eq!(sink.numbers(&source), [0]);
    sink.push_all([&a[4], &a[2]]);
    assert_eq!(sink.numbers(&source), [0, 1, 2]);
    let stats = sink.stats();
    assert_eq!((stats.frames_whole, stats.frames_lost), (3, 0));
    assert_eq!((stats.packets_lost, stats.packets_late), (0, 0));
}

#[test]
fn a_frame_of_one_packet_that_is_overtaken_comes_first_all_the_same() {
    let mut source = Source::new(7, 10, 0).of(1);
    let mut sink = Sink::new();
    let frames: Vec<_> = (0..4).map(|n| source.frame(n)).collect();
    for n in [0, 2, 3, 1] {
        sink.push_all(&frames[n]);
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2, 3]);
}

#[test]
fn a_whole_frame_does_not_wait_long_for_one_that_may_be_late() {
    let mut source = Source::new(7, 10, 0).of(1);
    let mut sink = Sink::new();
    let frames: Vec<_> = (0..5).map(|n| source.frame(n)).collect();
    for n in [0, 1, 3] {
        sink.push_all(&frames[n]);
    }
    assert_eq!(sink.numbers(&source), [0, 1]);
    let deadline = sink.depacketizer.deadline().unwrap();
    sink.wait(deadline.since(sink.now));
    assert_eq!(sink.numbers(&source), [0, 1, 3]);
    assert_eq!(sink.depacketizer.deadline(), None);
    // Nothing of frame 2 was seen, and yet it is known to be lost.
    assert_eq!(
        (sink.stats().frames_lost, sink.stats().packets_lost),
        (1, 1)
    );
    sink.push_all(&frames[2]);
    assert_eq!(sink.stats().packets_late, 1);
    sink.push_all(&frames[4]);
    assert_eq!(sink.numbers(&source), [0, 1, 3, 4]);
}

#[test]
fn duplicates_change_nothing() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    for n in 0..3 {
        let frame = source.frame(n);
        sink.push_all(frame.iter().flat_map(|d| [d, d]));
        sink.push_all(&frame);
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2]);
    let stats = sink.stats();
    assert_eq!((stats.packets_received, stats.packets_late), (45, 0));
    assert_eq!((stats.packets_lost, stats.packets_invalid), (0, 0));
    let reception = sink.depacketizer.reception().unwrap();
    assert_eq!((reception.expected, reception.received), (15, 15));
}

#[test]
fn a_lost_packet_loses_its_frame_and_nothing_is_spliced() {
    for missing in 0..5 {
        let mut source = Source::new(7, 10, 0);
        let mut sink = Sink::with(Options {
            reorder: 3,
            ..Options::default()
        });
        sink.push_all(&source.frame(0));
        let mut frame = source.frame(1);
        let late = frame.remove(missing);
        sink.push_all(&frame);
        sink.push_all(&source.frame(2));
        assert_eq!(sink.numbers(&source), [0, 2]);
        // A frame's first or last packet is not known to have been one of it.
        let at_the_edge = missing == 0 || missing == 4;
        let lost = LostFrame {
            time: RtpTime(INTERVAL),
            received: 4,
            missing: u32::from(!at_the_edge),
        };
        assert_eq!(sink.lost, [lost]);
        sink.push(&late);
        let stats = sink.stats();
        assert_eq!((stats.frames_whole, stats.frames_lost), (2, 1));
        assert_eq!((stats.packets_lost, stats.packets_late), (1, 1));
        assert_eq!(sink.frames.len(), 2);
    }
}

/// Two whole frames and the first three packets of a third.
fn two_and_a_bit(source: &mut Source, sink: &mut Sink) {
    sink.push_all(&source.frame(0));
    sink.push_all(&source.frame(1));
    sink.push_all(&source.frame(2)[..3]);
}

/// Waits exactly as long as `deadline` says, with nothing given up before.
fn gives_up_after(sink: &mut Sink, wait: Duration) {
    assert_eq!(sink.depacketizer.deadline(), Some(sink.now + wait));
    sink.wait(wait - Duration::from_nanos(1));
    assert!(sink.lost.is_empty());
    sink.wait(Duration::from_nanos(1));
    assert_eq!(sink.lost.len(), 1);
}

#[test]
fn a_frame_is_given_up_one_interval_after_packets_that_follow_it() {
    let (mut source, mut sink) = (Source::new(7, 10, 0), Sink::new());
    two_and_a_bit(&mut source, &mut sink);
    sink.push_all(&source.frame(3)[..1]);
    let interval = Duration::from_nanos(u64::from(INTERVAL) * 100_000 / 9);
    gives_up_after(&mut sink, interval);
}

/// The sender may have been held up in the middle of a frame: its rest is still worth waiting for.
#[test]
fn without_further_packets_a_frame_waits_a_second_for_its_rest() {
    let (mut source, mut sink) = (Source::new(7, 10, 0), Sink::new());
    two_and_a_bit(&mut source, &mut sink);
    gives_up_after(&mut sink, Duration::from_secs(1));
    assert_eq!(sink.depacketizer.deadline(), None);
}

#[test]
fn who_comes_in_the_middle_of_a_frame_has_lost_none() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0)[3..]);
    for n in 1..10 {
        sink.push_all(&source.frame(n));
    }
    assert_eq!(sink.numbers(&source), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let stats = sink.stats();
    assert_eq!((stats.frames_lost, stats.packets_lost), (0, 0));
    assert!(sink.lost.is_empty());
}

/// The start of that frame is not requested, so nothing is gained by waiting for it.
#[test]
fn nobody_waits_for_a_frame_that_was_joined_in_the_middle() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.depacketizer.set_retransmission(true);
    sink.push_all(&source.frame(0)[3..]);
    sink.push_all(&source.frame(1));
    assert!(sink.frames.is_empty());
    sink.wait(Duration::from_millis(5));
    assert_eq!(sink.numbers(&source), [1]);
    // Others are worth an interval.
    sink.push_all(&source.frame(2)[3..]);
    sink.push_all(&source.frame(3));
    sink.wait(Duration::from_millis(32));
    assert_eq!(sink.numbers(&source), [1]);
    sink.wait(Duration::from_millis(2));
    assert_eq!(sink.numbers(&source), [1, 3]);
}

/// A sender that opens its source late announces the size of its pictures when frames come already.
#[test]
fn a_description_that_changes_costs_no_frame() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    for n in 0..5 {
        let frame = source.frame(n);
        sink.push_all(&frame[..3]);
        sink.depacketizer.set_options(Options {
            size: Some((320 + n as u16, 240)),
            ..Options::default()
        });
        sink.push_all(&frame[3..]);
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2, 3, 4]);
    assert_eq!(sink.sources.len(), 1);
}

#[test]
fn of_two_senders_one_is_followed_until_it_falls_silent() {
    let (mut a, mut b) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut sink = Sink::new();
    for n in 0..4 {
        for (x, y) in a.frame(n).iter().zip(&b.frame(n + 10)) {
            sink.push(x);
            sink.push(y);
        }
    }
    assert_eq!(sink.numbers(&a), [0, 1, 2, 3]);
    assert_eq!(
        (sink.others.as_slice(), sink.stats().packets_foreign),
        (&[Ssrc(8)][..], 20)
    );
    sink.wait(Duration::from_millis(499));
    sink.push_all(&b.frame(20));
    assert_eq!(sink.numbers(&a), [0, 1, 2, 3]);
    sink.wait(Duration::from_millis(1));
    sink.push_all(&b.frame(21));
    assert_eq!(sink.numbers(&a), [0, 1, 2, 3, 21]);
    let change = sink.sources.last().unwrap();
    let expected = (Ssrc(8), Some(Ssrc(7)), Cause::Silence);
    assert_eq!((change.ssrc, change.previous, change.cause), expected);
}

#[test]
fn after_a_goodbye_the_next_sender_is_followed_at_once() {
    let (mut a, mut b) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut sink = Sink::new();
    sink.push_all(&a.frame(0));
    sink.depacketizer.bye(HERE, Ssrc(8));
    sink.push_all(&b.frame(1));
    sink.depacketizer.bye(HERE, Ssrc(7));
    sink.push_all(&b.frame(2));
    assert_eq!(sink.numbers(&a), [0, 2]);
    assert_eq!(sink.sources.last().unwrap().cause, Cause::Bye);
}

/// A sender and a stranger at another address who uses its SSRC.
fn with_stranger() -> (Source, Sink) {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0));
    sink.push_all(&source.frame(1));
    (source, sink)
}

#[test]
fn who_has_another_address_is_another_source_whatever_its_ssrc() {
    let (mut source, mut sink) = with_stranger();
    for n in 2..6 {
        let frame = source.frame(n);
        // The next number and time, one that is far ahead, and two that agree on a restart.
        let mut lies = vec![frame[4].clone(); 4];
        for (lie, (seq, time)) in (lies.iter_mut()).zip([
            (1, 1_500),
            (2_900, 600_000),
            (30_000, 1 << 30),
            (30_001, 1 << 30),
        ]) {
            let packet = crate::rtp::header::Packet::parse(lie).unwrap();
            let (seq, time) = (packet.seq().plus(seq), packet.time().0 + time);
            lie[2..4].copy_from_slice(&seq.0.to_be_bytes());
            lie[4..8].copy_from_slice(&time.to_be_bytes());
        }
        lies.iter().for_each(|lie| sink.push_from(THERE, lie));
        sink.push_all(&frame);
        lies.iter().for_each(|lie| sink.push_from(THERE, lie));
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2, 3, 4, 5]);
    let stats = sink.stats();
    assert_eq!((stats.frames_lost, stats.packets_lost), (0, 0));
    assert_eq!((stats.packets_foreign, stats.packets_received), (32, 30));
    assert_eq!(
        (sink.sources.len(), sink.others.as_slice()),
        (1, &[Ssrc(7)][..])
    );
}

/// Who is announced at `HERE` with this SSRC, beside `others` of the same group.
fn announced(ssrc: Option<u32>, others: &[u32]) -> Options {
    Options {
        source: Some(AnnouncedSource {
            addresses: vec![HERE],
            ssrc: ssrc.map(Ssrc),
            others: others.iter().map(|&s| Ssrc(s)).collect(),
        }),
        ..Options::default()
    }
}

#[test]
fn only_the_announced_sender_is_followed() {
    let (mut a, mut loud) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut copy = Source::new(7, 10, 0);
    for options in [announced(Some(7), &[]), announced(None, &[])] {
        let mut sink = Sink::with(options);
        for n in 0..3 {
            loud.frame(n).iter().for_each(|d| sink.push_from(THERE, d));
            copy.frame(n).iter().for_each(|d| sink.push_from(THERE, d));
            sink.wait(Duration::from_secs(2));
        }
        assert!(sink.sources.is_empty(), "{:?}", sink.sources);
        sink.push_all(&a.frame(10));
        // Neither its silence nor its goodbye makes another one the stream.
        sink.wait(Duration::from_secs(2));
        loud.frame(20).iter().for_each(|d| sink.push_from(THERE, d));
        sink.depacketizer.bye(HERE, Ssrc(7));
        loud.frame(21).iter().for_each(|d| sink.push_from(THERE, d));
        sink.push_all(&a.frame(11));
        assert_eq!(sink.numbers(&a), [10, 11]);
        assert_eq!(sink.sources.len(), 1);
    }
}

#[test]
fn a_host_that_sends_several_streams_is_told_apart_by_what_is_announced() {
    let (mut a, mut b) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut anew = Source::new(9, 5_000, 1 << 20);
    let mut sink = Sink::with(announced(Some(7), &[8]));
    sink.push_all(&b.frame(0));
    // As one that was begun again a moment ago: its new SSRC is not announced yet.
    sink.push_all(&anew.frame(1));
    sink.push_all(&b.frame(2));
    // What is announced is better, at once.
    sink.push_all(&a.frame(3));
    sink.push_all(&anew.frame(4));
    sink.depacketizer.bye(HERE, Ssrc(7));
    sink.push_all(&b.frame(5));
    sink.push_all(&anew.frame(6));
    assert_eq!(sink.numbers(&a), [1, 3, 6]);
    let causes: Vec<Cause> = sink.sources.iter().map(|s| s.cause).collect();
    assert_eq!(causes, [Cause::First, Cause::Announced, Cause::Bye]);
}

#[test]
fn another_announcement_is_another_sender() {
    let (mut a, mut b) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut sink = Sink::with(announced(Some(7), &[]));
    sink.push_all(&a.frame(0));
    b.frame(1).iter().for_each(|d| sink.push_from(THERE, d));
    sink.depacketizer.set_options(Options {
        source: Some(AnnouncedSource {
            addresses: vec![THERE],
            ssrc: Some(Ssrc(8)),
            ..AnnouncedSource::default()
        }),
        ..Options::default()
    });
    // The one before is shown until the new one comes.
    sink.push_all(&a.frame(2));
    b.frame(3).iter().for_each(|d| sink.push_from(THERE, d));
    sink.push_all(&a.frame(4));
    assert_eq!(sink.numbers(&a), [0, 2, 3]);
    assert_eq!(sink.sources.last().unwrap().cause, Cause::Announced);
}

#[test]
fn an_announced_sender_that_moves_is_followed() {
    let mut a = Source::new(7, 10, 0);
    let mut sink = Sink::with(announced(Some(7), &[]));
    sink.push_all(&a.frame(0));
    let next = a.frame(1);
    next.iter().for_each(|d| sink.push_from(THERE, d));
    sink.wait(Duration::from_millis(500));
    next.iter().for_each(|d| sink.push_from(THERE, d));
    assert_eq!(sink.numbers(&a), [0, 1]);
    assert_eq!(sink.sources.last().unwrap().cause, Cause::Move);
}

#[test]
fn a_goodbye_counts_from_the_sources_own_address_only() {
    let (mut source, mut sink) = with_stranger();
    let mut evil = Source::new(8, 900, 77);
    sink.depacketizer.bye(THERE, Ssrc(7));
    evil.frame(20).iter().for_each(|d| sink.push_from(THERE, d));
    sink.push_all(&source.frame(2));
    assert_eq!(sink.numbers(&source), [0, 1, 2]);
    sink.depacketizer.bye(HERE, Ssrc(7));
    evil.frame(21).iter().for_each(|d| sink.push_from(THERE, d));
    assert_eq!(sink.numbers(&source), [0, 1, 2, 21]);
    assert_eq!(sink.sources.last().unwrap().cause, Cause::Bye);
    // Who has said goodbye is not waited for.
    sink.push_all(&source.frame(3));
    assert_eq!(sink.numbers(&source), [0, 1, 2, 21]);
}

#[test]
fn a_sender_that_only_paused_is_shown_again() {
    // It goes on, it has begun again, it was started anew.
    for (ssrc, seq) in [(7, 20), (7, 40_000), (9, 40_000)] {
        let (source, mut sink) = with_stranger();
        sink.wait(Duration::from_millis(800));
        let mut evil = Source::new(8, 900, 77);
        for n in 20..23 {
            evil.frame(n).iter().for_each(|d| sink.push_from(THERE, d));
        }
        assert_eq!(sink.sources.last().unwrap().cause, Cause::Silence);
        sink.wait(Duration::from_secs(60));
        for n in 23..26 {
            evil.frame(n).iter().for_each(|d| sink.push_from(THERE, d));
        }
        let mut back = Source::new(ssrc, seq, 60 * 90_000);
        sink.push_all(&back.frame(2));
        for n in 3..6 {
            evil.frame(26).iter().for_each(|d| sink.push_from(THERE, d));
            sink.push_all(&back.frame(n));
        }
        let expected = [0, 1, 20, 21, 22, 23, 24, 25, 2, 3, 4, 5];
        assert_eq!(sink.numbers(&source), expected, "{ssrc} {seq}");
        let change = sink.sources.last().unwrap();
        assert_eq!((change.cause, change.address), (Cause::Return, HERE));
        assert_eq!(sink.stats().frames_lost, 0);
    }
}

#[test]
fn a_sender_that_has_moved_is_followed_when_its_old_address_is_silent() {
    let (mut source, mut sink) = with_stranger();
    let too_early = source.frame(2);
    too_early.iter().for_each(|d| sink.push_from(THERE, d));
    assert_eq!(sink.numbers(&source), [0, 1]);
    sink.wait(Duration::from_millis(500));
    for n in 3..6 {
        source
            .frame(n)
            .iter()
            .for_each(|d| sink.push_from(THERE, d));
    }
    sink.wait(Duration::from_millis(5));
    assert_eq!(sink.numbers(&source), [0, 1, 3, 4, 5]);
    let change = sink.sources.last().unwrap();
    assert_eq!((change.cause, change.address), (Cause::Move, THERE));
    // It is the same source: what it sent meanwhile was lost.
    let reception = sink.depacketizer.reception().unwrap();
    assert_eq!((reception.lost(), reception.address), (5, THERE));
    assert_eq!(sink.stats().frames_lost, 1);
    // Whoever was there before is shown again, in case it was no move.
    for n in 6..8 {
        sink.push_all(&source.frame(n));
    }
    assert_eq!(sink.numbers(&source), [0, 1, 3, 4, 5, 6, 7]);
    assert_eq!(sink.sources.last().unwrap().cause, Cause::Return);
}

#[test]
fn an_ssrc_that_changes_with_each_frame_is_the_same_source() {
    let (mut source, mut sink) = with_stranger();
    let with_ssrc = |frame: Vec<Vec<u8>>, ssrc: u32| -> Vec<Vec<u8>> {
        let one = |mut d: Vec<u8>| {
            d[8..12].copy_from_slice(&ssrc.to_be_bytes());
            d
        };
        frame.into_iter().map(one).collect()
    };
    let frames: Vec<_> = (2..8)
        .map(|n| with_ssrc(source.frame(n), 1_000 + n))
        .collect();
    // The first packet of one overtakes the last of another.
    for pair in frames.chunks(2) {
        sink.push_all(&pair[0][..4]);
        sink.push(&pair[1][0]);
        sink.push(&pair[0][4]);
        sink.push_all(&pair[1][1..]);
    }
    assert_eq!(sink.numbers(&source), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(sink.depacketizer.ssrc(), Some(Ssrc(1_007)));
    let stats = sink.stats();
    assert_eq!((stats.frames_lost, stats.packets_foreign), (0, 0));
    assert_eq!(sink.sources.len(), 1);
    // From another address it is another source.
    let frame = with_ssrc(source.frame(8), 2_000);
    frame.iter().for_each(|d| sink.push_from(THERE, d));
    assert_eq!(sink.stats().packets_foreign, 5);
}

#[test]
fn a_jump_ahead_needs_a_second_packet_that_agrees() {
    let (mut source, mut sink) = with_stranger();
    let frame = source.frame(2);
    let mut jump = frame[0].clone();
    jump[2..4].copy_from_slice(&3_000u16.to_be_bytes());
    sink.push_all(&frame[..2]);
    sink.push(&jump);
    sink.push_all(&frame[2..]);
    assert_eq!(sink.numbers(&source), [0, 1, 2]);
    assert_eq!(sink.depacketizer.highest(), Some((1 << 16) + 24));
    // After a long loss nothing of the next frame is lost.
    for n in 3..20 {
        source.frame(n);
    }
    sink.push_all(&source.frame(20));
    sink.wait(Duration::from_millis(5));
    assert_eq!(sink.numbers(&source), [0, 1, 2, 20]);
    assert_eq!(sink.stats().packets_lost, 17 * 5);
    assert_eq!(sink.sources.len(), 1);
}

#[test]
fn a_slow_stream_is_not_silent_between_its_frames() {
    let (mut a, mut b) = (Source::new(7, 10, 0), Source::new(8, 900, 77));
    let mut sink = Sink::new();
    for n in 0..4 {
        sink.push_all(&a.frame(n));
        a.time = RtpTime(a.time.0 + 90_000 - INTERVAL);
        sink.wait(Duration::from_secs(1));
    }
    sink.push_all(&b.frame(20));
    assert_eq!(sink.numbers(&a), [0, 1, 2, 3]);
}

#[test]
fn a_sender_that_begins_again_loses_no_frame() {
    // Numbers and times far off; only the times; only the numbers.
    for (seq, time) in [(40_000, 0x9000_0000), (16, 0x9000_0000), (40_000, INTERVAL)] {
        let mut source = Source::new(7, 10, 0);
        let mut sink = Sink::new();
        sink.push_all(&source.frame(0));
        let mut again = Source::new(7, seq, time);
        sink.push_all(&again.frame(1));
        sink.push_all(&again.frame(2));
        assert_eq!(sink.numbers(&source), [0, 1, 2], "{seq} {time}");
        assert_eq!(sink.stats().frames_lost, 0);
        assert_eq!(sink.stats().packets_lost, 0);
        assert_eq!(sink.sources.last().unwrap().cause, Cause::Restart);
    }
}

#[test]
fn timestamps_that_jump_while_the_numbers_go_on_are_followed() {
    let mut source = Source::new(7, 10, 1_000_000);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0));
    source.time = RtpTime(5);
    sink.push_all(&source.frame(1));
    source.time = RtpTime(0x7000_0000);
    sink.push_all(&source.frame(2));
    assert_eq!(sink.numbers(&source), [0, 1, 2]);
    assert_eq!(sink.sources.len(), 1);
}

#[test]
fn one_stray_packet_is_no_restart() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0));
    let stray = Source::new(7, 40_000, 0x9000_0000).frame(9);
    let frame = source.frame(1);
    sink.push_all([&frame[0], &stray[0], &frame[1], &stray[1], &frame[2]]);
    sink.push_all([&stray[0], &stray[0], &frame[3], &frame[4]]);
    assert_eq!(sink.numbers(&source), [0, 1]);
    assert_eq!(sink.sources.len(), 1);
}

#[test]
fn a_hole_of_many_frames_is_stepped_over() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    sink.push_all(&source.frame(0));
    sink.push_all(&source.frame(1));
    for n in 2..12 {
        source.frame(n);
    }
    sink.push_all(&source.frame(12));
    sink.push_all(&source.frame(13));
    // What was just before may still come.
    sink.wait(Duration::from_millis(5));
    assert_eq!(sink.numbers(&source), [0, 1, 12, 13]);
    assert_eq!(
        (sink.stats().frames_lost, sink.stats().packets_lost),
        (10, 50)
    );
}

/// One packet by hand.
struct Raw {
    seq: u16,
    time: u32,
    marker: bool,
    offset: u32,
    header: FrameHeader,
    /// Table header and tables, if any.
    tables: Vec<u8>,
    scan: Vec<u8>,
}

const HEADER: FrameHeader = FrameHeader {
    sampling: Sampling::Yuv422,
    q: 255,
    width8: 40,
    height8: 30,
    restart_interval: 0,
};

impl Raw {
    fn single(seq: u16, header: FrameHeader, tables: &[u8], scan: &[u8]) -> Raw {
        Raw {
            seq,
            time: u32::from(seq) * INTERVAL,
            marker: true,
            offset: 0,
            header,
            tables: tables.to_vec(),
            scan: scan.to_vec(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Header {
            extension: false,
            marker: self.marker,
            payload_type: 26,
            seq: SeqNo(self.seq),
            time: RtpTime(self.time),
            ssrc: Ssrc(5),
        }
        .write(&mut out);
        wire::write_main(&mut out, &self.header, self.offset);
        out.extend_from_slice(&self.tables);
        out.extend_from_slice(&self.scan);
        out
    }
}

fn tables(value: u8) -> Vec<u8> {
    let mut out = Vec::new();
    wire::write_tables(&mut out, &[value; 128]);
    out
}

/// Pushes packets that are frames of their own; gives the tables that each came out with.
fn quants(packets: &[Raw]) -> Vec<Option<[u8; 128]>> {
    let mut depacketizer = Depacketizer::new(Options::default(), Arc::default());
    let mut out = Vec::new();
    for packet in packets {
        depacketizer.push(Mono(0), HERE, &packet.bytes());
        while let Some(event) = depacketizer.poll(Mono(0)) {
            match event {
                Event::Frame(ReceivedFrame::Jpeg(frame)) => out.push(Some(frame.picture().quant)),
                Event::Lost(_) => out.push(None),
                _ => {}
            }
        }
    }
    out
}

#[test]
fn q_below_100_computes_its_tables() {
    let with = |q| FrameHeader { q, ..HEADER };
    let got = quants(&[
        Raw::single(1, with(78), &[], b"scan"),
        Raw::single(2, with(1), &[], b"scan"),
    ]);
    assert_eq!(got, [quant_for_q(78), quant_for_q(1)]);
}

#[test]
fn q_128_to_254_keeps_its_tables_until_others_come() {
    let with = |q| FrameHeader { q, ..HEADER };
    let none = [0, 0, 0, 0];
    let got = quants(&[
        Raw::single(1, with(200), &none, b"scan"),
        Raw::single(2, with(200), &tables(2), b"scan"),
        Raw::single(3, with(128), &tables(3), b"scan"),
        Raw::single(4, with(200), &none, b"scan"),
        Raw::single(5, with(128), &none, b"scan"),
        Raw::single(6, with(200), &tables(4), b"scan"),
        Raw::single(7, with(200), &none, b"scan"),
        Raw::single(8, with(201), &none, b"scan"),
    ]);
    let values = [0, 2, 3, 2, 3, 4, 4, 0];
    assert_eq!(got, values.map(|v| (v > 0).then_some([v; 128])));
}

#[test]
fn tables_kept_are_the_senders_own() {
    let header = FrameHeader { q: 200, ..HEADER };
    let mut sink = Sink::new();
    sink.push(&Raw::single(1, header, &tables(2), b"scan").bytes());
    assert_eq!(sink.frames.len(), 1);
    sink.wait(Duration::from_secs(2));
    let mut other = Raw::single(9_000, header, &[0, 0, 0, 0], b"scan").bytes();
    other[11] = 6;
    sink.push(&other);
    assert_eq!((sink.frames.len(), sink.lost.len()), (1, 1));
    assert_eq!(sink.lost[0].missing, 0);
}

#[test]
fn sizes_come_from_the_extension_or_the_sdp_or_the_header() {
    let size = |header: FrameHeader, sdp| {
        let mut depacketizer = Depacketizer::new(
            Options {
                size: sdp,
                ..Options::default()
            },
            Arc::default(),
        );
        depacketizer.push(
            Mono(0),
            HERE,
            &Raw::single(1, header, &tables(1), b"scan").bytes(),
        );
        while let Some(event) = depacketizer.poll(Mono(0)) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                return Some((frame.width(), frame.height()));
            }
        }
        None
    };
    let unsaid = FrameHeader {
        width8: 0,
        height8: 0,
        ..HEADER
    };
    assert_eq!(size(HEADER, None), Some((320, 240)));
    // The SDP may say how much of the last blocks is picture, but not contradict the header.
    assert_eq!(size(HEADER, Some((318, 239))), Some((318, 239)));
    assert_eq!(size(HEADER, Some((640, 480))), Some((320, 240)));
    assert_eq!(size(unsaid, Some((3840, 2160))), Some((3840, 2160)));
    assert_eq!(size(unsaid, None), None);

    let mut packetizer = Packetizer::new(Ssrc(1), SeqNo(0), 1472);
    let large = Picture {
        width: 3840,
        height: 2160,
        ..picture(b"scan")
    };
    let plan = packetizer.plan(&large, RtpTime(0), None).unwrap();
    let (header, payload) = plan.parts(0, b"scan");
    let mut depacketizer = Depacketizer::new(Options::default(), Arc::default());
    depacketizer.push(Mono(0), HERE, &[header, payload].concat());
    depacketizer.poll(Mono(0));
    let Some(Event::Frame(ReceivedFrame::Jpeg(frame))) = depacketizer.poll(Mono(0)) else {
        panic!("no frame");
    };
    assert_eq!((frame.width(), frame.height()), (3840, 2160));
}

#[test]
fn the_end_marker_is_there_once_whether_it_was_sent_or_not() {
    let scans: [&[u8]; 4] = [b"scan", b"scan\xFF\xD9", b"scan\xFF", b"\xFF\xD9"];
    let mut sink = Sink::new();
    for (i, scan) in scans.into_iter().enumerate() {
        sink.push(&Raw::single(i as u16, HEADER, &tables(1), scan).bytes());
    }
    // The last one is an end without a picture.
    assert_eq!(sink.frames, [&b"scan"[..], b"scan", b"scan\xFF"]);
    assert_eq!(sink.lost.len(), 1);
}

#[test]
fn packets_that_contradict_their_frame_are_refused() {
    let mut sink = Sink::new();
    let raw = |seq, offset, marker| Raw {
        time: 0,
        offset,
        marker,
        tables: if offset == 0 { tables(1) } else { Vec::new() },
        ..Raw::single(seq, HEADER, &[], b"abcd")
    };
    sink.push(&raw(1, 0, false).bytes());
    for (header, offset, marker) in [
        (FrameHeader { q: 254, ..HEADER }, 4, false),
        (
            FrameHeader {
                width8: 41,
                ..HEADER
            },
            4,
            false,
        ),
        (
            FrameHeader {
                restart_interval: 4,
                ..HEADER
            },
            4,
            false,
        ),
    ] {
        let wrong = Raw {
            header,
            ..raw(2, offset, marker)
        };
        let before = sink.stats().packets_invalid;
        // Each under a number of its own, beyond what the frame needs.
        sink.push(
            &Raw {
                seq: 3 + before as u16,
                ..wrong
            }
            .bytes(),
        );
        assert_eq!(sink.stats().packets_invalid, before + 1);
    }
    sink.push(&raw(2, 4, true).bytes());
    assert_eq!(sink.frames, [b"abcdabcd"]);
}

#[test]
fn packets_that_overlap_or_leave_a_hole_make_no_frame() {
    for offset in [3, 5] {
        let mut sink = Sink::new();
        let first = Raw {
            marker: false,
            ..Raw::single(1, HEADER, &tables(1), b"abcd")
        };
        let second = Raw {
            seq: 2,
            marker: true,
            offset,
            tables: Vec::new(),
            ..Raw::single(1, HEADER, &[], b"efgh")
        };
        sink.push(&first.bytes());
        sink.push(&second.bytes());
        assert_eq!((sink.frames.len(), sink.lost.len()), (0, 1));
    }
}

#[test]
fn a_hostile_offset_does_not_make_memory() {
    let mut sink = Sink::new();
    for seq in 0..100 {
        let raw = Raw {
            offset: 0x00FF_FF00,
            marker: false,
            ..Raw::single(seq, HEADER, &[], &[1; 100])
        };
        sink.push(&raw.bytes());
    }
    assert_eq!(sink.stats().packets_invalid, 100);
    // What has arrived and proved frames large makes room for more.
    let scan = scan(1, 3 << 20);
    let mut packetizer = Packetizer::new(Ssrc(5), SeqNo(100), 1472);
    let plan = packetizer
        .plan(&picture(&scan), RtpTime(100 * INTERVAL), None)
        .unwrap();
    for i in 0..plan.packets.len() {
        let (header, payload) = plan.parts(i, &scan);
        sink.push(&[header, payload].concat());
    }
    assert_eq!(sink.frames, [scan]);
}

#[test]
fn max_frame_bounds_a_frame() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::with(Options {
        max_frame: 500,
        ..Options::default()
    });
    sink.push_all(&source.frame(0));
    assert_eq!(sink.frames.len(), 0);
    assert_eq!(sink.stats().packets_invalid, 3);
}

#[test]
fn a_partial_frame_says_what_is_there_and_the_rest_is_zero() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::with(Options {
        give_partial: true,
        ..Options::default()
    });
    for n in 0..3 {
        sink.push_all(&source.frame(n));
    }
    let mut frame = source.frame(3);
    frame.remove(4);
    frame.remove(2);
    sink.push_all(&frame);
    sink.wait(Duration::from_secs(1));
    let [partial] = &sink.partial[..] else {
        panic!("{} partial frames", sink.partial.len());
    };
    let sent = source.scan(3);
    let first = 256 - (12 + 20 + 8 + 4 + 128); // Less the headers of the first packet.
    let got = partial.picture().scan;
    assert_eq!(partial.present().len(), 2);
    assert_eq!(partial.present()[0].start, 0);
    for range in partial.present() {
        assert_eq!(got[range.clone()], sent[range.clone()]);
    }
    let gap = partial.present()[0].end..partial.present()[1].start;
    assert_eq!(gap.len(), 236);
    assert_eq!(partial.present()[0].end, first + 236);
    assert!(got[gap].iter().all(|&b| b == 0));
    assert!(!partial.is_whole());
    assert_eq!((partial.packets(), partial.missing()), (4, 1));
    // Whoever shows it counts it.
    assert_eq!(sink.stats().frames_lost, 0);
}

/// A grey ramp, lighter by `shade`, as a JPEG.
fn ramp(shade: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..320 * 240)
        .flat_map(|i| [shade + (i % 320 / 4) as u8 + (i / 320 % 16) as u8; 3])
        .collect();
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width: 320,
        pitch: 320 * 3,
        height: 240,
        format: turbojpeg::PixelFormat::RGB,
    };
    turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2)
        .unwrap()
        .to_vec()
}

/// Its pixels; a warning of the decoder is a failure.
fn grey(jpeg: &[u8]) -> Vec<u8> {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::GRAY).unwrap();
    assert_eq!((image.width, image.height), (320, 240));
    image.pixels
}

/// The frame that comes of a JPEG of [`ramp`], of which the packets `lost` are not sent.
fn received(jpeg: &[u8], lost: std::ops::Range<usize>) -> Box<FrameBuffer> {
    let header = JpegHeader::parse(jpeg).unwrap();
    let picture = Picture {
        width: 320,
        height: 240,
        quant: quant_for_q(90).unwrap(),
        ..picture(&jpeg[header.scan_start..jpeg.len() - 2])
    };
    let options = Options {
        give_partial: true,
        ..Options::default()
    };
    let mut depacketizer = Depacketizer::new(options, Arc::default());
    let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(10), 256);
    let plan = packetizer.plan(&picture, RtpTime(0), None).unwrap();
    for i in (0..plan.packets.len()).filter(|i| !lost.contains(i)) {
        let (header, payload) = plan.parts(i, picture.scan);
        depacketizer.push(Mono(1), HERE, &[header, payload].concat());
    }
    let now = Mono(1) + Duration::from_secs(2);
    std::iter::from_fn(|| depacketizer.poll(now))
        .find_map(|event| match event {
            Event::Frame(ReceivedFrame::Jpeg(frame))
            | Event::Partial(ReceivedFrame::Jpeg(frame)) => Some(frame),
            _ => None,
        })
        .expect("a frame, whole or not")
}

#[test]
fn a_partial_frame_is_filled_with_the_frame_before_it() {
    let (before, after) = (ramp(10), ramp(120));
    let mut concealer = Concealer::default();
    let last = received(&before, 0..0);
    assert!(last.is_whole());
    let mut partial = received(&after, 10..12);
    assert!(partial.conceal(&last, &mut concealer));
    assert!(!partial.is_whole());
    let scan = partial.picture().scan.len();
    assert!(matches!(partial.present(), [all] if *all == (0..scan)));

    let (shown, old, new) = (grey(partial.jpeg()), grey(&before), grey(&after));
    let rows = shown.iter().zip(&new).take_while(|(a, b)| a == b).count() / 320;
    assert!((32..208).contains(&rows), "{rows}");
    // Below the row of MCUs with the gap there is nothing new.
    let rest = (rows + 1).next_multiple_of(16) * 320;
    assert_eq!(shown[rest..], old[rest..]);

    // Over a frame that has gaps itself nothing is shown, and nothing changes.
    let gaps = received(&before, 10..12);
    let mut partial = received(&after, 10..12);
    let bytes = partial.jpeg().to_vec();
    assert!(!partial.conceal(&gaps, &mut concealer));
    assert_eq!(partial.jpeg(), bytes);
}

#[test]
fn without_its_start_and_without_restart_markers_a_frame_is_lost() {
    let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(10), 256);
    let mut sink = Sink::with(Options {
        give_partial: true,
        ..Options::default()
    });
    let scans = [scan(0, 900), scan(1, 900)];
    for (n, scan) in scans.iter().enumerate() {
        let picture = Picture {
            quant: quant_for_q(90).unwrap(),
            ..picture(scan)
        };
        let time = RtpTime(n as u32 * INTERVAL);
        let plan = packetizer.plan(&picture, time, None).unwrap();
        for i in n..plan.packets.len() {
            let (header, payload) = plan.parts(i, scan);
            sink.push(&[header, payload].concat());
        }
    }
    sink.wait(Duration::from_secs(2));
    assert_eq!(
        (sink.frames.len(), sink.partial.len(), sink.lost.len()),
        (1, 0, 1)
    );
    assert_eq!(sink.stats().frames_lost, 1);
}

#[test]
fn a_partial_frame_without_its_tables_is_lost() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::with(Options {
        give_partial: true,
        ..Options::default()
    });
    sink.push_all(&source.frame(0));
    sink.push_all(&source.frame(1)[1..]);
    sink.wait(Duration::from_secs(1));
    assert_eq!((sink.partial.len(), sink.lost.len()), (0, 1));
}

#[test]
fn a_recovered_packet_makes_its_frame_whole() {
    for missing in 0..5 {
        let mut source = Source::new(7, 65_530, 0);
        let mut sink = Sink::new();
        sink.push_all(&source.frame(0));
        let time = source.time;
        let frame = source.frame(1);
        for (i, d) in frame.iter().enumerate().filter(|(i, _)| *i != missing) {
            assert!(
                !sink.depacketizer.is_over(Ssrc(7), SeqNo(65_535), time),
                "{i}"
            );
            sink.push(d);
        }
        // What is there is what was sent, for repair to work with.
        let there: Vec<_> = sink.depacketizer.received(Ssrc(7), time).collect();
        assert_eq!(there.len(), 4);
        for packet in there {
            let index = packet.seq.distance(SeqNo(65_535)) as usize;
            assert_eq!([packet.header, packet.payload].concat(), frame[index]);
        }
        sink.depacketizer
            .insert_recovered(sink.now, &frame[missing]);
        sink.depacketizer
            .insert_recovered(sink.now, &frame[missing]);
        sink.drain();
        assert_eq!(sink.numbers(&source), [0, 1]);
        assert!(sink.depacketizer.is_over(Ssrc(7), SeqNo(65_535), time));
        sink.push_all(&source.frame(2));
        assert_eq!(sink.numbers(&source), [0, 1, 2]);
        let stats = sink.stats();
        assert_eq!((stats.frames_whole, stats.frames_repaired), (2, 1));
        // The network lost it all the same.
        assert_eq!((stats.packets_repaired, stats.packets_lost), (1, 1));
        let reception = sink.depacketizer.reception().unwrap();
        assert_eq!((reception.expected, reception.received), (15, 14));
    }
}

#[test]
fn a_recovered_packet_that_comes_again_by_itself_counts_as_received() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    let frame = source.frame(0);
    sink.push_all(&frame[..3]);
    sink.depacketizer.insert_recovered(sink.now, &frame[3]);
    sink.push_all(&frame[3..]);
    assert_eq!(sink.numbers(&source), [0]);
    assert_eq!(sink.depacketizer.reception().unwrap().lost(), 0);
}

#[test]
fn buffers_go_round() {
    let mut source = Source::new(7, 10, 0);
    let mut depacketizer = Depacketizer::new(Options::default(), Arc::default());
    let mut places = Vec::new();
    for n in 0..20 {
        for d in source.frame(n) {
            depacketizer.push(Mono(0), HERE, &d);
            while let Some(event) = depacketizer.poll(Mono(0)) {
                if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                    places.push(frame.jpeg().as_ptr());
                    depacketizer.recycle(frame);
                }
            }
        }
    }
    assert_eq!(places.len(), 20);
    assert!(places.iter().all(|&p| p == places[0]));
}

#[test]
fn whoever_never_polls_loses_frames_and_nothing_else() {
    let mut source = Source::new(7, 10, 0);
    let mut sink = Sink::new();
    for n in 0..40 {
        for d in source.frame(n) {
            sink.depacketizer.push(sink.now, HERE, &d);
        }
    }
    sink.drain();
    let numbers = sink.numbers(&source);
    assert_eq!(numbers.last(), Some(&39));
    assert!(numbers.len() <= 12, "{numbers:?}");
}

#[test]
fn a_frame_that_arrives_is_there_up_to_its_first_gap() {
    let mut source = Source::new(7, 65_533, 5);
    let (sent, next) = (source.frame(0), source.frame(1));
    let scan = source.scan(0);
    let mut sink = Sink::new();
    let arriving = |sink: &mut Sink| {
        let (number, picture) = sink.depacketizer.arriving()?;
        assert_eq!((picture.width, picture.height), (322, 242));
        assert_eq!(picture.quant[5], 6);
        assert!(scan.starts_with(picture.scan));
        Some((number, picture.scan.len()))
    };
    // Nothing can be decoded without the first packet.
    sink.push(&sent[1]);
    assert_eq!(arriving(&mut sink), None);
    sink.push(&sent[0]);
    let (number, two) = arriving(&mut sink).expect("a start");
    assert!(two > 236 && two < 2 * 236);
    sink.push(&sent[3]);
    assert_eq!(arriving(&mut sink), Some((number, two)));
    sink.push(&sent[2]);
    assert_eq!(arriving(&mut sink), Some((number, two + 2 * 236)));
    // The next frame must wait until this one is over; a whole one is no longer arriving.
    sink.push(&next[0]);
    assert_eq!(arriving(&mut sink), Some((number, two + 2 * 236)));
    sink.push(&sent[4]);
    assert_eq!(sink.numbers(&source), [0]);
    let (later, picture) = sink.depacketizer.arriving().expect("the next frame");
    assert!(later > number);
    assert!(source.scan(1).starts_with(picture.scan));
}
