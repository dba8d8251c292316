//! The machine: who has the port, buffers, clock, cameras.

use super::super::facts::{Camera, Facts, PortUser};
use super::super::report::Check;
use super::{count, list};
use crate::net::{GroupError, ReceiveOptions};

/// Frames that a socket's buffer should hold.
const FRAMES_HELD: usize = 2;

/// Another program on the port.
pub(super) fn port(facts: &Facts) -> Check {
    const ID: &str = "port";
    let port = facts.group.port();
    let users = list(facts.port_users.iter().map(named));
    if let Err(GroupError::PortInUse { .. }) = &facts.joined {
        let who = match users.is_empty() {
            true => "a program that cannot be seen from here".to_owned(),
            false => users,
        };
        let what = format!("UDP port {port} is taken by {who}, and not shared");
        let advice = format!(
            "stop that program (sudo ss -lunp 'sport = {port}' names it), or take another port on both sides"
        );
        return Check::fail(ID, what, advice);
    }
    if let Err(GroupError::NotAllowed { cause, .. }) = &facts.joined {
        let what = format!("UDP port {port} may not be opened: {cause}");
        return Check::fail(
            ID,
            what,
            "take a port above 1023, or run with CAP_NET_BIND_SERVICE",
        );
    }
    if facts.port_users.is_empty() {
        return Check::ok(ID, format!("no other program has UDP port {port}"));
    }
    // udp(7): each of several sockets gets its copy of a multicast, one of them a unicast.
    match facts.group.ip().is_multicast() {
        true => Check::ok(
            ID,
            format!("UDP port {port} is shared with {users}: each gets the stream"),
        ),
        false => Check::warn(
            ID,
            format!("UDP port {port} is shared with {users}: only one of them gets the stream"),
            "stop the other, or take another port on both sides",
        ),
    }
}

fn named(user: &PortUser) -> String {
    match &user.process {
        Some((name, pid)) => format!("{name} (process {pid}, {})", user.address),
        None => format!("a program of another user ({})", user.address),
    }
}

/// The receive buffer against the stream's frames.
pub(super) fn rmem(facts: &Facts) -> Check {
    const ID: &str = "rmem_max";
    let Some(limits) = facts.limits else {
        return Check::skip(ID, "the kernel does not tell");
    };
    let (max, frame) = (limits.receive, facts.ears.heard.frame_bytes);
    let wanted = ReceiveOptions::DEFAULT_BUFFER.max(4 * frame);
    let advice = format!(
        "sudo sysctl -w net.core.rmem_max={wanted}; to keep it: echo net.core.rmem_max={wanted} | sudo tee /etc/sysctl.d/60-lancam.conf"
    );
    if facts.ears.overflowed > 0 {
        let n = count(facts.ears.overflowed, "packet");
        let what = format!("the socket's buffer was full, {n} lost; the limit is {max} bytes");
        return Check::warn(ID, what, advice);
    }
    if frame == 0 {
        let what = format!("{max} bytes; no frame to compare it with");
        return Check::skip(ID, what);
    }
    let held = max as f64 / frame as f64;
    let what = format!("{max} bytes hold {held:.1} frames of up to {frame} bytes");
    match max >= FRAMES_HELD * frame {
        true => Check::ok(ID, what),
        false => Check::warn(ID, format!("{what}: bursts may be lost"), advice),
    }
}

/// The send buffer, where this machine is the sender.
pub(super) fn wmem(facts: &Facts) -> Check {
    const ID: &str = "wmem_max";
    let Some(limits) = facts.limits else {
        return Check::skip(ID, "the kernel does not tell");
    };
    let (max, frame) = (limits.send, facts.ears.heard.frame_bytes);
    if frame == 0 {
        let what = format!("{max} bytes; no frame to compare it with");
        return Check::skip(ID, what);
    }
    let is_own = |ip| facts.interfaces.iter().any(|i| i.addresses.contains(&ip));
    let sends = facts.ears.heard.senders.iter().any(|s| is_own(s.from));
    let what = format!("{max} bytes, frames of up to {frame} bytes");
    if !sends {
        return Check::ok(
            ID,
            format!("{what}; it matters on the sender, which is another machine"),
        );
    }
    match max >= frame {
        true => Check::ok(ID, what),
        false => Check::warn(
            ID,
            format!("{what}: the sender waits in the middle of a frame"),
            format!("sudo sysctl -w net.core.wmem_max={}", 2 * frame),
        ),
    }
}

/// Delay is the difference of two machines' clocks.
pub(super) fn clock(facts: &Facts) -> Check {
    const ID: &str = "clock";
    match &facts.clock {
        Err(why) => Check::skip(ID, format!("the kernel does not tell: {why}")),
        Ok(state) if state.is_synchronised => Check::ok(
            ID,
            format!(
                "synchronised, off by at most {:.1} ms; the delay shown needs the sender's to be so too",
                state.max_error.as_secs_f64() * 1000.0
            ),
        ),
        Ok(_) => Check::warn(
            ID,
            "not synchronised: the delay that the viewer shows is relative, good for changes only",
            "keep time by NTP on both machines: sudo timedatectl set-ntp true, or install chrony",
        ),
    }
}

/// Each camera: may it be opened, and has it a name that stays.
pub(super) fn cameras(facts: &Facts) -> Vec<Check> {
    const ID: &str = "camera";
    match &facts.cameras {
        None => Vec::new(),
        Some(Err(why)) => vec![Check::skip(ID, why)],
        Some(Ok(all)) if all.is_empty() => {
            vec![Check::skip(ID, "none on this machine; a viewer needs none")]
        }
        Some(Ok(all)) => all.iter().map(camera).collect(),
    }
}

fn camera(camera: &Camera) -> Check {
    const ID: &str = "camera";
    let device = &camera.device;
    if let Some(problem) = &camera.problem {
        // The sentence says what to do behind its colon.
        let (what, advice) = problem
            .split_once(": ")
            .unwrap_or((problem, "lancam cameras"));
        return Check::fail(ID, what, advice);
    }
    match &camera.stable {
        Some(stable) => Check::ok(ID, format!("{device} can be opened; name it as {stable}")),
        None => Check::warn(
            ID,
            format!(
                "{device} can be opened, but has no path in /dev/v4l/by-id or by-path: after replugging it may have another number"
            ),
            "install udev, which makes these paths",
        ),
    }
}
