//! RTCP's bytes: compound packets of reports, descriptions, goodbyes (RFC 3550 §6.4 to §6.7),
//! generic NACKs (RFC 4585 §6.2.1) and lancam's own APP packet. The `rtcp-types` crate knows the
//! formats; here is checked beforehand what it trusts: lengths and padding.

use rtcp_types::prelude::*;
use rtcp_types::{
    App, Bye, CompoundBuilder, Nack, NackBuilder, Packet, ReceiverReport, Sdes, SdesChunk,
    SdesItem, SenderReport, TransportFeedback,
};

use crate::clock::Ntp;
use crate::rtp::types::{RtpTime, SeqNo, Ssrc};
use crate::text::is_invisible;

/// Name of lancam's APP packet.
const APP_NAME: &str = "LNCM";
/// Its data: see docs/PROTOCOL.md.
const APP_LEN: usize = 24;
/// "Not known" as a delay.
const NO_DELAY: u16 = u16::MAX;

/// No sender of reports makes longer ones; those that do are refused.
pub const MAX_LEN: usize = 8_192;
/// Missing packets taken from one NACK, and written into one.
pub const MAX_NACKED: usize = 1_024;
/// Characters kept of a name.
const MAX_NAME: usize = 64;

/// What a sender reports of itself. RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall time.
    pub ntp: Ntp,
    /// The same moment on the stream's clock.
    pub time: RtpTime,
    /// Packets sent since the start; wraps.
    pub packets: u32,
    /// Payload bytes sent since the start; wraps.
    pub octets: u32,
}

/// What a receiver reports of one source. RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The sender.
    pub ssrc: Ssrc,
    /// Share of packets lost since the report before, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the start, 24 bits; negative where duplicates were counted as received.
    pub lost: i32,
    /// Highest sequence number received, with the count of wraps in the upper half.
    pub highest: u32,
    /// Interarrival jitter in RTP ticks.
    pub jitter: u32,
    /// Middle of the last sender report's NTP time; 0: none came.
    pub last_sr: u32,
    /// Time since that came, in 65536ths of a second.
    pub since_last_sr: u32,
}

/// What only lancam's viewers report: lancam's APP packet. Totals since the viewer began; they stop
/// at their largest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameReport {
    /// The sender that it is about.
    pub media: Ssrc,
    /// Frames that arrived whole without repair.
    pub whole: u32,
    /// Frames made whole by repair or retransmission.
    pub repaired: u32,
    /// Frames shown in part or given up.
    pub lost: u32,
    /// Packets that neither came nor were brought back.
    pub missing: u32,
    /// Capture-to-screen delay in tenths of a millisecond, median, at most 6553.4 ms; `None`: not
    /// known.
    pub delay: Option<u16>,
}

/// Who somebody is. RFC 3550 §6.5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `user@host`, the same over restarts. RFC 3550 §6.5.1.
    pub cname: String,
    /// What people call it; empty: unknown.
    pub name: String,
    /// The program; empty: unknown.
    pub tool: String,
}

/// One statement of a compound packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A sender reports.
    Sender {
        /// Who.
        from: Ssrc,
        /// What it reports of itself.
        info: SenderInfo,
    },
    /// Somebody who does not send reports.
    Receiver {
        /// Who.
        from: Ssrc,
    },
    /// What one of those receives of a sender.
    Block {
        /// Who receives.
        from: Ssrc,
        /// What.
        block: ReportBlock,
    },
    /// Who somebody is. Without control characters, at most 64 characters each.
    Description {
        /// Whose description.
        from: Ssrc,
        /// It.
        description: Description,
    },
    /// Somebody leaves.
    Bye {
        /// Who.
        from: Ssrc,
    },
    /// Retransmission is requested. RFC 4585 §6.2.1.
    Nack {
        /// Who requests it.
        from: Ssrc,
        /// Whose packets.
        media: Ssrc,
        /// Which; at most [`MAX_NACKED`].
        missing: Vec<SeqNo>,
    },
    /// A lancam viewer's frames.
    Frames {
        /// Whose.
        from: Ssrc,
        /// Them.
        report: FrameReport,
    },
}

