//! Announcements between two hosts on one wire: lancam with itself, with ffmpeg and with VLC, and
//! against who means ill; and the commands that `lancam send` prints, run as they are printed.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::net::{Host, INTERFACE, Lan, Net};
use common::process::Process;
use common::{have, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Where streams of global scope are announced.
const SAP: &str = "224.2.127.254";
const PATTERN: &str = "pattern:320x240@15";

fn send(net: &Net, more: &str) -> Process {
    let command = format!("send --source {PATTERN} --interface {INTERFACE} {more}");
    Process::spawn("lancam send", net.sender.lancam(&command))
}

/// A list that goes on and on, and hears already.
fn watch(net: &Net, sap: &str) -> Process {
    let mut list = Process::spawn("lancam list", net.viewer.lancam("list --watch --json"));
    list.wait_until_joined(sap);
    list
}

/// The first such event since the list began.
fn wait_for_event(list: &Process, event: &str, name: &str) -> Value {
    wait_for(&format!("{event} {name} in {list}"), || {
        let lines = list.lines_so_far();
        let mut events = lines.iter().filter_map(|l| serde_json::from_str(l).ok());
        events.find(|v: &Value| v["event"] == event && v["name"] == name)
    })
}

/// What the list holds after so many seconds.
fn list(net: &Net, seconds: &str) -> Vec<Value> {
    let command = format!("list --json --timeout {seconds}");
    let mut list = Process::spawn("lancam list", net.viewer.lancam(&command));
    list.succeed();
    serde_json::from_str(&list.printed().join("\n")).unwrap()
}

fn view(net: &Net, arguments: &str) -> Process {
    let command = format!("view {arguments} --headless --frames 3 --stats -");
    Process::spawn("lancam view", net.viewer.lancam(&command))
}

/// Starts a stream and stops it; gives how long after its start it was listed.
fn listed_after(net: &Net, group: &str, sap: &str) -> Duration {
    let list = watch(net, sap);
    let started = Instant::now();
    let mut sender = send(net, &format!("--name porch --group {group} --repair 0.5"));
    let new = wait_for_event(&list, "new", "porch");
    let after = started.elapsed();
    let want = serde_json::json!({
        "event": "new", "name": "porch", "group": group, "rtsp": null, "format": "JPEG", "width": 320, "height": 240,
        "fps": 15.0, "ttl": new["ttl"], "repair_port": 5004, "sender": new["sender"],
        "interface": INTERFACE, "tool": "lancam", "can_show": true, "why_not": null,
    });
    assert_eq!(new, want);
    let stopped = Instant::now();
    assert!(sender.stop(Signal::SIGTERM).success());
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(1), "it stopped after {took:?}");
    wait_for_event(&list, "gone", "porch");
    after
}

