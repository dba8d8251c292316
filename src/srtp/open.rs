//! A viewer's packets: opened where they lie, and believed only then.
//!
//! # Bounds
//! At most [`MAX_RUNS`] runs are remembered, only those of which an authentic packet came. Keys are
//! derived at most [`TRIALS`] times a second for runs that are not known, whatever comes.

use std::time::Duration;

use super::cipher::{Cipher, Place};
use super::hello::Hello;
use super::keys::{Keys, Salt};
use super::suite::Suite;
use super::window::Window;
use crate::clock::Mono;
use crate::rtp::header::Packet;
use crate::rtp::{SeqNo, Ssrc};

/// How many runs are remembered; the one that was silent longest gives way.
pub const MAX_RUNS: usize = 8;
/// How many unknown runs are tried in a second.
pub const TRIALS: u32 = 200;

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no RTP packet.
    Malformed,
    /// Nothing has told yet which run it is of. So it is with packets that are not sealed.
    Unknown,
    /// No key of ours has sealed it, or it was changed on its way.
    Unauthentic,
    /// It came before, or is too old to tell.
    Replayed,
    /// Too many unknown runs came in this second.
    Busy,
}

/// Opens the packets of whoever has the same secret.
pub struct Opener {
    keys: Keys,
    runs: Vec<Run>,
    trials: Trials,
    /// The packet as it came, while several keys are tried.
    copy: Vec<u8>,
}

impl Opener {
    /// An opener that knows no run yet.
    pub fn new(keys: Keys) -> Opener {
        Opener {
            keys,
            runs: Vec::new(),
            trials: Trials::default(),
            copy: Vec::new(),
        }
    }

    /// Opens `packet` where it lies and returns its length in clear.
    ///
    /// # Errors
    /// It is to be dropped; its payload's bytes may be any then.
    pub fn open(&mut self, now: Mono, packet: &mut [u8]) -> Result<usize, Refusal> {
        let head = Packet::parse_head(packet).map_err(|_| Refusal::Malformed)?;
        let clear = Clear {
            ssrc: head.ssrc(),
            seq: head.seq(),
            hello: Hello::of(&head),
            len: head.header_len(),
        };
        let known = self.runs.iter_mut().find(|run| run.is_of(&clear));
        match known {
            Some(run) => run.open(now, &clear, packet, &mut self.copy),
            None => self.begin(now, &clear, packet),
        }
    }

    /// Writes a packet that was opened to `out`, sealed as it came: repair packets are made of
    /// those. False: it is of no run that is known, or not of its last packets.
    #[must_use]
    pub fn seal_again(&self, header: &[u8], payload: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(head) = Packet::parse_head(header) else {
            return false;
        };
        let run = self.runs.iter().find(|run| run.ssrc == head.ssrc());
        let Some((run, cipher)) = run.and_then(|run| Some((run, run.ciphers.first()?))) else {
            return false;
        };
        let index = run.window.estimate(head.seq());
        let Some(index) = index.filter(|&index| run.window.has(index)) else {
            return false;
        };
        let ssrc = run.ssrc;
        out.clear();
        out.extend_from_slice(header);
        out.extend_from_slice(payload);
        out.resize(out.len() + cipher.suite().tag_len(), 0);
        cipher.seal_rtp(Place { ssrc, index }, head.header_len(), out);
        true
    }

    /// Opens the first packet of a run.
    fn begin(&mut self, now: Mono, clear: &Clear, packet: &mut [u8]) -> Result<usize, Refusal> {
        let name = match (&self.keys, clear.hello) {
            (Keys::Master(_), _) => None,
            (Keys::Secrets(_), None) => return Err(Refusal::Unknown),
            (Keys::Secrets(_), Some(hello)) if self.trials.take(now) => Some(hello),
            _ => return Err(Refusal::Busy),
        };
        let mut run = Run::new(now, &self.keys, clear.ssrc, name);
        let len = run.open(now, clear, packet, &mut self.copy)?;
        // A sender that drew the same SSRC again takes the place of its old run.
        self.runs.retain(|other| other.ssrc != run.ssrc);
        if self.runs.len() == MAX_RUNS {
            let oldest = (0..MAX_RUNS).min_by_key(|&i| self.runs[i].heard);
            self.runs.swap_remove(oldest.unwrap_or(0));
        }
        self.runs.push(run);
        Ok(len)
    }
}

