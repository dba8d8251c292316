//! The seam to the operating system: system calls that `std` and `socket2` lack or get wrong,
//! behind safe functions whose names and types say nothing of any one system. Linux's are in
//! `linux/`; another system is a folder beside it with the same functions. Not a policy: what to
//! send, when, and what to do about a refusal is decided by the callers.

#[cfg(target_os = "linux")]
mod linux;
mod types;

#[cfg(target_os = "linux")]
pub use linux::*;
pub use types::{Interface, Link, MAX_UDP_PAYLOAD, Member, Membership, Received};
