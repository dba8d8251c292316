//! Facts about this machine and its user that go on the wire, and random numbers.

use std::hash::{BuildHasher, RandomState};

use nix::unistd::{Uid, User, gethostname};

use crate::rtp::rtcp::Description;

/// How `program` describes itself to other members of a session. RFC 3550 §6.5.1: `user@host`.
pub(crate) fn description(program: &str) -> Description {
    let host = name();
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let cname = match user {
        Some(user) => format!("{}@{host}", user.name),
        None => format!("{}@{host}", Uid::effective()),
    };
    Description {
        cname,
        name: host,
        tool: format!("{program} {}", env!("CARGO_PKG_VERSION")),
    }
}

/// This machine's name; empty if it has none.
pub(crate) fn name() -> String {
    let name = gethostname().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// An unpredictable number: each `RandomState` is keyed with the system's random numbers.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