/// A datagram that is no RTCP, or none that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTCP")]
pub struct NotRtcp;

/// Reads a compound packet. Packets that are unknown or contradict themselves are skipped.
///
/// # Errors
/// The datagram is no compound packet by the rules of RFC 3550 §A.2, or nothing in it is
/// understood.
pub fn parse(datagram: &[u8]) -> Result<Vec<Item>, NotRtcp> {
    let bytes = unpadded(datagram).ok_or(NotRtcp)?;
    let mut items = Vec::new();
    let mut rest = &bytes[..];
    while let Some((packet, next)) = split(rest) {
        rest = next;
        // Of other kinds not even the crate's parsing is wanted.
        if !(SenderReport::PACKET_TYPE..=TransportFeedback::PACKET_TYPE).contains(&packet[1]) {
            continue;
        }
        if let Ok(packet) = Packet::parse(packet) {
            read(&packet, &mut items);
        }
    }
    match items.is_empty() {
        true => Err(NotRtcp),
        false => Ok(items),
    }
}

/// The first packet by its length field, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, _, high, low, ..] = *bytes else {
        return None;
    };
    let len = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
    bytes.split_at_checked(len)
}

/// The checks of RFC 3550 §A.2; gives the bytes without the padding at their end, which
/// `rtcp-types` would take for NACKs, or for longer than its packet.
fn unpadded(datagram: &[u8]) -> Option<Vec<u8>> {
    // "The payload type field of the first RTCP packet in a compound packet must be equal to SR or
    // RR."
    let is_report = |kind| {
        matches!(
            kind,
            SenderReport::PACKET_TYPE | ReceiverReport::PACKET_TYPE
        )
    };
    if datagram.len() > MAX_LEN || !datagram.get(1).is_some_and(|&kind| is_report(kind)) {
        return None;
    }
    let mut bytes = datagram.to_vec();
    let mut start = 0;
    while start < bytes.len() {
        let (packet, rest) = split(&bytes[start..])?;
        let (first, len) = (packet[0], packet.len());
        if first >> 6 != 2 {
            return None;
        }
        if first & 0x20 != 0 {
            // "Padding should only be applied, if it is needed, to the last packet."
            let padding = usize::from(packet[len - 1]);
            if !rest.is_empty() || padding == 0 || padding % 4 != 0 || padding + 4 > len {
                return None;
            }
            let kept = len - padding;
            bytes.truncate(start + kept);
            bytes[start] &= !0x20;
            let words = (kept / 4 - 1) as u16;
            bytes[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
            break;
        }
        start += len;
    }
    Some(bytes)
}

fn read(packet: &Packet<'_>, items: &mut Vec<Item>) {
    match packet {
        Packet::Sr(sr) => {
            let from = Ssrc(sr.ssrc());
            let info = SenderInfo {
                ntp: Ntp(sr.ntp_timestamp()),
                time: RtpTime(sr.rtp_timestamp()),
                packets: sr.packet_count(),
                octets: sr.octet_count(),
            };
            items.push(Item::Sender { from, info });
            items.extend(sr.report_blocks().map(|b| block(from, &b)));
        }
        Packet::Rr(rr) => {
            let from = Ssrc(rr.ssrc());
            items.push(Item::Receiver { from });
            items.extend(rr.report_blocks().map(|b| block(from, &b)));
        }
        Packet::Sdes(sdes) => items.extend(sdes.chunks().map(describe)),
        Packet::Bye(bye) => items.extend(bye.ssrcs().map(|ssrc| Item::Bye { from: Ssrc(ssrc) })),
        Packet::TransportFeedback(feedback) => {
            let Ok(nack) = feedback.parse_fci::<Nack<'_>>() else {
                return;
            };
            items.push(Item::Nack {
                from: Ssrc(feedback.sender_ssrc()),
                media: Ssrc(feedback.media_ssrc()),
                missing: nack.entries().take(MAX_NACKED).map(SeqNo).collect(),
            });
        }
        Packet::App(app) if app.name() == APP_NAME.as_bytes() => {
            items.extend(read_frames(app.data()).map(|report| Item::Frames {
                from: Ssrc(app.ssrc()),
                report,
            }));
        }
        _ => {}
    }
}

