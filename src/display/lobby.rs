//! What the window shows before the first picture, the list of streams that the user may ask for at
//! any time, and the user's choice. Shared by the window's thread, the one that looks for the
//! stream, and the one that receives it. `chooser` draws it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::counters::Latest;

/// What the window shows while there is no picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The window's title after the name; if empty, that it is waiting.
    pub title: &'static str,
    /// What it is waiting for, in large letters.
    pub headline: String,
    /// What the user can choose from; may be empty.
    pub choices: Vec<Choice>,
    /// Further lines.
    pub lines: Vec<String>,
    /// The user has asked for the list, so it may replace a picture.
    pub is_list: bool,
}

/// Something that can be chosen. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Identifies it, whatever its present name.
    pub key: String,
    /// Its texts, one for each column of the list.
    pub cells: Vec<String>,
}

/// Where the window's thread gets what to show, and leaves the user's choice.
#[derive(Debug, Default)]
pub struct Lobby {
    waiting: Latest<Arc<Waiting>>,
    chosen: Latest<Option<String>>,
    wants_list: AtomicBool,
    /// Frames with smaller numbers belong to the previous stream; with [`CLOSED`], all do.
    first: AtomicU64,
}

/// Larger than the number of any frame.
const CLOSED: u64 = u64::MAX;

impl Lobby {
    /// A lobby that shows `waiting`.
    pub fn new(waiting: Waiting) -> Lobby {
        Lobby {
            waiting: Latest::new(Arc::new(waiting)),
            ..Lobby::default()
        }
    }

    /// Shows `waiting` from now on; the `Arc` changes only if the text does.
    pub fn say(&self, waiting: Waiting) {
        if *self.waiting() != waiting {
            self.waiting.set(Arc::new(waiting));
        }
    }

    /// What is shown at present.
    pub fn waiting(&self) -> Arc<Waiting> {
        self.waiting.get()
    }

    /// Notes that the user has chosen the stream with this key.
    pub fn choose(&self, key: String) {
        self.chosen.set(Some(key));
    }

    /// Takes the key that the user has chosen since the last call.
    pub fn take_choice(&self) -> Option<String> {
        self.chosen.take()
    }

    /// Notes whether the user wants to see the list of streams.
    pub fn want_list(&self, wants_list: bool) {
        // A choice in an earlier list no longer counts.
        self.chosen.set(None);
        self.wants_list.store(wants_list, Ordering::Relaxed);
    }

    /// Whether the user wants to see the list of streams.
    pub fn wants_list(&self) -> bool {
        self.wants_list.load(Ordering::Relaxed)
    }

    /// Changes to another stream: no frame is shown until it is [opened](Lobby::open).
    pub fn close(&self) {
        self.first.store(CLOSED, Ordering::Relaxed);
    }

    /// Frames from this number on belong to the new stream.
    pub fn open(&self, first: u64) {
        self.first.store(first, Ordering::Relaxed);
    }

    /// Whether no frames are shown at present.
    pub fn is_closed(&self) -> bool {
        !self.admits(CLOSED - 1)
    }

    /// Whether the frame with this number belongs to the wanted stream.
    pub fn admits(&self, number: u64) -> bool {
        number >= self.first.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_same_is_the_same() {
        let waiting = |headline: &str| Waiting {
            headline: headline.to_owned(),
            ..Waiting::default()
        };
        let lobby = Lobby::new(waiting("a"));
        let first = lobby.waiting();
        lobby.say(waiting("a"));
        assert!(Arc::ptr_eq(&first, &lobby.waiting()));
        lobby.say(waiting("b"));
        assert_eq!(lobby.waiting().headline, "b");
    }

    #[test]
    fn a_choice_is_taken_once() {
        let lobby = Lobby::default();
        assert_eq!(lobby.take_choice(), None);
        lobby.choose("x".to_owned());
        assert_eq!(lobby.take_choice().as_deref(), Some("x"));
        assert_eq!(lobby.take_choice(), None);
        // Nor is one that was made in another list.
        lobby.choose("x".to_owned());
        lobby.want_list(true);
        assert_eq!(lobby.take_choice(), None);
    }

    #[test]
    fn frames_of_the_stream_before_are_turned_away() {
        let lobby = Lobby::default();
        assert!(lobby.admits(0) && !lobby.is_closed());
        lobby.close();
        assert!(!lobby.admits(7) && lobby.is_closed());
        lobby.open(7);
        assert!(!lobby.admits(6) && lobby.admits(7) && !lobby.is_closed());
    }
}
