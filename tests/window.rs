//! The viewer's window on a real X server (Xvfb): what is on the screen at several window sizes,
//! and what the keys do. Skipped without Xvfb, xdotool and ImageMagick.
//!
//! With `LANCAM_SCREENSHOTS=FOLDER` the pictures are kept there to be looked at.
#![cfg(feature = "view")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lancam::clock::Ntp;
use lancam::display::Frame;
use lancam::display::layout::fit;
use lancam::display::lobby::{Lobby, Waiting};
use lancam::display::overlay::{Canvas, Overlay, SOFT, WHITE};
use lancam::display::window::{Feed, WindowOptions, run};
use lancam::mailbox::Mailbox;
use lancam::stats::delay::DelayMeter;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

#[cfg(feature = "send")]
#[path = "window/chooser.rs"]
mod chooser;
mod common;
#[path = "common/xserver.rs"]
mod xserver;
use common::have;
use xserver::Kept;

const SCREEN: (usize, usize) = (1600, 1000);
const PICTURE: (usize, usize) = (320, 240);
/// The frames repeat after this many.
const PHASES: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// Frame `n`: the left half red, the right half a blue that changes from frame to frame.
fn frame(n: usize) -> Vec<u8> {
    let (width, height) = PICTURE;
    let blue = 90 + (n % PHASES) as u8 * 5;
    let mut pixels = Vec::new();
    for _ in 0..height {
        for x in 0..width {
            pixels.extend(if x < width / 2 {
                [220, 0, 0]
            } else {
                [0, 0, blue]
            });
        }
    }
    let image = turbojpeg::Image {
        pixels: &pixels[..],
        width,
        pitch: width * 3,
        height,
        format: turbojpeg::PixelFormat::RGB,
    };
    turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x1)
        .expect("compressed")
        .to_vec()
}

#[derive(Default)]
struct TestFrame {
    jpeg: Vec<u8>,
    captured: Option<Ntp>,
}

impl Frame for TestFrame {
    fn jpeg(&self) -> &[u8] {
        &self.jpeg
    }
    fn captured(&self) -> Option<Ntp> {
        self.captured
    }
}

const CHILD: &str = "LANCAM_WINDOW_TEST";
const FULL_SCREEN: &str = "LANCAM_WINDOW_TEST_FULL_SCREEN";

/// No test: the viewer, in a process of its own as `DISPLAY` is the process's. Reads `go`, `pause`,
/// `rename` and `reason WORDS` (why no frame comes; no words: nobody knows) from standard input,
/// ends with anything else; saves pictures in the folder that the variable names.
#[test]
#[ignore = "started by the tests of this file"]
fn viewer_process() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let mailbox = Arc::new(Mailbox::<TestFrame>::new(4));
    let stats: Arc<lancam::stats::ViewerStats> = Arc::default();
    let delay: Arc<DelayMeter> = Arc::default();
    let (stop, sending) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let name = Arc::new(Mutex::new("porch".to_owned()));
    let reason = Arc::new(Mutex::new(String::new()));
    let options = WindowOptions {
        scale: Some(2.0),
        overlay: false,
        decoders: 1,
        full_screen: std::env::var_os(FULL_SCREEN).is_some(),
        frames: None,
        pictures: folder.into(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                match line.as_str() {
                    "go" => sending.store(true, Ordering::SeqCst),
                    "pause" => sending.store(false, Ordering::SeqCst),
                    "rename" => *name.lock().expect("no panic") = "garden".to_owned(),
                    other => match other.strip_prefix("reason ") {
                        Some(words) => *reason.lock().expect("no panic") = words.to_owned(),
                        None => break,
                    },
                }
            }
            stop.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let jpegs: Vec<Vec<u8>> = (0..PHASES).map(frame).collect();
            for n in 0.. {
                // 30 fps.
                std::thread::sleep(Duration::from_millis(33));
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if !sending.load(Ordering::SeqCst) {
                    continue;
                }
                let mut frame = mailbox.reclaim().unwrap_or_default();
                frame.jpeg.clone_from(&jpegs[n % PHASES]);
                frame.captured = Some(Ntp::from(SystemTime::now()));
                stats.frames_whole.add(1);
                stats.packets_received.add(20);
                stats.bytes_received.add(frame.jpeg.len() as u64);
                if let Some(displaced) = mailbox.put(frame) {
                    stats.frames_skipped.add(1);
                    mailbox.recycle(displaced);
                }
            }
        });
        let feed = Feed {
            name: Box::new({
                let name = Arc::clone(&name);
                move || name.lock().expect("no panic").clone()
            }),
            reason: Box::new({
                let reason = Arc::clone(&reason);
                move || Some(reason.lock().expect("no panic").clone()).filter(|r| !r.is_empty())
            }),
            lobby: Arc::new(Lobby::new(Waiting {
                headline: "waiting for 224.3.29.71:10000".to_owned(),
                ..Waiting::default()
            })),
            mailbox: Arc::clone(&mailbox),
            arriving: None,
            stats: Arc::clone(&stats),
            delay: Arc::clone(&delay),
            stop: Arc::clone(&stop),
            messages: None,
        };
        let ended = run(options, feed);
        stop.store(true, Ordering::SeqCst);
        let shown = stats.snapshot().frames_shown;
        eprintln!("ended {ended:?} shown {shown} delay {:?}", delay.total());
        // The thread that reads standard input may wait for ever.
        std::process::exit(i32::from(ended.is_err()));
    });
}

