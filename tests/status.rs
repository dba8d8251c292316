//! The status page: the real program on this host's loopback, asked by hand-written HTTP, by
//! Prometheus' own tools and by a real browser.
#![cfg(feature = "send")]

mod common;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::browser::Browser;
use common::clip::{Chroma, Clip, Kind};
use common::http::{self, Moving, get, request, send};
use common::net::{INTERFACE, Lan, can_enter};
use common::pixels::{Planes, assert_same};
use common::process::Process;
use common::{have, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Pictures a second that the page takes off a stream at most.
const MOST_PREVIEWS: u64 = 10;

fn lancam(arguments: &[&str]) -> Process {
    // It is killed with the test, even if that is killed itself.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_lancam")])
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("LANCAM_LOG")
        .env_remove("LANCAM_STATUS_TOKEN");
    Process::spawn(&format!("lancam {}", arguments.join(" ")), command)
}

/// A group on loopback that no other test uses at this time.
fn free_group() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().min(65_000);
    format!("239.255.70.{}:{port}", port % 250 + 1)
}

/// A sender of one picture of 1280x720, 30 times a second, which costs next to nothing: what its
/// rate loses, it loses to others. `None` where there is nothing to make the picture with.
fn steady_sender(test: &str) -> Option<(Process, SocketAddr)> {
    if !have(test, &["cjpeg"]) {
        return None;
    }
    let clip = Clip::get(Kind::new(1280, 720, Chroma::C422));
    let series = clip.series();
    Some(sender(series.to_str().unwrap(), &["--loop", "--fps", "30"]))
}

/// A sender of `source`, and where its page is.
fn sender(source: &str, more: &[&str]) -> (Process, SocketAddr) {
    let group = free_group();
    let mut words = vec!["send", "--source", source, "--group", &group];
    words.extend(["--interface", "lo", "--ttl", "0", "--status", "127.0.0.1:0"]);
    words.extend(more);
    let process = lancam(&words);
    let address = page(&process);
    (process, address)
}

/// Where the page is, as the log says it.
fn page(process: &Process) -> SocketAddr {
    let line = process.wait_for_message("status page: http://");
    let (_, address) = line.split_once("http://").unwrap();
    address.trim_end_matches('/').parse().unwrap()
}

fn status(address: SocketAddr) -> Value {
    let response = get(address, "/status.json");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).unwrap()
}

fn wait_for_frames(address: SocketAddr, field: &str) {
    wait_for(field, || {
        (status(address)["streams"][0][field].as_u64()? > 0).then_some(())
    });
}

/// Frames a second of the only stream over `time`, by its own counter and clock.
fn rate(address: SocketAddr, time: Duration) -> f64 {
    let read = || {
        let status = status(address);
        let frames = status["streams"][0]["frames_sent"].as_f64().unwrap();
        (frames, status["uptime_s"].as_f64().unwrap())
    };
    let before = read();
    let due = Instant::now() + time;
    let after = wait_for("the figures to move on", || {
        Some(read()).filter(|now| Instant::now() >= due && now.1 > before.1)
    });
    (after.0 - before.0) / (after.1 - before.1)
}

