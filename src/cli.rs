//! The command line: what may be written, and what it means. The raw arguments ([`Cli`]) are what clap
//! makes of the words; `resolve` turns those of each subcommand, once, into checked settings
//! ([`SendPlan`], [`ViewConfig`], [`DemoPlan`]). Nothing is opened here but the config file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "send")]
use crate::config::{self, Config, ConfigError, Pacing, REPAIR_AUTO_MAX, Repair, Stream};
use crate::config::{DEFAULT_GROUP, Status, check};
use crate::doctor::DoctorPlan;
#[cfg(feature = "send")]
use crate::net::pacing::MOST_OF_INTERVAL;
#[cfg(feature = "send")]
use crate::source::{SourceSpec, check_fps};

/// Version, commit and features, as `--version` prints them.
pub const VERSION: &str = match (cfg!(feature = "send"), cfg!(feature = "view")) {
    (true, true) => version!("send, view"),
    (true, false) => version!("send"),
    (false, true) => version!("view"),
    (false, false) => version!("none"),
};

/// The commit comes from build.rs.
macro_rules! version {
    ($features:literal) => {
        concat!(
            env!("CARGO_PKG_VERSION"),
            " (",
            env!("LANCAM_COMMIT"),
            "; features: ",
            $features,
            ")"
        )
    };
}
use version;

/// The variable that holds the status page's token: unlike an argument nobody else on this host sees it.
const STATUS_TOKEN: &str = "LANCAM_STATUS_TOKEN";

/// A camera for your LAN: MJPEG by UDP multicast, at the lowest delay.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lancam",
    version = VERSION,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = "\
Try it, with nothing set up:
  lancam demo

A camera or a file, to everybody on this network:
  lancam send --source /dev/video0
  lancam send --source clip.avi --loop

Watch it, on any other machine:
  lancam view
  lancam list

No picture?
  lancam doctor

Exit codes: 0 done, 1 failed while running, 2 wrong usage or config."
)]
pub struct Cli {
    /// Say more in the log (twice: everything). LANCAM_LOG overrides it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Send a camera, a file or the test pattern to a group
    #[cfg(feature = "send")]
    Send(Box<SendArgs>),
    /// Watch a stream, in a window or without one
    View(Box<ViewArgs>),
    /// List the streams that are announced on this network
    List(ListArgs),
    /// See it work: the test pattern over this host's loopback into a window
    #[cfg(feature = "send")]
    Demo(Box<DemoArgs>),
    /// List this machine's cameras: formats, sizes, rates, controls
    #[cfg(feature = "send")]
    Cameras(CamerasArgs),
    /// Read a config and say what it means, or what is wrong and where
    #[cfg(feature = "send")]
    Check(CheckArgs),
    /// Why can I not see it? Look at everything between a sender and a picture
    Doctor(DoctorArgs),
}

/// Arguments that cannot be followed: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The config file is wrong.
    #[cfg(feature = "send")]
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments do not fit each other, or ask for what is not there.
    #[error("{0}")]
    Usage(String),
}

/// Where `--stats` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsTo {
    /// Standard output.
    Stdout,
    /// A file, made anew.
    File(PathBuf),
}

/// `lancam send`.
#[cfg(feature = "send")]
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Sources:
  camera                       the only camera there is (without --source, too)
  /dev/video0                  a camera; better its path in /dev/v4l/by-id
  clip.avi  clip.mjpeg  a.jpg  a video or a picture
  shot-%04d.jpg                a numbered series of pictures
  -                            MJPEG on standard input
  exec:COMMAND                 MJPEG that a command writes
  pattern:1280x720@30          the built-in test pattern

Examples:
  lancam send --source /dev/video0 --interface eth0
  lancam send --source clip.avi --loop --group 224.3.29.72:10000
  lancam send --source \"exec:rpicam-vid --codec mjpeg -t 0 -o -\"
  lancam send --config /etc/lancam/lancam.ron

Flags override the config, where that holds a single stream.")]
pub struct SendArgs {
    /// Settings for one or more streams, as config/lancam.ron explains them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Camera, file, -, exec:COMMAND or pattern:WxH@FPS
    #[arg(long, value_name = "SRC", allow_hyphen_values = true)]
    pub source: Option<SourceSpec>,

    /// What viewers see the stream called [default: lancam]
    #[arg(long, value_parser = check::name)]
    pub name: Option<String>,

    /// Multicast group or one host to send to [default: 224.3.29.71:10000]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::group)]
    pub group: Option<SocketAddr>,

    /// Interface to send on, by name or address
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// Routers to cross, plus one [default: 1]
    #[arg(long, value_name = "N")]
    pub ttl: Option<u8>,

