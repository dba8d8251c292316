//! The RTP header (RFC 3550 §5.1) and one-byte header extensions (RFC 8285 §4.2): a view that is
//! checked once, and writing. Not RTCP, and nothing about what the payload means.

use super::types::{RtpTime, SeqNo, Ssrc};
use crate::clock::Ntp;

/// Bytes of the fixed header, before any CSRC. RFC 3550 §5.1.
pub const HEADER_LEN: usize = 12;

/// Local identifier of abs-capture-time in lancam's packets; the SDP says so too (`a=extmap`).
pub const ABS_CAPTURE_TIME_ID: u8 = 1;
/// What names abs-capture-time in SDP: 8 bytes, the capture time in NTP format.
pub const ABS_CAPTURE_TIME_URI: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/// Local identifier of lancam's picture size in its packets; the SDP says so too (`a=extmap`).
pub const PICTURE_SIZE_ID: u8 = 2;
/// What names lancam's picture size in SDP: 4 bytes, true width and height in pixels.
pub const PICTURE_SIZE_URI: &str = "urn:x-lancam:picture-size";

/// The "defined by profile" field that announces one-byte extensions. RFC 8285 §4.2.
const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Shorter than the fixed header.
    #[error("{0} bytes are too few for an RTP header of {HEADER_LEN}")]
    Short(usize),
    /// Not RTP version 2.
    #[error("RTP version {0}, not 2")]
    Version(u8),
    /// The CSRC list or the extension reaches past the end.
    #[error("header of {need} bytes in a packet of {have}")]
    Truncated {
        /// Bytes that the header claims.
        need: usize,
        /// Bytes available.
        have: usize,
    },
    /// The padding count is zero or more than what follows the header.
    #[error("padding of {padding} bytes where {have} follow the header")]
    Padding {
        /// Bytes of padding that the last byte claims.
        padding: usize,
        /// Bytes after the header.
        have: usize,
    },
}

/// An RTP packet, checked when it was made: no accessor can fail.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                           timestamp                           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           synchronization source (SSRC) identifier            |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    fixed: &'a [u8; HEADER_LEN],
    /// Elements of a one-byte extension; empty when there is none.
    extensions: &'a [u8],
    header_len: usize,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks `datagram` and returns a view of it.
    ///
    /// # Errors
    /// Whatever makes the header unreadable; the payload is not looked at.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, InvalidHeader> {
        let mut packet = Packet::parse_head(datagram)?;
        // RFC 3550 §5.1: the last byte counts the padding, itself included.
        if packet.fixed[0] & 0x20 != 0 {
            let payload = packet.payload;
            let (padding, have) = (payload.last().map_or(0, |&n| n.into()), payload.len());
            if padding == 0 || padding > have {
                return Err(InvalidHeader::Padding { padding, have });
            }
            packet.payload = &payload[..have - padding];
        }
        Ok(packet)
    }

    /// The same, with padding as part of the payload: what can be read while it is encrypted.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_head(datagram: &'a [u8]) -> Result<Packet<'a>, InvalidHeader> {
        let have = datagram.len();
        let Some(fixed) = datagram.first_chunk::<HEADER_LEN>() else {
            return Err(InvalidHeader::Short(have));
        };
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(InvalidHeader::Version(version));
        }
        let mut header_len = HEADER_LEN + 4 * usize::from(fixed[0] & 0x0F);
        let mut extensions: &[u8] = &[];
        // RFC 3550 §5.3.1: 16 bits of profile, 16 bits of length in words, the words.
        if fixed[0] & 0x10 != 0 {
            let head = header_len;
            header_len += 4;
            let Some(&[p0, p1, l0, l1]) = datagram.get(head..header_len) else {
                let need = header_len;
                return Err(InvalidHeader::Truncated { need, have });
            };
            header_len += 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let Some(words) = datagram.get(head + 4..header_len) else {
                let need = header_len;
                return Err(InvalidHeader::Truncated { need, have });
            };
            if u16::from_be_bytes([p0, p1]) == ONE_BYTE_PROFILE {
                extensions = words;
            }
        }
        let Some(payload) = datagram.get(header_len..) else {
            let need = header_len;
            return Err(InvalidHeader::Truncated { need, have });
        };
        Ok(Packet {
            fixed,
            extensions,
            header_len,
            payload,
        })
    }

    /// Whether this is a frame's last packet. RFC 2435 §3.
    pub fn marker(&self) -> bool {
        self.fixed[1] & 0x80 != 0
    }

    /// Payload type: 26 is JPEG. RFC 3551 §6.
    pub fn payload_type(&self) -> u8 {
        self.fixed[1] & 0x7F
    }

    /// Sequence number.
    pub fn seq(&self) -> SeqNo {
        SeqNo(u16::from_be_bytes([self.fixed[2], self.fixed[3]]))
    }

    /// Timestamp; the same in all packets of a frame.
    pub fn time(&self) -> RtpTime {
        let f = self.fixed;
        RtpTime(u32::from_be_bytes([f[4], f[5], f[6], f[7]]))
    }

    /// The source of the packet.
    pub fn ssrc(&self) -> Ssrc {
        let f = self.fixed;
        Ssrc(u32::from_be_bytes([f[8], f[9], f[10], f[11]]))
    }

    /// Bytes before the payload: fixed header, CSRC list and extension.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// What follows the header, without padding.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Data of the one-byte extension `id` (1 to 14), if the packet carries it. RFC 8285 §4.2.
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        let mut rest = self.extensions;
        while let [head, tail @ ..] = rest {
            // A zero byte is padding between elements; identifier 15 ends all processing.
            if *head == 0 {
                rest = tail;
                continue;
            }
            let found = head >> 4;
            let (data, next) = tail.split_at_checked(usize::from(head & 0x0F) + 1)?;
            match found {
                15 => return None,
                _ if found == id => return Some(data),
                _ => rest = next,
            }
        }
        None
    }

    /// The capture time in lancam's own packets. Other senders may use the identifier for something
    /// else: ask only where [`Packet::picture_size`] marks a lancam sender, or SDP says so.
    pub fn captured(&self) -> Option<Ntp> {
        // 16 bytes is the long form, with a clock offset after the time.
        let data = self.extension(ABS_CAPTURE_TIME_ID)?;
        if data.len() != 8 && data.len() != 16 {
            return None;
        }
        data.first_chunk().map(|b| Ntp(u64::from_be_bytes(*b)))
    }

    /// The true size, width and height in pixels, that lancam puts on a frame's first packet.
    pub fn picture_size(&self) -> Option<(u16, u16)> {
        let &[w0, w1, h0, h1] = self.extension(PICTURE_SIZE_ID)? else {
            return None;
        };
        let size = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        (size.0 > 0 && size.1 > 0).then_some(size)
    }
}

