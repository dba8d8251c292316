//! What a sender does about its viewers' feedback. It is told in the reports' thread, which may lock and allocate; what
//! the stream's thread is to know goes there by atomics.

use crate::clock::Mono;
use crate::rtp::rtcp::Feedback;

/// Takes the feedback of one stream's viewers.
#[derive(Debug, Default)]
pub(super) struct Control;

impl Control {
    /// A viewer reported, asked for packets, or left.
    pub(super) fn heard(&mut self, now: Mono, feedback: Feedback<'_>) {
        tracing::trace!(?now, ?feedback, "feedback");
    }
}
