//! RTSP as served, in network namespaces: by the players that people have, every sample of every
//! frame compared with the source's; by a strict client of our own (`rtsp/client.rs`), and by
//! hostile ones (`rtsp/hostile.rs`).
#![cfg(feature = "send")]

#[path = "rtsp/client.rs"]
mod client;
mod common;
#[path = "rtsp/dialogue.rs"]
mod dialogue;
#[path = "rtsp/hostile.rs"]
mod hostile;
#[path = "rtsp/relay.rs"]
mod relay;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, Host, INTERFACE, Net, is_member};
use common::pixels::{Planes, assert_same, read_series, split};
use common::process::Process;
use common::{have, http, wait_for};
use lancam::clock::Mono;
use lancam::rtp::ReceivedFrame;
use lancam::rtp::depacketizer::{Depacketizer, Event, Options};
use nix::sys::signal::Signal;
use serde_json::Value;

const CLIP_TOOLS: [&str; 2] = ["cjpeg", "ffmpeg"];
/// Where the sender's server is.
const SERVER: &str = "10.77.0.1:8554";
/// Frames that are compared: three rounds of the clip.
const FRAMES: usize = 24;

/// A sender's and a player's host, a clip that runs in a loop, and a folder.
struct Scene {
    net: Net,
    clip: Clip,
    expected: Vec<Planes>,
    folder: tempfile::TempDir,
    sender: Process,
}

impl Scene {
    /// `more`: flags of the sender.
    fn set(test: &str, kind: Kind, tools: &[&str], more: &str) -> Option<Scene> {
        if !have(test, &CLIP_TOOLS) || !have(test, tools) {
            return None;
        }
        let net = Net::pair(test)?;
        let clip = Clip::get(kind);
        let command = format!(
            "send --source {} --loop --name porch --interface {INTERFACE} --rtsp \
             --pacing 0.5 --status 10.77.0.1:8080 {more}",
            clip.avi().display()
        );
        let sender = Process::spawn("lancam send", net.sender.lancam(&command));
        sender.wait_for_message("RTSP: rtsp://");
        Some(Scene {
            expected: clip
                .frames
                .iter()
                .map(|jpeg| Planes::decode(jpeg))
                .collect(),
            net,
            clip,
            folder: tempfile::tempdir().unwrap(),
            sender,
        })
    }

    fn usual(test: &str, tools: &[&str]) -> Option<Scene> {
        Scene::set(test, Kind::new(640, 480, Chroma::C422), tools, "")
    }

    fn server() -> SocketAddr {
        SERVER.parse().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The figures of the page, from the player's host.
    fn status(&self) -> Value {
        let response = (self.net.viewer)
            .inside(|| http::get("10.77.0.1:8080".parse().unwrap(), "/status.json"));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Frames in the clip's order, round after round, each one whole and exact. A player starts
    /// anywhere, and one that came too late for a frame misses all of it: how many those are says
    /// how busy the machine is, and nothing about lancam.
    fn assert_round(&self, what: &str, received: &[Vec<u8>]) {
        assert_in_order(what, &self.expected, received);
    }
}

fn assert_in_order(what: &str, expected: &[Planes], received: &[Vec<u8>]) {
    let mut at: Option<usize> = None;
    for (n, jpeg) in received.iter().enumerate() {
        let whole = Planes::decode(jpeg);
        let is = |i: &usize| whole.crop(expected[0].width, expected[0].height) == expected[*i];
        let from = at.map_or(0, |at| at + 1);
        let found = (from..from + expected.len())
            .map(|i| i % expected.len())
            .find(is);
        let Some(found) = found else {
            let first = whole.crop(expected[0].width, expected[0].height);
            assert_same(
                &format!("{what}, frame {n}"),
                &first,
                &expected[from % expected.len()],
            );
            unreachable!();
        };
        at = Some(found);
    }
    assert!(
        received.len() >= expected.len(),
        "{what}: only {} frames",
        received.len()
    );
}

/// Whole frames, from packets.
struct Frames {
    depacketizer: Depacketizer,
    whole: Vec<Vec<u8>>,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            depacketizer: Depacketizer::new(Options::default(), Arc::default()),
            whole: Vec::new(),
        }
    }
}

impl Frames {
    fn take(&mut self, packet: &[u8]) {
        let from = Scene::server().ip();
        self.depacketizer.push(Mono::now(), from, packet);
        while let Some(event) = self.depacketizer.poll(Mono::now()) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame)) = event {
                self.whole.push(frame.jpeg().to_vec());
            }
        }
    }
}

const TRANSPORTS: [&str; 3] = ["udp_multicast", "udp", "tcp"];

// ---- ffmpeg ----

