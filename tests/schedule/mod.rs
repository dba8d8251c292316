//! A viewer's receive state machine as a whole: depacketizer, repair, questions and concealment,
//! driven by a schedule of datagrams that fuzzing or a property test makes up. It may do anything
//! but panic, grow without bound, or show as whole what was not sent.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::jpeg::rebuild::EOI;
use lancam::jpeg::recode::partial::Concealer;
use lancam::rtp::jpeg::FrameBuffer;
use lancam::rtp::repair::retransmit::RetransmitQueue;
use lancam::rtp::repair::{NackGenerator, Parity, RepairPacket, RetransmitBuffer};
use lancam::rtp::{
    Depacketizer, Event, Options, Packetizer, ReceivedFrame, RepairDecoder, RepairEncoder, RtpTime,
    SeqNo, Ssrc,
};
use lancam::stats::ViewerStats;

/// Where all packets come from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const SSRC: Ssrc = Ssrc(7);
/// More is no schedule but a flood.
const MAX_STEPS: usize = 3_000;
const MAX_FRAME: usize = 1 << 20;

/// A picture with restart markers, so that parts of it can be shown.
const PICTURE: &[u8] = include_bytes!("../data/jpeg/cjpeg-422-restart.jpg");

/// What a sender has on its way.
struct Sent {
    media: VecDeque<Vec<u8>>,
    parity: VecDeque<Vec<u8>>,
    last: Vec<u8>,
}

struct World {
    gate: Gate,
    packetizer: Packetizer,
    encoder: RepairEncoder,
    queue: Arc<RetransmitQueue>,
    buffer: RetransmitBuffer,
    time: u32,
    sent: Sent,
    frames: Depacketizer,
    repair: RepairDecoder,
    nacks: NackGenerator,
    concealer: Concealer,
    shown: Option<Box<FrameBuffer>>,
    /// Whether only what was sent has come.
    is_honest: bool,
    now: Mono,
}

/// Runs a schedule: each byte says what happens next.
pub fn run(schedule: &[u8]) {
    let stats: Arc<ViewerStats> = Arc::default();
    let queue = RetransmitQueue::new();
    let options = Options {
        max_frame: MAX_FRAME,
        give_partial: true,
        reorder: 64,
        ..Options::default()
    };
    let mut world = World {
        gate: Gate::new(GateOptions::default()),
        packetizer: Packetizer::new(SSRC, SeqNo(65_500), 300),
        encoder: RepairEncoder::new(),
        buffer: RetransmitBuffer::new(Arc::clone(&queue)),
        queue,
        time: 0,
        sent: Sent {
            media: VecDeque::new(),
            parity: VecDeque::new(),
            last: Vec::new(),
        },
        frames: Depacketizer::new(options, Arc::clone(&stats)),
        repair: RepairDecoder::new(stats),
        nacks: NackGenerator::new(),
        concealer: Concealer::default(),
        shown: None,
        is_honest: true,
        now: Mono(1),
    };
    let mut rest = schedule;
    for _ in 0..MAX_STEPS {
        let Some((&op, tail)) = rest.split_first() else {
            break;
        };
        rest = world.step(op, tail);
        world.drain();
    }
}

