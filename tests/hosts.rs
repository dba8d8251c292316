//! What happens between hosts: who is in the group and when, senders and viewers that come and go,
//! signals, what the packets look like on the wire, loss, and strangers in the group.
#![cfg(feature = "send")]

mod common;

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use common::clip::{Chroma, Clip, Kind};
use common::net::{GROUP, Host, INTERFACE, Net, PORT, SENDER_IP, VIEWER_IP, is_member};
use common::pixels::{Planes, assert_same, split};
use common::process::Process;
use common::{have, number, skip, wait_for};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A small stream that does not end by itself.
const PATTERN: &str = "send --source pattern:320x240@30 --stats -";

fn sender(net: &Net, more: &str) -> Process {
    Process::spawn(
        "lancam send",
        net.sender
            .lancam(&format!("{PATTERN} --interface {INTERFACE} {more}")),
    )
}

fn viewer(net: &Net, more: &str) -> Process {
    let command = format!("view --headless --stats - --interface {INTERFACE} {more}");
    Process::spawn("lancam view", net.viewer.lancam(&command))
}

/// Waits until `frames` more have arrived whole, and gives the totals.
fn wait_for_frames(viewer: &Process, frames: u32) -> Value {
    let now = viewer.wait_for_stats("anything", |_| true);
    let wanted = number(&now, "frames_whole") + f64::from(frames);
    viewer.wait_for_stats(&format!("{wanted} frames"), |stats| {
        number(stats, "frames_whole") >= wanted
    })
}

/// Ends it as a supervisor does: within a second, with exit code 0.
fn terminate(process: &mut Process) {
    let start = Instant::now();
    let status = process.stop(Signal::SIGTERM);
    let taken = start.elapsed();
    assert!(status.success(), "{process}\nended with {status}");
    assert!(
        taken < Duration::from_secs(1),
        "{process}\ntook {taken:?} to end"
    );
}

// ---- the group ----

