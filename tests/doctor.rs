//! `lancam doctor` between hosts on one wire: for each thing that can be wrong, a test that breaks
//! exactly that and sees its line. What a network namespace cannot break (`rmem_max` and the clock
//! belong to the whole machine) is tested with the checks themselves, in `src/doctor`.
#![cfg(feature = "send")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::net::{GROUP, Host, INTERFACE, Net, PORT, SENDER_IP, is_member};
use common::process::Process;
use common::{have, skip, wait_for};
use serde_json::Value;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// A small stream that does not end by itself.
fn sender(net: &Net, more: &str) -> Process {
    let command =
        format!("send --source pattern:320x240@30 --interface {INTERFACE} --stats - {more}");
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.wait_for_stats("a frame sent", |stats| {
        stats["frames_sent"].as_u64() > Some(0)
    });
    sender
}

/// What the doctor said.
struct Said {
    report: Value,
    code: Option<i32>,
    stderr: String,
}

impl Said {
    fn new(output: &Output) -> Said {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {:?}\n{stderr}", output.stdout));
        Said {
            report,
            code: output.status.code(),
            stderr,
        }
    }

    fn check(&self, id: &str) -> &Value {
        let checks = self.report["checks"].as_array().unwrap();
        let found = checks.iter().find(|c| c["id"] == id);
        found.unwrap_or_else(|| panic!("no check {id} in {:#}", self.report))
    }

    /// Expects a line: its status, and words of what was found.
    #[track_caller]
    fn expect(&self, id: &str, status: &str, words: &str) -> &Said {
        let check = self.check(id);
        let what = check["what"].as_str().unwrap();
        assert!(
            check["status"] == status && what.contains(words),
            "{id} is not {status} {words:?}: {:#}",
            self.report
        );
        let has_advice = check["advice"].as_str().is_some_and(|a| !a.is_empty());
        assert_eq!(has_advice, matches!(status, "warn" | "fail"), "{check:#}");
        self
    }

    #[track_caller]
    fn advises(&self, id: &str, words: &str) -> &Said {
        let advice = self.check(id)["advice"].as_str().unwrap_or_default();
        assert!(
            advice.contains(words),
            "{id} advises {advice:?}, not {words:?}"
        );
        self
    }

    #[track_caller]
    fn watchable(&self, is: bool) -> &Said {
        assert_eq!(
            self.code,
            Some(if is { 0 } else { 1 }),
            "{:#}\n{}",
            self.report,
            self.stderr
        );
        assert_eq!(self.report["watchable"], is);
        self
    }
}

fn examine(mut command: Command) -> Said {
    Said::new(&command.output().unwrap())
}

/// The doctor on the viewer's host. Where no target is given it looks at the default group.
fn doctor(net: &Net, more: &str) -> Said {
    let is_target = |word: &str| word.contains(':') || word.ends_with(".sdp");
    let target = match more.split_whitespace().any(is_target) {
        true => "",
        false => "224.3.29.71:10000",
    };
    examine(
        net.viewer
            .lancam(&format!("doctor --json --wait 2 {target} {more}")),
    )
}

fn on_wire(net: &Net) -> Said {
    doctor(net, &format!("--interface {INTERFACE}"))
}

// ---- programs that the tests need on a host: this binary again, as a helper ----

const HELP: &str = "LANCAM_TEST_HELP";

/// Starts `what` of [`helper`] on a host, and waits until it says that it is ready.
fn help(host: &Host, what: &str) -> Process {
    let mut command = host.command(std::env::current_exe().unwrap().to_str().unwrap());
    command
        .args(["--exact", "helper", "--ignored", "--nocapture"])
        .env(HELP, what);
    let helper = Process::spawn(what, command);
    helper.wait_for_message("helper is ready");
    helper
}

/// No test: what [`help`] runs. By itself it does nothing.
#[test]
#[ignore = "a helper of the other tests"]
fn helper() {
    let Ok(what) = std::env::var(HELP) else {
        return;
    };
    let index = lancam::net::interface::find(INTERFACE).unwrap().index;
    match what.as_str() {
        "IGMPv3 querier" => query_v4(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]),
        "IGMPv2 querier" => query_v4(&[0x11, 100, 0, 0, 0, 0, 0, 0]),
        "MLD querier" => query_v6(index),
        "a program that does not share" => {
            // A name that would clear the screen.
            std::fs::write(
                format!("/proc/{}/comm", std::process::id()),
                "\u{1b}[2Jrude",
            )
            .unwrap();
            let _socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
            ready();
            loop {
                std::thread::park();
            }
        }
        "large datagrams" => send(vec![0x11; 3000]),
        "another RTP stream" => {
            let mut packet = vec![0x80, 96];
            packet.resize(500, 7);
            send(packet)
        }
        other => panic!("{other}"),
    }
}

