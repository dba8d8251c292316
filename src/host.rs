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

/// What distinguishes this machine from others and stays the same: machine-id(5), else its name.
/// Not for others to see.
pub(crate) fn identity() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    // It has no other contents before the first boot of an image has been completed.
    match id.len() == 32 {
        true => id.to_owned(),
        false => name(),
    }
}

/// An unpredictable number: each `RandomState` is keyed with the system's random numbers.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