#[test]
fn the_group_is_joined_while_a_viewer_runs_and_not_after() {
    let test = "the_group_is_joined_while_a_viewer_runs_and_not_after";
    if !have(test, &["netstat"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let listed = |host: &Host| {
        host.netstat_groups()
            .contains(&(INTERFACE.to_owned(), GROUP.to_owned()))
    };
    assert!(!listed(&net.viewer));
    let mut viewer = viewer(&net, "");
    viewer.wait_until_joined(GROUP);
    assert!(listed(&net.viewer), "{:?}", net.viewer.netstat_groups());
    terminate(&mut viewer);
    assert!(!listed(&net.viewer), "{:?}", net.viewer.netstat_groups());
}

#[test]
fn several_viewers_on_one_host_all_get_every_frame() {
    let test = "several_viewers_on_one_host_all_get_every_frame";
    if !have(test, &["cjpeg", "ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let clip = Clip::get(Kind::new(640, 480, Chroma::C422));
    let folder = tempfile::tempdir().unwrap();
    let path = |n: usize| folder.path().join(format!("{n}.mjpeg"));
    let mut viewers: Vec<Process> = (0..3)
        .map(|n| {
            viewer(
                &net,
                &format!(
                    "--frames {} --record {}",
                    clip.kind.frames,
                    path(n).display()
                ),
            )
        })
        .collect();
    viewers
        .iter()
        .for_each(|v| drop(v.wait_for_message("waiting for")));
    let source = clip.avi();
    let command = format!(
        "send --interface {INTERFACE} --pacing 0.5 --source {}",
        source.display()
    );
    Process::spawn("lancam send", net.sender.lancam(&command)).succeed();
    for (n, viewer) in viewers.iter_mut().enumerate() {
        viewer.succeed();
        let received = split(&fs::read(path(n)).unwrap());
        assert_eq!(received.len(), clip.kind.frames);
        for (got, sent) in received.iter().zip(&clip.frames) {
            assert_same(
                &format!("viewer {n}"),
                &Planes::decode(got),
                &Planes::decode(sent),
            );
        }
    }
}

// ---- coming and going ----

#[test]
fn a_viewer_waits_for_its_sender_and_outlives_it() {
    let Some(net) = Net::pair("a_viewer_waits_for_its_sender_and_outlives_it") else {
        return;
    };
    let mut viewer = viewer(&net, "");
    viewer.wait_until_joined(GROUP);
    let before = viewer.wait_for_stats("anything", |_| true);
    assert_eq!(number(&before, "packets_received"), 0.0);

    let first = sender(&net, "");
    wait_for_frames(&viewer, 30);
    // Killed, not ended: no goodbye.
    drop(first);
    viewer.wait_for_message("no frames from");

    let mut second = sender(&net, "");
    wait_for_frames(&viewer, 30);
    terminate(&mut second);
    let mut third = sender(&net, "");
    wait_for_frames(&viewer, 30);
    terminate(&mut third);
    terminate(&mut viewer);
}

/// A viewer belongs to its terminal: it ends with it, in order, unless nohup(1) says otherwise.
#[test]
fn a_viewer_ends_with_its_terminal() {
    let Some(net) = Net::pair("a_viewer_ends_with_its_terminal") else {
        return;
    };
    let _sender = sender(&net, "");
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("seen.avi");
    let pty = nix::pty::openpty(None, None).unwrap();
    // Who holds it keeps the terminal.
    let private = FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC);
    fcntl(&pty.master, private).unwrap();
    let mut command = net.viewer.command("setsid");
    command
        .args(["--ctty", env!("CARGO_BIN_EXE_lancam"), "view", "--headless"])
        .args(["--interface", INTERFACE, "--record"])
        .arg(&recording)
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave);
    let mut viewer = command.spawn().unwrap();
    drop(command);
    wait_for("a recording", || {
        let written = fs::metadata(&recording).is_ok_and(|file| file.len() > 50_000);
        written.then_some(())
    });
    drop(pty.master);
    let status = wait_for("the end", || viewer.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let avi = fs::read(&recording).unwrap();
    assert!(avi.windows(4).any(|chunk| chunk == b"idx1"), "no index");

    let mut command = net.viewer.command("nohup");
    command
        .args([env!("CARGO_BIN_EXE_lancam"), "view", "--headless"])
        .args(["--interface", INTERFACE, "--stats", "-"]);
    let mut viewer = Process::spawn("nohup lancam view", command);
    wait_for_frames(&viewer, 1);
    viewer.signal(Signal::SIGHUP);
    wait_for_frames(&viewer, 30);
    terminate(&mut viewer);
}

/// As a board does that is switched on before its network: nobody named an interface, and there is
/// none.
#[test]
fn a_sender_that_starts_before_the_network_goes_out_when_it_comes() {
    let test = "a_sender_that_starts_before_the_network_goes_out_when_it_comes";
    let Some(net) = Net::pair(test) else {
        return;
    };
    net.sender.run(&format!("ip link set {INTERFACE} down"));
    let mut sender = Process::spawn("lancam send", net.sender.lancam(PATTERN));
    let warning = sender.wait_for_message("no network is up, so only this machine can watch");
    assert!(
        warning.contains("WARN") && warning.contains(" on lo"),
        "{warning}"
    );
    sender.wait_for_stats("30 frames", |stats| number(stats, "frames_sent") >= 30.0);
    let mut viewer = viewer(&net, "");
    net.sender.run(&format!(
        "ip link set {INTERFACE} up && ip route add 224.0.0.0/4 dev {INTERFACE}"
    ));
    viewer.wait_for_stats("30 frames", |stats| number(stats, "frames_whole") >= 30.0);
    sender.wait_for_message("the network has changed");
    terminate(&mut viewer);
    terminate(&mut sender);
}

/// A host's second interface: one end of a virtual pair, whose other end stays here.
fn add_interface(host: &Host, name: &str, more: &str) {
    host.run(&format!(
        "ip link add {name} type veth peer name {name}-peer
         ip address add 10.99.0.1/24 dev {name}
         ip link set {name} up {more}
         ip link set {name}-peer up"
    ));
}

/// Neither end names an interface. Docker's bridge comes first and has no link; a VPN without
/// MULTICAST has the default route.
#[test]
fn a_link_and_multicast_decide_before_order_and_route() {
    let test = "a_link_and_multicast_decide_before_order_and_route";
    let Some(net) = Net::pair(test) else { return };
    for host in [&net.sender, &net.viewer] {
        host.run(
            "ip route del 224.0.0.0/4
             ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0; ip link set docker0 up",
        );
        add_interface(host, "vpn0", "multicast off");
        host.run("ip route add default dev vpn0");
    }
    let mut sender = Process::spawn("lancam send", net.sender.lancam(PATTERN));
    let mut viewer = Process::spawn(
        "lancam view",
        net.viewer.lancam("view --headless --stats -"),
    );
    viewer.wait_for_stats("30 frames", |stats| number(stats, "frames_whole") >= 30.0);
    for process in [&sender, &viewer] {
        process.wait_for_message(" on wire0");
    }
    terminate(&mut viewer);
    terminate(&mut sender);
}

/// A VPN that carries multicast comes up while pictures flow, and takes the default route of both
/// ends.
#[test]
fn a_vpn_that_comes_up_takes_nobody_away() {
    let test = "a_vpn_that_comes_up_takes_nobody_away";
    let Some(net) = Net::pair(test) else { return };
    for host in [&net.sender, &net.viewer] {
        host.run(
            "ip route del 224.0.0.0/4; ip route add default via 10.77.0.254 dev wire0 metric 100",
        );
    }
    let command = format!("{PATTERN} --name porch");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    let mut viewer = Process::spawn(
        "lancam view",
        net.viewer
            .lancam("view --headless --stats - 224.3.29.71:10000"),
    );
    sender.wait_for_stats("a viewer", |stats| number(stats, "viewers") >= 1.0);
    wait_for_frames(&viewer, 10);
    for host in [&net.sender, &net.viewer] {
        add_interface(host, "vpn0", "");
        host.run("ip route add default dev vpn0 metric 10");
    }
    // Both have checked the network since, as they do each second.
    let totals = wait_for_frames(&viewer, 120);
    assert!(number(&totals, "frames_lost") <= 1.0, "{totals}");
    let list = net.viewer.run(&format!(
        "{} list --timeout 3 --interface wire0",
        env!("CARGO_BIN_EXE_lancam")
    ));
    assert!(list.contains("porch"), "{list}");
    terminate(&mut viewer);
    terminate(&mut sender);
}

/// DHCP gives another address than the one that `--interface` names.
#[test]
fn an_interface_named_by_its_address_gets_another() {
    let test = "an_interface_named_by_its_address_gets_another";
    let Some(net) = Net::pair(test) else { return };
    let command = format!("{PATTERN} --interface 10.77.0.1 --name porch");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    let viewer = viewer(&net, "");
    wait_for_frames(&viewer, 10);
    net.sender.run(&format!(
        "ip address del 10.77.0.1/24 dev {INTERFACE}; ip address add 10.77.0.9/24 dev {INTERFACE}
         ip route replace 224.0.0.0/4 dev {INTERFACE}"
    ));
    wait_for_frames(&viewer, 60);
    wait_for("the announcement from the new address", || {
        let list = net.viewer.run(&format!(
            "{} list --json --timeout 2",
            env!("CARGO_BIN_EXE_lancam")
        ));
        (list.contains("porch") && list.contains("10.77.0.9")).then_some(())
    });
    terminate(&mut sender);
}

/// A link-local group means nothing without its interface, which an address may name.
#[test]
fn a_group_names_its_interface() {
    let Some(net) = Net::pair("a_group_names_its_interface") else {
        return;
    };
    let group = format!("[ff02::77%{INTERFACE}]:10000");
    let command = format!("{PATTERN} --group {group}");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    let mut viewer = Process::spawn(
        "lancam view",
        net.viewer
            .lancam(&format!("view --headless --frames 10 {group}")),
    );
    viewer.succeed();
    terminate(&mut sender);
    let output = net
        .viewer
        .lancam("view --headless [ff02::77%eth9]:10000")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no interface \"eth9\"; this machine has lo"),
        "{said}"
    );
}

#[test]
fn a_viewer_in_the_middle_of_a_stream_shows_the_next_frame() {
    let Some(net) = Net::pair("a_viewer_in_the_middle_of_a_stream_shows_the_next_frame") else {
        return;
    };
    let sender = sender(&net, "");
    sender.wait_for_stats("30 frames", |stats| number(stats, "frames_sent") >= 30.0);
    let mut viewer = viewer(&net, "--frames 30");
    viewer.succeed();
    let totals = viewer.final_stats();
    assert_eq!(number(&totals, "frames_whole"), 30.0, "{totals}");
    // At most the frame that it came into.
    assert!(number(&totals, "frames_lost") <= 1.0, "{totals}");
}

#[test]
fn two_senders_in_one_group_do_not_mix() {
    let Some(net) = Net::pair("two_senders_in_one_group_do_not_mix") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("out.mjpeg");
    let mut viewer = viewer(&net, &format!("--record {}", record.display()));
    viewer.wait_until_joined(GROUP);
    let _first = sender(&net, "");
    wait_for_frames(&viewer, 10);
    // Its group is chosen, or it would take another.
    let command =
        format!("send --source pattern:640x480@30 --interface {INTERFACE} --group {GROUP}:10000");
    let _second = Process::spawn("the second sender", net.sender.lancam(&command));
    viewer.wait_for_message("second sender");
    wait_for_frames(&viewer, 30);
    terminate(&mut viewer);
    for jpeg in split(&fs::read(record).unwrap()) {
        let size = turbojpeg::read_header(&jpeg).unwrap();
        assert_eq!(
            (size.width, size.height),
            (320, 240),
            "a frame of the second sender"
        );
    }
}

// ---- signals ----

#[test]
fn sigterm_and_sigint_end_both_sides_at_once_with_their_totals() {
    let Some(net) = Net::pair("sigterm_and_sigint_end_both_sides_at_once_with_their_totals") else {
        return;
    };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut viewer = viewer(&net, "");
        viewer.wait_until_joined(GROUP);
        let mut sender = sender(&net, "");
        wait_for_frames(&viewer, 10);
        for process in [&mut sender, &mut viewer] {
            let start = Instant::now();
            let status = process.stop(signal);
            assert!(
                status.success() && start.elapsed() < Duration::from_secs(1),
                "{process}\n{status}"
            );
        }
        let (sent, seen) = (sender.final_stats(), viewer.final_stats());
        assert_eq!(
            number(&sent, "packets_sent"),
            number(&seen, "packets_received"),
            "{sent}\n{seen}"
        );
        assert_eq!(
            number(&sent, "frames_sent"),
            number(&seen, "frames_whole"),
            "{sent}\n{seen}"
        );
        assert_eq!(
            number(&sent, "bytes_sent"),
            number(&seen, "bytes_received"),
            "{sent}\n{seen}"
        );
    }
}

