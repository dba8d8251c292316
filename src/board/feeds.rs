//! The pictures that visitors watch: one feed per stream, filled only while somebody watches. A
//! visitor always gets the newest picture; a slow one misses those between.
//!
//! Each feed has a thread of low priority, which sleeps while nobody watches: the streaming thread
//! wakes it and never waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::warn;

use super::preview::{Preview, PreviewFrame};
use crate::clock::Mono;
use crate::jpeg::Picture;
use crate::jpeg::rebuild::write_jpeg;
use crate::net::thread::after_others;

/// At most ten pictures a second are taken from a stream for a page.
const PAGE_PERIOD: Duration = Duration::from_millis(100);
/// How long to wait for a picture before asking again, which shows that somebody still watches.
const WAIT: Duration = Duration::from_millis(250);
/// How long a snapshot may take. A stream without a source still sends a slate each second.
const PATIENCE: Duration = Duration::from_secs(3);
/// A picture older than this is out of date.
const FRESH: Duration = Duration::from_secs(1);

/// A picture.
#[derive(Debug)]
pub struct Shot {
    /// A whole JPEG.
    pub jpeg: Bytes,
    /// Without its scan.
    header: Picture<'static>,
    scan_start: usize,
    /// When it was taken by the sender's camera; a viewer knows when it arrived.
    pub captured: Mono,
    /// When the streaming thread left it.
    at: Mono,
}

impl Shot {
    fn of(frame: &PreviewFrame) -> Shot {
        let (mut jpeg, picture) = (Vec::new(), frame.picture());
        let scan_start = write_jpeg(&mut jpeg, &picture);
        Shot {
            jpeg: jpeg.into(),
            header: picture.without_scan(),
            scan_start,
            captured: frame.captured,
            at: frame.at,
        }
    }

    /// What its header says, and its scan.
    pub fn picture(&self) -> Picture<'_> {
        Picture {
            scan: &self.jpeg[self.scan_start..],
            ..self.header
        }
    }
}

/// How many of a stream's pictures a visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every frame.
    Full,
    /// Ten a second at most, as in a page.
    Page,
}

/// What a stream's visitors share.
#[derive(Debug)]
struct Feed {
    latest: watch::Sender<Option<Arc<Shot>>>,
    /// How many want every frame.
    full: AtomicUsize,
}

impl Feed {
    fn is_watched(&self) -> bool {
        self.latest.receiver_count() > 0
    }
}

/// Fills a feed. It ends when dropped.
#[derive(Debug)]
struct Fetcher {
    work: Arc<Work>,
    thread: Thread,
}

#[derive(Debug)]
struct Work {
    feed: Arc<Feed>,
    preview: Arc<Preview>,
    has_ended: AtomicBool,
}