/// One X server at a time: with `-displayfd` Xvfb takes no lock on its number, and two that start
/// together can end up with the same one.
static ONE_SERVER: Mutex<()> = Mutex::new(());

struct Desktop {
    display: String,
    folder: tempfile::TempDir,
    manager: Option<Kept>,
    server: Kept,
    _alone: MutexGuard<'static, ()>,
}

impl Desktop {
    fn start(with_manager: bool) -> Option<Desktop> {
        Desktop::start_with(with_manager, 24, &[])
    }

    /// With pixels of so many bits, and more arguments for Xvfb.
    fn start_with(with_manager: bool, depth: u8, more: &[&str]) -> Option<Desktop> {
        if !have(
            "the window",
            &["Xvfb", "xdotool", "import", "openbox", "xprop"],
        ) {
            return None;
        }
        let alone = ONE_SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = format!("{}x{}x{depth}", SCREEN.0, SCREEN.1);
        let (server, display) = xserver::start(&screen, more);
        let mut desktop = Desktop {
            display,
            folder: tempfile::tempdir().expect("folder"),
            manager: None,
            server,
            _alone: alone,
        };
        if with_manager {
            // What it is to start at its own start comes last: windows before that may be lost.
            let ready = desktop.folder.path().join("ready");
            let manager = desktop
                .command("openbox")
                .arg("--startup")
                .arg(format!("touch {}", ready.display()))
                .stderr(Stdio::null())
                .spawn();
            desktop.manager = Some(Kept(manager.expect("openbox starts")));
            until("the window manager is ready", || {
                ready.exists().then_some(())
            });
        }
        Some(desktop)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    /// As desktops set it: the dots an inch.
    fn set_density(&self, dpi: u32) {
        let kind = ["-root", "-f", "RESOURCE_MANAGER", "8s"];
        let value = ["-set", "RESOURCE_MANAGER", &format!("Xft.dpi:\t{dpi}\n")];
        self.output("xprop", &[&kind[..], &value[..]].concat());
    }

    /// A connection for what no program tells.
    fn connect(&self) -> RustConnection {
        let (x, _) = x11rb::connect(Some(&self.display)).expect("connected");
        let version = x.xfixes_query_version(5, 0).expect("sent");
        version.reply().expect("XFixes");
        x
    }

    /// How much of lancam's memory the server has mapped, in pieces.
    fn segments(&self) -> usize {
        let maps = format!("/proc/{}/maps", self.server.0.id());
        let maps = fs::read_to_string(maps).expect("it runs");
        maps.matches("memfd:lancam").count()
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .expect("started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn open_viewer(&self) -> Viewer<'_> {
        self.open_viewer_with(false)
    }

    fn open_viewer_with(&self, is_full_screen: bool) -> Viewer<'_> {
        let mut command = self.command(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", "viewer_process", "--ignored", "--nocapture"])
            .env(CHILD, self.folder.path());
        if is_full_screen {
            command.env(FULL_SCREEN, "1");
        }
        self.open(command)
    }

    /// Starts a program that opens a lancam window.
    fn open(&self, mut command: Command) -> Viewer<'_> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the viewer starts");
        let stdin = process.stdin.take().expect("piped");
        let process = Kept(process);
        let id = until("there is a window", || {
            let found = self.output("xdotool", &["search", "--onlyvisible", "--class", "lancam"]);
            found.lines().next().map(str::to_owned)
        });
        Viewer {
            desktop: self,
            process,
            stdin,
            id,
        }
    }
}

/// Asks until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Viewer<'a> {
    desktop: &'a Desktop,
    process: Kept,
    stdin: ChildStdin,
    id: String,
}

