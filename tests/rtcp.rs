//! RTCP between real hosts: what the sender knows of its viewers, waiting for them, goodbyes, and
//! other programs that report or are reported to. Skipped, and said so, where namespaces or those
//! programs are not to be had.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, Host, INTERFACE, Net, PORT, SENDER_IP, VIEWER_IP};
use common::process::Process;
use common::{have, number};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What GStreamer must know to receive.
const CAPS: &str = "application/x-rtp,media=video,encoding-name=JPEG,clock-rate=90000,payload=26";

fn view(on: &Host, name: &str) -> Process {
    let arguments = format!("view {GROUP}:{PORT} --headless --interface {INTERFACE} --stats -");
    Process::spawn(name, on.lancam(&arguments))
}

fn send(on: &Host, name: &str) -> Process {
    // The group is set because two senders must be in it.
    let arguments = format!(
        "send --source pattern:640x480@30 --interface {INTERFACE} --group 224.3.29.71:10000 --stats -"
    );
    Process::spawn(name, on.lancam(&arguments))
}

/// A sender with a config file, which has more keys than there are flags.
fn send_by_config(on: &Host, folder: &tempfile::TempDir, keys: &str) -> Process {
    let path = folder.path().join("lancam.ron");
    let stream = format!("interface: \"{INTERFACE}\", {keys}");
    fs::write(&path, format!("(streams: [({stream})])")).unwrap();
    let arguments = format!("send --config {} --stats -", path.display());
    Process::spawn("sender", on.lancam(&arguments))
}

fn viewers(stats: &Value) -> u64 {
    stats["viewers"].as_u64().unwrap()
}

#[test]
fn the_sender_knows_what_a_viewer_loses() {
    let Some(net) = Net::pair("the_sender_knows_what_a_viewer_loses") else {
        return;
    };
    if !have("the_sender_knows_what_a_viewer_loses", &["nft", "ethtool"]) {
        return;
    }
    net.sender.without_segmentation_offload();
    net.viewer.run(&format!(
        "nft add table ip lossy
         nft add chain ip lossy input '{{ type filter hook input priority 0; }}'
         nft add rule ip lossy input udp dport {PORT} numgen random mod 100 '<' 10 drop"
    ));
    let mut viewer = view(&net.viewer, "viewer");
    viewer.wait_until_joined(GROUP);
    let sender = send(&net.sender, "sender");
    // A figure from some thousand packets, and the round trip. Ten percent of what was sent; one
    // report may cover so few packets that it has more by chance.
    let stats = sender.wait_for_stats("a viewer's losses", |s| {
        let viewer = &s["watching"][0];
        let fraction = viewer["fraction_lost"].as_f64().unwrap_or(0.0);
        viewer["packets_lost"].as_u64() > Some(300)
            && viewer["round_trip_ms"].is_number()
            && (0.05..0.15).contains(&fraction)
    });
    let report = &stats["watching"][0];
    let from = report["address"].as_str().unwrap();
    assert!(from.starts_with(&format!("{VIEWER_IP}:")), "{report}");
    let frames = &report["frames"];
    assert!(number(frames, "lost") > 0.0, "{report}");
    // Those of frames that may still become whole are not among the missing.
    let (missing, lost) = (
        number(frames, "packets_missing"),
        number(report, "packets_lost"),
    );
    assert!((lost * 0.9..=lost).contains(&missing), "{report}");
    assert!(number(frames, "delay_ms") < 100.0, "{report}");
    assert!(number(report, "jitter_ms") < 50.0, "{report}");
    assert!(number(report, "round_trip_ms") < 50.0, "{report}");
    let name = net.viewer.run("hostname");
    assert_eq!(report["name"], name.trim());

    // The end of a loss is reported well before the next regular report.
    net.viewer.run("nft delete table ip lossy");
    let ended = Instant::now();
    sender.wait_for_stats("the end of the losses", |s| {
        number(&s["watching"][0], "fraction_lost") < 0.01
    });
    // The statistics come once a second, too; and the first report after it counts from the one
    // before.
    let time = ended.elapsed();
    assert!(time < Duration::from_millis(3_500), "{time:?}");
}

