//! Both ends against each other, and the decoder against liars.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::retransmit::RetransmitQueue;
use super::wire::{HEADER_LEN, InvalidRepair, MAX_PACKETS};
use super::*;
use crate::clock::Mono;
use crate::jpeg::{Picture, Sampling};
use crate::rtp::stats::ViewerStats;
use crate::rtp::{
    Depacketizer, Event, Options, PacketPlan, Packetizer, ReceivedFrame, RtpTime, SeqNo, Ssrc,
};

const SENDER: Ssrc = Ssrc(7);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const INTERVAL: Duration = Duration::from_millis(33);

/// One frame as it is sent.
struct Sent {
    scan: Vec<u8>,
    first: SeqNo,
    time: RtpTime,
    media: Vec<Vec<u8>>,
    parity: Vec<Vec<u8>>,
}

/// Sends frames 33 ms apart.
struct Sender {
    packetizer: Packetizer,
    encoder: RepairEncoder,
    frames: u32,
    /// Of the last frame.
    plan: PacketPlan,
}

impl Sender {
    fn new(first: u16, datagram: usize) -> Sender {
        Sender {
            packetizer: Packetizer::new(SENDER, SeqNo(first), largest_packet(datagram)),
            encoder: RepairEncoder::new(),
            frames: 0,
            plan: PacketPlan::default(),
        }
    }

    fn frame(&mut self, bytes: usize, share: f32) -> Sent {
        self.frames += 1;
        let salt = self.frames as usize;
        let scan: Vec<u8> = (0..bytes)
            .map(|i| (i * 31 + i / 253 + salt) as u8)
            .collect();
        let picture = Picture {
            width: 1280,
            height: 720,
            sampling: Sampling::Yuv422,
            restart_interval: 0,
            quant: [1; 128],
            scan: &scan,
        };
        let time = RtpTime(self.frames * 2_970);
        let plan = self.packetizer.plan(&picture, time, None).unwrap();
        let parity = Parity::of(plan, share);
        self.encoder.encode(plan, &scan, parity);
        let media = (0..plan.packets.len()).map(|i| {
            let (header, payload) = plan.parts(i, &scan);
            [header, payload].concat()
        });
        self.plan = plan.clone();
        Sent {
            first: plan.first_seq,
            time: plan.time,
            media: media.collect(),
            parity: (self.encoder.datagrams(0..parity.packets))
                .map(<[u8]>::to_vec)
                .collect(),
            scan,
        }
    }
}

struct Viewer {
    stats: Arc<ViewerStats>,
    frames: Depacketizer,
    repair: RepairDecoder,
    now: Mono,
}

impl Viewer {
    fn new() -> Viewer {
        let stats: Arc<ViewerStats> = Arc::default();
        let options = Options {
            reorder: 10_000,
            ..Options::default()
        };
        Viewer {
            frames: Depacketizer::new(options, Arc::clone(&stats)),
            repair: RepairDecoder::new(Arc::clone(&stats)),
            stats,
            now: Mono(1_000_000_000),
        }
    }

    /// One that has seen a frame, and so follows its sender.
    fn following(sender: &mut Sender) -> Viewer {
        let mut viewer = Viewer::new();
        let frame = sender.frame(100, 1.0);
        frame.media.iter().for_each(|d| viewer.media(d));
        assert!(viewer.whole() == [frame.scan]);
        viewer.now = viewer.now + INTERVAL;
        viewer
    }

    fn media(&mut self, datagram: &[u8]) {
        self.frames.push(self.now, HERE, datagram);
        self.repair.packets_came(self.now, &mut self.frames);
    }

    fn parity(&mut self, datagram: &[u8]) {
        self.parity_from(HERE, datagram);
    }

    fn parity_from(&mut self, address: IpAddr, datagram: &[u8]) {
        self.repair
            .push(self.now, address, datagram, &mut self.frames);
    }

    fn any(&mut self, datagram: &[u8]) {
        match datagram[0] >> 6 {
            2 => self.media(datagram),
            _ => self.parity(datagram),
        }
    }