fn block(from: Ssrc, b: &rtcp_types::ReportBlock<'_>) -> Item {
    Item::Block {
        from,
        block: ReportBlock {
            ssrc: Ssrc(b.ssrc()),
            fraction_lost: b.fraction_lost(),
            // 24 bits with their sign.
            lost: (b.cumulative_lost() << 8) as i32 >> 8,
            highest: b.extended_sequence_number(),
            jitter: b.interarrival_jitter(),
            last_sr: b.last_sender_report_timestamp(),
            since_last_sr: b.delay_since_last_sender_report_timestamp(),
        },
    }
}

fn describe(chunk: &SdesChunk<'_>) -> Item {
    let mut description = Description::default();
    for item in chunk.items() {
        let field = match item.type_() {
            SdesItem::CNAME => &mut description.cname,
            SdesItem::NAME => &mut description.name,
            SdesItem::TOOL => &mut description.tool,
            _ => continue,
        };
        let text = String::from_utf8_lossy(item.value());
        // It is shown on terminals and pages.
        *field = (text.chars().filter(|&c| !is_invisible(c)))
            .take(MAX_NAME)
            .collect();
    }
    Item::Description {
        from: Ssrc(chunk.ssrc()),
        description,
    }
}

/// Longer data are a later version's; its first bytes stay what they are.
fn read_frames(data: &[u8]) -> Option<FrameReport> {
    let data = data.first_chunk::<APP_LEN>()?;
    let word = |i: usize| u32::from_be_bytes([data[i], data[i + 1], data[i + 2], data[i + 3]]);
    let delay = u16::from_be_bytes([data[20], data[21]]);
    Some(FrameReport {
        media: Ssrc(word(0)),
        whole: word(4),
        repaired: word(8),
        lost: word(12),
        missing: word(16),
        delay: (delay != NO_DELAY).then_some(delay),
    })
}

fn write_frames(report: &FrameReport) -> [u8; APP_LEN] {
    let mut data = [0; APP_LEN];
    let words = [
        report.media.0,
        report.whole,
        report.repaired,
        report.lost,
        report.missing,
    ];
    for (place, word) in data.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    let delay = report.delay.map_or(NO_DELAY, |d| d.min(NO_DELAY - 1));
    data[20..22].copy_from_slice(&delay.to_be_bytes());
    data
}

/// A compound packet to write: a report and what else there is to say.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    /// Who writes.
    pub from: Ssrc,
    /// What a sender reports of itself; `None`: a receiver report.
    pub info: Option<SenderInfo>,
    /// What is received, and from whom.
    pub block: Option<ReportBlock>,
    /// Who writes, in words. RFC 3550 §6.1: in each compound packet.
    pub description: &'a Description,
    /// A lancam viewer's frames.
    pub frames: Option<FrameReport>,
    /// Packets to request by NACK, and whose; at most [`MAX_NACKED`] are.
    pub nack: Option<(Ssrc, &'a [SeqNo])>,
    /// The writer leaves.
    pub bye: bool,
}