    /// Priority mark of packets, 0 to 63 [default: 34, the video class AF41]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=63))]
    pub dscp: Option<u8>,

    /// Largest IP packet in bytes [default: what the interface carries]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..))]
    pub mtu: Option<u16>,

    /// Frames a second [default: the source's own]
    #[arg(long, value_name = "RATE", value_parser = fps)]
    pub fps: Option<f64>,

    /// Start a file again at its end
    #[arg(long = "loop")]
    pub looped: bool,

    /// Scale down to fit and encode again
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub resize: Option<(u32, u32)>,

    /// JPEG quality where lancam encodes, 1 to 100 [default: 80]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: Option<u8>,

    /// Spread of a frame's packets over time: auto, off or a fraction of the
    /// frame interval up to 0.8 [default: auto]
    #[arg(long, value_name = "auto|off|FRACTION", value_parser = pacing)]
    pub pacing: Option<Pacing>,

    /// Repair packets against loss: off, auto or a share up to 1 [default: off]
    #[arg(long, value_name = "off|auto|SHARE", value_parser = repair)]
    pub repair: Option<Repair>,

    /// Send again what viewers ask for
    #[arg(long)]
    pub retransmit: bool,

    /// Core that the stream's thread runs on
    #[arg(long, value_name = "CORE", value_parser = core)]
    pub pin: Option<usize>,

    /// Real-time priority (SCHED_FIFO) of the stream's thread, 1 to 99
    #[arg(long, value_name = "PRIO", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub realtime: Option<u8>,

    /// Keep all memory in RAM (mlockall)
    #[arg(long)]
    pub lock_memory: bool,

    /// Write the stream's SDP, for ffplay, VLC and GStreamer
    #[arg(long, value_name = "FILE")]
    pub sdp: Option<PathBuf>,

    /// Status page for browsers [default: off]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::listen)]
    pub status: Option<SocketAddr>,

    /// What the page's visitors must know [default: nothing]
    #[arg(long, value_name = "TOKEN", value_parser = check::token, env = STATUS_TOKEN, hide_env_values = true)]
    pub status_token: Option<String>,

    /// Write counters as JSON, one object a second (-: standard output)
    #[arg(long, value_name = "FILE|-", value_parser = stats_to)]
    pub stats: Option<StatsTo>,
}

/// What `lancam send` was asked to do.
#[cfg(feature = "send")]
#[derive(Clone, Debug, PartialEq)]
pub struct SendPlan {
    /// The streams.
    pub config: Config,
    /// Where counters are written.
    pub stats: Option<StatsTo>,
}

