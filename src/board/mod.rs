//! What visitors can see: figures, posted once a second by the thread that reads the counters, and
//! pictures, which a streaming thread copies when asked ([`preview`]) and any number of visitors
//! watch ([`Feeds`]).
//!
//! Not a server: [`crate::serve`] has the connections.

mod feeds;
pub mod preview;

use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use feeds::{Feeds, Pace, Shot, Watcher};

use self::preview::Preview;
use crate::counters::counters;
use crate::players::Command;
use crate::stats::report::{Point, Report};

/// Figures older than this cannot be trusted.
const STALE: Duration = Duration::from_secs(5);

/// Which end of a stream the page belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `lancam send`.
    #[default]
    Sender,
    /// `lancam view`.
    Viewer,
}

/// Everything the page shows at one moment. `scenes` are in the order of the report's streams.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) at: Instant,
    pub(crate) report: Arc<Report>,
    pub(crate) scenes: Vec<Scene>,
}

impl Default for Contents {
    fn default() -> Contents {
        Contents {
            at: Instant::now(),
            report: Arc::default(),
            scenes: Vec::new(),
        }
    }
}

impl Contents {
    /// The index of the stream with this name, or of the first one if no name is given.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<usize> {
        let streams = &self.report.streams;
        match name {
            None => (!streams.is_empty()).then_some(0),
            Some(name) => streams.iter().position(|stream| stream.name == name),
        }
    }

    /// Whether all is well; otherwise sentences that say what is wrong.
    pub(crate) fn health(&self, only: Option<usize>) -> Result<(), String> {
        if self.at.elapsed() > STALE {
            return Err("the figures are out of date: lancam hangs".to_owned());
        }
        if self.scenes.is_empty() {
            return Err("no stream is running".to_owned());
        }
        let scenes = self.scenes.iter().enumerate();
        let asked = scenes.filter(|(i, _)| only.is_none_or(|only| only == *i));
        let ills: Vec<&str> = asked
            .filter_map(|(_, scene)| scene.health.as_ref().err().map(String::as_str))
            .collect();
        match ills.is_empty() {
            true => Ok(()),
            false => Err(ills.join("\n")),
        }
    }
}

/// What the page shows of one stream apart from its figures.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Whether frames go out or come in; otherwise a sentence that says why not.
    pub health: Result<(), String>,
    /// The last minutes.
    pub history: Vec<Point>,
    /// Its pictures.
    pub preview: Arc<Preview>,
    /// Its session description, once known.
    pub sdp: Option<String>,
    /// How to watch it.
    pub commands: Vec<Command>,
}

counters! {
    /// Counts what the page's visitors did.
    VisitorStats, VisitorSnapshot {
        /// Requests answered, including refused ones.
        requests: Counter,
        /// Refused: without the token, or for a name that this host does not have.
        refused_access: Counter,
        /// Refused: another method, an unknown path, too long, too slow, or not HTTP.
        refused_requests: Counter,
        /// Turned away: too many connections.
        refused_connections: Counter,
        /// Turned away: too many watch already.
        refused_watchers: Counter,
        /// Open connections.
        connections: Gauge,
        /// Visitors who watch the moving picture.
        watchers: Gauge,
    }
}

counters! {
    /// Counts what RTSP's clients did.
    RtspStats, RtspSnapshot {
        /// Requests answered, including refused ones.
        requests: Counter,
        /// Refused: without a valid name and password.
        refused_access: Counter,
        /// Refused: not understood, not possible, or too slow.
        refused_requests: Counter,
        /// Refused: too many sessions.
        refused_sessions: Counter,
        /// Turned away: too many connections.
        refused_connections: Counter,
        /// Frames sent to single clients.
        frames_sent: Counter,
        /// Frames left out because a client or the path to it was too slow.
        frames_skipped: Counter,
        /// Packets sent to single clients.
        packets_sent: Counter,
        /// Bytes sent to single clients.
        bytes_sent: Counter,
        /// Open connections.
        connections: Gauge,
        /// Sessions of clients that the stream is sent to.
        sessions: Gauge,
        /// Sessions of clients that take the stream from its group.
        multicast_sessions: Gauge,
    }
}

/// Where the figures are posted.
#[derive(Debug, Default)]
pub struct Board {
    contents: Mutex<Arc<Contents>>,
    pub(crate) feeds: Feeds,
    /// The port of the RTSP server; 0 if there is none.
    pub(crate) rtsp_port: AtomicU16,
    pub(crate) role: Role,
    pub(crate) visitors: VisitorStats,
    pub(crate) rtsp: RtspStats,
}

impl Board {
    /// An empty board.
    pub fn new(role: Role) -> Board {
        Board {
            role,
            ..Board::default()
        }
    }

    /// Posts the current figures, with a scene for each stream of the report, in the same order.
    pub fn publish(&self, report: Arc<Report>, scenes: Vec<Scene>) {
        let contents = Arc::new(Contents {
            at: Instant::now(),
            report,
            scenes,
        });
        self.feeds.follow(|name| {
            let i = contents.find(Some(name))?;
            Some(&contents.scenes[i].preview)
        });
        *self.contents.lock().unwrap_or_else(PoisonError::into_inner) = contents;
    }

    pub(crate) fn contents(&self) -> Arc<Contents> {
        Arc::clone(&self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