impl Compound<'_> {
    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let from = self.from.0;
        let blocks = self.block.iter().map(|b| {
            rtcp_types::ReportBlock::builder(b.ssrc.0)
                .fraction_lost(b.fraction_lost)
                .cumulative_lost(b.lost as u32 & 0x00ff_ffff)
                .extended_sequence_number(b.highest)
                .interarrival_jitter(b.jitter)
                .last_sender_report_timestamp(b.last_sr)
                .delay_since_last_sender_report_timestamp(b.since_last_sr)
        });
        let frames = self.frames.as_ref().map(write_frames);
        let nack = self.nack.map(|(media, missing)| (media, nack(missing)));
        let mut compound = CompoundBuilder::default();
        compound = match self.info {
            Some(info) => compound.add_packet(
                blocks.fold(
                    SenderReport::builder(from)
                        .ntp_timestamp(info.ntp.0)
                        .rtp_timestamp(info.time.0)
                        .packet_count(info.packets)
                        .octet_count(info.octets),
                    |report, block| report.add_report_block(block),
                ),
            ),
            None => {
                compound.add_packet(blocks.fold(ReceiverReport::builder(from), |report, block| {
                    report.add_report_block(block)
                }))
            }
        };
        compound = compound.add_packet(Sdes::builder().add_chunk(self.chunk()));
        if let Some(data) = &frames {
            compound = compound.add_packet(App::builder(from, APP_NAME).data(data));
        }
        if let Some((media, nack)) = &nack {
            compound = compound.add_packet(
                TransportFeedback::builder(nack)
                    .sender_ssrc(from)
                    .media_ssrc(media.0),
            );
        }
        if self.bye {
            compound = compound.add_packet(Bye::builder().add_source(from));
        }
        // Nothing in it is too long: a name has at most 255 bytes, a NACK MAX_NACKED entries.
        let mut bytes = vec![0; compound.calculate_size().unwrap_or(0)];
        let len = compound.write_into(&mut bytes).unwrap_or(0);
        bytes.truncate(len);
        bytes
    }

    fn chunk(&self) -> rtcp_types::SdesChunkBuilder<'_> {
        let texts = [
            (SdesItem::CNAME, &self.description.cname),
            (SdesItem::NAME, &self.description.name),
            (SdesItem::TOOL, &self.description.tool),
        ];
        let known = texts.iter().filter(|(_, text)| !text.is_empty());
        known.fold(SdesChunk::builder(self.from.0), |chunk, (kind, text)| {
            chunk.add_item(SdesItem::builder(*kind, within(text, 255)))
        })
    }
}

fn nack(missing: &[SeqNo]) -> NackBuilder {
    let missing = missing.iter().take(MAX_NACKED);
    missing.fold(Nack::builder(), |nack, seq| nack.add_rtp_sequence(seq.0))
}

