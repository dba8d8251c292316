//! The command lines that are compared. Work that is not part of a job is left out, and every
//! program gets the settings that suit it best.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::net::{GROUP, Host, INTERFACE, PORT, SENDER_IP};

/// UDP payload of a full packet, as lancam chooses it on Ethernet.
const PACKET: usize = 1472;

/// Where a sender takes its frames from.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    /// A file, at the rate that it states.
    File(&'a Path),
    /// Standard input, as they come.
    Pipe,
}

/// What a receiver does with the frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Only puts them together.
    Take,
    /// Decodes them.
    Decode,
    /// Decodes them and writes the pictures to standard output.
    Write,
    /// Writes the JPEGs to standard output (ffmpeg only).
    #[allow(dead_code, reason = "for the benchmark of loss")]
    Pass,
}

pub(crate) fn lancam_send(host: &Host, input: Input<'_>, more: &str) -> Command {
    let source = match input {
        Input::File(path) => path.display().to_string(),
        Input::Pipe => "-".to_owned(),
    };
    host.lancam(&format!(
        "send --source {source} --interface {INTERFACE} --stats - {more}"
    ))
}

pub(crate) fn lancam_view(host: &Host) -> Command {
    host.lancam(&format!(
        "view --headless --interface {INTERFACE} --stats -"
    ))
}

/// GStreamer from `words` and more; its reports about single buffers come on standard error.
pub(crate) fn gst(host: &Host, words: &str) -> Command {
    let mut command = host.command("sh");
    command.args(["-c", &format!("exec gst-launch-1.0 {words}")]);
    command
}

pub(crate) fn gst_send(host: &Host, input: Input<'_>) -> Command {
    let (source, sync) = match input {
        Input::File(path) => (format!("filesrc location={} ! avidemux", path.display()), true),
        // The parts of a multipart stream have a length: nobody waits for the next one's start.
        Input::Pipe => (
            "fdsrc blocksize=1048576 do-timestamp=true ! multipart/x-mixed-replace,boundary=frame ! multipartdemux single-stream=true ! jpegparse".to_owned(),
            false,
        ),
    };
    gst(
        host,
        &format!(
            "-q {source} ! rtpjpegpay mtu={PACKET} ! udpsink host={GROUP} port={PORT} multicast-iface={INTERFACE} \
             ttl-mc=1 sync={sync}"
        ),
    )
}

/// How GStreamer receives.
#[derive(Clone, Copy)]
pub(crate) struct Gst {
    pub(crate) job: Job,
    /// With its jitter buffer as it is by default, and a sink that shows frames when they are due.
    pub(crate) has_jitter_buffer: bool,
    /// Asks for a large receive buffer.
    pub(crate) has_large_buffer: bool,
    /// Says on standard error when a frame reaches the end.
    pub(crate) counts: bool,
}

impl Gst {
    pub(crate) fn new(job: Job) -> Gst {
        Gst {
            job,
            has_jitter_buffer: false,
            has_large_buffer: true,
            counts: false,
        }
    }

    pub(crate) fn command(self, host: &Host) -> Command {
        let buffer = if self.has_large_buffer {
            "buffer-size=4000000"
        } else {
            ""
        };
        let jitter = if self.has_jitter_buffer {
            "! rtpjitterbuffer"
        } else {
            ""
        };
        let decode = if self.job == Job::Take {
            ""
        } else {
            "! jpegdec"
        };
        let sync = self.has_jitter_buffer;
        let sink = match self.job {
            Job::Write => format!("fdsink sync={sync}"),
            _ => format!("fakesink sync={sync} silent={}", !self.counts),
        };
        let noise = if self.counts { "-v" } else { "-q" };
        let redirect = if self.counts { ">&2" } else { "" };
        gst(
            host,
            &format!(
                "{noise} udpsrc address={GROUP} port={PORT} multicast-iface={INTERFACE} {buffer} \
                 'caps=application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)JPEG,payload=(int)26' \
                 {jitter} ! rtpjpegdepay {decode} ! {sink} {redirect}"
            ),
        )
    }
}

pub(crate) fn ffmpeg_send(host: &Host, input: Input<'_>) -> Command {
    let mut command = host.command("ffmpeg");
    command.args(["-nostats", "-v", "error"]);
    match input {
        Input::File(path) => command.args(["-nostdin", "-re", "-i"]).arg(path),
        Input::Pipe => command.args(
            "-fflags nobuffer -use_wallclock_as_timestamps 1 -probesize 32 -analyzeduration 0 -f mpjpeg -i pipe:0".split(' '),
        ),
    };
    command.args("-c copy -flush_packets 1 -f rtp".split(' '));
    command.arg(format!(
        "rtp://{GROUP}:{PORT}?ttl=1&localaddr={SENDER_IP}&pkt_size={PACKET}"
    ));
    command
}

/// `folder`: for its SDP. `has_large_buffer`: asks for a large receive buffer.
pub(crate) fn ffmpeg_receive(
    host: &Host,
    job: Job,
    folder: &Path,
    has_large_buffer: bool,
) -> Command {
    let sdp = folder.join("stream.sdp");
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 {SENDER_IP}\r\ns=bench\r\nc=IN IP4 {GROUP}/1\r\nt=0 0\r\nm=video {PORT} RTP/AVP 26\r\n"
    );
    fs::write(&sdp, text).expect("an SDP");
    let mut command = host.command("ffmpeg");
    command.args(
        "-nostdin -nostats -v error -progress pipe:2 -protocol_whitelist file,udp,rtp".split(' '),
    );
    if has_large_buffer {
        command.args(["-buffer_size", "4000000"]);
    }
    if matches!(job, Job::Write | Job::Pass) {
        // The lowest delay that it is known to give.
        command.args(
            "-fflags nobuffer -flags low_delay -max_delay 0 -reorder_queue_size 0".split(' '),
        );
        command.args("-probesize 32 -analyzeduration 0 -threads 1".split(' '));
    }
    command.arg("-i").arg(&sdp);
    command.args(match job {
        Job::Take => ["-c", "copy", "-f", "null", "-"].as_slice(),
        Job::Pass => &["-c", "copy", "-flush_packets", "1", "-f", "mjpeg", "pipe:1"],
        Job::Decode => &["-vsync", "passthrough", "-f", "null", "-"],
        // Its encoder's threads would hold each picture back until the next one.
        Job::Write => &[
            "-threads",
            "1",
            "-vsync",
            "passthrough",
            "-flush_packets",
            "1",
            "-f",
            "rawvideo",
            "pipe:1",
        ],
    });
    command
}

/// `command` without the right to have larger receive buffers than `rmem_max`, as a service or a
/// user has it.
pub(crate) fn unprivileged(command: &Command) -> Command {
    let program = command.get_program().to_owned();
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    // Host::command ends its own words with "--".
    let end = words
        .iter()
        .position(|word| word == "--")
        .map_or(0, |at| at + 1);
    let mut without = Command::new(program);
    without.args(&words[..end]);
    without.args([
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        "--",
    ]);
    without.args(&words[end..]);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => without.env(key, value),
            None => without.env_remove(key),
        };
    }
    without
}
