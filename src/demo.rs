//! `lancam demo`: sender and viewer in one process, over multicast on the loopback interface. It
//! needs no camera, config or network.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tracing::info;

use crate::config::{Config, Stream};
use crate::signals::Signals;
use crate::view::ViewPlan;
use crate::{send, view};

/// What `lancam demo` was asked to do: both ends of one stream on the loopback interface.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoPlan {
    /// The sender's end.
    pub stream: Stream,
    /// The viewer's end. Whether there is a display is not known yet.
    pub view: ViewPlan,
}

/// Frames after which a demo without a window ends: ten seconds of the pattern.
const HEADLESS_FRAMES: u64 = 300;
/// How often to check whether the stream has ended.
const LOOK: Duration = Duration::from_millis(100);
/// Where a demo without a window saves a picture.
const PICTURE: &str = "lancam-demo.jpg";

/// Sends and watches until the window is closed; without a display, for ten seconds.
///
/// # Errors
/// If the stream cannot be sent or watched.
pub fn run(mut plan: DemoPlan, signals: Signals) -> Result<()> {
    if !plan.view.headless {
        if let Err(why) = display() {
            info!("{why}");
            plan.view.headless = true;
        }
    }
    if plan.view.headless {
        plan.view.frames.get_or_insert(HEADLESS_FRAMES);
        plan.view
            .snapshot
            .get_or_insert_with(|| PathBuf::from(PICTURE));
    }
    let config = Config {
        streams: vec![plan.stream],
        ..Config::default()
    };
    let streams = send::Streams::start(&config, send::Tell::Nothing, true)?;
    let (stop, waker) = (signals.stop(), signals.waker()?);
    thread::scope(|scope| -> Result<()> {
        let is_over = Arc::clone(&stop);
        let sending = scope.spawn(move || {
            // A source that cannot be used ends the stream, so that nobody waits for it.
            while !streams.have_ended() && !is_over.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK);
            }
            let sent = streams.stop();
            if sent.is_err() {
                is_over.store(true, Ordering::Relaxed);
                waker.wake();
            }
            sent
        });
        let viewed = view::run(&plan.view, signals);
        stop.store(true, Ordering::Relaxed);
        sending.thread().unpark();
        // Why nothing was sent says more than that nothing was seen.
        sending
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
            .and(viewed)
    })
}

#[cfg(feature = "view")]
fn display() -> Result<(), crate::display::window::WindowError> {
    crate::display::window::find_display()
}

#[cfg(not(feature = "view"))]
fn display() -> Result<(), &'static str> {
    Err("this build has no window")
}
