//! Cuts a baseline scan at rows of MCUs, while it arrives, into strips: small JPEGs whose pixels
//! are rows of the picture. For frames as RFC 2435 carries them: the Huffman tables of ITU-T T.81
//! Annex K, 4:2:2 or 4:2:0. Not a decoder: no coefficient is kept and no pixel computed, so nothing
//! is lost. Not a scheduler: the caller decides who decodes strips, and when.
//!
//! With restart markers a strip begins where an interval and a row of MCUs begin together. Without
//! them the [`Cutter`] walks over the codes and notes the bit at which each row starts and the DC
//! predictions there; a strip's scan consists of those bits, with the first differences rewritten.
//!
//! A strip need not be intact: damage may look like codes. Whoever decodes strips must treat
//! turbojpeg's warnings as [`Broken`] too, and decode the frame as a whole.

mod bits;
mod codes;
mod restarts;
mod shape;
#[cfg(test)]
mod tests;
mod walk;

use std::ops::Range;

pub use codes::Broken;
use restarts::Restarts;
pub use shape::{Seam, Shape};
use walk::Walk;

use super::rebuild::{EOI, MAX_HEADER, write_header};

/// Cuts one picture after the other.
///
/// It holds a copy of the scan, at most 16 MiB, and up to 40 bytes for each row of MCUs, of which
/// there are at most 8192. The buffers grow by doubling, so they may be twice as large. A longer
/// scan is [`Broken`]. The memory is kept for the next picture, separately for scans with and
/// without restart markers.
#[derive(Debug)]
pub struct Cutter {
    shape: Shape,
    walk: Walk,
    restarts: Restarts,
}

impl Cutter {
    /// A cutter for a first picture.
    pub fn new(shape: Shape) -> Cutter {
        Cutter {
            shape,
            walk: Walk::new(shape),
            restarts: Restarts::new(shape),
        }
    }

    /// Forgets the picture, and begins another.
    pub fn reset(&mut self, shape: Shape) {
        self.shape = shape;
        self.walk.reset(shape);
        self.restarts.reset(shape);
    }

    /// The picture being cut.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    fn has_restarts(&self) -> bool {
        self.shape.restart_interval != 0
    }

    /// Takes the scan's next bytes, split anywhere; an EOI marker and anything after it are
    /// ignored.
    ///
    /// # Errors
    /// [`Broken`], here and below: the picture is then lost until the next
    /// [`reset`](Cutter::reset).
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match self.has_restarts() {
            true => self.restarts.feed(bytes),
            false => self.walk.feed(bytes),
        }
    }

    /// Proceeds as far as the bytes allow. This is what takes time, proportional to the bytes fed
    /// since the last call, plus at most one MCU.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn advance(&mut self) -> Result<(), Broken> {
        match self.has_restarts() {
            true => self.restarts.advance(),
            false => self.walk.advance(),
        }
    }

    /// Proceeds to the end of the scan, which is the end of the bytes fed. With restart markers and
    /// no EOI, nothing else shows that the last rows are whole.
    ///
    /// # Errors
    /// [`Broken`] if the picture is incomplete.
    pub fn finish(&mut self) -> Result<(), Broken> {
        match self.has_restarts() {
            true => {
                self.restarts.advance()?;
                self.restarts.finish()
            }
            false => {
                self.walk.finish();
                self.walk.advance()
            }
        }
    }

    /// How many rows of MCUs from the top are whole and can be cut: all [`Shape::rows`], or a
    /// multiple of [`Shape::step`].
    pub fn rows(&self) -> usize {
        match self.has_restarts() {
            true => self.restarts.rows(),
            false => self.walk.rows(),
        }
    }

    /// Appends the scan of these rows as that of a separate picture. All rows together give the
    /// original scan, except for the padding of its last byte.
    ///
    /// # Errors
    /// [`Broken`] if there are none, if not all of them are within [`rows`](Cutter::rows), or if
    /// [`Shape::step`] does not allow the cut. Then `out` may have grown.
    pub fn cut(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self.has_restarts() {
            true => self.restarts.cut(rows, out),
            false => self.walk.cut(rows, out),
        }
    }

    /// Writes the JPEG of a strip to `out`, replacing its contents. It is as wide as the picture,
    /// and its pixel rows are [`Shape::pixels`]. `quant` is in zigzag order, luma then chroma.
    ///
    /// # Errors
    /// As [`cut`](Cutter::cut).
    pub fn write_strip(
        &self,
        rows: Range<usize>,
        quant: &[u8; 128],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let height = self.shape.pixels(&rows).len();
        self.write(rows, height, quant, out)
    }

    /// The same for a seam; its pixel rows are [`Seam::height`].
    ///
    /// # Errors
    /// As [`cut`](Cutter::cut).
    pub fn write_seam(
        &self,
        seam: &Seam,
        quant: &[u8; 128],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        self.write(seam.rows.clone(), seam.height, quant, out)
    }

    fn write(
        &self,
        rows: Range<usize>,
        height: usize,
        quant: &[u8; 128],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let (shape, mut header) = (&self.shape, [0; MAX_HEADER]);
        let len = write_header(
            &mut header,
            shape.width,
            u16::try_from(height).map_err(|_| Broken)?,
            shape.sampling,
            shape.restart_interval,
            quant,
        );
        out.clear();
        out.extend_from_slice(&header[..len]);
        self.cut(rows, out)?;
        out.extend_from_slice(&EOI);
        Ok(())
    }
}
