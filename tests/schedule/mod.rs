//! A viewer's receive state machine as a whole: depacketizer, repair, questions and concealment, driven by a schedule
//! of datagrams that fuzzing or a property test makes up. It may do anything but panic, grow without bound, or show
//! as whole what was not sent.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::jpeg::recode::partial::Concealer;
use lancam::rtp::jpeg::FrameBuffer;
use lancam::rtp::repair::history::{History, Shelf};
use lancam::rtp::repair::{Asker, Heard, Parity};
use lancam::rtp::{
    Depacketizer, Event, Options, Packetizer, RepairDecoder, RepairEncoder, RtpTime, SeqNo, Ssrc,
};
use lancam::stats::ViewerStats;

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
    shelf: Arc<Shelf>,
    history: History,
    time: u32,
    sent: Sent,
    frames: Depacketizer,
    repair: RepairDecoder,
    asker: Asker,
    concealer: Concealer,
    shown: Option<Box<FrameBuffer>>,
    /// Whether only what was sent has come.
    is_honest: bool,
    now: Mono,
}

/// Runs a schedule: each byte says what happens next.
pub fn run(schedule: &[u8]) {
    let stats: Arc<ViewerStats> = Arc::default();
    let shelf = Shelf::new();
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
        history: History::new(Arc::clone(&shelf)),
        shelf,
        time: 0,
        sent: Sent {
            media: VecDeque::new(),
            parity: VecDeque::new(),
            last: Vec::new(),
        },
        frames: Depacketizer::new(options, Arc::clone(&stats)),
        repair: RepairDecoder::new(stats),
        asker: Asker::new(),
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
                self.frames.push(self.now, &again);
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
            13 => self.now = self.now + Duration::from_micros(u64::from(op >> 4) * 700 + 1),
            14 => self.ask(op & 16 != 0),
            _ => {
                // Anything, on either port.
                let len = usize::from(byte()).min(rest.len());
                let (datagram, tail) = rest.split_at(len);
                self.is_honest = false;
                match op & 16 {
                    0 => self.frames.push(self.now, datagram),
                    _ => {
                        self.repair.push(self.now, datagram, &mut self.frames);
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
        self.shelf.keep(plan, picture.scan);
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
            self.frames.push(self.now, &datagram);
            self.repair.packets_came(self.now, &mut self.frames);
            self.sent.last = datagram;
        }
    }

    fn next_parity(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut datagram) = self.sent.parity.pop_front() {
            edit(&mut datagram);
            self.repair.push(self.now, &datagram, &mut self.frames);
        }
    }

    /// The viewer asks, and all is answered.
    fn ask(&mut self, has_parity: bool) {
        let repair = has_parity.then_some(&self.repair);
        let missing = self.asker.update(self.now, &self.frames, repair).to_vec();
        assert!(missing.len() <= 512);
        let (answers, _) = self.history.ask(self.now, [10, 0, 0, 1].into(), &missing);
        let answers: Vec<Vec<u8>> = answers.map(<[u8]>::to_vec).collect();
        for answer in answers {
            if let Heard::Again(seq) = self.repair.push(self.now, &answer, &mut self.frames) {
                self.asker.came(self.now, seq);
            }
        }
        self.frames.set_asking(self.asker.is_answered(self.now));
        let _ = self.asker.deadline();
    }

    fn drain(&mut self) {
        let _ = (self.frames.deadline(), self.frames.reception());
        assert!(self.frames.waiting().count() <= 4);
        while let Some(event) = self.frames.poll(self.now) {
            match event {
                Event::Frame(frame) => {
                    assert!(frame.jpeg().len() <= MAX_FRAME + 1024);
                    if self.is_honest {
                        let sent = self.gate.pass(PICTURE).expect("a good picture").scan;
                        assert!(frame.picture().scan == sent, "whole, and not what was sent");
                    }
                    if let Some(old) = self.shown.replace(frame) {
                        self.frames.recycle(old);
                    }
                }
                Event::Partial(mut frame) => {
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
