//! What a viewer writes to disk: the recording and the snapshot, on a thread of their own behind a
//! bounded queue of reused buffers. A disk that is too slow costs the recording frames, which is
//! logged, and never a packet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use crossbeam_queue::ArrayQueue;
use nix::unistd::{AccessFlags, access};
use tracing::{info, warn};

use super::shared::Shared;
use crate::clock::Mono;
use crate::counters::Counter;
use crate::net::thread::join;
use crate::record::{RecordError, Recorder, snapshot};
use crate::rtp::jpeg::FrameBuffer;
use crate::text::counted;

/// Creates the file to record to; called first, so that a path that cannot be written fails at
/// once.
///
/// # Errors
/// It cannot be created, or `picture`'s folder does not exist or is not writable.
pub(super) fn create(record: Option<&Path>, picture: Option<&Path>) -> Result<Option<Recorder>> {
    picture.map_or(Ok(()), can_be_written)?;
    let Some(path) = record else { return Ok(None) };
    let recorder = Recorder::create(path, FPS_HINT)?;
    if recorder.path() != path {
        let (path, present) = (path.display(), recorder.path().display());
        info!("{path} is there already: recording to {present}");
    }
    Ok(Some(recorder))
}

/// Whether a file can be created there.
fn can_be_written(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|error| RecordError::Io {
            path: path.to_owned(),
            cause: error.into(),
        })
        .map_err(Into::into)
}

/// Frames that may wait for the disk: about a second of video.
const QUEUE: usize = 32;
/// Written in a recording until its rate is measured.
const FPS_HINT: f64 = 30.0;
/// RTP ticks (90 kHz) to nanoseconds: 10^9 / 90,000 = 100,000 / 9.
const TICKS: (u64, u64) = (100_000, 9);

/// A copy of a frame, whose own buffer is needed for receiving.
#[derive(Debug, Default)]
struct QueuedFrame {
    jpeg: Vec<u8>,
    width: u32,
    height: u32,
    captured: Mono,
}

#[derive(Debug)]
struct Queue {
    waiting: ArrayQueue<Box<QueuedFrame>>,
    free: ArrayQueue<Box<QueuedFrame>>,
    is_over: AtomicBool,
    missed: Counter,
}

/// The receiving thread's end.
pub(super) struct RecordingInput {
    queue: Arc<Queue>,
    writer: thread::Thread,
    /// Only the first frame is wanted.
    is_snapshot_only: bool,
    is_full: bool,
    time: MediaTime,
}

impl RecordingInput {
    /// Queues a copy of the frame, or counts it as missed.
    pub(super) fn put(&mut self, frame: &FrameBuffer) {
        if self.is_full {
            return;
        }
        let captured = self.time.of(frame.time().0);
        let Some(mut copy) = self.queue.free.pop() else {
            self.queue.missed.add(1);
            return;
        };
        copy.jpeg.clear();
        copy.jpeg.extend_from_slice(frame.jpeg());
        copy.width = frame.width().into();
        copy.height = frame.height().into();
        copy.captured = captured;
        self.is_full = self.is_snapshot_only;
        // There are as many places as buffers.
        let _ = self.queue.waiting.push(copy);
        self.writer.unpark();
    }
}

/// Unwraps RTP timestamps.
#[derive(Default)]
struct MediaTime {
    last: Option<u32>,
    ticks: u64,
}

impl MediaTime {
    fn of(&mut self, time: u32) -> Mono {
        let step = self
            .last
            .replace(time)
            .map_or(0, |last| time.wrapping_sub(last) as i32);
        // A restarted sender's clock starts anywhere; do not count a step back or of over a minute.
        if (0..90_000 * 60).contains(&step) {
            self.ticks += step as u64;
        }
        Mono(self.ticks * TICKS.0 / TICKS.1)
    }
}

/// The writing thread.
pub(super) struct Recording {
    queue: Arc<Queue>,
    thread: JoinHandle<Result<()>>,
    is_snapshot_only: bool,
}

