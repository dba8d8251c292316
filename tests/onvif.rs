//! ONVIF and WS-Discovery, on two hosts: clients of other people's making (tests/onvif/client.py),
//! ONVIF's own schemas, and requests that no client would send.
#![cfg(feature = "send")]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::http::{Response, read_head, send};
use common::net::{INTERFACE, Net, SENDER_IP, VIEWER_IP, can_enter};
use common::process::Process;
use common::{PATIENCE, have, skip, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const PORT: &str = "8080";
const DEVICE: &str = "/onvif/device_service";
const DISCOVERY: u16 = 3702;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// What is answered to everybody, users or not.
const OPEN: [&str; 6] = [
    "GetSystemDateAndTime",
    "GetCapabilities",
    "GetServices",
    "GetServiceCapabilities",
    "GetHostname",
    "GetEndpointReference",
];

fn page() -> SocketAddr {
    format!("{SENDER_IP}:{PORT}").parse().unwrap()
}

/// lancam with the services, sending the pattern as "porch".
fn sender(net: &Net, more: &str) -> Process {
    sender_of(net, "porch", more)
}

fn sender_of(net: &Net, name: &str, more: &str) -> Process {
    let command = format!(
        "send --source pattern:640x480@15 --name {name} --group 239.255.2.3:5000 \
         --interface {INTERFACE} --status [::]:{PORT} --onvif {more}"
    );
    let process = Process::spawn("lancam send", net.sender.lancam(&command));
    process.wait_for_message("status page: http://");
    process
}

/// Waits for its first picture, without which there is no profile.
fn wait_for_profile(net: &Net, authorization: &str) {
    let ask = || {
        let body = envelope("<GetProfiles xmlns=\"http://www.onvif.org/ver10/media/wsdl\"/>");
        post(net, authorization, body.as_bytes()).text()
    };
    wait_for("a profile", || ask().contains("token=").then_some(()));
}

/// The interpreter with the clients, as tests/run makes it.
fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/onvif/bin/python3");
    (python.exists() || skip(test, "no ONVIF clients here: tests/run installs them"))
        .then_some(python)
}

/// What a client on the viewer's host makes of the sender.
fn client(net: &Net, python: &Path, words: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onvif/client.py");
    let mut command = net.viewer.command(python.to_str().unwrap());
    let output = command.arg(script).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words:?}: {e}: {text}{errors}"))
}

fn envelope(body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// A request with more header lines, each ended by CR LF, and this body.
fn post(net: &Net, headers: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST {DEVICE} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        page(),
        body.len()
    );
    raw(net, &[head.as_bytes(), body].concat())
}

fn raw(net: &Net, bytes: &[u8]) -> Response {
    net.viewer.inside(|| {
        let mut reader = send(page(), bytes);
        let mut response = read_head(&mut reader).expect("an answer");
        // A server that has read enough may reset the connection behind its answer.
        let _ = reader.read_to_end(&mut response.body);
        response
    })
}

#[test]
fn clients_find_the_camera_and_ask_it() {
    let test = "onvif::clients_find_the_camera_and_ask_it";
    let (Some(python), true) = (python(test), can_enter(test)) else {
        return;
    };
    let Some(net) = Net::pair(test) else {
        return;
    };
    let mut sender = sender(&net, "");
    wait_for_profile(&net, "");

    let found = client(&net, &python, &["discover"]);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let text = found[0].to_string();
    let device = format!("http://{SENDER_IP}:{PORT}{DEVICE}");
    for part in [
        device.as_str(),
        "onvif://www.onvif.org/Profile/Streaming",
        "NetworkVideoTransmitter",
        "urn:uuid:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let asked = client(&net, &python, &["every", SENDER_IP, PORT, "porch"]);
    let asked = asked.as_object().unwrap();
    assert!(asked.len() > 20);
    for (operation, answer) in asked {
        // There is no RTSP server.
        let expected = match operation.as_str() {
            "GetStreamUri" => "ActionNotSupported",
            _ => "valid",
        };
        assert_eq!(answer, expected, "{operation}");
    }

    let camera = client(&net, &python, &["camera", SENDER_IP, PORT]);
    let services = camera["services"].as_object().unwrap();
    assert_eq!(services["http://www.onvif.org/ver10/device/wsdl"], device);
    assert_eq!(camera["manufacturer"], "lancam");
    assert_eq!(camera["has_media"], true);
    let hardware = net
        .sender
        .run(&format!("cat /sys/class/net/{INTERFACE}/address"));
    assert_eq!(camera["hardware"], hardware.trim());
    let endpoint = format!("urn:uuid:{}", camera["serial"].as_str().unwrap());
    assert_eq!(found[0]["id"], endpoint);
    let profile = &camera["profiles"][0];
    assert_eq!(profile["token"], "porch");
    assert_eq!(profile["encoding"], "JPEG");
    assert_eq!(profile["size"], serde_json::json!([640, 480]));
    assert_eq!(profile["group"], serde_json::json!(["239.255.2.3", 5000]));
    let picture = profile["picture"].as_str().expect("a picture");
    let picture: Vec<u8> = (0..picture.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&picture[i..i + 2], 16).unwrap())
        .collect();
    let picture = turbojpeg::decompress(&picture, turbojpeg::PixelFormat::RGB).unwrap();
    assert_eq!((picture.width, picture.height), (640, 480));
    assert!(sender.stop(Signal::SIGTERM).success());
}

