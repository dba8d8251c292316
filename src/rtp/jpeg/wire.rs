//! The headers of an RTP/JPEG payload, byte for byte (RFC 2435 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Type-specific |              Fragment Offset                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      Type     |       Q       |     Width     |     Height    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Restart Interval        |F|L|       Restart Count       |  types 64 to 127 only
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      MBZ      |   Precision   |             Length            |  Q 128 to 255 and offset 0 only
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Quantization Table Data                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                              scan                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::jpeg::Sampling;

/// Static payload type of JPEG. RFC 3551 §6.
pub const PAYLOAD_TYPE: u8 = 26;
/// Bytes of the main header. RFC 2435 §3.1.
pub const MAIN_LEN: usize = 8;
/// Bytes of the restart header. RFC 2435 §3.1.7.
pub const RESTART_LEN: usize = 4;
/// Bytes of the quantisation table header without its tables. RFC 2435 §3.1.8.
pub const QUANT_LEN: usize = 4;
/// Largest picture side that the main header can say, in pixels. RFC 2435 §3.1.5.
pub const MAX_SIDE: u16 = 2040;

/// Why lancam cannot show a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPayload {
    /// A header reaches past the end of the packet.
    #[error("payload of {0} bytes ends inside its JPEG headers")]
    Truncated(usize),
    /// Not type 0, 1, 64 or 65. RFC 2435 §4.1.
    #[error("JPEG type {0}; 0, 1, 64 and 65 can be shown")]
    Type(u8),
    /// Q 0 or 100 to 127, which are reserved. RFC 2435 §3.1.4.
    #[error("JPEG Q {0} is reserved")]
    Q(u8),
    /// A table block that is not one or two tables of 8-bit values, or is missing where it is
    /// required.
    #[error("quantisation table block of {length} bytes with precision {precision}")]
    Tables {
        /// Its length in bytes.
        length: usize,
        /// Its precision bits.
        precision: u8,
    },
}

/// What the headers of all packets of a frame have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Chroma sampling.
    pub sampling: Sampling,
    /// Which tables: 1 to 99 computed, 128 to 255 in-band.
    pub q: u8,
    /// Width in blocks of 8 pixels; 0: over 2040 pixels.
    pub width8: u8,
    /// Height in blocks of 8 pixels; 0: over 2040 pixels.
    pub height8: u8,
    /// MCUs between restart markers; 0: none.
    pub restart_interval: u16,
}

/// The tables of a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// The packet has no table header: it is not the first, or Q is below 128.
    Absent,
    /// A header of length 0: the tables sent before under this Q. RFC 2435 §3.1.8.
    AsBefore,
    /// In zigzag order, luma then chroma, one after the other.
    Given([u8; 128]),
}

