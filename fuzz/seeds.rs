//! What fuzzing begins with, made from tests/data and by lancam's own senders: `seeds FOLDER`
//! writes FOLDER/TARGET/….

use std::fs;
use std::path::{Path, PathBuf};

use lancam::clock::{Mono, Ntp};
use lancam::dns_sd::{Directory, Facts, Link, Responder};
use lancam::jpeg::Sampling;
use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::rtp::repair::Parity;
use lancam::rtp::rtcp::sender::Sent;
use lancam::rtp::rtcp::{Description, SenderSide, ViewerSide};
use lancam::rtp::sap::{Packet, hash};
use lancam::rtp::{Packetizer, RepairEncoder, RtpTime, SeqNo, Ssrc};
use lancam::srtp::hello::HELLO_ID;
use lancam::srtp::{Salt, Sealer, Secret, Suite};

#[path = "../tests/common/capture.rs"]
mod capture;

const CAPTURES: [&str; 5] = [
    "gst-422",
    "gst-422-dri",
    "gst-420-odd",
    "ffmpeg-422",
    "ffmpeg-420",
];

struct Seeds(PathBuf);

impl Seeds {
    fn add(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), bytes).expect("a seed");
    }
}

fn main() {
    let folder = std::env::args_os().nth(1).expect("a folder to write to");
    let seeds = Seeds(folder.into());
    pictures(&seeds);
    scans(&seeds);
    configs(&seeds);
    sessions(&seeds);
    schedules(&seeds);
    reports(&seeds);
    announcements(&seeds);
    services(&seeds);
    dialogues(&seeds);
    onvif(&seeds);
    locked(&seeds);
}

fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder of the repository")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

/// Pictures of other programs, and two in a row.
fn pictures(seeds: &Seeds) {
    let jpegs = files("tests/data/jpeg");
    for (name, jpeg) in &jpegs {
        seeds.add("gate", name, jpeg);
    }
    for (name, video) in files("tests/data/video").iter().chain(&jpegs) {
        seeds.add("files", name, video);
    }
    let two = [&jpegs[0].1[..], &jpegs[1].1[..]].concat();
    seeds.add("gate", "two", &two);
}

/// The scans of those pictures, as senders send them.
fn scans(seeds: &Seeds) {
    for (name, jpeg) in files("tests/data/jpeg") {
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(&jpeg).expect("a picture");
        let kind = match picture.sampling {
            Sampling::Yuv422 => 100,
            Sampling::Yuv420 => 101,
        };
        let mut seed = vec![kind];
        for number in [picture.width, picture.height, picture.restart_interval] {
            seed.extend(number.to_be_bytes());
        }
        seed.extend(picture.scan);
        seeds.add("strips", &name, &seed);
    }
}

fn configs(seeds: &Seeds) {
    for folder in ["config", "config/examples"] {
        for (name, text) in files(folder) {
            seeds.add("config", &name, &text);
        }
    }
}

/// One datagram of a session as the targets read it: what it is and when, its length, itself.
fn record(out: &mut Vec<u8>, kind: u8, datagram: &[u8]) {
    out.push(kind);
    out.extend((datagram.len() as u16).to_be_bytes());
    out.extend(datagram);
}

/// A sender of one picture over and over.
struct Sender {
    packetizer: Packetizer,
    encoder: RepairEncoder,
    jpeg: Vec<u8>,
    time: u32,
}

impl Sender {
    fn new(ssrc: u32, first: u16, jpeg: &str) -> Sender {
        let jpegs = files("tests/data/jpeg");
        let (_, jpeg) = jpegs
            .into_iter()
            .find(|(name, _)| name == jpeg)
            .expect("it");
        Sender {
            packetizer: Packetizer::new(Ssrc(ssrc), SeqNo(first), 1_000),
            encoder: RepairEncoder::new(),
            jpeg,
            time: u32::from(first) << 16,
        }
    }

    /// A frame's packets and its parity packets.
    fn frame(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut gate = Gate::new(GateOptions::default());
        let picture = gate.pass(&self.jpeg).expect("a picture");
        self.time = self.time.wrapping_add(3_000);
        let plan = (self.packetizer)
            .plan(&picture, RtpTime(self.time), Some(Ntp(1 << 40)))
            .expect("a plan");
        let media = (0..plan.packets.len()).map(|i| {
            let (header, payload) = plan.parts(i, picture.scan);
            [header, payload].concat()
        });
        let media = media.collect();
        let parity = Parity::of(plan, 0.4);
        self.encoder.encode(plan, picture.scan, parity);
        let parity = (self.encoder.datagrams(0..parity.packets)).map(<[u8]>::to_vec);
        (media, parity.collect())
    }
}

