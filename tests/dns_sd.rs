//! DNS-SD between hosts on one wire, with Avahi as the other side: what a board advertises is seen,
//! resolved and taken back, names that are taken are left to their owners, and `lancam list` shows
//! what is found by either way once.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::net::{Host, INTERFACE, Lan, Net, can_enter};
use common::process::Process;
use common::{have, wait_for};
use lancam::dns_sd::{DnsSd, Facts};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

const TOOLS: [&str; 5] = [
    "dbus-daemon",
    "avahi-daemon",
    "avahi-browse",
    "avahi-resolve",
    "avahi-publish-service",
];

/// Whether a test with threads on hosts can run here.
fn can_run(test: &str) -> bool {
    have(test, &TOOLS) && can_enter(test)
}

/// What a board with the stream "porch", RTSP and a page advertises.
fn facts(host: &str, streams: &[&str]) -> Facts {
    Facts {
        host: host.to_owned(),
        rtsp: Some("0.0.0.0:8554".parse().unwrap()),
        streams: streams.iter().map(|&s| s.to_owned()).collect(),
        page: Some("[::]:8080".parse().unwrap()),
    }
}

/// Advertises on a host.
fn advertise(on: &Host, facts: Facts) -> DnsSd {
    on.inside(|| DnsSd::start(facts).unwrap())
}

/// Avahi on a host, with a message bus and a /run of its own.
struct Avahi<'a> {
    host: &'a Host,
    _bus: Process,
    daemon: Process,
    _folder: TempDir,
}

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<auth>EXTERNAL</auth><policy context="default"><allow send_destination="*"/>
<allow receive_sender="*"/><allow own="*"/></policy></busconfig>"#;

impl Avahi<'_> {
    /// It answers for `name`.local.
    fn start<'a>(host: &'a Host, name: &str) -> Avahi<'a> {
        host.run("mount -t tmpfs tmpfs /run && mkdir -p /run/dbus /run/avahi-daemon");
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let bus = file("bus.conf", BUS);
        let settings = file(
            "avahi.conf",
            &format!(
                "[server]\nhost-name={name}\nallow-interfaces={INTERFACE}\n[wide-area]\n\
                 enable-wide-area=no\n[publish]\npublish-workstation=no\npublish-hinfo=no\n"
            ),
        );
        let mut command = host.command("dbus-daemon");
        command
            .args(["--nofork", "--print-address", "--config-file"])
            .arg(bus);
        let bus = Process::spawn("dbus-daemon", command);
        wait_for("the message bus", || bus.lines_so_far().pop());
        let mut command = host.command("avahi-daemon");
        command
            .args(["--no-drop-root", "--no-chroot", "--no-rlimits", "-f"])
            .arg(settings);
        let daemon = Process::spawn("avahi-daemon", command);
        daemon.wait_for_message("Server startup complete");
        Avahi {
            host,
            _bus: bus,
            daemon,
            _folder: folder,
        }
    }

    /// The services of a kind as they come and go.
    fn browse(&self, kind: &str) -> Process {
        let mut command = self.host.command("avahi-browse");
        command.args(["--resolve", "--parsable", kind]);
        Process::spawn("avahi-browse", command)
    }

    /// The address of `name`, IPv4 or IPv6.
    fn resolve(&self, name: &str, version: &str) -> Option<String> {
        let mut command = self.host.command("avahi-resolve");
        let output = command.args([version, "-n", name]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_whitespace().nth(1).map(str::to_owned)
    }

    /// A camera that is no lancam.
    fn publish(&self, name: &str, path: &str) -> Process {
        let mut command = self.host.command("avahi-publish-service");
        command.args([name, "_rtsp._tcp", "554", &format!("path={path}")]);
        let camera = Process::spawn("avahi-publish-service", command);
        camera.wait_for_message("Established under name");
        camera
    }
}

/// Waits for a line of avahi-browse that begins with `sign` and has all of `wanted`.
fn seen(browse: &Process, sign: &str, wanted: &[&str]) -> String {
    wait_for(&format!("{sign} {wanted:?} in {browse}"), || {
        let lines = browse.lines_so_far().into_iter();
        let mut lines = lines.filter(|line| line.starts_with(sign));
        lines.find(|line| wanted.iter().all(|word| line.contains(word)))
    })
}