impl Viewer<'_> {
    fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("the viewer listens");
    }

    fn press(&self, key: &str) {
        let arguments = ["windowfocus", "--sync", &self.id, "key", key];
        self.desktop.output("xdotool", &arguments);
    }

    fn title(&self) -> String {
        self.desktop
            .output("xdotool", &["getwindowname", &self.id])
            .trim()
            .to_owned()
    }

    /// Width and height, as the X server has them.
    fn size(&self) -> (usize, usize) {
        let said = self
            .desktop
            .output("xdotool", &["getwindowgeometry", "--shell", &self.id]);
        let value = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|v| v.parse().ok()).expect("a geometry")
        };
        (value("WIDTH="), value("HEIGHT="))
    }

    fn resize(&self, (width, height): (usize, usize)) {
        let (width, height) = (width.to_string(), height.to_string());
        // What is beyond the screen cannot be looked at.
        let corner = ["windowmove", &self.id, "0", "0"];
        let size = ["windowsize", &self.id, &width, &height];
        self.desktop
            .output("xdotool", &[&corner[..], &size[..]].concat());
    }

    fn shot(&self) -> Shot {
        let path = self.desktop.folder.path().join("shot.ppm");
        let name = path.to_string_lossy();
        self.desktop
            .output("import", &["-silent", "-window", &self.id, &name]);
        Shot::read(&path)
    }

    /// Takes screenshots until one is as wanted; keeps it under `name` if that is asked for.
    fn shot_that(&self, name: &str, is_it: impl Fn(&Shot) -> bool) -> Shot {
        let mut last = None;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let shot = self.shot();
            if is_it(&shot) {
                shot.keep(name);
                return shot;
            }
            last = Some(shot);
        }
        if let Some(last) = last {
            last.keep(&format!("{name}-in-vain"));
            panic!("{name}: the last of the pictures is {:?}", last.size);
        }
        unreachable!("at least one picture was taken");
    }

    /// The pattern's counter on a picture that is newer than the one with `before`.
    #[cfg(feature = "send")]
    fn counter_after(&self, name: &str, before: u32) -> u32 {
        let is_newer = |shot: &Shot| shot.counter().is_some_and(|counter| counter > before);
        self.shot_that(name, is_newer).counter().expect("just read")
    }

    fn ends(mut self) {
        let status = until("the viewer ends", || {
            self.process.0.try_wait().expect("a child")
        });
        assert!(status.success(), "{status}");
    }
}

/// What was on the screen: RGB.
struct Shot {
    size: (usize, usize),
    pixels: Vec<[u8; 3]>,
}

impl Shot {
    /// A binary PPM.
    fn read(path: &Path) -> Shot {
        let bytes = fs::read(path).expect("a screenshot");
        let header: Vec<&[u8]> = bytes.split(|b| b.is_ascii_whitespace()).take(4).collect();
        let number = |i: usize| -> usize {
            let text = std::str::from_utf8(header[i]).expect("a number");
            text.parse().expect("a number")
        };
        let size = (number(1), number(2));
        let start = header.iter().map(|field| field.len() + 1).sum();
        // Two bytes a value where the maximum needs them; the upper one comes first.
        let step = if number(3) > 255 { 2 } else { 1 };
        let pixels = bytes[start..]
            .chunks_exact(3 * step)
            .map(|p| [p[0], p[step], p[2 * step]])
            .collect();
        Shot { size, pixels }
    }

