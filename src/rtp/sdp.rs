//! Session descriptions (RFC 8866): writing a lancam stream's, and reading what a viewer needs from
//! any. Not SAP, which carries them.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{
    ConnectionAddress, ExtMap, Media, MediaType, Origin, RtpMap, Session, SourceFilter,
    SourceFilterAddrType, SourceFilterAddress, SourceFilterDestination, SourceFilterMode,
    TransportProto,
};

use super::header::{ABS_CAPTURE_TIME_ID, ABS_CAPTURE_TIME_URI, PICTURE_SIZE_ID, PICTURE_SIZE_URI};
use super::jpeg::wire::{MAX_SIDE, PAYLOAD_TYPE};
use super::types::Ssrc;
use crate::text::printable;

/// Longest description that is read, in bytes.
pub const MAX_LEN: usize = 64 * 1024;
/// Characters kept of a name, a format or a session.
const MOST_CHARACTERS: usize = 128;
/// The attribute that names the port of a lancam stream's repair packets.
pub const REPAIR_ATTRIBUTE: &str = "x-lancam-repair";

/// Why a session description describes no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_LEN`].
    #[error("the session description has {0} bytes, {MAX_LEN} are allowed")]
    TooLong(usize),
    /// A line that cannot be read.
    #[error("not a session description: {0}")]
    Malformed(String),
    /// No `m=` line.
    #[error("the session description names no stream (no m= line)")]
    NoMedia,
    /// No usable `c=` line.
    #[error(
        "the session description has no usable address ({0}): a c= line with a numeric one is needed"
    )]
    NoAddress(String),
}

/// The description of a lancam stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement<'a> {
    /// Name of the stream.
    pub name: &'a str,
    /// The session's number, unique on this host; constant while the stream runs.
    pub session: u64,
    /// Grows with each change of the description.
    pub version: u64,
    /// The packets' SSRC, and its CNAME, if known. RFC 5576.
    pub ssrc: Option<(Ssrc, &'a str)>,
    /// Address of the sender.
    pub origin: IpAddr,
    /// Where the RTP packets go: a group, or a single host.
    pub destination: SocketAddr,
    /// Time to live of multicast packets.
    pub ttl: u8,
    /// The only sender of a source-specific group (232/8, ff3x::/32).
    pub source: Option<IpAddr>,
    /// Frames a second.
    pub framerate: Option<f64>,
    /// Width and height in pixels.
    pub size: Option<(u16, u16)>,
    /// Port of the repair packets, if there are any.
    pub repair_port: Option<u16>,
    /// What RTSP knows the stream by, relative to the presentation. RFC 2326 §C.1.1.
    pub control: Option<&'a str>,
}