/// Sessions of datagrams: other senders', and lancam's with loss, repair, a second sender and a
/// restart.
fn sessions(seeds: &Seeds) {
    const MEDIA: u8 = 8 | 2;
    const REPAIR: u8 = 8 | 1;
    for name in CAPTURES {
        let mut session = Vec::new();
        for (_, datagram) in capture::datagrams(name).iter().take(24) {
            record(&mut session, MEDIA, datagram);
        }
        seeds.add("depacketizer", name, &session);
    }
    let mut lossy = Vec::new();
    let mut repaired = Vec::new();
    let mut sender = Sender::new(1, 65_530, "cjpeg-422-restart.jpg");
    let mut second = Sender::new(2, 100, "cjpeg-411.jpg");
    for n in 0..6 {
        let (media, parity) = sender.frame();
        for (i, datagram) in media.iter().enumerate() {
            if i != n {
                record(&mut lossy, MEDIA, datagram);
                record(&mut repaired, MEDIA, datagram);
            }
        }
        for datagram in &parity {
            record(&mut repaired, REPAIR, datagram);
        }
        for datagram in second.frame().0 {
            record(&mut lossy, MEDIA, &datagram);
        }
    }
    // The same SSRC from other numbers on, behind a silence; and a goodbye.
    let mut again = Sender::new(1, 30_000, "cjpeg-422-restart.jpg");
    for datagram in again.frame().0 {
        record(&mut lossy, 0xfc | 2, &datagram);
        record(&mut repaired, 0xfc, &datagram);
    }
    record(&mut lossy, 1, &[0, 0, 0, 1]);
    for datagram in second.frame().0 {
        record(&mut lossy, MEDIA, &datagram);
    }
    seeds.add("depacketizer", "lancam", &lossy);
    seeds.add("repair", "lancam", &repaired);
}

/// Whole sessions for tests/schedule, whose own sender sends a frame of some twenty packets for
/// each 0.
fn schedules(seeds: &Seeds) {
    /// A frame with this much parity, and all of its packets but those lost.
    fn frame(out: &mut Vec<u8>, parity: u8, lost: usize) {
        out.extend([0, parity]);
        out.extend([5].repeat(lost));
        out.extend([0xf1, 0xf1]);
        out.extend([0x90 | 9, 0xd0 | 13, 0xe0 | 13]);
    }
    const ASK: u8 = 14;
    const SILENCE: u8 = 0xf0 | 13;

    let mut clean = Vec::new();
    (0..100).for_each(|_| frame(&mut clean, 0, 0));
    seeds.add("receiving", "clean", &clean);

    let mut repaired = Vec::new();
    (0..100).for_each(|n| frame(&mut repaired, 100, n % 5));
    seeds.add("receiving", "repaired", &repaired);

    let mut asked = Vec::new();
    for n in 0..100 {
        frame(&mut asked, 20, n % 3);
        asked.extend([ASK, 0x10 | ASK, 7]);
    }
    seeds.add("receiving", "asked", &asked);

    // Nothing but what others sent, with and without loss; two of them at once.
    let anything = |out: &mut Vec<u8>, datagram: &[u8]| record(out, 15, datagram);
    for name in CAPTURES {
        let mut session = Vec::new();
        for (i, (_, datagram)) in capture::datagrams(name).iter().enumerate() {
            if i % 17 != 16 {
                anything(&mut session, datagram);
                session.push(0x10 | 13);
            }
        }
        seeds.add("receiving", name, &session);
    }
    let mut two = Vec::new();
    let (first, second) = (
        capture::datagrams("gst-422"),
        capture::datagrams("ffmpeg-420"),
    );
    for ((_, a), (_, b)) in first.iter().zip(&second).take(30) {
        anything(&mut two, a);
        anything(&mut two, b);
    }
    frame(&mut two, 50, 1);
    two.push(SILENCE);
    frame(&mut two, 50, 1);
    seeds.add("receiving", "two-senders", &two);

    // The schedule's own sender, SSRC 7, restarts: with other numbers, after a silence and without
    // one.
    let mut restarts = Vec::new();
    for first in [30_000, 65_000, 100] {
        (0..3).for_each(|_| frame(&mut restarts, 50, 1));
        let mut again = Sender::new(7, first, "cjpeg-422-restart.jpg");
        let (media, parity) = again.frame();
        for datagram in &media[1..] {
            anything(&mut restarts, datagram);
        }
        for datagram in &parity {
            record(&mut restarts, 0x10 | 15, datagram);
        }
        restarts.push(SILENCE);
        again
            .frame()
            .0
            .iter()
            .for_each(|d| anything(&mut restarts, d));
    }
    seeds.add("receiving", "restarts", &restarts);
}