#[test]
fn the_streams_that_clients_are_told_of_play() {
    let test = "onvif::the_streams_that_clients_are_told_of_play";
    if !have(test, &["ffmpeg"]) || !can_enter(test) {
        return;
    }
    let (Some(python), Some(net)) = (python(test), Net::pair(test)) else {
        return;
    };
    // A name that must be written differently in XML and in an address.
    let _sender = sender_of(&net, "a/b&c", "--rtsp");
    wait_for_profile(&net, "");
    let asked = client(&net, &python, &["every", SENDER_IP, PORT, "a/b&c"]);
    assert_eq!(asked["GetStreamUri"], "valid");
    let camera = client(&net, &python, &["camera", SENDER_IP, PORT]);
    let profile = &camera["profiles"][0];
    let stream = format!("rtsp://{SENDER_IP}:8554/a%2Fb%26c");
    assert_eq!(profile["stream"], stream);
    assert_eq!(profile["multicast"], stream.clone() + "/multicast");
    let ways = [
        ("stream", "tcp"),
        ("stream", "udp"),
        ("multicast", "udp_multicast"),
    ];
    for (uri, transport) in ways {
        let mut ffmpeg = net.viewer.command("ffmpeg");
        ffmpeg.args(["-v", "error", "-rtsp_transport", transport, "-i"]);
        ffmpeg.arg(profile[uri].as_str().unwrap());
        ffmpeg.args(["-frames:v", "5", "-f", "framemd5", "-"]);
        let mut ffmpeg = Process::spawn(&format!("ffmpeg by {transport}"), ffmpeg);
        ffmpeg.succeed();
        let frames = ffmpeg.printed();
        let frames = frames.iter().filter(|line| !line.starts_with('#'));
        assert_eq!(frames.count(), 5, "{ffmpeg}");
    }
}

#[test]
fn only_users_are_answered() {
    let test = "onvif::only_users_are_answered";
    let (Some(python), true) = (python(test), can_enter(test)) else {
        return;
    };
    let Some(net) = Net::pair(test) else {
        return;
    };
    let password = "correct&horse<7";
    let mut users = tempfile::NamedTempFile::new().unwrap();
    writeln!(users, "viewer:{password}").unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(users.path(), private).unwrap();
    let _sender = sender(&net, &format!("--users-file {}", users.path().display()));
    let login = [SENDER_IP, PORT, "viewer", password];
    wait_for("a profile", || {
        let asked = client(&net, &python, &[&["camera"], &login[..]].concat());
        (asked["profiles"].as_array()?.len() == 1).then_some(())
    });

    let every = |login: &[&str]| {
        let words = [&["every", SENDER_IP, PORT, "porch"], login].concat();
        client(&net, &python, &words)
    };
    for (operation, answer) in every(&["viewer", password]).as_object().unwrap() {
        assert!(
            answer == "valid" || operation == "GetStreamUri",
            "{operation}: {answer}"
        );
    }
    for login in [&[][..], &["viewer", "wrong"], &["nobody", password]] {
        for (operation, answer) in every(login).as_object().unwrap() {
            // Both services have one of this name, and the media service's is asked last.
            let is_open =
                OPEN.contains(&operation.as_str()) && operation != "GetServiceCapabilities";
            let expected = if is_open { "valid" } else { "NotAuthorized" };
            assert_eq!(answer, expected, "{operation} by {login:?}");
        }
    }

    let digest = |login: &[&str]| client(&net, &python, &[&["digest"], login].concat());
    assert_eq!(digest(&login)["has_profiles"], true);
    assert_eq!(digest(&[SENDER_IP, PORT, "viewer", "wrong"])["status"], 401);
    let nobody = post(
        &net,
        "",
        envelope("<GetProfiles xmlns='http://www.onvif.org/ver10/media/wsdl'/>").as_bytes(),
    );
    assert_eq!(nobody.status, 401);
    assert!(
        nobody
            .header("www-authenticate")
            .unwrap()
            .starts_with("Digest ")
    );
    assert!(nobody.text().contains("ter:NotAuthorized"));
    let host =
        "GET /onvif/device_service HTTP/1.1\r\nHost: cam.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&net, host.as_bytes()).status, 405);
}

