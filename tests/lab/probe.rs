//! A test's window on the camera source: opens it as the sender does and tells what it lends, one
//! line a frame and a summary at the end. It runs in the lab's virtual machine (see `run`), and is
//! no part of lancam.
//!
//!     capture_probe DEVICE [key=value …]
//!       format=auto|mjpeg|yuyv|nv12|yu12|rgb3   size=WxH   fps=N   quality=N   sampling=422
//!       set:NAME=VALUE   a control
//!       expect=DIR       the pictures that the camera sends, compared byte for byte
//!       frames=N         end after N frames, slates included (default 60)
//!       seconds=S        end after S seconds, whatever came (default 30)
//!       hold=MS          keep each frame for so long, as a sender that paces does
//!       at:N=COMMAND     run a shell command when frame N (counted from 0) is lent
//!       replug=N         unplug and plug the simulated camera N times (needs fifo=)
//!       fifo=PATH        uvcsim's
//!       quiet            no line a frame
//!     capture_probe list [json]
//!     capture_probe compare FILE.mjpeg DIR   which pictures of DIR a recording holds, by their scans
//!
//! Status: 0 done, 1 the source failed, 2 wrong usage. What counts is in the summary.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lancam::clock::Mono;
use lancam::jpeg::Sampling;
use lancam::source::camera::{self, Camera};
use lancam::source::{
    CameraFormat, CameraSpec, ControlValue, Frame, OpenOptions, Source, SourceError, Stop, slate,
};

/// Counts what is allocated, to show that frames are lent without.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Frames before the steady state.
const WARM_UP: u64 = 10;

struct Run {
    spec: CameraSpec,
    pictures: Vec<Vec<u8>>,
    frames: u64,
    limit: Duration,
    hold: Duration,
    commands: BTreeMap<u64, String>,
    replug: u64,
    fifo: PathBuf,
    quiet: bool,
}

/// What a frame is, compared with the camera's pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// This picture, byte for byte.
    Same(usize),
    /// This picture from the scan's start on; something in the header differs (no DHT).
    Scan(usize),
    /// This picture and more behind it.
    Padded(usize),
    /// The beginning of this picture.
    Cut(usize),
    /// Flagged by the source as broken.
    Flagged,
    /// Another picture, whole: a slate, or a raw picture that was encoded.
    Whole,
    /// Nothing that decodes.
    Broken,
}

#[derive(Default)]
struct Sum {
    frames: u64,
    same: u64,
    scan: u64,
    padded: u64,
    cut: u64,
    flagged: u64,
    whole: u64,
    broken: u64,
    missed: u64,
    /// The longest run of frames between which none was missed, and the one that goes on.
    unbroken: u64,
    run: u64,
    /// Frames whose picture is not the one that follows by the count of missed frames.
    disorder: u64,
    steady_allocations: u64,
    /// Age of each frame.
    ages_ms: Vec<u64>,
    /// Longest time between two frames.
    gap_ms: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "list") {
        return list(arguments.iter().any(|a| a == "json"));
    }
    if let [command, recording, folder] = &arguments[..] {
        if command == "compare" {
            return compare(Path::new(recording), Path::new(folder));
        }
    }
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO);
    subscriber.with_writer(std::io::stderr).init();
    let run = match parse(&arguments) {
        Ok(run) => run,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    if let Err(error) = capture(&run) {
        println!("failed: {error}");
        std::process::exit(1);
    }
}

fn list(json: bool) {
    let cameras = camera::list();
    if json {
        match serde_json::to_string_pretty(&cameras) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("failed: {error}"),
        }
        return;
    }
    for camera in cameras {
        print!("{camera}");
    }
}

/// Tells of a recording (one JPEG after the other) which frames have the scan of a picture that the
/// camera sent, and in what order.
fn compare(recording: &Path, folder: &Path) {
    let (Ok(bytes), Ok(pictures)) = (std::fs::read(recording), pictures(folder)) else {
        println!("failed: {} or {}", recording.display(), folder.display());
        std::process::exit(1);
    };
    let mut starts: Vec<usize> = (0..bytes.len().saturating_sub(2))
        .filter(|&at| bytes[at..].starts_with(&[0xff, 0xd8, 0xff]))
        .collect();
    starts.push(bytes.len());
    let (mut scans, mut skips, mut other, mut last) = (0, 0, 0, None);
    for pair in starts.windows(2) {
        let frame = &bytes[pair[0]..pair[1]];
        // A page has text between its pictures.
        let eoi = frame.windows(2).rposition(|w| w == [0xff, 0xd9]);
        let frame = &frame[..eoi.map_or(frame.len(), |at| at + 2)];
        let index = pictures.iter().position(|p| scan(p) == scan(frame));
        let Some(index) = index else {
            other += 1;
            last = None;
            continue;
        };
        scans += 1;
        if last.is_some_and(|last| (last + 1) % pictures.len() != index) {
            skips += 1;
        }
        last = Some(index);
    }
    println!(
        "sum frames={} scan={scans} disorder={skips} whole={other}",
        starts.len() - 1
    );
}