/// A sender and a viewer that report; the viewer asks again and leaves.
fn reports(seeds: &Seeds) {
    let now = |n: u64| Mono(1_000_000_000 * n);
    let description = Description {
        cname: "lancam@porch".to_owned(),
        name: "porch".to_owned(),
        tool: "lancam".to_owned(),
    };
    let mut sender = SenderSide::new(Ssrc(3), 7, description.clone(), 1, now(1));
    let mut viewer = ViewerSide::new(Ssrc(4), description, 2, now(1));
    let sent = Sent::default();
    let mut session = Vec::new();
    for second in 1..40 {
        let (now, wall) = (now(second), Ntp(second << 32));
        if second == 20 {
            viewer.request_packets(now, &[SeqNo(1), SeqNo(3), SeqNo(40)]);
        }
        if second == 38 {
            sender.leave(now, sent);
            viewer.leave(now);
        }
        while let Some((_, datagram)) = sender.poll(now, wall, sent) {
            record(&mut session, 25, &datagram);
        }
        while let Some((_, outgoing)) = viewer.poll(now) {
            record(&mut session, 25, &outgoing.bytes);
        }
    }
    // RFC 3550 §6.4.2, RFC 4585 §6.2.1: what a viewer of the target's sender, SSRC 1, says.
    let block = [
        0, 0, 0, 1, 64, 0, 0, 9, 0, 0, 0, 99, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let report = [&[0x81, 201, 0, 7, 0, 0, 0, 9][..], &block[..]].concat();
    let nack = [0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 1, 0, 90, 0xff, 0xff];
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 9];
    for more in [&nack[..], &bye[..]] {
        record(&mut session, 25, &[&report[..], more].concat());
    }
    seeds.add("rtcp", "session", &session);
}

fn announcements(seeds: &Seeds) {
    let mut session = Vec::new();
    for (name, sdp) in files("tests/data/captures") {
        if !name.ends_with(".sdp") {
            continue;
        }
        seeds.add("sdp", &name, &sdp);
        for is_deletion in [false, false, true] {
            let packet = Packet {
                is_deletion,
                hash: hash(&sdp),
                origin: [10, 0, 0, 1].into(),
                sdp: &sdp,
            };
            let mut datagram = Vec::new();
            packet.write(&mut datagram);
            record(&mut session, 20, &datagram);
        }
    }
    seeds.add("sap", "session", &session);
    let own = "v=0\r\no=- 7 1 IN IP4 10.0.0.1\r\ns=porch\r\nc=IN IP4 239.255.2.3/1\r\nt=0 0\r\n\
        a=tool:lancam\r\na=source-filter: incl IN IP4 239.255.2.3 10.0.0.1\r\nm=video 5000 RTP/AVP 26\r\n\
        a=rtpmap:26 JPEG/90000\r\na=framerate:30\r\na=x-dimensions:640,480\r\na=framesize:26 640-480\r\n";
    seeds.add("sdp", "lancam", own.as_bytes());
}

