//! A camera that is open and streaming, until its first error. [`super::Camera`] handles that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::controls;
use super::encode::Encoder;
use super::error::CameraError;
use super::find;
use super::format::{self, Agreed, Pixels};
use super::ring::{Filled, Node, Ready, Ring};
use crate::clock::Mono;
use crate::kept::Owner;
use crate::source::{CameraSpec, ControlValue};

/// Buffers requested: one lent, one being filled, and two so that a late sender loses nothing.
const BUFFERS: u32 = 4;
/// Without a frame for this long the camera hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first frame may take longer: the sensor starts, the exposure settles.
const FIRST_PATIENCE: Duration = Duration::from_secs(4);
/// A poll that returns sooner than this has not waited: frames were there already, perhaps several.
const AT_ONCE: Duration = Duration::from_micros(100);
/// A driver's time further in the past is considered nonsense.
const OLDEST: Duration = Duration::from_secs(10);
/// A larger jump in the sequence numbers is a new count, not a loss.
const MOST_MISSED: u32 = 1000;
/// No JPEG is shorter.
const SHORTEST: usize = 128;

/// A streaming camera.
pub(super) struct Session {
    ring: Ring,
    device: PathBuf,
    agreed: Agreed,
    encoder: Option<Encoder>,
    /// The lent buffer. It goes back to the driver at the next call.
    held: Option<Filled>,
    last_sequence: Option<u32>,
    last_arrival: Mono,
    patience: Duration,
}

/// A frame lent by the session; [`Session::data`] returns the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    pub(super) captured: Mono,
    pub(super) missed: u32,
    pub(super) flagged: bool,
    /// Length of the JPEG made from a raw picture.
    encoded: Option<usize>,
}

impl Session {
    /// Finds, opens and starts the camera. What the driver changed goes into `notes`.
    ///
    /// # Errors
    /// Any [`CameraError`]; everything is closed then.
    pub(super) fn open(spec: &CameraSpec, notes: &mut Vec<String>) -> Result<Session, CameraError> {
        let (device, node) = find::open(&spec.device)?;
        let agreed = format::negotiate(&node, &device, spec, notes)?;
        notes.extend(set_controls(&node, &device, &spec.controls)?);
        let encoder = match agreed.pixels {
            Pixels::Jpeg => None,
            pixels => Some(
                Encoder::new(pixels, agreed.format, spec.quality, spec.sampling)
                    .map_err(|error| not_encoded(&device, &error))?,
            ),
        };
        let ring = Ring::start(node, BUFFERS)
            .map_err(|e| CameraError::from_io(&device, "start streaming", e))?;
        if ring.len() < 3 {
            notes.push(format!(
                "has only {} buffers: frames are lost when sending takes long",
                ring.len()
            ));
        }
        Ok(Session {
            ring,
            device,
            agreed,
            encoder,
            held: None,
            last_sequence: None,
            last_arrival: Mono::now(),
            patience: FIRST_PATIENCE,
        })
    }

    /// The device node in use.
    pub(super) fn device(&self) -> &Path {
        &self.device
    }

    /// What was agreed with the driver.
    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// Sets controls while streaming. The notes say what the driver refused.
    ///
    /// # Errors
    /// [`CameraError::Control`]; then none has been set.
    pub(super) fn set_controls(
        &self,
        wanted: &BTreeMap<String, ControlValue>,
    ) -> Result<Vec<String>, CameraError> {
        set_controls(self.ring.node(), &self.device, wanted)
    }

    /// Gives back the lent buffer and waits for the next frame; `None` if `limit` passes first. If
    /// several are ready, takes the newest valid one.
    ///
    /// # Errors
    /// Any; the session is unusable afterwards.
    pub(super) fn next(&mut self, limit: Duration) -> Result<Option<Lent>, CameraError> {
        if let Some(filled) = self.held.take() {
            self.give(filled)?;
        }
        let before = Mono::now();
        let ready = self
            .ring
            .wait(limit)
            .map_err(|e| CameraError::from_io(&self.device, "wait for a frame", e))?;
        if ready == Ready::No {
            return self.check_patience().map(|()| None);
        }
        let Some(first) = self.take()? else {
            if ready == Ready::Broken {
                return Err(CameraError::Unplugged {
                    device: self.device.clone(),
                });
            }
            return Ok(None);
        };
        let now = Mono::now();
        // Looking for a newer frame costs a system call: only do it if there may be one.
        let late = now.since(self.last_arrival) > self.interval().mul_f64(1.5);
        let newest = if late || now.since(before) < AT_ONCE {
            self.drain(first)?
        } else {
            first
        };
        self.last_arrival = now;
        self.patience = PATIENCE.max(self.interval() * 3);
        self.lend(newest, now).map(Some)
    }

    /// The bytes of the frame that [`Session::next`] returned last.
    pub(super) fn data(&self, lent: &Lent) -> &[u8] {
        match (&self.encoder, lent.encoded, &self.held) {
            (None, _, Some(held)) => self.ring.bytes(held),
            (Some(encoder), Some(length), _) => encoder.jpeg(length),
            _ => &[],
        }
    }

    /// Whom these bytes belong to, if they may be read for longer.
    pub(super) fn owner(&self, lent: &Lent) -> Option<Owner> {
        let held = self.held.as_ref().filter(|_| lent.encoded.is_none())?;
        self.ring.owner(held)
    }