fn parse(arguments: &[String]) -> Result<Run, Box<dyn Error>> {
    let device = arguments.first().ok_or("no device")?;
    let mut run = Run {
        spec: CameraSpec::new(device),
        pictures: Vec::new(),
        frames: 60,
        limit: Duration::from_secs(30),
        hold: Duration::ZERO,
        commands: BTreeMap::new(),
        replug: 0,
        fifo: PathBuf::new(),
        quiet: false,
    };
    for argument in &arguments[1..] {
        let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
        match key.split_once(':') {
            Some(("set", name)) => {
                let value = value.parse().map_or_else(
                    |_| ControlValue::Text(value.to_owned()),
                    ControlValue::Number,
                );
                run.spec.controls.insert(name.to_owned(), value);
                continue;
            }
            Some(("at", frame)) => {
                run.commands.insert(frame.parse()?, value.to_owned());
                continue;
            }
            _ => {}
        }
        match key {
            "format" => {
                run.spec.format = match value {
                    "auto" => CameraFormat::Auto,
                    "mjpeg" => CameraFormat::Mjpeg,
                    "yuyv" => CameraFormat::Yuyv,
                    "nv12" => CameraFormat::Nv12,
                    "yu12" => CameraFormat::Yu12,
                    "rgb3" => CameraFormat::Rgb3,
                    _ => return Err(format!("unknown format {value}").into()),
                };
            }
            "size" => {
                let (width, height) = value.split_once('x').ok_or("size=WxH")?;
                run.spec.size = Some((width.parse()?, height.parse()?));
            }
            "fps" => run.spec.fps = Some(value.parse()?),
            "quality" => run.spec.quality = value.parse()?,
            "sampling" => run.spec.sampling = Sampling::Yuv422,
            "expect" => run.pictures = pictures(Path::new(value))?,
            "frames" => run.frames = value.parse()?,
            "seconds" => run.limit = Duration::from_secs_f64(value.parse()?),
            "hold" => run.hold = Duration::from_millis(value.parse()?),
            "replug" => run.replug = value.parse()?,
            "fifo" => run.fifo = PathBuf::from(value),
            "quiet" => run.quiet = true,
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    Ok(run)
}

/// The pictures of a folder in the order in which uvcsim sends them.
fn pictures(folder: &Path) -> Result<Vec<Vec<u8>>, std::io::Error> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths.iter().map(std::fs::read).collect()
}

fn capture(run: &Run) -> Result<(), Box<dyn Error>> {
    let stop = Arc::<Stop>::default();
    let options = OpenOptions {
        name: "lab".to_owned(),
        fps: None,
        looped: false,
        stop: Arc::clone(&stop),
    };
    let mut camera = Camera::open(run.spec.clone(), &options)?;
    println!(
        "open: {}, interval {:?}",
        camera.describe(),
        camera.interval()
    );
    // How many frames of the camera, and how many others, were lent; for the thread that replugs.
    let good = Arc::new(AtomicU64::new(0));
    let slates = Arc::new(AtomicU64::new(0));
    let plugger = (run.replug > 0).then(|| {
        let (good, slates, stop) = (Arc::clone(&good), Arc::clone(&slates), Arc::clone(&stop));
        let (times, fifo) = (run.replug, run.fifo.clone());
        std::thread::spawn(move || replug(times, &fifo, &good, &slates, &stop))
    });

    let started = Instant::now();
    let mut sum = Sum::default();
    let mut last = None;
    let mut lent_at = Instant::now();
    let slate = slate::no_signal("lab", "", SystemTime::now(), (1280, 720))?;
    while sum.frames < run.frames && started.elapsed() < run.limit {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        // Where there is no signal the sender sends a slate: whole, and none of the camera's
        // pictures.
        let frame = match camera.next() {
            Ok(Some(frame)) => frame,
            Err(SourceError::NoSignal(_)) => Frame {
                data: &slate,
                captured: Mono::now(),
                missed: 0,
                flagged: false,
                is_split: false,
                owner: None,
            },
            Ok(None) | Err(SourceError::Stopped) => break,
            Err(error) => return Err(error.into()),
        };
        if sum.frames >= WARM_UP {
            sum.steady_allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        let kind = if frame.flagged {
            Kind::Flagged
        } else {
            kind(frame.data, &run.pictures)
        };
        let age = Mono::now().since(frame.captured).as_millis() as u64;
        let gap = lent_at.elapsed().as_millis() as u64;
        lent_at = Instant::now();
        if !run.quiet {
            println!(
                "frame {} at {:.3} after {gap} ms: {kind:?}, {} bytes, {age} ms old, missed {}",
                sum.frames,
                Mono::now().0 as f64 / 1e9,
                frame.data.len(),
                frame.missed
            );
        }
        sum.count(kind, frame.missed, &mut last, run.pictures.len());
        sum.ages_ms.push(age);
        sum.gap_ms = sum.gap_ms.max(gap);
        match kind {
            Kind::Whole if !run.pictures.is_empty() => slates.fetch_add(1, Ordering::Relaxed),
            Kind::Flagged | Kind::Broken => 0,
            _ => good.fetch_add(1, Ordering::Relaxed),
        };
        if let Some(command) = run.commands.get(&sum.frames) {
            Command::new("sh").arg("-c").arg(command).status()?;
        }
        if !run.hold.is_zero() {
            std::thread::sleep(run.hold);
        }
        sum.frames += 1;
    }
    let took = started.elapsed().as_millis();
    stop.raise();
    if let Some(plugger) = plugger {
        plugger.join().map_err(|_| "the replugging thread failed")?;
    }
    sum.print(took);
    Ok(())
}

impl Sum {
    fn count(&mut self, kind: Kind, missed: u32, last: &mut Option<usize>, pictures: usize) {
        self.missed += u64::from(missed);
        self.run = if missed == 0 { self.run + 1 } else { 1 };
        self.unbroken = self.unbroken.max(self.run);
        let (counter, index) = match kind {
            Kind::Same(index) => (&mut self.same, Some(index)),
            Kind::Scan(index) => (&mut self.scan, Some(index)),
            Kind::Padded(index) => (&mut self.padded, Some(index)),
            Kind::Cut(index) => (&mut self.cut, Some(index)),
            Kind::Flagged => (&mut self.flagged, None),
            Kind::Whole => (&mut self.whole, None),
            Kind::Broken => (&mut self.broken, None),
        };
        *counter += 1;
        if let (Some(last), Some(index)) = (*last, index) {
            if (last + 1 + missed as usize) % pictures.max(1) != index {
                self.disorder += 1;
            }
        }
        *last = index;
    }

    /// In milliseconds.
    fn median_age(&self) -> u64 {
        let mut ages = self.ages_ms.clone();
        ages.sort_unstable();
        ages.get(ages.len() / 2).copied().unwrap_or(0)
    }

    fn print(&self, took: u128) {
        println!(
            "sum frames={} same={} scan={} padded={} cut={} flagged={} whole={} broken={} missed={} \
             unbroken={} disorder={} allocations={} age={} gap={} took={took} {}",
            self.frames,
            self.same,
            self.scan,
            self.padded,
            self.cut,
            self.flagged,
            self.whole,
            self.broken,
            self.missed,
            self.unbroken,
            self.disorder,
            self.steady_allocations,
            self.median_age(),
            self.gap_ms,
            resources(),
        );
    }
}

fn kind(data: &[u8], pictures: &[Vec<u8>]) -> Kind {
    let find = |test: &dyn Fn(&[u8]) -> bool| pictures.iter().position(|p| test(p));
    if let Some(index) = find(&|p| p == data) {
        return Kind::Same(index);
    }
    if let Some(index) = find(&|p| data.starts_with(p)) {
        return Kind::Padded(index);
    }
    if let Some(scan) = scan(data) {
        if let Some(index) = find(&|p| self::scan(p) == Some(scan)) {
            return Kind::Scan(index);
        }
    }
    // Pictures share their headers: less than that says nothing.
    if let Some(index) = find(&|p| data.len() > 1000 && p.starts_with(data)) {
        return Kind::Cut(index);
    }
    match turbojpeg::decompress(data, turbojpeg::PixelFormat::RGB) {
        Ok(_) => Kind::Whole,
        Err(_) => Kind::Broken,
    }
}

/// From the SOS marker on. Every picture of the lab has one scan.
fn scan(jpeg: &[u8]) -> Option<&[u8]> {
    let at = jpeg.windows(2).position(|w| w == [0xff, 0xda])?;
    Some(&jpeg[at..])
}

/// Open file descriptors and resident memory in KiB.
fn resources() -> String {
    let fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("0");
    format!("fds={fds} rss={rss}")
}

/// Unplugs the camera while it streams and plugs it in again once a slate was seen, many times;
/// says how long after the node's return the next frame came.
fn replug(times: u64, fifo: &Path, good: &AtomicU64, slates: &AtomicU64, stop: &Stop) {
    let tell = |word: &str| {
        if let Err(error) = std::fs::write(fifo, format!("{word}\n")) {
            println!("failed: {}: {error}", fifo.display());
        }
    };
    let wait = |what: &str, test: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !test() && !stop.is_raised() {
            if started.elapsed() > Duration::from_secs(15) {
                println!("failed: no {what} within 15 s");
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        started.elapsed().as_millis()
    };
    for time in 1..=times {
        let (frames, shown) = (good.load(Ordering::Relaxed), slates.load(Ordering::Relaxed));
        wait("frame", &|| good.load(Ordering::Relaxed) >= frames + 5);
        tell("unplug");
        wait("slate", &|| slates.load(Ordering::Relaxed) > shown);
        let frames = good.load(Ordering::Relaxed);
        tell("plug");
        wait("node", &|| nodes() > 0);
        let took = wait("frame", &|| good.load(Ordering::Relaxed) > frames);
        println!("replug {time} recovered={took} {}", resources());
    }
    stop.raise();
}

fn nodes() -> usize {
    std::fs::read_dir("/dev").map_or(0, |entries| {
        let names = entries.flatten().map(|entry| entry.file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("video"))
            .count()
    })
}