/// What an unopened packet says; nothing of it is proven.
struct Clear {
    ssrc: Ssrc,
    seq: SeqNo,
    hello: Option<Hello>,
    /// Bytes of the header.
    len: usize,
}

/// A run of a sender.
struct Run {
    ssrc: Ssrc,
    /// What it is called; `None`: its key was told.
    name: Option<(Suite, Salt)>,
    /// By each secret of ours: the one that fitted last is first.
    ciphers: Vec<Cipher>,
    window: Window,
    heard: Mono,
}

impl Run {
    fn new(now: Mono, keys: &Keys, ssrc: Ssrc, hello: Option<Hello>) -> Run {
        let name = hello.map(|hello| (hello.suite, hello.salt));
        let ciphers = match (keys, name) {
            (Keys::Master(key), _) => vec![key.rtp()],
            (Keys::Secrets(_), None) => Vec::new(),
            (Keys::Secrets(_), Some((suite, salt))) => {
                keys.of_run(suite, salt).map(|key| key.rtp()).collect()
            }
        };
        Run {
            ssrc,
            name,
            ciphers,
            window: Window::default(),
            heard: now,
        }
    }

    fn is_of(&self, clear: &Clear) -> bool {
        let said = clear.hello.map(|hello| (hello.suite, hello.salt));
        self.ssrc == clear.ssrc && (self.name.is_none() || said.is_none() || said == self.name)
    }

    fn open(
        &mut self,
        now: Mono,
        clear: &Clear,
        packet: &mut [u8],
        copy: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        // What the packet says counts more than the estimate, which is wrong after a long silence.
        let index = match clear.hello {
            Some(hello) => Some(u64::from(hello.roc) << 16 | u64::from(clear.seq.0)),
            None => self.window.estimate(clear.seq),
        };
        let index = index.ok_or(Refusal::Unauthentic)?;
        if self.window.has(index) {
            return Err(Refusal::Replayed);
        }
        let ssrc = self.ssrc;
        let place = Place { ssrc, index };
        let (fits, len) = try_all(&self.ciphers, place, clear.len, packet, copy)?;
        self.ciphers.swap(0, fits);
        self.window.note(index);
        self.heard = now;
        Ok(len)
    }
}

/// Which cipher opens the packet, and its length then.
fn try_all(
    ciphers: &[Cipher],
    place: Place,
    head: usize,
    packet: &mut [u8],
    copy: &mut Vec<u8>,
) -> Result<(usize, usize), Refusal> {
    // A cipher that does not fit may leave anything behind.
    if ciphers.len() > 1 {
        copy.clear();
        copy.extend_from_slice(packet);
    }
    for (i, cipher) in ciphers.iter().enumerate() {
        if i > 0 {
            packet.copy_from_slice(copy);
        }
        if let Some(len) = cipher.open_rtp(place, head, packet) {
            return Ok((i, len));
        }
    }
    Err(Refusal::Unauthentic)
}

/// How many unknown runs may be tried yet.
#[derive(Default)]
pub(super) struct Trials {
    since: Mono,
    used: u32,
}

impl Trials {
    pub(super) fn take(&mut self, now: Mono) -> bool {
        if self.used == 0 || now.since(self.since) >= Duration::from_secs(1) {
            *self = Trials {
                since: now,
                used: 0,
            };
        }
        self.used += 1;
        self.used <= TRIALS
    }
}
