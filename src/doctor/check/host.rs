//! The machine: users of the port, buffers, clock, cameras.

use super::super::findings::{Camera, Findings, PortUser};
use super::super::report::Check;
use super::words::{count, list};
use crate::net::{GroupError, ReceiveOptions};

/// Frames that a socket's buffer should hold.
const FRAMES_HELD: usize = 2;

/// Other programs on the port.
pub(super) fn port(findings: &Findings) -> Check {
    const ID: &str = "port";
    let port = findings.group.port();
    let users = list(findings.port_users.iter().map(named));
    if let Err(GroupError::PortInUse { .. }) = &findings.joined {
        let who = match users.is_empty() {
            true => "a program that this user cannot see".to_owned(),
            false => users,
        };
        let what = format!("UDP port {port} is taken by {who}, which does not share it");
        let advice = format!(
            "stop that program (sudo ss -lunp 'sport = {port}' names it), or use another port on both sides"
        );
        return Check::fail(ID, what, advice);
    }
    if let Err(GroupError::NotAllowed { cause, .. }) = &findings.joined {
        let what = format!("this user may not use UDP port {port}: {cause}");
        return Check::fail(
            ID,
            what,
            "use a port above 1023, or run with CAP_NET_BIND_SERVICE",
        );
    }
    if findings.port_users.is_empty() {
        return Check::ok(ID, format!("no other program uses UDP port {port}"));
    }
    // udp(7): with several sockets, each gets a copy of a multicast datagram, but only one gets a
    // unicast datagram.
    match findings.group.ip().is_multicast() {
        true => Check::ok(
            ID,
            format!("UDP port {port} is shared with {users}: each gets the stream"),
        ),
        false => Check::warn(
            ID,
            format!("UDP port {port} is shared with {users}: only one of them gets the stream"),
            "stop the other program, or use another port on both sides",
        ),
    }
}

fn named(user: &PortUser) -> String {
    match &user.process {
        Some((name, pid)) => format!("{name} (process {pid}, {})", user.address),
        None => format!("a program of another user ({})", user.address),
    }
}

/// The receive buffer, compared with the stream's frames.
pub(super) fn rmem(findings: &Findings) -> Check {
    const ID: &str = "rmem_max";
    let Some(limits) = findings.limits else {
        return Check::skip(ID, "the kernel does not say how large buffers may be");
    };
    let (max, frame) = (limits.receive, findings.received.arrivals.frame_bytes);
    let wanted = ReceiveOptions::DEFAULT_BUFFER.max(4 * frame);
    let advice = format!(
        "sudo sysctl -w net.core.rmem_max={wanted}; to keep it: echo net.core.rmem_max={wanted} | sudo tee /etc/sysctl.d/60-lancam.conf"
    );
    if findings.received.overflowed > 0 {
        let n = count(findings.received.overflowed, "packet");
        let what =
            format!("{n} lost because the receive buffer was full (net.core.rmem_max {max} bytes)");
        return Check::warn(ID, what, advice);
    }
    if frame == 0 {
        let what = format!("no frame came to compare the buffer with ({max} bytes)");
        return Check::skip(ID, what);
    }
    let held = max as f64 / frame as f64;
    let what = format!(
        "the receive buffer holds {held:.1} frames of up to {frame} bytes (net.core.rmem_max {max})"
    );
    match max >= FRAMES_HELD * frame {
        true => Check::ok(ID, what),
        false => Check::warn(ID, format!("{what}; bursts may be lost"), advice),
    }
}

/// The send buffer, if this machine is the sender.
pub(super) fn wmem(findings: &Findings) -> Check {
    const ID: &str = "wmem_max";
    let Some(limits) = findings.limits else {
        return Check::skip(ID, "the kernel does not say how large buffers may be");
    };
    let (max, frame) = (limits.send, findings.received.arrivals.frame_bytes);
    if frame == 0 {
        let what = format!("no frame came to compare the buffer with ({max} bytes)");
        return Check::skip(ID, what);
    }
    let is_own = |ip| {
        findings
            .interfaces
            .iter()
            .any(|i| i.addresses.contains(&ip))
    };
    let sends = findings
        .received
        .arrivals
        .sources
        .iter()
        .any(|s| is_own(s.from));
    let what = format!(
        "the send buffer may have {max} bytes (net.core.wmem_max), for frames of up to {frame}"
    );
    if !sends {
        return Check::ok(
            ID,
            format!("{what}; that matters on the sender, which is another machine"),
        );
    }
    match max >= frame {
        true => Check::ok(ID, what),
        false => Check::warn(
            ID,
            format!("{what}: the sender has to wait within a frame"),
            format!("sudo sysctl -w net.core.wmem_max={}", 2 * frame),
        ),
    }
}

/// The delay that viewers show is the difference of two machines' clocks.
pub(super) fn clock(findings: &Findings) -> Check {
    const ID: &str = "clock";
    match &findings.clock {
        Err(why) => Check::skip(
            ID,
            format!("the kernel does not say whether this clock is kept: {why}"),
        ),
        Ok(state) if state.is_synchronised => Check::ok(
            ID,
            format!(
                "kept by a time service, off by at most {:.1} ms; the delay that viewers show is right if the sender's clock is kept too",
                state.max_error.as_secs_f64() * 1000.0
            ),
        ),
        Ok(_) => Check::warn(
            ID,
            "no time service keeps this clock: the delay that viewers show is wrong by a constant",
            "on both machines: sudo timedatectl set-ntp true (NTP), or install chrony",
        ),
    }
}

/// For each camera: whether it can be opened and has a stable path.
pub(super) fn cameras(findings: &Findings) -> Vec<Check> {
    const ID: &str = "camera";
    match &findings.cameras {
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
        // What to do stands after the colon.
        let (what, advice) = problem
            .split_once(": ")
            .unwrap_or((problem, "lancam cameras"));
        return Check::fail(ID, what, advice);
    }
    match &camera.stable {
        Some(stable) => Check::ok(
            ID,
            format!("{device} works; use {stable}, which stays the same"),
        ),
        None => Check::warn(
            ID,
            format!(
                "{device} works, but may get another number after it was unplugged: it has no path in /dev/v4l/by-id or by-path"
            ),
            "install udev, which makes such paths",
        ),
    }
}