    fn keep(&self, name: &str) {
        let Some(folder) = std::env::var_os("LANCAM_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let mut ppm = format!("P6 {} {} 255\n", self.size.0, self.size.1).into_bytes();
        ppm.extend(self.pixels.iter().flatten());
        let path = folder.join(name).with_extension("ppm");
        fs::write(&path, ppm).expect("kept");
        let png = path.with_extension("png");
        drop(Command::new("convert").arg(&path).arg(png).status());
    }

    /// The frame counter in the pattern's strip, if this is the pattern at its own size.
    #[cfg(feature = "send")]
    fn counter(&self) -> Option<u32> {
        let rgb: Vec<u8> = self.pixels.iter().flatten().copied().collect();
        let (counter, _) = lancam::source::pattern::read_strip(&rgb, self.size.0, self.size.1)?;
        Some(counter)
    }

    /// Some of its rows.
    #[cfg(feature = "send")]
    fn rows(&self, rows: std::ops::Range<usize>) -> Shot {
        let width = self.size.0;
        Shot {
            size: (width, rows.len()),
            pixels: self.pixels[rows.start * width..rows.end * width].to_vec(),
        }
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[y * self.size.0 + x]
    }

    fn is_red(&self, x: usize, y: usize) -> bool {
        let [r, g, b] = self.at(x, y);
        r > 190 && g < 30 && b < 30
    }

    fn is_blue(&self, x: usize, y: usize) -> bool {
        let [r, g, b] = self.at(x, y);
        r < 30 && g < 30 && b > 70
    }

    /// White pixels: text.
    fn white(&self) -> usize {
        self.pixels
            .iter()
            .filter(|p| p.iter().all(|&v| v > 240))
            .count()
    }

    /// White pixels around the middle: a notice.
    fn notice(&self) -> usize {
        let (width, height) = self.size;
        let middle = &self.pixels[width * (height * 2 / 5)..width * (height * 3 / 5)];
        middle.iter().filter(|p| p.iter().all(|&v| v > 240)).count()
    }

    /// Whether the notice in the middle is that `name` is lost, for so long as can be, and this
    /// reason, word by word.
    fn is_lost(&self, name: &str, reason: Option<&str>) -> bool {
        (2..60).any(|seconds| {
            let text = format!("{name}: no signal for {seconds} s");
            self.has_text(|canvas| canvas.notice(&text, reason))
        })
    }

    /// Whether it has the text that `draw` draws, and no other there.
    fn has_text(&self, draw: impl Fn(&mut Canvas<'_>)) -> bool {
        let mut drawn = vec![0; self.pixels.len()];
        draw(&mut Overlay::new(1.0).canvas(&mut drawn, self.size));
        let is_text = |pixel: u32| pixel == WHITE || pixel == SOFT;
        let lit: Vec<usize> = (0..drawn.len()).filter(|&i| is_text(drawn[i])).collect();
        let columns = lit.iter().map(|i| i % self.size.0);
        let (Some(left), Some(right)) = (columns.clone().min(), columns.max()) else {
            return false;
        };
        let mut area = lit[0]..=lit[lit.len() - 1];
        area.all(|i| {
            let [r, g, b] = self.pixels[i];
            let shown = u32::from_be_bytes([0, r, g, b]);
            let is_outside = !(left..=right).contains(&(i % self.size.0));
            is_outside || shown == drawn[i] || !is_text(shown) && !is_text(drawn[i])
        })
    }

    /// Whether it shows the picture, whole, in its aspect ratio and as large as it fits, between
    /// black bars.
    fn is_picture_in(&self, window: (usize, usize)) -> bool {
        let r = fit(PICTURE, window);
        let middle = r.x + r.width / 2;
        let picture = self.size == window
            && [(0, 0), (0, r.height - 1)]
                .iter()
                .all(|&(x, y)| self.is_red(r.x + x, r.y + y))
            && [(1, 0), (1, r.height - 1)]
                .iter()
                .all(|&(x, y)| self.is_blue(r.x + r.width - x, r.y + y))
            && self.is_red(middle - r.width / 16 - 2, r.y + r.height / 2)
            && self.is_blue(middle + r.width / 16 + 2, r.y + r.height / 2);
        picture
            && self.pixels.iter().enumerate().all(|(i, p)| {
                let (x, y) = (i % self.size.0, i / self.size.0);
                let inside = x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height;
                inside || *p == [0, 0, 0]
            })
    }

    /// Whether all its edges have the colour of a frozen picture's border.
    fn has_border(&self) -> bool {
        let (width, height) = self.size;
        let edges = [
            (0, 0),
            (width / 2, 0),
            (width - 1, height / 2),
            (0, height / 2),
            (width - 1, height - 1),
        ];
        edges.iter().all(|&(x, y)| {
            let [r, g, b] = self.at(x, y);
            r < 100 && g > 100 && b > 200
        })
    }

    /// How many rows from the first to the last with text in them.
    fn text_height(&self) -> usize {
        let is_lit = |&y: &usize| (0..self.size.0).any(|x| self.at(x, y).iter().all(|v| *v > 240));
        let rows: Vec<usize> = (0..self.size.1).filter(is_lit).collect();
        match rows[..] {
            [first, .., last] => last - first,
            _ => 0,
        }
    }

    /// The blue of the right half, which tells the frames from each other.
    fn phase(&self) -> u8 {
        self.at(self.size.0 * 3 / 4, self.size.1 / 2)[2]
    }
}

#[test]
fn the_window_shows_frames_and_answers_keys() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let mut viewer = desktop.open_viewer();

    // Before the first frame.
    viewer.shot_that("waiting", |shot| shot.notice() > 500);
    assert_eq!(viewer.title(), "porch - waiting");

    // The first frame gives the window its size.
    viewer.tell("go");
    viewer.shot_that("first", |shot| shot.is_picture_in((640, 480)));
    let title = until("the title has figures", || {
        Some(viewer.title()).filter(|title| title.contains(" ms"))
    });
    assert!(title.starts_with("porch - 320x240 - "), "{title}");
    assert!(title.contains(" fps - loss 0.0 % - "), "{title}");

    // Any size: the aspect ratio stays.
    for size in [
        (900, 480),
        (333, 701),
        (1280, 960),
        (97, 61),
        (320, 240),
        (640, 480),
    ] {
        viewer.resize(size);
        let name = format!("size-{}x{}", size.0, size.1);
        viewer.shot_that(&name, |shot| shot.is_picture_in(size));
    }

    // The overlay, on and off.
    viewer.press("i");
    viewer.shot_that("overlay", |shot| shot.white() > 500 && !shot.is_red(20, 12));
    viewer.press("i");
    viewer.shot_that("no-overlay", |shot| {
        shot.is_picture_in((640, 480)) && shot.white() == 0
    });

    // Frozen: it says so, and the picture stays while frames come.
    viewer.press("space");
    let frozen = viewer.shot_that("frozen", Shot::has_border);
    for _ in 0..5 {
        assert_eq!(viewer.shot().phase(), frozen.phase());
    }
    assert_eq!(viewer.title(), "porch - frozen");
    viewer.press("space");
    viewer.shot_that("thawed", |shot| {
        shot.is_picture_in((640, 480)) && shot.phase() != frozen.phase()
    });

    // Saved just as it came, and the path is shown.
    viewer.press("s");
    viewer.shot_that("saved", |shot| shot.white() > 50);
    let pictures: Vec<PathBuf> = fs::read_dir(&desktop.folder)
        .expect("there")
        .map(|entry| entry.expect("there").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
        .collect();
    assert_eq!(pictures.len(), 1);
    let name = pictures[0].file_name().expect("a name").to_string_lossy();
    assert!(name.starts_with("porch-20"), "{name}");
    let saved = fs::read(&pictures[0]).expect("readable");
    assert!(
        (0..PHASES).any(|n| frame(n) == saved),
        "it is none of the frames"
    );

    // The stream gets another name.
    viewer.tell("rename");
    until("the title has the new name", || {
        viewer.title().starts_with("garden - 320x240").then_some(())
    });

    // As large as the screen, and back.
    viewer.press("f");
    viewer.shot_that("full", |shot| shot.is_picture_in(SCREEN));
    viewer.press("f");
    viewer.shot_that("back", |shot| shot.is_picture_in((640, 480)));

    // The sender goes and comes back.
    viewer.tell("pause");
    viewer.shot_that("lost", |shot| shot.notice() > 500);
    viewer.tell("go");
    viewer.shot_that("found", |shot| shot.is_picture_in((640, 480)));

    viewer.press("q");
    viewer.ends();
}

#[test]
fn a_lost_sender_is_named_with_the_reason_that_is_known_last() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let mut viewer = desktop.open_viewer();
    viewer.tell("go");
    viewer.shot_that("there", |shot| shot.is_picture_in((640, 480)));
    viewer.tell("pause");
    viewer.shot_that("no-reason", |shot| shot.is_lost("porch", None));
    for reason in [
        "no packets from 224.3.29.71:10000",
        "the sender has stopped",
    ] {
        viewer.tell(&format!("reason {reason}"));
        let shot = viewer.shot_that("reason", |shot| shot.is_lost("porch", Some(reason)));
        assert!(!shot.is_lost("porch", None) && !shot.is_lost("porch", Some("no packets")));
    }
    viewer.tell("go");
    viewer.shot_that("back", |shot| shot.is_picture_in((640, 480)));
    viewer.press("q");
    viewer.ends();
}

#[test]
fn a_window_manager_does_full_screen_and_closes() {
    let Some(desktop) = Desktop::start(true) else {
        return;
    };
    let mut viewer = desktop.open_viewer();
    viewer.tell("go");
    viewer.shot_that("managed", |shot| shot.is_picture_in((640, 480)));
    viewer.press("f");
    viewer.shot_that("managed-full", |shot| shot.is_picture_in(SCREEN));
    let states = desktop.output("xprop", &["-id", &viewer.id, "_NET_WM_STATE"]);
    assert!(states.contains("FULLSCREEN"), "{states}");
    viewer.press("f");
    viewer.shot_that("managed-back", |shot| shot.is_picture_in((640, 480)));
    until("the window has its size back", || {
        (viewer.size() == (640, 480)).then_some(())
    });
    // What the window manager's close button and this key do is the same.
    viewer.press("alt+F4");
    viewer.ends();
}

#[test]
fn escape_quits_and_so_does_the_pipeline() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let viewer = desktop.open_viewer();
    viewer.press("Escape");
    viewer.ends();
    let mut viewer = desktop.open_viewer();
    viewer.tell("stop");
    viewer.ends();
}

