//! JPEG as bytes (ITU-T T.81): markers, the facts of a header, the gate that checks and normalises
//! what a source delivers, and rebuilding a header in the viewer. Not a codec: turbojpeg handles
//! pixels. No IO.

pub mod gate;
pub mod header;
pub mod rebuild;
pub mod recode;
mod reencode;
#[cfg(test)]
pub(crate) mod samples;
pub mod split;
pub mod strips;
pub mod tables;

/// Longest scan in bytes: the range of fragment offsets (RFC 2435 §3.1.2).
pub const MAX_SCAN: usize = 1 << 24;

/// Chroma sampling of a picture that RFC 2435 can carry (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// 4:2:2, components 2x1, 1x1, 1x1: RTP/JPEG type 0 (64 with restart markers).
    Yuv422,
    /// 4:2:0, components 2x2, 1x1, 1x1: RTP/JPEG type 1 (65 with restart markers).
    Yuv420,
}

/// One picture in the form that RFC 2435 carries: baseline, the standard Huffman tables, two 8-bit
/// quantisation tables. The rest of its header can be rebuilt from these facts.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Width in pixels, 1 to 65535; exact, not rounded up.
    pub width: u16,
    /// Height in pixels, 1 to 65535; exact, not rounded up.
    pub height: u16,
    /// Chroma sampling.
    pub sampling: Sampling,
    /// MCUs between restart markers; 0: the scan has none.
    pub restart_interval: u16,
    /// Quantisation tables in zigzag order: 64 bytes luma, then 64 bytes chroma.
    pub quant: [u8; 128],
    /// The entropy-coded data: from after the SOS segment up to the EOI marker, including that if
    /// the source has it right there. Entropy-coded data never ends with a marker's bytes.
    pub scan: &'a [u8],
}

impl Picture<'_> {
    /// All of it but the scan, which is empty.
    pub fn without_scan(&self) -> Picture<'static> {
        Picture {
            width: self.width,
            height: self.height,
            sampling: self.sampling,
            restart_interval: self.restart_interval,
            quant: self.quant,
            scan: &[],
        }
    }
}
