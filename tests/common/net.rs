//! Hosts on one wire: network namespaces joined by a veth pair, with the kernel's real multicast.
//!
//! A namespace belongs to a process that waits for the end of its input. That input is a pipe from
//! the test, so the namespace ends with the test, even if the test is killed. There are no names to
//! clean up. Without root the namespaces are in a user namespace of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::{skip, wait_for};

/// Where lancam sends if nothing else is said.
pub const GROUP: &str = "224.3.29.71";
pub const PORT: u16 = 10_000;
/// The interface on every host.
pub const INTERFACE: &str = "wire0";
/// What hosts are called on the wire.
pub const SENDER_IP: &str = "10.77.0.1";
pub const VIEWER_IP: &str = "10.77.0.2";
pub const VIEWER_IP6: &str = "fd77::2";

/// One host.
pub struct Host {
    holder: Child,
    /// Closed by drop, which ends the holder.
    _input: ChildStdin,
    in_user_namespace: bool,
}

impl Host {
    /// A host with nothing but loopback. `beside`: in the user namespace of that one.
    fn new(beside: Option<&Host>) -> Result<Host, String> {
        let is_root = nix::unistd::geteuid().is_root();
        // /sys shows the devices of the namespace that mounted it.
        let script = "ip link set lo up && { mount -t sysfs sysfs /sys 2>/dev/null || true; } && echo ready && exec cat";
        let mut command = match beside {
            Some(host) => host.command("unshare"),
            None => Command::new("unshare"),
        };
        if beside.is_none() && !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "sh", "-c", script]);
        let mut holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("unshare: {e}"))?;
        let input = holder.stdin.take().unwrap();
        let mut answer = String::new();
        let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut answer);
        let mut complaint = holder.stderr.take().unwrap();
        let host = Host {
            holder,
            _input: input,
            in_user_namespace: !is_root,
        };
        if answer.trim() != "ready" {
            let mut text = String::new();
            let _ = complaint.read_to_string(&mut text);
            return Err(format!("no network namespaces here: {}", text.trim()));
        }
        Ok(host)
    }

    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs on this host. Its process is the program itself: a signal reaches it.
    /// Paths must be absolute.
    pub fn command(&self, program: &str) -> Command {
        // It is killed with the test, even if that is killed itself and drops nothing.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter"]);
        command.args(["--target", &self.pid().to_string(), "--net", "--mount"]);
        if self.in_user_namespace {
            command.args(["--user", "--preserve-credentials"]);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .arg("--")
            .arg(program);
        command
    }

    /// lancam on this host, with the words of `arguments`, which are split at spaces.
    pub fn lancam(&self, arguments: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_lancam"));
        command
            .args(arguments.split_whitespace())
            .env("NO_COLOR", "1")
            .env_remove("LANCAM_LOG");
        command
    }

    /// Runs a shell command on this host and gives what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Runs `ip ARGUMENTS` on this host.
    pub fn ip(&self, arguments: &str) {
        self.run(&format!("ip {arguments}"));
    }

    /// Runs `f` in a thread on this host. Sockets that it opens stay here, whoever uses them
    /// afterwards. See [`can_enter`].
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let job = scope.spawn(|| {
                self.enter();
                f()
            });
            job.join().unwrap_or_else(|why| resume_unwind(why))
        })
    }

    /// The calling thread moves to this host.
    fn enter(&self) {
        let open = |kind| File::open(format!("/proc/{}/ns/{kind}", self.pid())).unwrap();
        setns(open("net"), CloneFlags::CLONE_NEWNET).unwrap();
        // Threads share their root, which comes with the mounts.
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(open("mnt"), CloneFlags::CLONE_NEWNS).unwrap();
    }

    /// Waits until the interface has its link: the kernel brings it up in the background, and drops
    /// packets until then.
    pub fn wait_for_link(&self) {
        let is_up = || {
            self.run(&format!("ip link show {INTERFACE}"))
                .contains("state UP")
        };
        wait_for("the link", || is_up().then_some(()));
    }

    /// Cuts packets that the sender hands over in one piece before they reach the wire, as a
    /// network card would.
    pub fn without_segmentation_offload(&self) {
        self.run(&format!(
            "ethtool -K {INTERFACE} tx-udp-segmentation off gso off >/dev/null"
        ));
    }

    /// What `netstat -g` lists, the interface and the group of each line.
    pub fn netstat_groups(&self) -> Vec<(String, String)> {
        let text = self.run("netstat -g -n");
        let fields = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields
            .filter(|f| f.len() == 3 && f[1].parse::<u32>().is_ok())
            .map(|f| (f[0].to_owned(), f[2].to_owned()))
            .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A sender's and a viewer's host on one wire.
pub struct Net {
    pub sender: Host,
    pub viewer: Host,
}

impl Net {
    /// Both hosts, with addresses and a multicast route; `None` where namespaces are not allowed.
    pub fn pair(test: &str) -> Option<Net> {
        let net = Net::unconnected(test)?;
        connect(&net.sender, &net.viewer);
        for host in [&net.sender, &net.viewer] {
            host.run(&format!("ip route add 224.0.0.0/4 dev {INTERFACE}"));
        }
        Some(net)
    }

    /// The same with another MTU.
    pub fn pair_with_mtu(test: &str, mtu: u32) -> Option<Net> {
        let net = Net::pair(test)?;
        for host in [&net.sender, &net.viewer] {
            host.run(&format!("ip link set {INTERFACE} mtu {mtu}"));
        }
        Some(net)
    }

    /// Both hosts, with nothing between them.
    pub fn unconnected(test: &str) -> Option<Net> {
        let sender = said(test, Host::new(None))?;
        let viewer = said(test, Host::new(Some(&sender)))?;
        Some(Net { sender, viewer })
    }
}

/// Lays the wire. Without "nodad" an IPv6 address cannot be used for the second that duplicate
/// detection takes.
pub fn connect(sender: &Host, viewer: &Host) {
    sender.run(&format!(
        "ip link add {INTERFACE} type veth peer name {INTERFACE} netns {}",
        viewer.pid()
    ));
    for (host, last) in [(sender, 1), (viewer, 2)] {
        host.run(&format!(
            "ip address add 10.77.0.{last}/24 dev {INTERFACE}
             ip -6 address add fd77::{last}/64 dev {INTERFACE} nodad
             ip link set {INTERFACE} addrgenmode none
             ip link set {INTERFACE} up
             ip -6 address add fe80::{last}/64 dev {INTERFACE} nodad"
        ));
    }
    sender.wait_for_link();
    viewer.wait_for_link();
}

/// A sender's host and any number of viewers' hosts on one bridge, each by a cable of its own.
pub struct Lan {
    pub sender: Host,
    pub viewers: Vec<Host>,
    _switch: Host,
}

impl Lan {
    /// The hosts with addresses and multicast routes; `None` where namespaces are not allowed.
    pub fn with_viewers(test: &str, count: usize) -> Option<Lan> {
        said(test, Lan::make(count))
    }

    fn make(count: usize) -> Result<Lan, String> {
        let switch = Host::new(None)?;
        switch.run("ip link add bridge0 type bridge && ip link set bridge0 up");
        let hosts: Result<Vec<Host>, String> =
            (0..=count).map(|_| Host::new(Some(&switch))).collect();
        let mut hosts = hosts?;
        for (n, host) in hosts.iter().enumerate() {
            switch.run(&format!(
                "ip link add port{n} type veth peer name {INTERFACE} netns {}
                 ip link set port{n} master bridge0 up",
                host.pid()
            ));
            let last = n + 1;
            host.run(&format!(
                "ip address add 10.77.0.{last}/24 dev {INTERFACE}
                 ip link set {INTERFACE} up
                 ip route add 224.0.0.0/4 dev {INTERFACE}"
            ));
        }
        let sender = hosts.remove(0);
        Ok(Lan {
            sender,
            viewers: hosts,
            _switch: switch,
        })
    }
}

/// Whether threads of the test may enter its hosts: into a user namespace, which others than root
/// need, threads cannot go.
#[must_use]
pub fn can_enter(test: &str) -> bool {
    nix::unistd::geteuid().is_root() || skip(test, "only root can enter a network namespace")
}

/// What was made; if it could not be, `test` is skipped.
fn said<T>(test: &str, made: Result<T, String>) -> Option<T> {
    made.map_err(|why| skip(test, &why)).ok()
}

/// Whether the host of process `pid` has joined `group` on anything but loopback.
pub fn is_member(pid: u32, group: &str) -> bool {
    if group.contains(':') {
        return is_member_v6(pid, group);
    }
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/net/igmp")) else {
        return false;
    };
    let group: Ipv4Addr = group.parse().unwrap();
    // The kernel prints the address in memory order.
    let wanted = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    text.lines()
        .any(|line| line.split_whitespace().next() == Some(wanted.as_str()))
}

fn is_member_v6(pid: u32, group: &str) -> bool {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/net/igmp6")) else {
        return false;
    };
    let group: std::net::Ipv6Addr = group.parse().unwrap();
    let wanted: String = group.octets().iter().map(|b| format!("{b:02x}")).collect();
    text.lines()
        .any(|line| line.split_whitespace().nth(2) == Some(wanted.as_str()))
}