#[test]
fn services_are_seen_with_their_paths_resolved_and_taken_back() {
    let test = "services_are_seen_with_their_paths";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let avahi = Avahi::start(&net.viewer, "desk");
    let (cameras, pages) = (avahi.browse("_rtsp._tcp"), avahi.browse("_http._tcp"));
    let board = advertise(&net.sender, facts("board", &["porch", "back yard"]));
    let at = ["board.local;10.77.0.1;8554", "\"path=/porch\""];
    seen(&cameras, "=;wire0;IPv4;porch\\032on\\032board;", &at);
    let at = ["board.local;", ";8554;", "\"path=/back%20yard\""];
    seen(
        &cameras,
        "=;wire0;IPv6;back\\032yard\\032on\\032board;",
        &at,
    );
    let at = ["board.local;10.77.0.1;8080", "\"path=/\""];
    seen(&pages, "=;wire0;IPv4;lancam\\032on\\032board;", &at);
    // Nobody else answers for the board's name.
    assert_eq!(
        avahi.resolve("board.local", "-4").as_deref(),
        Some("10.77.0.1")
    );
    assert_eq!(
        avahi.resolve("board.local", "-6").as_deref(),
        Some("fd77::1")
    );
    // Another configuration.
    board.follow(facts("board", &["porch", "door"]));
    seen(
        &cameras,
        "-;wire0;IPv4;back\\032yard\\032on\\032board;",
        &[],
    );
    seen(
        &cameras,
        "=;wire0;IPv4;door\\032on\\032board;",
        &["\"path=/door\""],
    );
    assert!(
        !cameras
            .lines_so_far()
            .iter()
            .any(|l| l.starts_with("-") && l.contains("porch"))
    );
    drop(board);
    seen(&cameras, "-;wire0;IPv4;porch\\032on\\032board;", &[]);
    seen(&cameras, "-;wire0;IPv6;door\\032on\\032board;", &[]);
    seen(&pages, "-;wire0;IPv4;lancam\\032on\\032board;", &[]);
}

#[test]
fn interfaces_are_followed() {
    let test = "dns_sd_interfaces_are_followed";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::unconnected(test) else {
        return;
    };
    // Before there is a network.
    let _board = advertise(&net.sender, facts("board", &["porch"]));
    common::net::connect(&net.sender, &net.viewer);
    let avahi = Avahi::start(&net.viewer, "desk");
    let cameras = avahi.browse("_rtsp._tcp");
    seen(
        &cameras,
        "=;wire0;IPv4;porch",
        &["board.local;10.77.0.1;8554"],
    );
    // Another lease.
    net.sender
        .ip(&format!("address del 10.77.0.1/24 dev {INTERFACE}"));
    net.sender
        .ip(&format!("address add 10.77.0.9/24 dev {INTERFACE}"));
    wait_for("the new address", || {
        let address = avahi.resolve("board.local", "-4");
        address.filter(|a| a == "10.77.0.9")
    });
}

#[test]
fn two_boards_flashed_alike_do_not_clash() {
    let test = "two_boards_flashed_alike";
    if !can_run(test) {
        return;
    }
    let Some(lan) = Lan::with_viewers(test, 2) else {
        return;
    };
    let avahi = Avahi::start(&lan.viewers[1], "desk");
    let cameras = avahi.browse("_rtsp._tcp");
    let _boards =
        [&lan.sender, &lan.viewers[0]].map(|host| advertise(host, facts("board", &["porch"])));
    let first = seen(
        &cameras,
        "=;wire0;IPv4;porch\\032on\\032board;",
        &[";8554;"],
    );
    let second = seen(
        &cameras,
        "=;wire0;IPv4;porch\\032on\\032board\\032\\0402\\041;",
        &[";8554;"],
    );
    let ip = |line: &str| line.split(';').nth(7).unwrap().to_owned();
    let mut ips = [ip(&first), ip(&second)];
    ips.sort();
    assert_eq!(ips, ["10.77.0.1", "10.77.0.2"], "{cameras}");
    let resolved = ["board.local", "board-2.local"].map(|name| avahi.resolve(name, "-4").unwrap());
    assert_ne!(resolved[0], resolved[1]);
}

