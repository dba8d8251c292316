//! A V4L2 camera as a source: frames are lent directly from the driver's buffers, and the source
//! survives whatever happens to the camera. While the camera is away, it reports that once a
//! second.
//!
//! | module | what it is |
//! |---|---|
//! | `ring` | system calls and mapped buffers; the only `unsafe` |
//! | `find` | from the configured device to a node, at every open |
//! | `format` | which format, size and rate to ask for |
//! | `encode` | raw pictures to JPEG |
//! | `controls` | exposure, gain …, by name |
//! | `session` | a camera that streams, until its first error |
//! | [`list`](list()) | what cameras there are |
//!
//! Not here: what a JPEG contains (see the gate), and when frames are sent.

mod controls;
mod encode;
mod error;
mod find;
mod format;
mod list;
mod remote;
mod ring;
mod session;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use self::find::Presence;
use self::session::{Lent, Session};
use super::{CameraSpec, ControlValue, Frame, OpenOptions, Source, SourceError, Stop, slate};
use crate::clock::Mono;

pub use controls::ControlError;
pub use error::CameraError;
pub use list::{CameraInfo, ControlInfo, FormatInfo, SizeInfo, list};
pub use remote::Remote;

/// Pause before the first attempt to reopen a camera; doubled after each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often to check whether a camera has come back, and whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for a frame before the stop flag is checked.
const SLICE: Duration = Duration::from_millis(200);
/// A camera that is back sooner than this needs no slate.
const GRACE: Duration = Duration::from_millis(500);

/// A V4L2 camera that survives what happens to cameras.
pub struct Camera {
    spec: CameraSpec,
    stop: Arc<Stop>,
    remote: Remote,
    phase: Phase,
    /// When to report next that no picture comes; `None` while the camera works.
    slate_due: Option<Mono>,
    /// When it stopped working.
    failed_at: Mono,
    /// Whether the camera was found, or is waited for: from then on no error is final.
    started: bool,
    last_captured: Mono,
    /// What was logged last, to avoid repeating it at every attempt.
    said: String,
    notes: Vec<String>,
}

enum Phase {
    Streaming(Box<Session>),
    Away(Away),
    /// Nobody watches: the device is closed.
    Unwanted,
}

/// A camera that is waited for.
struct Away {
    reason: String,
    retry: Mono,
    pause: Duration,
    presence: Presence,
}

impl Camera {
    /// A camera that is opened by the first [`next`](Source::next), or once it is wanted.
    pub fn new(spec: CameraSpec, options: &OpenOptions) -> Camera {
        let now = Mono::now();
        Camera {
            spec: CameraSpec {
                fps: options.fps.or(spec.fps),
                ..spec
            },
            stop: Arc::clone(&options.stop),
            remote: Remote::new(),
            phase: Phase::Away(Away {
                reason: String::new(),
                retry: now,
                pause: FIRST_PAUSE,
                presence: Presence::default(),
            }),
            slate_due: None,
            failed_at: now,
            started: false,
            last_captured: Mono(0),
            said: String::new(),
            notes: Vec::new(),
        }
    }

    /// A camera that is opened at once. One that is absent, busy or forbidden is not an error: it
    /// is waited for.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] if the configuration is at fault.
    pub fn open(spec: CameraSpec, options: &OpenOptions) -> Result<Camera, SourceError> {
        let mut camera = Camera::new(spec, options);
        camera.try_open()?;
        Ok(camera)
    }

    /// Replaces the configured controls. They are set at once if the camera is open, and at every
    /// reopening.
    ///
    /// # Errors
    /// [`CameraError::Control`] if one cannot be set as wanted: then none is, and the old ones
    /// stay.
    pub fn set_controls(
        &mut self,
        controls: BTreeMap<String, ControlValue>,
    ) -> Result<(), CameraError> {
        if let Phase::Streaming(session) = &self.phase {
            for note in session.set_controls(&controls)? {
                warn!("{} {note}", session.device().display());
            }
        }
        self.spec.controls = controls;
        Ok(())
    }

    /// The open device node; `None` while the camera is away.
    pub fn device(&self) -> Option<PathBuf> {
        match &self.phase {
            Phase::Streaming(session) => Some(session.device().to_path_buf()),
            _ => None,
        }
    }

    fn picture(&mut self) -> Result<Lent, SourceError> {
        loop {
            if self.stop.is_raised() {
                return Err(SourceError::Stopped);
            }
            self.obey();
            if let Some(due) = self.slate_due {
                let now = Mono::now();
                if due <= now {
                    self.slate_due = Some(now + slate::PERIOD);
                    return Err(SourceError::NoSignal(self.reason().to_owned()));
                }
            }
            match &self.phase {
                Phase::Unwanted => self.remote.sleep(SLICE),
                Phase::Away(_) => self.wait_or_open()?,
                Phase::Streaming(_) => {
                    if let Some(lent) = self.take() {
                        return Ok(lent);
                    }
                }
            }
        }
    }

    /// Does what other threads asked for.
    fn obey(&mut self) {
        let Some(wishes) = self.remote.take() else {
            return;
        };
        if let Some(controls) = wishes.controls {
            match self.set_controls(controls) {
                Ok(()) => info!("controls set"),
                Err(error) => warn!("controls unchanged: {error}"),
            }
        }
        let unwanted = matches!(self.phase, Phase::Unwanted);
        if !wishes.wanted && !unwanted {
            self.phase = Phase::Unwanted;
            self.slate_due = None;
            info!("camera closed: nobody watches");
        }
        if wishes.wanted && unwanted {
            self.away(String::new(), Duration::ZERO);
        }
    }

