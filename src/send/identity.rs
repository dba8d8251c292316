//! How receivers identify a stream; it outlives sockets, settings and reloads.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::host;
use crate::rtp::{SeqNo, Ssrc};

/// How receivers identify a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) ssrc: Ssrc,
    pub(super) next_seq: SeqNo,
    /// Added to capture times, so that timestamps start anywhere. RFC 3550 §5.1.
    pub(super) time_offset: u32,
    /// The number of its session in SDP.
    pub(super) session: u64,
}

impl Identity {
    /// Numbers that no other sender has, as RFC 3550 §8.1 requires.
    pub(super) fn random() -> Identity {
        let ssrc = host::random() as u32;
        // RFC 8866 §5.2 recommends a timestamp; the SSRC distinguishes streams that began in the
        // same second.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        Identity {
            ssrc: Ssrc(ssrc),
            next_seq: SeqNo(host::random() as u16),
            time_offset: host::random() as u32,
            session: seconds << 32 | u64::from(ssrc),
        }
    }
}