    /// The frame interval; a likely one if the driver does not know it.
    fn interval(&self) -> Duration {
        let fps = self.agreed.fps.unwrap_or(30.0).clamp(0.05, 1000.0);
        Duration::from_secs_f64(1.0 / fps)
    }

    fn check_patience(&self) -> Result<(), CameraError> {
        if Mono::now().since(self.last_arrival) < self.patience {
            return Ok(());
        }
        Err(CameraError::Silent {
            device: self.device.clone(),
            seconds: self.patience.as_secs(),
        })
    }

    fn take(&mut self) -> Result<Option<Filled>, CameraError> {
        self.ring
            .take()
            .map_err(|e| CameraError::from_io(&self.device, "give a frame", e))
    }

    fn give(&mut self, filled: Filled) -> Result<(), CameraError> {
        self.ring
            .give(filled)
            .map_err(|e| CameraError::from_io(&self.device, "take a buffer back", e))
    }

    /// Takes all that are ready, keeps the newest valid frame and gives the others back.
    fn drain(&mut self, first: Filled) -> Result<Filled, CameraError> {
        let mut best = first;
        // One is taken already; the driver can have no more than the rest.
        for _ in 1..self.ring.len() {
            let Some(next) = self.take()? else { break };
            if self.is_valid(&next) || !self.is_valid(&best) {
                self.give(std::mem::replace(&mut best, next))?;
            } else {
                self.give(next)?;
            }
        }
        Ok(best)
    }

    /// A quick check, to choose between frames; the gate checks thoroughly.
    fn is_valid(&self, filled: &Filled) -> bool {
        if filled.flagged {
            return false;
        }
        let data = self.ring.bytes(filled);
        match &self.encoder {
            None => looks_whole(data),
            Some(encoder) => data.len() >= encoder.least(),
        }
    }

    fn lend(&mut self, filled: Filled, now: Mono) -> Result<Lent, CameraError> {
        let missed = missed(self.last_sequence.replace(filled.sequence), filled.sequence);
        let captured = filled
            .stamp
            .filter(|stamp| *stamp <= now && now.since(*stamp) < OLDEST)
            .unwrap_or(now);
        let mut flagged = filled.flagged;
        let mut encoded = None;
        if let Some(encoder) = self.encoder.as_mut().filter(|_| !flagged) {
            encoded = encoder
                .encode(self.ring.bytes(&filled))
                .map_err(|error| not_encoded(&self.device, &error))?;
            // Too short for a picture: broken, though the driver did not say so.
            flagged = encoded.is_none();
        }
        self.held = Some(filled);
        Ok(Lent {
            captured,
            missed,
            flagged,
            encoded,
        })
    }
}

fn set_controls(
    node: &Node,
    device: &Path,
    wanted: &BTreeMap<String, ControlValue>,
) -> Result<Vec<String>, CameraError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known = node
        .controls()
        .map_err(|e| CameraError::from_io(device, "list its controls", e))?;
    let plan = controls::plan(&known, wanted).map_err(|cause| CameraError::Control {
        device: device.to_path_buf(),
        cause,
    })?;
    Ok(controls::apply(node, &plan))
}

fn not_encoded(device: &Path, error: &turbojpeg::Error) -> CameraError {
    CameraError::Driver {
        device: device.to_path_buf(),
        what: format!("its pictures cannot be encoded: {error}"),
    }
}

/// Frames that the driver counted between two that were taken.
fn missed(last: Option<u32>, sequence: u32) -> u32 {
    let Some(last) = last else { return 0 };
    let gap = sequence.wrapping_sub(last).wrapping_sub(1);
    if gap > MOST_MISSED { 0 } else { gap }
}

/// SOI at the start, and an ending that cameras really write: EOI, EOI cut by padding, or only
/// padding.
fn looks_whole(data: &[u8]) -> bool {
    data.len() >= SHORTEST
        && data.starts_with(&[0xff, 0xd8])
        && (data.ends_with(&[0xff, 0xd9])
            || data.ends_with(&[0xd9, 0x00])
            || data.ends_with(&[0x00, 0x00]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_tell_what_was_missed() {
        assert_eq!(missed(None, 7), 0);
        assert_eq!(missed(Some(7), 8), 0);
        assert_eq!(missed(Some(7), 10), 2);
        assert_eq!(missed(Some(u32::MAX), 0), 0);
        assert_eq!(missed(Some(u32::MAX - 1), 1), 2);
        // A driver that does not count, or starts again.
        assert_eq!(missed(Some(0), 0), 0);
        assert_eq!(missed(Some(500), 3), 0);
    }

    #[test]
    fn whole_frames_are_known_by_both_ends() {
        let frame = |tail: [u8; 2]| {
            let mut data = vec![7; 200];
            data[..2].copy_from_slice(&[0xff, 0xd8]);
            data[198..].copy_from_slice(&tail);
            data
        };
        assert!(looks_whole(&frame([0xff, 0xd9])));
        assert!(looks_whole(&frame([0xd9, 0x00])));
        assert!(looks_whole(&frame([0x00, 0x00])));
        assert!(!looks_whole(&frame([0x12, 0x34])));
        assert!(!looks_whole(&frame([0xff, 0xd9])[1..]));
        assert!(!looks_whole(&[0xff, 0xd8, 0xff, 0xd9]));
        assert!(!looks_whole(&[]));
    }
}