/// Whichever is there first.
#[test]
fn a_name_that_avahi_answers_for_stays_avahis() {
    let test = "a_name_that_avahi_answers_for";
    if !can_run(test) {
        return;
    }
    for is_first in [true, false] {
        let Some(net) = Net::pair(test) else { return };
        let desk = Avahi::start(&net.viewer, "desk");
        let cameras = desk.browse("_rtsp._tcp");
        let mut board = None;
        if is_first {
            board = Some(advertise(&net.sender, facts("board", &["porch"])));
            seen(
                &cameras,
                "=;wire0;IPv4;porch",
                &["board.local;10.77.0.1;8554"],
            );
        }
        let mut avahi = Avahi::start(&net.sender, "board");
        let board = board.unwrap_or_else(|| advertise(&net.sender, facts("board", &["porch"])));
        seen(
            &cameras,
            "=;wire0;IPv4;porch",
            &["board.local;10.77.0.1;8554"],
        );
        assert_eq!(
            desk.resolve("board.local", "-4").as_deref(),
            Some("10.77.0.1")
        );
        drop(board);
        seen(&cameras, "-;wire0;IPv4;porch", &[]);
        assert_eq!(
            desk.resolve("board.local", "-4").as_deref(),
            Some("10.77.0.1")
        );
        let said = avahi.daemon.messages();
        assert!(said.contains("Host name is board.local."), "{said}");
        let words = ["conflict", "withdraw", "board-2"];
        assert!(
            !words.iter().any(|w| said.to_lowercase().contains(w)),
            "{said}"
        );
    }
}

/// What a sender's page and its stream by RTSP are called, and that they are taken back at the end.
#[test]
fn a_senders_page_and_stream_are_seen_until_it_ends() {
    let test = "a_senders_page_and_stream_are_seen";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let avahi = Avahi::start(&net.viewer, "desk");
    let (cameras, pages) = (avahi.browse("_rtsp._tcp"), avahi.browse("_http._tcp"));
    let send = |listen: &str, page: u16, rtsp: u16| {
        let source = format!("send --source pattern:320x240@15 --interface {INTERFACE}");
        let doors = format!("--status {listen}:{page} --rtsp {listen}:{rtsp}");
        let command = format!("{source} --name porch {doors}");
        Process::spawn("lancam send", net.sender.lancam(&command))
    };
    // What is for this machine alone is nobody else's business.
    let mut local = send("127.0.0.1", 8081, 8555);
    let mut sender = send("0.0.0.0", 8080, 8554);
    let at = ["10.77.0.1;8080;\"path=/\""];
    seen(&pages, "=;wire0;IPv4;lancam\\032on\\032", &at);
    let at = ["10.77.0.1;8554;\"path=/porch\""];
    seen(&cameras, "=;wire0;IPv4;porch\\032on\\032", &at);
    assert!(sender.stop(Signal::SIGTERM).success());
    seen(&pages, "-;wire0;IPv4;lancam\\032on\\032", &[]);
    seen(&cameras, "-;wire0;IPv4;porch\\032on\\032", &[]);
    assert!(local.stop(Signal::SIGTERM).success());
    for (browse, port) in [(&pages, "8081"), (&cameras, "8555")] {
        let lines = browse.lines_so_far();
        assert!(!lines.iter().any(|line| line.contains(port)), "{browse}");
    }
}

/// A gateway is found under its own address; the sender alone, without doors, is not.
#[test]
fn a_gateway_is_seen_until_it_ends() {
    let test = "a_gateway_is_seen";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let avahi = Avahi::start(&net.sender, "desk");
    let cameras = avahi.browse("_rtsp._tcp");
    let send = format!("send --source pattern:320x240@15 --interface {INTERFACE} --name porch");
    let _sender = Process::spawn("lancam send", net.sender.lancam(&send));
    let view = format!("view porch --headless --interface {INTERFACE} --rtsp 0.0.0.0:8554");
    let mut gateway = Process::spawn("lancam view", net.viewer.lancam(&view));
    let at = ["10.77.0.2;8554;\"path=/porch\""];
    seen(&cameras, "=;wire0;IPv4;", &at);
    assert!(gateway.stop(Signal::SIGTERM).success());
    seen(&cameras, "-;wire0;IPv4;", &[]);
    let lines = cameras.lines_so_far();
    assert!(
        !lines.iter().any(|line| line.contains("10.77.0.1;")),
        "{cameras}"
    );
}