#[test]
fn sighup_reads_the_config_again_or_keeps_the_old_one() {
    let Some(net) = Net::pair("sighup_reads_the_config_again_or_keeps_the_old_one") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (config, record) = (
        folder.path().join("lancam.ron"),
        folder.path().join("out.mjpeg"),
    );
    let write = |size: &str| {
        let text = format!(
            "(streams: [(name: \"test\", source: Pattern({size}), interface: \"{INTERFACE}\")])"
        );
        fs::write(&config, text).unwrap();
    };
    write("\"320x240@30\"");
    let mut viewer = viewer(&net, &format!("--record {}", record.display()));
    viewer.wait_until_joined(GROUP);
    let command = format!("send --config {} --stats -", config.display());
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    wait_for_frames(&viewer, 10);

    write("\"wide\"");
    sender.signal(Signal::SIGHUP);
    let sentence = sender.wait_for_message("not reloaded");
    assert!(sentence.contains("lancam.ron:1:"), "{sentence}");
    wait_for_frames(&viewer, 10);

    write("\"640x480@30\"");
    sender.signal(Signal::SIGHUP);
    sender.wait_for_message("config reloaded");
    wait_for_frames(&viewer, 10);
    terminate(&mut sender);
    terminate(&mut viewer);

    let sizes: Vec<_> = split(&fs::read(record).unwrap())
        .iter()
        .map(|jpeg| turbojpeg::read_header(jpeg).unwrap())
        .map(|size| (size.width, size.height))
        .collect();
    let change = sizes
        .iter()
        .position(|size| *size == (640, 480))
        .expect("the new size");
    assert!(
        change >= 20 && sizes[..change].iter().all(|s| *s == (320, 240)),
        "{sizes:?}"
    );
    assert!(
        sizes[change..].iter().all(|s| *s == (640, 480)),
        "{sizes:?}"
    );
}