/// The whole chain: pattern, multicast on loopback, window.
#[test]
#[cfg(feature = "send")]
fn in_the_demo_the_patterns_counter_advances_at_any_size() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let mut command = desktop.command(env!("CARGO_BIN_EXE_lancam"));
    // A group of its own, as several demos may run on one machine.
    let group = own_group();
    command.args(["demo", "--group", &group]);
    let viewer = desktop.open(command);
    until("the window has the picture's size", || {
        (viewer.size() == (1280, 720)).then_some(())
    });
    let first = viewer.counter_after("demo", 0);
    let second = viewer.counter_after("demo-later", first);
    assert!(second > first, "{first} then {second}");
    until("the title has the picture's size", || {
        viewer
            .title()
            .starts_with("demo - 1280x720 - ")
            .then_some(())
    });

    // Taller than the picture: bars above and below, and the picture in its own proportions between them.
    viewer.resize((1280, 900));
    viewer.shot_that("demo-tall", |shot| {
        let is_black = |y: usize| (0..1280).all(|x| shot.at(x, y) == [0, 0, 0]);
        shot.size == (1280, 900)
            && is_black(899)
            && !is_black(100)
            && shot.rows(90..810).counter().is_some()
    });
    viewer.press("q");
    viewer.ends();
}

#[test]
fn a_screen_without_true_colours_is_refused_in_words() {
    let Some(desktop) = Desktop::start_with(false, 8, &[]) else {
        return;
    };
    let output = desktop
        .command(env!("CARGO_BIN_EXE_lancam"))
        .args(["view", "239.255.1.1:20000", "--interface", "lo"])
        .output()
        .expect("started");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = "on a screen of 8 bits a pixel: it needs one of true colours, such as 24 bits";
    assert!(said.contains(wanted), "{said}");
}

