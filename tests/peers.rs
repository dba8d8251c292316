//! lancam with the players and senders that people have, each in a network namespace of its own on
//! a veth pair: GStreamer, ffmpeg, VLC and lancam itself. Every sample of every frame is compared
//! with the source's own decode.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, INTERFACE, Net, PORT, SENDER_IP};
use common::pixels::{Layout, Planes, assert_same, read_series, split};
use common::process::Process;
use common::{have, wait_for};
use nix::sys::signal::Signal;

const CLIP_TOOLS: [&str; 2] = ["cjpeg", "ffmpeg"];

/// The sizes of ordinary cameras, and one whose right and lower edges are inside a block.
const SIZES: [(usize, usize); 4] = [(640, 480), (322, 242), (1280, 720), (1920, 1080)];

/// Every size, with and without restart markers.
fn kinds(chroma: Chroma) -> Vec<Kind> {
    let plain = SIZES.map(|(width, height)| Kind::new(width, height, chroma));
    plain
        .into_iter()
        .flat_map(|kind| [kind, kind.with_restarts()])
        .collect()
}

/// More than the 2040 pixels that RFC 2435's header can say.
fn large() -> Kind {
    Kind {
        frames: 4,
        ..Kind::new(3840, 2160, Chroma::C420)
    }
}

/// A network, a clip and a folder for what is received.
struct Scene {
    net: Net,
    clip: Clip,
    folder: tempfile::TempDir,
}