/// What two boards and a list say to each other: names that are claimed twice, answers, goodbyes.
fn services(seeds: &Seeds) {
    let facts = Facts {
        host: "board".to_owned(),
        rtsp: "0.0.0.0:8554".parse().ok(),
        streams: vec!["porch".to_owned()],
        page: "[::]:8080".parse().ok(),
    };
    let mut boards = [1, 2].map(|n: u8| {
        let mut board = Responder::new(&facts, n.into());
        let addresses = vec![[10, 0, 0, n].into()];
        board.set_links(
            Mono(0),
            vec![Link {
                index: 1,
                addresses,
            }],
        );
        board
    });
    let mut list = Directory::default();
    let mut session = Vec::new();
    let mut last = 0;
    for now in (0..8000_u64).step_by(50) {
        let time = Mono(now * 1_000_000);
        let mut said: Vec<(u8, Vec<u8>)> = Vec::new();
        for (board, n) in boards.iter_mut().zip(1..) {
            if now == 7950 {
                board.end_all();
            }
            board.poll(time);
            said.extend(board.take().into_iter().map(|outgoing| (n, outgoing.bytes)));
        }
        if now > 6000 {
            said.extend(list.poll(time).into_iter().map(|question| (3, question)));
        }
        for (n, bytes) in said {
            let from = std::net::SocketAddr::from(([10, 0, 0, n], 5353));
            for board in &mut boards {
                board.push(time, 1, from, &bytes);
            }
            list.push(time, from, 1, &bytes);
            let wait = ((now - last) / 100).min(31) as u8;
            last += u64::from(wait) * 100;
            session.push(wait << 3 | n);
            session.extend((bytes.len() as u16).to_be_bytes());
            session.extend(bytes);
        }
    }
    seeds.add("mdns", "session", &session);
}

/// What players say by each transport, with the session numbers that the target gives.
fn dialogues(seeds: &Seeds) {
    let transports = [
        ("udp", "RTP/AVP/UDP;unicast;client_port=20434-20435", 3),
        ("tcp", "RTP/AVP/TCP;unicast;interleaved=0-1", 3),
        (
            "group",
            "RTP/AVP;multicast;mode=\"PLAY\",RTP/AVP;unicast;destination=10.0.0.2;client_port=5000",
            1,
        ),
    ];
    for (name, transport, session) in transports {
        let session = format!("Session: {session:016X};timeout=60\r\n");
        let requests = [
            ("OPTIONS", "*", String::new()),
            (
                "DESCRIBE",
                "rtsp://10.0.0.1:8554/",
                "Accept: application/sdp, */*;q=0.1\r\n".to_owned(),
            ),
            (
                "SETUP",
                "rtsp://10.0.0.1:8554/porch/trackID=0",
                format!("Transport: {transport}\r\n"),
            ),
            (
                "PLAY",
                "rtsp://10.0.0.1:8554/porch/",
                format!("{session}Range: npt=0.000-\r\nScale: 1\r\n"),
            ),
            (
                "GET_PARAMETER",
                "rtsp://10.0.0.1:8554/porch/",
                session.clone(),
            ),
            ("PAUSE", "rtsp://10.0.0.1:8554/porch/", session.clone()),
            (
                "SET_PARAMETER",
                "*",
                format!("{session}Content-Length: 4\r\n"),
            ),
            (
                "TEARDOWN",
                "rtsp://u:p@[fe80::1]:8554/barn%20door/multicast?x",
                session.clone(),
            ),
        ];
        let mut dialogue = Vec::new();
        for (number, (method, address, headers)) in requests.iter().enumerate() {
            let body = if headers.contains("Content-Length") {
                "a: b"
            } else {
                ""
            };
            let text =
                format!("{method} {address} RTSP/1.0\r\nCSeq: {number}\r\n{headers}\r\n{body}");
            record(&mut dialogue, 4, text.as_bytes());
            record(
                &mut dialogue,
                0,
                b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x07\r\n",
            );
        }
        seeds.add("rtsp", name, &dialogue);
    }
}

