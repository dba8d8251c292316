//! The target's side of WS-Discovery (April 2005), as ONVIF Core Specification §7.3 uses it: a
//! device says Hello and Bye, and answers clients that look for it. Sans-IO: datagrams and the time
//! in, datagrams out.
//!
//! Nobody must be able to use it for a flood: it answers only hosts of the same network, at the
//! address that they ask from, a few times a second each and a few dozen times a second in all. It
//! does not answer what is meant for other devices.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::facts::{Network, scopes};
use super::uuid::Uuid;
use super::xml::{self, Element, escaped};
use crate::clock::Mono;

/// The port that targets listen on. WS-Discovery §2.4.
pub const PORT: u16 = 3702;
/// The groups for questions and for Hello.
pub const GROUPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc)),
];
/// Longer datagrams are not read.
pub const MAX_LEN: usize = 8 << 10;

/// Most answers a second, to one address and in all.
const MOST_OF_ADDRESS: u32 = 5;
const MOST_ANSWERS: u32 = 40;
/// Most datagrams read in a second.
const MOST_READ: u32 = 400;
/// Most datagrams waiting to be sent.
const MOST_WAITING: usize = 64;
/// Questions with a longer message id are not answered.
const MOST_ID: usize = 256;
/// Most addresses in an answer.
const MOST_ADDRESSES: usize = 4;
/// APP_MAX_DELAY (§2.4) in milliseconds, so that not all devices answer a question at once.
const MOST_DELAY: u16 = 500;
/// How often Hello and Bye are sent, since one may be lost, and the pause in between.
pub const REPEATS: u32 = 2;
const REPEAT_WAIT: Duration = Duration::from_millis(200);

const TO_ALL: &str = "urn:schemas-xmlsoap-org:ws:2005:04:discovery";
const TO_ASKER: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
/// This machine's types: that of ONVIF Core Specification §7.3.3.1, and that of §8.
const TYPES: [(&str, &str); 2] = [
    (xml::NETWORK, "NetworkVideoTransmitter"),
    (xml::DEVICE, "Device"),
];

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The index of the interface to send from.
    pub interface: u32,
    /// The destination.
    pub to: SocketAddr,
    /// The message.
    pub bytes: String,
}

#[derive(Debug)]
struct Waiting {
    due: Mono,
    /// The id of the question that it answers, so that a repeated one is answered once.
    relates: Option<String>,
    outgoing: Outgoing,
}

/// This machine as a discoverable device.
#[derive(Debug)]
pub struct Target {
    id: Uuid,
    scopes: Vec<String>,
    page_port: u16,
    /// Increases with each start. §9.2.
    instance: u32,
    /// How many messages there have been.
    sent: u32,
    waiting: Vec<Waiting>,
    answered: Answered,
}

impl Target {
    /// A target that starts now, at `started` in seconds since 1970. `id` and `host` are those of
    /// the [`Device`](super::Device).
    pub fn new(id: Uuid, host: &str, page_port: u16, started: u32) -> Target {
        Target {
            id,
            scopes: scopes(host),
            page_port,
            instance: started.max(1),
            sent: 0,
            waiting: Vec::new(),
            answered: Answered::default(),
        }
    }