/// A parsed payload.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// What all packets of the frame have in common.
    pub header: FrameHeader,
    /// Place of `scan` in the frame's scan. RFC 2435 §3.1.2.
    pub offset: u32,
    /// The quantisation tables.
    pub tables: Tables,
    /// This packet's part of the scan.
    pub scan: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Parses an RTP payload.
    ///
    /// # Errors
    /// If a header is truncated, or describes what lancam cannot show.
    pub fn parse(payload: &'a [u8]) -> Result<Payload<'a>, InvalidPayload> {
        let truncated = InvalidPayload::Truncated(payload.len());
        let Some((&main, mut rest)) = payload.split_first_chunk::<MAIN_LEN>() else {
            return Err(truncated);
        };
        // The type-specific byte tells interlaced fields apart (RFC 2435 §3.1.1); each is shown as
        // it is.
        let [_, o0, o1, o2, jpeg_type, q, width8, height8] = main;
        let offset = u32::from_be_bytes([0, o0, o1, o2]);
        let sampling = match jpeg_type {
            0 | 64 => Sampling::Yuv422,
            1 | 65 => Sampling::Yuv420,
            other => return Err(InvalidPayload::Type(other)),
        };
        if q == 0 || (100..128).contains(&q) {
            return Err(InvalidPayload::Q(q));
        }
        let mut restart_interval = 0;
        if jpeg_type >= 64 {
            // F, L and the count only help those who decode before a frame is whole. RFC 2435
            // §3.1.7.
            let Some((&[r0, r1, _, _], tail)) = rest.split_first_chunk::<RESTART_LEN>() else {
                return Err(truncated);
            };
            restart_interval = u16::from_be_bytes([r0, r1]);
            rest = tail;
        }
        let mut tables = Tables::Absent;
        if q >= 128 && offset == 0 {
            let Some((&[_, precision, l0, l1], tail)) = rest.split_first_chunk::<QUANT_LEN>()
            else {
                return Err(truncated);
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let (block, scan) = tail.split_at_checked(length).ok_or(truncated)?;
            tables = read_tables(q, precision, block)?;
            rest = scan;
        }
        Ok(Payload {
            header: FrameHeader {
                sampling,
                q,
                width8,
                height8,
                restart_interval,
            },
            offset,
            tables,
            scan: rest,
        })
    }
}

/// Reads a table block. RFC 2435 §3.1.8: a set precision bit means 16-bit values in that table.
fn read_tables(q: u8, precision: u8, block: &[u8]) -> Result<Tables, InvalidPayload> {
    let invalid = InvalidPayload::Tables {
        length: block.len(),
        precision,
    };
    if block.is_empty() {
        // "a Q of 255 [...] MUST be sent with every frame".
        return if q == 255 {
            Err(invalid)
        } else {
            Ok(Tables::AsBefore)
        };
    }
    let mut quant = [0; 128];
    let (luma, chroma) = quant.split_at_mut(64);
    let rest = read_table(luma, precision & 1 != 0, block).ok_or(invalid)?;
    if rest.is_empty() {
        // One table serves all components.
        chroma.copy_from_slice(luma);
    } else {
        read_table(chroma, precision & 2 != 0, rest).ok_or(invalid)?;
    }
    Ok(Tables::Given(quant))
}

/// Reads one table of 64 values that fit 8 bits, as baseline JPEG wants them; returns what follows
/// it.
fn read_table<'a>(table: &mut [u8], wide: bool, block: &'a [u8]) -> Option<&'a [u8]> {
    if !wide {
        let (values, rest) = block.split_at_checked(64)?;
        table.copy_from_slice(values);
        return Some(rest);
    }
    let (values, rest) = block.split_at_checked(128)?;
    for (value, pair) in table.iter_mut().zip(values.chunks_exact(2)) {
        *value = u8::try_from(u16::from_be_bytes([pair[0], pair[1]])).ok()?;
    }
    Some(rest)
}

/// Blocks of 8 pixels that cover `size`; (0, 0) where a side is over [`MAX_SIDE`].
pub fn size_in_blocks((width, height): (u16, u16)) -> (u8, u8) {
    if width > MAX_SIDE || height > MAX_SIDE {
        return (0, 0);
    }
    (width.div_ceil(8) as u8, height.div_ceil(8) as u8) // At most 255.
}

/// Appends the main header, and the restart header if there is a restart interval.
pub fn write_main(out: &mut Vec<u8>, header: &FrameHeader, offset: u32) {
    let base = match header.sampling {
        Sampling::Yuv422 => 0,
        Sampling::Yuv420 => 1,
    };
    let restarts = header.restart_interval != 0;
    let [_, o0, o1, o2] = offset.to_be_bytes();
    let jpeg_type = if restarts { base | 64 } else { base };
    out.extend_from_slice(&[
        0,
        o0,
        o1,
        o2,
        jpeg_type,
        header.q,
        header.width8,
        header.height8,
    ]);
    if restarts {
        let [r0, r1] = header.restart_interval.to_be_bytes();
        // F = L = 1 and all ones: only the whole frame can be decoded. RFC 2435 §3.1.7.
        out.extend_from_slice(&[r0, r1, 0xFF, 0xFF]);
    }
}