/// Resident memory of a process in kilobytes.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn every_path_answers_and_nothing_else_does() {
    let (_sender, address) = sender("pattern:640x480@20", &["--name", "porch"]);
    wait_for_frames(address, "frames_sent");

    let types = [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/snapshot.jpg", "image/jpeg"),
        ("/snapshot.jpg?stream=porch", "image/jpeg"),
        ("/stream.sdp", "application/sdp"),
        ("/status.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
    ];
    for (path, content_type) in types {
        let response = get(address, path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(
            response.header("content-type"),
            Some(content_type),
            "{path}"
        );
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("access-control-allow-origin"), None);
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        let head = request(address, "HEAD", path, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    assert_eq!(get(address, "/healthz").text(), "ok\n");

    let sdp = get(address, "/stream.sdp").body;
    let described = lancam::rtp::sdp::StreamDescription::parse(&sdp).unwrap();
    assert_eq!(described.name, "porch");

    let strange = [
        "/nothing",
        "//",
        "/./",
        "/../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/etc/passwd",
        "/status.json/",
        "/status.json/..",
        "/Status.json",
        "/%73tatus.json",
        "/\\..\\x",
        "/page.js.map",
        "/snapshot.jpg?stream=nobody",
        "/stream.sdp?stream=",
        "/healthz?stream=x",
        "/stream.mjpg?stream=%00%ff",
        "*",
    ];
    for path in strange {
        let response = get(address, path);
        // 400: not even an address.
        assert!(
            [400, 404].contains(&response.status),
            "{path}: {response:?}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let response = request(address, method, "/", "Content-Length: 0\r\n");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
    let counted = status(address)["visitors"]["refused_requests"]
        .as_u64()
        .unwrap();
    assert!(counted >= 16, "{counted}");
}

#[test]
fn the_preview_is_the_frame_itself() {
    if !have("the_preview_is_the_frame_itself", &["cjpeg"]) {
        return;
    }
    let clip = Clip::get(Kind::new(320, 240, Chroma::C422));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.jpg");
    std::fs::write(&file, &clip.frames[0]).unwrap();
    let source = file.to_str().unwrap();
    let (_sender, address) = sender(source, &["--loop", "--fps", "20"]);
    let snapshot = get(address, "/snapshot.jpg");
    assert_eq!(snapshot.status, 200, "{}", snapshot.text());
    let expected = Planes::decode(&clip.frames[0]);
    assert_same("snapshot", &Planes::decode(&snapshot.body), &expected);
}

#[test]
fn the_moving_picture_moves_at_a_bounded_rate() {
    let (_sender, address) = sender("pattern:640x480@30", &[]);
    let mut moving = Moving::open(address, "/stream.mjpg");
    let mut last = moving.next();
    let begun = Instant::now();
    let mut pictures = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let next = moving.next();
        let planes = Planes::decode(&next);
        assert_eq!((planes.width, planes.height), (640, 480));
        assert!(next != last, "the same picture again");
        last = next;
        pictures += 1;
    }
    let most = MOST_PREVIEWS * 3 + 2;
    assert!((8..=most).contains(&pictures), "{pictures} pictures in 3 s");
    assert_eq!(status(address)["visitors"]["watchers"], 1);
    drop(moving);
    wait_for("the watcher to be gone", || {
        (status(address)["visitors"]["watchers"] == 0).then_some(())
    });
}

#[test]
fn without_the_token_nothing_is_seen() {
    let token = "correct&horse%+";
    let more = ["--status-token", token];
    let (_sender, address) = sender("pattern:320x240@20", &more);
    let paths = [
        "/page.js",
        "/snapshot.jpg",
        "/stream.mjpg",
        "/stream.sdp",
        "/status.json",
        "/metrics",
        "/healthz",
        "/nothing",
        "/status.json?token=wrong-token",
    ];
    for path in paths {
        let response = get(address, path);
        assert_eq!(response.status, 401, "{path}");
        assert!(response.text().starts_with("a token is needed"), "{path}");
        assert_eq!(
            response.header("www-authenticate"),
            Some("Bearer realm=\"lancam\"")
        );
    }
    let form = get(address, "/");
    assert_eq!(form.status, 401);
    assert!(form.text().contains("<form"));

    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(request(address, "GET", "/status.json", &bearer).status, 200);
    let query = "token=correct%26horse%25%2B";
    let path = format!("/snapshot.jpg?{query}");
    assert_eq!(get(address, &path).status, 200);
    // The page keeps it in a cookie, out of the address bar.
    let welcome = get(address, &format!("/?{query}"));
    assert_eq!(
        (welcome.status, welcome.header("location")),
        (303, Some("./"))
    );
    let cookie = welcome
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let cookie = format!("Cookie: {cookie}\r\n");
    for path in ["/", "/page.js", "/status.json"] {
        assert_eq!(request(address, "GET", path, &cookie).status, 200, "{path}");
    }
}

#[test]
fn users_log_in_with_a_password() {
    if !have("users_log_in_with_a_password", &["curl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "viewer:correct-horse\n").unwrap();
    let file = users.to_str().unwrap();
    fs::set_permissions(&users, Permissions::from_mode(0o644)).unwrap();
    let refused = lancam(&[
        "send",
        "--source",
        "pattern:320x240@20",
        "--interface",
        "lo",
        "--ttl",
        "0",
        "--group",
        &free_group(),
        "--status",
        "127.0.0.1:0",
        "--users-file",
        file,
    ]);
    refused.wait_for_message("everyone on this machine can read the passwords");

    fs::set_permissions(&users, Permissions::from_mode(0o600)).unwrap();
    let more = ["--users-file", file, "--status-token", "battery-staple"];
    let (_sender, address) = sender("pattern:320x240@20", &more);
    let curl = |path: &str, more: &[&str]| {
        let url = format!("http://{address}{path}");
        let mut words = vec![
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ];
        words.extend(more);
        let output = Command::new("curl").args(words).arg(url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // curl takes SHA-256 where it is offered.
    for path in [
        "/",
        "/snapshot.jpg",
        "/status.json?stream=lancam",
        "/metrics",
    ] {
        assert_eq!(
            curl(path, &["--digest", "--user", "viewer:correct-horse"]),
            "200",
            "{path}"
        );
        assert_eq!(curl(path, &[]), "401", "{path}");
    }
    for wrong in ["viewer:correct-hors", "Viewer:correct-horse", "viewer:"] {
        assert_eq!(
            curl("/snapshot.jpg", &["--digest", "--user", wrong]),
            "401",
            "{wrong}"
        );
    }
    // Of a password that is sent as it is, nothing is heard.
    assert_eq!(
        curl(
            "/snapshot.jpg",
            &["--basic", "--user", "viewer:correct-horse"]
        ),
        "401"
    );
    let bearer = "Authorization: Bearer battery-staple\r\n";
    assert_eq!(request(address, "GET", "/status.json", bearer).status, 200);
    let denied = get(address, "/snapshot.jpg");
    let challenges = denied
        .headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate");
    let challenges: Vec<&str> = challenges.map(|(_, value)| value.as_str()).collect();
    let kinds = ["algorithm=SHA-256", "algorithm=MD5", "Bearer"];
    assert_eq!(challenges.len(), kinds.len(), "{challenges:?}");
    assert!(
        challenges
            .iter()
            .zip(kinds)
            .all(|(c, kind)| c.contains(kind)),
        "{challenges:?}"
    );
}

#[test]
fn a_foreign_name_for_this_host_is_refused() {
    let (_sender, address) = sender("pattern:320x240@20", &[]);
    let raw = b"GET /snapshot.jpg HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let head = http::read_head(&mut send(address, raw)).unwrap();
    assert_eq!(head.status, 421);
    assert_eq!(status(address)["visitors"]["refused_access"], 1);
}

#[test]
fn prometheus_reads_the_metrics() {
    let name = r#"por"ch\ <b>x</b> {a="b"}"#;
    let (_sender, address) = sender("pattern:320x240@20", &["--name", name, "--repair", "0.2"]);
    wait_for_frames(address, "frames_sent");
    let text = get(address, "/metrics").text();
    assert!(text.ends_with("\n# EOF\n"));
    let sample = r#"lancam_frames_sent_total{stream="por\"ch\\ <b>x</b> {a=\"b\"}"} "#;
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    assert!(line.unwrap().parse::<u64>().unwrap() > 0);
    for name in [
        "lancam_sent_bytes_total",
        "lancam_repair_packets_sent_total",
        "lancam_viewers",
        "lancam_gate_passed_total",
        "lancam_stream_healthy",
        "lancam_http_requests_total",
    ] {
        assert!(text.contains(&format!("\n# TYPE {name} ")), "{name}");
    }
    // What rises and falls is no total; every name ends in its unit.
    for sample in [
        "lancam_offline{",
        "lancam_repair_ratio{",
        "lancam_octets_sent_bytes_total{",
    ] {
        assert!(text.contains(&format!("\n{sample}")), "{sample}: {text}");
    }
    metrics_are_well_formed(address, name);
}

/// Prometheus' own linter has no remark, and a parser of OpenMetrics reads the frames of stream
/// `name`.
fn metrics_are_well_formed(address: SocketAddr, name: &str) {
    if have("metrics_are_well_formed", &["promtool"]) {
        fed(
            "promtool",
            &["check", "metrics"],
            &get(address, "/metrics").text(),
        );
    }
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let open = request(address, "GET", "/metrics", accept);
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let script = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
frames = ('lancam_frames_sent_total', 'lancam_frames_whole_total')
names = {s.labels.get('stream') for f in parse(sys.stdin.read()) for s in f.samples if s.name in frames}
assert names == {sys.argv[1]}, names";
    let parser = ["-c", "import prometheus_client"];
    let has_parser = Command::new("/usr/bin/python3")
        .args(parser)
        .stderr(Stdio::null())
        .status();
    if has_parser.is_ok_and(|status| status.success()) {
        fed("/usr/bin/python3", &["-c", script, name], &open.text());
    } else {
        common::skip("OpenMetrics", "no python3-prometheus-client here");
    }
}

/// Runs a program on `input`, and expects success.
fn fed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program}: {said}\n{input}");
    assert_eq!(said, "", "{program}");
}

#[test]
fn several_streams_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("two.ron");
    let stream = |name: &str, size: &str| {
        format!(
            "(name: \"{name}\", source: Pattern(\"{size}@20\"), interface: Some(\"lo\"), ttl: 0, group: \"{}\")",
            free_group()
        )
    };
    let (a, b) = (stream("a&b=c", "320x240"), stream("<b>yard</b>", "640x480"));
    let text = format!("(streams: [{a}, {b}], status: On(listen: \"127.0.0.1:0\"))");
    std::fs::write(&config, text).unwrap();
    let mut process = lancam(&["send", "--config", config.to_str().unwrap(), "--stats", "-"]);
    let address = page(&process);
    let sizes = [
        ("", 320),
        ("?stream=a%26b%3Dc", 320),
        ("?stream=%3Cb%3Eyard%3C%2Fb%3E", 640),
    ];
    for (query, width) in sizes {
        let snapshot = get(address, &format!("/snapshot.jpg{query}"));
        assert_eq!(Planes::decode(&snapshot.body).width, width, "{query}");
    }
    let shown = status(address);
    assert_eq!(shown["streams"][0]["name"], "a&b=c");
    assert_eq!(shown["streams"][1]["name"], "<b>yard</b>");
    wait_for("both to be well", || {
        (get(address, "/healthz").status == 200).then_some(())
    });
    // The same figures under the same names as --stats.
    let stats = process.wait_for_stats("both streams", |s| s["streams"][1]["fps"].is_number());
    let shown = status(address);
    for (key, _) in stats["streams"][0].as_object().unwrap() {
        assert!(shown["streams"][0].get(key).is_some(), "{key}");
    }

    // A reload takes the page away, and nothing else.
    let text = format!("(streams: [{a}, {b}])");
    std::fs::write(&config, text).unwrap();
    process.signal(Signal::SIGHUP);
    wait_for("the page to be closed", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    process.wait_for_stats("frames after the reload", |s| {
        s["streams"][0]["frames_sent"].as_u64() > stats["streams"][0]["frames_sent"].as_u64()
    });
    assert!(process.stop(Signal::SIGTERM).success());
}

#[test]
fn health_is_that_of_the_frames() {
    let (mut sender, address) = sender("-", &["--name", "porch"]);
    let mut frames = sender.stdin();
    assert_eq!(get(address, "/healthz").text(), "porch: no frame yet\n");
    let pixels = vec![99; 64 * 64 * 3];
    let image = turbojpeg::Image {
        pixels: pixels.as_slice(),
        width: 64,
        pitch: 64 * 3,
        height: 64,
        format: turbojpeg::PixelFormat::RGB,
    };
    let jpeg = turbojpeg::compress(image, 80, turbojpeg::Subsamp::Sub2x2).unwrap();
    let mut feed = || {
        wait_for("200", || {
            frames.write_all(&jpeg).unwrap();
            (get(address, "/healthz").status == 200).then_some(())
        });
    };
    feed();
    let ill = wait_for("503", || {
        Some(get(address, "/healthz")).filter(|response| response.status == 503)
    });
    // The second follows the first, once the slate goes out.
    let sentences = [
        "porch: no frame for ",
        "porch: no signal: standard input has sent no picture for ",
    ];
    let said = ill.text();
    assert!(sentences.iter().any(|s| said.starts_with(s)), "{said}");
    // The slate is a picture, but none of the source's.
    wait_for("the slate", || {
        (get(address, "/snapshot.jpg").status == 200).then_some(())
    });
    assert_eq!(get(address, "/healthz").status, 503);
    feed();
}

/// A visitor is nobody who reports, and watches all the same.
#[test]
fn a_visitor_opens_what_is_open_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("demand.ron");
    let text = format!(
        "(streams: [(source: Pattern(\"320x240@20\"), interface: Some(\"lo\"), ttl: 0, group: \"{}\", only_while_watched: true)], \
         status: On(listen: \"127.0.0.1:0\"))",
        free_group()
    );
    std::fs::write(&config, text).unwrap();
    let sender = lancam(&["send", "--config", config.to_str().unwrap()]);
    let address = page(&sender);
    sender.wait_for_message("the source stays closed until");
    assert_eq!(status(address)["streams"][0]["frames_sent"], 0);
    let snapshot = get(address, "/snapshot.jpg");
    assert_eq!(Planes::decode(&snapshot.body).width, 320);
    wait_for("the source to be closed again", || {
        (status(address)["streams"][0]["state"] == "waiting_for_viewers").then_some(())
    });
}

#[test]
fn a_viewer_is_a_gateway_to_the_group() {
    let group = free_group();
    let words = [
        "view",
        &group,
        "--interface",
        "lo",
        "--headless",
        "--status",
        "127.0.0.1:0",
    ];
    let viewer = lancam(&words);
    let address = page(&viewer);
    // The page is up before its first figures are.
    wait_for("the first figures", || {
        let ill = get(address, "/healthz");
        assert_eq!(ill.status, 503);
        (ill.text() == format!("{group}: no frame yet\n")).then_some(())
    });
    assert_eq!(get(address, "/stream.sdp").status, 503);

    let source = ["--source", "pattern:640x480@20", "--group", &group];
    let words = ["send", "--interface", "lo", "--ttl", "0"];
    let mut sender = lancam(&[&words[..], &source[..]].concat());
    wait_for_frames(address, "frames_whole");
    wait_for("200", || {
        (get(address, "/healthz").status == 200).then_some(())
    });
    let mut moving = Moving::open(address, "/stream.mjpg");
    let (first, second) = (moving.next(), moving.next());
    assert!(first != second);
    assert_eq!(Planes::decode(&second).width, 640);
    let shown = status(address);
    assert_eq!(shown["role"], "viewer");
    assert_eq!(shown["streams"][0]["state"], "streaming");
    assert!(shown["streams"][0]["delay_ms"]["p50"].as_f64().unwrap() < 1000.0);
    let metrics = get(address, "/metrics").text();
    assert!(
        metrics.contains("lancam_received_bytes_total{"),
        "{metrics}"
    );
    assert!(metrics.contains("quantile=\"0.99\"} 0.0"), "{metrics}");
    metrics_are_well_formed(address, &group.to_string());
    let sdp = get(address, "/stream.sdp").body;
    assert!(lancam::rtp::sdp::StreamDescription::parse(&sdp).is_ok());

    let why_not = || {
        let ill = wait_for("503", || {
            Some(get(address, "/healthz")).filter(|response| response.status == 503)
        });
        assert_eq!(status(address)["streams"][0]["state"], "no_signal");
        ill.text()
    };
    sender.stop(Signal::SIGTERM);
    let goodbye = format!("{group}: no signal: the sender has stopped\n");
    assert_eq!(why_not(), goodbye);
    let mut sender = lancam(&[&words[..], &source[..]].concat());
    wait_for("200 again", || {
        (get(address, "/healthz").status == 200).then_some(())
    });
    sender.stop(Signal::SIGKILL);
    let silence = format!("{group}: no signal: no packets from {group}\n");
    assert_eq!(why_not(), silence);
}

#[test]
fn a_port_that_is_taken_is_said_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let group = free_group();
    let network = [
        "--group",
        group.as_str(),
        "--interface",
        "lo",
        "--status",
        &address,
    ];
    let send = ["send", "--source", "pattern:320x240@20", "--ttl", "0"];
    for words in [&send[..], &["view", "--headless"][..]] {
        // The viewer's group is its target.
        let words: Vec<&str> = words.iter().chain(&network).copied().collect();
        let mut process = lancam(&words);
        assert_eq!(process.wait().code(), Some(1), "{process}");
        let said = process.messages();
        let want = format!("the status page cannot listen on {address}: Address already in use");
        assert!(said.contains(&want), "{said}");
    }
}

#[test]
fn a_flood_costs_its_visitors_and_nobody_else() {
    let Some((process, address)) = steady_sender("a_flood") else {
        return;
    };
    wait_for_frames(address, "frames_sent");
    let before = memory(&process);
    // Some say nothing, some never finish, some say far too much.
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    let beginnings: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x",
        huge.as_bytes(),
        many.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    let flood: Vec<_> = (0..1000)
        .map(|n| send(address, beginnings[n % beginnings.len()]))
        .collect();
    let refused = wait_for("an answer", || {
        let raw = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        http::read_head(&mut send(address, raw))
    });
    assert!([200, 503].contains(&refused.status));
    // Those that are silent are put out in time, and there is room again.
    let visitors = wait_for("room", || {
        let raw = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut reader = send(address, raw);
        let head = http::read_head(&mut reader).filter(|head| head.status == 200)?;
        let mut body = head.body;
        reader.read_to_end(&mut body).ok()?;
        let status: Value = serde_json::from_slice(&body).ok()?;
        (status["visitors"]["connections"].as_u64()? < 10).then(|| status["visitors"].clone())
    });
    assert!(
        visitors["refused_connections"].as_u64().unwrap() > 100,
        "{visitors}"
    );
    assert!(
        visitors["refused_requests"].as_u64().unwrap() > 10,
        "{visitors}"
    );
    drop(flood);
    let fps = rate(address, Duration::from_secs(2));
    assert!(fps > 28.5, "{fps} fps");
    let grown = memory(&process).saturating_sub(before);
    assert!(grown < 8_000, "{grown} kB more");
}

#[test]
fn those_who_read_slowly_slow_nobody() {
    let Some((process, address)) = steady_sender("those_who_read_slowly") else {
        return;
    };
    wait_for_frames(address, "frames_sent");
    let raw = b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // One more than may watch.
    let mut stalled: Vec<_> = (0..33).map(|_| send(address, raw)).collect();
    let heads = stalled
        .iter_mut()
        .map(|reader| http::read_head(reader).unwrap().status);
    let heads: Vec<u16> = heads.collect();
    assert_eq!(
        heads.iter().filter(|&&status| status == 503).count(),
        1,
        "{heads:?}"
    );
    assert_eq!(status(address)["visitors"]["watchers"], 32);
    let fps = rate(address, Duration::from_secs(4));
    assert!(fps > 28.5, "{fps} fps");
    assert!(memory(&process) < 60_000, "{} kB", memory(&process));
    // Who takes nothing for ten seconds is gone.
    wait_for("the stalled to be put out", || {
        (status(address)["visitors"]["watchers"] == 0).then_some(())
    });
}

/// The real thing. With `LANCAM_SHOTS=FOLDER` its pictures are kept.
#[test]
fn a_browser_shows_it() {
    let Some(mut browser) = Browser::open("a_browser_shows_it") else {
        return;
    };
    let name = "porch <img src=x onerror=\"document.title='caught'\">";
    let more = ["--name", name, "--status-token", "correct-horse"];
    let (mut sender, address) = sender("pattern:1280x720@30", &more);
    browser.look(1200, 900, false);
    browser.visit(&format!("http://{address}/?token=correct-horse"));
    browser.wait_until("location.search === ''");
    browser.wait_until("document.querySelector('.badge')?.textContent === 'live'");

    // The picture moves.
    browser.wait_until("document.querySelector('.picture').naturalWidth === 1280");
    let grab = "(() => { const i = document.querySelector('.picture'); const c = document.createElement('canvas'); c.width = 320; c.height = 180; c.getContext('2d').drawImage(i, 0, 0, 320, 180); return c.toDataURL(); })()";
    let first = browser.eval(grab);
    assert!(first.as_str().unwrap().len() > 1000, "{first}");
    wait_for("the picture to move", || {
        (browser.eval(grab) != first).then_some(())
    });

    // The figures update.
    let figure = "[...document.querySelectorAll('.figures div')].find(d => d.firstChild.textContent === 'frames sent').lastChild.textContent";
    let first = browser.eval(figure);
    wait_for("the figures to move", || {
        (browser.eval(figure) != first).then_some(())
    });
    let fps = "parseFloat([...document.querySelectorAll('.figures div')].find(d => d.firstChild.textContent === 'frame rate').lastChild.textContent)";
    wait_for("30 fps", || {
        (25.0..35.0)
            .contains(&browser.eval(fps).as_f64()?)
            .then_some(())
    });
    browser.wait_until("document.querySelector('.chart path').getAttribute('d').includes('L')");

    // Names are text.
    assert_eq!(
        browser.eval("document.querySelector('h2').textContent"),
        name
    );
    assert_eq!(
        browser.eval("document.querySelector('h2').children.length"),
        0
    );
    // What a hostile viewer could report, as the page is given it.
    browser.eval("{ const real = fetch; window.fetch = async (...a) => { const r = await real(...a); const j = await r.json(); j.streams[0].watching = [{ ssrc: 427860947, address: '192.168.1.40:10001', name: '<img src=x onerror=alert(1)>', fraction_lost: 0.0123, jitter_ms: 0.4, round_trip_ms: 1.2, last_seen_s: 2.1, frames: { delay_ms: 23.4 } }]; return { ok: true, status: 200, json: async () => j }; }; }");
    browser.wait_until("document.querySelector('tbody td')?.textContent.startsWith('<img src=x')");
    assert_eq!(
        browser.eval("document.querySelectorAll('tbody img').length"),
        0
    );
    assert_eq!(
        browser.eval("document.querySelectorAll('tbody td')[1].textContent"),
        "1.23 %"
    );
    let keep = std::env::var("LANCAM_SHOTS").ok();
    let shot = |browser: &mut Browser, file: &str| {
        if let Some(folder) = &keep {
            browser.shot(&Path::new(folder).join(file));
        }
    };
    shot(&mut browser, "wide.png");

    // A phone, in the dark.
    browser.look(360, 740, true);
    browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)");
    browser.wait_until("innerWidth === 360");
    assert_eq!(browser.eval("document.documentElement.scrollWidth"), 360);
    let dark = "getComputedStyle(document.body).backgroundColor === 'rgb(15, 18, 22)'";
    browser.wait_until(dark);
    // Everything that can be pressed has a name, every picture a text.
    assert_eq!(browser.eval("[...document.querySelectorAll('main button, main a')].filter(e => !(e.textContent || e.ariaLabel)).length"), 0);
    assert_eq!(
        browser.eval("[...document.images].filter(i => !i.hasAttribute('alt')).length"),
        0
    );
    shot(&mut browser, "phone.png");
    assert_eq!(browser.errors(), [""; 0]);

    // The service starts again: the page finds it by itself.
    let group = free_group();
    let listen = address.to_string();
    sender.stop(Signal::SIGTERM);
    browser.wait_until(
        "document.getElementById('connection').textContent.startsWith('no connection to lancam since ')",
    );
    browser.wait_until("document.querySelector('.badge').textContent === 'unknown'");
    browser.wait_until("getComputedStyle(document.querySelector('main')).opacity < 1");
    let words = [
        "send",
        "--source",
        "pattern:320x240@20",
        "--ttl",
        "0",
        "--name",
        name,
    ];
    let network = ["--group", &group, "--interface", "lo", "--status", &listen];
    let _again = lancam(&[&words[..], &network[..], &more[2..]].concat());
    browser.wait_until("document.getElementById('connection').textContent === 'connected'");
    browser.wait_until("document.querySelector('.picture').naturalWidth === 320");
    browser.wait_until("document.querySelector('.badge').textContent === 'live'");
}

/// As nginx does with `location /cam/ { proxy_pass http://ADDRESS/; }`, and nothing at any other
/// path.
fn proxy(page: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for visitor in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || forward(visitor, page));
        }
    });
    address
}

