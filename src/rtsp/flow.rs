//! What one unicast client is sent: RTP packets of the newest frames, and RTCP sender reports. Each
//! client gets its own synchronization source, with its own numbering (RFC 3550 §5.1).

use std::time::Duration;

use super::message::FRAME_HEAD;
use crate::clock::{Mono, Ntp};
use crate::jpeg::Picture;
use crate::rtp::jpeg::PlanError;
use crate::rtp::rtcp::Description;
use crate::rtp::rtcp::wire::{Compound, SenderInfo};
use crate::rtp::{PacketPlan, Packetizer, RtpTime, SeqNo, Ssrc};

/// Most bytes in a packet. The path to the client, unlike the group's network, is unknown and may
/// be a tunnel.
const DATAGRAM: usize = 1400;
/// Time from one sender report to the next. RFC 3550 §6.2: the recommended minimum.
const REPORT_PERIOD: Duration = Duration::from_secs(5);
/// The shortest step of a timestamp: no two frames have the same one.
const TICK: Duration = Duration::from_nanos(1_000_000_000 / RtpTime::RATE + 1);

/// One client's packets.
#[derive(Debug)]
pub struct Flow {
    packetizer: Packetizer,
    /// The timestamp of [`Mono`]'s start. RFC 3550 §5.1: "SHOULD be random".
    offset: u32,
    description: Description,
    captured: Mono,
    report_at: Mono,
    packets: u32,
    octets: u32,
}

impl Flow {
    /// A flow whose numbers start at random values, from the sender that `description` describes.
    pub fn new(random: fn() -> u64, description: Description) -> Flow {
        let (numbers, offset) = (random(), random());
        let ssrc = Ssrc((numbers >> 16) as u32);
        Flow {
            packetizer: Packetizer::new(ssrc, SeqNo(numbers as u16), DATAGRAM),
            offset: offset as u32,
            description,
            captured: Mono::default(),
            report_at: Mono::default(),
            packets: 0,
            octets: 0,
        }
    }

    /// The source of its packets.
    pub fn ssrc(&self) -> Ssrc {
        self.packetizer.ssrc()
    }

    /// The number of the next packet.
    pub fn next_seq(&self) -> SeqNo {
        self.packetizer.next_seq()
    }

    /// The packets of a frame taken at `captured`, which is `wall` by the wall clock.
    ///
    /// # Errors
    /// If the frame is too large for RTP/JPEG.
    pub fn frame(
        &mut self,
        picture: &Picture<'_>,
        captured: Mono,
        wall: Ntp,
    ) -> Result<&PacketPlan, PlanError> {
        self.captured = captured.max(self.captured + TICK);
        let time = self.time(self.captured);
        let plan = self.packetizer.plan(picture, time, Some(wall))?;
        let headers = plan.headers.len() - plan.packets.len() * crate::rtp::header::HEADER_LEN;
        self.packets = self.packets.wrapping_add(plan.packets.len() as u32);
        self.octets = (self.octets).wrapping_add((headers + picture.scan.len()) as u32);
        Ok(plan)
    }

    /// A sender report if one is due: with the first frame, then every five seconds.
    pub fn report(&mut self, now: Mono, wall: Ntp) -> Option<Vec<u8>> {
        if now < self.report_at {
            return None;
        }
        self.report_at = now + REPORT_PERIOD;
        Some(self.compound(now, wall, false))
    }

    /// A last report, with BYE. RFC 3550 §6.6.
    pub fn bye(&self, now: Mono, wall: Ntp) -> Vec<u8> {
        self.compound(now, wall, true)
    }

    fn compound(&self, now: Mono, wall: Ntp, bye: bool) -> Vec<u8> {
        let info = SenderInfo {
            ntp: wall,
            time: self.time(now),
            packets: self.packets,
            octets: self.octets,
        };
        let compound = Compound {
            from: self.ssrc(),
            info: Some(info),
            block: None,
            description: &self.description,
            frames: None,
            nack: None,
            bye,
        };
        compound.to_bytes()
    }

    fn time(&self, at: Mono) -> RtpTime {
        RtpTime(RtpTime::from_nanos(at.0).0.wrapping_add(self.offset))
    }
}

/// Writes the packets of a frame, each as an interleaved frame. RFC 2326 §10.12.
pub fn interleave(out: &mut Vec<u8>, channel: u8, plan: &PacketPlan, scan: &[u8]) {
    let bytes: usize = plan.packets.iter().map(|p| FRAME_HEAD + p.len()).sum();
    out.reserve(bytes);
    for (header, payload) in plan.packets(0..plan.packets.len(), scan) {
        frame_head(out, channel, header.len() + payload.len());
        out.extend_from_slice(header);
        out.extend_from_slice(payload);
    }
}