/// What ONVIF clients ask, and how they look for devices.
fn onvif(seeds: &Seeds) {
    let device = "http://www.onvif.org/ver10/device/wsdl";
    let media = "http://www.onvif.org/ver10/media/wsdl";
    let security =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    let envelope = |header: &str, body: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">\
             <s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        )
    };
    let token = format!(
        "<w:Security s:mustUnderstand=\"1\" xmlns:w=\"{security}\"><w:UsernameToken><w:Username>viewer</w:Username>\
         <w:Password Type=\"x#PasswordDigest\">tuOSpGlFlIXsozq4HFNeeGeFLEI=</w:Password>\
         <w:Nonce>LKqI6G/AikKCQrN0zqZFlg==</w:Nonce><Created>2026-11-28T02:00:00Z</Created>\
         </w:UsernameToken></w:Security>"
    );
    let profile = "<ProfileToken>porch</ProfileToken>";
    let stream = format!(
        "<StreamSetup><Stream>RTP-Unicast</Stream><Transport><Protocol>UDP</Protocol></Transport></StreamSetup>{profile}"
    );
    let asked = [
        (device, "GetSystemDateAndTime", ""),
        (device, "GetDeviceInformation", ""),
        (device, "GetCapabilities", "<Category>All</Category>"),
        (
            device,
            "GetServices",
            "<IncludeCapability>true</IncludeCapability>",
        ),
        (device, "GetServiceCapabilities", ""),
        (device, "GetScopes", ""),
        (device, "GetNetworkInterfaces", ""),
        (device, "GetNetworkProtocols", ""),
        (device, "GetHostname", ""),
        (device, "SetHostname", "<Name>a &amp; b</Name>"),
        (media, "GetProfiles", ""),
        (media, "GetProfile", profile),
        (media, "GetVideoSources", ""),
        (media, "GetVideoSourceConfigurationOptions", ""),
        (media, "GetVideoEncoderConfigurations", ""),
        (
            media,
            "GetVideoEncoderConfiguration",
            "<ConfigurationToken>porch</ConfigurationToken>",
        ),
        (media, "GetVideoEncoderConfigurationOptions", profile),
        (media, "GetStreamUri", stream.as_str()),
        (media, "GetSnapshotUri", profile),
    ];
    for (namespace, operation, arguments) in asked {
        let body = format!("<{operation} xmlns=\"{namespace}\">{arguments}</{operation}>");
        let header = if arguments.is_empty() { "" } else { &token };
        seeds.add("soap", operation, envelope(header, &body).as_bytes());
    }
    let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;'>]><a>&c;<![CDATA[x]]><!-- y --><?z?></a>";
    seeds.add("soap", "bomb", bomb.as_bytes());

    let discovery = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
    let question = |action: &str, body: &str| {
        let header = format!(
            "<a:MessageID xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\">urn:uuid:1</a:MessageID>\
             <a:Action xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\">{discovery}/{action}</a:Action>"
        );
        let body = format!("<{action} xmlns=\"{discovery}\">{body}</{action}>");
        envelope(&header, &body)
    };
    let types = "<Types xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\">dn:NetworkVideoTransmitter</Types>";
    let scopes = format!(
        "{types}<Scopes MatchBy=\"{discovery}/rfc2396\">onvif://www.onvif.org/Profile</Scopes>"
    );
    let own = "<EndpointReference><Address>urn:uuid:1c8e2f0b-6d53-4a91-9b27-e405d83a77c6</Address></EndpointReference>";
    let mut session = Vec::new();
    let all = [
        ("Probe", ""),
        ("Probe", types),
        ("Probe", &scopes),
        ("Resolve", own),
        ("Hello", own),
    ];
    for (n, (action, body)) in (0_u8..).zip(all) {
        record(
            &mut session,
            0x80 | n & 3,
            question(action, body).as_bytes(),
        );
        record(&mut session, 0x82, question(action, body).as_bytes());
    }
    record(&mut session, 0xfc, b"");
    seeds.add("discovery", "session", &session);
}

/// Packets as a sender and a viewer of a locked stream seal them: frames' first ones and others, a
/// report, a loss, and one from a stranger.
fn locked(seeds: &Seeds) {
    for (name, suite, padding) in [("gcm", Suite::Gcm, false), ("cm80", Suite::Cm80, true)] {
        let (ssrc, first) = (Ssrc(7), SeqNo(9));
        let secret = Secret::new([1; 16]);
        let sealer = Sealer::new(&secret, suite, Salt([3; 11]), ssrc, first);
        let mut session = Vec::new();
        for (n, kind) in [2, 2, 2, 3, 2, 2, 0].into_iter().enumerate() {
            let seq = first.plus([0, 1, 1, 2, 60_000, 60_001, 60_002][n]);
            let is_first = n % 2 == 0;
            let mut packet = vec![0x80 | u8::from(is_first) << 4, 26];
            packet.extend(seq.0.to_be_bytes());
            packet.extend([0, 0, 0, 1, 0, 0, 0, 7]);
            if is_first {
                packet.extend([0xBE, 0xDE, 0, 5, HELLO_ID << 4 | 15]);
                packet.extend(sealer.hello(seq).to_bytes());
                packet.extend([0; 3]);
            }
            packet.extend(b"payload");
            match kind {
                3 => record(&mut session, kind, &[0x80, 201, 0, 1, 0, 0, 0, 7]),
                _ => record(&mut session, kind, &packet),
            }
        }
        // The target takes the suite from the length.
        if session.len() % 2 != usize::from(padding) {
            session.push(0);
        }
        seeds.add("srtp", name, &session);
    }
}
