//! The `Transport` header (RFC 2326 §12.39): what a client can do, in order of preference, and what
//! it gets.
//!
//! A server that sends wherever it is told can be aimed at others. A client may therefore name no
//! destination but its own address, and no port below 1024.

use std::net::IpAddr;

/// The first port that a client may name: those below belong to the host's own services.
const FIRST_PORT: u16 = 1024;

/// One available transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The stream's own group.
    Multicast,
    /// By UDP, to these ports of the client.
    Udp {
        /// The RTP packets' port.
        rtp: u16,
        /// The RTCP packets' port.
        rtcp: u16,
    },
    /// Interleaved, over the client's connection. RFC 2326 §10.12.
    Interleaved {
        /// The RTP packets' channel.
        rtp: u8,
        /// The RTCP packets' channel.
        rtcp: u8,
    },
}

/// What the answer depends on, apart from the header.
#[derive(Clone, Copy, Debug)]
pub struct Possible {
    /// The stream's group, if its destination is one.
    pub group: Option<IpAddr>,
    /// The client's address.
    pub client: IpAddr,
    /// Whether its connection is free to carry a stream.
    pub can_interleave: bool,
}

/// Why none of a header's transports is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The client wants other transports, or ones that cannot be read.
    Unsupported,
    /// At least one of them would send to another host, or to a port below 1024.
    Foreign,
}

/// The first available transport of `header`.
///
/// # Errors
/// If none is available.
pub fn choose(header: &str, possible: &Possible) -> Result<Wish, Unfit> {
    let mut unfit = Unfit::Unsupported;
    for spec in split(header, ',') {
        match fit(spec, possible) {
            Ok(wish) => return Ok(wish),
            Err(Unfit::Foreign) => unfit = Unfit::Foreign,
            Err(Unfit::Unsupported) => {}
        }
    }
    Err(unfit)
}

fn fit(spec: &str, possible: &Possible) -> Result<Wish, Unfit> {
    let mut parts = split(spec, ';');
    let over_tcp = match parts
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase()
        .as_str()
    {
        "RTP/AVP" | "RTP/AVP/UDP" => false,
        "RTP/AVP/TCP" => true,
        _ => return Err(Unfit::Unsupported),
    };
    let asked = Asked::of(parts).ok_or(Unfit::Unsupported)?;
    if asked.is_foreign(possible) {
        return Err(Unfit::Foreign);
    }
    match (over_tcp, asked.is_multicast(over_tcp)) {
        (true, false) if possible.can_interleave => {
            let (rtp, rtcp) = asked.channels.unwrap_or((0, 1));
            Ok(Wish::Interleaved { rtp, rtcp })
        }
        (false, true) if possible.group.is_some() => Ok(Wish::Multicast),
        (false, false) => {
            let (rtp, rtcp) = asked.ports.ok_or(Unfit::Unsupported)?;
            match rtp.min(rtcp) < FIRST_PORT {
                true => Err(Unfit::Foreign),
                false => Ok(Wish::Udp { rtp, rtcp }),
            }
        }
        _ => Err(Unfit::Unsupported),
    }
}

/// The parameters of one transport.
#[derive(Default)]
struct Asked<'a> {
    /// `multicast` or `unicast`, if either is given.
    multicast: Option<bool>,
    destination: Option<&'a str>,
    ports: Option<(u16, u16)>,
    channels: Option<(u8, u8)>,
}

impl<'a> Asked<'a> {
    /// `None` if they are contradictory, or ask for something this server does not do.
    fn of(parameters: impl Iterator<Item = &'a str>) -> Option<Asked<'a>> {
        let mut asked = Asked::default();
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "unicast" => asked.multicast = Some(false),
                "multicast" => asked.multicast = Some(true),
                "destination" => asked.destination = Some(value),
                "client_port" => asked.ports = Some(pair(value)?),
                "interleaved" => asked.channels = Some(pair(value)?),
                "mode" if !value.eq_ignore_ascii_case("play") => return None,
                _ => {}
            }
        }
        Some(asked)
    }

    /// RFC 2326 says "Default value is multicast", but a client that names its ports or asks for
    /// TCP means unicast.
    fn is_multicast(&self, over_tcp: bool) -> bool {
        self.multicast.unwrap_or(!over_tcp && self.ports.is_none())
    }

    /// Whether the stream would go to somebody else.
    fn is_foreign(&self, possible: &Possible) -> bool {
        let own = [Some(possible.client), possible.group];
        self.destination.is_some_and(|destination| {
            let address: Option<IpAddr> = destination.parse().ok();
            let address = address.map(|address| address.to_canonical());
            address.is_none() || !own.contains(&address)
        })
    }
}