#[cfg(feature = "send")]
impl SendArgs {
    /// What the arguments mean together with the config file, which is read now. To reload the
    /// config, call it again.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<SendPlan, UsageError> {
        let mut config = match &self.config {
            Some(path) => config::load(path)?,
            None => Config::default(),
        };
        self.override_config(&mut config)?;
        Ok(SendPlan {
            config,
            stats: self.stats.clone(),
        })
    }

    /// Puts the flags in the place of what the file says.
    fn override_config(&self, config: &mut Config) -> Result<(), UsageError> {
        if let Some(listen) = self.status {
            let token = match &config.status {
                Status::On { token, .. } => token.clone(),
                Status::Off => None,
            };
            config.status = Status::On { listen, token };
        }
        if let (Status::On { token, .. }, Some(given)) = (&mut config.status, &self.status_token) {
            *token = Some(given.clone());
        }
        let flags = self.stream_flags();
        let Some(first) = flags.first() else {
            return Ok(());
        };
        let [stream] = config.streams.as_mut_slice() else {
            let names: Vec<_> = config
                .streams
                .iter()
                .map(|s| format!("\"{}\"", s.name))
                .collect();
            return Err(UsageError::Usage(format!(
                "{first} is for one stream, but {} has {} ({}): write it into that file",
                self.config
                    .as_deref()
                    .unwrap_or(Path::new("the config"))
                    .display(),
                names.len(),
                names.join(", ")
            )));
        };
        self.override_stream(stream)
    }

    /// The flags that were given and that belong to one stream.
    fn stream_flags(&self) -> Vec<&'static str> {
        [
            (self.source.is_some(), "--source"),
            (self.name.is_some(), "--name"),
            (self.group.is_some(), "--group"),
            (self.interface.is_some(), "--interface"),
            (self.ttl.is_some(), "--ttl"),
            (self.dscp.is_some(), "--dscp"),
            (self.mtu.is_some(), "--mtu"),
            (self.fps.is_some(), "--fps"),
            (self.looped, "--loop"),
            (self.resize.is_some(), "--resize"),
            (self.quality.is_some(), "--quality"),
            (self.pacing.is_some(), "--pacing"),
            (self.repair.is_some(), "--repair"),
            (self.retransmit, "--retransmit"),
            (self.pin.is_some(), "--pin"),
            (self.realtime.is_some(), "--realtime"),
            (self.lock_memory, "--lock-memory"),
            (self.sdp.is_some(), "--sdp"),
        ]
        .into_iter()
        .filter_map(|(given, flag)| given.then_some(flag))
        .collect()
    }

    fn override_stream(&self, stream: &mut Stream) -> Result<(), UsageError> {
        /// Puts a flag's value in place, if the flag was given.
        fn put<T: Clone>(place: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *place = value.clone();
            }
        }
        put(&mut stream.source, &self.source);
        put(&mut stream.name, &self.name);
        put(&mut stream.group, &self.group);
        put(&mut stream.ttl, &self.ttl);
        put(&mut stream.dscp, &self.dscp);
        put(&mut stream.quality, &self.quality);
        put(&mut stream.pacing, &self.pacing);
        put(&mut stream.repair, &self.repair);
        stream.interface = self.interface.clone().or(stream.interface.take());
        stream.mtu = self.mtu.or(stream.mtu);
        stream.fps = self.fps.or(stream.fps);
        stream.resize = self.resize.or(stream.resize);
        stream.pin = self.pin.or(stream.pin);
        stream.realtime = self.realtime.or(stream.realtime);
        stream.sdp = self.sdp.clone().or(stream.sdp.take());
        stream.looped |= self.looped;
        stream.retransmit |= self.retransmit;
        stream.lock_memory |= self.lock_memory;
        // The flag wins over the rate in Camera(...).
        config::fold_into_camera(stream);
        let small = stream.mtu.is_some_and(|mtu| mtu < config::MTU_MIN_V6);
        if stream.group.is_ipv6() && small {
            return Err(UsageError::Usage(format!(
                "the group {} is IPv6, so the MTU must be {} or more",
                stream.group,
                config::MTU_MIN_V6
            )));
        }
        Ok(())
    }
}

/// `lancam view`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Keys in the window:
  q, Esc  quit        f  full screen     s  save the JPEG as it came
  i       overlay     space  freeze

Without a stream named, it is the one in 224.3.29.71:10000 if one comes there,
else the only one that is announced.

Examples:
  lancam view
  lancam view porch
  lancam view 224.3.29.72:10000 --interface eth0
  lancam view porch.sdp
  lancam view --headless --frames 100 --record clip.avi
  lancam view --headless --frames 1 --snapshot now.jpg")]
pub struct ViewArgs {
    /// Stream to watch: its name (or how that begins), its group, or its SDP
    #[arg(value_name = "NAME|ADDR:PORT|FILE.sdp")]
    pub target: Option<String>,

    /// The same as ADDR:PORT
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::group, conflicts_with = "target")]
    pub group: Option<SocketAddr>,

    /// What the window and saved pictures call the stream [default: as the SDP
    /// says, else the group]
    #[arg(long, value_parser = check::name)]
    pub name: Option<String>,

    /// Interface to listen on, by name or address
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// No window: count, record or save only
    #[arg(long)]
    pub headless: bool,

    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,

    /// Record without encoding again: .avi, .mjpeg or - (MJPEG on standard
    /// output)
    #[arg(long, value_name = "FILE", value_parser = record, allow_hyphen_values = true)]
    pub record: Option<Record>,

    /// Save the first whole frame as it came, as .jpg
    #[arg(long, value_name = "FILE", value_parser = jpeg_path)]
    pub snapshot: Option<PathBuf>,

    /// Size of the window against the picture's, 0.1 to 8 [default: as fits]
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    pub scale: Option<f32>,

    /// When part of a frame is lost: keep the last one, or show what came
    #[arg(long, value_enum, default_value_t = OnLoss::Hold)]
    pub on_loss: OnLoss,

    /// Ask the sender again for lost packets; it must have --retransmit too
    #[arg(long)]
    pub retransmit: bool,

    /// Frame intervals that an incomplete frame is waited for at most, 1 to 3
    #[arg(long, value_name = "FRAMES", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=3))]
    pub late: u8,

    /// Status page for browsers [default: off]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::listen)]
    pub status: Option<SocketAddr>,

    /// What the page's visitors must know [default: nothing]
    #[arg(long, value_name = "TOKEN", value_parser = check::token, env = STATUS_TOKEN, hide_env_values = true)]
    pub status_token: Option<String>,

    /// Write counters as JSON, one object a second (-: standard output)
    #[arg(long, value_name = "FILE|-", value_parser = stats_to, allow_hyphen_values = true)]
    pub stats: Option<StatsTo>,
}

