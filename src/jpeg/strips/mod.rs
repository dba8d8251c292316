//! Cuts a baseline scan at rows of MCUs, while it still arrives, into strips: small JPEGs whose
//! pixels are rows of the picture. For frames as RFC 2435 carries them: the Huffman tables of ITU-T
//! T.81 Annex K, 4:2:2 or 4:2:0. Not a decoder: no coefficient is kept and no pixel computed, so
//! nothing is lost. Not a scheduler: who decodes strips, and when, is the caller's business.
//!
//! With restart markers a strip begins where an interval and a row of MCUs begin together. Without
//! them the [`Cutter`] walks over the codes and notes at which bit each row starts and what its DC
//! predictions are; a strip's scan is then those bits, with the first differences written anew.
//!
//! What is cut need not be intact: damage may look like codes. Whoever decodes strips takes
//! turbojpeg's warnings for [`Broken`] too, and decodes the frame as a whole.

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
/// It holds a copy of the scan, at most 16 MiB, and a note of up to 40 bytes for each row of MCUs,
/// of which there are at most 8192; the buffers grow by doubling, so they may be twice as large. A longer scan is [`Broken`]. The memory is kept for the next
/// picture; of scans with and without restart markers each have their own.
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

    /// The picture that is being cut.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    fn has_restarts(&self) -> bool {
        self.shape.restart_interval != 0
    }

    /// Takes the scan's next bytes, however they are split; an EOI marker and what follows it are
    /// ignored.
    ///
    /// # Errors
    /// [`Broken`], here and below: until the next [`reset`](Cutter::reset) nothing more comes of
    /// it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        match self.has_restarts() {
            true => self.restarts.feed(bytes),
            false => self.walk.feed(bytes),
        }
    }

    /// Goes on as far as the bytes reach. This is what takes time, in proportion to the bytes fed
    /// since; a call costs no more than one MCU beyond that.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn advance(&mut self) -> Result<(), Broken> {
        match self.has_restarts() {
            true => self.restarts.advance(),
            false => self.walk.advance(),
        }
    }

    /// Goes on to the end of the scan, which is where the bytes fed end. With restart markers and
    /// no EOI nothing else tells that the last rows are whole.
    ///
    /// # Errors
    /// [`Broken`] if that is not all of the picture.
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

    /// The rows of MCUs from the top on that are whole and can be cut: all [`Shape::rows`], or a
    /// multiple of [`Shape::step`].
    pub fn rows(&self) -> usize {
        match self.has_restarts() {
            true => self.restarts.rows(),
            false => self.walk.rows(),
        }
    }

    /// Appends the scan of these rows as that of a picture of its own. All rows give the whole scan
    /// as it was, but for the padding of its last byte.
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
