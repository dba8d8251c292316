//! Finds things out. Everything here has a time limit and changes nothing on this machine, except
//! that it joins the group while it listens.

mod child;
mod listen;
mod proc;
mod queries;
mod ruleset;
mod tap;
pub(super) mod target;

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::findings::{Chosen, Filter, Findings, Lookup, Received, Unseen, Wire};
use crate::net::{
    GroupError, Interface, Listener, Member, ReceiveOptions, ReceiveSocket, choice, host,
    interface, memberships,
};
use crate::rtp::rtcp;
use crate::view::Wanted;
use listen::Sockets;
use queries::Queries;
use tap::StreamTap;

/// How much longer than the listening parallel tasks may run.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to listen on other interfaces if nothing came.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// No UDP datagram is longer.
const LONGEST: usize = 65_536;

/// Examines everything, listening for `wait`.
pub(super) fn findings(
    wanted: &Wanted,
    lookup: Lookup,
    chosen: Chosen,
    wait: Duration,
) -> Findings {
    let group = wanted.receive.group;
    let named = wanted.receive.interface.as_deref();
    let interfaces = interface::list().unwrap_or_default();
    let interface = choice::meant(named, group, None).map_err(|e| e.to_string());
    let name = interface
        .as_ref()
        .map_or("", |i| i.name.as_str())
        .to_owned();
    let port_users = proc::port_users(group);
    let filter = beside(ruleset::read);
    #[cfg(feature = "send")]
    let cameras = beside(cameras);

    let mut heard = Listened::default();
    let joined = listen(wanted, wait, interface.as_ref().ok(), &mut heard);
    if heard.received.arrivals.packets == 0 {
        heard.received.elsewhere = elsewhere(&wanted.receive, &name, wait.min(ELSEWHERE));
    }
    let sources = sources(&heard, &interfaces);
    Findings {
        group,
        lookup,
        chosen,
        route: route(group),
        joined,
        members: heard.members,
        port_users,
        received: heard.received,
        wire: heard.wire,
        old_querier: proc::old_querier(&name).filter(|_| group.is_ipv4()),
        bridge: proc::bridge(&name),
        limits: host::buffer_limits().ok(),
        rp_filter: proc::rp_filter(&name),
        ways_back: sources.into_iter().map(|ip| (ip, way_back(ip))).collect(),
        filter: filter.recv_timeout(PATIENCE).unwrap_or(Filter {
            ruleset: Err(Unseen::Other("nft does not answer".to_owned())),
            has_legacy: false,
            has_config: false,
        }),
        clock: host::clock_state().map_err(|e| e.to_string()),
        #[cfg(feature = "send")]
        cameras: Some(
            cameras
                .recv_timeout(PATIENCE)
                .map_err(|_| "a camera's driver does not answer".to_owned()),
        ),
        #[cfg(not(feature = "send"))]
        cameras: None,
        interfaces,
        interface,
    }
}

/// What can only be seen while the group is joined.
struct Listened {
    members: Vec<Member>,
    received: Received,
    wire: Result<Wire, Unseen>,
}

impl Default for Listened {
    fn default() -> Listened {
        Listened {
            members: Vec::new(),
            received: Received::default(),
            wire: Err(Unseen::Other("not listened".to_owned())),
        }
    }
}

fn listen(
    wanted: &Wanted,
    wait: Duration,
    interface: Option<&Interface>,
    heard: &mut Listened,
) -> Result<(), GroupError> {
    let media = ReceiveSocket::open(&wanted.receive)?;
    let tap = interface.map(|interface| StreamTap::open(&wanted.receive, interface));
    let (tap, refused) = match tap {
        Some(Ok(tap)) => (Some(tap), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, Some(Unseen::Other("no interface".to_owned()))),
    };
    let mut sockets = Sockets {
        media,
        rtcp: beside_port(&wanted.receive, rtcp::PORT_OFFSET),
        repair: wanted.repair().and_then(|o| ReceiveSocket::open(&o).ok()),
        queries: interface.and_then(|i| Queries::open(wanted.receive.group.ip(), i)),
        tap,
    };
    heard.members = memberships().unwrap_or_default();
    heard.received = sockets.listen(wanted.options.clone(), wait);
    heard.wire = match (sockets.tap, refused) {
        (Some(tap), _) => Ok(tap.finish()),
        (None, why) => Err(why.unwrap_or(Unseen::NeedsRoot)),
    };
    Ok(())
}

/// Another interface on which the stream arrives.
fn elsewhere(wanted: &ReceiveOptions, interface: &str, wait: Duration) -> Option<String> {
    let group = wanted.group;
    if !group.ip().is_multicast() {
        return None;
    }
    let mut listener = Listener::open(group.port(), &[group.ip()], None, LONGEST).ok()?;
    let end = Instant::now() + wait;
    let mut found = None;
    while found.is_none() && Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let each = |by: &Interface, from: SocketAddr, _: &[u8]| {
            let is_wanted = wanted.source.is_none_or(|source| source == from.ip());
            if is_wanted && by.name != interface {
                found = Some(by.name.clone());
            }
        };
        listener.receive(left, None, each).ok()?;
    }
    found
}

fn beside_port(receive: &ReceiveOptions, offset: u16) -> Option<ReceiveSocket> {
    let mut options = receive.clone();
    options
        .group
        .set_port(receive.group.port().checked_add(offset)?);
    ReceiveSocket::open(&options).ok()
}

/// Senders on other machines.
fn sources(heard: &Listened, own: &[Interface]) -> Vec<IpAddr> {
    let arrived = heard.received.arrivals.sources.iter().map(|s| s.from);
    let seen = heard.wire.iter().flat_map(|w| w.sources.iter().copied());
    let mut all: Vec<_> = arrived
        .chain(seen)
        .filter(|ip| !own.iter().any(|i| i.addresses.contains(ip)))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn route(to: SocketAddr) -> Option<String> {
    let found = interface::by_route(to).ok().flatten();
    found.map(|interface| interface.name)
}

/// The interface by which an answer to `ip` would leave. Any port will do.
fn way_back(ip: IpAddr) -> Option<String> {
    const DISCARD: u16 = 9;
    route(SocketAddr::new(ip, DISCARD))
}

/// Runs `f` on a thread of its own, which is left behind if it takes too long.
fn beside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(f()));
    told
}

#[cfg(feature = "send")]
fn cameras() -> Vec<super::findings::Camera> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let camera = |info: crate::source::camera::CameraInfo| super::findings::Camera {
        device: text(info.device),
        stable: info.stable.map(text),
        problem: info.problem,
    };
    crate::source::camera::list()
        .into_iter()
        .map(camera)
        .collect()
}
