//! What deploy/build makes for boards: it runs (under qemu-user), it sends and shows the same
//! pictures as this machine's own, and it has what it should (NEON) and nothing that it should not
//! (a window system).
//!
//! `tests/run board` builds it first; without that, or without an emulator, a test is skipped.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, Host, INTERFACE, Net};
use common::pixels::{Planes, assert_same, split};
use common::process::Process;
use common::{have, skip};
use nix::sys::signal::Signal;

/// One of deploy/build's targets.
struct Board {
    name: &'static str,
    emulator: &'static str,
    /// Words for the emulator: where the C library is, which processor it plays.
    arguments: &'static [&'static str],
    /// A function of libjpeg-turbo that is written for this processor.
    has_neon: bool,
}

const AARCH64: Board = Board {
    name: "aarch64",
    emulator: "qemu-aarch64-static",
    arguments: &["-L", "/usr/aarch64-linux-gnu"],
    has_neon: true,
};
const ARMV7: Board = Board {
    name: "armv7hf",
    emulator: "qemu-arm-static",
    arguments: &["-L", "/usr/arm-linux-gnueabihf"],
    has_neon: true,
};
/// The processor of the first Pi and the Zero.
const ARMV6: Board = Board {
    name: "armv6hf",
    emulator: "qemu-arm-static",
    arguments: &["-cpu", "arm1176"],
    has_neon: false,
};

impl Board {
    /// Its binary; `None`, said once, where that or the emulator is not there.
    fn binary(&self, test: &str) -> Option<PathBuf> {
        let test = format!("{test}, {}", self.name);
        if !have(&test, &[self.emulator, "cjpeg", "ffmpeg"]) {
            return None;
        }
        let binary = built().join(format!("lancam-{}", self.name));
        if !binary.exists() {
            skip(&test, &format!("not built: deploy/build {}", self.name));
            return None;
        }
        Some(binary)
    }

    /// The board's lancam on this host.
    fn lancam(&self, host: &Host, binary: &Path, arguments: &str) -> Command {
        let mut command = host.command(self.emulator);
        command
            .args(self.arguments)
            .arg(binary)
            .args(arguments.split_whitespace())
            .env("NO_COLOR", "1");
        command
    }
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/board")
}