/// As much of `text` as `most` bytes hold.
fn within(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn description() -> Description {
        Description {
            cname: "lancam@porch".to_owned(),
            name: "porch".to_owned(),
            tool: "lancam view".to_owned(),
        }
    }

    fn report(description: &Description) -> Compound<'_> {
        Compound {
            from: Ssrc(7),
            info: None,
            block: None,
            description,
            frames: None,
            nack: None,
            bye: false,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let description = description();
        let info = SenderInfo {
            ntp: Ntp(0x0123_4567_89ab_cdef),
            time: RtpTime(90_000),
            packets: 12,
            octets: 3_456,
        };
        let block = ReportBlock {
            ssrc: Ssrc(9),
            fraction_lost: 128,
            lost: -2,
            highest: 0x1_0003,
            jitter: 77,
            last_sr: 0x4567_89ab,
            since_last_sr: 65_536,
        };
        let frames = FrameReport {
            media: Ssrc(9),
            whole: 100,
            repaired: 20,
            lost: 3,
            missing: 5,
            delay: Some(184),
        };
        let missing = [SeqNo(3), SeqNo(4), SeqNo(20), SeqNo(65_535)];
        let bytes = Compound {
            info: Some(info),
            block: Some(block),
            frames: Some(frames),
            nack: Some((Ssrc(9), &missing)),
            bye: true,
            ..report(&description)
        }
        .to_bytes();
        let from = Ssrc(7);
        assert_eq!(
            parse(&bytes).unwrap(),
            [
                Item::Sender { from, info },
                Item::Block { from, block },
                Item::Description { from, description },
                Item::Frames {
                    from,
                    report: frames
                },
                Item::Nack {
                    from,
                    media: Ssrc(9),
                    missing: missing.to_vec()
                },
                Item::Bye { from },
            ]
        );
    }

    #[test]
    fn a_viewer_that_has_seen_nothing_says_that_it_is_there() {
        let description = description();
        let bytes = report(&description).to_bytes();
        let from = Ssrc(7);
        assert_eq!(
            parse(&bytes).unwrap(),
            [
                Item::Receiver { from },
                Item::Description { from, description }
            ]
        );
    }

    #[test]
    fn names_cannot_upset_a_terminal_and_are_short() {
        let description = Description {
            cname: format!("a\u{1b}[2J\u{202e}{}", "ü".repeat(300)),
            ..Description::default()
        };
        let items = parse(&report(&description).to_bytes()).unwrap();
        let Item::Description { description, .. } = &items[1] else {
            panic!("{items:?}");
        };
        assert_eq!(description.cname, format!("a[2J{}", "ü".repeat(60)));
    }

    #[test]
    fn an_unknown_delay_and_one_beyond_the_scale() {
        let mut frames = FrameReport {
            delay: Some(u16::MAX),
            ..FrameReport::default()
        };
        assert_eq!(
            read_frames(&write_frames(&frames)).unwrap().delay,
            Some(65_534)
        );
        frames.delay = None;
        assert_eq!(read_frames(&write_frames(&frames)), Some(frames));
        assert_eq!(read_frames(&write_frames(&frames)[..23]), None);
    }

    #[test]
    fn padding_is_taken_off_or_refused() {
        let description = description();
        let missing = [SeqNo(1)];
        let mut bytes = Compound {
            nack: Some((Ssrc(9), &missing)),
            ..report(&description)
        }
        .to_bytes();
        let expected = parse(&bytes);
        // The NACK is the last packet: 16 bytes, length field 3.
        let start = bytes.len() - 16;
        bytes.extend([0, 0, 0, 4]);
        bytes[start] |= 0x20;
        bytes[start + 3] = 4;
        assert_eq!(parse(&bytes), expected);
        for padding in [0, 3, 20, 255] {
            *bytes.last_mut().unwrap() = padding;
            assert_eq!(parse(&bytes), Err(NotRtcp), "{padding}");
        }
    }

    #[test]
    fn what_is_no_rtcp() {
        let description = description();
        let good = report(&description).to_bytes();
        for end in 0..good.len() {
            assert_eq!(parse(&good[..end]).is_ok(), end == 8, "{end}");
        }
        let mut wrong_version = good.clone();
        wrong_version[0] = 0x40;
        assert_eq!(parse(&wrong_version), Err(NotRtcp));
        // A media packet on the wrong port.
        assert_eq!(parse(&[0x80, 26, 0, 1, 0, 0, 0, 0]), Err(NotRtcp));
        // A goodbye alone is no compound packet.
        assert_eq!(parse(&[0x81, 203, 0, 1, 0, 0, 0, 7]), Err(NotRtcp));
        assert_eq!(parse(&vec![0; MAX_LEN + 4]), Err(NotRtcp));
    }

    proptest! {
        #[test]
        fn nacks_come_back(missing in proptest::collection::btree_set(any::<u16>(), 1..200)) {
            let description = description();
            let list: Vec<SeqNo> = missing.iter().copied().map(SeqNo).collect();
            let bytes = Compound { nack: Some((Ssrc(9), &list)), ..report(&description) }.to_bytes();
            let items = parse(&bytes).unwrap();
            let Some(Item::Nack { missing: read, .. }) = items.last() else { panic!("{items:?}") };
            prop_assert_eq!(read, &list);
        }

        #[test]
        fn hostile_packets_do_no_harm(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            kinds in proptest::collection::vec((200u8..=207, 0u16..20), 1..10),
        ) {
            let _ = parse(&bytes);
            // The same with headers that hold.
            let mut start = 0;
            for (kind, words) in kinds {
                let Some(header) = bytes.get_mut(start..start + 4) else { break };
                header[0] = 0x80 | (header[0] & 0x1f);
                header[1] = if start == 0 { 201 } else { kind };
                header[2..4].copy_from_slice(&words.to_be_bytes());
                start += (usize::from(words) + 1) * 4;
            }
            bytes.truncate(start);
            if let Ok(items) = parse(&bytes) {
                prop_assert!(items.len() <= bytes.len());
            }
        }
    }
}