/// Screens of other depths, and servers that read no memory of ours: the pixels go by the connection, at any size.
#[test]
fn where_no_memory_is_shared_the_picture_is_the_same() {
    let no_sharing = ["-extension", "MIT-SHM"];
    for (depth, more) in [(24, &no_sharing[..]), (15, &[]), (16, &[]), (30, &[])] {
        let Some(desktop) = Desktop::start_with(false, depth, more) else {
            return;
        };
        let mut viewer = desktop.open_viewer();
        viewer.tell("go");
        let name = format!("depth-{depth}");
        viewer.shot_that(&name, |shot| shot.is_picture_in((640, 480)));
        for size in [(333, 701), (1280, 960)] {
            viewer.resize(size);
            viewer.shot_that(&name, |shot| shot.is_picture_in(size));
        }
        viewer.press("q");
        viewer.ends();
    }
}

#[test]
fn the_server_reads_pictures_from_shared_memory_and_keeps_none_of_it() {
    for (more, segments) in [(&[][..], 2), (&["-extension", "MIT-SHM"][..], 0)] {
        let Some(desktop) = Desktop::start_with(false, 24, more) else {
            return;
        };
        let mut viewer = desktop.open_viewer();
        viewer.tell("go");
        for size in [(640, 480), (1280, 960), (333, 701)] {
            viewer.resize(size);
            viewer.shot_that("shared", |shot| shot.is_picture_in(size));
            until("the server has as many segments", || {
                (desktop.segments() == segments).then_some(())
            });
        }
        viewer.press("q");
        viewer.ends();
        until("the server has none left", || {
            (desktop.segments() == 0).then_some(())
        });
    }
}

