//! Cuts a picture into RTP/JPEG packets (RFC 2435): writes headers, and says which part of the scan
//! follows each. It copies no byte of the scan and sends nothing.

use super::wire::{self, FrameHeader};
use crate::clock::Ntp;
use crate::jpeg::rebuild::EOI;
use crate::jpeg::{MAX_SCAN, Picture};
use crate::rtp::header::{Header, write_frame_extensions};
use crate::rtp::packets::MAX_PACKETS;
use crate::rtp::plan::{PacketPlan, PlannedPacket};
use crate::rtp::types::{RtpTime, SeqNo, Ssrc};

/// Smallest datagram: the first packet's headers are up to 176 bytes.
pub const MIN_DATAGRAM: usize = 256;
/// Largest UDP payload over IPv4.
const MAX_DATAGRAM: usize = 65_507;

/// Why a picture cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// RFC 2435's fragment offset ends at 16 MiB.
    #[error(
        "the frame has {0} bytes, RTP/JPEG carries {MAX_SCAN} at most: lower its size or quality"
    )]
    TooLarge(usize),
    /// More packets than a frame may have.
    #[error(
        "the frame of {bytes} bytes needs {packets} packets of {datagram} bytes, {MAX_PACKETS} are \
         allowed: use a larger MTU, or lower its size or quality"
    )]
    TooManyPackets {
        /// Length of the scan.
        bytes: usize,
        /// Packets it would take.
        packets: usize,
        /// Bytes of a datagram.
        datagram: usize,
    },
    /// There is no scan.
    #[error("the frame has no picture data")]
    Empty,
}

/// Plans the packets of one stream, frame by frame.
#[derive(Debug)]
pub struct Packetizer {
    ssrc: Ssrc,
    next_seq: SeqNo,
    max_datagram: usize,
    plan: PacketPlan,
}

impl Packetizer {
    /// A stream that starts with `first_seq`. `max_datagram` is in bytes of UDP payload, RTP header
    /// included; it is held between [`MIN_DATAGRAM`] and 65,507.
    pub fn new(ssrc: Ssrc, first_seq: SeqNo, max_datagram: usize) -> Packetizer {
        Packetizer {
            ssrc,
            next_seq: first_seq,
            max_datagram: max_datagram.clamp(MIN_DATAGRAM, MAX_DATAGRAM),
            plan: PacketPlan::default(),
        }
    }

    /// Sets the datagram size from the next frame on, when the path's MTU has changed.
    pub fn set_max_datagram(&mut self, max_datagram: usize) {
        self.max_datagram = max_datagram.clamp(MIN_DATAGRAM, MAX_DATAGRAM);
    }

    /// Bytes of a full datagram.
    pub fn max_datagram(&self) -> usize {
        self.max_datagram
    }

    /// The source.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Sequence number of the next frame's first packet.
    pub fn next_seq(&self) -> SeqNo {
        self.next_seq
    }

    /// The frame planned last.
    pub fn planned(&self) -> &PacketPlan {
        &self.plan
    }

    /// Plans the packets of `picture`: all have the same datagram size, only the last may be
    /// shorter, so that UDP GSO can cut them. Uses up their sequence numbers.
    ///
    /// # Errors
    /// If the scan is empty or too large; no sequence number is used then.
    pub fn plan(
        &mut self,
        picture: &Picture<'_>,
        time: RtpTime,
        captured: Option<Ntp>,
    ) -> Result<&PacketPlan, PlanError> {
        self.check(picture)?;
        let plan = &mut self.plan;
        plan.headers.clear();
        plan.packets.clear();
        plan.ssrc = self.ssrc;
        plan.first_seq = self.next_seq;
        plan.time = time;

        let missing = missing_eoi(picture.scan);
        let mut offset = 0;
        while offset < picture.scan.len() {
            offset += self.add_packet(picture, captured, offset, &[]);
        }
        if !missing.is_empty() {
            // A packet of its own, of headers only, so that the scan is not copied.
            self.add_packet(picture, captured, offset, missing);
        }
        let plan = &mut self.plan;
        // RFC 2435 §3: "The RTP marker bit MUST be set in the last packet of a frame."
        if let Some(last) = plan.packets.last() {
            plan.headers[last.header_start as usize + 1] |= 0x80;
        }
        Ok(plan)
    }