/// The best of a few, as this machine has other things to do.
fn assert_listed_within_a_second(net: &Net, group: &str, sap: &str) {
    let times: Vec<Duration> = (0..3).map(|_| listed_after(net, group, sap)).collect();
    eprintln!("{group} was listed after {times:?}");
    let best = times.iter().min().unwrap();
    assert!(*best < Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_stream_is_listed_within_a_second_and_taken_back() {
    let Some(net) = Net::pair("a_stream_is_listed_within_a_second") else {
        return;
    };
    assert_listed_within_a_second(&net, "224.3.29.72:5000", SAP);
    assert_listed_within_a_second(&net, "239.255.7.7:5000", "239.255.255.255");
    assert_listed_within_a_second(&net, "[ff15::77]:5000", "ff05::2:7ffe");
}

#[test]
fn a_stream_is_viewed_by_its_name() {
    let Some(net) = Net::pair("a_stream_is_viewed_by_its_name") else {
        return;
    };
    // The viewer is there first, and says what it waits for.
    let mut early = view(&net, "Porch");
    early.wait_for_message("waiting for a stream called \"Porch\"; none is announced here");
    let _porch = send(&net, "--name porch --group 239.255.7.7:5000");
    early.succeed();
    // The beginning of its name, and no name at all while it is the only one.
    view(&net, "por").succeed();
    view(&net, "").succeed();

    let _yard = send(&net, "--name yard --group 239.255.7.8:5000");
    view(&net, "yard").succeed();
    let mut any = view(&net, "");
    assert_eq!(any.wait().code(), Some(1));
    let said = any.messages();
    for wanted in [
        "2 streams are announced, say which",
        "lancam view \"porch\"",
        "lancam view \"yard\"",
    ] {
        assert!(said.contains(wanted), "{any}");
    }
    // What comes to the default group is taken at once, announced or not.
    let config = net.sender.lancam(&format!(
        "send --source {PATTERN} --interface {INTERFACE} --name default"
    ));
    let _default = Process::spawn("lancam send", config);
    let mut any = view(&net, "");
    any.succeed();
    assert!(any.messages().contains("224.3.29.71:10000"), "{any}");
}

#[test]
fn a_name_that_means_two_streams_is_asked_back() {
    let Some(net) = Net::pair("a_name_that_means_two_streams") else {
        return;
    };
    let _left = send(&net, "--name porch-left --group 239.255.7.7:5000");
    let _right = send(&net, "--name porch-right --group 239.255.7.8:5000");
    let mut both = view(&net, "porch");
    assert_eq!(both.wait().code(), Some(1));
    let said = both.messages();
    assert!(said.contains("2 streams match \"porch\""), "{both}");
    assert!(said.contains("lancam view \"porch-right\""), "{both}");
}

/// Anybody can announce any name: the viewer asks, and the senders say so too.
#[test]
fn two_streams_of_one_name_are_told_apart() {
    let Some(lan) = Lan::with_viewers("two_streams_of_one_name", 2) else {
        return;
    };
    let [second, desk] = &lan.viewers[..] else {
        unreachable!("two were asked for")
    };
    let send = |host: &Host, size: &str, group: &str| {
        let source = format!("send --source pattern:{size}@15 --interface {INTERFACE}");
        let command = format!("{source} --name porch --group {group}");
        Process::spawn("lancam send", host.lancam(&command))
    };
    let true_one = send(&lan.sender, "320x240", "239.255.7.7:5000");
    let other = send(second, "640x480", "239.255.7.8:5000");
    let mut asked = Process::spawn("lancam view", desk.lancam("view porch --headless"));
    assert_eq!(asked.wait().code(), Some(1));
    let said = asked.messages();
    for wanted in [
        "2 streams match \"porch\"",
        "lancam view \"porch@10.77.0.1\" (320x240, 239.255.7.7:5000)",
        "lancam view \"porch@10.77.0.2\" (640x480, 239.255.7.8:5000)",
    ] {
        assert!(said.contains(wanted), "{asked}");
    }
    assert_eq!(width_of(desk, "porch@10.77.0.1"), 320);
    assert_eq!(width_of(desk, "porch@10.77.0.2"), 640);
    true_one.wait_for_message("10.77.0.2 also announces a stream called \"porch\"");
    other.wait_for_message("10.77.0.1 also announces a stream called \"porch\"");
    let mut listed = Process::spawn("lancam list", desk.lancam("list --timeout 3"));
    listed.succeed();
    assert!(
        listed.messages().contains("2 streams are called \"porch\""),
        "{listed}"
    );
}

/// The width of the stream called `name` as a viewer on `host` sees it.
fn width_of(host: &Host, name: &str) -> Value {
    let command = format!("view {name} --headless --frames 3 --stats -");
    let mut viewer = Process::spawn("lancam view", host.lancam(&command));
    viewer.succeed();
    let last: Value = serde_json::from_str(&viewer.printed().pop().unwrap()).unwrap();
    last["format"]["width"].clone()
}

/// Two boards flashed alike.
#[test]
fn two_senders_with_nothing_set_have_groups_of_their_own() {
    let Some(lan) = Lan::with_viewers("two_senders_with_nothing_set", 2) else {
        return;
    };
    let (second, desk) = (&lan.viewers[0], &lan.viewers[1]);
    let send = |host: &Host, name: &str, size: &str| {
        let command = format!("send --source pattern:{size}@15 --name {name} --stats -");
        Process::spawn("lancam send", host.lancam(&command))
    };
    let watching = {
        let mut list = Process::spawn("lancam list", desk.lancam("list --watch --json"));
        list.wait_until_joined(SAP);
        list
    };
    // One after the other: the second finds the group taken.
    let a = send(&lan.sender, "a", "640x480");
    a.wait_for_stats("frames", |v| v["frames_sent"].as_u64() > Some(3));
    let b = send(second, "b", "320x240");
    b.wait_for_message("10.77.0.1 sends to 224.3.29.71:10000 already: \"b\" goes to 239.255.");
    let group = |name: &str| wait_for_event(&watching, "new", name)["group"].to_string();
    assert_eq!(group("a"), "\"224.3.29.71:10000\"");
    assert!(group("b").starts_with("\"239.255."));
    assert_eq!(width_of(desk, "a"), 640);
    assert_eq!(width_of(desk, "b"), 320);
    drop((a, b));
    // At the same time: neither hears the other, and the later one moves.
    let _both = [
        send(&lan.sender, "c", "640x480"),
        send(second, "d", "320x240"),
    ];
    wait_for("the streams to have groups of their own", || {
        let streams = {
            let mut list = Process::spawn("lancam list", desk.lancam("list --json --timeout 3"));
            list.succeed();
            list.printed().join("\n")
        };
        let streams: Vec<Value> = serde_json::from_str(&streams).unwrap();
        let group = |name: &str| Some(streams.iter().find(|s| s["name"] == name)?["group"].clone());
        let (c, d) = (group("c")?, group("d")?);
        (c != d).then_some(())
    });
    assert_eq!(width_of(desk, "c"), 640);
    assert_eq!(width_of(desk, "d"), 320);
}

/// Where the user chose the group it is kept, and both are told.
#[test]
fn two_senders_in_a_group_that_was_chosen_warn() {
    let Some(lan) = Lan::with_viewers("two_senders_in_a_chosen_group", 1) else {
        return;
    };
    let send = |host: &Host, name: &str| {
        let source = format!("send --source {PATTERN} --group 224.3.29.71:10000");
        let command = format!("{source} --name {name}");
        Process::spawn("lancam send", host.lancam(&command))
    };
    let a = send(&lan.sender, "a");
    let b = send(&lan.viewers[0], "b");
    a.wait_for_message("10.77.0.2 also sends to");
    b.wait_for_message("10.77.0.1 also sends to");
}

/// A group that two use is no reason to show the one under the other's name, whichever is heard
/// first or ends.
#[test]
fn in_a_group_of_two_a_name_is_its_own_senders_only() {
    let Some(lan) = Lan::with_viewers("in_a_group_of_two", 2) else {
        return;
    };
    let (second, desk) = (&lan.viewers[0], &lan.viewers[1]);
    let send = |host: &Host, name: &str, size: &str| {
        let source = format!("send --source pattern:{size}@15 --interface {INTERFACE}");
        let command = format!("{source} --name {name} --group 239.255.7.7:5000");
        Process::spawn("lancam send", host.lancam(&command))
    };
    let _a = send(&lan.sender, "a", "640x480");
    let mut b = send(second, "b", "320x240");
    // A third on the first one's host: the address is right, the SSRC tells them apart.
    let _c = send(&lan.sender, "c", "160x120");
    assert_eq!(width_of(desk, "a"), 640);
    assert_eq!(width_of(desk, "b"), 320);
    assert_eq!(width_of(desk, "c"), 160);
    let command = "view b --headless --stats -";
    let viewer = Process::spawn("lancam view", desk.lancam(command));
    viewer.wait_for_stats("frames", |v| v["frames_whole"].as_u64() > Some(3));
    assert!(b.stop(Signal::SIGTERM).success());
    viewer.wait_for_message("no frames from");
    let _again = send(second, "b", "352x288");
    let is_back = |v: &Value| v["format"]["width"] == 352;
    viewer.wait_for_stats("the sender that began again", is_back);
    let widths = viewer.lines_so_far();
    let is_other = |l: &String| l.contains("\"width\":640") || l.contains("\"width\":160");
    assert!(!widths.iter().any(is_other), "{viewer}");
}

/// What a viewer shows is what its name means, also after a reload or a crash.
#[test]
fn a_stream_that_changes_group_or_name_is_kept_to() {
    let Some(net) = Net::pair("a_stream_that_changes_group_or_name") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("one.ron");
    let write = |name: &str, group: u8, width: u16| {
        let stream = format!(
            "name: \"{name}\", source: Pattern(\"{width}x240@15\"), interface: \"{INTERFACE}\""
        );
        let text = format!("(streams: [({stream}, group: \"239.255.7.{group}:5000\")])");
        fs::write(&config, text).unwrap();
    };
    let send = || {
        let command = format!("send --config {}", config.display());
        Process::spawn("lancam send", net.sender.lancam(&command))
    };
    write("porch", 1, 320);
    let sender = send();
    let viewer = Process::spawn(
        "lancam view",
        net.viewer.lancam("view porch --headless --stats -"),
    );
    let shows = |name: &str, width: u16| {
        viewer.wait_for_stats(&format!("{name}, {width}"), |v| {
            v["format"]["width"] == width && v["name"] == name
        });
    };
    shows("porch", 320);
    write("yard", 1, 640);
    sender.signal(Signal::SIGHUP);
    shows("yard", 640);
    write("yard", 2, 320);
    sender.signal(Signal::SIGHUP);
    shows("yard", 320);
    // Killed: it says no goodbye and takes nothing back.
    drop(sender);
    write("yard", 3, 352);
    let _again = send();
    shows("yard", 352);
}

#[test]
fn an_unannounced_stream_is_not_listed() {
    let Some(net) = Net::pair("an_unannounced_stream_is_not_listed") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("quiet.ron");
    let text = format!(
        "(streams: [(source: Pattern(\"320x240@15\"), interface: \"{INTERFACE}\", announce: false)])"
    );
    fs::write(&config, text).unwrap();
    let command = format!("send --config {} --stats -", config.display());
    let quiet = Process::spawn("lancam send", net.sender.lancam(&command));
    quiet.wait_for_stats("frames", |v| v["frames_sent"].as_u64() > Some(30));
    let mut listed = Process::spawn("lancam list", net.viewer.lancam("list --timeout 3"));
    listed.succeed();
    let printed = listed.printed().join("\n");
    assert!(printed.contains("no stream is announced"), "{printed}");
    assert!(
        printed.contains("lancam view 224.3.29.71:10000"),
        "{printed}"
    );
    // Old senders announce nothing either, and `lancam view` finds them where it always has.
    view(&net, "").succeed();
}

/// A source that is open only while somebody watches must be found before anybody does.
#[test]
fn a_stream_that_waits_for_viewers_is_found() {
    let Some(net) = Net::pair("a_stream_that_waits_for_viewers") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("waits.ron");
    let text = format!(
        "(streams: [(name: \"porch\", source: Pattern(\"320x240@15\"), interface: \"{INTERFACE}\",
          group: \"239.255.7.7:5000\", only_while_watched: true)])"
    );
    fs::write(&config, text).unwrap();
    let command = format!("send --config {}", config.display());
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.wait_for_message("stays closed until somebody watches");
    let viewer = Process::spawn(
        "lancam view",
        net.viewer.lancam("view porch --headless --stats -"),
    );
    // The pictures' size is announced once there are some, and known to viewers two seconds later:
    // that interrupts nothing.
    let seen = viewer.wait_for_stats("frames", |v| v["frames_whole"].as_u64() >= Some(45));
    assert_eq!(seen["frames_lost"], 0, "{viewer}");
    let messages = viewer.messages_so_far();
    let followed = messages.iter().filter(|m| m.contains("receiving from "));
    assert_eq!(followed.count(), 1, "{viewer}");
}

#[test]
fn a_stream_is_announced_again_when_the_network_is_back() {
    let Some(net) = Net::pair("the_network_is_back") else {
        return;
    };
    let watching = watch(&net, SAP);
    let _sender = send(&net, "--name porch --group 224.3.29.72:5000");
    wait_for_event(&watching, "new", "porch");
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    assert!(list(&net, "3").is_empty());
    net.sender.run(&format!(
        "ip link set {INTERFACE} up; ip route replace 224.0.0.0/4 dev {INTERFACE}
         ip address add 10.77.0.9/24 dev {INTERFACE}"
    ));
    wait_for("the stream to be listed again", || {
        let streams = list(&net, "1");
        streams.iter().any(|s| s["name"] == "porch").then_some(())
    });
}

#[test]
fn a_reload_with_another_name_changes_the_announcement() {
    let Some(net) = Net::pair("a_reload_with_another_name") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("one.ron");
    let write = |name: &str| {
        let text = format!(
            "(streams: [(name: \"{name}\", source: Pattern(\"320x240@15\"), interface: \"{INTERFACE}\")])"
        );
        fs::write(&config, text).unwrap();
    };
    write("porch");
    let watching = watch(&net, SAP);
    let command = format!("send --config {}", config.display());
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    wait_for_event(&watching, "new", "porch");
    write("yard");
    sender.signal(Signal::SIGHUP);
    wait_for_event(&watching, "new", "yard");
}

// ---- ffmpeg ----

/// ffmpeg announcing what it sends: its own form of SAP, and formats that lancam shows or not.
fn ffmpeg_announcing(net: &Net, codec: &str, title: &str, group: &str) -> Process {
    let mut command = net.sender.command("ffmpeg");
    command.args("-v error -re -f lavfi -i testsrc=size=320x240:rate=10".split(' '));
    command.args(["-pix_fmt", "yuvj420p", "-c:v", codec, "-huffman", "default"]);
    if codec != "mjpeg" {
        command = net.sender.command("ffmpeg");
        command.args("-v error -re -f lavfi -i testsrc=size=320x240:rate=10".split(' '));
        command.args(["-c:v", codec]);
    }
    command.args(["-metadata", &format!("title={title}"), "-f", "sap"]);
    command.arg(format!("sap://{group}?ttl=1"));
    Process::spawn("ffmpeg", command)
}

#[test]
fn ffmpegs_announcements_are_listed() {
    let test = "ffmpegs_announcements_are_listed";
    if !have(test, &["ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let watching = watch(&net, "239.255.255.255");
    let _jpeg = ffmpeg_announcing(&net, "mjpeg", "tower", "239.9.9.9:5004");
    let tower = wait_for_event(&watching, "new", "tower");
    assert_eq!(tower["group"], "239.9.9.9:5004");
    assert_eq!(
        (&tower["format"], &tower["can_show"]),
        (&"JPEG".into(), &true.into())
    );
    let _other = ffmpeg_announcing(&net, "mpeg4", "film", "239.9.9.10:5004");
    let film = wait_for_event(&watching, "new", "film");
    assert_eq!(film["can_show"], false);
    let why = film["why_not"].as_str().unwrap();
    assert!(why.contains("MP4V-ES; lancam shows JPEG"), "{why}");

    view(&net, "tower").succeed();
    let mut refused = view(&net, "film");
    assert_eq!(refused.wait().code(), Some(1));
    assert!(
        refused.messages().contains("its format is MP4V-ES"),
        "{refused}"
    );
    // Of the two only one can be shown.
    view(&net, "").succeed();
}

#[test]
fn ffmpeg_opens_an_announced_stream() {
    let test = "ffmpeg_opens_an_announced_stream";
    if !have(test, &["ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    for (group, sap) in [
        ("224.3.29.72:5000", "sap://"),
        ("[ff15::77]:5000", "sap://[ff05::2:7ffe]"),
    ] {
        let mut sender = send(&net, &format!("--name porch --group {group}"));
        let raw = folder.path().join("picture.rgb");
        let mut command = net.viewer.command("ffmpeg");
        command.args(["-v", "error", "-y", "-i", sap, "-frames:v", "3"]);
        command
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24"])
            .arg(&raw);
        Process::spawn("ffmpeg", command).succeed();
        assert_eq!(fs::read(&raw).unwrap().len(), 3 * 320 * 240 * 3, "{sap}");
        assert!(sender.stop(Signal::SIGTERM).success());
    }
}

// ---- VLC ----

/// VLC refuses to run as root: it gets a user of its own in a user namespace.
fn as_a_user(command: &mut Command, home: &Path) {
    command
        .args("--user --map-user=1000 --map-group=1000".split(' '))
        .env("HOME", home);
}

#[test]
fn vlc_lists_an_announced_stream() {
    let test = "vlc_lists_an_announced_stream";
    if !have(test, &["vlc"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let _sender = send(&net, "--name porch");
    let mut command = net.viewer.command("unshare");
    as_a_user(&mut command, folder.path());
    command.args("vlc -I oldrc --rc-fake-tty --no-audio --services-discovery sap".split(' '));
    let mut vlc = Process::spawn("vlc", command);
    let mut keys = vlc.stdin();
    wait_for(&format!("VLC's list to show the stream: {vlc}"), || {
        use std::io::Write;
        keys.write_all(b"playlist\n").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let lines = vlc.lines_so_far();
        let heading = lines.iter().any(|l| l.contains("Network streams (SAP)"));
        let stream = lines.iter().any(|l| l.contains("- porch"));
        (heading && stream).then_some(())
    });
}

// ---- The commands that are printed ----

/// Those of one stream, each with its player.
fn printed_commands(sender: &Process) -> Vec<(String, String)> {
    sender.wait_for_message("gst-launch-1.0");
    let lines = sender.messages_so_far();
    let start = lines
        .iter()
        .position(|l| l.starts_with("watch \""))
        .unwrap();
    lines[start + 1..]
        .iter()
        .map_while(|line| {
            let (player, command) = line.strip_prefix("  ")?.split_once(' ')?;
            Some((player.to_owned(), command.trim().to_owned()))
        })
        .collect()
}

/// The command as it is printed, but for what shows pictures on a screen: that is replaced or left
/// out.
fn without_a_screen(player: &str, command: &str, folder: &Path) -> String {
    let folder = folder.display();
    match player {
        "lancam" => {
            let lancam = env!("CARGO_BIN_EXE_lancam");
            command.replacen("lancam", lancam, 1) + " --headless --frames 3"
        }
        "ffplay" => {
            let at = command.rfind(' ').unwrap();
            let (options, what) = command.split_at(at);
            let options = options.replacen("ffplay", "ffmpeg", 1);
            format!("{options} -i {what} -frames:v 3 -f null -")
        }
        "VLC" => format!(
            "unshare --user --map-user=1000 --map-group=1000 {command} -I dummy --no-audio --vout dummy \
             --video-filter scene --scene-ratio 1 --scene-format png --scene-prefix vlc --scene-path {folder}"
        ),
        "GStreamer" => command.replacen(
            "autovideosink sync=false",
            &format!("pngenc snapshot=true ! filesink location={folder}/gst.png"),
            1,
        ),
        _ => panic!("nobody knows {player}"),
    }
}

fn run_printed_commands(net: &Net, folder: &Path, more: &str) {
    let sender = send(net, more);
    let commands = printed_commands(&sender);
    let players: Vec<&str> = commands.iter().map(|(player, _)| player.as_str()).collect();
    assert_eq!(players, ["lancam", "ffplay", "VLC", "GStreamer"]);
    for (player, command) in &commands {
        let script = without_a_screen(player, command, folder);
        let mut bash = net.viewer.command("bash");
        bash.args(["-c", &format!("exec {script}")])
            .env("HOME", folder);
        let mut process = Process::spawn(player, bash);
        if player != "VLC" {
            process.succeed();
            continue;
        }
        wait_for(&format!("a picture: {process}"), || {
            let mut files = fs::read_dir(folder).unwrap();
            let is_picture = |name: &str| name.starts_with("vlc") && name.ends_with(".png");
            files
                .any(|f| is_picture(&f.unwrap().file_name().to_string_lossy()))
                .then_some(())
        });
    }
    assert!(folder.join("gst.png").exists());
}

#[test]
fn the_printed_commands_show_the_stream() {
    let test = "the_printed_commands_show_the_stream";
    if !have(test, &["bash", "ffmpeg", "vlc", "gst-launch-1.0"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    run_printed_commands(&net, folder.path(), "--name porch");
    let folder = tempfile::tempdir().unwrap();
    let sdp = folder.path().join("cam.sdp");
    run_printed_commands(
        &net,
        folder.path(),
        &format!("--name porch --sdp {}", sdp.display()),
    );
}

// ---- Malicious announcements ----

/// Sends `text`, as formatted by `printf`, to the group of announcements, in one datagram.
fn announce(net: &Net, folder: &Path, text: &str) {
    let file = folder.join("datagram");
    let file = file.display();
    let script = format!("printf '{text}' >{file}; cat {file} >/dev/udp/{SAP}/9875");
    let mut bash = net.sender.command("bash");
    bash.args(["-c", &script]);
    Process::spawn("bash", bash).succeed();
}

#[test]
fn hostile_announcements_are_shown_for_what_they_are() {
    let test = "hostile_announcements";
    if !have(test, &["bash"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut listed = Process::spawn("lancam list", net.viewer.lancam("list --timeout 60"));
    listed.wait_until_joined(SAP);
    let head = r"\x20\0\0\1\x0a\x4d\0\1v=0\n";
    // Of somebody else's machine, of nobody's, of a clock that would be rung.
    let sdp = |name: &str, to: &str, port: u16| {
        format!(
            "{head}o=- 1 1 IN IP4 1.2.3.4\\ns={name}\\nc=IN IP4 {to}\\nm=video {port} RTP/AVP 26\\n"
        )
    };
    announce(&net, folder.path(), &sdp("elsewhere", "192.0.2.9", 5000));
    announce(&net, folder.path(), &sdp("nowhere", "0.0.0.0", 5000));
    announce(
        &net,
        folder.path(),
        &sdp(r"\x1b[2J\x07evil", "239.1.1.1/1", 5000),
    );
    announce(&net, folder.path(), &sdp("own", "10.77.0.2", 5000));
    announce(&net, folder.path(), r"\x22\0\0\1\x0a\x4d\0\1secret");
    announce(&net, folder.path(), r"\x21\0\0\1\x0a\x4d\0\1packed");
    announce(&net, folder.path(), r"\x20\xff");
    net.sender.run(&format!(
        "bash -c 'for i in $(seq 200); do head -c 1000 /dev/urandom >/dev/udp/{SAP}/9875; done'"
    ));
    assert!(listed.stop(Signal::SIGTERM).success());
    let printed = listed.printed();
    let line = |what: &str| {
        let found = printed.iter().find(|l| l.contains(what));
        found.unwrap_or_else(|| panic!("no {what}: {printed:?}"))
    };
    assert!(
        line("elsewhere").ends_with("no: it is sent to 192.0.2.9 only, which is another machine")
    );
    assert!(line("nowhere").ends_with("no: its description has no destination"));
    assert!(line("evil").ends_with("yes"));
    assert!(line("own").ends_with("yes"));
    assert!(
        !printed.iter().any(|l| l.chars().any(char::is_control)),
        "{printed:?}"
    );
    assert_eq!(printed.len(), 5, "{printed:?}");
}

/// A file with the same can do no more.
#[test]
fn an_sdp_of_another_machine_is_refused_in_words() {
    let Some(net) = Net::pair("an_sdp_of_another_machine") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("far.sdp");
    fs::write(
        &path,
        "v=0\ns=far\nc=IN IP4 192.0.2.9\nm=video 5000 RTP/AVP 26\n",
    )
    .unwrap();
    let mut refused = view(&net, &path.display().to_string());
    assert_eq!(refused.wait().code(), Some(1));
    let said = refused.messages();
    assert!(
        said.contains("192.0.2.9 is neither a multicast group nor an address of this machine"),
        "{refused}"
    );
}