#[test]
fn full_screen_is_entered_and_left_as_people_know_it() {
    for with_manager in [false, true] {
        let Some(desktop) = Desktop::start(with_manager) else {
            return;
        };
        let mut viewer = desktop.open_viewer();
        viewer.tell("go");
        viewer.shot_that("window", |shot| shot.is_picture_in((640, 480)));
        viewer.press("F11");
        viewer.shot_that("f11", |shot| shot.is_picture_in(SCREEN));
        // Escape leaves full screen first, and then the viewer.
        viewer.press("Escape");
        viewer.shot_that("left", |shot| shot.is_picture_in((640, 480)));
        let over = ["mousemove", "--window", &viewer.id, "300", "200"];
        let twice = ["click", "--repeat", "2", "--delay", "50", "1"];
        desktop.output("xdotool", &[&over[..], &twice[..]].concat());
        viewer.shot_that("double-click", |shot| shot.is_picture_in(SCREEN));
        viewer.press("Escape");
        viewer.shot_that("left-again", |shot| shot.is_picture_in((640, 480)));
        viewer.press("Escape");
        viewer.ends();
    }
}

#[test]
fn keys_are_listed_in_the_window() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let mut viewer = desktop.open_viewer();
    viewer.tell("go");
    let plain = |shot: &Shot| shot.is_picture_in((640, 480));
    let has_list = |shot: &Shot| shot.notice() > 500;
    viewer.shot_that("no-help", plain);
    for (shows, hides) in [("h", "h"), ("question", "question"), ("h", "Escape")] {
        viewer.press(shows);
        viewer.shot_that("help", has_list);
        viewer.press(hides);
        viewer.shot_that("help-hidden", plain);
    }
    // Escape hides the list first, and then leaves full screen.
    viewer.press("f");
    viewer.press("h");
    viewer.shot_that("help-full", |shot| shot.size == SCREEN && has_list(shot));
    viewer.press("Escape");
    viewer.shot_that("help-full-hidden", |shot| shot.is_picture_in(SCREEN));
    viewer.press("Escape");
    viewer.shot_that("help-left", plain);
    viewer.press("q");
    viewer.ends();
}

#[test]
fn in_full_screen_the_pointer_is_hidden_while_it_rests() {
    for with_manager in [false, true] {
        let Some(desktop) = Desktop::start(with_manager) else {
            return;
        };
        let mut viewer = desktop.open_viewer();
        viewer.tell("go");
        viewer.shot_that("pointer", |shot| shot.is_picture_in((640, 480)));
        let x = desktop.connect();
        let move_by = |pixels: &str| {
            desktop.output("xdotool", &["mousemove_relative", pixels, "0"]);
        };
        let middle = ["mousemove", "--window", &viewer.id, "300", "200"];
        desktop.output("xdotool", &middle);
        assert!(is_pointer_seen(&x));
        viewer.press("f");
        viewer.shot_that("pointer-full", |shot| shot.is_picture_in(SCREEN));
        until("it is hidden", || (!is_pointer_seen(&x)).then_some(()));
        move_by("9");
        until("it is seen again", || is_pointer_seen(&x).then_some(()));
        until("it is hidden again", || {
            (!is_pointer_seen(&x)).then_some(())
        });
        viewer.press("f");
        until("it is back", || is_pointer_seen(&x).then_some(()));
        viewer.press("q");
        viewer.ends();
    }
}

#[test]
fn it_can_start_in_full_screen() {
    for with_manager in [false, true] {
        let Some(desktop) = Desktop::start(with_manager) else {
            return;
        };
        let mut viewer = desktop.open_viewer_with(true);
        viewer.shot_that("full-waiting", |shot| {
            shot.size == SCREEN && shot.notice() > 500
        });
        viewer.tell("go");
        viewer.shot_that("full-first", |shot| shot.is_picture_in(SCREEN));
        // The window that is left has the picture's size.
        viewer.press("Escape");
        viewer.shot_that("full-left", |shot| shot.is_picture_in((640, 480)));
        viewer.press("q");
        viewer.ends();
    }
}