#[test]
fn what_no_client_sends_is_refused() {
    let test = "onvif::what_no_client_sends_is_refused";
    let (true, Some(net)) = (can_enter(test), Net::pair(test)) else {
        return;
    };
    let mut sender = sender(&net, "");
    wait_for_profile(&net, "");

    let external = "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>";
    let bomb: String = (1..30)
        .map(|n| format!("<!ENTITY e{n} '&e{0};&e{0};&e{0};&e{0};'>", n - 1))
        .collect();
    let deep = "<a>".repeat(2000) + &"</a>".repeat(2000);
    let malformed = [
        String::new(),
        "hello".to_owned(),
        envelope("<a></b>"),
        external.to_owned() + &envelope("<a>&b;</a>"),
        format!("<!DOCTYPE a [<!ENTITY e0 'ha'>{bomb}]>") + &envelope("<a>&e29;</a>"),
        envelope(&deep),
        envelope(""),
    ];
    for body in &malformed {
        let response = post(&net, "", body.as_bytes());
        let text = response.text();
        assert_eq!(response.status, 400, "{body}: {text}");
        assert!(
            text.contains("env:Sender") && text.contains("ter:WellFormed"),
            "{text}"
        );
        assert!(!text.contains("root:"), "{text}");
        let kind = response.header("content-type");
        assert_eq!(kind, Some("application/soap+xml; charset=utf-8"));
    }
    assert_eq!(post(&net, "", &[0xff; 100]).status, 400);

    let reboot = envelope("<SystemReboot xmlns='http://www.onvif.org/ver10/device/wsdl'/>");
    let response = post(&net, "", reboot.as_bytes());
    assert_eq!(response.status, 500);
    assert!(response.text().contains("ter:ActionNotSupported"));

    assert_eq!(post(&net, "", &vec![b' '; 1 << 20]).status, 413);
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let chunked = format!(
        "POST {DEVICE} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}0\r\n\r\n",
        page()
    );
    assert_eq!(raw(&net, chunked.as_bytes()).status, 413);
    let slow = format!(
        "POST {DEVICE} HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\nConnection: close\r\n\r\n<a>",
        page()
    );
    assert_eq!(raw(&net, slow.as_bytes()).status, 408);

    let line = |method: &str, path: &str, host: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        raw(&net, head.as_bytes())
    };
    let host = page().to_string();
    let get = line("GET", DEVICE, &host);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    for path in [
        "/",
        "/status.json",
        "/onvif",
        "/onvif/device_service/",
        "/onvif/events",
    ] {
        assert_eq!(line("POST", path, &host).status, 405, "{path}");
    }
    assert_eq!(line("POST", DEVICE, "evil.example:8080").status, 421);
    // It is as well as before.
    wait_for_profile(&net, "");
    assert!(sender.stop(Signal::SIGTERM).success());
}

#[test]
fn without_the_setting_nobody_is_answered() {
    let test = "onvif::without_the_setting_nobody_is_answered";
    let (true, Some(net)) = (can_enter(test), Net::pair(test)) else {
        return;
    };
    let command =
        format!("send --source pattern:64x48@5 --interface {INTERFACE} --status [::]:{PORT}");
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.wait_for_message("status page: http://");
    assert_eq!(post(&net, "", envelope("<a/>").as_bytes()).status, 405);
    let sockets = net.sender.run("ss -lun");
    assert!(!sockets.contains(":3702"), "{sockets}");
}

/// The datagrams that a socket on the viewer's host gets.
struct Ear(UdpSocket);

impl Ear {
    /// Hears what is said to all, by one IP version.
    fn to_all(net: &Net, is_ipv6: bool) -> Ear {
        net.viewer.inside(|| {
            let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
            let socket = Socket::new(domain, Type::DGRAM, None).unwrap();
            let own: Ipv4Addr = VIEWER_IP.parse().unwrap();
            let index = nix::net::if_::if_nametoindex(INTERFACE).unwrap();
            let any: IpAddr = match is_ipv6 {
                false => Ipv4Addr::UNSPECIFIED.into(),
                true => Ipv6Addr::UNSPECIFIED.into(),
            };
            if is_ipv6 {
                socket.set_only_v6(true).unwrap();
                let group = "ff02::c".parse().unwrap();
                socket.join_multicast_v6(&group, index).unwrap();
            } else {
                socket.join_multicast_v4(&GROUP, &own).unwrap();
            }
            socket
                .bind(&SocketAddr::new(any, DISCOVERY).into())
                .unwrap();
            let socket = UdpSocket::from(socket);
            Ear(socket)
        })
    }