    /// The scans of whole frames that are ready.
    fn whole(&mut self) -> Vec<Vec<u8>> {
        let mut scans = Vec::new();
        while let Some(event) = self.frames.poll(self.now) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                scans.push(frame.picture().scan.to_vec());
                self.frames.recycle(frame);
            }
        }
        scans
    }

    /// The datagrams of a frame that is being put together.
    fn datagrams(&self, time: RtpTime) -> Vec<Vec<u8>> {
        (self.frames.received(SENDER, time))
            .map(|p| [p.header, p.payload].concat())
            .collect()
    }
}

#[test]
fn the_kth_packet_repairs_whichever_kind_it_is() {
    for (bytes, share) in [(300, 1.0), (3_000, 0.5), (150_000, 0.2)] {
        let mut sender = Sender::new(65_500, 1472);
        let mut viewer = Viewer::following(&mut sender);
        let frame = sender.frame(bytes, share);
        let (k, r) = (frame.media.len(), frame.parity.len());
        // Parity last.
        frame.media[r..].iter().for_each(|d| viewer.media(d));
        frame.parity[1..].iter().for_each(|d| viewer.parity(d));
        assert!(viewer.whole().is_empty());
        viewer.parity(&frame.parity[0]);
        assert!(viewer.datagrams(frame.time) == frame.media);
        assert!(viewer.whole() == [frame.scan]);
        assert_eq!(viewer.stats.packets_repaired.get(), r as u64);

        // A packet of the frame last, of those that were missing.
        let frame = sender.frame(bytes, share);
        frame.parity[1..].iter().for_each(|d| viewer.parity(d));
        if k > 1 {
            frame.media[r..].iter().for_each(|d| viewer.media(d));
        }
        assert!(viewer.whole().is_empty());
        viewer.media(&frame.media[0]);
        assert!(viewer.whole() == [frame.scan]);
        assert_eq!(viewer.stats.packets_invalid.get(), 0);
        assert_eq!(viewer.stats.packets_late.get(), 0);
    }
}

#[test]
fn frames_of_one_to_two_thousand_packets() {
    for (bytes, packets) in [(1_200, 1), (2_400, 2), (150_000, 105), (2_850_000, 1_994)] {
        let mut sender = Sender::new(0, 1472);
        let mut viewer = Viewer::following(&mut sender);
        let frame = sender.frame(bytes, 0.1);
        assert_eq!(frame.media.len(), packets);
        assert_eq!(frame.parity.len(), packets.div_ceil(10));
        for datagram in frame.media.iter().chain(&frame.parity) {
            assert!(datagram.len() <= 1472);
        }
        // In one piece: a burst.
        let lost = packets / 3..packets / 3 + frame.parity.len();
        for (i, datagram) in frame.media.iter().enumerate() {
            if !lost.contains(&i) {
                viewer.media(datagram);
            }
        }
        frame.parity.iter().for_each(|d| viewer.parity(d));
        assert!(viewer.datagrams(frame.time) == frame.media);
        assert!(viewer.whole() == [frame.scan]);
        assert_eq!(viewer.stats.frames_repaired.get(), 1);
    }
}

#[test]
fn frames_beyond_the_limits_go_without_parity() {
    let mut sender = Sender::new(0, 1472);
    assert_eq!(sender.frame(3_000_000, 0.2).parity.len(), 0);
    assert_eq!(sender.frame(1_000, 0.2).parity.len(), 1);
}

#[test]
fn a_whole_frame_needs_nothing_and_keeps_nothing() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.5);
    frame.media.iter().for_each(|d| viewer.media(d));
    assert!(viewer.whole() == std::slice::from_ref(&frame.scan));
    frame.parity.iter().for_each(|d| viewer.parity(d));
    assert_eq!(viewer.repair.waiting(), (0, 0));
    let stats = viewer.stats.snapshot();
    assert_eq!(stats.repair_packets_received, frame.parity.len() as u64);
    assert_eq!((stats.packets_invalid, stats.packets_repaired), (0, 0));
}

