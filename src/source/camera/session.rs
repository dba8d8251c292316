//! A camera that is open and streams, until its first error. What happens then is [`super::Camera`]'s
//! business.

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
use crate::source::{CameraSpec, ControlValue};

/// Buffers asked for: one lent, one being filled, and two so that a late sender loses nothing.
const BUFFERS: u32 = 4;
/// Without a frame for this long the camera hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first frame may take longer: sensors start, exposure settles.
const FIRST_PATIENCE: Duration = Duration::from_secs(4);
/// poll that returns sooner than this has not waited: a frame was there before, so perhaps several.
const AT_ONCE: Duration = Duration::from_micros(100);
/// A driver's time that is further in the past is taken for nonsense.
const OLDEST: Duration = Duration::from_secs(10);
/// A jump in the sequence numbers beyond this is a new count, not a loss.
const MOST_MISSED: u32 = 1000;
/// No JPEG is shorter.
const SHORTEST: usize = 128;

/// A streaming camera.
pub(super) struct Session {
    ring: Ring,
    device: PathBuf,
    agreed: Agreed,
    encoder: Option<Encoder>,
    /// The buffer that is lent. It goes back to the driver at the next call.
    held: Option<Filled>,
    last_sequence: Option<u32>,
    last_arrival: Mono,
    patience: Duration,
}

/// A frame as the session lends it; the bytes are [`Session::data`]'s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    pub(super) captured: Mono,
    pub(super) missed: u32,
    pub(super) flagged: bool,
    /// Length of the JPEG that was made of a raw picture.
    encoded: Option<usize>,
}

impl Session {
    /// Finds, opens and starts the camera. What the driver changed goes into `notes`.
    ///
    /// # Errors
    /// Any [`CameraError`]; everything is closed again then.
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

    /// What was agreed on with the driver.
    pub(super) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// Sets controls while streaming. Notes tell what the driver did not take.
    ///
    /// # Errors
    /// [`CameraError::Control`] before any of them is set.
    pub(super) fn set_controls(
        &self,
        wanted: &BTreeMap<String, ControlValue>,
    ) -> Result<Vec<String>, CameraError> {
        set_controls(self.ring.node(), &self.device, wanted)
    }

    /// Gives the lent buffer back and waits for the next frame; `None` when `limit` passes first.
    /// Of several that are ready it takes the newest valid one.
    ///
    /// # Errors
    /// Any: the session is of no use afterwards.
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
        // Looking for a newer frame costs a system call: only when one can be there.
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

    /// The bytes of a frame that [`Session::next`] gave last.
    pub(super) fn data(&self, lent: &Lent) -> &[u8] {
        match (&self.encoder, lent.encoded, &self.held) {
            (None, _, Some(held)) => self.ring.bytes(held),
            (Some(encoder), Some(length), _) => encoder.jpeg(length),
            _ => &[],
        }
    }

    /// Time from frame to frame, where the driver does not know it a likely one.
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

    /// Takes all that is ready, keeps the newest valid frame and gives the others back.
    fn drain(&mut self, first: Filled) -> Result<Filled, CameraError> {
        let mut best = first;
        // One is taken already; the driver cannot have more than the others.
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

    /// A quick look, for the choice between frames; the gate looks closely.
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
            // Too short to be a picture: broken, though the driver did not say so.
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

/// SOI in front and an end that cameras really write: EOI, EOI cut by padding, or padding alone.
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