/// A desktop for a screen of twice the usual density.
#[test]
fn text_follows_the_desktops_scale() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let look = || {
        let viewer = desktop.open_viewer();
        let size = viewer.size();
        viewer.press("h");
        let shot = viewer.shot_that("density", |shot| shot.text_height() > 100);
        viewer.press("q");
        viewer.ends();
        (size, shot.text_height())
    };
    let (size, usual) = look();
    assert_eq!(size, (640, 360));
    desktop.set_density(144);
    let (size, large) = look();
    assert_eq!(size, (960, 540));
    assert!(large > usual * 5 / 4, "{usual} and then {large} rows");
}

/// Whether the pointer has a pixel that is not transparent.
fn is_pointer_seen(x: &RustConnection) -> bool {
    let reply = x.xfixes_get_cursor_image().expect("sent").reply();
    let image = reply.expect("an image").cursor_image;
    image.iter().any(|argb| argb >> 24 != 0)
}

/// Sends a signal to a process.
fn signal(process: &Kept, signal: Signal) {
    let pid = Pid::from_raw(process.0.id().try_into().expect("a pid"));
    kill(pid, signal).expect("it runs");
}

/// A group of this test's own on loopback.
#[cfg(feature = "send")]
fn own_group() -> String {
    let id = std::process::id();
    format!(
        "239.255.{}.{}:{}",
        id >> 8 & 255,
        id & 255,
        20_000 + id % 20_000
    )
}

/// The recording gets its index, and the sender a goodbye.
#[test]
#[cfg(feature = "send")]
fn without_its_server_it_ends_in_order() {
    let Some(mut desktop) = Desktop::start(false) else {
        return;
    };
    let group = own_group();
    let lancam = env!("CARGO_BIN_EXE_lancam");
    let mut sender = Command::new(lancam)
        .args(["send", "--source", "pattern:320x240@30", "--group", &group])
        .args(["--interface", "lo", "--stats", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the sender starts");
    let stats = BufReader::new(sender.stdout.take().expect("piped"));
    let _sender = Kept(sender);
    let mut viewers = stats.lines().map_while(Result::ok).map(|line| {
        let stats: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        stats["viewers"].as_u64().expect("a number")
    });
    let recording = desktop.folder.path().join("shown.avi");
    let viewer = desktop
        .command(lancam)
        .args(["view", &group, "--interface", "lo", "--record"])
        .arg(&recording)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the viewer starts");
    assert!(viewers.any(|n| n == 1));
    until("something is recorded", || {
        let written = fs::metadata(&recording).is_ok_and(|file| file.len() > 100_000);
        written.then_some(())
    });
    desktop.server.0.kill().expect("it runs");
    let output = viewer.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the window is gone: the X server"), "{said}");
    assert!(said.contains("recorded "), "{said}");
    let avi = fs::read(&recording).expect("recorded");
    assert!(avi.windows(4).any(|chunk| chunk == b"idx1"), "no index");
    // Without a goodbye the viewer would count for 25 s more.
    let began = Instant::now();
    assert!(viewers.any(|n| n == 0));
    assert!(began.elapsed() < PATIENCE, "no goodbye");
}

#[test]
fn while_its_server_hangs_it_can_be_ended() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let mut viewer = desktop.open_viewer();
    viewer.tell("go");
    viewer.shot_that("before", |shot| shot.is_picture_in((640, 480)));
    signal(&desktop.server, Signal::SIGSTOP);
    viewer.tell("stop");
    viewer.ends();
    signal(&desktop.server, Signal::SIGCONT);
}

#[test]
fn a_window_that_is_destroyed_ends_the_viewer() {
    let Some(desktop) = Desktop::start(false) else {
        return;
    };
    let viewer = desktop.open_viewer();
    desktop.output("xdotool", &["windowclose", &viewer.id]);
    viewer.ends();
}

#[test]
fn without_a_screen_it_says_what_to_do() {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "viewer_process", "--ignored", "--nocapture"])
        .env(CHILD, "/nonexistent")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::piped())
        .output()
        .expect("started");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("NoDisplay"), "{said}");
}
