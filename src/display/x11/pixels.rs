//! Pixels as a screen has them, of any depth, where the colours are bits of the pixel (X11
//! protocol, "Visual types": TrueColor; section 8, "ImageFormat"), and the plain way there:
//! `PutImage`.

use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::ConnectionError;
use x11rb::protocol::xproto::{
    ConnectionExt as _, ImageFormat, ImageOrder, Screen, Setup, VisualClass,
};
use x11rb::rust_connection::RustConnection;

/// How the decoder's pixels, 0x00RRGGBB, become the screen's.
#[derive(Debug)]
pub(super) struct Pixels {
    depth: u8,
    /// Bytes of a pixel.
    bytes: usize,
    /// Rows begin at multiples of this many bytes.
    pad: usize,
    is_big_endian: bool,
    colours: [Colour; 3],
}

/// Where a colour's bits lie in a pixel of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour {
    shift: u32,
    bits: u32,
}

/// `PutImage` without its data.
const HEAD: usize = 24;

impl Pixels {
    /// The layout of a screen's own visual; `None` if its pixels are not colours.
    pub(super) fn of(setup: &Setup, screen: &Screen) -> Option<Pixels> {
        let depth = screen.root_depth;
        let mut visuals = screen.allowed_depths.iter().flat_map(|d| &d.visuals);
        let visual = visuals.find(|v| v.visual_id == screen.root_visual)?;
        let format = setup.pixmap_formats.iter().find(|f| f.depth == depth)?;
        if visual.class != VisualClass::TRUE_COLOR && visual.class != VisualClass::DIRECT_COLOR {
            return None;
        }
        let masks = [visual.red_mask, visual.green_mask, visual.blue_mask];
        let bytes = usize::from(format.bits_per_pixel / 8);
        let is_possible = (2..=4).contains(&bytes) && masks.iter().all(|&mask| mask != 0);
        is_possible.then(|| Pixels {
            depth,
            bytes,
            pad: usize::from(format.scanline_pad / 8).max(1),
            is_big_endian: setup.image_byte_order == ImageOrder::MSB_FIRST,
            colours: masks.map(Colour::of),
        })
    }

    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Whether they are the decoder's own, so that nothing has to be made of them.
    pub(super) fn is_plain(&self) -> bool {
        let plain = [0x00ff_0000, 0xff00, 0xff].map(Colour::of);
        self.bytes == 4
            && self.colours == plain
            && self.is_big_endian == cfg!(target_endian = "big")
    }

    /// Sends `picture`, of `size`, neither side 0, in as many requests as it needs.
    ///
    /// # Errors
    /// The server is gone.
    pub(super) fn put(
        &self,
        x: &RustConnection,
        window: u32,
        gc: u32,
        size: (u16, u16),
        picture: &[u32],
    ) -> Result<(), ConnectionError> {
        let (width, stride) = (usize::from(size.0), self.stride(size.0.into()));
        let rows = (x.maximum_request_bytes().saturating_sub(HEAD) / stride).max(1);
        let (is_plain, mut converted) = (self.is_plain(), Vec::new());
        for (n, band) in picture.chunks(rows * width).enumerate() {
            let bytes = match is_plain {
                true => bytemuck::cast_slice(band),
                false => {
                    converted.clear();
                    band.chunks(width)
                        .for_each(|row| self.row(row, &mut converted));
                    &converted[..]
                }
            };
            let (y, height) = ((n * rows) as i16, (band.len() / width) as u16);
            let format = ImageFormat::Z_PIXMAP;
            x.put_image(
                format, window, gc, size.0, height, 0, y, 0, self.depth, bytes,
            )?;
        }
        x.flush()
    }

    fn stride(&self, width: usize) -> usize {
        (width * self.bytes).next_multiple_of(self.pad)
    }

    /// Appends a row, and what fills it up to where the next begins.
    fn row(&self, row: &[u32], out: &mut Vec<u8>) {
        for &pixel in row {
            let pixel = self.of_rgb(pixel);
            match self.is_big_endian {
                true => out.extend_from_slice(&pixel.to_be_bytes()[4 - self.bytes..]),
                false => out.extend_from_slice(&pixel.to_le_bytes()[..self.bytes]),
            }
        }
        out.resize(out.len().next_multiple_of(self.pad), 0);
    }

    fn of_rgb(&self, pixel: u32) -> u32 {
        let [red, green, blue] = self.colours;
        red.place(pixel >> 16) | green.place(pixel >> 8) | blue.place(pixel)
    }
}

impl Colour {
    fn of(mask: u32) -> Colour {
        Colour {
            shift: mask.trailing_zeros(),
            bits: mask.count_ones().min(16),
        }
    }

    /// The lowest 8 bits of `value` as this colour: as bright, white stays white.
    fn place(self, value: u32) -> u32 {
        // Twice the 8 bits, so that more than 8 are there to take.
        let wide = (value & 0xff) * 0x101;
        (wide >> (16 - self.bits)) << self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(bytes: usize, masks: [u32; 3]) -> Pixels {
        Pixels {
            depth: 24,
            bytes,
            pad: 4,
            is_big_endian: false,
            colours: masks.map(Colour::of),
        }
    }

    #[test]
    fn colours_are_placed_where_the_screen_has_them() {
        let rgb565 = pixels(2, [0xf800, 0x07e0, 0x001f]);
        assert_eq!(rgb565.of_rgb(0x00ff_ffff), 0xffff);
        assert_eq!(rgb565.of_rgb(0x00ff_0000), 0xf800);
        assert_eq!(rgb565.of_rgb(0x0000_8000), 0x0400);
        let rgb30 = pixels(4, [0x3ff0_0000, 0x000f_fc00, 0x3ff]);
        assert_eq!(rgb30.of_rgb(0x00ff_ffff), 0x3fff_ffff);
        assert_eq!(rgb30.of_rgb(0x0000_0080), 0x202);
        let bgr = pixels(4, [0xff, 0xff00, 0x00ff_0000]);
        assert_eq!(bgr.of_rgb(0x0012_3456), 0x0056_3412);
        assert!(!bgr.is_plain());
        let rgb = pixels(4, [0x00ff_0000, 0xff00, 0xff]);
        assert_eq!(rgb.of_rgb(0x0012_3456), 0x0012_3456);
        assert_eq!(rgb.is_plain(), cfg!(target_endian = "little"));
    }

    #[test]
    fn rows_have_as_many_bytes_as_the_screen_wants() {
        let rgb565 = pixels(2, [0xf800, 0x07e0, 0x001f]);
        assert_eq!(rgb565.stride(3), 8);
        let mut bytes = Vec::new();
        rgb565.row(&[0x00ff_0000, 0x0000_00ff], &mut bytes);
        assert_eq!(bytes, [0x00, 0xf8, 0x1f, 0x00]);
        let packed = pixels(3, [0x00ff_0000, 0xff00, 0xff]);
        bytes.clear();
        packed.row(&[0x0012_3456], &mut bytes);
        assert_eq!(bytes, [0x56, 0x34, 0x12, 0]);
    }
}
