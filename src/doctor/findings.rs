//! What was found out, before it is judged. The checks read nothing else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::arrivals::Arrivals;
use super::firewall::{Direction, Kind, Packets, Ruleset, Verdict};
use crate::net::Member;
use crate::net::host::{BufferLimits, ClockState};
use crate::net::{GroupError, Interface};
use crate::rtp::{repair, rtcp, sap};

/// Everything that the checks look at.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) group: SocketAddr,
    pub(super) lookup: Lookup,
    pub(super) chosen: Chosen,
    /// All interfaces.
    pub(super) interfaces: Vec<Interface>,
    /// The one that a viewer would listen on.
    pub(super) interface: Result<Interface, String>,
    /// The one that the routing table gives for the group.
    pub(super) route: Option<String>,
    /// Whether the socket could be opened and the group joined.
    pub(super) joined: Result<(), GroupError>,
    /// Memberships while it was.
    pub(super) members: Vec<Member>,
    /// Who had the port before.
    pub(super) port_users: Vec<PortUser>,
    pub(super) received: Received,
    /// What the packet socket saw.
    pub(super) wire: Result<Wire, Unseen>,
    /// The querier's version that the kernel adapts to, if below 3 and not set by hand.
    pub(super) old_querier: Option<u8>,
    /// The bridge that the interface is, or is a port of.
    pub(super) bridge: Option<Bridge>,
    pub(super) limits: Option<BufferLimits>,
    /// Of IPv4.
    pub(super) rp_filter: Option<RpFilter>,
    /// Senders, and the interface by which answers to them would leave.
    pub(super) ways_back: Vec<(IpAddr, Option<String>)>,
    pub(super) filter: Filter,
    pub(super) clock: Result<ClockState, String>,
    /// `None`: this build cannot send.
    pub(super) cameras: Option<Result<Vec<Camera>, String>>,
}

/// What the announcements say of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The target says it all.
    NotNeeded,
    /// The stream is announced under this name.
    Found { name: String },
    /// Nothing is announced: the default group is checked.
    NothingAnnounced,
    /// No stream of this name was announced; zero: listening was impossible.
    NotFound {
        name: String,
        waited: Duration,
        /// Announcements that reached an interface but no program.
        vanished: u64,
    },
}

/// Who chose the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The user.
    User,
    /// The stream is announced there.
    Announcement,
    /// lancam, as for a viewer.
    Viewer,
}

/// What reached the sockets.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) listened: Duration,
    pub(super) arrivals: Arrivals,
    /// Packets that the kernel dropped because the socket's buffer was full.
    pub(super) overflowed: u64,
    /// Datagrams on the ports of RTCP and repair; `None`: not received.
    pub(super) rtcp: Option<u64>,
    pub(super) repair: Option<u64>,
    /// IGMP or MLD queries that came through the firewall; `None`: not received.
    pub(super) queries: Option<u64>,
    /// Another interface on which the stream arrives; checked only if nothing came.
    pub(super) elsewhere: Option<String>,
}

/// Why something could not be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unseen {
    /// This user is not allowed to.
    NeedsRoot,
    Other(String),
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unseen::NeedsRoot => f.write_str("only root can see that"),
            Unseen::Other(why) => f.write_str(why),
        }
    }
}

/// What reached the interface, before any filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    /// Packets to the group and port, and their UDP payload.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Their senders.
    pub(super) sources: Vec<IpAddr>,
    /// IP fragments.
    pub(super) fragments: u64,
    /// IGMP or MLD queries.
    pub(super) queries: Vec<Query>,
}

/// A membership query.
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
    /// Name and process, if they could be read.
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
    /// Documentation/networking/ip-sysctl.rst: "The max value from conf/{all,interface}/rp_filter
    /// is used".
    pub(super) fn in_force(self) -> u8 {
        self.all.max(self.interface)
    }
}

/// This machine's firewall.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) ruleset: Result<Ruleset, Unseen>,
    /// There are also rules of the old iptables, which nft does not show.
    pub(super) has_legacy: bool,
    /// /etc/nftables.conf exists.
    pub(super) has_config: bool,
}

impl Findings {
    /// What the rules do with the stream.
    pub(super) fn stream_verdict(&self) -> Verdict {
        self.verdict_on_port(0)
    }

    /// With a port this far above the stream's.
    fn verdict_on_port(&self, offset: u16) -> Verdict {
        let kind = Kind::Udp(self.group.port().saturating_add(offset));
        self.verdict(Direction::In, kind, self.group.ip(), self.senders())
    }

    /// With its RTCP.
    pub(super) fn rtcp_verdict(&self) -> Verdict {
        self.verdict_on_port(rtcp::PORT_OFFSET)
    }

    /// With its repair packets.
    pub(super) fn repair_verdict(&self) -> Verdict {
        self.verdict_on_port(repair::PORT_OFFSET)
    }

    /// With announcements of such streams.
    pub(super) fn announcement_verdict(&self) -> Verdict {
        match sap::group_for(self.group.ip()) {
            Some(to) => self.verdict(Direction::In, Kind::Udp(to.port()), to.ip(), Vec::new()),
            None => Verdict::Passes,
        }
    }

    /// With membership queries (RFC 3376 §4.1.12, RFC 3810 §5.1.15) and this machine's answers
    /// (§4.2.14, §5.2.14).
    pub(super) fn membership_verdict(&self) -> Verdict {
        let (query, all, report, routers) = match self.group.ip() {
            IpAddr::V4(_) => (
                Kind::Igmp(0x11),
                [224, 0, 0, 1].into(),
                Kind::Igmp(0x22),
                [224, 0, 0, 22].into(),
            ),
            IpAddr::V6(_) => (
                Kind::Icmpv6(130),
                [0xff02, 0, 0, 0, 0, 0, 0, 1].into(),
                Kind::Icmpv6(143),
                [0xff02, 0, 0, 0, 0, 0, 0, 0x16].into(),
            ),
        };
        let queriers = self
            .wire
            .iter()
            .flat_map(|w| w.queries.iter().map(|q| q.from))
            .collect();
        match self.verdict(Direction::In, query, all, queriers) {
            Verdict::Passes => self.verdict(Direction::Out, report, routers, Vec::new()),
            found => found,
        }
    }

    fn verdict(
        &self,
        direction: Direction,
        kind: Kind,
        to: IpAddr,
        sources: Vec<IpAddr>,
    ) -> Verdict {
        let (Ok(ruleset), Ok(interface)) = (&self.filter.ruleset, &self.interface) else {
            return Verdict::Passes;
        };
        ruleset.verdict(&Packets {
            direction,
            kind,
            to,
            interface: interface.name.clone(),
            sources,
        })
    }

    /// The senders on other machines.
    fn senders(&self) -> Vec<IpAddr> {
        self.ways_back.iter().map(|(ip, _)| *ip).collect()
    }
}

/// A camera of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Camera {
    pub(super) device: String,
    /// Its stable path.
    pub(super) stable: Option<String>,
    /// Why it cannot be opened.
    pub(super) problem: Option<String>,
}
