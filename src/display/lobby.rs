//! What the window says before the first picture, and what the user chooses there. Shared by the
//! window's thread and the one that looks for the stream. How it looks is `chooser`'s business.

use std::sync::Arc;

use crate::counters::Latest;

/// What the window says while there is no picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What the window's title says after the name; empty: that it waits.
    pub title: &'static str,
    /// What is awaited, in large letters.
    pub headline: String,
    /// What the user can choose from; empty: there is nothing to do but wait.
    pub choices: Vec<Choice>,
    /// What else there is to say.
    pub lines: Vec<String>,
}

/// Something that can be chosen. Its texts are safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Identifies it, whatever its present name.
    pub key: String,
    /// Its texts, one for each column of the list.
    pub cells: Vec<String>,
}

/// Where the window's thread finds what to show, and leaves what was chosen.
#[derive(Debug, Default)]
pub struct Lobby {
    waiting: Latest<Arc<Waiting>>,
    chosen: Latest<Option<String>>,
}

impl Lobby {
    /// A lobby that says `waiting`.
    pub fn new(waiting: Waiting) -> Lobby {
        Lobby {
            waiting: Latest::new(Arc::new(waiting)),
            chosen: Latest::default(),
        }
    }

    /// Says `waiting` from now on; the `Arc` changes only if the text does.
    pub fn say(&self, waiting: Waiting) {
        if *self.waiting() != waiting {
            self.waiting.set(Arc::new(waiting));
        }
    }

    /// What is said at present.
    pub fn waiting(&self) -> Arc<Waiting> {
        self.waiting.get()
    }

    /// The user has chosen the one with this key.
    pub fn choose(&self, key: String) {
        self.chosen.set(Some(key));
    }

    /// The key of what the user has chosen since this was asked last.
    pub fn take_choice(&self) -> Option<String> {
        self.chosen.take()
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
    }
}
