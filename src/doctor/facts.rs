//! What was found out, before anybody judges it. The checks read nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::firewall::{Rules, Verdict};
use super::hearing::Heard;
use crate::net::host::{BufferLimits, ClockState};
use crate::net::igmp::Member;
use crate::net::{GroupError, Interface};

/// Everything that the checks look at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) group: SocketAddr,
    pub(super) announcement: Announcement,
    pub(super) chosen: Chosen,
    /// All interfaces.
    pub(super) interfaces: Vec<Interface>,
    /// The one that a viewer would listen on.
    pub(super) interface: Result<Interface, String>,
    /// The one that the routes have for the group.
    pub(super) route: Option<String>,
    /// Whether the socket could be opened and the group joined.
    pub(super) joined: Result<(), GroupError>,
    /// Memberships while it was.
    pub(super) members: Vec<Member>,
    /// Who had the port before.
    pub(super) port_users: Vec<PortUser>,
    pub(super) ears: Ears,
    /// What the packet socket saw; why there was none, if there was none.
    pub(super) wire: Result<Wire, String>,
    /// Version of the queriers that the kernel reckons with, where that is less than 3 and was not set by hand.
    pub(super) old_querier: Option<u8>,
    /// The bridge that the interface is, or is a port of.
    pub(super) bridge: Option<Bridge>,
    pub(super) limits: Option<BufferLimits>,
    /// Of IPv4.
    pub(super) rp_filter: Option<RpFilter>,
    /// Senders, and the interface that answers to them would leave by.
    pub(super) ways_back: Vec<(IpAddr, Option<String>)>,
    pub(super) filter: Filter,
    pub(super) clock: Result<ClockState, String>,
    /// `None`: this build does not send.
    pub(super) cameras: Option<Result<Vec<Camera>, String>>,
}

/// What was announced of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    /// The target says all.
    NotAsked,
    /// The stream, under this name.
    Heard { name: String },
    /// Nothing: the default group is looked at.
    Nothing,
    /// No stream of the name that was asked for, in this time; zero: it could not be looked for.
    Missing { name: String, waited: Duration },
}

/// Who chose the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The user.
    User,
    /// The stream is announced there.
    Announcement,
    /// The kernel's routes.
    Route,
}

/// What came to the sockets.
#[derive(Debug, Default)]
pub(super) struct Ears {
    pub(super) listened: Duration,
    pub(super) heard: Heard,
    /// Packets that the kernel threw away because the socket's buffer was full.
    pub(super) overflowed: u64,
    /// Datagrams on the ports of RTCP and repair; `None`: not listened to.
    pub(super) rtcp: Option<u64>,
    pub(super) repair: Option<u64>,
}

/// What reached the interface, before any filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    /// Packets to the group and port, and their UDP payload.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Who sent them.
    pub(super) sources: Vec<IpAddr>,
    /// Pieces of packets that were cut up on the way.
    pub(super) fragments: u64,
    /// The same group and port on other interfaces: name and packets.
    pub(super) elsewhere: BTreeMap<String, u64>,
    /// Queries of IGMP or MLD.
    pub(super) queries: Vec<Query>,
}

/// A query for members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) from: IpAddr,
    /// Of IGMP (1 to 3) or MLD (1, 2).
    pub(super) version: u8,
}

/// A socket on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortUser {
    pub(super) address: SocketAddr,
    /// Name and process, where they could be read.
    pub(super) process: Option<(String, u32)>,
}

/// A bridge's multicast settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) name: String,
    pub(super) snoops: bool,
    pub(super) queries: bool,
}

/// `net.ipv4.conf.*.rp_filter`: 0 off, 1 strict, 2 loose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RpFilter {
    pub(super) all: u8,
    pub(super) interface: u8,
}

impl RpFilter {
    /// Documentation/networking/ip-sysctl.rst: "The max value from conf/{all,interface}/rp_filter is used".
    pub(super) fn in_force(self) -> u8 {
        self.all.max(self.interface)
    }
}

/// What the packet filter's tools said.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// By tool.
    pub(super) rules: Vec<(&'static str, Rules)>,
    /// Why some could not be read.
    pub(super) unread: Vec<String>,
}

impl Filter {
    /// The worst that any of them does, with the tool.
    pub(super) fn verdict(&self) -> (Verdict, &'static str) {
        let mut worst = (Verdict::Passes, "");
        for (tool, rules) in &self.rules {
            match (rules.verdict(), &worst.0) {
                (Verdict::Drops(culprit), _) => return (Verdict::Drops(culprit), tool),
                (Verdict::MayDrop(culprit), Verdict::Passes) => {
                    worst = (Verdict::MayDrop(culprit), tool);
                }
                _ => {}
            }
        }
        worst
    }
}

/// A camera of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Camera {
    pub(super) device: String,
    /// Its path that stays the same.
    pub(super) stable: Option<String>,
    /// Why it cannot be opened.
    pub(super) problem: Option<String>,
}