#[test]
fn shares_are_rounded_up_and_never_nothing() {
    let mut sender = Sender::new(0, 1472);
    for (bytes, share, want) in [
        (100, 0.01, 1),
        (14_000, 0.3, 3),
        (14_000, 0.31, 4),
        (14_000, 0.2, 2),
        (14_000, 1.0, 10),
    ] {
        let frame = sender.frame(bytes, share);
        assert_eq!(frame.parity.len(), want, "{bytes} {share}");
    }
}

#[test]
fn the_encoder_allocates_nothing_once_it_has_grown() {
    let mut sender = Sender::new(0, 1472);
    sender.frame(250_000, 0.2);
    let first = sender.encoder.datagrams(0..1).next().unwrap().as_ptr();
    for _ in 0..3 {
        sender.frame(250_000, 0.2);
        let again = sender.encoder.datagrams(0..1).next().unwrap().as_ptr();
        assert_eq!(first, again);
    }
}

#[test]
fn headers_are_written_as_they_are_read() {
    let header = RepairHeader {
        ssrc: Ssrc(0x0102_0304),
        first: SeqNo(0x0506),
        time: RtpTime(0x0708_090a),
        packets: 107,
        parity: 22,
        index: 21,
        shard_len: 4,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    let want = [
        1, 0, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 0, 107, 0, 22, 0, 21, 0, 4,
    ];
    assert_eq!(bytes, want);
    assert_eq!(bytes.len(), HEADER_LEN);
    bytes.extend([9; 4]);
    assert_eq!(RepairHeader::parse(&bytes), Ok((header, &[9; 4][..])));
}

#[test]
fn lies_are_dropped_and_counted() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.2);
    frame.media[1..].iter().for_each(|d| viewer.media(d));
    let good = &frame.parity[0];
    let lie = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = good.clone();
        edit(&mut datagram);
        datagram
    };
    let put = |at: usize, value: u16| {
        move |d: &mut Vec<u8>| d[at..at + 2].copy_from_slice(&value.to_be_bytes())
    };
    let lies = [
        ("empty", Vec::new()),
        ("short", good[..19].to_vec()),
        ("RTP", frame.media[0].clone()),
        ("another version", lie(&put(0, 0x0200))),
        ("another kind", lie(&put(0, 0x0101))),
        ("another sender", lie(&put(8, 1))),
        ("k = 0", lie(&put(12, 0))),
        ("k too large", lie(&put(12, MAX_PACKETS as u16 + 1))),
        ("r = 0", lie(&put(14, 0))),
        ("r above k", lie(&put(14, frame.media.len() as u16 + 1))),
        ("r huge", lie(&put(14, u16::MAX))),
        ("index beyond r", lie(&put(16, 500))),
        ("shard shorter than said", lie(&|d| d.truncate(d.len() - 2))),
        ("shard longer than said", lie(&|d| d.extend([0; 2]))),
        (
            "odd shard",
            lie(&|d| {
                let len = (d.len() - HEADER_LEN - 1) as u16;
                d.truncate(HEADER_LEN + usize::from(len));
                put(18, len)(d);
            }),
        ),
    ];
    for (n, (what, datagram)) in lies.iter().enumerate() {
        viewer.parity(datagram);
        assert_eq!(viewer.stats.packets_invalid.get(), n as u64 + 1, "{what}");
        assert_eq!(viewer.repair.waiting(), (0, 0), "{what}");
    }
    // The truth still works after all that.
    viewer.parity(good);
    assert!(viewer.whole() == [frame.scan]);
}

