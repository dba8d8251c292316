//! The payload formats. This is the one place where the depacketizer meets them: another format is
//! a folder beside [`super::jpeg`] and an arm in each `match` here.

use std::fmt;

use super::header::Packet;
use super::jpeg::wire::{PAYLOAD_TYPE, Payload};
use super::jpeg::{self, FrameBuffer};
use super::packets::{Arrived, Limits, Outcome, Packets, Placed, ReceivedPacket};
use crate::jpeg::{MAX_SCAN, Picture};

/// The default payload type.
pub(super) const DEFAULT_TYPE: u8 = PAYLOAD_TYPE;
/// The largest frame that any format can carry, in bytes.
pub(super) const MAX_DATA: usize = MAX_SCAN;

/// What a datagram of another payload type contains, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherFormat {
    /// RTP with another payload type.
    Rtp(u8),
    /// An MPEG transport stream without RTP: packets of 188 bytes. ISO/IEC 13818-1 §2.4.3.2.
    MpegTs,
    /// Neither.
    Unknown,
}

impl OtherFormat {
    pub(super) fn of(datagram: &[u8]) -> OtherFormat {
        let is_ts = datagram.first() == Some(&0x47) && datagram.len() % 188 == 0;
        match Packet::parse(datagram) {
            Ok(packet) => OtherFormat::Rtp(packet.payload_type()),
            Err(_) if is_ts => OtherFormat::MpegTs,
            Err(_) => OtherFormat::Unknown,
        }
    }
}

impl fmt::Display for OtherFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // RFC 3551 §6, table 5.
            OtherFormat::Rtp(33) => f.write_str("an MPEG transport stream (payload type 33)"),
            OtherFormat::Rtp(kind @ 96..=127) => {
                write!(f, "RTP of payload type {kind}, often H.264 or H.265")
            }
            OtherFormat::Rtp(kind) => write!(f, "RTP of payload type {kind}"),
            OtherFormat::MpegTs => f.write_str("an MPEG transport stream"),
            OtherFormat::Unknown => f.write_str("something that is not RTP"),
        }
    }
}

/// The parsed payload of one packet.
#[derive(Debug)]
pub(super) enum Fragment<'a> {
    Jpeg(Payload<'a>),
}

/// What a format remembers of one source from frame to frame.
#[derive(Debug)]
pub(super) enum Stream {
    Jpeg(jpeg::Stream),
}

/// A frame, whole or with gaps, which the depacketizer assembles, lends out and takes back.
#[derive(Debug)]
pub enum ReceivedFrame {
    /// A JPEG. RFC 2435.
    Jpeg(Box<FrameBuffer>),
}

impl Stream {
    /// Of the default format; `size`: the true size by the SDP.
    pub(super) fn new(size: Option<(u16, u16)>) -> Stream {
        Stream::Jpeg(jpeg::Stream::new(size))
    }

    /// Takes another true size by the SDP.
    pub(super) fn describe(&mut self, size: Option<(u16, u16)>) {
        match self {
            Stream::Jpeg(stream) => stream.describe(size),
        }
    }

    /// Parses a packet's payload; `None`: it is not of this format.
    pub(super) fn read<'a>(&self, packet: &Packet<'a>) -> Option<Fragment<'a>> {
        match self {
            Stream::Jpeg(_) => Payload::parse(packet.payload()).ok().map(Fragment::Jpeg),
        }
    }

    /// Forgets the previous source.
    pub(super) fn forget(&mut self) {
        match self {
            Stream::Jpeg(stream) => stream.forget(),
        }
    }

    /// Begins a frame, in the memory of `spare` if there is one.
    pub(super) fn begin(
        &self,
        spare: Option<ReceivedFrame>,
        p: &Arrived<'_>,
        fragment: &Fragment<'_>,
    ) -> ReceivedFrame {
        match (spare, fragment) {
            (spare, Fragment::Jpeg(payload)) => {
                let mut frame = match spare {
                    Some(ReceivedFrame::Jpeg(frame)) => frame,
                    None => Box::default(),
                };
                frame.reset(p.now, p.packet.time(), payload.header);
                ReceivedFrame::Jpeg(frame)
            }
        }
    }

    /// Writes a packet's payload to its place.
    pub(super) fn place(
        &mut self,
        frame: &mut ReceivedFrame,
        p: &Arrived<'_>,
        fragment: &Fragment<'_>,
        limits: Limits,
    ) -> Placed {
        match (self, frame, fragment) {
            (Stream::Jpeg(stream), ReceivedFrame::Jpeg(frame), Fragment::Jpeg(payload)) => {
                stream.place(frame, p, payload, limits)
            }
        }
    }

    /// What is known of a JPEG while it arrives.
    pub(super) fn arriving<'a>(&self, frame: &'a mut ReceivedFrame) -> Option<Picture<'a>> {
        match (self, frame) {
            (Stream::Jpeg(stream), ReceivedFrame::Jpeg(frame)) => stream.arriving(frame),
        }
    }

    /// Finishes a frame; one with gaps only if `may_be_partial`.
    pub(super) fn finish(&self, frame: &mut ReceivedFrame, may_be_partial: bool) -> Outcome {
        match (self, frame) {
            (Stream::Jpeg(stream), ReceivedFrame::Jpeg(frame)) => {
                stream.finish(frame, may_be_partial)
            }
        }
    }
}

impl From<Box<FrameBuffer>> for ReceivedFrame {
    fn from(frame: Box<FrameBuffer>) -> ReceivedFrame {
        ReceivedFrame::Jpeg(frame)
    }
}

impl ReceivedFrame {
    pub(super) fn packets(&self) -> &Packets {
        match self {
            ReceivedFrame::Jpeg(frame) => frame.received_packets(),
        }
    }

    /// The packets that have arrived, in order.
    pub(super) fn received(&self) -> impl Iterator<Item = ReceivedPacket<'_>> {
        match self {
            ReceivedFrame::Jpeg(frame) => frame.received(),
        }
    }

    /// Bytes of its data.
    pub(super) fn data_len(&self) -> usize {
        self.packets().data_end()
    }
}