/// Frames that ffmpeg got, as they came.
fn ffmpeg(host: &Host, url: &str, transport: &str, out: &Path) -> Vec<Vec<u8>> {
    let mut command = host.command("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-rtsp_transport", transport]);
    command.args(["-i", url, "-c", "copy", "-frames:v", &FRAMES.to_string()]);
    command.args(["-y", "-f", "mjpeg"]).arg(out);
    Process::spawn(&format!("ffmpeg {transport}"), command).succeed();
    split(&fs::read(out).unwrap())
}

#[test]
fn ffmpeg_plays_by_every_transport() {
    let Some(scene) = Scene::usual("ffmpeg_plays_by_every_transport", &[]) else {
        return;
    };
    for transport in TRANSPORTS {
        for path in ["porch", "", "porch/multicast"] {
            if path.ends_with("multicast") && transport != "udp_multicast" {
                continue;
            }
            let url = format!("rtsp://{SERVER}/{path}");
            let received = ffmpeg(&scene.net.viewer, &url, transport, &scene.path("out.mjpeg"));
            scene.assert_round(&format!("ffmpeg, {transport}, /{path}"), &received);
        }
    }
    wait_for("the end of its sessions", || {
        (scene.status()["rtsp"]["sessions"] == 0).then_some(())
    });
    let status = scene.status();
    assert!(
        status["rtsp"]["frames_sent"].as_u64().unwrap() >= 4 * FRAMES as u64,
        "{status}"
    );
}

#[test]
fn users_are_asked_for_their_password() {
    let test = "users_are_asked_for_their_password";
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    fs::write(&users, "viewer:correct-horse\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&users, mode).unwrap();
    let more = format!("--users-file {}", users.display());
    let kind = Kind::new(640, 480, Chroma::C422);
    let Some(scene) = Scene::set(test, kind, &GST, &more) else {
        return;
    };
    for transport in TRANSPORTS {
        let url = format!("rtsp://viewer:correct-horse@{SERVER}/porch");
        let received = ffmpeg(&scene.net.viewer, &url, transport, &scene.path("out.mjpeg"));
        scene.assert_round(&format!("ffmpeg with a password, {transport}"), &received);
    }
    let url = format!("rtsp://viewer:correct-horse@{SERVER}/porch");
    gstreamer(&scene, &url, "tcp");
    for wrong in ["", "viewer:correct-house@", "nobody:correct-horse@"] {
        let mut command = scene.net.viewer.command("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-i"]);
        command.arg(format!("rtsp://{wrong}{SERVER}/porch"));
        command.args("-c copy -frames:v 1 -f null -".split(' '));
        let mut refused = Process::spawn("ffmpeg", command);
        assert!(!refused.wait().success());
        assert!(refused.messages().contains("401"), "{refused}");
    }
}

// ---- GStreamer ----

const GST: [&str; 1] = ["gst-launch-1.0"];

/// Compares what GStreamer gets.
fn gstreamer(scene: &Scene, url: &str, protocol: &str) {
    for old in read_dir(scene.folder.path(), "jpg") {
        fs::remove_file(old).unwrap();
    }
    let mut command = scene.net.viewer.command("gst-launch-1.0");
    command.args(["-q", "-e", "rtspsrc", &format!("location={url}")]);
    command.args([
        &format!("protocols={protocol}"),
        "latency=100",
        "udp-buffer-size=4000000",
    ]);
    command.args("! rtpjpegdepay ! multifilesink".split(' '));
    command.arg(format!("location={}", scene.path("%03d.jpg").display()));
    let mut player = Process::spawn(&format!("gst-launch-1.0 {protocol}"), command);
    wait_for(&format!("{FRAMES} frames from {player}"), || {
        if let Some(status) = player.try_wait() {
            panic!("{player}\nended with {status}");
        }
        scene
            .path(&format!("{FRAMES:03}.jpg"))
            .exists()
            .then_some(())
    });
    player.stop(Signal::SIGINT);
    let mut received = read_series(scene.folder.path(), "jpg");
    received.truncate(FRAMES);
    scene.assert_round(&format!("GStreamer, {protocol}"), &received);
}

