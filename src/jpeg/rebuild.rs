//! Writes the header that RFC 2435 leaves out: the viewer's counterpart to the gate. RFC 2435
//! Appendix B does the same with other component numbers.

use super::header::marker;
use super::tables::{AC_CHROMA, AC_LUMA, DC_CHROMA, DC_LUMA, Huffman};
use super::{Picture, Sampling};

/// The longest header that [`write_header`] makes, in bytes; without a restart interval it is 6
/// shorter.
pub const MAX_HEADER: usize = 2 + 2 * 69 + 6 + 19 + 2 * (33 + 183) + 14;

/// Follows the scan. A decoder warns if it is missing.
pub const EOI: [u8; 2] = [0xff, marker::EOI];

struct Writer<'a> {
    out: &'a mut [u8; MAX_HEADER],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// T.81 §B.2.4.1: an 8-bit table.
    fn quant(&mut self, id: u8, table: &[u8]) {
        self.put(&[0xff, marker::DQT, 0, 67, id]);
        self.put(table);
    }

    /// T.81 §B.2.4.2; `class` is 0 for DC and 1 for AC.
    fn huffman(&mut self, class: u8, id: u8, table: &Huffman) {
        let length = 3 + 16 + table.values.len() as u8;
        self.put(&[0xff, marker::DHT, 0, length, (class << 4) | id]);
        self.put(table.counts);
        self.put(table.values);
    }
}

/// Writes the header of a picture, from SOI to SOS, to the start of `out` and returns its length.
/// The scan follows it, then [`EOI`]. `quant` is in zigzag order, luma then chroma.
pub fn write_header(
    out: &mut [u8; MAX_HEADER],
    width: u16,
    height: u16,
    sampling: Sampling,
    restart_interval: u16,
    quant: &[u8; 128],
) -> usize {
    let mut w = Writer { out, len: 0 };
    w.put(&[0xff, marker::SOI]);
    w.quant(0, &quant[..64]);
    w.quant(1, &quant[64..]);
    if restart_interval != 0 {
        let [high, low] = restart_interval.to_be_bytes();
        w.put(&[0xff, marker::DRI, 0, 4, high, low]);
    }
    let luma = match sampling {
        Sampling::Yuv422 => 0x21,
        Sampling::Yuv420 => 0x22,
    };
    let ([w1, w0], [h1, h0]) = (width.to_be_bytes(), height.to_be_bytes());
    w.put(&[0xff, marker::SOF0, 0, 17, 8, h1, h0, w1, w0, 3]);
    w.put(&[1, luma, 0, 2, 0x11, 1, 3, 0x11, 1]);
    w.huffman(0, 0, &DC_LUMA);
    w.huffman(1, 0, &AC_LUMA);
    w.huffman(0, 1, &DC_CHROMA);
    w.huffman(1, 1, &AC_CHROMA);
    w.put(&[
        0xff,
        marker::SOS,
        0,
        12,
        3,
        1,
        0x00,
        2,
        0x11,
        3,
        0x11,
        0,
        63,
        0,
    ]);
    w.len
}

/// Writes the header right before the scan that starts at `scan_start`, so that both are one slice,
/// and returns where the header starts.
///
/// # Panics
/// If there is less than [`MAX_HEADER`] room before `scan_start`.
pub fn write_header_before(
    buffer: &mut [u8],
    scan_start: usize,
    width: u16,
    height: u16,
    sampling: Sampling,
    restart_interval: u16,
    quant: &[u8; 128],
) -> usize {
    let mut header = [0; MAX_HEADER];
    let len = write_header(
        &mut header,
        width,
        height,
        sampling,
        restart_interval,
        quant,
    );
    assert!(
        scan_start >= MAX_HEADER,
        "no room for the header: {scan_start} bytes"
    );
    let start = scan_start - len;
    buffer[start..scan_start].copy_from_slice(&header[..len]);
    start
}

/// Writes the whole JPEG of a picture to `out`, replacing its contents, and returns where in it the
/// scan starts; that goes on to the end.
pub fn write_jpeg(out: &mut Vec<u8>, picture: &Picture<'_>) -> usize {
    let mut header = [0; MAX_HEADER];
    let Picture {
        width,
        height,
        sampling,
        restart_interval,
        quant,
        scan,
    } = picture;
    let len = write_header(
        &mut header,
        *width,
        *height,
        *sampling,
        *restart_interval,
        quant,
    );
    out.clear();
    out.reserve(len + scan.len() + EOI.len());
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(scan.strip_suffix(&EOI).unwrap_or(scan));
    out.extend_from_slice(&EOI);
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::header::Header;
    use crate::jpeg::samples::{encode, pixels};
    use turbojpeg::Subsamp;

    #[test]
    fn the_header_has_the_length_it_promises() {
        let mut out = [0; MAX_HEADER];
        assert_eq!(
            write_header(&mut out, 1, 1, Sampling::Yuv422, 1, &[1; 128]),
            MAX_HEADER
        );
        assert_eq!(
            write_header(&mut out, 1, 1, Sampling::Yuv422, 0, &[1; 128]),
            MAX_HEADER - 6
        );
    }

    #[test]
    fn a_rebuilt_header_gives_the_same_pixels() {
        let cases = [
            (Subsamp::Sub2x1, Sampling::Yuv422),
            (Subsamp::Sub2x2, Sampling::Yuv420),
        ];
        for (subsamp, sampling) in cases {
            let jpeg = encode(322, 242, subsamp, 80);
            let header = Header::parse(&jpeg).unwrap();
            let mut quant = [0; 128];
            quant[..64].copy_from_slice(&header.quant(0).unwrap().narrowed().unwrap());
            quant[64..].copy_from_slice(&header.quant(1).unwrap().narrowed().unwrap());
            let mut buffer = vec![0xee; 1000];
            buffer.extend_from_slice(&jpeg[header.scan_start..]);
            let start = write_header_before(&mut buffer, 1000, 322, 242, sampling, 0, &quant);
            assert_eq!(pixels(&buffer[start..]), pixels(&jpeg));
        }
    }
}