#[test]
fn numbers_that_ask_for_too_much_memory_are_refused() {
    let mut bytes = Vec::new();
    RepairHeader {
        ssrc: SENDER,
        first: SeqNo(0),
        time: RtpTime(0),
        packets: 2048,
        parity: 2048,
        index: 0,
        shard_len: 65_000,
    }
    .write(&mut bytes);
    bytes.resize(HEADER_LEN + 65_000, 0);
    let refused = RepairHeader::parse(&bytes);
    assert!(
        matches!(refused, Err(InvalidRepair::Counts { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_same_index_twice_is_not_two() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.2);
    frame.media[2..].iter().for_each(|d| viewer.media(d));
    viewer.parity(&frame.parity[0]);
    viewer.parity(&frame.parity[0]);
    assert!(viewer.whole().is_empty());
    viewer.parity(&frame.parity[3]);
    assert!(viewer.whole() == [frame.scan]);
}

#[test]
fn parity_that_contradicts_its_frame_ends_that_frame_only() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.2);
    frame.media[1..].iter().for_each(|d| viewer.media(d));
    let mut false_parity = frame.parity[0].clone();
    false_parity[HEADER_LEN..]
        .iter_mut()
        .for_each(|b| *b ^= 0x55);
    viewer.parity(&false_parity);
    assert_eq!(viewer.stats.packets_invalid.get(), 1);
    // No second try, however much comes.
    viewer.parity(&frame.parity[1]);
    assert_eq!(viewer.repair.waiting(), (0, 0));
    viewer.now = viewer.now + 10 * INTERVAL;
    assert!(viewer.whole().is_empty());
    // Other numbers than before, for a frame that waits.
    let frame = sender.frame(50_000, 0.2);
    frame.media[2..].iter().for_each(|d| viewer.media(d));
    viewer.parity(&frame.parity[0]);
    let mut other = frame.parity[1].clone();
    other[13] += 1;
    viewer.parity(&other);
    assert_eq!(viewer.stats.packets_invalid.get(), 2);
    viewer.parity(&frame.parity[1]);
    assert!(viewer.whole() == [frame.scan]);
}

#[test]
fn frames_that_never_were_push_each_other_out() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.2);
    for n in 0..1000u16 {
        let mut datagram = frame.parity[0].clone();
        datagram[2..4].copy_from_slice(&(1000 + n).to_be_bytes());
        viewer.parity(&datagram);
        let (groups, bytes) = viewer.repair.waiting();
        assert!(groups <= 4 && bytes <= 4 * 1472);
    }
    assert_eq!(viewer.stats.packets_invalid.get(), 996);
    frame.media[1..].iter().for_each(|d| viewer.media(d));
    viewer.parity(&frame.parity[0]);
    assert!(viewer.whole() == [frame.scan]);
}

#[test]
fn strangers_parity_and_retransmissions_are_passed_over() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let frame = sender.frame(50_000, 0.2);
    frame.media[1..].iter().for_each(|d| viewer.media(d));
    let again = [&wire::RETRANSMISSION_HEADER[..], &frame.media[0]].concat();
    for datagram in [&frame.parity[0], &again] {
        viewer.parity_from(THERE, datagram);
    }
    assert!(viewer.whole().is_empty());
    assert_eq!(viewer.repair.waiting(), (0, 0));
    let stats = viewer.stats.snapshot();
    assert_eq!((stats.packets_foreign, stats.packets_invalid), (2, 0));
    viewer.parity(&frame.parity[0]);
    assert!(viewer.whole() == [frame.scan]);
}

#[test]
fn made_up_parity_costs_a_decoding_now_and_then_not_each() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let mut parity = Vec::new();
    let made_up = |first: u16| RepairHeader {
        ssrc: SENDER,
        first: SeqNo(first),
        time: RtpTime(2_970 + u32::from(first)),
        packets: 1,
        parity: 1,
        index: 0,
        shard_len: 4,
    };
    // Of frames that may come: one is decoded, and does not fit.
    for first in 10..500 {
        parity.clear();
        made_up(first).write(&mut parity);
        parity.extend([9; 4]);
        viewer.parity(&parity);
    }
    assert_eq!(viewer.repair.decoded(), 1);
    // Of frames that cannot come: none.
    viewer.now = viewer.now + INTERVAL;
    for first in 40_000..40_500 {
        parity.clear();
        made_up(first).write(&mut parity);
        parity.extend([9; 4]);
        viewer.parity(&parity);
    }
    assert_eq!(viewer.repair.decoded(), 1);
    // The truth is still good.
    let frame = sender.frame(50_000, 0.2);
    frame.media[1..].iter().for_each(|d| viewer.media(d));
    viewer.parity(&frame.parity[0]);
    assert!(viewer.whole() == [frame.scan]);
    assert_eq!(viewer.repair.decoded(), 2);
}