/// What a fixed header says; the writing side of [`Packet`].
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Whether a header extension follows.
    pub extension: bool,
    /// Whether this is a frame's last packet.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub seq: SeqNo,
    /// Timestamp.
    pub time: RtpTime,
    /// The source.
    pub ssrc: Ssrc,
}

impl Header {
    /// Appends the 12 bytes. No CSRC, no padding.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 0x80 | u8::from(self.extension) << 4;
        bytes[1] = u8::from(self.marker) << 7 | (self.payload_type & 0x7F);
        bytes[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.time.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// Length of a frame's first packet's extension with a capture time.
pub const FRAME_EXTENSION_LEN: usize = 20;

/// Appends the extension of a frame's first packet: the true size, and the capture time if known.
pub fn write_frame_extensions(out: &mut Vec<u8>, size: (u16, u16), captured: Option<Ntp>) {
    let start = out.len();
    out.extend_from_slice(&ONE_BYTE_PROFILE.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    // RFC 8285 §4.2: identifier, then length minus one, in one byte.
    if let Some(Ntp(time)) = captured {
        out.push(ABS_CAPTURE_TIME_ID << 4 | 7);
        out.extend_from_slice(&time.to_be_bytes());
    }
    out.push(PICTURE_SIZE_ID << 4 | 3);
    out.extend_from_slice(&size.0.to_be_bytes());
    out.extend_from_slice(&size.1.to_be_bytes());
    // RFC 3550 §5.3.1: whole words, counted without the first.
    let words = (out.len() - start).div_ceil(4);
    out.resize(start + 4 * words, 0);
    out[start + 3] = (words - 1) as u8; // At most 4.
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            extension: false,
            marker: true,
            payload_type: 26,
            seq: SeqNo(0xFFFE),
            time: RtpTime(0xDEAD_BEEF),
            ssrc: Ssrc(0x0102_0304),
        }
    }

    #[test]
    fn the_extension_is_as_long_as_is_counted() {
        let mut bytes = Vec::new();
        write_frame_extensions(&mut bytes, (1, 2), Some(Ntp(3)));
        assert_eq!(bytes.len(), FRAME_EXTENSION_LEN);
    }

    #[test]
    fn what_is_written_reads_back_here_and_in_another_implementation() {
        let mut bytes = Vec::new();
        Header {
            extension: true,
            ..header()
        }
        .write(&mut bytes);
        write_frame_extensions(&mut bytes, (322, 242), Some(Ntp(0x1122_3344_5566_7788)));
        bytes.extend_from_slice(b"payload");
        let p = Packet::parse(&bytes).unwrap();
        assert!(p.marker());
        assert_eq!(p.payload_type(), 26);
        assert_eq!(
            (p.seq(), p.time(), p.ssrc()),
            (SeqNo(0xFFFE), RtpTime(0xDEAD_BEEF), Ssrc(0x0102_0304))
        );
        assert_eq!(p.picture_size(), Some((322, 242)));
        assert_eq!(p.captured(), Some(Ntp(0x1122_3344_5566_7788)));
        assert_eq!(p.payload(), b"payload");
        assert_eq!(p.header_len(), 12 + 4 + 16);

        let other = rtp_types::RtpPacket::parse(&bytes).unwrap();
        assert!(other.marker_bit());
        assert_eq!(other.sequence_number(), 0xFFFE);
        assert_eq!(other.timestamp(), 0xDEAD_BEEF);
        assert_eq!(other.ssrc(), 0x0102_0304);
        assert_eq!(other.payload(), b"payload");
        assert_eq!(other.extension().unwrap().0, 0xBEDE);
    }

    #[test]
    fn without_a_capture_time_the_size_stands_alone() {
        let mut bytes = Vec::new();
        Header {
            extension: true,
            ..header()
        }
        .write(&mut bytes);
        write_frame_extensions(&mut bytes, (3840, 2160), None);
        let p = Packet::parse(&bytes).unwrap();
        assert_eq!(p.picture_size(), Some((3840, 2160)));
        assert_eq!(p.captured(), None);
        assert!(p.payload().is_empty());
    }

    #[test]
    fn csrc_and_padding_are_stepped_over() {
        let mut bytes = vec![0xA2, 26, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&[9; 8]);
        bytes.extend_from_slice(b"data\0\0\x03");
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), b"data");
    }

    #[test]
    fn what_reaches_past_the_end_is_refused() {
        let base = [0x80u8, 26, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let with = |first: u8, tail: &[u8]| {
            let mut bytes = base.to_vec();
            bytes[0] = first;
            bytes.extend_from_slice(tail);
            Packet::parse(&bytes).err()
        };
        assert_eq!(
            Packet::parse(&base[..11]).err(),
            Some(InvalidHeader::Short(11))
        );
        assert_eq!(with(0x40, b""), Some(InvalidHeader::Version(1)));
        let truncated = |need, have| Some(InvalidHeader::Truncated { need, have });
        assert_eq!(with(0x81, &[0; 3]), truncated(16, 15));
        assert_eq!(with(0x90, &[0xBE, 0xDE, 0]), truncated(16, 15));
        assert_eq!(with(0x90, &[0xBE, 0xDE, 0, 1, 0]), truncated(20, 17));
        let padding = |padding, have| Some(InvalidHeader::Padding { padding, have });
        assert_eq!(with(0xA0, b""), padding(0, 0));
        assert_eq!(with(0xA0, &[1, 0]), padding(0, 2));
        assert_eq!(with(0xA0, &[1, 3]), padding(3, 2));
        assert_eq!(with(0xA0, &[1, 2]), None);
    }

    #[test]
    fn a_broken_extension_element_is_not_read() {
        // Element 1 claims 16 bytes where 3 are left.
        let bytes = [
            0x90, 26, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0, 1, 0x1F, 1, 2, 3,
        ];
        assert_eq!(Packet::parse(&bytes).unwrap().extension(1), None);
        // Another profile is no one-byte extension.
        let mut other = bytes;
        other[12] = 0x10;
        other[16] = 0x12;
        assert_eq!(Packet::parse(&other).unwrap().extension(1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_as_another_implementation_does(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80),
            rtp in any::<bool>(),
        ) {
            if rtp && !bytes.is_empty() {
                bytes[0] = 0x80 | bytes[0] & 0x3F;
            }
            let ours = Packet::parse(&bytes);
            if let Ok(p) = &ours {
                let _ = (p.captured(), p.picture_size(), p.extension(15));
            }
            let Ok(theirs) = rtp_types::RtpPacket::parse(&bytes) else { return Ok(()) };
            let ours = ours.expect("the other one reads it");
            prop_assert_eq!(ours.payload(), theirs.payload());
            prop_assert_eq!(ours.seq().0, theirs.sequence_number());
        }
    }
}