fn list(on: &Host, arguments: &str) -> Process {
    let mut list = Process::spawn("lancam list", on.lancam(&format!("list {arguments}")));
    list.succeed();
    list
}

#[test]
fn what_is_found_by_either_way_is_listed_once() {
    let test = "what_is_found_by_either_way";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let send = format!("send --source pattern:320x240@15 --interface {INTERFACE} --name porch");
    let _sender = Process::spawn("lancam send", net.sender.lancam(&send));
    let _board = advertise(&net.sender, facts("board", &["porch"]));
    let avahi = Avahi::start(&net.sender, "other");
    let _camera = avahi.publish("Door \u{1b}[31mred", "/live?ch=1'$(id)");
    let rows: Vec<Value> =
        serde_json::from_str(&list(&net.viewer, "--json").printed().join("\n")).unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (porch, door) = (&rows[0], &rows[1]);
    assert_eq!(porch["name"], "porch");
    assert_eq!(porch["rtsp"], "rtsp://10.77.0.1:8554/porch");
    assert_eq!(porch["can_show"], true);
    let url = "rtsp://10.77.0.1:554/live?ch=1%27%24%28id%29";
    let want = serde_json::json!({
        "name": "Door \u{fffd}[31mred", "group": null, "rtsp": url, "format": null, "width": null,
        "height": null, "fps": null, "ttl": null, "repair_port": null, "sender": "10.77.0.1",
        "interface": INTERFACE, "tool": null, "can_show": false,
        "why_not": "it is served by RTSP alone, as ffplay plays it",
    });
    assert_eq!(*door, want);
    let printed = list(&net.viewer, "--timeout 4").printed();
    assert_eq!(printed.len(), 3, "{printed:?}");
    assert!(
        printed[2].starts_with("Door \u{fffd}[31mred"),
        "{printed:?}"
    );
    assert!(printed[2].contains(url), "{printed:?}");
    assert!(
        !printed.iter().any(|l| l.chars().any(char::is_control)),
        "{printed:?}"
    );
}

#[test]
fn cameras_come_and_go_in_a_list_and_a_viewer_names_their_player() {
    let test = "cameras_come_and_go";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let avahi = Avahi::start(&net.sender, "other");
    let watch = Process::spawn("lancam list", net.viewer.lancam("list --watch --json"));
    let event = |event: &str| {
        wait_for(&format!("{event} door in {watch}"), || {
            let lines = watch.lines_so_far();
            let mut events = lines.iter().filter_map(|l| serde_json::from_str(l).ok());
            events.find(|v: &Value| v["event"] == event && v["name"] == "door")
        })
    };
    let camera = avahi.publish("door", "/live");
    assert_eq!(event("new")["rtsp"], "rtsp://10.77.0.1:554/live");
    let viewer = Process::spawn("lancam view", net.viewer.lancam("view Door --headless"));
    viewer.wait_for_message(
        "\"Door\" is served by RTSP, which lancam does not play; watch it with: \
         ffplay -fflags nobuffer -flags low_delay rtsp://10.77.0.1:554/live",
    );
    drop(camera);
    event("gone");
}

// ---- Malicious ones ----

/// A socket on the wire that speaks as multicast DNS does.
fn mouth(on: &Host) -> UdpSocket {
    on.inside(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any: SocketAddr = "0.0.0.0:5353".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.into()
    })
}

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);

/// A camera called `name`, as bytes.
fn camera(name: &str) -> Vec<u8> {
    let label = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let kind = [label("_rtsp"), label("_tcp"), label("local"), vec![0]].concat();
    let instance = [label(name), kind.clone()].concat();
    let host = [label("flood"), label("local"), vec![0]].concat();
    let record = |name: &[u8], kind: u8, data: &[u8]| {
        let head = [0, kind, 0, 1, 0, 0, 0x11, 0x94];
        let len = (data.len() as u16).to_be_bytes();
        [name, &head, &len, data].concat()
    };
    [
        vec![0, 0, 0x84, 0, 0, 0, 0, 3, 0, 0, 0, 0],
        record(&kind, 12, &instance),
        record(&instance, 33, &[&[0, 0, 0, 0, 2, 42], &host[..]].concat()),
        record(&host, 1, &[10, 77, 0, 1]),
    ]
    .concat()
}