fn ready() {
    eprintln!("helper is ready");
}

/// Again and again, until it is killed.
fn repeat(mut once: impl FnMut() -> std::io::Result<usize>) -> ! {
    once().unwrap();
    ready();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        once().unwrap();
    }
}

/// A general query (RFC 3376 §4.1), with its checksum.
fn query_v4(message: &[u8]) -> ! {
    let sum: u32 = message
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    let mut message = message.to_vec();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let socket = Socket::new(
        Domain::IPV4,
        Type::RAW,
        Some(Protocol::from(libc::IPPROTO_IGMP)),
    )
    .unwrap();
    socket
        .set_multicast_if_v4(&SENDER_IP.parse().unwrap())
        .unwrap();
    let all_hosts = SockAddr::from(SocketAddr::from((Ipv4Addr::new(224, 0, 0, 1), 0)));
    repeat(|| socket.send_to(&message, &all_hosts))
}

/// A general query of MLDv2 (RFC 3810 §5.1). The kernel fills the checksum in.
fn query_v6(index: u32) -> ! {
    let mut message = vec![130, 0, 0, 0, 0, 100, 0, 0];
    message.resize(28, 0);
    message[25] = 125;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.set_multicast_if_v6(index).unwrap();
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let all_nodes = SockAddr::from(std::net::SocketAddrV6::new(all_nodes, 0, 0, index));
    repeat(|| socket.send_to(&message, &all_nodes))
}

fn send(datagram: Vec<u8>) -> ! {
    let socket = UdpSocket::bind((SENDER_IP, 0)).unwrap();
    let group: IpAddr = GROUP.parse().unwrap();
    repeat(|| socket.send_to(&datagram, (group, PORT)))
}

/// A setting of this host's network; false where /proc may not be written.
fn set(host: &Host, test: &str, name: &str, value: &str) -> bool {
    let path = format!("/proc/sys/net/{}", name.replace('.', "/"));
    let output = host
        .command("sh")
        .args(["-c", &format!("echo {value} > {path}")])
        .output()
        .unwrap();
    output.status.success() || skip(test, &format!("{path} cannot be written here"))
}

// ---- all is well ----

#[test]
fn all_is_well() {
    let Some(net) = Net::pair("all_is_well") else {
        return;
    };
    let _sender = sender(&net, "--repair 0.5 --ttl 3");
    let _querier = help(&net.sender, "IGMPv3 querier");
    let said = on_wire(&net);
    said.watchable(true)
        .expect("interface", "ok", "wire0 is up and has a link")
        .expect("address", "ok", "10.77.0.2")
        .expect("multicast", "ok", "MULTICAST")
        .expect("route", "ok", "224.3.29.71 is routed by it")
        .expect("port", "ok", "no other program")
        .expect("membership", "ok", "wire0           3      224.3.29.71")
        .expect("querier", "ok", "IGMPv3 queries")
        .expect("querier", "ok", SENDER_IP)
        .expect("firewall", "ok", "it lets the stream through")
        .expect("packets", "ok", "Mbit/s")
        .expect("frames", "ok", "whole frames, ")
        .expect("loss", "ok", "none of")
        .expect("jitter", "ok", " ms")
        .expect("ttl", "ok", "TTL 3 on arrival")
        .expect("senders", "ok", "one: 10.77.0.1")
        .expect("mtu", "ok", "wire0 carries 1500")
        .expect("rmem_max", "ok", "frames of up to")
        .expect("wmem_max", "ok", "on the sender")
        .expect("repair", "ok", "repair packets");
    assert_eq!(said.report["group"], "224.3.29.71:10000");
    assert_eq!(said.report["interface"], INTERFACE);
    assert!(said.report["listened_s"].as_f64().unwrap() >= 2.0);
    assert_eq!(said.stderr, "");
    // Both belong to the whole machine: whatever their state, they are checked.
    for id in ["clock", "rp_filter"] {
        let status = said.check(id)["status"].as_str().unwrap();
        assert!(matches!(status, "ok" | "warn"), "{:#}", said.check(id));
    }
    assert!(said.check("camera")["status"].is_string());
}