/// What is shown when part of a frame is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnLoss {
    /// The last whole frame stays.
    #[default]
    Hold,
    /// What came is shown, with the last frame's pixels in the gaps.
    Conceal,
}

/// Which stream to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one in the default group, or else the only one that is announced.
    Any,
    /// The one that is announced under this name.
    Name(String),
    /// What is sent to this address and port.
    Group(SocketAddr),
    /// What this SDP file describes.
    Sdp(PathBuf),
}

/// Where frames are recorded, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An AVI file.
    Avi(PathBuf),
    /// A file of one JPEG after the other.
    Mjpeg(PathBuf),
    /// Standard output, one JPEG after the other.
    Stdout,
}

/// What `lancam view` was asked to do, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewConfig {
    /// The stream.
    pub target: Target,
    /// What to call it; `None`: as it calls itself.
    pub name: Option<String>,
    /// The interface to listen on, by name or by its address; `None`: the kernel's route decides.
    pub interface: Option<String>,
    /// No window.
    pub headless: bool,
    /// Stop after this many frames, at least 1.
    pub frames: Option<u64>,
    /// Where frames are recorded.
    pub record: Option<Record>,
    /// Where the first whole frame is saved.
    pub snapshot: Option<PathBuf>,
    /// Size of the window against the picture's, 0.1 to 8; `None`: as fits the screen.
    pub scale: Option<f32>,
    /// Whether the window's figures are on from the start.
    pub overlay: bool,
    /// What is shown when part of a frame is lost.
    pub on_loss: OnLoss,
    /// Whether lost packets are asked for again.
    pub retransmit: bool,
    /// Frame intervals that an incomplete frame is waited for at most, 1 to 3.
    pub late: u8,
    /// The status page.
    pub status: Status,
    /// Where counters are written.
    pub stats: Option<StatsTo>,
}

impl Default for ViewConfig {
    fn default() -> ViewConfig {
        ViewConfig {
            target: Target::Any,
            name: None,
            interface: None,
            headless: false,
            frames: None,
            record: None,
            snapshot: None,
            scale: None,
            overlay: false,
            on_loss: OnLoss::Hold,
            retransmit: false,
            late: 1,
            status: Status::Off,
            stats: None,
        }
    }
}

impl ViewArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<ViewConfig, UsageError> {
        if !cfg!(feature = "view") && !self.headless {
            return Err(UsageError::Usage(
                "this lancam was built without a window: add --headless".to_owned(),
            ));
        }
        if self.headless && self.scale.is_some() {
            return Err(UsageError::Usage(
                "--scale is the window's, and --headless has none: leave one out".to_owned(),
            ));
        }
        one_writer_on_stdout(self.record.as_ref(), self.stats.as_ref())?;
        Ok(ViewConfig {
            target: match (self.group, &self.target) {
                (Some(group), _) => Target::Group(group),
                (None, Some(text)) => target(text)?,
                (None, None) => Target::Any,
            },
            name: self.name.clone(),
            interface: self.interface.clone(),
            headless: self.headless,
            frames: self.frames,
            record: self.record.clone(),
            snapshot: self.snapshot.clone(),
            scale: self.scale,
            overlay: false,
            on_loss: self.on_loss,
            retransmit: self.retransmit,
            late: self.late,
            status: match self.status {
                Some(listen) => Status::On {
                    listen,
                    token: self.status_token.clone(),
                },
                None => Status::Off,
            },
            stats: self.stats.clone(),
        })
    }
}

/// A recording and counters cannot both go to standard output.
fn one_writer_on_stdout(
    record: Option<&Record>,
    stats: Option<&StatsTo>,
) -> Result<(), UsageError> {
    if record == Some(&Record::Stdout) && stats == Some(&StatsTo::Stdout) {
        return Err(UsageError::Usage(
            "--record - and --stats - both write to standard output: give one a file".to_owned(),
        ));
    }
    Ok(())
}

/// Which stream the words mean.
fn target(text: &str) -> Result<Target, UsageError> {
    if Path::new(text)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("sdp"))
    {
        return Ok(Target::Sdp(PathBuf::from(text)));
    }
    let named = match check::group(text) {
        Ok(group) => return Ok(Target::Group(group)),
        Err(why) if is_like_address(text) => Err(why),
        Err(_) => check::name(text),
    };
    named.map(Target::Name).map_err(|why| {
        UsageError::Usage(format!(
            "cannot watch \"{}\": {why}. Give a stream's name (`lancam list` shows them), a group such as {DEFAULT_GROUP}, or an .sdp file",
            text.escape_debug()
        ))
    })
}