    /// Takes a datagram that came from `from` over an interface on which the services can be
    /// reached at the addresses `here`.
    pub fn receive(
        &mut self,
        now: Mono,
        from: SocketAddr,
        interface: u32,
        here: &[Network],
        datagram: &[u8],
    ) {
        let is_neighbour = here.iter().any(|network| network.contains(from.ip()));
        if !is_neighbour || from.port() == 0 || datagram.len() > MAX_LEN {
            return;
        }
        if !self.answered.may_read(now) {
            return;
        }
        let Some(question) = Question::read(datagram) else {
            return;
        };
        let action = match question.asks_for {
            Asked::Probe(types_and_scopes) if self.matches(&types_and_scopes) => "Probe",
            Asked::Resolve(address) if address == self.address() => "Resolve",
            _ => return,
        };
        let is_double =
            |w: &Waiting| w.relates.as_ref() == Some(&question.id) && w.outgoing.to == from;
        if self.waiting.len() >= MOST_WAITING || self.waiting.iter().any(is_double) {
            return;
        }
        if !self.answered.take(from.ip()) {
            return;
        }
        let description = self.description(&self.reachable(from.ip(), here));
        let body = format!(
            "<d:{action}Matches><d:{action}Match>{description}</d:{action}Match></d:{action}Matches>"
        );
        let relates = Some(question.id.as_str());
        let (bytes, delay) = self.message(&format!("{action}Matches"), TO_ASKER, relates, &body);
        self.waiting.push(Waiting {
            due: now + delay,
            relates: Some(question.id),
            outgoing: Outgoing {
                interface,
                to: from,
                bytes,
            },
        });
    }

    /// Says Hello on an interface that is new or has new addresses.
    pub fn hello(&mut self, now: Mono, interface: u32, here: &[Network]) {
        for group in GROUPS {
            if !here.iter().any(|n| n.address.is_ipv4() == group.is_ipv4()) {
                continue;
            }
            let addresses = self.reachable(group, here);
            let body = format!("<d:Hello>{}</d:Hello>", self.description(&addresses));
            let (bytes, _) = self.message("Hello", TO_ALL, None, &body);
            let outgoing = Outgoing {
                interface,
                to: SocketAddr::new(group, PORT),
                bytes,
            };
            for n in 0..REPEATS {
                if self.waiting.len() < MOST_WAITING {
                    self.waiting.push(Waiting {
                        due: now + REPEAT_WAIT * n,
                        relates: None,
                        outgoing: outgoing.clone(),
                    });
                }
            }
        }
    }

    /// The message to send to [`GROUPS`] at the end.
    pub fn bye(&mut self) -> String {
        let body = format!("<d:Bye>{}</d:Bye>", self.endpoint());
        self.message("Bye", TO_ALL, None, &body).0
    }

    /// The next datagram that is due.
    pub fn poll(&mut self, now: Mono) -> Option<Outgoing> {
        let due = self.waiting.iter().position(|waiting| waiting.due <= now)?;
        Some(self.waiting.swap_remove(due).outgoing)
    }