#[test]
fn viewers_come_and_say_goodbye() {
    let Some(net) = Net::pair("viewers_come_and_say_goodbye") else {
        return;
    };
    let sender = send(&net.sender, "sender");
    let mut far = view(&net.viewer, "viewer");
    let mut near = view(&net.sender, "viewer beside the sender");
    let stats = sender.wait_for_stats("two viewers", |s| viewers(s) == 2);
    assert_eq!(stats["watching"].as_array().unwrap().len(), 2, "{stats}");
    for (viewer, left) in [(&mut far, 1), (&mut near, 0)] {
        let asked = Instant::now();
        assert!(viewer.stop(Signal::SIGTERM).success());
        sender.wait_for_stats("a viewer less", |s| viewers(s) == left);
        let time = asked.elapsed();
        assert!(time < Duration::from_millis(2_500), "{time:?}");
    }
}

#[test]
fn garbage_on_the_rtcp_port_is_counted_and_nothing_else() {
    let Some(net) = Net::pair("garbage_on_the_rtcp_port") else {
        return;
    };
    if !have("garbage_on_the_rtcp_port", &["bash"]) {
        return;
    }
    let mut sender = send(&net.sender, "sender");
    sender.wait_until_joined(GROUP);
    sender.wait_for_stats("frames", |s| number(s, "frames_sent") > 0.0);
    let port = PORT + 1;
    for to in [GROUP, SENDER_IP] {
        let script = format!(
            "for i in 1 2 3 4 5; do head -c $((i * 100)) /dev/urandom >/dev/udp/{to}/{port}; done"
        );
        net.viewer.run(&format!("bash -c '{script}'"));
    }
    // The group's and its own address are both heard. (One in 30,000 of these could pass for RTCP.)
    let stats = sender.wait_for_stats("garbage", |s| number(s, "reports_invalid") >= 10.0);
    assert_eq!(viewers(&stats), 0, "{stats}");
    assert!(sender.stop(Signal::SIGTERM).success());
}