/// A viewer that asks, behind a network that loses packets, and its sender. Steps of 100 µs.
struct Link {
    sender: Sender,
    viewer: Viewer,
    generator: NackGenerator,
    queue: Arc<RetransmitQueue>,
    buffer: RetransmitBuffer,
    seed: u64,
    loss: f64,
    /// Bytes of packets, and of all that was sent again.
    bytes: (usize, usize),
    /// Requests and answers on their way, and when they arrive.
    requests: Vec<(Mono, Vec<SeqNo>)>,
    answers: Vec<(Mono, Vec<u8>)>,
    frames: u64,
    whole: usize,
}

const STEP: Duration = Duration::from_micros(100);
/// One way.
const WAY: Duration = Duration::from_micros(300);

impl Link {
    fn new(loss: f64, seed: u64) -> Link {
        let mut sender = Sender::new(65_000, 1450);
        let viewer = Viewer::following(&mut sender);
        let queue = RetransmitQueue::new();
        Link {
            sender,
            viewer,
            generator: NackGenerator::new(),
            buffer: RetransmitBuffer::new(Arc::clone(&queue)),
            queue,
            seed: seed | 1,
            loss,
            bytes: (0, 0),
            requests: Vec::new(),
            answers: Vec::new(),
            frames: 0,
            whole: 0,
        }
    }