// ---- on the wire ----

/// Whether tcpdump can run: in a user namespace it cannot switch to its own user.
fn can_capture(test: &str) -> bool {
    if !have(test, &["tcpdump", "ethtool"]) {
        return false;
    }
    nix::unistd::geteuid().is_root() || skip(test, "tcpdump needs root")
}

/// What tcpdump says of `count` packets that arrive at the viewer's host: its lines, two a packet
/// for IPv4.
fn capture(net: &Net, count: usize, during: impl FnOnce() -> Process) -> Vec<String> {
    let mut command = net.viewer.command("tcpdump");
    command.args([
        "-i",
        INTERFACE,
        "-n",
        "-v",
        "-l",
        "--immediate-mode",
        "-c",
        &count.to_string(),
    ]);
    command.args(["udp", "dst", "port", &PORT.to_string()]);
    let mut tcpdump = Process::spawn("tcpdump", command);
    tcpdump.wait_for_message("listening on");
    let _sender = during();
    tcpdump.succeed();
    tcpdump.printed()
}

/// UDP payload lengths.
fn lengths(lines: &[String]) -> Vec<usize> {
    let length = |line: &String| line.rsplit_once("UDP, length ")?.1.trim().parse().ok();
    lines.iter().filter_map(length).collect()
}

#[test]
fn datagrams_fit_the_interface_and_carry_ttl_and_dscp() {
    let test = "datagrams_fit_the_interface_and_carry_ttl_and_dscp";
    if !can_capture(test) {
        return;
    }
    for mtu in [1280, 1500, 9000] {
        let Some(net) = Net::pair_with_mtu(test, mtu) else {
            return;
        };
        net.sender.without_segmentation_offload();
        let mut viewer = viewer(&net, "");
        viewer.wait_until_joined(GROUP);
        let lines = capture(&net, 60, || sender(&net, ""));
        let longest = *lengths(&lines).iter().max().expect("packets");
        let room = mtu as usize - 28;
        // Packets of one frame are equal in size, so a few bytes may be left over in each.
        assert!(longest <= room, "MTU {mtu}: {longest} bytes");
        assert!(
            mtu == 9000 || longest > room - 100,
            "MTU {mtu}: only {longest} bytes"
        );
        assert!(!lines.iter().any(|line| line.contains("frag")
            && !line.contains("offset 0, flags [DF]")
            && line.contains("flags [+]")));
        let header = lines
            .iter()
            .find(|line| line.contains("ttl"))
            .expect("an IP header");
        assert!(
            header.contains("tos 0x88") && header.contains("ttl 1,"),
            "AF41 and TTL 1: {header}"
        );
    }
    let Some(net) = Net::pair(test) else { return };
    let lines = capture(&net, 4, || sender(&net, "--ttl 3 --dscp 46"));
    let header = lines
        .iter()
        .find(|line| line.contains("ttl"))
        .expect("an IP header");
    assert!(
        header.contains("tos 0xb8") && header.contains("ttl 3,"),
        "{header}"
    );
}

