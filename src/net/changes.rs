//! Detects that this machine's interfaces, addresses or routes may have changed, so that they are
//! listed only then: a list costs dozens of system calls, and more with every interface. It does
//! not say what changed.

use std::time::Duration;

use super::sys::NetworkWatch;
use crate::clock::Mono;

/// How often to look even if the kernel has reported nothing.
const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// Whether the network may have changed since the last call, in the network namespace of the thread
/// that created it.
#[derive(Debug)]
pub struct Changes {
    /// `None` if the kernel reports nothing here, so that anything may have changed at any time.
    watch: Option<NetworkWatch>,
    look_at: Mono,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes::new()
    }
}

impl Changes {
    /// Starts to listen. The first answer is yes.
    pub fn new() -> Changes {
        Changes {
            watch: NetworkWatch::open().ok(),
            look_at: Mono::now(),
        }
    }

    /// Whether it may have changed since the last call. One system call if nothing has.
    pub fn any(&mut self) -> bool {
        let now = Mono::now();
        let was_told = (self.watch.as_ref()).is_none_or(NetworkWatch::has_changed);
        if !was_told && now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_ANYWAY;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/net.rs shows that changes are reported.
    #[test]
    fn the_first_answer_is_yes_and_the_second_no() {
        let mut changes = Changes::new();
        assert!(changes.watch.is_some());
        assert!(changes.any());
        // Something may change on this machine just now, but not all the time.
        assert!((0..100).any(|_| !changes.any()));
    }
}