#[test]
fn the_first_frame_waits_for_a_viewer() {
    let test = "the_first_frame_waits_for_a_viewer";
    let Some(net) = Net::pair(test) else { return };
    if !have(test, &["cjpeg", "ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::get(Kind::new(320, 240, Chroma::C422));
    let keys = format!(
        "source: File({:?}), fps: 10, wait_for_viewers: (count: 1, at_most_s: 60)",
        clip.mjpeg()
    );
    let mut sender = send_by_config(&net.sender, &folder, &keys);
    sender.wait_for_message("waiting for 1 viewer, at most 60 s");
    let stats = sender.wait_for_stats("statistics", |s| number(s, "uptime_s") > 2.0);
    assert_eq!(stats["frames_read"], 0, "{stats}");
    let mut viewer = view(&net.viewer, "viewer");
    sender.wait_for_message("1 viewer after");
    // All of the file, from its first frame on.
    let sent = sender.final_stats();
    assert_eq!(sent["frames_sent"], clip.frames.len());
    viewer.stop(Signal::SIGTERM);
    let seen = viewer.final_stats();
    assert_eq!(seen["frames_whole"], clip.frames.len(), "{seen}");
}

#[test]
fn the_wait_for_viewers_ends_by_time_or_by_signal() {
    let Some(net) = Net::pair("the_wait_for_viewers_ends") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let keys = "source: Pattern(\"320x240@10\"), wait_for_viewers: (count: 2, at_most_s: 1)";
    let mut sender = send_by_config(&net.sender, &folder, keys);
    sender.wait_for_message("0 of 2 viewers after 1.0 s: starting anyway");
    sender.wait_for_stats("frames", |s| number(s, "frames_sent") > 0.0);
    assert!(sender.stop(Signal::SIGTERM).success());

    let keys = "source: Pattern(\"320x240@10\"), wait_for_viewers: (count: 2, at_most_s: 60)";
    let mut sender = send_by_config(&net.sender, &folder, keys);
    sender.wait_for_message("waiting for 2 viewers");
    let asked = Instant::now();
    assert!(sender.stop(Signal::SIGTERM).success());
    let time = asked.elapsed();
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn only_while_watched_a_command_runs() {
    let Some(net) = Net::pair("only_while_watched_a_command_runs") else {
        return;
    };
    let test = "only_while_watched_a_command_runs";
    if !have(test, &["cjpeg", "ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::get(Kind::new(320, 240, Chroma::C422));
    let mark = folder.path().join("running");
    // The mark is there while the command is.
    let command = format!(
        "touch {mark}; trap 'rm -f {mark}; exit' TERM; while cat {clip}; do sleep 0.2; done",
        mark = mark.display(),
        clip = clip.mjpeg().display()
    );
    let keys = format!("source: Exec({command:?}), only_while_watched: true");
    let sender = send_by_config(&net.sender, &folder, &keys);
    sender.wait_for_message("the source stays closed until somebody watches");
    sender.wait_for_stats("statistics", |s| number(s, "uptime_s") > 2.0);
    assert!(!mark.exists(), "{sender}");
    let mut viewer = view(&net.viewer, "viewer");
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 0.0);
    assert!(mark.exists(), "{sender}");
    viewer.stop(Signal::SIGTERM);
    let left = Instant::now();
    sender.wait_for_message("0 viewers report");
    common::wait_for("the command to end", || (!mark.exists()).then_some(()));
    let time = left.elapsed();
    assert!(time > Duration::from_secs(8), "{time:?}: it lingers");
    assert!(time < Duration::from_secs(14), "{time:?}");
    // And again.
    let viewer = view(&net.viewer, "viewer again");
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 0.0);
}

#[test]
fn a_restarted_sender_is_followed_because_the_first_said_goodbye() {
    let Some(net) = Net::pair("a_restarted_sender_is_followed") else {
        return;
    };
    let mut first = send(&net.sender, "first sender");
    let viewer = view(&net.viewer, "viewer");
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 30.0);
    // The second one runs at the same time, so only the goodbye makes the viewer switch.
    let second = send(&net.sender, "second sender");
    viewer.wait_for_message("a second sender");
    assert!(first.stop(Signal::SIGTERM).success());
    viewer.wait_for_message("the sender has stopped; now receiving from");
    viewer.wait_for_stats("frames", |s| number(s, "fps") > 20.0);
    drop(second);
}

#[test]
fn a_reload_says_no_goodbye_and_keeps_the_viewers() {
    let Some(net) = Net::pair("a_reload_says_no_goodbye") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let keys = "source: Pattern(\"320x240@10\")";
    let mut sender = send_by_config(&net.sender, &folder, keys);
    let mut viewer = view(&net.viewer, "viewer");
    sender.wait_for_stats("a viewer", |s| viewers(s) == 1);
    let path = folder.path().join("lancam.ron");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("@10", "@20")).unwrap();
    sender.signal(Signal::SIGHUP);
    sender.wait_for_message("config reloaded");
    let stats = sender.wait_for_stats("statistics", |_| true);
    assert_eq!(viewers(&stats), 1, "{sender}");
    viewer.wait_for_stats("frames", |s| number(s, "fps") > 15.0);
    assert!(
        !viewer.messages().contains("now receiving from"),
        "{viewer}"
    );
    assert!(sender.stop(Signal::SIGTERM).success());
}

#[test]
fn rtpbin_reports_to_lancam() {
    let test = "rtpbin_reports_to_lancam";
    let Some(net) = Net::pair(test) else { return };
    if !have(test, &["gst-launch-1.0"]) {
        return;
    }
    let sender = send(&net.sender, "sender");
    let rtcp = PORT + 1;
    let mut gst = net.viewer.command("gst-launch-1.0");
    gst.args(format!(
        "rtpbin name=rtp \
         udpsrc address={GROUP} port={PORT} multicast-iface={INTERFACE} caps={CAPS} ! rtp.recv_rtp_sink_0 \
         rtp. ! rtpjpegdepay ! fakesink \
         udpsrc address={GROUP} port={rtcp} multicast-iface={INTERFACE} ! rtp.recv_rtcp_sink_0 \
         rtp.send_rtcp_src_0 ! udpsink host={GROUP} port={rtcp} multicast-iface={INTERFACE} sync=false async=false"
    ).split_whitespace());
    let mut gst = Process::spawn("GStreamer", gst);
    let stats = sender.wait_for_stats("GStreamer's report", |s| {
        s["watching"][0]["round_trip_ms"].is_number()
    });
    assert_eq!(viewers(&stats), 1, "{stats}");
    let report = &stats["watching"][0];
    assert!(report["address"].as_str().unwrap().starts_with(VIEWER_IP));
    assert_eq!(number(report, "fraction_lost"), 0.0, "{report}");
    assert!(number(report, "round_trip_ms") < 50.0, "{report}");
    assert!(
        report["frames"].is_null() && report["name"] != "",
        "{report}"
    );
    assert_eq!(stats["reports_invalid"], 0);
    // It leaves with a goodbye, too.
    gst.signal(Signal::SIGINT);
    sender.wait_for_stats("GStreamer's goodbye", |s| viewers(s) == 0);
    gst.wait();
}

#[test]
fn lancam_reports_to_rtpbin() {
    let test = "lancam_reports_to_rtpbin";
    let Some(net) = Net::pair(test) else { return };
    if !have(test, &["gst-launch-1.0"]) {
        return;
    }
    let viewer = view(&net.viewer, "viewer");
    let rtcp = PORT + 1;
    let mut gst = net.sender.command("gst-launch-1.0");
    gst.env("GST_DEBUG", "rtpsession:6,rtpsource:6")
        .env("GST_DEBUG_NO_COLOR", "1");
    gst.args(format!(
        "rtpbin name=rtp videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! jpegenc \
         ! rtpjpegpay ! rtp.send_rtp_sink_0 \
         rtp.send_rtp_src_0 ! udpsink host={GROUP} port={PORT} multicast-iface={INTERFACE} \
         rtp.send_rtcp_src_0 ! udpsink host={GROUP} port={rtcp} multicast-iface={INTERFACE} sync=false async=false \
         udpsrc address={GROUP} port={rtcp} multicast-iface={INTERFACE} ! rtp.recv_rtcp_sink_0"
    ).split_whitespace());
    let gst = Process::spawn("GStreamer", gst);
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 0.0);
    gst.wait_for_message("got RR packet");
    // It can tell a round trip only from a report that names its own.
    gst.wait_for_message(", round trip ");
    let stats = viewer.wait_for_stats("statistics", |_| true);
    assert_eq!(stats["reports_invalid"], 0, "{stats}");
}