#[test]
fn an_mtu_that_is_asked_for_is_kept() {
    let test = "an_mtu_that_is_asked_for_is_kept";
    if !can_capture(test) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.sender.without_segmentation_offload();
    let lines = capture(&net, 60, || sender(&net, "--mtu 576"));
    let longest = *lengths(&lines).iter().max().expect("packets");
    assert!((448..=548).contains(&longest), "{longest} bytes");
}

#[test]
fn ipv6_groups_unicast_and_source_specific_groups_work() {
    let Some(net) = Net::pair("ipv6_groups_unicast_and_source_specific_groups_work") else {
        return;
    };
    for address in [
        "[ff15::71]:10000",
        "[ff02::71]:10000",
        "232.1.2.3:10000",
        &format!("{VIEWER_IP}:10000"),
    ] {
        let mut viewer = viewer(&net, &format!("--frames 10 {address}"));
        viewer.wait_for_message("waiting for");
        let mut sender = sender(&net, &format!("--group {address}"));
        viewer.succeed();
        assert_eq!(
            number(&viewer.final_stats(), "frames_lost"),
            0.0,
            "{address}"
        );
        terminate(&mut sender);
    }
}

#[test]
fn another_group_on_the_same_port_is_not_heard() {
    let Some(net) = Net::pair("another_group_on_the_same_port_is_not_heard") else {
        return;
    };
    let mut here = viewer(&net, &format!("{GROUP}:{PORT}"));
    let mut there = viewer(&net, "224.3.29.72:10000");
    here.wait_until_joined(GROUP);
    wait_for("the second membership", || {
        is_member(there.pid(), "224.3.29.72").then_some(())
    });
    let _sender = sender(&net, "--group 224.3.29.72:10000");
    wait_for_frames(&there, 30);
    terminate(&mut here);
    let totals = here.final_stats();
    assert_eq!(
        (
            number(&totals, "packets_received"),
            number(&totals, "packets_invalid"),
            number(&totals, "packets_foreign")
        ),
        (0.0, 0.0, 0.0),
        "{totals}"
    );
    terminate(&mut there);
}