/// Writes one packet as an interleaved frame.
pub fn interleave_packet(out: &mut Vec<u8>, channel: u8, packet: &[u8]) {
    frame_head(out, channel, packet.len());
    out.extend_from_slice(packet);
}

/// Packets are shorter than [`DATAGRAM`], reports than that.
fn frame_head(out: &mut Vec<u8>, channel: u8, len: usize) {
    out.extend_from_slice(&[b'$', channel]);
    out.extend_from_slice(&(len as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::Sampling;
    use crate::rtp::header::Packet;
    use crate::rtp::rtcp::wire::{Item, parse};

    fn flow() -> Flow {
        let description = Description {
            cname: "lancam@porch".to_owned(),
            ..Description::default()
        };
        // Sequence numbers and timestamps that soon wrap.
        Flow::new(|| 0x0001_0203_0405_ffff, description)
    }

    fn picture(scan: &[u8]) -> Picture<'_> {
        Picture {
            width: 1920,
            height: 1080,
            sampling: Sampling::Yuv420,
            restart_interval: 0,
            quant: [1; 128],
            scan,
        }
    }

    /// The packets in interleaved frames, with their channels.
    fn taken_apart(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut packets = Vec::new();
        while let [b'$', channel, high, low, rest @ ..] = bytes {
            let (packet, next) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
            packets.push((*channel, packet));
            bytes = next;
        }
        assert!(bytes.is_empty());
        packets
    }

    #[test]
    fn interleaved_frames_hold_the_packets() {
        let scan: Vec<u8> = (0..10_000_u32).map(|i| i as u8 | 1).collect();
        let mut flow = flow();
        let (ssrc, first) = (flow.ssrc(), flow.next_seq());
        assert_eq!((ssrc, first), (Ssrc(0x0203_0405), SeqNo(0xffff)));
        let plan = flow
            .frame(&picture(&scan), Mono(1_000_000_000), Ntp(5))
            .unwrap();
        let mut out = Vec::new();
        interleave(&mut out, 4, plan, &scan);
        let packets = taken_apart(&out);
        assert!(packets.len() > 7 && packets.iter().all(|(_, p)| p.len() <= DATAGRAM));
        for (i, (channel, bytes)) in packets.iter().enumerate() {
            let packet = Packet::parse(bytes).unwrap();
            assert_eq!((*channel, packet.ssrc()), (4, ssrc));
            assert_eq!(packet.seq(), first.plus(i as u16));
            assert_eq!(packet.time(), RtpTime(0x0405_ffff + 90_000));
            assert_eq!(packet.marker(), i + 1 == packets.len());
        }
        let next = first.plus(packets.len() as u16);
        assert_eq!(flow.next_seq(), next);
    }

    #[test]
    fn reports_count_what_was_sent_and_come_every_five_seconds() {
        let mut flow = flow();
        let at = |ms: u64| Mono(1_000_000_000_000 + ms * 1_000_000);
        let mut octets = 0;
        let mut count = 0;
        for ms in [0, 33] {
            let plan = flow.frame(&picture(&[7; 5000]), at(ms), Ntp(5)).unwrap();
            count += plan.packets.len();
            octets += (plan.packets.iter()).map(|p| p.len() - 12).sum::<usize>();
        }
        let report = flow.report(at(40), Ntp(9)).unwrap();
        let Item::Sender { from, info } = &parse(&report).unwrap()[0] else {
            panic!("no sender report");
        };
        assert_eq!((*from, info.ntp), (flow.ssrc(), Ntp(9)));
        assert_eq!((info.packets, info.octets), (count as u32, octets as u32));
        let elapsed = info.time.distance(flow.time(at(0)));
        assert_eq!(elapsed, 3600);
        assert_eq!(flow.report(at(5039), Ntp(9)), None);
        assert!(flow.report(at(5040), Ntp(9)).is_some());
        let bye = parse(&flow.bye(at(6000), Ntp(9))).unwrap();
        assert!(bye.contains(&Item::Bye { from: flow.ssrc() }), "{bye:?}");
    }

    #[test]
    fn a_frame_that_is_not_newer_still_has_a_timestamp_of_its_own() {
        let mut flow = flow();
        let times = [5_000_000, 5_000_000, 4_000_000].map(|nanos| {
            let plan = flow.frame(&picture(&[7; 50]), Mono(nanos), Ntp(5)).unwrap();
            plan.time
        });
        assert!(
            times.windows(2).all(|t| t[1].distance(t[0]) > 0),
            "{times:?}"
        );
    }
}