    fn loses(&mut self) -> bool {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        let dice = (self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64;
        dice / ((1u64 << 53) as f64) < self.loss
    }

    /// Sends a frame in steps, and waits until the next one is due.
    fn frame(&mut self, bytes: usize, share: Option<f32>) {
        let sent = self.sender.frame(bytes, share.unwrap_or(0.01));
        self.frames += 1;
        let parity = if share.is_some() {
            sent.parity
        } else {
            Vec::new()
        };
        let mut media = sent.media.iter();
        let mut parity = parity.iter();
        let mut is_kept = false;
        let until = self.viewer.now + INTERVAL;
        while self.viewer.now < until {
            for datagram in media.by_ref().take(6) {
                self.bytes.0 += datagram.len();
                if !self.loses() {
                    self.viewer.media(datagram);
                }
            }
            if media.len() == 0 && !is_kept {
                is_kept = true;
                let plan = &self.sender.plan;
                self.queue.store(plan, &sent.scan);
            } else if is_kept {
                for datagram in parity.by_ref().take(6) {
                    self.bytes.1 += datagram.len();
                    if !self.loses() {
                        self.viewer.parity(datagram);
                    }
                }
            }
            self.step(share.is_some());
        }
    }

    fn step(&mut self, has_parity: bool) {
        self.viewer.now = self.viewer.now + STEP;
        let now = self.viewer.now;
        while let Some(at) = self.answers.iter().position(|(at, _)| *at <= now) {
            let (_, datagram) = self.answers.remove(at);
            if let RepairPacket::Retransmission(seq) =
                self.viewer
                    .repair
                    .push(now, HERE, &datagram, &mut self.viewer.frames)
            {
                self.generator.retransmitted(now, seq);
            }
        }
        let repair = has_parity.then_some(&self.viewer.repair);
        let wanted = self
            .generator
            .update(now, &self.viewer.frames, repair)
            .to_vec();
        self.viewer
            .frames
            .set_retransmission(self.generator.is_answered(now));
        if !wanted.is_empty() && !self.loses() {
            self.requests.push((now + WAY, wanted));
        }
        while let Some(at) = self.requests.iter().position(|(at, _)| *at <= now) {
            let (_, wanted) = self.requests.remove(at);
            let (answers, _) = self
                .buffer
                .request(now, [10, 0, 0, 1].into(), true, &wanted);
            let answers: Vec<Vec<u8>> = answers.map(<[u8]>::to_vec).collect();
            for answer in answers {
                self.bytes.1 += answer.len();
                if !self.loses() {
                    self.answers.push((now + WAY, answer));
                }
            }
        }
        self.whole += self.viewer.whole().len();
    }

    fn overhead(&self) -> f64 {
        self.bytes.1 as f64 / self.bytes.0 as f64
    }
}

#[test]
fn asking_alone_brings_nearly_all_back() {
    let mut link = Link::new(0.05, 12345);
    for _ in 0..600 {
        link.frame(150_000, None);
    }
    assert!(
        link.whole >= 599,
        "{} of 600 frames, overhead {}",
        link.whole,
        link.overhead()
    );
    assert!(link.overhead() <= 0.08, "{}", link.overhead());
    assert_eq!(link.viewer.stats.packets_invalid.get(), 0);
}

#[test]
fn asking_mends_what_parity_does_not() {
    let mut link = Link::new(0.05, 999);
    for _ in 0..600 {
        // Too little for a tenth of the frames.
        link.frame(150_000, Some(0.08));
    }
    assert!(link.whole >= 599, "{} of 600 frames", link.whole);
    assert!(link.overhead() < 0.10, "{}", link.overhead());
    let before = link.bytes.1;
    link.loss = 0.0;
    for _ in 0..10 {
        link.frame(150_000, Some(0.01));
    }
    assert!(
        link.bytes.1 - before < 50_000,
        "nobody asks where nothing is lost"
    );
}

#[test]
fn a_sender_that_does_not_answer_is_asked_rarely() {
    let mut link = Link::new(0.05, 77);
    let mut asked = 0;
    for _ in 0..300 {
        let sent = link.sender.frame(150_000, 0.01);
        for datagram in &sent.media {
            if !link.loses() {
                link.viewer.media(datagram);
            }
        }
        for _ in 0..330 {
            link.viewer.now = link.viewer.now + STEP;
            let missing = link
                .generator
                .update(link.viewer.now, &link.viewer.frames, None);
            asked += u32::from(!missing.is_empty());
            link.viewer.whole();
        }
    }
    assert!((100..130).contains(&asked), "{asked} times in 10 s");
    assert!(!link.generator.is_answered(link.viewer.now));
}

/// Any number of hosts that ask and report nothing leave one that reports what it needs.
#[test]
fn strangers_do_not_use_up_what_viewers_need() {
    let mut sender = Sender::new(0, 1450);
    let queue = RetransmitQueue::new();
    let mut buffer = RetransmitBuffer::new(Arc::clone(&queue));
    let (mut media, mut strangers, mut answered, mut asked) = (0, 0, 0, 0);
    for frame in 0..300u64 {
        let sent = sender.frame(150_000, 0.01);
        queue.store(&sender.plan, &sent.scan);
        media += sent.media.iter().map(Vec::len).sum::<usize>();
        let seqs = |step: usize, from: u16| -> Vec<SeqNo> {
            let all = (from..sent.media.len() as u16).step_by(step);
            all.map(|i| sent.first.plus(i)).collect()
        };
        let now = Mono(frame * 33_000_000);
        for n in 0..64u8 {
            let many = seqs(1, n.into());
            let (answers, _) = buffer.request(now, [10, 0, 1, n].into(), false, &many);
            strangers += answers.map(<[u8]>::len).sum::<usize>();
        }
        // It loses 5 %.
        let missing = seqs(20, 1);
        let later = now + Duration::from_millis(4);
        let (answers, _) = buffer.request(later, [10, 0, 0, 1].into(), true, &missing);
        answered += answers.count();
        asked += missing.len();
    }
    let share = strangers as f64 / media as f64;
    assert!(share < 0.06, "{share}");
    assert!(answered * 100 >= asked * 99, "{answered} of {asked}");
}

#[test]
fn nobody_makes_a_sender_send_more_than_its_share() {
    let mut sender = Sender::new(0, 1450);
    let queue = RetransmitQueue::new();
    let mut buffer = RetransmitBuffer::new(Arc::clone(&queue));
    let (mut media, mut again, mut refused) = (0, [0usize; 2], 0);
    let mut now = Mono(0);
    for _ in 0..300 {
        let sent = sender.frame(150_000, 0.01);
        queue.store(&sender.plan, &sent.scan);
        media += sent.media.iter().map(Vec::len).sum::<usize>();
        let all: Vec<SeqNo> = (0..sent.media.len() as u16)
            .map(|i| sent.first.plus(i))
            .collect();
        // One floods from one address, a crowd from many.
        for n in 0..10u8 {
            now = now + Duration::from_millis(3);
            for (who, address) in [[10, 0, 0, 1], [10, 0, 1, n]].into_iter().enumerate() {
                let (answers, too_many) = buffer.request(now, address.into(), true, &all);
                again[who] += answers.map(<[u8]>::len).sum::<usize>();
                refused += too_many;
            }
        }
    }
    let share = |bytes: usize| bytes as f64 / media as f64;
    // A little more than its share was saved up at the start.
    assert!(share(again[0]) < 0.17, "{}", share(again[0]));
    assert!(
        share(again[0] + again[1]) < 0.28,
        "{}",
        share(again[0] + again[1])
    );
    assert!(refused > 1000);
}

#[test]
fn what_is_sent_again_is_what_was_sent() {
    let mut sender = Sender::new(65_500, 1450);
    let queue = RetransmitQueue::new();
    let mut buffer = RetransmitBuffer::new(Arc::clone(&queue));
    let ask = |buffer: &mut RetransmitBuffer, at: u64, seqs: &[SeqNo]| -> Vec<Vec<u8>> {
        let (answers, _) = buffer.request(Mono(at * 1_000_000), [10, 0, 0, 1].into(), true, seqs);
        answers.map(<[u8]>::to_vec).collect()
    };
    let first = sender.frame(150_000, 0.01);
    queue.store(&sender.plan, &first.scan);
    let wanted = [first.first, first.first.plus(70)];
    let got = ask(&mut buffer, 10, &wanted);
    assert_eq!(got.len(), 2);
    assert!(wire::retransmitted(&got[1]) == Some(&first.media[70][..]));
    // Another viewer asks at the same time: it has the answer already.
    assert!(ask(&mut buffer, 11, &wanted).is_empty());
    assert_eq!(ask(&mut buffer, 20, &wanted).len(), 2);
    // What was never sent, and what is too old.
    assert!(ask(&mut buffer, 30, &[first.first.plus(5000)]).is_empty());
    for _ in 0..20 {
        let sent = sender.frame(150_000, 0.01);
        queue.store(&sender.plan, &sent.scan);
    }
    assert!(ask(&mut buffer, 40, &wanted).is_empty());
    // A frame too large for the queue takes no place there.
    let huge = sender.frame(3 << 20, 0.01);
    queue.store(&sender.plan, &huge.scan);
    assert!(ask(&mut buffer, 50, &[huge.first]).is_empty());
}

/// Chance that more than `r` of `n` packets are lost at this rate.
fn chance_of_more(r: u32, n: u32, loss: f64) -> f64 {
    let mut term = (1.0 - loss).powi(n as i32);
    let mut sum = 0.0;
    for lost in 0..=n {
        if lost > r {
            sum += term;
        }
        term *= f64::from(n - lost) / f64::from(lost + 1) * loss / (1.0 - loss);
    }
    sum
}

#[test]
fn what_overhead_is_worth() {
    // Frames of 107 packets: random loss, parity packets that suffice for 99.9 % of them, and one
    // fewer that does not. Nothing can do better: r parity packets repair r lost ones.
    for (loss, parity) in [(0.01, 5), (0.03, 10), (0.05, 15), (0.10, 25), (0.20, 47)] {
        let fails = chance_of_more(parity, 107 + parity, loss);
        assert!(fails <= 1e-3, "{loss}: {parity} fail {fails}");
        let fails = chance_of_more(parity - 1, 106 + parity, loss);
        assert!(fails > 1e-3, "{loss}: {} fail {fails}", parity - 1);
    }
}

/// Not a test: prints what a frame of 250 KB costs. `cargo test --profile quick -- --ignored
/// --nocapture cost`
#[test]
#[ignore = "prints times"]
fn cost_of_a_frame() {
    let mut sender = Sender::new(0, 1472);
    let mut viewer = Viewer::following(&mut sender);
    let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
    let rounds = 200;
    let scan = vec![7; 250_000];
    for _ in 0..rounds {
        let frame = sender.frame(scan.len(), 0.2);
        frame.media[10..].iter().for_each(|d| viewer.media(d));
        frame.parity[1..10].iter().for_each(|d| viewer.parity(d));
        let start = std::time::Instant::now();
        viewer.parity(&frame.parity[0]);
        decoding += start.elapsed();
        assert_eq!(viewer.whole().len(), 1);
        let picture = Picture {
            width: 1280,
            height: 720,
            sampling: Sampling::Yuv422,
            restart_interval: 0,
            quant: [1; 128],
            scan: &scan,
        };
        let mut packetizer = Packetizer::new(SENDER, SeqNo(0), largest_packet(1472));
        let plan = packetizer.plan(&picture, RtpTime(0), None).unwrap();
        let start = std::time::Instant::now();
        let parity = Parity::of(plan, 0.2);
        sender.encoder.encode(plan, &scan, parity);
        encoding += start.elapsed();
    }
    println!(
        "{:?} to encode, {:?} to repair",
        encoding / rounds,
        decoding / rounds
    );
}

/// A frame's size, what a datagram holds, the share of parity, and how to lose and mix.
fn cases() -> impl Strategy<Value = (usize, usize, f32, u16, Vec<u32>)> {
    (
        1usize..40_000,
        300usize..1500,
        0.02f32..1.0,
        any::<u16>(),
        prop::collection::vec(any::<u32>(), 400),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_give_the_frame_back((bytes, datagram, share, first, dice) in cases()) {
        let mut sender = Sender::new(first, datagram);
        let mut viewer = Viewer::following(&mut sender);
        let frame = sender.frame(bytes, share);
        let mut all: Vec<&Vec<u8>> = frame.media.iter().chain(&frame.parity).collect();
        // Shuffle, lose as many as there is parity, send a few twice.
        let mut dice = dice.iter().cycle().map(|&d| d as usize);
        for i in (1..all.len()).rev() {
            all.swap(i, dice.next().unwrap() % (i + 1));
        }
        all.truncate(frame.media.len());
        for _ in 0..3 {
            let again = all[dice.next().unwrap() % all.len()];
            all.insert(dice.next().unwrap() % all.len(), again);
        }
        for datagram in &all {
            viewer.any(datagram);
        }
        prop_assert!(viewer.datagrams(frame.time) == frame.media);
        prop_assert!(viewer.frames.received(SENDER, frame.time).next().unwrap().seq == frame.first);
        prop_assert!(viewer.whole() == [frame.scan]);
        prop_assert_eq!(viewer.stats.packets_invalid.get(), 0);
    }

    #[test]
    fn liars_cost_little(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..24, any::<u8>()), 1..60),
        lost in 0usize..8,
    ) {
        let mut sender = Sender::new(65_530, 400);
        let mut viewer = Viewer::following(&mut sender);
        let frame = sender.frame(8_000, 0.5);
        frame.media[lost..].iter().for_each(|d| viewer.media(d));
        for (which, at, byte) in edits {
            let mut datagram = which.get(&frame.parity).clone();
            datagram[at] = byte;
            viewer.parity(&datagram);
            viewer.media(&frame.media[lost]);
            let (groups, bytes) = viewer.repair.waiting();
            prop_assert!(groups <= 4 && bytes <= 8 << 20);
        }
        viewer.now = viewer.now + 10 * INTERVAL;
        // Whole as it was sent, or not at all.
        for scan in viewer.whole() {
            prop_assert!(scan == frame.scan);
        }
    }
}