impl Announcement<'_> {
    /// The session description, lines ended by CR LF.
    pub fn to_sdp(&self) -> String {
        let group = self.destination.ip();
        // RFC 8866 §5.7: the TTL is a MUST for IPv4 multicast, and is not allowed for IPv6.
        let ttl = group.is_multicast().then_some(self.ttl);
        let connection = sdp_types::Connection::from_ip_addr_ttl(group, ttl);
        let origin = Origin::with_ip_addr(self.session, self.version, self.origin);
        let name = if self.name.is_empty() { "-" } else { self.name };
        let mut session = Session::new(origin, name);
        session.set_connection(connection);
        session.add_attribute_with_value("tool", "lancam");
        if self.control.is_some() {
            session.add_attribute_with_value("control", "*");
        }
        session.add_media(self.media());
        let mut out = Vec::new();
        // Writing to a Vec does not fail.
        let _ = session.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn media(&self) -> Media {
        let mut media = Media::new(
            MediaType::Video,
            self.destination.port(),
            TransportProto::RtpAvp,
            PAYLOAD_TYPE,
        );
        media.add_attribute(RtpMap::new(PAYLOAD_TYPE, "JPEG", 90_000));
        if let Some(rate) = self.framerate {
            media.add_attribute_with_value("framerate", rate);
        }
        // For programs that only read the description; 3GPP TS 26.234 §5.3.3.2.
        if let Some((w, h)) = self.size {
            media.add_attribute_with_value("framesize", format_args!("{PAYLOAD_TYPE} {w}-{h}"));
        }
        // The payload header has sizes up to 2040; GStreamer reads larger ones here.
        if let Some((w, h)) = self.size.filter(|&(w, h)| w > MAX_SIDE || h > MAX_SIDE) {
            media.add_attribute_with_value("x-dimensions", format_args!("{w},{h}"));
        }
        media.add_attribute(ExtMap::new(ABS_CAPTURE_TIME_ID, ABS_CAPTURE_TIME_URI));
        media.add_attribute(ExtMap::new(PICTURE_SIZE_ID, PICTURE_SIZE_URI));
        // RFC 5576 §4.1 and §6.1.
        if let Some((ssrc, cname)) = self.ssrc {
            media.add_attribute_with_value("ssrc", format_args!("{} cname:{cname}", ssrc.0));
        }
        if let Some(source) = self.source {
            // RFC 4570 §3 has a space after the colon.
            let filter = source_filter(self.destination.ip(), source);
            media.add_attribute_with_value("source-filter", format_args!(" {filter}"));
        }
        if let Some(port) = self.repair_port {
            media.add_attribute_with_value(REPAIR_ATTRIBUTE, port);
        }
        if let Some(control) = self.control {
            media.add_attribute_with_value("control", control);
        }
        media
    }
}

/// RFC 4607 §1: 232/8 and ff3x::/32 are source-specific.
pub fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets()[0] == 232,
        IpAddr::V6(v6) => v6.segments()[0] & 0xfff0 == 0xff30,
    }
}

/// RFC 4570 §3: only `source` sends to `group`.
fn source_filter(group: IpAddr, source: IpAddr) -> SourceFilter {
    SourceFilter {
        mode: SourceFilterMode::Incl,
        nettype: sdp_types::NetType::In,
        addrtype: match source {
            IpAddr::V4(_) => SourceFilterAddrType::Ip4,
            IpAddr::V6(_) => SourceFilterAddrType::Ip6,
        },
        destination: SourceFilterDestination::Address(SourceFilterAddress::IpAddr(group)),
        sources: vec![SourceFilterAddress::IpAddr(source)],
    }
}

/// What a session description says about one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamDescription {
    /// Name of the session, without control characters.
    pub name: String,
    /// Number of the session, which identifies it together with its origin.
    pub session: u64,
    /// Grows with each change of the description.
    pub version: u64,
    /// The program that wrote it, if it says so.
    pub tool: Option<String>,
    /// The stream's format, from `a=rtpmap` or else the `m=` line.
    pub format: String,
    /// Where the RTP packets go.
    pub addr: SocketAddr,
    /// Their SSRC, if it says so. RFC 5576.
    pub ssrc: Option<Ssrc>,
    /// The session's host: the address in the `o=` line, if it is one.
    pub origin: Option<IpAddr>,
    /// The only sender of a source-specific group.
    pub source: Option<IpAddr>,
    /// Time to live of IPv4 multicast packets.
    pub ttl: Option<u8>,
    /// Width and height in pixels, if given.
    pub size: Option<(u16, u16)>,
    /// Frames a second, if given.
    pub framerate: Option<f64>,
    /// Payload type of JPEG: 26, or what an `a=rtpmap` says.
    pub payload_type: u8,
    /// Port of a lancam stream's repair packets.
    pub repair_port: Option<u16>,
    /// Whether lancam can show it; if not, why not.
    pub playable: Result<(), String>,
}