fn forward(mut visitor: TcpStream, page: SocketAddr) -> Option<()> {
    let mut reader = BufReader::new(visitor.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let Some(rest) = head.strip_prefix("GET /cam/") else {
        return visitor
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .ok();
    };
    // One request a connection.
    let (first, headers) = rest.split_once("\r\n")?;
    let headers = headers.replace("Connection: keep-alive\r\n", "");
    let head = format!("GET /{first}\r\nConnection: close\r\n{headers}");
    let mut answer = send(page, head.as_bytes());
    std::io::copy(&mut answer, &mut visitor).ok().map(drop)
}

#[test]
fn it_works_below_a_path_of_a_proxy() {
    let Some(mut browser) = Browser::open("it_works_below_a_path") else {
        return;
    };
    let more = ["--status-token", "correct-horse"];
    let (_sender, address) = sender("pattern:640x480@20", &more);
    let proxy = proxy(address);
    // By the form, as somebody does who was told the token.
    browser.visit(&format!("http://{proxy}/cam/"));
    browser.wait_until("document.querySelector('form') !== null");
    browser.eval("{ const field = document.getElementById('token'); field.value = 'correct-horse'; field.form.requestSubmit(); }");
    browser.wait_until("document.querySelector('.badge')?.textContent === 'live'");
    browser.wait_until("document.querySelector('.picture').naturalWidth === 640");
    assert_eq!(browser.eval("location.pathname + location.search"), "/cam/");
    browser.wait_until("document.querySelector('h1 img').naturalWidth > 0");
    assert_eq!(
        browser.eval("[...document.links].filter(a => !a.pathname.startsWith('/cam/')).length"),
        0
    );
}

/// The picture in a page of somebody else's: with the token in its address, or if that page is
/// named.
#[test]
fn another_page_shows_the_picture_by_the_token() {
    let Some(mut browser) = Browser::open("another_page_shows_the_picture") else {
        return;
    };
    let (_sender, address) = sender("pattern:320x240@20", &["--status-token", "correct-horse"]);
    let (_open, open) = sender("pattern:320x240@20", &[]);
    browser.visit(&format!("http://{address}/?token=correct-horse"));
    browser.wait_until("document.querySelector('.badge')?.textContent === 'live'");
    let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap();
    let other = elsewhere.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lancam.ron");
    let group = free_group();
    let text = format!(
        r#"(streams: [(source: Pattern("320x240@20"), group: "{group}", interface: "lo", ttl: 0)],
            status: On(listen: "127.0.0.1:0", embed: ["http://{other}"]))"#
    );
    std::fs::write(&config, text).unwrap();
    let sender = lancam(&["send", "--config", config.to_str().unwrap()]);
    let naming = page(&sender);
    let page = format!(
        "<img src='http://{address}/snapshot.jpg?token=correct-horse'>\
         <img src='http://{address}/snapshot.jpg'>\
         <img src='http://{open}/snapshot.jpg'>\
         <img src='http://{naming}/snapshot.jpg'>"
    );
    std::thread::spawn(move || {
        for mut visitor in elsewhere.incoming().map_while(Result::ok) {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            );
            let _ = http::read_head(&mut BufReader::new(&visitor));
            let _ = visitor.write_all(answer.as_bytes());
        }
    });
    browser.visit(&format!("http://{other}/"));
    browser
        .wait_until("document.images.length === 4 && [...document.images].every(i => i.complete)");
    let widths = browser.eval("[...document.images].map(i => i.naturalWidth).join()");
    assert_eq!(widths, "320,0,0,320");
}