/// Appends the quantisation table header with two 8-bit tables. RFC 2435 §3.1.8.
pub fn write_tables(out: &mut Vec<u8>, quant: &[u8; 128]) {
    out.extend_from_slice(&[0, 0, 0, 128]);
    out.extend_from_slice(quant);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FrameHeader = FrameHeader {
        sampling: Sampling::Yuv420,
        q: 255,
        width8: 41,
        height8: 31,
        restart_interval: 20,
    };

    #[test]
    fn what_is_written_reads_back() {
        let mut bytes = Vec::new();
        let quant = std::array::from_fn(|i| i as u8 + 1);
        write_main(&mut bytes, &HEADER, 0);
        write_tables(&mut bytes, &quant);
        bytes.extend_from_slice(b"scan");
        assert_eq!(
            bytes[..12],
            [0, 0, 0, 0, 65, 255, 41, 31, 0, 20, 0xFF, 0xFF]
        );
        let p = Payload::parse(&bytes).unwrap();
        assert_eq!((p.header, p.offset), (HEADER, 0));
        assert_eq!(p.tables, Tables::Given(quant));
        assert_eq!(p.scan, b"scan");
    }

    #[test]
    fn tables_ride_at_offset_0_only() {
        let mut bytes = Vec::new();
        write_main(&mut bytes, &HEADER, 0x01_02_03);
        bytes.extend_from_slice(b"scan");
        let p = Payload::parse(&bytes).unwrap();
        assert_eq!(
            (p.offset, p.tables, p.scan),
            (0x01_02_03, Tables::Absent, &b"scan"[..])
        );
    }

    fn with_tables(q: u8, precision: u8, length: u16, block: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 1, q, 10, 10, 0, precision];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(block);
        bytes
    }

    #[test]
    fn one_table_serves_both() {
        let bytes = with_tables(200, 0, 64, &[7; 70]);
        let p = Payload::parse(&bytes).unwrap();
        assert_eq!(p.tables, Tables::Given([7; 128]));
        assert_eq!(p.scan, [7; 6]);
    }

    #[test]
    fn precision_bits_say_how_wide_each_table_is() {
        let wide: Vec<u8> = (1..=64).flat_map(|v| [0, v]).collect();
        let mut block = wide.clone();
        block.extend_from_slice(&[9; 64]);
        let bytes = with_tables(255, 1, 192, &block);
        let Tables::Given(quant) = Payload::parse(&bytes).unwrap().tables else {
            panic!("no tables");
        };
        assert_eq!((quant[0], quant[63], quant[64]), (1, 64, 9));
        // A value over 255 is not baseline.
        block[0] = 1;
        let bytes = with_tables(255, 1, 192, &block);
        assert!(matches!(
            Payload::parse(&bytes),
            Err(InvalidPayload::Tables { .. })
        ));
    }

    #[test]
    fn a_table_block_is_bounded_by_its_length_and_the_packet() {
        // The packet is long enough for two tables, the block is not.
        let bytes = with_tables(255, 0, 100, &[7; 500]);
        assert!(matches!(
            Payload::parse(&bytes),
            Err(InvalidPayload::Tables { .. })
        ));
        let bytes = with_tables(255, 0, 128, &[7; 127]);
        assert!(matches!(
            Payload::parse(&bytes),
            Err(InvalidPayload::Truncated(_))
        ));
        // Q 255 must bring its tables, a lower Q may refer to earlier ones.
        assert!(Payload::parse(&with_tables(255, 0, 0, b"scan")).is_err());
        let bytes = with_tables(254, 0, 0, b"scan");
        assert_eq!(Payload::parse(&bytes).unwrap().tables, Tables::AsBefore);
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        for jpeg_type in [2, 63, 66, 127, 128, 255] {
            let bytes = [0, 0, 0, 0, jpeg_type, 50, 1, 1, 0, 0, 0, 0];
            assert_eq!(
                Payload::parse(&bytes).err(),
                Some(InvalidPayload::Type(jpeg_type))
            );
        }
        for q in [0, 100, 127] {
            let bytes = [0, 0, 0, 0, 1, q, 1, 1];
            assert_eq!(Payload::parse(&bytes).err(), Some(InvalidPayload::Q(q)));
        }
        assert!(Payload::parse(&[0, 0, 0, 0, 1, 50, 1]).is_err());
        assert!(Payload::parse(&[0, 0, 0, 0, 64, 50, 1, 1, 0, 1, 0]).is_err());
    }

    #[test]
    fn sizes_round_up_to_blocks() {
        assert_eq!(size_in_blocks((322, 242)), (41, 31));
        assert_eq!(size_in_blocks((2040, 2040)), (255, 255));
        assert_eq!(size_in_blocks((2041, 8)), (0, 0));
        assert_eq!(size_in_blocks((8, 3000)), (0, 0));
        assert_eq!(size_in_blocks((1, 1)), (1, 1));
    }
}
