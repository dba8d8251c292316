//! Finding the facts out. Everything here has a time limit, and changes nothing on this machine but that it joins the
//! group for as long as it listens.

pub(super) mod announced;
mod child;
mod filter;
mod listen;
mod proc;
mod tap;

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::facts::{Announcement, Chosen, Ears, Facts, Filter, Wire};
use super::firewall::Traffic;
use crate::net::{GroupError, Interface, ReceiveOptions, ReceiveSocket, host, igmp, interface};
use crate::view::Wanted;
use listen::Sockets;
use tap::Tap;

/// How long what runs beside the listening may go on after it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at everything, listening for `wait`.
pub(super) fn facts(
    wanted: &Wanted,
    announcement: Announcement,
    chosen: Chosen,
    wait: Duration,
) -> Facts {
    let group = wanted.receive.group;
    let named = wanted.receive.interface.as_deref();
    let interfaces = interface::list().unwrap_or_default();
    let interface = interface::meant(named, group).map_err(|e| e.to_string());
    let name = interface
        .as_ref()
        .map_or("", |i| i.name.as_str())
        .to_owned();
    let port_users = proc::port_users(group);
    let answers = beside(move || filter::ask_all(group));
    #[cfg(feature = "send")]
    let cameras = beside(cameras);

    let mut found = Found::default();
    let joined = listen(
        wanted,
        wait,
        interface.as_ref().ok(),
        &interfaces,
        &mut found,
    );
    let Found {
        members,
        ears,
        wire,
    } = found;

    let sources = sources(&ears, &wire, &interfaces);
    let traffic = Traffic {
        to: group,
        interface: name.clone(),
        sources: sources.clone(),
    };
    Facts {
        group,
        announcement,
        chosen,
        route: route(group),
        joined,
        members,
        port_users,
        ears,
        wire,
        old_querier: proc::old_querier(&name).filter(|_| group.is_ipv4()),
        bridge: proc::bridge(&name),
        limits: host::buffer_limits().ok(),
        rp_filter: proc::rp_filter(&name),
        ways_back: sources.iter().map(|&ip| (ip, way_back(ip))).collect(),
        filter: match answers.recv_timeout(PATIENCE) {
            Ok(answers) => filter::read(answers, &traffic),
            Err(_) => Filter::default(),
        },
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
struct Found {
    members: Vec<igmp::Member>,
    ears: Ears,
    wire: Result<Wire, String>,
}

impl Default for Found {
    fn default() -> Found {
        Found {
            members: Vec::new(),
            ears: Ears::default(),
            wire: Err("not listened".to_owned()),
        }
    }
}

fn listen(
    wanted: &Wanted,
    wait: Duration,
    interface: Option<&Interface>,
    all: &[Interface],
    found: &mut Found,
) -> Result<(), GroupError> {
    let media = ReceiveSocket::open(&wanted.receive)?;
    let tap = interface.map(|interface| Tap::open(&wanted.receive, interface, all));
    let (tap, refused) = match tap {
        Some(Ok(tap)) => (Some(tap), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, Some("no interface".to_owned())),
    };
    let mut sockets = Sockets {
        media,
        // RFC 3550 §11: the next port.
        rtcp: beside_port(&wanted.receive, 1),
        repair: wanted.repair().and_then(|o| ReceiveSocket::open(&o).ok()),
        tap,
    };
    found.members = igmp::memberships().unwrap_or_default();
    found.ears = sockets.listen(wanted.options.clone(), wait);
    found.wire = match (sockets.tap, refused) {
        (Some(tap), _) => Ok(tap.finish()),
        (None, why) => Err(why.unwrap_or_default()),
    };
    Ok(())
}

fn beside_port(receive: &ReceiveOptions, offset: u16) -> Option<ReceiveSocket> {
    let mut options = receive.clone();
    options
        .group
        .set_port(receive.group.port().checked_add(offset)?);
    ReceiveSocket::open(&options).ok()
}

/// Senders on other machines.
fn sources(ears: &Ears, wire: &Result<Wire, String>, own: &[Interface]) -> Vec<IpAddr> {
    let heard = ears.heard.senders.iter().map(|s| s.from);
    let seen = wire.iter().flat_map(|w| w.sources.iter().copied());
    let mut all: Vec<_> = heard
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

/// The interface that an answer to `ip` would leave by. Any port will do.
fn way_back(ip: IpAddr) -> Option<String> {
    const DISCARD: u16 = 9;
    route(SocketAddr::new(ip, DISCARD))
}

/// Runs `f` on a thread of its own, which is left alone if it takes too long.
fn beside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(f()));
    told
}

#[cfg(feature = "send")]
fn cameras() -> Vec<super::facts::Camera> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let camera = |info: crate::source::camera::CameraInfo| super::facts::Camera {
        device: text(info.device),
        stable: info.stable.map(text),
        problem: info.problem,
    };
    crate::source::camera::list()
        .into_iter()
        .map(camera)
        .collect()
}
