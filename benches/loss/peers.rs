//! The peers' rows. Their receivers write the JPEGs that they assemble to a pipe, without decoding;
//! a frame counts as whole if its scan equals that of a frame sent, byte for byte.

use std::io::Read;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use lancam::clock::Mono;
use lancam::jpeg::split::{Found, Splitter};

use crate::Outcome;
use crate::channel::REPAIR;
use crate::clips::Clip;
use crate::common::net::{GROUP, Host, INTERFACE, Net, PORT};
use crate::common::{net, wait_for};
use crate::feed::{START, feed, widen};
use crate::programs::{self, Input, Job};
use crate::table::percentile;

/// Frames before the first that counts: programs look at the first ones before they start.
const WARM_UP: usize = 30;
/// What GStreamer's jitter buffer waits for FEC, in milliseconds: a matrix of 100 packets is one
/// frame, and it is sent with the next one.
const FEC_LATENCY: u32 = 300;
/// Bytes of a scan's end that tell frames apart.
const TAIL: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Gst,
    /// With SMPTE 2022-1 in 10 rows and 10 columns.
    GstFec,
    Ffmpeg,
}

impl Peer {
    pub(crate) fn all(has_gst: bool, has_ffmpeg: bool) -> Vec<Peer> {
        let mut all = Vec::new();
        if has_gst {
            all.extend([Peer::Gst, Peer::GstFec]);
        }
        if has_ffmpeg {
            all.push(Peer::Ffmpeg);
        }
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Gst => "GStreamer",
            Peer::GstFec => "GStreamer, SMPTE 2022-1 10x10, 300 ms",
            Peer::Ffmpeg => "ffmpeg",
        }
    }

    pub(crate) fn run(self, net: &Net, clip: &Clip, frames: u64) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let (send, receive) = match self {
            Peer::Gst => (
                programs::gst_send(&net.sender, Input::Pipe),
                gst_receive(&net.viewer, "! rtpjpegdepay ! fdsink sync=false"),
            ),
            Peer::GstFec => (gst_send_fec(&net.sender), gst_receive_fec(&net.viewer)),
            Peer::Ffmpeg => (
                programs::ffmpeg_send(&net.sender, Input::Pipe),
                programs::ffmpeg_receive(&net.viewer, Job::Pass, folder.path(), true),
            ),
        };
        let receiver = Receiver::start(receive, clip);
        let pid = receiver.child.id();
        wait_for("a peer to join", || {
            net::is_member(pid, GROUP).then_some(())
        });
        thread::sleep(START);
        let handed = feed(&clip.frames, frames as usize + WARM_UP, send, true);
        outcome(&handed, &receiver.stop(), clip.frames.len())
    }
}

const CAPS: &str = "'caps=application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)JPEG,payload=(int)26'";

fn gst_receive(host: &Host, rest: &str) -> Command {
    programs::gst(
        host,
        &format!(
            "-q udpsrc address={GROUP} port={PORT} multicast-iface={INTERFACE} buffer-size=4000000 {CAPS} {rest}"
        ),
    )
}

fn gst_send_fec(host: &Host) -> Command {
    let [column, row] = REPAIR;
    let sink = |port: u16| {
        format!(
            "udpsink host={GROUP} port={port} multicast-iface={INTERFACE} ttl-mc=1 sync=false async=false"
        )
    };
    programs::gst(
        host,
        &format!(
            "-q fdsrc blocksize=1048576 do-timestamp=true ! multipart/x-mixed-replace,boundary=frame ! \
             multipartdemux single-stream=true ! jpegparse ! rtpjpegpay mtu=1400 ssrc=0 ! \
             rtpst2022-1-fecenc name=fec rows=10 columns=10 fec.src ! {} fec.fec_0 ! {} fec.fec_1 ! {}",
            sink(PORT),
            sink(column),
            sink(row)
        ),
    )
}