/// Reads `4588-4589`, or one number, which implies the next.
fn pair<T: TryFrom<u16>>(text: &str) -> Option<(T, T)> {
    let (first, second) = match text.split_once('-') {
        Some((first, second)) => (first.trim().parse().ok()?, second.trim().parse().ok()?),
        None => {
            let first: u16 = text.parse().ok()?;
            (first, first.checked_add(1)?)
        }
    };
    (first != second).then_some(())?;
    Some((T::try_from(first).ok()?, T::try_from(second).ok()?))
}

/// Splits a list, but not inside quotation marks.
fn split(text: &str, by: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == by && !is_quoted
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSSIBLE: Possible = Possible {
        group: Some(IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 2, 3))),
        client: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)),
        can_interleave: true,
    };

    fn chosen(header: &str) -> Result<Wish, Unfit> {
        choose(header, &POSSIBLE)
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let udp = |rtp, rtcp| Ok(Wish::Udp { rtp, rtcp });
        let tcp = |rtp, rtcp| Ok(Wish::Interleaved { rtp, rtcp });
        let cases = [
            // RFC 2326 §12.39's example.
            (
                "RTP/AVP;multicast;ttl=127;mode=\"PLAY\",RTP/AVP;unicast;client_port=3456-3457;mode=\"PLAY\"",
                Ok(Wish::Multicast),
            ),
            // ffmpeg, GStreamer, live555, by what they send.
            (
                "RTP/AVP/UDP;unicast;client_port=20434-20435",
                udp(20_434, 20_435),
            ),
            ("RTP/AVP;multicast", Ok(Wish::Multicast)),
            ("RTP/AVP/TCP;unicast;interleaved=0-1", tcp(0, 1)),
            // RFC 2326 §12.39: "Default value is multicast."
            ("RTP/AVP", Ok(Wish::Multicast)),
            ("RTP/AVP/TCP", tcp(0, 1)),
            ("rtp/avp/tcp; interleaved = 4 - 9", tcp(4, 9)),
            ("RTP/AVP/TCP;interleaved=6", tcp(6, 7)),
            ("RTP/AVP;client_port=5000", udp(5000, 5001)),
            (
                "RTP/SAVP;unicast;client_port=5000-5001, RTP/AVP/TCP;unicast",
                tcp(0, 1),
            ),
            (
                "RTP/AVP;unicast;mode=\"RECORD,PLAY\",RTP/AVP/TCP",
                tcp(0, 1),
            ),
            (
                "RTP/AVP;unicast;destination=10.0.0.7;client_port=5000",
                udp(5000, 5001),
            ),
            (
                "RTP/AVP;multicast;destination=239.1.2.3",
                Ok(Wish::Multicast),
            ),
        ];
        for (header, expected) in cases {
            assert_eq!(chosen(header), expected, "{header}");
        }
    }

    #[test]
    fn nobody_elses_address_is_a_destination() {
        for header in [
            "RTP/AVP;unicast;destination=10.0.0.8;client_port=5000-5001",
            "RTP/AVP;unicast;destination=victim.example;client_port=5000-5001",
            "RTP/AVP;unicast;destination;client_port=5000-5001",
            "RTP/AVP;multicast;destination=239.9.9.9",
            "RTP/AVP/TCP;destination=\"10.0.0.8\"",
            "RTP/AVP;unicast;client_port=53-54",
            "RTP/AVP;unicast;client_port=5000-53",
            "RTP/AVP;unicast;client_port=0-0, RTP/AVP;unicast;client_port=1023",
        ] {
            assert_eq!(chosen(header), Err(Unfit::Foreign), "{header}");
        }
        let header = "RTP/AVP;destination=10.0.0.8;client_port=5000, RTP/AVP/TCP";
        assert!(chosen(header).is_ok());
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for header in [
            "",
            ",;,;",
            "RTP/SAVP;multicast",
            "RAW/RAW/UDP;unicast;client_port=5000-5001",
            "RTP/AVP;unicast",
            "RTP/AVP/TCP;multicast",
            "RTP/AVP;unicast;client_port=65535",
            "RTP/AVP;unicast;client_port=99999-100000",
            "RTP/AVP;unicast;client_port=a-b",
            "RTP/AVP/TCP;interleaved=255",
            "RTP/AVP/TCP;interleaved=300-301",
            "RTP/AVP/TCP;interleaved=3-3",
            "RTP/AVP;multicast;mode=RECORD",
            "RTP/AVP;mode=\"",
        ] {
            assert_eq!(chosen(header), Err(Unfit::Unsupported), "{header}");
        }
        let nothing = Possible {
            group: None,
            can_interleave: false,
            ..POSSIBLE
        };
        for header in ["RTP/AVP;multicast", "RTP/AVP/TCP"] {
            assert_eq!(
                choose(header, &nothing),
                Err(Unfit::Unsupported),
                "{header}"
            );
        }
    }
}