#[test]
fn the_report_for_people_has_netstat_s_own_line() {
    let test = "the_report_for_people_has_netstat_s_own_line";
    if !have(test, &["netstat"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "");
    let mut doctor = Process::spawn(
        "doctor",
        net.viewer.lancam("doctor 224.3.29.71:10000 --wait 3"),
    );
    doctor.wait_until_joined(GROUP);
    // RTCP and repair join it too, a moment later.
    let line = wait_for("netstat's line", || {
        let text = net.viewer.run("netstat -g -n");
        let line = text.lines().find(|l| l.ends_with(GROUP))?.to_owned();
        line.contains(" 3 ").then_some(line)
    });
    assert!(is_member(doctor.pid(), GROUP));
    doctor.succeed();
    let text = doctor.printed();
    assert_eq!(text[0], "224.3.29.71:10000 on wire0, listened for 3 s");
    assert!(
        text.iter()
            .any(|l| l.starts_with("ok    membership")
                && l.ends_with(&format!("netstat -g: {line}"))),
        "{text:#?}\n{line}"
    );
    assert_eq!(text.last().unwrap(), "The stream can be watched.");
    assert!(
        !text.concat().contains('\u{1b}'),
        "colours without a terminal"
    );
}

#[test]
fn an_ipv6_group() {
    let Some(net) = Net::pair("an_ipv6_group") else {
        return;
    };
    let _sender = sender(&net, "--group [ff15::1d47]:10000");
    let _querier = help(&net.sender, "MLD querier");
    doctor(&net, "[ff15::1d47]:10000 --interface wire0")
        .watchable(true)
        .expect("address", "ok", "fd77::2")
        .expect("membership", "ok", " ff15::1d47")
        .expect("querier", "ok", "MLDv2 queries")
        .expect("rp_filter", "skip", "IPv6")
        .expect("frames", "ok", "whole frames")
        .expect("ttl", "ok", "hop limit 1 on arrival")
        .expect("senders", "ok", "one: fd77::1")
        .expect("mtu", "ok", "wire0 carries 1500");
}

#[test]
fn an_sdp_file_names_the_stream() {
    let Some(net) = Net::pair("an_sdp_file_names_the_stream") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let sdp = folder.path().join("porch.sdp");
    let sdp = sdp.to_str().unwrap();
    let _sender = sender(&net, &format!("--group 224.3.29.72:5004 --sdp {sdp}"));
    let said = doctor(&net, sdp);
    said.watchable(true);
    assert_eq!(said.report["group"], "224.3.29.72:5004");
}

#[test]
fn a_name_or_nothing_finds_what_is_announced() {
    let test = "a_name_or_nothing_finds_what_is_announced";
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "--name porch --group 224.3.29.72:5004");
    for target in ["porch", ""] {
        let said = examine(
            net.viewer
                .lancam(&format!("doctor --json --wait 1 {target}")),
        );
        said.watchable(true)
            .expect("announced", "ok", "\"porch\" is in 224.3.29.72:5004")
            .expect("interface", "ok", "wire0");
    }
    examine(net.viewer.lancam("doctor --json --wait 1 garden"))
        .watchable(false)
        .expect("announced", "fail", "\"garden\" was not announced in 6 s")
        .advises("announced", "lancam list");
}

#[test]
fn nothing_is_announced() {
    let Some(net) = Net::pair("nothing_is_announced") else {
        return;
    };
    examine(net.viewer.lancam("doctor --json --wait 1"))
        .watchable(false)
        .expect("announced", "skip", "224.3.29.71:10000, the default group")
        .expect("packets", "fail", "no packet");
    net.viewer.run("ip link set wire0 down");
    examine(
        net.viewer
            .lancam("doctor --json --wait 1 porch --interface wire0"),
    )
    .watchable(false)
    .expect("announced", "fail", "\"porch\"")
    .expect("interface", "fail", "wire0 is down");
}

// ---- the interface ----