#[test]
fn a_flood_of_services_and_garbage_is_bounded() {
    let test = "a_flood_of_services_and_garbage";
    if !can_run(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let mut listed = Process::spawn("lancam list", net.viewer.lancam("list --timeout 60"));
    listed.wait_until_joined("224.0.0.251");
    let board = advertise(&net.viewer, facts("board", &["porch"]));
    let before = resident(listed.pid());
    let mouth = mouth(&net.sender);
    let mut noise = 1u64;
    for i in 0..10_000 {
        mouth
            .send_to(&camera(&format!("\x1b[2Jx{i}")), GROUP)
            .unwrap();
        if i % 4 != 0 {
            continue;
        }
        let garbage: Vec<u8> = (0..i % 700)
            .map(|_| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        mouth.send_to(&garbage, GROUP).unwrap();
        // A head that promises what does not follow, and a name that points to itself.
        let promise = [&[0, 0, 0x84, 0], &[0xff; 8][..], &garbage].concat();
        mouth.send_to(&promise, GROUP).unwrap();
        let head: [u8; 14] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12];
        mouth.send_to(&head, GROUP).unwrap();
    }
    let grown = resident(listed.pid()).saturating_sub(before);
    assert!(listed.stop(Signal::SIGTERM).success());
    let printed = listed.printed();
    assert!(
        printed.len() > 32 && printed.len() <= 66,
        "{}",
        printed.len()
    );
    assert!(!printed.iter().any(|l| l.chars().any(char::is_control)));
    assert!(
        listed.messages().contains("not shown: there are too many"),
        "{listed}"
    );
    assert!(grown < 8 << 10, "it grew by {grown} kB");
    // The board answers as ever, and ends at once.
    let avahi = Avahi::start(&net.sender, "desk");
    assert_eq!(
        avahi.resolve("board.local", "-4").as_deref(),
        Some("10.77.0.2")
    );
    let asked = Instant::now();
    drop(board);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

/// Memory of a process in kB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A query whose answer would leave the link, or go to a port that answers everything, is none.
#[test]
fn nobody_is_answered_off_the_link() {
    let test = "nobody_is_answered_off_the_link";
    if !can_run(test) || !have(test, &["tcpdump", "python3"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let _board = advertise(&net.viewer, facts("board", &["porch"]));
    // Where the board would send what is not on its link.
    net.viewer.ip("route add default via 10.77.0.1");
    let mut capture = net.sender.command("tcpdump");
    capture.args([
        "-n",
        "-l",
        "-i",
        INTERFACE,
        "udp",
        "and",
        "src",
        "10.77.0.2",
        "and",
        "not",
        "dst",
        "224.0.0.251",
    ]);
    let capture = Process::spawn("tcpdump", capture);
    capture.wait_for_message("listening on");
    let script = r#"
import socket, struct
def udp(src, sport, data):
    length = 8 + len(data)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 255, 17, 0, socket.inet_aton(src), socket.inet_aton("224.0.0.251"))
    return head + struct.pack(">HHHH", sport, 5353, length, 0) + data
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.0.1"))
query = b"\0\7\0\0\0\1\0\0\0\0\0\0\5board\5local\0\0\1\0\1"
raw.sendto(udp("192.0.2.9", 40000, query), ("224.0.0.251", 0))
raw.sendto(udp("10.77.0.1", 19, query), ("224.0.0.251", 0))
raw.sendto(udp("10.77.0.1", 40001, query), ("224.0.0.251", 0))
"#;
    let ask = || {
        let mut python = net.sender.command("python3");
        Process::spawn("python3", {
            python.args(["-c", script]);
            python
        })
        .succeed();
    };
    // Only the third is answered, once the board has its name.
    wait_for("an answer", || {
        ask();
        let lines = capture.lines_so_far();
        lines
            .iter()
            .any(|line| line.contains("10.77.0.1.40001"))
            .then_some(())
    });
    let lines = capture.lines_so_far();
    assert!(
        !lines
            .iter()
            .any(|l| l.contains("192.0.2.9") || l.contains("10.77.0.1.19:")),
        "{lines:?}"
    );
}