    /// When the next one will be due.
    pub fn next_due(&self) -> Option<Mono> {
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    fn address(&self) -> String {
        format!("urn:uuid:{}", self.id)
    }

    fn endpoint(&self) -> String {
        format!(
            "<a:EndpointReference><a:Address>{}</a:Address></a:EndpointReference>",
            self.address()
        )
    }

    /// Whether this device has all the types and all the scopes that a probe asks for. §5.1.
    fn matches(&self, probe: &Element) -> bool {
        let types = probe.child("Types").map_or(&[][..], |types| &types.types);
        let has_types = types.iter().all(|name| {
            let name = (name.namespace, name.local.as_str());
            TYPES.contains(&name)
        });
        let Some(asked) = probe.child("Scopes") else {
            return has_types;
        };
        let rule = asked.attribute("MatchBy").and_then(|rule| {
            let rule = rule.strip_prefix(xml::DISCOVERY);
            rule.map(|rule| rule.trim_start_matches('/'))
        });
        let by_segments = asked.attribute("MatchBy").is_none() || rule == Some("rfc2396");
        let by_bytes = rule == Some("strcmp0");
        let is_met = |asked: &str| {
            self.scopes
                .iter()
                .any(|own| by_segments && begins_with(own, asked) || by_bytes && own == asked)
        };
        has_types && asked.text.split_whitespace().all(is_met)
    }

    /// The addresses of the services, for a host at `to`. Many clients use only the first: that is
    /// an IPv4 address, in their own network if they ask over IPv4, and not a link-local one if
    /// there are others, since those are useless without the client's interface.
    fn reachable(&self, to: IpAddr, here: &[Network]) -> Vec<String> {
        let is_link_local =
            |address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let mut all: Vec<&Network> = here.iter().collect();
        all.sort_by_key(|network| {
            let address = network.address;
            let is_far = !network.contains(to);
            (address.is_ipv6(), is_link_local(address), is_far)
        });
        let uri = |network: &&Network| {
            let address = SocketAddr::new(network.address, self.page_port);
            format!("http://{address}/onvif/device_service")
        };
        all.iter().take(MOST_ADDRESSES).map(uri).collect()
    }

    fn description(&self, addresses: &[String]) -> String {
        format!(
            "{}<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes>{}</d:Scopes>\
             <d:XAddrs>{}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>",
            self.endpoint(),
            escaped(&self.scopes.join(" ")),
            escaped(&addresses.join(" "))
        )
    }

    /// A message, and a practically random delay.
    fn message(
        &mut self,
        action: &str,
        to: &str,
        relates: Option<&str>,
        body: &str,
    ) -> (String, Duration) {
        self.sent = self.sent.wrapping_add(1);
        let id = self.id.named(&format!("{} {}", self.instance, self.sent));
        let relates = relates.map_or(String::new(), |id| {
            format!("<a:RelatesTo>{}</a:RelatesTo>", escaped(id))
        });
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<s:Envelope xmlns:s=\"{}\" xmlns:a=\"{}\"\
             \x20xmlns:d=\"{discovery}\" xmlns:dn=\"{}\" xmlns:tds=\"{}\"><s:Header>\
             <a:Action>{discovery}/{action}</a:Action><a:MessageID>urn:uuid:{id}</a:MessageID>{relates}\
             <a:To>{to}</a:To><d:AppSequence InstanceId=\"{}\" MessageNumber=\"{}\"/></s:Header>\
             <s:Body>{body}</s:Body></s:Envelope>\n",
            xml::ENVELOPE,
            xml::ADDRESSING_2004,
            xml::NETWORK,
            xml::DEVICE,
            self.instance,
            self.sent,
            discovery = xml::DISCOVERY,
        );
        let delay = Duration::from_millis((id.bits() % MOST_DELAY).into());
        (text, delay)
    }
}

/// A question from a client.
struct Question {
    id: String,
    asks_for: Asked,
}

enum Asked {
    /// To all devices of these types and scopes.
    Probe(Element),
    /// To the device with this address.
    Resolve(String),
}

impl Question {
    /// `None` if it is something else, such as the Hello or the answer of another device.
    fn read(datagram: &[u8]) -> Option<Question> {
        let root = xml::read(datagram).ok()?;
        if !root.is(xml::ENVELOPE, "Envelope") {
            return None;
        }
        let header = root.child("Header")?;
        let id = header.text_of("MessageID").filter(|id| !id.is_empty())?;
        let id = (id.len() <= MOST_ID).then(|| id.to_owned())?;
        let action = header.text_of("Action")?.strip_prefix(xml::DISCOVERY)?;
        let action = action.to_owned();
        let mut parts = root.children.into_iter();
        let body = parts.find(|part| part.is(xml::ENVELOPE, "Body"))?;
        let asked = body.children.into_iter().next()?;
        let asks_for = match action.as_str() {
            "/Probe" if asked.is(xml::DISCOVERY, "Probe") => Asked::Probe(asked),
            "/Resolve" if asked.is(xml::DISCOVERY, "Resolve") => {
                let endpoint = asked.child("EndpointReference")?;
                Asked::Resolve(endpoint.text_of("Address")?.to_owned())
            }
            _ => return None,
        };
        Some(Question { id, asks_for })
    }
}