impl Fetcher {
    fn start(feed: &Arc<Feed>, preview: &Arc<Preview>) -> std::io::Result<Fetcher> {
        let work = Arc::new(Work {
            feed: Arc::clone(feed),
            preview: Arc::clone(preview),
            has_ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&work);
        let handle = thread::Builder::new()
            .name("lancam-feed".to_owned())
            .spawn(move || own.run())?;
        Ok(Fetcher {
            work,
            thread: handle.thread().clone(),
        })
    }

    fn wake(&self) {
        self.work.preview.nudge();
        self.thread.unpark();
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.work.has_ended.store(true, Ordering::Release);
        self.wake();
    }
}

impl Work {
    /// Fetches pictures while somebody watches.
    fn run(&self) {
        after_others();
        while !self.has_ended() {
            if !self.feed.is_watched() {
                self.preview.leave();
                thread::park();
                continue;
            }
            let next = Instant::now() + PAGE_PERIOD;
            self.fetch();
            self.pause(next);
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn fetch(&self) {
        self.preview.ask();
        let Some(frame) = self.preview.take(WAIT) else {
            return;
        };
        // A picture that was asked for by a visitor who has left may have waited here.
        if Mono::now().since(frame.at) < FRESH && !self.has_ended() {
            let shot = Arc::new(Shot::of(&frame));
            self.feed.latest.send_replace(Some(shot));
        }
        self.preview.give_back(frame);
    }

    /// Waits until `next`, unless somebody wants every frame.
    fn pause(&self, next: Instant) {
        let is_idle = || self.feed.full.load(Ordering::Relaxed) == 0;
        while is_idle() && !self.has_ended() {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// The feeds of all streams that somebody has watched.
#[derive(Debug, Default)]
pub struct Feeds(Mutex<HashMap<String, Filled>>);

/// A feed and who fills it; nobody, if the system had no thread left.
type Filled = (Arc<Feed>, Option<Fetcher>);

impl Feeds {
    /// Starts watching the stream `name`, whose pictures come from `preview`.
    pub fn watch(&self, name: &str, preview: &Arc<Preview>, pace: Pace) -> Watcher {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (feed, fetcher) = feeds.entry(name.to_owned()).or_insert_with(|| {
            let feed = Feed {
                latest: watch::Sender::new(None),
                full: AtomicUsize::new(0),
            };
            (Arc::new(feed), None)
        });
        let watcher = Watcher::new(feed, pace);
        fetch_from(name, feed, fetcher, preview);
        if let Some(fetcher) = fetcher {
            fetcher.wake();
        }
        watcher
    }

    /// One picture taken from now on; `None` if none comes in time.
    pub async fn snapshot(&self, name: &str, preview: &Arc<Preview>) -> Option<Arc<Shot>> {
        let asked = Mono::now();
        let mut watcher = self.watch(name, preview, Pace::Page);
        let is_new = |shot: &Option<Arc<Shot>>| shot.as_ref().is_some_and(|shot| shot.at >= asked);
        let taken = timeout(PATIENCE, watcher.shots.wait_for(is_new)).await;
        taken.ok()?.ok()?.clone()
    }

    /// Takes the pictures from where the streams leave them now, which `place` knows. Ends the feeds
    /// of streams that there are no more and that nobody watches.
    pub(super) fn follow<'a>(&self, place: impl Fn(&str) -> Option<&'a Arc<Preview>>) {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|name, (feed, fetcher)| {
            let place = place(name);
            if let Some(preview) = place.filter(|_| feed.is_watched()) {
                fetch_from(name, feed, fetcher, preview);
            }
            feed.is_watched() || place.is_some()
        });
    }
}

/// Has pictures fetched from `preview`: a stream that was stopped and started again has a new place
/// for them.
fn fetch_from(name: &str, feed: &Arc<Feed>, fetcher: &mut Option<Fetcher>, preview: &Arc<Preview>) {
    let is_current = |fetcher: &Fetcher| Arc::ptr_eq(&fetcher.work.preview, preview);
    if !fetcher.as_ref().is_some_and(is_current) {
        *fetcher = Fetcher::start(feed, preview)
            .map_err(|error| warn!("{name}: visitors get no pictures: {error}"))
            .ok();
    }
}

/// Somebody who watches.
#[derive(Debug)]
pub struct Watcher {
    feed: Arc<Feed>,
    shots: watch::Receiver<Option<Arc<Shot>>>,
    pace: Pace,
    due: Instant,
}

impl Watcher {
    fn new(feed: &Arc<Feed>, pace: Pace) -> Watcher {
        if pace == Pace::Full {
            feed.full.fetch_add(1, Ordering::Relaxed);
        }
        let mut shots = feed.latest.subscribe();
        // A picture left from an earlier visit is shown only if it is recent.
        let is_fresh = |shot: &Arc<Shot>| Mono::now().since(shot.at) < FRESH;
        if shots.borrow().as_ref().is_some_and(is_fresh) {
            shots.mark_changed();
        }
        Watcher {
            feed: Arc::clone(feed),
            shots,
            pace,
            due: Instant::now(),
        }
    }

    /// The next picture: the newest one, if it was not seen yet. `None` if there will be none.
    pub async fn next(&mut self) -> Option<Arc<Shot>> {
        if self.pace == Pace::Page {
            sleep_until(self.due.into()).await;
        }
        loop {
            self.shots.changed().await.ok()?;
            self.due = Instant::now() + PAGE_PERIOD;
            let shot = self.shots.borrow_and_update().clone();
            if shot.is_some() {
                return shot;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.pace == Pace::Full {
            self.feed.full.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::Sampling;

    /// Offers pictures, numbered by their capture times, until `watcher` has `count` of them.
    async fn collect(watcher: &mut Watcher, preview: &Arc<Preview>, count: usize) -> Vec<u64> {
        let (preview, stop) = (Arc::clone(preview), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let streaming = thread::spawn(move || {
            for n in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let picture = Picture {
                    width: 320,
                    height: 240,
                    sampling: Sampling::Yuv420,
                    restart_interval: 0,
                    quant: [1; 128],
                    scan: &[n as u8],
                };
                preview.offer(Mono(n), &picture, None);
                thread::yield_now();
            }
        });
        let mut seen = Vec::new();
        while seen.len() < count {
            let shot = watcher.next().await.unwrap();
            assert_eq!(shot.picture().scan[0], shot.captured.0 as u8);
            seen.push(shot.captured.0);
        }
        stop.store(true, Ordering::Relaxed);
        streaming.join().unwrap();
        seen
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(work)
    }

    #[test]
    fn pictures_come_in_order_and_go_on_after_a_restart() {
        let feeds = Feeds::default();
        let (first, second) = (Arc::<Preview>::default(), Arc::<Preview>::default());
        let mut watcher = feeds.watch("porch", &first, Pace::Full);
        let seen = block_on(collect(&mut watcher, &first, 20));
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        let mut newcomer = feeds.watch("porch", &second, Pace::Full);
        block_on(collect(&mut watcher, &second, 5));
        block_on(collect(&mut newcomer, &second, 5));
        let third = Arc::<Preview>::default();
        feeds.follow(|_| Some(&third));
        block_on(collect(&mut watcher, &third, 5));
    }

    #[test]
    fn nobody_watches_then_nothing_is_asked_for() {
        let feeds = Feeds::default();
        let preview = Arc::<Preview>::default();
        let mut watcher = feeds.watch("porch", &preview, Pace::Page);
        block_on(collect(&mut watcher, &preview, 1));
        drop(watcher);
        feeds.follow(|_| None);
        assert!(feeds.0.lock().unwrap().is_empty());
        let full = feeds.watch("porch", &preview, Pace::Full);
        assert_eq!(full.feed.full.load(Ordering::Relaxed), 1);
        let feed = Arc::clone(&full.feed);
        drop(full);
        assert_eq!(feed.full.load(Ordering::Relaxed), 0);
        assert!(!feed.is_watched());
    }
}