    /// Adds a packet: its headers, the bytes `before` the scan, and the scan from `offset` on, as
    /// much as fits. Returns how much does.
    fn add_packet(
        &mut self,
        picture: &Picture<'_>,
        captured: Option<Ntp>,
        offset: usize,
        before: &[u8],
    ) -> usize {
        let plan = &mut self.plan;
        let (start, is_first) = (plan.headers.len(), offset == 0);
        let size = (picture.width, picture.height);
        let header = Header {
            extension: is_first,
            marker: false,
            payload_type: wire::PAYLOAD_TYPE,
            seq: self.next_seq,
            time: plan.time,
            ssrc: self.ssrc,
        };
        header.write(&mut plan.headers);
        if is_first {
            write_frame_extensions(&mut plan.headers, size, captured);
        }
        // Below 2^24 by `check`.
        wire::write_main(&mut plan.headers, &frame_header(picture), offset as u32);
        if is_first {
            wire::write_tables(&mut plan.headers, &picture.quant);
        }
        plan.headers.extend_from_slice(before);
        let header_len = plan.headers.len() - start;
        let payload_len = (self.max_datagram - header_len).min(picture.scan.len() - offset);
        plan.packets.push(PlannedPacket {
            header_start: start as u32,
            header_len: header_len as u32,
            payload_start: offset as u32,
            payload_len: payload_len as u32,
        });
        self.next_seq = self.next_seq.plus(1);
        payload_len
    }

    fn check(&self, picture: &Picture<'_>) -> Result<(), PlanError> {
        let missing = missing_eoi(picture.scan);
        let bytes = picture.scan.len() + missing.len();
        if bytes == 0 {
            return Err(PlanError::Empty);
        }
        if bytes > MAX_SCAN {
            return Err(PlanError::TooLarge(bytes));
        }
        let mut header_len = crate::rtp::header::HEADER_LEN + wire::MAIN_LEN;
        if picture.restart_interval != 0 {
            header_len += wire::RESTART_LEN;
        }
        // One packet more for what the extension and the tables take from the first, and one for
        // EOI.
        let packets = bytes.div_ceil(self.max_datagram - header_len) + 1 + missing.len() / 2;
        if packets > MAX_PACKETS {
            return Err(PlanError::TooManyPackets {
                bytes,
                packets,
                datagram: self.max_datagram,
            });
        }
        Ok(())
    }
}

fn frame_header(picture: &Picture<'_>) -> FrameHeader {
    let (width8, height8) = wire::size_in_blocks((picture.width, picture.height));
    FrameHeader {
        sampling: picture.sampling,
        q: 255,
        width8,
        height8,
        restart_interval: picture.restart_interval,
    }
}