/// Whether the URI `own` equals `asked` or lies below it. §5.1: scheme and authority are compared
/// regardless of case, the path by whole segments, none of which may be "." or "..".
fn begins_with(own: &str, asked: &str) -> bool {
    let parts = |uri: &'_ str| {
        let (scheme, rest) = uri.split_once("://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let root = format!("{scheme}://{authority}").to_ascii_lowercase();
        let path = path.split('/').filter(|s| !s.is_empty());
        Some((root, path.map(str::to_owned).collect::<Vec<_>>()))
    };
    let (Some((own_root, own)), Some((root, asked))) = (parts(own), parts(asked)) else {
        return false;
    };
    own_root == root && own.starts_with(&asked) && !asked.iter().any(|s| s == "." || s == "..")
}

/// Counts what was read and answered in this second.
#[derive(Debug, Default)]
struct Answered {
    since: Option<Mono>,
    read: u32,
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Answered {
    /// Counts a datagram; `false` if it must not be read.
    fn may_read(&mut self, now: Mono) -> bool {
        let period = Duration::from_secs(1);
        if self.since.is_none_or(|since| now.since(since) >= period) {
            self.since = Some(now);
            (self.read, self.total) = (0, 0);
            self.by_address.clear();
        }
        let has_room = self.read < MOST_READ && self.total < MOST_ANSWERS;
        self.read += u32::from(has_room);
        has_room
    }

    /// Counts an answer; `false` if it must not be given.
    fn take(&mut self, to: IpAddr) -> bool {
        // There are never more entries than datagrams read.
        let given = self.by_address.entry(to.to_canonical()).or_default();
        let has_room = *given < MOST_OF_ADDRESS;
        *given += u32::from(has_room);
        self.total += u32::from(has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface.
    const ETH0: u32 = 2;
    const NOW: Mono = Mono(1_000_000_000_000);
    const PROBE: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe";
    const VIDEO: &str = "<d:Types>dn:NetworkVideoTransmitter</d:Types>";

    fn target() -> Target {
        Target::new(Uuid::LANCAM.named("test"), "front door", 8080, 7)
    }

    fn here() -> Vec<Network> {
        let networks = [("10.77.0.1", 24), ("192.168.9.1", 24), ("fe80::1", 64)];
        let network = |(address, prefix): (&str, u8)| Network {
            address: address.parse().unwrap(),
            prefix,
        };
        networks.map(network).to_vec()
    }

    fn client(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 77, 0, last], 50_000))
    }

    fn question(id: &str, action: &str, body: &str) -> String {
        format!(
            "<s:Envelope xmlns:s='{}' xmlns:a='{}' xmlns:d='{}' xmlns:dn='{}'><s:Header>\
             <a:Action>{action}</a:Action><a:MessageID>{id}</a:MessageID><a:To>{TO_ALL}</a:To></s:Header>\
             <s:Body>{body}</s:Body></s:Envelope>",
            xml::ENVELOPE,
            xml::ADDRESSING_2004,
            xml::DISCOVERY,
            xml::NETWORK
        )
    }

    fn probe(id: &str, what: &str) -> String {
        question(id, PROBE, &format!("<d:Probe>{what}</d:Probe>"))
    }

    /// What comes of a datagram at any time.
    fn answers(target: &mut Target, now: Mono, from: SocketAddr, datagram: &str) -> Vec<Outgoing> {
        target.receive(now, from, ETH0, &here(), datagram.as_bytes());
        let later = now + Duration::from_millis(MOST_DELAY.into());
        std::iter::from_fn(|| target.poll(later)).collect()
    }

    fn matches(what: &str) -> bool {
        !answers(&mut target(), NOW, client(2), &probe("urn:uuid:1", what)).is_empty()
    }