impl Recording {
    /// Starts the thread; `None` if there is nothing to write.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        recorder: Option<Recorder>,
        picture: Option<PathBuf>,
        shared: &Arc<Shared>,
    ) -> Result<Option<Recording>> {
        if recorder.is_none() && picture.is_none() {
            return Ok(None);
        }
        let is_snapshot_only = recorder.is_none();
        let queue = Arc::new(Queue {
            waiting: ArrayQueue::new(QUEUE),
            free: ArrayQueue::new(QUEUE),
            is_over: AtomicBool::new(false),
            missed: Counter::default(),
        });
        for _ in 0..QUEUE {
            let _ = queue.free.push(Box::default());
        }
        let writer = Writer {
            queue: Arc::clone(&queue),
            recorder,
            picture,
        };
        let shared = Arc::clone(shared);
        let thread = super::threads::spawn("lancam-recording", move || {
            let result = writer.run();
            if result.is_err() {
                // A failed recording ends the viewer.
                shared.finish();
            }
            result.or_else(|error| match error.downcast_ref::<RecordError>() {
                // `lancam view --record - | player`: end when the player does.
                Some(record) if record.is_closed_pipe() => Ok(()),
                _ => Err(error),
            })
        })?;
        Ok(Some(Recording {
            queue,
            thread,
            is_snapshot_only,
        }))
    }

    /// The end that the receiving thread writes to.
    pub(super) fn input(&self) -> RecordingInput {
        RecordingInput {
            queue: Arc::clone(&self.queue),
            writer: self.thread.thread().clone(),
            is_snapshot_only: self.is_snapshot_only,
            is_full: false,
            time: MediaTime::default(),
        }
    }

    /// Writes what is queued and completes the recording.
    ///
    /// # Errors
    /// Something could not be written.
    pub(super) fn finish(self) -> Result<()> {
        self.queue.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let missed = self.queue.missed.get();
        if missed > 0 {
            let missed = counted(missed, "frame");
            warn!("the recording lacks {missed}: the disk was too slow");
        }
        join(self.thread)
    }
}

struct Writer {
    queue: Arc<Queue>,
    recorder: Option<Recorder>,
    picture: Option<PathBuf>,
}

impl Writer {
    fn run(mut self) -> Result<()> {
        loop {
            // Read before the queue, so that what was queued before the end is written.
            let is_over = self.queue.is_over.load(Ordering::Acquire);
            match self.queue.waiting.pop() {
                Some(copy) => {
                    let written = self.write(&copy);
                    let _ = self.queue.free.push(copy);
                    written?;
                }
                None if is_over => break,
                None => thread::park(),
            }
        }
        let Some(recorder) = self.recorder else {
            return Ok(());
        };
        let left_out = recorder.left_out();
        if left_out > 0 {
            warn!(
                "{} of other sizes {} left out of the recording",
                counted(left_out, "frame"),
                if left_out == 1 { "was" } else { "were" }
            );
        }
        let recorded = recorder.finish()?;
        info!(
            "recorded {}, {:.1} MB, {:.2} fps",
            counted(recorded.frames, "frame"),
            recorded.bytes as f64 * 1e-6,
            recorded.fps
        );
        Ok(())
    }

    fn write(&mut self, copy: &QueuedFrame) -> Result<()> {
        if let Some(path) = self.picture.take() {
            snapshot(&path, &copy.jpeg)?;
            info!("picture saved as {}", path.display());
        }
        if let Some(recorder) = &mut self.recorder {
            let left_out = recorder.left_out();
            recorder.write(&copy.jpeg, copy.width, copy.height, copy.captured)?;
            if left_out == 0 && recorder.left_out() > 0 {
                warn!(
                    "the size of the pictures changes too often: {} goes on with its own, frames of others are left out",
                    recorder.path().display()
                );
            }
        }
        Ok(())
    }
}