impl Scene {
    fn set(test: &str, kind: Kind, tools: &[&str]) -> Option<Scene> {
        if !have(test, &CLIP_TOOLS) || !have(test, tools) {
            return None;
        }
        let net = Net::pair(test)?;
        Some(Scene {
            net,
            clip: Clip::get(kind),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn label(&self) -> String {
        format!("{:?}", self.clip.kind)
    }

    /// lancam sending the clip, slowly enough for any receiver: the peers read packet by packet.
    fn send(&self, more: &str) -> Process {
        let source = self.clip.avi();
        let command = format!(
            "send --source {} --interface {INTERFACE} --pacing 0.5 {more}",
            source.display()
        );
        Process::spawn("lancam send", self.net.sender.lancam(&command))
    }

    /// lancam recording as many frames as the clip has.
    fn record(&self, target: &str) -> Process {
        let command = format!(
            "view {target} --interface {INTERFACE} --headless --frames {} --record {} --stats -",
            self.clip.kind.frames,
            self.path("out.mjpeg").display()
        );
        let mut viewer = Process::spawn("lancam view", self.net.viewer.lancam(&command));
        viewer.wait_until_joined(GROUP);
        viewer
    }

    fn recorded(&self) -> Vec<Vec<u8>> {
        split(&fs::read(self.path("out.mjpeg")).unwrap())
    }

    /// The clip's frames, decoded.
    fn expected(&self) -> Vec<Planes> {
        self.clip
            .frames
            .iter()
            .map(|jpeg| Planes::decode(jpeg))
            .collect()
    }

    fn chroma_height(&self, height: usize) -> usize {
        if self.clip.kind.chroma == Chroma::C422 {
            height
        } else {
            height.div_ceil(2)
        }
    }

    /// Every frame, in order, sample for sample. Players that know RFC 2435 only see the size
    /// rounded up to eight pixels, so only the picture's own part counts.
    fn assert_all(&self, what: &str, received: &[Vec<u8>]) {
        let expected = self.expected();
        assert_eq!(
            received.len(),
            expected.len(),
            "{what}, {}: frames",
            self.label()
        );
        for (n, (jpeg, expected)) in received.iter().zip(&expected).enumerate() {
            let got = Planes::decode(jpeg).crop(expected.width, expected.height);
            assert_same(
                &format!("{what}, {}, frame {n}", self.label()),
                &got,
                expected,
            );
        }
    }
}

/// A player's own decode of a network stream against its own decode of the file.
fn assert_same_decodes(scene: &Scene, what: &str, received: &[Planes], own: &[Planes]) {
    assert_eq!(
        received.len(),
        own.len(),
        "{what}, {}: frames",
        scene.label()
    );
    for (n, (got, own)) in received.iter().zip(own).enumerate() {
        let what = format!("{what}, decoded by itself, {}, frame {n}", scene.label());
        assert_same(&what, &got.crop(own.width, own.height), own);
    }
}

// ---- GStreamer ----

const GST: [&str; 1] = ["gst-launch-1.0"];

fn gst_caps(kind: Kind) -> String {
    let caps = "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)JPEG,payload=(int)26";
    if kind.width > 2040 || kind.height > 2040 {
        format!(
            "{caps},x-dimensions=(string)\"{},{}\"",
            kind.width, kind.height
        )
    } else {
        caps.to_owned()
    }
}

/// GStreamer receiving: the JPEGs it assembled, and the pictures decoded from them.
fn gst_receiver(scene: &Scene) -> Process {
    let mut command = scene.net.viewer.command("gst-launch-1.0");
    command.args(["-q", "-e", "udpsrc"]);
    command.args([
        format!("address={GROUP}"),
        format!("port={PORT}"),
        format!("multicast-iface={INTERFACE}"),
    ]);
    command
        .arg("buffer-size=4000000")
        .arg(format!("caps={}", gst_caps(scene.clip.kind)));
    command.args("! rtpjpegdepay ! tee name=t t. ! queue ! multifilesink".split(' '));
    command.arg(format!("location={}", scene.path("%03d.jpg").display()));
    command.args("t. ! queue ! jpegdec ! multifilesink".split(' '));
    command.arg(format!("location={}", scene.path("%03d.raw").display()));
    let mut receiver = Process::spawn("gst-launch-1.0", command);
    receiver.wait_until_joined(GROUP);
    receiver
}

/// GStreamer's decode of the clip.
fn gst_own_decode(scene: &Scene) -> Vec<Vec<u8>> {
    let mut command = Command::new("gst-launch-1.0");
    command.args([
        "-q",
        "multifilesrc",
        &format!("location={}", scene.clip.series().display()),
    ]);
    command.args("caps=image/jpeg,framerate=10/1 ! jpegdec ! multifilesink".split(' '));
    command.arg(format!("location={}", scene.path("%03d.own").display()));
    Process::spawn("gst-launch-1.0 (file)", command).succeed();
    read_series(scene.folder.path(), "own")
}

/// `more`: flags of the sender.
fn lancam_to_gstreamer(test: &str, kind: Kind, more: &str) {
    let Some(scene) = Scene::set(test, kind, &GST) else {
        return;
    };
    let mut receiver = gst_receiver(&scene);
    scene.send(more).succeed();
    wait_for(&format!("{} frames from {receiver}", kind.frames), || {
        scene
            .path(&format!("{:03}.raw", kind.frames - 1))
            .exists()
            .then_some(())
    });
    receiver.stop(Signal::SIGINT);
    scene.assert_all("GStreamer", &read_series(scene.folder.path(), "jpg"));

    // GStreamer's decoder gives 4:2:0 whatever it gets.
    let planes = |raw: Vec<u8>, width: usize, height: usize| {
        Planes::from_file(&raw, (width, height), height.div_ceil(2), Layout::Gstreamer)
    };
    let rounded = |n: usize| {
        if kind.width > 2040 {
            n
        } else {
            n.next_multiple_of(8)
        }
    };
    let received = read_series(scene.folder.path(), "raw");
    let received: Vec<_> = received
        .into_iter()
        .map(|raw| planes(raw, rounded(kind.width), rounded(kind.height)))
        .collect();
    let own: Vec<_> = gst_own_decode(&scene)
        .into_iter()
        .map(|raw| planes(raw, kind.width, kind.height))
        .collect();
    assert_same_decodes(&scene, "GStreamer", &received, &own);
}

#[test]
fn lancam_to_gstreamer_422() {
    kinds(Chroma::C422)
        .into_iter()
        .for_each(|kind| lancam_to_gstreamer("lancam_to_gstreamer_422", kind, ""));
}

#[test]
fn lancam_to_gstreamer_420() {
    kinds(Chroma::C420)
        .into_iter()
        .for_each(|kind| lancam_to_gstreamer("lancam_to_gstreamer_420", kind, ""));
}

#[test]
fn lancam_to_gstreamer_above_2040_pixels() {
    lancam_to_gstreamer("lancam_to_gstreamer_above_2040_pixels", large(), "");
}

/// A clip of 322x242 in 4:2:2, and its frames. Every sixth scan ends in D9, which GStreamer takes
/// for an EOI marker.
fn clip_by_ends(folder: &Path, frames: usize, has_eoi: bool) -> (PathBuf, Vec<Vec<u8>>) {
    let (width, height) = (322, 242);
    let mut seed = 1u32;
    let mut pixels = vec![0; width * height * 3];
    let mut encode = || {
        for sample in pixels.iter_mut().skip(height / 2 * width * 3) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (seed >> 25) as u8;
        }
        let image = turbojpeg::Image {
            pixels: &pixels[..],
            width,
            pitch: width * 3,
            height,
            format: turbojpeg::PixelFormat::RGB,
        };
        turbojpeg::compress(image, 60, turbojpeg::Subsamp::Sub2x1).unwrap()
    };
    let frames: Vec<Vec<u8>> = (0..frames)
        .map(|n| {
            loop {
                let jpeg = encode();
                if n % 6 > 0 || jpeg.ends_with(&[0xd9, 0xff, 0xd9]) {
                    return jpeg.to_vec();
                }
            }
        })
        .collect();
    let kept = |jpeg: &Vec<u8>| jpeg.len() - if has_eoi { 0 } else { 2 };
    let all: Vec<u8> = (frames.iter().flat_map(|jpeg| &jpeg[..kept(jpeg)]).copied()).collect();
    let mjpeg = folder.join("ends.mjpeg");
    fs::write(&mjpeg, all).unwrap();
    let avi = folder.join("ends.avi");
    let mut command = Command::new("ffmpeg");
    command
        .args("-v error -f mjpeg -framerate 20 -i".split(' '))
        .arg(&mjpeg);
    command.args(["-c", "copy"]).arg(&avi);
    Process::spawn("ffmpeg (avi)", command).succeed();
    (avi, frames)
}

/// A file of JPEGs is only good if each has its EOI marker.
fn gstreamer_writes_a_file(test: &str, has_eoi: bool) {
    let tools = [&CLIP_TOOLS[..], &GST].concat();
    let Some(net) = have(test, &tools).then(|| Net::pair(test)).flatten() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (avi, frames) = clip_by_ends(folder.path(), 60, has_eoi);
    let out = folder.path().join("out.mjpeg");
    let mut command = net.viewer.command("gst-launch-1.0");
    command.args([
        "-q",
        "-e",
        "udpsrc",
        &format!("address={GROUP}"),
        &format!("port={PORT}"),
        &format!("multicast-iface={INTERFACE}"),
        "buffer-size=4000000",
        &format!("caps={}", gst_caps(Kind::new(322, 242, Chroma::C422))),
    ]);
    command.args("! rtpjpegdepay ! filesink buffer-mode=2".split(' '));
    command.arg(format!("location={}", out.display()));
    let mut receiver = Process::spawn("gst-launch-1.0", command);
    receiver.wait_until_joined(GROUP);
    let command = format!("send --source {} --interface {INTERFACE}", avi.display());
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.succeed();
    let starts = |mjpeg: &[u8]| {
        mjpeg
            .windows(3)
            .filter(|w| *w == [0xff, 0xd8, 0xff])
            .count()
    };
    wait_for(&format!("{} frames from {receiver}", frames.len()), || {
        (starts(&fs::read(&out).ok()?) == frames.len()).then_some(())
    });
    receiver.stop(Signal::SIGINT);
    let received = split(&fs::read(&out).unwrap());
    assert_eq!(received.len(), frames.len(), "frames with an EOI marker");
    for (n, (got, sent)) in received.iter().zip(&frames).enumerate() {
        let sent = Planes::decode(sent);
        let got = Planes::decode(got).crop(sent.width, sent.height);
        assert_same(&format!("{test}, frame {n}"), &got, &sent);
    }
    let said = sender.messages().contains("without an EOI marker");
    assert_eq!(said, !has_eoi, "{sender}");
}

#[test]
fn gstreamer_writes_whole_jpegs_whatever_scans_end_with() {
    gstreamer_writes_a_file("gstreamer_writes_whole_jpegs_whatever_scans_end_with", true);
}

#[test]
fn gstreamer_writes_whole_jpegs_from_a_source_without_eoi() {
    gstreamer_writes_a_file(
        "gstreamer_writes_whole_jpegs_from_a_source_without_eoi",
        false,
    );
}

fn gstreamer_to_lancam(test: &str, kind: Kind) {
    let Some(scene) = Scene::set(test, kind, &GST) else {
        return;
    };
    let sdp = scene.path("gst.sdp");
    let dimensions = format!("a=x-dimensions:{},{}\r\n", kind.width, kind.height);
    fs::write(
        &sdp,
        format!(
            "v=0\r\no=- 1 1 IN IP4 {SENDER_IP}\r\ns=gst\r\nc=IN IP4 {GROUP}/1\r\nt=0 0\r\nm=video {PORT} RTP/AVP 26\r\n{}",
            if kind.width > 2040 { &dimensions } else { "" }
        ),
    )
    .unwrap();
    let mut viewer = scene.record(&sdp.display().to_string());
    let mut command = scene.net.sender.command("gst-launch-1.0");
    command.args([
        "-q",
        "filesrc",
        &format!("location={}", scene.clip.avi().display()),
    ]);
    command.args("! avidemux ! rtpjpegpay ! udpsink sync=true ttl-mc=1".split(' '));
    command.args([
        format!("host={GROUP}"),
        format!("port={PORT}"),
        format!("multicast-iface={INTERFACE}"),
    ]);
    Process::spawn("gst-launch-1.0", command).succeed();
    viewer.succeed();
    scene.assert_all("from GStreamer", &scene.recorded());
}

#[test]
fn gstreamer_to_lancam_422() {
    kinds(Chroma::C422)
        .into_iter()
        .for_each(|kind| gstreamer_to_lancam("gstreamer_to_lancam_422", kind));
}

#[test]
fn gstreamer_to_lancam_420() {
    kinds(Chroma::C420)
        .into_iter()
        .for_each(|kind| gstreamer_to_lancam("gstreamer_to_lancam_420", kind));
}

#[test]
fn gstreamer_to_lancam_above_2040_pixels() {
    gstreamer_to_lancam("gstreamer_to_lancam_above_2040_pixels", large());
}

// ---- ffmpeg ----

/// ffmpeg from lancam's own SDP, started while lancam already sends.
fn lancam_to_ffmpeg(test: &str, kind: Kind, more: &str) {
    let Some(scene) = Scene::set(test, kind, &[]) else {
        return;
    };
    let sdp = scene.path("lancam.sdp");
    let sender = scene.send(&format!("--loop --sdp {} {more}", sdp.display()));
    wait_for(&format!("an SDP from {sender}"), || {
        sdp.exists().then_some(())
    });

    let frames = kind.frames.to_string();
    let mut command = scene.net.viewer.command("ffmpeg");
    command
        .args("-v error -protocol_whitelist file,udp,rtp -buffer_size 4000000 -i".split(' '))
        .arg(&sdp);
    command
        .args([
            "-map",
            "0:v",
            "-c",
            "copy",
            "-frames:v",
            &frames,
            "-f",
            "mjpeg",
        ])
        .arg(scene.path("out.mjpeg"));
    command.args([
        "-map",
        "0:v",
        "-vsync",
        "passthrough",
        "-frames:v",
        &frames,
        "-f",
        "rawvideo",
    ]);
    command.arg(scene.path("out.raw"));
    let mut receiver = Process::spawn("ffmpeg", command);
    receiver.succeed();
    drop(sender);

    let expected = scene.expected();
    let received = scene.recorded();
    assert_eq!(received.len(), kind.frames, "{}", scene.label());
    let decoded = received
        .iter()
        .map(|jpeg| Planes::decode(jpeg).crop(kind.width, kind.height))
        .collect::<Vec<_>>();
    // On a busy machine ffmpeg may miss a frame; those that it has are the clip's, in their order.
    let mut next = 0;
    let order: Vec<usize> = (decoded.iter().enumerate())
        .map(|(n, got)| {
            let mut candidates = (next..next + expected.len()).map(|i| i % expected.len());
            let Some(found) = candidates.find(|&i| expected[i] == *got) else {
                let what = format!("ffmpeg, {}, frame {n}", scene.label());
                assert_same(&what, got, &expected[next % expected.len()]);
                unreachable!("it equals none of the clip's frames");
            };
            next = found + 1;
            found
        })
        .collect();

    let (width, height) = (
        kind.width.next_multiple_of(8),
        kind.height.next_multiple_of(8),
    );
    let received = ffmpeg_planes(&scene, &scene.path("out.raw"), width, height);
    let own = ffmpeg_own_decode(&scene);
    let own: Vec<_> = order.iter().map(|&n| own[n].clone()).collect();
    assert_same_decodes(&scene, "ffmpeg", &received, &own);
}

fn ffmpeg_planes(scene: &Scene, raw: &Path, width: usize, height: usize) -> Vec<Planes> {
    let chroma_height = scene.chroma_height(height);
    let bytes = width * height + 2 * width.div_ceil(2) * chroma_height;
    let raw = fs::read(raw).unwrap();
    assert_eq!(
        raw.len() % bytes,
        0,
        "{}: ffmpeg's pictures have another size",
        scene.label()
    );
    raw.chunks(bytes)
        .map(|raw| Planes::from_file(raw, (width, height), chroma_height, Layout::Packed))
        .collect()
}

fn ffmpeg_own_decode(scene: &Scene) -> Vec<Planes> {
    let own = scene.path("own.raw");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(scene.clip.avi());
    command
        .args(["-vsync", "passthrough", "-f", "rawvideo"])
        .arg(&own);
    Process::spawn("ffmpeg (file)", command).succeed();
    ffmpeg_planes(scene, &own, scene.clip.kind.width, scene.clip.kind.height)
}

#[test]
fn lancam_to_ffmpeg_422() {
    kinds(Chroma::C422)
        .into_iter()
        .for_each(|kind| lancam_to_ffmpeg("lancam_to_ffmpeg_422", kind, ""));
}

#[test]
fn lancam_to_ffmpeg_420() {
    kinds(Chroma::C420)
        .into_iter()
        .for_each(|kind| lancam_to_ffmpeg("lancam_to_ffmpeg_420", kind, ""));
}

/// ffmpeg's sender drops the restart header, so it is only tried without restart markers.
fn ffmpeg_to_lancam(test: &str, chroma: Chroma) {
    for (width, height) in SIZES {
        let Some(scene) = Scene::set(test, Kind::new(width, height, chroma), &[]) else {
            return;
        };
        let mut viewer = scene.record("");
        let mut command = scene.net.sender.command("ffmpeg");
        command
            .args(["-v", "error", "-re", "-i"])
            .arg(scene.clip.avi());
        command.args(["-c", "copy", "-f", "rtp"]);
        command.arg(format!("rtp://{GROUP}:{PORT}?ttl=1&localaddr={SENDER_IP}"));
        Process::spawn("ffmpeg", command).succeed();
        viewer.succeed();
        scene.assert_all("from ffmpeg", &scene.recorded());
    }
}

#[test]
fn ffmpeg_to_lancam_422() {
    ffmpeg_to_lancam("ffmpeg_to_lancam_422", Chroma::C422);
}

#[test]
fn ffmpeg_to_lancam_420() {
    ffmpeg_to_lancam("ffmpeg_to_lancam_420", Chroma::C420);
}

// ---- VLC ----

/// VLC with the command that the README gives; its pictures are colour-converted, so they are
/// compared by eye's measure.
fn lancam_to_vlc(test: &str, more: &str) {
    let kind = Kind::new(640, 480, Chroma::C420);
    let Some(scene) = Scene::set(test, kind, &["vlc", "djpeg"]) else {
        return;
    };
    let sdp = scene.path("lancam.sdp");
    let sender = scene.send(&format!("--loop --sdp {} {more}", sdp.display()));
    wait_for(&format!("an SDP from {sender}"), || {
        sdp.exists().then_some(())
    });

    // VLC refuses to run as root: it gets a user of its own in a user namespace.
    let mut command = scene.net.viewer.command("unshare");
    command
        .args("--user --map-user=1000 --map-group=1000 vlc".split(' '))
        .env("HOME", scene.folder.path());
    command
        .args("-I dummy --no-audio --vout dummy --demux avformat --avformat-format sdp".split(' '));
    command.args(
        "--video-filter scene --scene-ratio 1 --scene-format png --scene-prefix vlc --scene-path"
            .split(' '),
    );
    command.arg(scene.folder.path()).arg(&sdp);
    let mut vlc = Process::spawn("vlc", command);
    let picture = wait_for(&format!("three pictures from {vlc}"), || {
        if let Some(status) = vlc.try_wait() {
            panic!("{vlc}\nended with {status}");
        }
        let mut pictures: Vec<PathBuf> = fs::read_dir(scene.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "png"))
            .collect();
        pictures.sort();
        // The one before the last is written to its end.
        (pictures.len() >= 3).then(|| pictures.swap_remove(pictures.len() - 2))
    });
    drop(vlc);

    let raw = scene.path("vlc.rgb");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-i"])
        .arg(picture)
        .args(["-f", "rawvideo", "-pix_fmt", "gray"])
        .arg(&raw);
    Process::spawn("ffmpeg (png)", command).succeed();
    let shown = fs::read(&raw).unwrap();
    assert_eq!(
        shown.len(),
        kind.width * kind.height,
        "VLC's picture has another size"
    );
    let best = scene
        .expected()
        .iter()
        .map(|e| e.psnr_of_luma(&shown))
        .fold(0.0, f64::max);
    assert!(
        best > 30.0,
        "VLC's picture is like none of the clip's: {best:.1} dB at best"
    );
}

#[test]
fn lancam_to_vlc_420() {
    lancam_to_vlc("lancam_to_vlc_420", "");
}

// ---- Beside a stream with repair ----

const REPAIR: &str = "--repair 0.3 --retransmit";

#[test]
fn repair_is_nothing_to_gstreamer() {
    let kind = Kind::new(1280, 720, Chroma::C422);
    lancam_to_gstreamer("repair_is_nothing_to_gstreamer", kind, REPAIR);
}

#[test]
fn repair_is_nothing_to_ffmpeg() {
    let kind = Kind::new(1280, 720, Chroma::C422);
    lancam_to_ffmpeg("repair_is_nothing_to_ffmpeg", kind, REPAIR);
}

#[test]
fn repair_is_nothing_to_vlc() {
    lancam_to_vlc("repair_is_nothing_to_vlc", REPAIR);
}

// ---- lancam with itself, over the same wire ----

/// What only lancam carries: the exact size.
#[test]
fn lancam_to_lancam() {
    let test = "lancam_to_lancam";
    for chroma in [Chroma::C422, Chroma::C420] {
        for kind in kinds(chroma).into_iter().chain([large()]) {
            let Some(scene) = Scene::set(test, kind, &[]) else {
                return;
            };
            let mut viewer = scene.record("");
            scene.send("").succeed();
            viewer.succeed();
            let received = scene.recorded();
            scene.assert_all("lancam", &received);
            let size = turbojpeg::read_header(&received[0]).unwrap();
            assert_eq!(
                (size.width, size.height),
                (kind.width, kind.height),
                "{}",
                scene.label()
            );
        }
    }
}