/// What a program prints about a file.
fn output(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends the clip by `sender`, and gives what `viewer` records.
fn record(
    clip: &Clip,
    viewer: Command,
    mut sender: Command,
    file: &Path,
) -> (Vec<Vec<u8>>, String) {
    let mut viewer = Process::spawn("viewer", viewer);
    viewer.wait_until_joined(GROUP);
    sender.arg("--source").arg(clip.avi());
    let mut sender = Process::spawn("sender", sender);
    sender.succeed();
    viewer.succeed();
    let frames = split(&fs::read(file).unwrap());
    assert_eq!(frames.len(), clip.kind.frames, "{sender}{viewer}");
    (frames, sender.messages())
}

fn assert_same_pictures(what: &str, got: &[Vec<u8>], want: &[Vec<u8>]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (n, (got, want)) in got.iter().zip(want).enumerate() {
        let (got, want) = (Planes::decode(got), Planes::decode(want));
        assert_same(&format!("{what}, frame {n}"), &got, &want);
    }
}

fn view_command(file: &Path) -> String {
    format!(
        "view --headless --interface {INTERFACE} --frames {FRAMES} --record {}",
        file.display()
    )
}

/// Frames of the clip.
const FRAMES: usize = 8;

fn clip() -> Clip {
    Clip::get(Kind {
        frames: FRAMES,
        ..Kind::new(640, 480, Chroma::C420)
    })
}

// ---- what was built ----

fn is_made_for_the_board(board: &Board) {
    let Some(binary) = board.binary("is_made_for_the_board") else {
        return;
    };
    let size = fs::metadata(&binary).unwrap().len();
    assert!(size <= 5_000_000, "{}: {size} bytes", board.name);
    let needed = output("readelf", &["-d"], &binary);
    for word in ["X11", "wayland", "Xcursor", "stdc++"] {
        assert!(!needed.contains(word), "{}: {needed}", board.name);
    }
    assert!(output("file", &["-L"], &binary).contains(", stripped"));
    if !board.has_neon {
        // EABI attributes: no instruction of a later processor, in any object.
        let attributes = output("readelf", &["-A"], &binary);
        assert!(attributes.contains("Tag_CPU_arch: v6"), "{attributes}");
        assert!(!attributes.contains("NEON"), "{attributes}");
        return;
    }
    let library = turbojpeg_of(board);
    let symbols = output("nm", &["--defined-only"], &library);
    for function in [
        "idct_islow",
        "fdct_islow",
        "ycc_extrgb_convert",
        "extrgb_ycc_convert",
        "h2v1_fancy_upsample",
        "quantize",
    ] {
        let wanted = format!("jsimd_{function}_neon");
        assert!(
            symbols.contains(&wanted),
            "{}: no {wanted} in {}",
            board.name,
            library.display()
        );
    }
    // Every 64-bit ARM processor has NEON. A 32-bit library that was not built with it on looks
    // here for it at run time.
    if board.name == "aarch64" {
        return;
    }
    let text = fs::read(&library).unwrap();
    let asks = text.windows(13).any(|bytes| bytes == b"/proc/cpuinfo");
    assert!(!asks, "{}: decides about NEON at run time", board.name);
}

/// The library that was linked, not stripped.
fn turbojpeg_of(board: &Board) -> PathBuf {
    let script = format!(
        "ls -t {}/{}-*/*/release/build/turbojpeg-sys-*/out/lib/libturbojpeg.a | head -n 1",
        built().display(),
        board.name
    );
    let found = output("sh", &["-c"], Path::new(&script));
    PathBuf::from(found.trim())
}

// ---- that it works ----

/// Both ends in one process, by multicast on loopback.
fn runs_the_demo(board: &Board) {
    let test = "runs_the_demo";
    let Some(binary) = board.binary(test) else {
        return;
    };
    let Some(net) = Net::pair(test) else { return };
    let command = board.lancam(&net.sender, &binary, "demo --headless --frames 30");
    Process::spawn("lancam demo", command).succeed();
}

/// The frames arrive unchanged on this machine. The emulator does not let the board choose its
/// interface, so it sends by its address and logs that.
fn sends_to_this_machine(board: &Board) {
    let test = "sends_to_this_machine";
    let Some(binary) = board.binary(test) else {
        return;
    };
    let Some(net) = Net::pair(test) else { return };
    let (clip, folder) = (clip(), tempfile::tempdir().unwrap());
    let file = folder.path().join("got.mjpeg");
    let sender = board.lancam(
        &net.sender,
        &binary,
        &format!("send --interface {INTERFACE}"),
    );
    let viewer = net.viewer.lancam(&view_command(&file));
    let (frames, messages) = record(&clip, viewer, sender, &file);
    assert_same_pictures(board.name, &frames, &clip.frames);
    let refused = "the kernel refused to choose interface";
    assert!(messages.contains(refused), "{messages}");
}

/// The other way: what the board records.
fn watches_this_machine(board: &Board) {
    let test = "watches_this_machine";
    let Some(binary) = board.binary(test) else {
        return;
    };
    let Some(net) = Net::pair(test) else { return };
    let (clip, folder) = (clip(), tempfile::tempdir().unwrap());
    let file = folder.path().join("got.mjpeg");
    let viewer = board.lancam(&net.viewer, &binary, &view_command(&file));
    let sender = net
        .sender
        .lancam(&format!("send --interface {INTERFACE} --pacing 0.5"));
    let (frames, _) = record(&clip, viewer, sender, &file);
    assert_same_pictures(board.name, &frames, &clip.frames);
}

/// Decoding, scaling and encoding give the same bytes as on this machine: libjpeg-turbo's accurate
/// transforms are exact in C, SSE2, AVX2 and NEON alike.
fn decodes_and_encodes_as_this_machine_does(board: &Board) {
    let test = "decodes_and_encodes_as_this_machine_does";
    let Some(binary) = board.binary(test) else {
        return;
    };
    let Some(net) = Net::pair(test) else { return };
    let (clip, folder) = (clip(), tempfile::tempdir().unwrap());
    let send = format!("send --interface {INTERFACE} --resize 320x240 --quality 90");
    let mut recorded = Vec::new();
    for (name, sender) in [
        ("board", board.lancam(&net.sender, &binary, &send)),
        ("here", net.sender.lancam(&send)),
    ] {
        let file = folder.path().join(format!("{name}.mjpeg"));
        let viewer = net.viewer.lancam(&view_command(&file));
        recorded.push(record(&clip, viewer, sender, &file).0);
    }
    let small = Planes::decode(&recorded[0][0]);
    assert_eq!((small.width, small.height), (320, 240));
    assert_same_pictures(board.name, &recorded[0], &recorded[1]);
}

/// A sender ends within its time, with its goodbye.
fn stops_when_asked(board: &Board) {
    let test = "stops_when_asked";
    let Some(binary) = board.binary(test) else {
        return;
    };
    let Some(net) = Net::pair(test) else { return };
    let words = format!("send --source pattern:320x240@30 --stats - --interface {INTERFACE}");
    let mut sender = Process::spawn("lancam send", board.lancam(&net.sender, &binary, &words));
    sender.wait_for_stats("frames", |stats| stats["frames_sent"].as_u64() > Some(10));
    let status = sender.stop(Signal::SIGTERM);
    assert!(status.success(), "{sender}");
}

macro_rules! boards {
    ($($module:ident: $board:ident),*) => { $(
        mod $module {
            #[test]
            fn is_made_for_the_board() { super::is_made_for_the_board(&super::$board); }
            #[test]
            fn runs_the_demo() { super::runs_the_demo(&super::$board); }
            #[test]
            fn sends_to_this_machine() { super::sends_to_this_machine(&super::$board); }
            #[test]
            fn watches_this_machine() { super::watches_this_machine(&super::$board); }
            #[test]
            fn decodes_and_encodes_as_this_machine_does() {
                super::decodes_and_encodes_as_this_machine_does(&super::$board);
            }
            #[test]
            fn stops_when_asked() { super::stops_when_asked(&super::$board); }
        }
    )* };
}

boards!(aarch64: AARCH64, armv7hf: ARMV7, armv6hf: ARMV6);