fn read_dir(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

#[test]
fn gstreamer_plays_by_every_transport() {
    let Some(scene) = Scene::usual("gstreamer_plays_by_every_transport", &GST) else {
        return;
    };
    for protocol in ["udp-mcast", "udp", "tcp"] {
        gstreamer(&scene, &format!("rtsp://{SERVER}/porch"), protocol);
    }
    gstreamer(
        &scene,
        &format!("rtsp://{SERVER}/porch/multicast"),
        "udp-mcast",
    );
}

#[test]
fn gstreamer_plays_more_than_2040_pixels() {
    let kind = Kind {
        frames: 4,
        ..Kind::new(3840, 2160, Chroma::C420)
    };
    let Some(scene) = Scene::set("gstreamer_plays_more_than_2040_pixels", kind, &GST, "") else {
        return;
    };
    for protocol in ["tcp", "udp-mcast"] {
        gstreamer(&scene, &format!("rtsp://{SERVER}/porch"), protocol);
    }
}

// ---- live555 ----

#[test]
fn live555_plays_by_every_transport() {
    let Some(scene) = Scene::usual("live555_plays_by_every_transport", &["openRTSP"]) else {
        return;
    };
    for (n, transport) in ["-C", "-V", "-t"].into_iter().enumerate() {
        let mut command = scene.net.viewer.command("openRTSP");
        let prefix = scene.path(&format!("live{n}-"));
        command.args([transport, "-V", "-m", "-b", "1000000", "-d", "4", "-F"]);
        command.arg(prefix).arg(format!("rtsp://{SERVER}/porch"));
        Process::spawn(&format!("openRTSP {transport}"), command).succeed();
        let mut files: Vec<(u64, PathBuf)> = fs::read_dir(scene.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|path| {
                let name = path
                    .file_name()?
                    .to_str()?
                    .strip_prefix(&format!("live{n}-"))?;
                // "video-JPEG-1-SECONDS.MICROSECONDS"
                let time = name.rsplit_once('-')?.1.replace('.', "");
                Some((time.parse().ok()?, path.clone()))
            })
            .collect();
        files.sort();
        let received: Vec<Vec<u8>> = files
            .iter()
            .map(|(_, path)| fs::read(path).unwrap())
            .collect();
        scene.assert_round(&format!("live555 {transport}"), &received);
    }
}

// ---- OpenCV ----

/// Reads frames, and compares each with the clip's by OpenCV's own decoder.
const OPENCV: &str = "
import sys, numpy, cv2
url, frames = sys.argv[1], int(sys.argv[2])
clip = [cv2.imread(name) for name in sys.argv[3:]]
capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
for n in range(frames):
    ok, got = capture.read()
    assert ok, f'{n} frames came'
    assert got.shape == clip[0].shape, got.shape
    best = max(cv2.PSNR(got, own) for own in clip)
    assert best > 35, f'frame {n}: {best} dB at best'
print('done')
";

#[test]
fn opencv_plays() {
    let test = "opencv_plays";
    if !have_opencv(test) {
        return;
    }
    let Some(scene) = Scene::usual(test, &[]) else {
        return;
    };
    for transport in ["tcp", "udp", "udp_multicast"] {
        let mut command = scene.net.viewer.command("/usr/bin/python3");
        command.env(
            "OPENCV_FFMPEG_CAPTURE_OPTIONS",
            format!("rtsp_transport;{transport}"),
        );
        command.args(["-c", OPENCV, &format!("rtsp://{SERVER}/porch"), "16"]);
        for n in 0..scene.clip.kind.frames {
            let series = scene.clip.series();
            command.arg(series.with_file_name(format!("{n:03}.jpg")));
        }
        Process::spawn(&format!("OpenCV, {transport}"), command).succeed();
    }
}

fn have_opencv(test: &str) -> bool {
    let mut command = std::process::Command::new("/usr/bin/python3");
    let found = command.args(["-c", "import cv2"]).output();
    found.is_ok_and(|output| output.status.success())
        || common::skip(test, "no python3-opencv here")
}

// ---- The gateway ----

#[test]
fn a_headless_viewer_is_a_gateway() {
    let Some(scene) = Scene::usual("a_headless_viewer_is_a_gateway", &[]) else {
        return;
    };
    let command = format!("view --headless --interface {INTERFACE} --rtsp 127.0.0.1:8554");
    let viewer = Process::spawn("lancam view", scene.net.viewer.lancam(&command));
    viewer.wait_for_message("RTSP: rtsp://127.0.0.1:8554/");
    // Until it knows the stream it has none to describe.
    wait_for("the stream", || {
        scene.net.viewer.inside(|| {
            let mut client = client::Client::connect("127.0.0.1:8554".parse().unwrap());
            (client.ask("DESCRIBE", "/", "").status == 200).then_some(())
        })
    });
    for transport in ["tcp", "udp"] {
        let url = "rtsp://127.0.0.1:8554/";
        let received = ffmpeg(&scene.net.viewer, url, transport, &scene.path("out.mjpeg"));
        scene.assert_round(&format!("through the gateway, {transport}"), &received);
    }
    // Its own clients join the sender's group.
    let description = scene.net.viewer.inside(|| {
        let mut client = client::Client::connect("127.0.0.1:8554".parse().unwrap());
        client.get("SETUP", "/trackID=0", "Transport: RTP/AVP;multicast\r\n")
    });
    assert_eq!(description.transport("destination"), GROUP);
    assert!(is_member(viewer.pid(), GROUP));
}