#[test]
fn the_interface_is_down() {
    let Some(net) = Net::pair("the_interface_is_down") else {
        return;
    };
    net.viewer.run("ip link set wire0 down");
    let said = on_wire(&net);
    said.watchable(false)
        .expect("interface", "fail", "wire0 is down")
        .advises("interface", "ip link set wire0 up")
        .expect("membership", "fail", "wire0 is down")
        .expect("packets", "fail", "wire0 is down");
    assert!(
        said.stderr.contains("cannot be watched: wire0 is down"),
        "{}",
        said.stderr
    );
    // Not named, and nothing else there.
    doctor(&net, "")
        .watchable(false)
        .expect("interface", "warn", "only lo is left")
        .advises("interface", "wire0 (down)");
}

#[test]
fn the_cable_is_out() {
    let Some(net) = Net::pair("the_cable_is_out") else {
        return;
    };
    net.sender.run("ip link set wire0 down");
    // The kernel tells that in the background.
    wait_for("the link to go", || {
        let state = net.viewer.run("cat /sys/class/net/wire0/operstate");
        (state.trim() != "up").then_some(())
    });
    on_wire(&net)
        .watchable(false)
        .expect("interface", "fail", "no link");
}

#[test]
fn there_is_no_such_interface() {
    let Some(net) = Net::pair("there_is_no_such_interface") else {
        return;
    };
    doctor(&net, "--interface eth9").watchable(false).expect(
        "interface",
        "fail",
        "no interface \"eth9\"; this machine has lo",
    );
}

#[test]
fn the_interface_has_no_address() {
    let Some(net) = Net::pair("the_interface_has_no_address") else {
        return;
    };
    net.viewer.run("ip -4 address flush dev wire0");
    on_wire(&net)
        .watchable(false)
        .expect("address", "fail", "wire0 has no IPv4 address")
        .advises("address", "ip address add");
}

#[test]
fn the_interface_lacks_multicast() {
    let Some(net) = Net::pair("the_interface_lacks_multicast") else {
        return;
    };
    net.viewer.run("ip link set dev wire0 multicast off");
    on_wire(&net)
        .watchable(false)
        .expect("multicast", "fail", "wire0 does not carry multicast")
        .advises("multicast", "ip link set wire0 multicast on");
}

#[test]
fn there_is_no_route_to_the_group() {
    let Some(net) = Net::pair("there_is_no_route_to_the_group") else {
        return;
    };
    let _sender = sender(&net, "");
    net.viewer.run("ip route del 224.0.0.0/4");
    // lancam needs none.
    on_wire(&net)
        .watchable(true)
        .expect("route", "warn", "no route to 224.3.29.71")
        .advises("route", "ip route add 224.0.0.0/4 dev wire0");
}

#[test]
fn the_route_goes_elsewhere() {
    let Some(net) = Net::pair("the_route_goes_elsewhere") else {
        return;
    };
    let _sender = sender(&net, "");
    net.viewer.run(
        "ip link add other0 type veth peer name other1
         ip link set other0 up; ip link set other1 up
         ip address add 10.99.0.1/24 dev other0
         ip route replace 224.0.0.0/4 dev other0",
    );
    on_wire(&net)
        .watchable(true)
        .expect("route", "warn", "use other0, not wire0");
    let mut plain = as_nobody(&net, "the_route_goes_elsewhere", "").unwrap();
    Said::new(&plain.output().unwrap()).expect("packets", "fail", "the stream arrives on wire0");
    // The viewer follows the route, and hears nothing there.
    doctor(&net, "")
        .watchable(false)
        .expect("packets", "fail", "the stream arrives on wire0")
        .advises("packets", "--interface wire0");
}

// ---- between the wire and the socket ----

/// Runs what a check advises, up to its first explanation, without `sudo`.
fn obey(host: &Host, said: &Said, id: &str) {
    let advice = said.check(id)["advice"].as_str().unwrap();
    let command = advice.split("; ").next().unwrap();
    let command = command.strip_prefix("sudo ").expect("a command");
    host.run(command);
}

const INPUT: &str = "nft add table inet t
    nft 'add chain inet t input { type filter hook input priority 0; policy accept; }'";
/// What most people's firewalls do.
const DROPPING: &str = "nft add table inet t
    nft 'add chain inet t input { type filter hook input priority 0; policy drop; }'
    nft add rule inet t input iif lo accept
    nft add rule inet t input ct state established,related accept
    nft add rule inet t input tcp dport 22 accept";