impl StreamDescription {
    /// Reads a description, as leniently as possible. If it has several streams, takes the first
    /// JPEG one, else the first.
    ///
    /// # Errors
    /// If it has no stream, or does not say where the packets go.
    pub fn parse(text: &[u8]) -> Result<StreamDescription, SdpError> {
        if text.len() > MAX_LEN {
            return Err(SdpError::TooLong(text.len()));
        }
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let session = Session::parse(text).map_err(|e| SdpError::Malformed(e.to_string()))?;
        let jpeg = session.medias.iter().find(|m| jpeg_format(m).is_some());
        let media = jpeg.or(session.medias.first()).ok_or(SdpError::NoMedia)?;
        let ConnectionAddress { ip, ttl, .. } = address(&session, media)?;
        let value = |name| attribute(&session, media, name);
        Ok(StreamDescription {
            name: text_of(session.session_name.trim()),
            session: session.origin.sess_id.trim().parse().unwrap_or(0),
            version: session.origin.sess_version,
            tool: value("tool").map(text_of),
            format: format(media),
            addr: SocketAddr::new(ip, media.port),
            ssrc: value("ssrc").and_then(ssrc),
            origin: session.origin.unicast_address.trim().parse().ok(),
            source: source(&session, media),
            ttl,
            size: value("x-dimensions")
                .and_then(|v| pair(v, ','))
                .or_else(|| value("framesize").and_then(frame_size)),
            framerate: value("framerate")
                .or_else(|| value("x-framerate"))
                .and_then(|v| v.trim().parse().ok())
                .filter(|rate: &f64| rate.is_finite() && *rate > 0.0),
            payload_type: jpeg_format(media).unwrap_or(PAYLOAD_TYPE),
            repair_port: value(REPAIR_ATTRIBUTE).and_then(|v| v.trim().parse().ok()),
            playable: playable(media),
        })
    }
}

/// An attribute of the stream, or else of the session.
fn attribute<'a>(session: &'a Session, media: &'a Media, name: &'a str) -> Option<&'a str> {
    media
        .get_first_attribute_value(name)
        .or_else(|| session.get_first_attribute_value(name))
        .flatten()
}

/// Where the stream's packets go: its own `c=` line, or else the session's.
fn address(session: &Session, media: &Media) -> Result<ConnectionAddress, SdpError> {
    let Some(connection) = media.connections.first().or(session.connection.as_ref()) else {
        return Err(SdpError::NoAddress("no c= line".to_owned()));
    };
    connection
        .try_address()
        .map_err(|e| SdpError::NoAddress(e.to_string()))
}

/// RFC 4570: the one allowed source.
fn source(session: &Session, media: &Media) -> Option<IpAddr> {
    let text = attribute(session, media, "source-filter")?;
    let filter: SourceFilter = text.trim().parse().ok()?;
    match (filter.mode, filter.sources.first()) {
        (SourceFilterMode::Incl, Some(SourceFilterAddress::IpAddr(ip))) => Some(*ip),
        _ => None,
    }
}

/// The stream's payload type for JPEG.
fn jpeg_format(media: &Media) -> Option<u8> {
    let formats = || {
        media
            .fmt
            .split_whitespace()
            .filter_map(|f| f.parse::<u8>().ok())
    };
    let mapped = media.attributes_typed::<RtpMap>().flatten().find(|map| {
        map.encoding_name.eq_ignore_ascii_case("JPEG") && formats().any(|f| f == map.payload_type)
    });
    match mapped {
        Some(map) => Some(map.payload_type),
        None => formats().find(|&f| f == PAYLOAD_TYPE),
    }
}

fn playable(media: &Media) -> Result<(), String> {
    if media.port == 0 {
        return Err("it is switched off (port 0)".to_owned());
    }
    let proto = media.proto.to_ascii_uppercase();
    if !matches!(proto.as_str(), "RTP/AVP" | "RTP/AVPF") {
        return Err(format!(
            "it comes as {}; lancam shows RTP/AVP",
            text_of(&media.proto)
        ));
    }
    if jpeg_format(media).is_some() {
        return Ok(());
    }
    Err(format!(
        "its format is {}; lancam shows JPEG",
        format(media)
    ))
}

