//! Where frames come from. Each source lends one JPEG at a time; what lies in it is the gate's business.

use crate::clock::Mono;

/// One JPEG as its source has it, lent until it is dropped.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The bytes as the source gave them: perhaps padded, perhaps broken (see [`crate::jpeg`]).
    pub data: &'a [u8],
    /// When the picture was taken (for files: when it was due).
    pub captured: Mono,
    /// Frames that the source lost since the one before, by its own count.
    pub missed: u32,
}