    fn away(&mut self, reason: String, pause: Duration) {
        let now = Mono::now();
        self.phase = Phase::Away(Away {
            reason,
            retry: now + pause,
            pause: FIRST_PAUSE,
            presence: find::presence(&self.spec.device),
        });
    }

    /// Waits briefly, or opens the camera if that is due or something changed about it.
    fn wait_or_open(&mut self) -> Result<(), SourceError> {
        let device = &self.spec.device;
        let Phase::Away(away) = &mut self.phase else {
            return Ok(());
        };
        let now = Mono::now();
        if away.retry <= now {
            return self.try_open();
        }
        let presence = find::presence(device);
        if presence != away.presence {
            // It appeared, disappeared, or got its permissions. Try at once, and again soon, since
            // links, permissions and firmware follow within moments.
            away.presence = presence;
            away.pause = FIRST_PAUSE;
            return self.try_open();
        }
        let mut limit = LOOK.min(away.retry.since(now));
        if let Some(due) = self.slate_due {
            limit = limit.min(due.since(now));
        }
        self.remote.sleep(limit);
        Ok(())
    }

    fn try_open(&mut self) -> Result<(), SourceError> {
        let mut notes = Vec::new();
        match Session::open(&self.spec, &mut notes) {
            Ok(session) => {
                self.say_notes(&session, notes);
                self.phase = Phase::Streaming(Box::new(session));
            }
            Err(error) if error.is_config() && !self.started => {
                return Err(SourceError::Unusable(error.to_string()));
            }
            Err(error) => self.failed(&error),
        }
        Ok(())
    }

    fn say_notes(&mut self, session: &Session, notes: Vec<String>) {
        let device = session.device().display();
        info!("{device} opened: {}", describe(session));
        if notes != self.notes {
            for note in &notes {
                warn!("{device} {note}");
            }
            self.notes = notes;
        }
    }

    /// Closes everything after an error and schedules the next attempt.
    fn failed(&mut self, error: &CameraError) {
        let reason = error.to_string();
        if reason != self.said {
            warn!("{reason}");
            self.said.clone_from(&reason);
        }
        let now = Mono::now();
        if self.slate_due.is_none() {
            self.slate_due = Some(now + GRACE);
            self.failed_at = now;
        }
        self.started = true;
        match &mut self.phase {
            Phase::Away(away) => {
                away.reason = reason;
                away.retry = now + away.pause;
                away.pause = (away.pause * 2).min(LONGEST_PAUSE);
            }
            _ => self.away(reason, FIRST_PAUSE),
        }
    }

    /// The next picture; `None` if none came in time or the camera failed.
    fn take(&mut self) -> Option<Lent> {
        let mut limit = SLICE;
        if let Some(due) = self.slate_due {
            limit = limit.min(due.since(Mono::now()));
        }
        let Phase::Streaming(session) = &mut self.phase else {
            return None;
        };
        let mut lent = match session.next(limit) {
            Ok(lent) => lent?,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        if !lent.flagged {
            self.works();
        }
        // Time never runs backwards, not even across a reopening.
        lent.captured = lent.captured.max(self.last_captured);
        self.last_captured = lent.captured;
        Some(lent)
    }

    /// A good frame came: no more slates, and the next problem is logged again.
    fn works(&mut self) {
        self.started = true;
        if self.slate_due.take().is_some() {
            let away = Mono::now().since(self.failed_at).as_secs_f64();
            info!("the camera works again after {away:.1} s");
        }
        self.said.clear();
    }

    /// Why there is no picture.
    fn reason(&self) -> &str {
        match &self.phase {
            Phase::Away(away) => &away.reason,
            _ => "the camera is open and has sent no picture yet",
        }
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Frame<'_>>, SourceError> {
        let lent = self.picture()?;
        let (data, owner) = match &self.phase {
            Phase::Streaming(session) => (session.data(&lent), session.owner(&lent)),
            _ => (&[][..], None),
        };
        Ok(Some(Frame {
            data,
            captured: lent.captured,
            missed: lent.missed,
            flagged: lent.flagged,
            is_split: false,
            owner,
        }))
    }

    fn interval(&self) -> Option<Duration> {
        let fps = match &self.phase {
            Phase::Streaming(session) => session.agreed().fps,
            _ => self.spec.fps,
        };
        fps.filter(|fps| (0.01..=1000.0).contains(fps))
            .map(|fps| Duration::from_secs_f64(1.0 / fps))
    }

    fn describe(&self) -> String {
        let device = self.spec.device.display();
        match &self.phase {
            Phase::Streaming(session) => format!("camera {device}, {}", describe(session)),
            // The reason has been logged already.
            Phase::Away(away) if !away.reason.is_empty() => "camera (no signal)".to_owned(),
            _ => format!("camera {device}"),
        }
    }

    /// A handle for other threads, to change controls and to say whether frames are wanted.
    fn remote(&self) -> Option<Remote> {
        Some(self.remote.clone())
    }
}

/// `MJPG 1280x720 at 30 fps, sent as it is`.
fn describe(session: &Session) -> String {
    let agreed = session.agreed();
    let (width, height) = agreed.format.size;
    let mut text = format!("{} {width}x{height}", agreed.format.fourcc);
    if let Some(fps) = agreed.fps {
        text.push_str(&format!(" at {} fps", format::trim(fps)));
    }
    text.push_str(match agreed.pixels {
        format::Pixels::Jpeg => ", sent as it is",
        _ => ", encoded here",
    });
    text
}
