//! The way out of one stream: packetizer, socket and pacing. It outlives its socket: when the network
//! goes, frames are dropped, never queued, and the socket is made anew.

use std::time::Duration;

use anyhow::{Context, Result};
use tracing::{info, warn};

use crate::clock::{Mono, Ntp};
use crate::config::Stream;
use crate::jpeg::Picture;
use crate::net::batch::{BatchSender, SendError};
use crate::net::group::{self, SendOptions};
use crate::net::interface::{self, Interface};
use crate::net::pacing::{self, Pacer};
use crate::rtp::jpeg::Packetizer;
use crate::rtp::{RtpTime, SeqNo, Ssrc};
use crate::stats::SenderStats;

/// ffmpeg's receiver reads no RTP packet above 8,192 bytes, whatever the MTU (RTP_MAX_PACKET_LENGTH
/// in its libavformat/rtp.h).
const LARGEST_DEFAULT_DATAGRAM: usize = 8_192;
/// How often a socket is tried again while the network is down.
const RETRY: Duration = Duration::from_millis(500);
/// Taken for the frame interval before two frames have told it.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(33);
/// Frames further apart than this say nothing about the rate.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// What a receiver knows a sender by; it stays when sockets and settings change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    ssrc: Ssrc,
    next_seq: SeqNo,
    /// Added to capture times, so that timestamps start anywhere. RFC 3550 §5.1.
    time_offset: u32,
}

impl Identity {
    /// Numbers that no other sender has, as RFC 3550 §8.1 asks.
    pub(super) fn random() -> Identity {
        use std::hash::{BuildHasher, RandomState};
        // Each RandomState is keyed from the system's random numbers.
        let draw = |n: u32| RandomState::new().hash_one(n);
        Identity {
            ssrc: Ssrc(draw(0) as u32),
            next_seq: SeqNo(draw(1) as u16),
            time_offset: draw(2) as u32,
        }
    }
}