// ---- loss and strangers ----

/// With packets cut before the wire and 2 % of them lost, what is recorded is still only whole
/// frames.
#[test]
fn lost_packets_never_make_a_wrong_picture() {
    let test = "lost_packets_never_make_a_wrong_picture";
    if !have(test, &["nft", "ethtool", "cjpeg", "ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.sender.without_segmentation_offload();
    let ruled = net.viewer.command("sh").args(["-ec", &format!(
        "nft add table ip loss; nft add chain ip loss in '{{ type filter hook prerouting priority 0; }}'
         nft add rule ip loss in udp dport {PORT} numgen random mod 1000 '<' 20 drop"
    )]).output().unwrap();
    if !ruled.status.success() {
        skip(test, &String::from_utf8_lossy(&ruled.stderr));
        return;
    }
    let clip = Clip::get(Kind::new(640, 480, Chroma::C420));
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("out.mjpeg");
    let mut viewer = viewer(&net, &format!("--record {}", record.display()));
    viewer.wait_until_joined(GROUP);
    let source = clip.avi();
    let command = format!(
        "send --loop --fps 60 --source {} --interface {INTERFACE} --stats -",
        source.display()
    );
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    viewer.wait_for_stats("frames of both kinds", |stats| {
        number(stats, "frames_lost") >= 20.0 && number(stats, "frames_whole") >= 20.0
    });
    terminate(&mut sender);
    terminate(&mut viewer);
    let totals = viewer.final_stats();
    assert!(
        number(&totals, "packets_lost") >= number(&totals, "frames_lost"),
        "{totals}"
    );
    let originals: Vec<Planes> = clip
        .frames
        .iter()
        .map(|jpeg| Planes::decode(jpeg))
        .collect();
    for (n, jpeg) in split(&fs::read(&record).unwrap()).iter().enumerate() {
        assert!(
            originals.contains(&Planes::decode(jpeg)),
            "recorded frame {n} was never sent"
        );
    }
}

#[test]
fn garbage_in_the_group_is_counted_and_does_no_harm() {
    let test = "garbage_in_the_group_is_counted_and_does_no_harm";
    let Some(net) = Net::pair(test) else { return };
    let mut viewer = viewer(&net, "");
    viewer.wait_until_joined(GROUP);
    let mut sender = sender(&net, "");
    wait_for_frames(&viewer, 10);
    let mut command = net.sender.command("bash");
    command.args([
        "-ec",
        &format!(
            "for n in $(seq 200); do head -c $((n * 7)) /dev/urandom >/dev/udp/{GROUP}/{PORT}; done"
        ),
    ]);
    Process::spawn("bash", command).succeed();
    viewer.wait_for_stats("garbage", |stats| number(stats, "packets_invalid") >= 100.0);
    let totals = wait_for_frames(&viewer, 30);
    assert_eq!(number(&totals, "frames_lost"), 0.0, "{totals}");
    terminate(&mut sender);
    terminate(&mut viewer);
}

// ---- what a viewer leaves behind ----

#[test]
fn the_demo_runs_without_a_display_and_saves_its_snapshot() {
    let Some(net) = Net::pair("the_demo_runs_without_a_display_and_saves_its_snapshot") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("demo.jpg");
    let mut command = net.viewer.lancam(&format!(
        "demo --frames 30 --snapshot {}",
        snapshot.display()
    ));
    command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    Process::spawn("lancam demo", command).succeed();
    assert_size(&snapshot, (1280, 720));
}

fn assert_size(jpeg: &Path, expected: (usize, usize)) {
    let size = turbojpeg::read_header(&fs::read(jpeg).unwrap()).unwrap();
    assert_eq!((size.width, size.height), expected);
}

// ---- a camera program ----

/// Behaves like `rpicam-vid --codec mjpeg -o -`: prints something, writes MJPEG, and dies.
#[test]
fn a_camera_program_that_dies_is_started_again() {
    let test = "a_camera_program_that_dies_is_started_again";
    if !have(test, &["cjpeg", "ffmpeg"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let clip = Clip::get(Kind::new(640, 480, Chroma::C420));
    let folder = tempfile::tempdir().unwrap();
    let (frame, pid) = (folder.path().join("frame.jpg"), folder.path().join("pid"));
    fs::write(&frame, &clip.frames[0]).unwrap();
    let program = folder.path().join("camera");
    let text = format!(
        "#!/bin/sh\necho 'camera: encoding' >&2\necho $$ >{}\nwhile cat {}; do sleep 0.04; done\n",
        pid.display(),
        frame.display()
    );
    fs::write(&program, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).unwrap();
    let running = || -> Option<i32> { fs::read_to_string(&pid).ok()?.trim().parse().ok() };

    let viewer = viewer(&net, "");
    let command = format!(
        "send --interface {INTERFACE} --stats - --source exec:{}",
        program.display()
    );
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&command));
    wait_for_frames(&viewer, 10);
    sender.wait_for_message("camera: encoding");

    let first = running().expect("it has written its number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), Signal::SIGKILL).unwrap();
    sender.wait_for_message("trying again");
    wait_for("the program runs again", || {
        running().filter(|&now| now != first)
    });
    let seen = wait_for_frames(&viewer, 20);
    assert_eq!(number(&seen, "packets_lost"), 0.0, "{seen}");
    assert_eq!(number(&seen, "frames_lost"), 0.0, "{seen}");
    let last = running().expect("its number");
    terminate(&mut sender);
    wait_for("the program has gone with its sender", || {
        (!Path::new(&format!("/proc/{last}")).exists()).then_some(())
    });
}

/// An RTP packet (RFC 3550 §5.1) of another payload type, and no RTP at all.
#[test]
fn what_comes_in_place_of_a_picture_is_told() {
    let rtp = [&[0x80, 96, 0, 1][..], &[0; 7], &[7], b"frame"].concat();
    let others: [(&[u8], &str); 2] = [
        (&rtp, "RTP of payload type 96, often H.264 or H.265"),
        (b"hello", "something that is not RTP"),
    ];
    for (datagram, what) in others {
        let Some(net) = Net::pair("what_comes_in_place") else {
            return;
        };
        let mut viewer = viewer(&net, "");
        viewer.wait_until_joined(GROUP);
        net.sender.inside(|| {
            let socket = UdpSocket::bind((SENDER_IP, 0)).unwrap();
            socket.send_to(datagram, (GROUP, PORT)).unwrap();
        });
        let said = viewer.wait_for_message(what);
        assert!(said.contains("only RTP/JPEG (payload type 26"), "{said}");
        assert!(said.contains(SENDER_IP), "{said}");
        let stats = viewer.wait_for_stats("its state", |s| s["state"] == "no_signal");
        assert_eq!(number(&stats, "packets_invalid"), 1.0);
        assert!(viewer.stop(Signal::SIGTERM).success());
    }
}