    fn at(net: &Net, address: &str) -> Ear {
        net.viewer
            .inside(|| Ear(UdpSocket::bind((address, 0)).unwrap()))
    }

    /// Waits for a datagram that has all of these.
    fn hear(&self, parts: &[&str]) -> SocketAddr {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 8192];
        let mut last = String::new();
        while Instant::now() < deadline {
            self.0
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            let Ok((len, from)) = self.0.recv_from(&mut buffer) else {
                continue;
            };
            last = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if parts.iter().all(|part| last.contains(part)) {
                return from;
            }
        }
        panic!("never heard {parts:?}; last: {last}");
    }

    /// How many datagrams come until none has for a second.
    fn count(&self) -> usize {
        self.0
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        (0..)
            .take_while(|_| self.0.recv(&mut [0; 8192]).is_ok())
            .count()
    }

    fn ask(&self, to: SocketAddr, id: &str) {
        let text = format!(
            "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:a='http://schemas.xmlsoap.org/ws/2004/08/addressing'>\
             <s:Header><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action><a:MessageID>{id}</a:MessageID></s:Header>\
             <s:Body><Probe xmlns='http://schemas.xmlsoap.org/ws/2005/04/discovery'/></s:Body></s:Envelope>"
        );
        self.0.send_to(text.as_bytes(), to).unwrap();
    }
}

#[test]
fn discovery_says_hello_answers_neighbours_and_says_bye() {
    let test = "onvif::discovery_says_hello_answers_neighbours_and_says_bye";
    let (true, Some(net)) = (can_enter(test), Net::pair(test)) else {
        return;
    };
    let (v4, v6) = (Ear::to_all(&net, false), Ear::to_all(&net, true));
    let mut sender = sender(&net, "");
    let device = format!("http://{SENDER_IP}:{PORT}{DEVICE}");
    for ear in [&v4, &v6] {
        ear.hear(&["Hello>", &device, "http://[fd77::1]:8080"]);
    }

    let group = SocketAddr::new(GROUP.into(), DISCOVERY);
    let unicast = SocketAddr::new(SENDER_IP.parse().unwrap(), DISCOVERY);
    let neighbour = Ear::at(&net, VIEWER_IP);
    for noise in [&b""[..], b"\0", b"<a", &[0xff; 1400], &[b'<'; 9000]] {
        neighbour.0.send_to(noise, group).unwrap();
        neighbour.0.send_to(noise, unicast).unwrap();
    }
    for (n, to) in [group, unicast].into_iter().enumerate() {
        let id = format!("urn:uuid:{n}");
        neighbour.ask(to, &id);
        let from = neighbour.hear(&["ProbeMatches", &device, &id]);
        assert_eq!(from, unicast);
    }
    // By IPv6 too, where the first address is one that says enough by itself.
    let near = Ear::at(&net, "fd77::2");
    near.ask("[fd77::1]:3702".parse().unwrap(), "urn:uuid:6");
    near.hear(&["ProbeMatches", &format!("XAddrs>{device} "), "urn:uuid:6"]);

    // A stranger to whom an answer could be sent.
    net.viewer
        .ip(&format!("address add 192.0.2.9/32 dev {INTERFACE}"));
    net.sender
        .ip(&format!("route add 192.0.2.9/32 dev {INTERFACE}"));
    let stranger = Ear::at(&net, "192.0.2.9");
    stranger.ask(unicast, "urn:uuid:stranger");
    stranger.ask(group, "urn:uuid:stranger");
    assert_eq!(stranger.count(), 0);

    // A flood, as from somebody who wants the answers to go to a neighbour.
    let started = Instant::now();
    for n in 0..2000 {
        neighbour.ask(unicast, &format!("urn:uuid:flood{n}"));
    }
    let answers = neighbour.count();
    let seconds = started.elapsed().as_secs() as usize + 1;
    assert!(
        (1..=5 * seconds).contains(&answers),
        "{answers} in {seconds} s"
    );
    wait_for("an answer after the flood", || {
        neighbour.ask(unicast, "urn:uuid:after");
        (neighbour.count() > 0).then_some(())
    });

    net.sender
        .ip(&format!("address add 10.78.0.1/24 dev {INTERFACE}"));
    v4.hear(&["Hello>", "http://10.78.0.1:8080"]);
    assert!(sender.stop(Signal::SIGTERM).success());
    v4.hear(&["Bye>", "urn:uuid:"]);
    v6.hear(&["Bye>", "urn:uuid:"]);
}