/// The EOI marker where it must be added to a scan that comes without. RFC 2435 §3.1.9 leaves it to
/// the sender, and receivers add it themselves; but GStreamer takes either byte at its place for
/// the marker and adds none.
fn missing_eoi(scan: &[u8]) -> &'static [u8] {
    match scan {
        [.., 0xff, 0xd9] => &[],
        [.., 0xff, _] | [.., 0xd9] => &EOI,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Payload, Tables};
    use super::*;
    use crate::jpeg::Sampling;
    use crate::rtp::header::Packet;

    fn picture(scan: &[u8]) -> Picture<'_> {
        Picture {
            width: 322,
            height: 242,
            sampling: Sampling::Yuv420,
            restart_interval: 0,
            quant: std::array::from_fn(|i| i as u8 + 1),
            scan,
        }
    }

    fn datagrams(plan: &PacketPlan, scan: &[u8]) -> Vec<Vec<u8>> {
        (0..plan.packets.len())
            .map(|i| {
                let (header, payload) = plan.parts(i, scan);
                [header, payload].concat()
            })
            .collect()
    }

    #[test]
    fn all_datagrams_are_equal_but_the_last() {
        let scan: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        for restart_interval in [0, 20] {
            let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(65_534), 1472);
            let picture = Picture {
                restart_interval,
                ..picture(&scan)
            };
            let plan = packetizer
                .plan(&picture, RtpTime(90), Some(Ntp(5)))
                .unwrap();
            assert_eq!(
                (plan.ssrc, plan.first_seq, plan.time),
                (Ssrc(7), SeqNo(65_534), RtpTime(90))
            );
            let sent = datagrams(plan, &scan);
            let (last, full) = sent.split_last().unwrap();
            assert!(full.iter().all(|d| d.len() == 1472));
            assert!(last.len() <= 1472);
            let mut put_together = Vec::new();
            for (i, d) in sent.iter().enumerate() {
                let p = Packet::parse(d).unwrap();
                assert_eq!(p.seq(), SeqNo(65_534).plus(i as u16));
                assert_eq!(
                    (p.time(), p.ssrc(), p.payload_type()),
                    (RtpTime(90), Ssrc(7), 26)
                );
                assert_eq!(p.marker(), i + 1 == sent.len());
                assert_eq!(p.picture_size(), (i == 0).then_some((322, 242)));
                assert_eq!(p.captured(), (i == 0).then_some(Ntp(5)));
                let payload = Payload::parse(p.payload()).unwrap();
                assert_eq!(payload.offset as usize, put_together.len());
                assert_eq!(payload.header.restart_interval, restart_interval);
                assert_eq!((payload.header.width8, payload.header.height8), (41, 31));
                match payload.tables {
                    Tables::Given(quant) => assert!(i == 0 && quant == picture.quant),
                    _ => assert!(i > 0),
                }
                put_together.extend_from_slice(payload.scan);
            }
            assert_eq!(put_together, scan);
            assert_eq!(packetizer.next_seq(), SeqNo(65_534).plus(sent.len() as u16));
        }
    }

    #[test]
    fn a_camera_with_restart_markers_gets_restart_headers() {
        // A receiver that knows nothing of them decodes C920-class cameras' frames to noise.
        let scan = [1; 100];
        let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(0), 1472);
        let picture = Picture {
            restart_interval: 20,
            ..picture(&scan)
        };
        let plan = packetizer.plan(&picture, RtpTime(0), None).unwrap();
        let sent = datagrams(plan, &scan);
        let payload = Packet::parse(&sent[0]).unwrap().payload();
        assert_eq!(payload[4], 65);
        assert_eq!(payload[8..12], [0, 20, 0xFF, 0xFF]);
    }

    #[test]
    fn one_packet_is_first_and_last() {
        let scan = [1; 10];
        let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(0), 1472);
        let plan = packetizer.plan(&picture(&scan), RtpTime(0), None).unwrap();
        assert_eq!(plan.packets.len(), 1);
        let sent = datagrams(plan, &scan);
        assert!(Packet::parse(&sent[0]).unwrap().marker());
    }

    #[test]
    fn eoi_comes_from_the_source_or_in_a_packet_of_its_own_where_its_lack_misleads() {
        let plain = vec![1; 500];
        for (end, added) in [
            (&[0xff, 0xd9][..], false),
            (&[7, 7], false),
            (&[7, 0xd9], true),
            (&[0xff, 0], true),
        ] {
            let scan = [&plain, end].concat();
            let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(0), 256);
            let plan = packetizer.plan(&picture(&scan), RtpTime(0), None).unwrap();
            let sent = datagrams(plan, &scan);
            assert_eq!(sent.len(), 3 + usize::from(added), "{end:?}");
            let payloads = sent.iter().map(|d| Packet::parse(d).unwrap().payload());
            let payloads: Vec<_> = payloads.map(|p| Payload::parse(p).unwrap()).collect();
            let whole = payloads.iter().map(|p| p.scan).collect::<Vec<_>>().concat();
            let eoi: &[u8] = if added { &EOI } else { &[] };
            assert_eq!(whole, [&scan[..], eoi].concat());
            let last = payloads.last().unwrap();
            assert_eq!(last.offset as usize + last.scan.len(), whole.len());
            assert!(Packet::parse(sent.last().unwrap()).unwrap().marker());
            assert_eq!(packetizer.next_seq(), SeqNo(sent.len() as u16));
        }
    }

    #[test]
    fn sizes_over_2040_are_0_by_0_in_the_header_and_true_in_the_extension() {
        let scan = [1; 10];
        let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(0), 1472);
        let picture = Picture {
            width: 3840,
            height: 2160,
            ..picture(&scan)
        };
        let plan = packetizer.plan(&picture, RtpTime(0), None).unwrap();
        let sent = datagrams(plan, &scan);
        let p = Packet::parse(&sent[0]).unwrap();
        assert_eq!(p.payload()[6..8], [0, 0]);
        assert_eq!(p.picture_size(), Some((3840, 2160)));
    }

    #[test]
    fn what_rfc_2435_cannot_carry_is_refused_and_uses_no_number() {
        let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(9), 1472);
        let scan = vec![1; MAX_SCAN + 1];
        let refused = packetizer.plan(&picture(&scan), RtpTime(0), None).err();
        assert_eq!(refused, Some(PlanError::TooLarge(MAX_SCAN + 1)));
        let refused = packetizer.plan(&picture(&[]), RtpTime(0), None).err();
        assert_eq!(refused, Some(PlanError::Empty));
        let whole = picture(&scan[..MAX_SCAN]);
        assert!(packetizer.plan(&whole, RtpTime(0), None).is_ok());
        packetizer.set_max_datagram(0);
        assert_eq!(packetizer.max_datagram(), MIN_DATAGRAM);
        let next = packetizer.next_seq();
        let refused = packetizer.plan(&whole, RtpTime(0), None).err();
        assert!(matches!(refused, Some(PlanError::TooManyPackets { .. })));
        assert_eq!(packetizer.next_seq(), next);
    }

    #[test]
    fn the_plan_allocates_nothing_once_it_has_grown() {
        let scan = vec![1; 250_000];
        let mut packetizer = Packetizer::new(Ssrc(7), SeqNo(0), 1472);
        let plan = packetizer.plan(&picture(&scan), RtpTime(0), None).unwrap();
        let places = (plan.headers.as_ptr(), plan.packets.as_ptr());
        for i in 1..5 {
            let plan = packetizer.plan(&picture(&scan), RtpTime(i), None).unwrap();
            assert_eq!((plan.headers.as_ptr(), plan.packets.as_ptr()), places);
        }
    }
}