/// Whether that was meant for an address, perhaps with a port: digits, dots and colons.
fn is_like_address(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || ".:[]".contains(c);
    text.contains(['.', ':', '[']) && text.chars().all(is_part)
}

/// `lancam list`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
It listens for 6 s, longer where many streams are announced.

Examples:
  lancam list
  lancam list --watch
  lancam list --json --timeout 3")]
pub struct ListArgs {
    /// As JSON, for programs: a list; with --watch one object a line
    #[arg(long)]
    pub json: bool,

    /// Stay, and show what comes and goes
    #[arg(long)]
    pub watch: bool,

    /// Interface to listen on, by name or address [default: all]
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// Listen so long, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

/// `lancam demo`.
#[cfg(feature = "send")]
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
No camera, no config and no network are needed. Where there is no display it
runs headless: it prints figures and saves a snapshot.")]
pub struct DemoArgs {
    /// What to show [default: the pattern, 1280x720, 30 fps]
    #[arg(long, value_name = "SRC")]
    pub source: Option<SourceSpec>,

    /// Group on the loopback interface [default: 224.3.29.71:10000]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::group)]
    pub group: Option<SocketAddr>,

    /// No window even where there is a display
    #[arg(long)]
    pub headless: bool,

    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,

    /// Save the first whole frame as it came, as .jpg
    #[arg(long, value_name = "FILE", value_parser = jpeg_path)]
    pub snapshot: Option<PathBuf>,
}

/// What `lancam demo` was asked to do: both ends of one stream on the loopback interface.
#[cfg(feature = "send")]
#[derive(Clone, Debug, PartialEq)]
pub struct DemoPlan {
    /// The sender's end.
    pub stream: Stream,
    /// The viewer's end. Whether there is a display is for the caller to find out.
    pub view: ViewConfig,
}

#[cfg(feature = "send")]
impl DemoArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<DemoPlan, UsageError> {
        const LOOPBACK: &str = "lo";
        const NAME: &str = "demo";
        let group = self.group.unwrap_or(DEFAULT_GROUP);
        let source = self.source.clone().unwrap_or(SourceSpec::Pattern {
            width: 1280,
            height: 720,
            fps: 30.0,
        });
        Ok(DemoPlan {
            stream: Stream {
                name: NAME.to_owned(),
                source,
                group,
                interface: Some(LOOPBACK.to_owned()),
                // Nothing leaves this host.
                ttl: 0,
                looped: true,
                ..Stream::default()
            },
            view: ViewConfig {
                target: Target::Group(group),
                name: Some(NAME.to_owned()),
                interface: Some(LOOPBACK.to_owned()),
                headless: self.headless || !cfg!(feature = "view"),
                frames: self.frames,
                snapshot: self.snapshot.clone(),
                overlay: true,
                ..ViewConfig::default()
            },
        })
    }
}

/// `lancam cameras`.
#[cfg(feature = "send")]
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  lancam cameras
  lancam cameras --json")]
pub struct CamerasArgs {
    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[cfg(feature = "send")]
impl CamerasArgs {
    /// The list, as it is to be printed.
    pub fn run(&self) -> String {
        let cameras = crate::source::camera::list();
        if self.json {
            // Plain data with string keys: it can always be written.
            return serde_json::to_string_pretty(&cameras).unwrap_or_default() + "\n";
        }
        if cameras.is_empty() {
            return "no cameras on this machine (looked at /dev/video*)\n".to_owned();
        }
        let texts: Vec<String> = cameras.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }
}

/// `lancam check`.
#[cfg(feature = "send")]
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The config to read
    pub file: PathBuf,
}

#[cfg(feature = "send")]
impl CheckArgs {
    /// What the config means, in plain words.
    ///
    /// # Errors
    /// [`UsageError::Config`] in words for the user.
    pub fn run(&self) -> Result<String, UsageError> {
        Ok(config::describe(&config::load(&self.file)?))
    }
}

/// `lancam doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Joins the group, listens for a few seconds, and prints a line for each check:
ok, warn, fail or skip, and what to do. It changes nothing. With sudo it sees
more: packets before the firewall, its rules, and queries for members.

Examples:
  lancam doctor
  sudo lancam doctor 224.3.29.72:10000 --interface eth0
  lancam doctor porch
  lancam doctor porch.sdp
  sudo lancam doctor --wait 130     long enough to hear any querier

Exit codes: 0 the stream can be watched, 1 it cannot, 2 wrong usage.")]
pub struct DoctorArgs {
    /// Stream to look for: its name, ADDR:PORT or an .sdp file [default: what
    /// `lancam view` alone would show]
    #[arg(value_name = "NAME|ADDR:PORT|FILE.sdp")]
    pub target: Option<String>,

