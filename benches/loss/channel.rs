//! The network that loses packets: nftables on the viewer's host, in front of its sockets. What it
//! carried and lost is counted there too, so that no program is asked about itself.

use std::io::Write;
use std::process::Stdio;

use crate::common::net::{Net, PORT};

/// Ports of repair: lancam's, and the second that SMPTE 2022-1 needs.
pub(crate) const REPAIR: [u16; 2] = [PORT + 4, PORT + 6];
/// Packets that a burst takes in the mean.
const BURST: f64 = 5.0;
/// The unit of nftables' random numbers.
const MILLION: f64 = 1e6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Each packet by itself.
    Random,
    /// A channel that is good or bad, and loses all while it is bad.
    Bursts,
}

impl Pattern {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pattern::Random => "random",
            Pattern::Bursts => "bursts",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channel {
    /// Loss in percent of all packets, of the stream and of repair alike.
    pub(crate) percent: u32,
    pub(crate) pattern: Pattern,
}

/// What a channel has carried, in packets and in bytes from the IP header on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) packets: u64,
    media_bytes: u64,
    repair_bytes: u64,
    lost: u64,
}

impl Losses {
    pub(crate) const NONE: Losses = Losses {
        packets: 0,
        media_bytes: 0,
        repair_bytes: 0,
        lost: 0,
    };

    /// Bytes of repair for each byte of the stream.
    pub(crate) fn overhead(self) -> f64 {
        self.repair_bytes as f64 / self.media_bytes.max(1) as f64
    }

    /// The share of packets that was lost.
    pub(crate) fn share(self) -> f64 {
        self.lost as f64 / self.packets.max(1) as f64
    }
}

impl Channel {
    /// Sets the loss, and all counts to zero.
    pub(crate) fn set(self, net: &Net) {
        let loss = f64::from(self.percent) / 100.0;
        let begin = match self.pattern {
            Pattern::Random => loss,
            // Bursts begin so often that this share of packets is in one.
            Pattern::Bursts => loss / (1.0 - loss) / BURST,
        };
        let begin = (begin * MILLION).round();
        let end = (MILLION / BURST).round();
        let in_burst = match self.pattern {
            Pattern::Random => String::new(),
            // The set has one element while the channel is bad. Its size is room for what the
            // kernel has still to clear away.
            Pattern::Bursts => format!(
                "add rule ip lossy input ip protocol @bad numgen random mod {MILLION} < {end} delete @bad {{ ip protocol }} accept
                 add rule ip lossy input ip protocol @bad counter name lost drop"
            ),
        };
        let remember = match self.pattern {
            Pattern::Random => "",
            Pattern::Bursts => "add @bad { ip protocol }",
        };
        let lose = match self.percent {
            0 => String::new(),
            _ => format!(
                "{in_burst}
                 add rule ip lossy input numgen random mod {MILLION} < {begin} {remember} counter name lost drop"
            ),
        };
        let [first, second] = REPAIR;
        nft(
            net,
            &format!(
                "flush ruleset
                 add table ip lossy
                 add set ip lossy bad {{ type inet_proto; flags dynamic; size 1000000; }}
                 add counter ip lossy media
                 add counter ip lossy repair
                 add counter ip lossy lost
                 add chain ip lossy input {{ type filter hook input priority 0; }}
                 add rule ip lossy input udp dport != {{ {PORT}, {first}, {second} }} accept
                 add rule ip lossy input udp dport {PORT} counter name media
                 add rule ip lossy input udp dport != {PORT} counter name repair
                 {lose}\n"
            ),
        );
    }
}

/// What has gone through since the loss was set.
pub(crate) fn losses(net: &Net) -> Losses {
    let text = net.viewer.run("nft --json list counters");
    let json: serde_json::Value = serde_json::from_str(&text).expect("nft's JSON");
    let number = |name: &str, key: &str| {
        let all = json["nftables"].as_array().into_iter().flatten();
        let found = all.map(|o| &o["counter"]).find(|c| c["name"] == name);
        found.and_then(|c| c[key].as_u64()).expect("a counter")
    };
    Losses {
        packets: number("media", "packets") + number("repair", "packets"),
        media_bytes: number("media", "bytes"),
        repair_bytes: number("repair", "bytes"),
        lost: number("lost", "packets"),
    }
}

fn nft(net: &Net, rules: &str) {
    let mut child = net
        .viewer
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(rules.as_bytes()).expect("rules taken");
    drop(input);
    assert!(child.wait().expect("nft").success(), "{rules}");
}