#[test]
fn a_firewall_drops_the_port() {
    let test = "a_firewall_drops_the_port";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.viewer.run(&format!(
        "{INPUT}; nft add rule inet t input udp dport 10000 drop"
    ));
    // The rule alone, with nobody sending.
    on_wire(&net)
        .watchable(false)
        .expect(
            "firewall",
            "fail",
            "\"udp dport 10000 drop\" in chain input of table inet t",
        )
        .advises(
            "firewall",
            "sudo nft 'insert rule inet t input udp dport { 9875, 10000-10004 } accept'",
        )
        .advises("firewall", "gone after a restart");
    // And the proof.
    let _sender = sender(&net, "");
    let said = on_wire(&net);
    said.watchable(false)
        .expect("firewall", "fail", "reached this machine, but no program")
        .expect("firewall", "fail", "udp dport 10000 drop")
        .expect("packets", "fail", "reached this machine")
        .advises("packets", "firewall");
    // What it advises helps.
    obey(&net.viewer, &said, "firewall");
    on_wire(&net)
        .watchable(true)
        .expect("firewall", "ok", "lets the stream through");
}

#[test]
fn a_firewall_that_drops_by_default_hides_a_name_and_its_advice_shows_it() {
    let test = "a_firewall_that_drops_by_default_hides_a_name_and_its_advice_shows_it";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "--name porch --repair 0.5");
    net.viewer.run(DROPPING);
    let by_name = || {
        examine(net.viewer.lancam(&format!(
            "doctor --json --wait 2 porch --interface {INTERFACE}"
        )))
    };
    let said = by_name();
    said.watchable(false)
        .expect(
            "announced",
            "fail",
            "because the firewall drops announcements",
        )
        .expect(
            "announced",
            "fail",
            "\"policy drop\" in chain input of table inet t",
        )
        .expect("querier", "warn", "firewall drops IGMP");
    assert!(
        said.stderr
            .contains("because the firewall drops announcements"),
        "{}",
        said.stderr
    );
    obey(&net.viewer, &said, "announced");
    obey(&net.viewer, &said, "querier");
    // Announcements, packets, reports and repair, all of them.
    by_name()
        .watchable(true)
        .expect("announced", "ok", "\"porch\" is in")
        .expect("firewall", "ok", "lets the stream through")
        .expect("repair", "ok", "repair packets")
        .expect("querier", "skip", "too short to tell");
}

#[test]
fn a_firewall_lets_the_stream_in_and_drops_igmp() {
    let test = "a_firewall_lets_the_stream_in_and_drops_igmp";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "");
    let _querier = help(&net.sender, "IGMPv3 querier");
    net.viewer.run(&format!(
        "{DROPPING}; nft 'add rule inet t input udp dport {{ 9875, 10000-10004 }} accept'"
    ));
    let said = on_wire(&net);
    said.watchable(true)
        .expect("firewall", "ok", "lets the stream through")
        .expect(
            "querier",
            "warn",
            "who watches reached this machine, and its firewall dropped them (IGMP)",
        )
        .expect(
            "querier",
            "warn",
            "\"policy drop\" in chain input of table inet t",
        )
        .expect("querier", "warn", "stops the stream after some minutes");
    obey(&net.viewer, &said, "querier");
    on_wire(&net).expect("querier", "ok", "as it should (IGMPv3 queries");
    // A rule in a place that nftables' input chains do not show, for the answers.
    net.viewer.run(
        "nft add table ip out
         nft 'add chain ip out output { type filter hook output priority 0; policy accept; }'
         nft add rule ip out output meta l4proto igmp drop",
    );
    on_wire(&net).expect("querier", "warn", "chain output of table ip out");
}

#[test]
fn a_firewall_drops_mld() {
    let test = "a_firewall_drops_mld";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let _querier = help(&net.sender, "MLD querier");
    let look = || doctor(&net, "[ff15::1d47]:10000 --interface wire0");
    look().expect("querier", "ok", "MLDv2 queries");
    net.viewer.run(&format!(
        "{INPUT}; nft add rule inet t input icmpv6 type mld-listener-query drop"
    ));
    let said = look();
    said.expect("querier", "warn", "dropped them (MLD)").expect(
        "querier",
        "warn",
        "icmpv6 type mld-listener-query drop",
    );
    obey(&net.viewer, &said, "querier");
    look().expect("querier", "ok", "MLDv2 queries");
}