    /// Interface to listen on, by name or address
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// How long to listen
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait: u64,

    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

impl DoctorArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<DoctorPlan, UsageError> {
        Ok(DoctorPlan {
            target: match &self.target {
                Some(text) => target(text)?,
                None => Target::Any,
            },
            interface: self.interface.clone(),
            wait: Duration::from_secs(self.wait),
            json: self.json,
        })
    }
}

#[cfg(feature = "send")]
fn fps(text: &str) -> Result<f64, String> {
    let fps = text.parse().map_err(|_| "it is no number".to_owned())?;
    check_fps(fps).map_err(|e| e.to_string())?;
    Ok(fps)
}

#[cfg(feature = "send")]
fn core(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|core| config::CORES.contains(core))
        .ok_or_else(|| format!("a core is a number from 0 to {}", config::CORES.end()))
}

#[cfg(feature = "send")]
fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = config::RESIZE_RANGE;
    text.split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .filter(|(w, h)| sides.contains(w) && sides.contains(h))
        .ok_or_else(|| {
            format!(
                "write WIDTHxHEIGHT, for example 640x360, with sides from {} to {}",
                sides.start(),
                sides.end()
            )
        })
}

#[cfg(feature = "send")]
fn pacing(text: &str) -> Result<Pacing, String> {
    match text {
        "auto" => Ok(Pacing::Auto),
        "off" => Ok(Pacing::Off),
        fraction => share(fraction, MOST_OF_INTERVAL).map(Pacing::Spread),
    }
}

#[cfg(feature = "send")]
fn repair(text: &str) -> Result<Repair, String> {
    match text {
        "auto" => Ok(Repair::Auto {
            max: REPAIR_AUTO_MAX,
        }),
        "off" => Ok(Repair::Off),
        fraction => share(fraction, 1.0).map(Repair::Fixed),
    }
}

/// A fraction above 0 and up to `max`, where `auto` and `off` may stand too.
#[cfg(feature = "send")]
fn share(text: &str, max: f32) -> Result<f32, String> {
    let why = || format!("write auto, off or a number above 0 and at most {max}");
    let value = text.parse().map_err(|_| why())?;
    check::share(value, max).map_err(|_| why())
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write a number from 0.1 to 3600".to_owned())
}

fn scale(text: &str) -> Result<f32, String> {
    text.parse()
        .ok()
        .filter(|scale| (0.1..=8.0).contains(scale))
        .ok_or_else(|| "write a number from 0.1 to 8".to_owned())
}

fn stats_to(text: &str) -> Result<StatsTo, String> {
    match text {
        "" => Err("name a file, or - for standard output".to_owned()),
        "-" => Ok(StatsTo::Stdout),
        path => Ok(StatsTo::File(PathBuf::from(path))),
    }
}

fn record(text: &str) -> Result<Record, String> {
    if text == "-" {
        return Ok(Record::Stdout);
    }
    match extension(text).as_str() {
        "avi" => Ok(Record::Avi(PathBuf::from(text))),
        "mjpeg" | "mjpg" => Ok(Record::Mjpeg(PathBuf::from(text))),
        _ => Err("the name must end in .avi or .mjpeg, or be - for standard output".to_owned()),
    }
}

fn jpeg_path(text: &str) -> Result<PathBuf, String> {
    match extension(text).as_str() {
        "jpg" | "jpeg" => Ok(PathBuf::from(text)),
        _ => Err("the name must end in .jpg".to_owned()),
    }
}

/// What the file's name ends in, in lower case.
fn extension(path: &str) -> String {
    let extension = Path::new(path).extension().unwrap_or_default();
    extension.to_string_lossy().to_lowercase()
}