#[test]
fn lancam_understands_what_ffmpeg_reports() {
    let test = "lancam_understands_what_ffmpeg_reports";
    let Some(net) = Net::pair(test) else { return };
    if !have(test, &["ffmpeg", "tcpdump"]) {
        return;
    }
    let viewer = view(&net.viewer, "viewer");
    let mut sniffer = net.viewer.command("tcpdump");
    sniffer.args([
        "-l",
        "-n",
        "-v",
        "-T",
        "rtcp",
        "-i",
        INTERFACE,
        "--immediate-mode",
    ]);
    sniffer.args([
        "src",
        "host",
        VIEWER_IP,
        "and",
        "udp",
        "port",
        &(PORT + 1).to_string(),
    ]);
    let mut sniffer = Process::spawn("tcpdump", sniffer);
    let mut ffmpeg = net.sender.command("ffmpeg");
    ffmpeg.args("-nostdin -v error -re -f lavfi -i testsrc=s=320x240:r=15 -c:v mjpeg -pix_fmt yuvj420p -huffman default -f rtp".split(' '));
    ffmpeg.arg(format!("rtp://{GROUP}:{PORT}?ttl=1"));
    let _ffmpeg = Process::spawn("ffmpeg", ffmpeg);
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 100.0);
    sniffer.signal(Signal::SIGTERM);
    // A report that names the last sender report (its time, and the delay since): "… 0l 2848s 84j
    // @56638.48+0.55 …".
    let printed = sniffer.printed();
    let named =
        |line: &String| line.contains(" rr ") && line.contains('@') && !line.contains("@0.00");
    assert!(printed.iter().any(named), "{printed:#?}");
    let stats = viewer.wait_for_stats("statistics", |_| true);
    assert_eq!(stats["reports_invalid"], 0, "{stats}");
}

#[test]
fn a_viewer_watches_though_its_rtcp_port_is_taken() {
    let test = "a_viewer_watches_though_its_rtcp_port_is_taken";
    let Some(net) = Net::pair(test) else { return };
    if !have(test, &["python3"]) {
        return;
    }
    let mut holder = net.viewer.command("python3");
    holder.args(["-uc", &format!("import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', {}))\nprint('{{}}')\ninput()", PORT + 1)]);
    let holder = Process::spawn("port holder", holder);
    let sender = send(&net.sender, "sender");
    holder_is_ready(&holder);
    let viewer = view(&net.viewer, "viewer");
    viewer.wait_for_message("senders' reports cannot be received: port 10001 is in use");
    viewer.wait_for_stats("frames", |s| number(s, "frames_whole") > 0.0);
    // It reports all the same.
    sender.wait_for_stats("the viewer", |s| viewers(s) == 1);
}

fn holder_is_ready(holder: &Process) {
    common::wait_for("the port to be taken", || {
        let text = fs::read_to_string(format!("/proc/{}/net/udp", holder.pid())).ok()?;
        text.contains(&format!(":{:04X} ", PORT + 1)).then_some(())
    });
}