/// `iptables` of Debian is iptables-nft: nft shows its rules.
#[test]
fn iptables_drops_by_default() {
    let test = "iptables_drops_by_default";
    if !have(test, &["nft", "iptables-nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.viewer.run("iptables-nft -P INPUT DROP");
    let said = on_wire(&net);
    said.watchable(false)
        .expect(
            "firewall",
            "fail",
            "\"policy drop\" in chain INPUT of table ip filter",
        )
        .advises(
            "firewall",
            "sudo iptables -t filter -I INPUT -p udp -m multiport --dports 9875,10000:10004 -j ACCEPT",
        )
        .advises("firewall", "netfilter-persistent save");
    obey(&net.viewer, &said, "firewall");
    obey(&net.viewer, &said, "querier");
    let _sender = sender(&net, "");
    on_wire(&net)
        .watchable(true)
        .expect("firewall", "ok", "lets the stream through");
}

/// nft does not show its rules, but what they drop is seen.
#[test]
fn the_old_iptables_drops_by_default() {
    let test = "the_old_iptables_drops_by_default";
    if !have(test, &["iptables-legacy"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    let output = net
        .viewer
        .command("iptables-legacy")
        .args(["-P", "INPUT", "DROP"])
        .output()
        .unwrap();
    if !output.status.success() {
        skip(test, "this kernel has no iptables");
        return;
    }
    on_wire(&net).expect("firewall", "skip", "sudo iptables-legacy-save");
    let _sender = sender(&net, "");
    let _querier = help(&net.sender, "IGMPv3 querier");
    on_wire(&net)
        .watchable(false)
        .expect("firewall", "fail", "something on this machine drops them")
        .advises("firewall", "sudo iptables-legacy-save")
        .expect("querier", "warn", "its firewall dropped them");
}

#[test]
fn strict_reverse_path_filtering_and_a_route_that_goes_elsewhere() {
    let test = "strict_reverse_path_filtering_and_a_route_that_goes_elsewhere";
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "");
    net.viewer.run(
        "ip link add other0 type veth peer name other1
         ip link set other0 up; ip link set other1 up
         ip address add 10.99.0.1/24 dev other0
         ip route add 10.77.0.1/32 dev other0",
    );
    if !set(&net.viewer, test, "ipv4.conf.wire0.rp_filter", "1") {
        return;
    }
    on_wire(&net)
        .watchable(false)
        .expect("rp_filter", "fail", "strict")
        .expect(
            "rp_filter",
            "fail",
            "packets from 10.77.0.1 are dropped, because the route back goes by other0",
        )
        .advises("rp_filter", "net.ipv4.conf.wire0.rp_filter=0")
        .expect("firewall", "ok", "the reverse-path filter dropped them");
    // Loose is content with any route.
    assert!(set(&net.viewer, test, "ipv4.conf.wire0.rp_filter", "2"));
    on_wire(&net)
        .watchable(true)
        .expect("rp_filter", "ok", "loose");
}

#[test]
fn packets_are_lost_on_this_machine() {
    let test = "packets_are_lost_on_this_machine";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.sender.without_segmentation_offload();
    let _sender = sender(&net, "");
    net.viewer.run(
        "nft add table inet t
         nft 'add chain inet t input { type filter hook input priority 0; policy accept; }'
         nft add rule inet t input udp dport 10000 numgen random mod 1000 '<' 200 drop",
    );
    let said = on_wire(&net);
    said.expect("loss", "warn", " lost (")
        .advises("loss", "this machine drops them")
        .expect(
            "firewall",
            "warn",
            "% of what reached this machine was dropped here",
        )
        .expect("firewall", "warn", "udp dport 10000 numgen < 200 drop");
}

#[test]
fn packets_are_lost_on_the_way() {
    let test = "packets_are_lost_on_the_way";
    if !have(test, &["nft"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.sender.run(
        "nft add table netdev t
         nft 'add chain netdev t out { type filter hook egress device wire0 priority 0; policy accept; }'
         nft add rule netdev t out udp dport 10000 numgen random mod 1000 '<' 200 drop",
    );
    let _sender = sender(&net, "");
    on_wire(&net)
        .watchable(true)
        .expect("loss", "warn", " lost (")
        .advises("loss", "lost on the way")
        .expect("firewall", "ok", "lets the stream through");
}

#[test]
fn full_packets_are_too_large_for_the_link() {
    let test = "full_packets_are_too_large_for_the_link";
    if !have(test, &["ethtool"]) {
        return;
    }
    let Some(net) = Net::pair(test) else { return };
    net.sender.without_segmentation_offload();
    net.viewer.run("ip link set wire0 mtu 1300");
    let _sender = sender(&net, "");
    on_wire(&net)
        .watchable(false)
        .expect(
            "mtu",
            "fail",
            "only the short packets at the end of frames arrive",
        )
        .advises("mtu", "lancam send --mtu 1300")
        .expect("frames", "fail", "no whole frame");
}

#[test]
fn packets_come_in_pieces_and_are_no_rtp() {
    let Some(net) = Net::pair("packets_come_in_pieces_and_are_no_rtp") else {
        return;
    };
    let _large = help(&net.sender, "large datagrams");
    on_wire(&net)
        .watchable(false)
        .expect("mtu", "warn", "packets of 3028 bytes arrive in pieces")
        .expect("frames", "fail", "what arrives is not RTP")
        .expect("senders", "skip", "no RTP came");
}

// ---- the port and the group ----

#[test]
fn another_program_does_not_share_the_port() {
    let Some(net) = Net::pair("another_program_does_not_share_the_port") else {
        return;
    };
    let rude = help(&net.viewer, "a program that does not share");
    on_wire(&net)
        .watchable(false)
        .expect(
            "port",
            "fail",
            "UDP port 10000 is taken by \\u{1b}[2Jrude (process ",
        )
        .expect(
            "port",
            "fail",
            &format!("(process {}, 0.0.0.0:10000)", rude.pid()),
        )
        .advises("port", "stop that program");
}

#[test]
fn a_viewer_shares_the_port() {
    let Some(net) = Net::pair("a_viewer_shares_the_port") else {
        return;
    };
    let _sender = sender(&net, "");
    let command = format!("view --headless --interface {INTERFACE}");
    let mut viewer = Process::spawn("lancam view", net.viewer.lancam(&command));
    viewer.wait_until_joined(GROUP);
    on_wire(&net).watchable(true).expect(
        "port",
        "ok",
        &format!(
            "shared with lancam (process {}, 224.3.29.71:10000)",
            viewer.pid()
        ),
    );
}

#[test]
fn two_senders_are_in_the_group() {
    let Some(net) = Net::pair("two_senders_are_in_the_group") else {
        return;
    };
    // Chosen, or the second would take another.
    let _one = sender(&net, "--group 224.3.29.71:10000");
    let _other = sender(&net, "--group 224.3.29.71:10000");
    on_wire(&net)
        .watchable(true)
        .expect(
            "senders",
            "warn",
            "2 at a time, of which viewers show one: 10.77.0.1 (SSRC ",
        )
        .advises("senders", "--group");
}

#[test]
fn nobody_sends() {
    let Some(net) = Net::pair("nobody_sends") else {
        return;
    };
    let said = on_wire(&net);
    said.watchable(false)
        .expect(
            "packets",
            "fail",
            "no packet for 224.3.29.71:10000 came in 2 s",
        )
        .advises("packets", "is the sender running")
        .expect("frames", "skip", "no packets came")
        .expect("mtu", "skip", "wire0 carries packets of 1500 bytes");
    assert!(
        said.stderr.contains("cannot be watched: no packet for"),
        "{}",
        said.stderr
    );
}

#[test]
fn it_is_another_kind_of_stream() {
    let Some(net) = Net::pair("it_is_another_kind_of_stream") else {
        return;
    };
    let _other = help(&net.sender, "another RTP stream");
    on_wire(&net).watchable(false).expect(
        "frames",
        "fail",
        "RTP of payload type 96, not JPEG (26)",
    );
}

// ---- the querier ----

#[test]
fn nobody_asks_who_is_in_the_group() {
    let Some(net) = Net::pair("nobody_asks_who_is_in_the_group") else {
        return;
    };
    // Two seconds are no proof that nobody does; a silence of 130 s is judged in src/doctor.
    on_wire(&net).expect(
        "querier",
        "skip",
        "no IGMP query in 2 s, which is too short to tell: they come every 125 s (lancam doctor --wait 130",
    );
    doctor(&net, "[ff15::1d47]:10000 --interface wire0").expect(
        "querier",
        "skip",
        "no MLD query in 2 s",
    );
}

#[test]
fn a_bridge_that_snoops_and_one_that_asks() {
    let test = "a_bridge_that_snoops_and_one_that_asks";
    let Some(net) = Net::pair(test) else { return };
    let _sender = sender(&net, "");
    let bridge = "ip link add br0 type bridge mcast_snooping 1 mcast_querier 0
        ip link set wire0 master br0
        ip address flush dev wire0; ip address add 10.77.0.2/24 dev br0
        ip link set br0 up
        ip route replace 224.0.0.0/4 dev br0";
    net.viewer.run(bridge);
    wait_for("the bridge to forward", || {
        let state = net.viewer.run("cat /sys/class/net/wire0/brport/state");
        (state.trim() == "3").then_some(())
    });
    doctor(&net, "--interface br0")
        .watchable(true)
        .expect(
            "querier",
            "warn",
            "bridge br0 of this machine has IGMP snooping",
        )
        .advises("querier", "/sys/class/net/br0/bridge/multicast_querier");
    net.viewer
        .run("ip link set br0 type bridge mcast_querier 1");
    let said = doctor(&net, "--interface br0");
    let querier = said.check("querier");
    assert_eq!(querier["status"], "ok", "{querier:#}");
}

// ---- without rights ----

/// The doctor as a user without any right; `None` where tests cannot become one.
fn as_nobody(net: &Net, test: &str, more: &str) -> Option<Command> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "only root can become nobody");
        return None;
    }
    let mut command = net.viewer.command("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(env!("CARGO_BIN_EXE_lancam"))
        .args(format!("doctor --json --wait 2 224.3.29.71:10000 {more}").split_whitespace());
    Some(command)
}

#[test]
fn without_rights_it_says_what_it_could_not_see() {
    let test = "without_rights_it_says_what_it_could_not_see";
    let Some(net) = Net::pair(test) else { return };
    let Some(mut command) = as_nobody(&net, test, "--interface wire0") else {
        return;
    };
    let sent = sender(&net, "");
    let said = Said::new(&command.output().unwrap());
    let hint = said.report["hint"].as_str().unwrap();
    assert!(hint.starts_with("run with sudo to see more"), "{hint}");
    said.watchable(true)
        .expect("querier", "skip", "only root can see that")
        .expect("firewall", "ok", "lets the stream through")
        .expect("frames", "ok", "whole frames")
        .expect("ttl", "ok", "TTL 1 on arrival")
        .expect("senders", "ok", "one: 10.77.0.1");
    drop(sent);
    // An older querier is known to the kernel.
    let _querier = help(&net.sender, "IGMPv2 querier");
    let said = Said::new(&command.output().unwrap());
    said.watchable(false).expect(
        "querier",
        "ok",
        "asked who watches in the last minutes (IGMPv2)",
    );
    if have(test, &["nft"]) {
        said.expect("firewall", "skip", "only root can see that");
    }
}

#[test]
fn a_camera_that_may_not_be_opened() {
    let test = "a_camera_that_may_not_be_opened";
    let Some(net) = Net::pair(test) else { return };
    let Some(mut command) = as_nobody(&net, test, "--interface wire0") else {
        return;
    };
    // This host's own /dev.
    net.viewer.run(
        "mount -t tmpfs tmpfs /dev
         mknod -m 666 /dev/null c 1 3
         mknod -m 666 /dev/urandom c 1 9
         mknod -m 600 /dev/video0 c 81 0
         mkdir -p /dev/v4l/by-id
         ln -s ../../video0 /dev/v4l/by-id/usb-camera-video-index0",
    );
    Said::new(&command.output().unwrap())
        .expect("camera", "fail", "/dev/video0 cannot be opened")
        .advises("camera", "usermod -aG video");
    on_wire(&net).expect("camera", "skip", "none on this machine");
}

#[test]
fn a_tool_that_never_answers_is_not_waited_for() {
    let test = "a_tool_that_never_answers_is_not_waited_for";
    let Some(net) = Net::pair(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nft");
    std::fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let mut command = net
        .viewer
        .lancam("doctor --json --wait 1 224.3.29.71:10000 --interface wire0");
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    let start = Instant::now();
    examine(command).expect("firewall", "skip", "nft did not answer in 2 s");
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn wrong_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_lancam"))
        .args(["doctor", "224.3.29.71"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