/// The format of the stream that would be shown: JPEG, or else the first one's.
fn format(media: &Media) -> String {
    if jpeg_format(media).is_some() {
        return "JPEG".to_owned();
    }
    let map = media.attributes_typed::<RtpMap>().flatten().next();
    map.map_or_else(|| text_of(&media.fmt), |map| text_of(&map.encoding_name))
}

/// `3735928559 cname:user@host`.
fn ssrc(text: &str) -> Option<Ssrc> {
    let number = text.split_whitespace().next()?;
    number.parse().ok().map(Ssrc)
}

/// Text that is safe to show, and short enough to keep.
fn text_of(text: &str) -> String {
    printable(text, MOST_CHARACTERS)
}

/// `26 1280-720`, as 3GPP's SDP has it.
fn frame_size(text: &str) -> Option<(u16, u16)> {
    pair(text.split_whitespace().nth(1)?, '-')
}

/// Two sides, neither of them 0.
fn pair(text: &str, separator: char) -> Option<(u16, u16)> {
    let (width, height) = text.split_once(separator)?;
    let size = (width.trim().parse().ok()?, height.trim().parse().ok()?);
    (size.0 > 0 && size.1 > 0).then_some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announcement() -> Announcement<'static> {
        Announcement {
            name: "porch",
            session: 42,
            version: 3,
            ssrc: Some((Ssrc(0xdead_beef), "lancam@board")),
            origin: "192.0.2.7".parse().unwrap(),
            destination: "224.3.29.71:10000".parse().unwrap(),
            ttl: 1,
            source: None,
            framerate: Some(30.0),
            size: Some((1280, 720)),
            repair_port: Some(10_004),
            control: None,
        }
    }

    #[test]
    fn a_stream_is_described_line_by_line() {
        let expected = "v=0\r\n\
            o=- 42 3 IN IP4 192.0.2.7\r\n\
            s=porch\r\n\
            c=IN IP4 224.3.29.71/1\r\n\
            t=0 0\r\n\
            a=tool:lancam\r\n\
            m=video 10000 RTP/AVP 26\r\n\
            a=rtpmap:26 JPEG/90000\r\n\
            a=framerate:30\r\n\
            a=framesize:26 1280-720\r\n\
            a=extmap:1 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\n\
            a=extmap:2 urn:x-lancam:picture-size\r\n\
            a=ssrc:3735928559 cname:lancam@board\r\n\
            a=x-lancam-repair:10004\r\n";
        assert_eq!(announcement().to_sdp(), expected);
    }

    #[test]
    fn ipv6_source_specific_and_large() {
        let text = Announcement {
            origin: "2001:db8::7".parse().unwrap(),
            destination: "[ff3e::8000:1]:5004".parse().unwrap(),
            source: Some("2001:db8::7".parse().unwrap()),
            size: Some((3840, 2160)),
            framerate: Some(29.97),
            repair_port: None,
            ..announcement()
        }
        .to_sdp();
        assert!(text.contains("c=IN IP6 ff3e::8000:1\r\n"), "{text}");
        assert!(text.contains("a=x-dimensions:3840,2160\r\n"), "{text}");
        assert!(text.contains("a=framerate:29.97\r\n"), "{text}");
        assert!(
            text.contains("a=source-filter: incl IN IP6 ff3e::8000:1 2001:db8::7\r\n"),
            "{text}"
        );
        let read = StreamDescription::parse(text.as_bytes()).unwrap();
        assert_eq!(read.source, Some("2001:db8::7".parse().unwrap()));
        assert_eq!((read.size, read.ttl), (Some((3840, 2160)), None));
        assert_eq!(read.framerate, Some(29.97));
    }

    #[test]
    fn what_is_written_reads_back() {
        let read = StreamDescription::parse(announcement().to_sdp().as_bytes()).unwrap();
        let expected = StreamDescription {
            name: "porch".to_owned(),
            session: 42,
            version: 3,
            tool: Some("lancam".to_owned()),
            format: "JPEG".to_owned(),
            addr: "224.3.29.71:10000".parse().unwrap(),
            ssrc: Some(Ssrc(0xdead_beef)),
            origin: Some("192.0.2.7".parse().unwrap()),
            source: None,
            ttl: Some(1),
            size: Some((1280, 720)),
            framerate: Some(30.0),
            payload_type: 26,
            repair_port: Some(10_004),
            playable: Ok(()),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_name_cannot_break_the_lines() {
        let text = Announcement {
            name: "a\r\nm=video 1 RTP/AVP 26",
            ..announcement()
        }
        .to_sdp();
        assert_eq!(text.lines().filter(|l| l.starts_with("m=")).count(), 1);
        let text = Announcement {
            name: "",
            ..announcement()
        }
        .to_sdp();
        assert!(text.contains("s=-\r\n"));
    }

    #[test]
    fn unicast_has_no_ttl() {
        let text = Announcement {
            destination: "192.0.2.9:5004".parse().unwrap(),
            ..announcement()
        }
        .to_sdp();
        assert!(text.contains("c=IN IP4 192.0.2.9\r\n"), "{text}");
    }

    #[test]
    fn ffmpegs_description_is_read() {
        let text = include_bytes!("../../tests/data/captures/ffmpeg-422.sdp");
        let read = StreamDescription::parse(text).unwrap();
        assert_eq!(read.addr, "239.9.9.9:5004".parse().unwrap());
        assert_eq!(
            (read.payload_type, read.ttl, read.playable),
            (26, Some(1), Ok(()))
        );
    }

    #[test]
    fn the_jpeg_stream_among_several_is_taken() {
        let text = "v=0\ns=two\nc=IN IP4 239.1.1.1/4\n\
            m=audio 4000 RTP/AVP 0\n\
            m=video 5000 RTP/AVP 97 96\nc=IN IP4 239.1.1.2/8\na=rtpmap:97 H264/90000\n\
            a=rtpmap:96 jpeg/90000\na=framesize:96 640-480\n";
        let read = StreamDescription::parse(text.as_bytes()).unwrap();
        assert_eq!(read.addr, "239.1.1.2:5000".parse().unwrap());
        assert_eq!((read.payload_type, read.ttl), (96, Some(8)));
        assert_eq!((read.size, read.playable), (Some((640, 480)), Ok(())));
    }

    #[test]
    fn what_cannot_be_shown_says_why() {
        let with = |media: &str| {
            let text = format!("v=0\ns=x\nc=IN IP4 239.1.1.1/4\n{media}");
            StreamDescription::parse(text.as_bytes())
                .unwrap()
                .playable
                .unwrap_err()
        };
        assert!(with("m=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n").contains("H264"));
        assert!(with("m=video 5000 RTP/SAVP 26\n").contains("RTP/SAVP"));
        assert!(with("m=video 0 RTP/AVP 26\n").contains("port 0"));
        assert!(with("m=audio 5000 RTP/AVP 0\n").contains("format is 0"));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let refused = |text: &str| StreamDescription::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused(""), SdpError::Malformed(_)));
        assert_eq!(refused("v=0\ns=x\n"), SdpError::NoMedia);
        let no_address = refused("v=0\ns=x\nm=video 5000 RTP/AVP 26\n");
        assert!(matches!(no_address, SdpError::NoAddress(_)));
        let host = refused("v=0\ns=x\nc=IN IP4 camera.example\nm=video 5000 RTP/AVP 26\n");
        assert!(host.to_string().contains("camera.example"));
        let long = "v=0\n".to_owned() + &"a".repeat(MAX_LEN);
        assert_eq!(refused(&long), SdpError::TooLong(MAX_LEN + 4));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = StreamDescription::parse(&bytes);
        }

        #[test]
        fn any_lines_are_read_or_refused(
            lines in prop::collection::vec("[vosicbtamkrz]=[ -~]{0,40}", 0..12),
        ) {
            let text = format!("v=0\nc=IN IP4 239.1.1.1/4\nm=video 5000 RTP/AVP 26\n{}", lines.join("\n"));
            let _ = StreamDescription::parse(text.as_bytes());
        }
    }
}