#[cfg(all(test, feature = "send"))]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::source::CameraSpec;

    fn parse(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace();
        match Cli::try_parse_from(std::iter::once("lancam").chain(words)) {
            Ok(cli) => Ok(cli.command),
            Err(e) => {
                assert_eq!(e.exit_code(), 2, "{line}");
                Err(e.to_string())
            }
        }
    }

    #[track_caller]
    fn send(line: &str) -> Result<SendPlan, UsageError> {
        match parse(&format!("send {line}")) {
            Ok(Command::Send(args)) => args.resolve(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn stream(line: &str) -> Stream {
        send(line).unwrap().config.streams.remove(0)
    }

    #[track_caller]
    fn view(line: &str) -> Result<ViewConfig, UsageError> {
        match parse(&format!("view {line}")) {
            Ok(Command::View(args)) => args.resolve(),
            other => panic!("{other:?}"),
        }
    }

    /// The refusal, which is clap's or ours.
    #[track_caller]
    fn refused(line: &str) -> String {
        match parse(line) {
            Err(e) => e,
            Ok(Command::Send(args)) => args.resolve().unwrap_err().to_string(),
            Ok(Command::View(args)) => args.resolve().unwrap_err().to_string(),
            Ok(Command::Doctor(args)) => args.resolve().unwrap_err().to_string(),
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_terminal() {
        let mut cli = Cli::command().term_width(80);
        cli.build();
        for command in cli.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
        let top = cli.render_help().to_string();
        assert!(top.lines().all(|line| line.chars().count() <= 80), "{top}");
    }

    #[test]
    fn without_arguments_the_defaults_hold() {
        assert_eq!(send("").unwrap().config, Config::default());
        if cfg!(feature = "view") {
            assert_eq!(view("").unwrap(), ViewConfig::default());
        }
        assert!(view("--headless").unwrap().headless);
    }

    #[test]
    fn flags_say_what_the_stream_is() {
        let got = stream(
            "--source clip.avi --name porch --group [ff15::1]:5004 --interface eth0 --ttl 4 --dscp 0 \
             --mtu 1400 --fps 12.5 --loop --resize 640x360 --quality 70 --pacing 0.5 --pin 3 \
             --realtime 10 --lock-memory --sdp porch.sdp",
        );
        let want = Stream {
            name: "porch".to_owned(),
            source: SourceSpec::File {
                path: "clip.avi".into(),
            },
            group: "[ff15::1]:5004".parse().unwrap(),
            interface: Some("eth0".to_owned()),
            ttl: 4,
            dscp: 0,
            mtu: Some(1400),
            fps: Some(12.5),
            looped: true,
            resize: Some((640, 360)),
            quality: 70,
            pacing: Pacing::Spread(0.5),
            pin: Some(3),
            realtime: Some(10),
            lock_memory: true,
            sdp: Some("porch.sdp".into()),
            ..Stream::default()
        };
        assert_eq!(got, want);
        assert_eq!(stream("--source -").source, SourceSpec::Stdin);
        assert_eq!(stream("--pacing off").pacing, Pacing::Off);
        assert_eq!(stream("--repair off").repair, Repair::Off);
    }

    #[test]
    fn the_rate_reaches_the_camera() {
        let want = SourceSpec::Camera(CameraSpec {
            fps: Some(15.0),
            ..CameraSpec::new("/dev/video0")
        });
        assert_eq!(stream("--source /dev/video0 --fps 15").source, want);
    }

    #[test]
    fn flags_override_a_config_of_one_stream() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one.ron");
        std::fs::write(&file, "(streams: [(name: \"porch\", ttl: 3, dscp: 10)])").unwrap();
        let got = stream(&format!("--config {} --ttl 5", file.display()));
        assert_eq!((got.name.as_str(), got.ttl, got.dscp), ("porch", 5, 10));
    }

    #[test]
    fn a_flag_for_one_of_several_streams_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("two.ron");
        let text = "(streams: [(name: \"porch\"), (name: \"yard\", source: Stdin, group: \"224.3.29.72:10000\")])";
        std::fs::write(&file, text).unwrap();
        let file = file.display();
        assert_eq!(
            refused(&format!("send --config {file} --ttl 5")),
            format!(
                "--ttl is for one stream, but {file} has 2 (\"porch\", \"yard\"): write it into that file"
            )
        );
        let plan = send(&format!("--config {file} --stats -")).unwrap();
        assert_eq!(plan.config.streams.len(), 2);
        assert_eq!(plan.stats, Some(StatsTo::Stdout));
    }

    #[test]
    fn a_wrong_config_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.ron");
        std::fs::write(&file, "(streams: [(ttl: 999)])").unwrap();
        assert_eq!(
            refused(&format!("send --config {}", file.display())),
            format!(
                "{}:1:18: \"ttl\" cannot be 999: write a whole number from 0 to 255",
                file.display()
            )
        );
    }

    #[test]
    fn mistakes_are_said() {
        let table = [
            (
                "send --group 224.3.29.71",
                "the port is missing: 224.3.29.71:10000",
            ),
            (
                "send --group 224.3.29.71:65535",
                "its port must be 1 to 65531",
            ),
            ("send --ttl 256", "256 is not in 0..=255"),
            ("send --dscp 64", "64 is not in 0..=63"),
            ("send --mtu 500", "500 is not in 576..=65535"),
            (
                "send --group [ff15::1]:5004 --mtu 1000",
                "the MTU must be 1280 or more",
            ),
            ("send --fps 0", "it must be 0.1 to 240 frames a second"),
            (
                "send --pacing 0.9",
                "write auto, off or a number above 0 and at most 0.8",
            ),
            (
                "send --pacing NaN",
                "write auto, off or a number above 0 and at most 0.8",
            ),
            (
                "send --repair 2",
                "write auto, off or a number above 0 and at most 1",
            ),
            ("send --status 8080", "it is no address and port"),
            (
                "view --status-token short",
                "it must be 8 to 256 printable ASCII",
            ),
            ("send --resize 640", "write WIDTHxHEIGHT"),
            ("send --quality 0", "0 is not in 1..=100"),
            ("send --pin 1024", "a core is a number from 0 to 1023"),
            ("send --realtime 0", "0 is not in 1..=99"),
            ("send --interface a-very-long-name", "Linux allows 15"),
            (
                "send --source pattern:8x8",
                "both sides must be 16 to 8192 pixels",
            ),
            ("send --pining 3", "unexpected argument '--pining'"),
            ("view 224.3.29.71", "the port is missing: 224.3.29.71:10000"),
            ("view 224.3.29.71:99999", "it is no address and port"),
            ("list --timeout 0", "write a number from 0.1 to 3600"),
            (
                "view --headless --record clip.mp4",
                "the name must end in .avi or .mjpeg",
            ),
            (
                "view --headless --snapshot a.png",
                "the name must end in .jpg",
            ),
            ("view --headless --frames 0", "0 is not in 1.."),
            ("view --headless --scale 2", "--headless has none"),
            (
                "view --headless --record - --stats -",
                "both write to standard output",
            ),
            ("view --headless --on-loss green", "invalid value 'green'"),
            ("doctor 224.3.29.71", "the port is missing"),
            ("doctor --wait 0", "0 is not in 1..=3600"),
            ("watch", "unrecognized subcommand"),
        ];
        for (line, want) in table {
            let got = refused(line);
            assert!(got.contains(want), "{line}: {got}");
        }
    }

    #[test]
    fn what_to_view() {
        let got = view("224.3.29.72:5004 --headless --interface eth0 --frames 3 --record - --snapshot a.JPG --stats s.json").unwrap();
        let want = ViewConfig {
            target: Target::Group("224.3.29.72:5004".parse().unwrap()),
            interface: Some("eth0".to_owned()),
            headless: true,
            frames: Some(3),
            record: Some(Record::Stdout),
            snapshot: Some("a.JPG".into()),
            stats: Some(StatsTo::File("s.json".into())),
            ..ViewConfig::default()
        };
        assert_eq!(got, want);
        let got = view("porch --headless").unwrap();
        assert_eq!(got.target, Target::Name("porch".to_owned()));
        let got = view("cafe --headless").unwrap();
        assert_eq!(got.target, Target::Name("cafe".to_owned()));
        let got = view("porch.sdp --headless --record a.avi").unwrap();
        assert_eq!(got.target, Target::Sdp("porch.sdp".into()));
        assert_eq!(got.record, Some(Record::Avi("a.avi".into())));
        let got = view("--headless --record a.mjpeg").unwrap();
        assert_eq!(got.record, Some(Record::Mjpeg("a.mjpeg".into())));
        assert_eq!(got.on_loss, OnLoss::Hold);
        let got = view("--headless --on-loss conceal").unwrap();
        assert_eq!(got.on_loss, OnLoss::Conceal);
    }

    #[test]
    fn the_demo_stays_on_this_host() {
        let Ok(Command::Demo(args)) = parse("demo --headless --frames 5") else {
            panic!("no demo");
        };
        let plan = args.resolve().unwrap();
        assert_eq!(plan.stream.interface.as_deref(), Some("lo"));
        assert_eq!(plan.stream.ttl, 0);
        assert_eq!(plan.view.target, Target::Group(plan.stream.group));
        assert!(plan.view.headless);
    }

    #[test]
    fn what_to_examine() {
        let Ok(Command::Doctor(args)) =
            parse("doctor porch.sdp --interface eth0 --wait 130 --json")
        else {
            panic!("no doctor");
        };
        let want = DoctorPlan {
            target: Target::Sdp("porch.sdp".into()),
            interface: Some("eth0".to_owned()),
            wait: Duration::from_secs(130),
            json: true,
        };
        assert_eq!(args.resolve().unwrap(), want);
    }

    #[test]
    fn verbosity_may_stand_anywhere() {
        for line in [["lancam", "-vv", "view"], ["lancam", "view", "-vv"]] {
            assert_eq!(Cli::try_parse_from(line).unwrap().verbose, 2);
        }
    }
}