impl World {
    /// One step; what is left of the schedule.
    fn step<'a>(&mut self, op: u8, mut rest: &'a [u8]) -> &'a [u8] {
        let mut byte = || {
            let (&first, tail) = rest.split_first().unwrap_or((&0, &[]));
            rest = tail;
            first
        };
        match op % 16 {
            0 => self.send_frame(byte()),
            // Packets as they were sent, …
            1..=4 => {
                for _ in 0..=(op >> 4) {
                    self.next_media(|_| {});
                }
            }
            // … lost, …
            5 => {
                self.sent.media.pop_front();
            }
            // … again, …
            6 => {
                let again = self.sent.last.clone();
                self.frames.push(self.now, HERE, &again);
            }
            // … overtaken, …
            7 => {
                if let Some(first) = self.sent.media.pop_front() {
                    self.sent.media.push_back(first);
                }
            }
            // … and changed.
            8 => {
                let (at, with) = (usize::from(byte()), byte());
                self.is_honest = false;
                self.next_media(|d| change(d, at, with));
            }
            9 | 10 => {
                for _ in 0..=(op >> 4) {
                    self.next_parity(|_| {});
                }
            }
            11 => {
                self.sent.parity.pop_front();
            }
            12 => {
                let (at, with) = (usize::from(byte()), byte());
                self.is_honest = false;
                self.next_parity(|d| change(d, at, with));
            }
            // Silence, at most long enough for the sender to count as gone.
            13 => {
                let pause = match op >> 4 {
                    15 => 2_000_000,
                    n => u64::from(n) * 700 + 1,
                };
                self.now = self.now + Duration::from_micros(pause);
            }
            14 => self.ask(op & 16 != 0),
            _ => {
                // Anything, on either port.
                let len = u16::from_be_bytes([byte(), byte()]);
                let len = usize::from(len).min(rest.len());
                let (datagram, tail) = rest.split_at(len);
                self.is_honest = false;
                match op & 16 {
                    0 => self.frames.push(self.now, HERE, datagram),
                    _ => {
                        self.repair.push(self.now, HERE, datagram, &mut self.frames);
                    }
                }
                rest = tail;
            }
        }
        rest
    }

    fn send_frame(&mut self, parity: u8) {
        self.time += 3_000;
        let picture = self.gate.pass(PICTURE).expect("a good picture");
        let plan = self
            .packetizer
            .plan(&picture, RtpTime(self.time), None)
            .expect("a plan");
        let media = (0..plan.packets.len()).map(|i| {
            let (header, payload) = plan.parts(i, picture.scan);
            [header, payload].concat()
        });
        self.sent.media.extend(media);
        let parity = Parity::of(plan, f32::from(parity.max(1)) / 255.0);
        self.encoder.encode(plan, picture.scan, parity);
        let parity = self
            .encoder
            .datagrams(0..parity.packets)
            .map(<[u8]>::to_vec);
        self.sent.parity.extend(parity);
        self.queue.store(plan, picture.scan);
        // What nobody fetches is lost.
        self.sent
            .media
            .drain(..self.sent.media.len().saturating_sub(400));
        self.sent
            .parity
            .drain(..self.sent.parity.len().saturating_sub(400));
    }

    fn next_media(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut datagram) = self.sent.media.pop_front() {
            edit(&mut datagram);
            self.frames.push(self.now, HERE, &datagram);
            self.repair.packets_came(self.now, &mut self.frames);
            self.sent.last = datagram;
        }
    }

    fn next_parity(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut datagram) = self.sent.parity.pop_front() {
            edit(&mut datagram);
            self.repair
                .push(self.now, HERE, &datagram, &mut self.frames);
        }
    }

    /// The viewer asks, and all is answered.
    fn ask(&mut self, has_parity: bool) {
        let repair = has_parity.then_some(&self.repair);
        let missing = self.nacks.update(self.now, &self.frames, repair).to_vec();
        assert!(missing.len() <= 512);
        let (answers, _) = self
            .buffer
            .request(self.now, [10, 0, 0, 1].into(), true, &missing);
        let answers: Vec<Vec<u8>> = answers.map(<[u8]>::to_vec).collect();
        for answer in answers {
            if let RepairPacket::Retransmission(seq) =
                self.repair.push(self.now, HERE, &answer, &mut self.frames)
            {
                self.nacks.retransmitted(self.now, seq);
            }
        }
        self.frames
            .set_retransmission(self.nacks.is_answered(self.now));
        let _ = self.nacks.deadline();
    }

    fn drain(&mut self) {
        let _ = (self.frames.deadline(), self.frames.reception());
        assert!(self.frames.incomplete().count() <= 4);
        while let Some(event) = self.frames.poll(self.now) {
            match event {
                Event::Frame(ReceivedFrame::Jpeg(frame)) => {
                    assert!(frame.jpeg().len() <= MAX_FRAME + 1024);
                    if self.is_honest {
                        let sent = self.gate.pass(PICTURE).expect("a good picture").scan;
                        assert!(
                            [frame.picture().scan, &EOI].concat() == sent,
                            "whole, and not what was sent"
                        );
                    }
                    if let Some(old) = self.shown.replace(frame) {
                        self.frames.recycle(old);
                    }
                }
                Event::Partial(ReceivedFrame::Jpeg(mut frame)) => {
                    if let Some(shown) = &self.shown {
                        frame.conceal(shown, &mut self.concealer);
                    }
                    let len = frame.picture().scan.len();
                    assert!(frame.present().iter().all(|r| r.end <= len));
                    self.frames.recycle(frame);
                }
                _ => {}
            }
        }
    }
}

fn change(datagram: &mut [u8], at: usize, with: u8) {
    let at = at % datagram.len().max(1);
    if let Some(byte) = datagram.get_mut(at) {
        *byte ^= with;
    }
}