    #[test]
    fn a_probe_is_answered_to_the_asker() {
        let mut target = target();
        let question = probe("urn:uuid:1&amp;", VIDEO);
        target.receive(NOW, client(2), ETH0, &here(), question.as_bytes());
        let due = target.next_due().unwrap();
        assert!(due.since(NOW) < Duration::from_millis(MOST_DELAY.into()));
        let answer = target.poll(due).unwrap();
        assert_eq!((answer.interface, answer.to), (ETH0, client(2)));
        let root = xml::read(answer.bytes.as_bytes()).unwrap();
        let header = root.child("Header").unwrap();
        assert_eq!(header.text_of("RelatesTo"), Some("urn:uuid:1&"));
        let action = header.text_of("Action").unwrap();
        assert_eq!(action, format!("{PROBE}Matches"));
        let matches = root.child("Body").unwrap().child("ProbeMatches").unwrap();
        let found = matches.child("ProbeMatch").unwrap();
        assert_eq!(
            found.text_of("XAddrs"),
            Some(
                "http://10.77.0.1:8080/onvif/device_service http://192.168.9.1:8080/onvif/device_service http://[fe80::1]:8080/onvif/device_service"
            )
        );
        let scopes = found.text_of("Scopes").unwrap();
        assert!(
            scopes.contains("onvif://www.onvif.org/name/front%20door"),
            "{scopes}"
        );
        assert!(
            scopes.contains("onvif://www.onvif.org/Profile/Streaming"),
            "{scopes}"
        );
        let types = &found.child("Types").unwrap().types;
        assert_eq!(types[0].namespace, xml::NETWORK);
        assert_eq!((target.poll(due), target.next_due()), (None, None));
    }

    #[test]
    fn what_asks_for_something_else_gets_no_answer() {
        assert!(matches(""));
        assert!(matches(VIDEO));
        assert!(matches("<d:Types/>"));
        assert!(!matches("<d:Types>d:NetworkVideoTransmitter</d:Types>"));
        assert!(!matches(
            "<d:Types>dn:NetworkVideoTransmitter dn:NetworkVideoDisplay</d:Types>"
        ));
        let scopes =
            |rule: &str, scopes: &str| matches(&format!("<d:Scopes{rule}>{scopes}</d:Scopes>"));
        let rule = |name: &str| format!(" MatchBy='{}/{name}'", xml::DISCOVERY);
        assert!(scopes("", "onvif://www.onvif.org"));
        assert!(scopes("", "ONVIF://WWW.onvif.org/Profile/"));
        assert!(scopes(
            &rule("rfc2396"),
            "onvif://www.onvif.org/type onvif://www.onvif.org/Profile/Streaming"
        ));
        assert!(!scopes("", "onvif://www.onvif.org/prof"));
        assert!(!scopes("", "onvif://www.onvif.org/profile/Streaming"));
        assert!(!scopes("", "onvif://www.onvif.org/Profile/./Streaming"));
        assert!(!scopes("", "onvif://www.onvif.org/Profile/Streaming/x"));
        assert!(!scopes("", "onvif://www.onvif.org/Profile onvif://other"));
        assert!(!scopes("", "nonsense"));
        assert!(scopes(
            &rule("strcmp0"),
            "onvif://www.onvif.org/Profile/Streaming"
        ));
        assert!(!scopes(&rule("strcmp0"), "onvif://www.onvif.org/Profile"));
        assert!(!scopes(&rule("ldap"), "onvif://www.onvif.org/Profile"));
        assert!(!scopes(
            " MatchBy='urn:other'",
            "onvif://www.onvif.org/Profile"
        ));
    }

    #[test]
    fn a_target_is_resolved_by_its_address_only() {
        let mut target = target();
        let resolve = |address: &str| {
            let body = format!(
                "<d:Resolve><a:EndpointReference><a:Address>{address}</a:Address></a:EndpointReference></d:Resolve>"
            );
            question("urn:uuid:1", &PROBE.replace("Probe", "Resolve"), &body)
        };
        let own = target.address();
        let answer = answers(&mut target, NOW, client(2), &resolve(&own));
        assert!(answer[0].bytes.contains("<d:ResolveMatch>"));
        let other = Uuid::LANCAM.to_string();
        assert!(answers(&mut target, NOW, client(2), &resolve(&other)).is_empty());
    }

