//! The pictures that visitors watch: one feed per stream, filled only while somebody watches. A
//! visitor always gets the newest picture; a slow one misses those between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::board::Board;
use super::preview::Preview;
use crate::clock::Mono;

/// At most ten pictures a second are taken from a stream.
const PERIOD: Duration = Duration::from_millis(100);
/// How often to check for a picture that was asked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a snapshot may take. A stream without a source still sends a slate each second.
const PATIENCE: Duration = Duration::from_secs(3);
/// A picture older than this is out of date.
const FRESH: Duration = Duration::from_secs(1);

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    pub(super) jpeg: Bytes,
    at: Mono,
}

struct Feed {
    preview: Arc<Preview>,
    latest: watch::Sender<Option<Shot>>,
    ask_at: Instant,
}

/// The feeds of all streams that somebody watches.
pub(super) struct Feeds {
    board: Arc<Board>,
    feeds: Mutex<HashMap<String, Feed>>,
    watched: Notify,
}

/// Somebody who watches.
pub(super) type Watcher = watch::Receiver<Option<Shot>>;

impl Feeds {
    pub(super) fn new(board: Arc<Board>) -> Feeds {
        Feeds {
            board,
            feeds: Mutex::default(),
            watched: Notify::new(),
        }
    }

    /// Starts watching the stream `name`, whose pictures come from `preview`.
    pub(super) fn watch(&self, name: &str, preview: &Arc<Preview>) -> Watcher {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds.entry(name.to_owned()).or_insert_with(|| Feed {
            preview: Arc::clone(preview),
            latest: watch::Sender::new(None),
            ask_at: Instant::now(),
        });
        // A stream that was stopped and started again has a new place for its pictures.
        feed.preview = Arc::clone(preview);
        let mut watcher = feed.latest.subscribe();
        // A picture left from an earlier visit is shown only if it is recent.
        let is_fresh = |shot: &Shot| Mono::now().since(shot.at) < FRESH;
        if watcher.borrow().as_ref().is_some_and(is_fresh) {
            watcher.mark_changed();
        }
        self.watched.notify_one();
        watcher
    }

    /// One picture taken from now on; `None` if none comes in time.
    pub(super) async fn snapshot(&self, name: &str, preview: &Arc<Preview>) -> Option<Shot> {
        let mut watcher = self.watch(name, preview);
        let asked = Mono::now();
        let taken = watcher.wait_for(|shot| shot.as_ref().is_some_and(|s| s.at >= asked));
        timeout(PATIENCE, taken).await.ok()?.ok()?.clone()
    }

    /// Fetches pictures while somebody watches.
    pub(super) async fn run(&self) {
        loop {
            self.watched.notified().await;
            let mut look = interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.pump() {
                look.tick().await;
            }
        }
    }

    /// Passes on pictures that are there and asks for those that are due. False if nobody watches.
    fn pump(&self) -> bool {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = self.board.contents();
        feeds.retain(|name, feed| {
            feed.latest.receiver_count() > 0 || contents.find(Some(name)).is_some()
        });
        let now = Instant::now();
        let mut is_watched = false;
        for feed in feeds.values_mut() {
            if let Some(copy) = feed.preview.take() {
                // A picture requested by a visitor who has left may have waited here.
                if Mono::now().since(copy.at) < FRESH {
                    feed.latest.send_replace(Some(Shot {
                        jpeg: Bytes::copy_from_slice(&copy.jpeg),
                        at: copy.at,
                    }));
                }
                feed.preview.give_back(copy);
            }
            if feed.latest.receiver_count() == 0 {
                continue;
            }
            is_watched = true;
            if now >= feed.ask_at {
                feed.ask_at = now + PERIOD;
                feed.preview.ask();
            }
        }
        is_watched
    }
}