fn gst_receive_fec(host: &Host) -> Command {
    let [column, row] = REPAIR;
    let fec = |port: u16, pad: u32| {
        format!(
            "udpsrc address={GROUP} port={port} multicast-iface={INTERFACE} buffer-size=4000000 \
             'caps=application/x-rtp,payload=(int)96' ! queue ! dec.fec_{pad}"
        )
    };
    gst_receive(
        host,
        &format!(
            "! queue ! dec.sink {} {} rtpst2022-1-fecdec name=dec size-time=1000000000 ! \
             rtpjitterbuffer latency={FEC_LATENCY} do-lost=true ! rtpjpegdepay ! fdsink sync=false",
            fec(column, 0),
            fec(row, 1)
        ),
    )
}

/// A frame that came out of a receiver.
struct Seen {
    /// Which of the clip's it is; `None`: none of them.
    number: Option<usize>,
    /// When it was there, in nanoseconds on the monotonic clock.
    done: u64,
}

/// Each frame seen belongs to the last one handed over with its number.
fn outcome(handed: &[u64], seen: &[Seen], different: usize) -> Outcome {
    let mut delays = vec![None; handed.len()];
    for s in seen {
        let Some(number) = s.number else { continue };
        let from = (0..handed.len())
            .rev()
            .find(|&n| n % different == number && handed[n] < s.done);
        if let Some(n) = from {
            delays[n].get_or_insert((s.done - handed[n]) as f64 * 1e-6);
        }
    }
    let frames = handed.len() - WARM_UP;
    let whole: Vec<f64> = delays[WARM_UP..].iter().copied().flatten().collect();
    let broken = seen
        .iter()
        .filter(|s| s.number.is_none() && s.done > handed[WARM_UP])
        .count();
    let share = whole.len() as f64 / frames as f64;
    let partial = broken as f64 / frames as f64;
    Outcome {
        whole: share,
        partial,
        lost: (1.0 - share - partial).max(0.0),
        frames: frames as u64,
        p50: percentile(&whole, 0.5),
        p99: percentile(&whole, 0.99),
        ..Outcome::default()
    }
}

/// A receiver that writes JPEGs to its standard output.
struct Receiver {
    child: Child,
    reader: JoinHandle<Vec<Seen>>,
}

impl Receiver {
    fn start(mut command: Command, clip: &Clip) -> Receiver {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a peer");
        let output = child.stdout.take().expect("its output");
        widen(&output);
        let tails: Vec<Vec<u8>> = clip.frames.iter().map(|f| scan(f).to_vec()).collect();
        let reader = thread::spawn(move || read(output, &tails));
        Receiver { child, reader }
    }

    fn stop(mut self) -> Vec<Seen> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.join().expect("the reader")
    }
}

/// What follows the header of the scan. A marker SOS may only stand there in these clips, which
/// have no thumbnails.
fn scan(jpeg: &[u8]) -> &[u8] {
    let sos = jpeg.windows(2).position(|w| w == [0xFF, 0xDA]);
    let Some(rest) = sos.and_then(|at| jpeg.get(at + 2..)) else {
        return &[];
    };
    let len = rest
        .first_chunk()
        .map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
    rest.get(len..).unwrap_or(&[])
}

fn read(mut output: ChildStdout, scans: &[Vec<u8>]) -> Vec<Seen> {
    let mut splitter = Splitter::new();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    let mut seen = Vec::new();
    while let Ok(len @ 1..) = output.read(&mut piece) {
        let done = Mono::now().0;
        bytes.extend_from_slice(&piece[..len]);
        loop {
            match splitter.find(&bytes) {
                Found::Frame(at) => {
                    let number = number(scan(&bytes[at.clone()]), scans);
                    seen.push(Seen { number, done });
                    bytes.drain(..at.end);
                }
                Found::NeedMore { discard } => {
                    bytes.drain(..discard);
                    break;
                }
            }
        }
    }
    seen
}

fn number(scan: &[u8], scans: &[Vec<u8>]) -> Option<usize> {
    let end = scan.len().checked_sub(TAIL)?;
    scans
        .iter()
        .position(|s| s.ends_with(&scan[end..]) && s == scan)
}