    #[test]
    fn strangers_and_noise_are_not_answered() {
        let mut target = target();
        let good = probe("urn:uuid:1", VIDEO);
        let hello = target.hello_text();
        let no_id = probe("", VIDEO);
        let long_id = probe(&"x".repeat(MOST_ID + 1), VIDEO);
        let long = probe("urn:uuid:1", &" ".repeat(MAX_LEN));
        let mismatch = question("urn:uuid:1", PROBE, "<d:Resolve/>");
        let noise = [
            "", "<a/>", "\u{0}", &hello, &no_id, &long_id, &long, &mismatch,
        ];
        for datagram in noise {
            assert!(
                answers(&mut target, NOW, client(2), datagram).is_empty(),
                "{datagram}"
            );
        }
        let far = [
            "8.8.8.8:50000",
            "10.78.0.2:50000",
            "10.77.0.2:0",
            "[fd00::1]:50000",
        ];
        for from in far {
            let from = from.parse().unwrap();
            assert!(answers(&mut target, NOW, from, &good).is_empty(), "{from}");
        }
        let near = "[fe80::2]:50000".parse().unwrap();
        let answer = answers(&mut target, NOW, near, &good);
        assert!(answer[0].bytes.contains("http://[fe80::1]:8080/"));
    }

    #[test]
    fn answers_are_limited() {
        let mut target = target();
        let second = Duration::from_secs(1);
        let ask = |target: &mut Target, now, last, id: usize| {
            answers(
                target,
                now,
                client(last),
                &probe(&format!("urn:{id}"), VIDEO),
            )
            .len()
        };
        let one: usize = (0..100).map(|id| ask(&mut target, NOW, 2, id)).sum();
        assert_eq!(one, MOST_OF_ADDRESS as usize);
        let all: usize = (0..1000)
            .map(|id| ask(&mut target, NOW, (3 + id % 200) as u8, id))
            .sum();
        assert_eq!(all + one, MOST_ANSWERS as usize);
        assert!(target.answered.by_address.len() <= MOST_ANSWERS as usize);
        assert_eq!(ask(&mut target, NOW + second, 2, 1), 1);
        // The same question again before it is answered.
        let question = probe("urn:uuid:1", VIDEO);
        for _ in 0..3 {
            target.receive(NOW + second, client(9), ETH0, &here(), question.as_bytes());
        }
        assert_eq!(target.waiting.len(), 1);
    }

    #[test]
    fn a_flood_is_not_read_to_its_end() {
        let mut target = target();
        let noise = "<a/>";
        for _ in 0..MOST_READ {
            assert!(answers(&mut target, NOW, client(3), noise).is_empty());
        }
        let question = probe("urn:uuid:1", VIDEO);
        assert!(answers(&mut target, NOW, client(2), &question).is_empty());
        let later = NOW + Duration::from_secs(1);
        assert_eq!(answers(&mut target, later, client(2), &question).len(), 1);
    }

    #[test]
    fn hello_and_bye_go_to_all() {
        let mut target = target();
        target.hello(NOW, ETH0, &here());
        let later = NOW + REPEAT_WAIT * REPEATS;
        let said: Vec<_> = std::iter::from_fn(|| target.poll(later)).collect();
        assert_eq!(said.len(), 4);
        for group in GROUPS {
            let to = SocketAddr::new(group, PORT);
            let same: Vec<_> = said.iter().filter(|o| o.to == to).collect();
            assert_eq!((same.len(), &same[0].bytes), (2, &same[1].bytes));
            assert!(same[0].bytes.contains("<d:Hello>"));
        }
        let bye = target.bye();
        assert!(
            bye.contains(&target.address()) && bye.contains("MessageNumber=\"3\""),
            "{bye}"
        );
        target.hello(NOW, ETH0, &[]);
        assert_eq!(target.next_due(), None);
    }

    impl Target {
        fn hello_text(&mut self) -> String {
            self.hello(NOW, ETH0, &here());
            let later = NOW + REPEAT_WAIT * REPEATS;
            let mut said = std::iter::from_fn(|| self.poll(later));
            said.by_ref().last().unwrap().bytes
        }
    }
}