/// Two strangers' hosts would take all connections; each has a share.
#[test]
fn a_stranger_keeps_nobody_out() {
    let test = "a_stranger_keeps_nobody_out";
    let Some(lan) = can_enter(test)
        .then(|| Lan::with_viewers(test, 2))
        .flatten()
    else {
        return;
    };
    let command = format!(
        "send --source pattern:320x240@20 --interface {INTERFACE} --status 10.77.0.1:8080 --status-token correct-horse"
    );
    let sender = Process::spawn("the sender", lan.sender.lancam(&command));
    let address = page(&sender);
    let (owner, stranger) = (&lan.viewers[0], &lan.viewers[1]);
    let held: Vec<_> = stranger.inside(|| {
        let begun = b"GET / HTTP/1.1\r\nHost: x";
        (0..80).map(|_| send(address, begun)).collect()
    });
    let see = || {
        let token = "Authorization: Bearer correct-horse\r\n";
        owner.inside(|| request(address, "GET", "/status.json", token))
    };
    let seen = see();
    assert_eq!(seen.status, 200);
    let status: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(status["visitors"]["refused_connections"], 60);
    // Nor does guessing, without waiting for the answers.
    drop(held);
    let wrong =
        b"GET /status.json?token=wrong-token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    wait_for("guesses are refused unseen", || {
        for _ in 0..4 {
            stranger.inside(|| (0..15).for_each(|_| drop(send(address, wrong))));
            assert_eq!(see().status, 200);
        }
        let answer = stranger.inside(|| http::read_head(&mut send(address, wrong)));
        let answer = answer.filter(|answer| answer.status == 429)?;
        assert_eq!(answer.header("retry-after"), Some("3"));
        Some(())
    });
}
