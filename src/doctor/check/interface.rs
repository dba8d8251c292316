//! The interface, the route to the group, and the membership.

use std::net::IpAddr;

use super::super::findings::{Chosen, Findings};
use super::super::report::Check;
use super::words::{list, sysctl_name};
use crate::net::Member;
use crate::net::{Interface, choice};

/// Up, with a link, and not loopback merely because no other is left.
pub(super) fn interface(findings: &Findings) -> Check {
    const ID: &str = "interface";
    let interface = match &findings.interface {
        Ok(interface) => interface,
        Err(why) => {
            return Check::fail(ID, why, "name one of them with --interface");
        }
    };
    let name = &interface.name;
    if !interface.is_up {
        let advice = format!("sudo ip link set {name} up");
        return Check::fail(ID, format!("{name} is down"), advice);
    }
    if interface.is_loopback
        && findings.chosen == Chosen::Viewer
        && findings.group.ip().is_multicast()
    {
        let others: Vec<_> = findings
            .interfaces
            .iter()
            .filter(|i| !i.is_loopback)
            .collect();
        let advice = match others.as_slice() {
            [] => "connect this machine to a network".to_owned(),
            others => format!(
                "bring up the one that reaches the sender: {}",
                list(others.iter().map(|i| state(i)))
            ),
        };
        let what = format!("only {name} is left, which leads nowhere outside this machine");
        return Check::warn(ID, what, advice);
    }
    if !interface.is_running {
        let what = format!("{name} has no link: no cable, or no Wi-Fi network joined");
        return Check::fail(ID, what, "plug the cable in, or join the Wi-Fi network");
    }
    let why = match findings.chosen {
        Chosen::User => String::new(),
        Chosen::Announcement => " (the stream is announced there)".to_owned(),
        Chosen::Viewer => others(findings, interface),
    };
    Check::ok(ID, format!("{name} is up and has a link{why}"))
}

/// Interfaces that might have been meant.
fn others(findings: &Findings, chosen: &Interface) -> String {
    let names = choice::alternatives(&findings.interfaces, chosen, findings.group);
    match list(names) {
        names if names.is_empty() => String::new(),
        names => format!("; also possible: {names} (--interface)"),
    }
}

fn state(interface: &Interface) -> String {
    let what = match (interface.is_up, interface.is_running) {
        (false, _) => "down",
        (true, false) => "no link",
        (true, true) if !interface.is_multicast => "no multicast",
        (true, true) => "up",
    };
    format!("{} ({what})", interface.name)
}

/// An address of the group's family.
pub(super) fn address(findings: &Findings) -> Check {
    const ID: &str = "address";
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    let name = &interface.name;
    let family = if findings.group.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    if interface.has_address_like(findings.group.ip()) {
        let own = interface.addresses.iter();
        let alike = own.filter(|a| a.is_ipv4() == findings.group.is_ipv4());
        return Check::ok(ID, format!("{name} has {}", list(alike)));
    }
    if !interface.is_up {
        return Check::skip(ID, format!("{name} is down"));
    }
    let what = format!(
        "{name} has no {family} address: switches and routers may ignore that it wants the stream"
    );
    let advice = match findings.group.is_ipv4() {
        true => format!(
            "let DHCP give it one, or: sudo ip address add 192.168.1.50/24 dev {name} (a free address of your network)"
        ),
        false => format!(
            "switch IPv6 on: sudo sysctl -w net.ipv6.conf.{}.disable_ipv6=0",
            sysctl_name(name)
        ),
    };
    match findings.received.arrivals.packets > 0 {
        true => Check::warn(ID, what, advice),
        false => Check::fail(ID, what, advice),
    }
}

/// The MULTICAST flag.
pub(super) fn multicast(findings: &Findings) -> Check {
    const ID: &str = "multicast";
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    let name = &interface.name;
    if !findings.group.ip().is_multicast() {
        return Check::skip(
            ID,
            format!("{} is not a multicast group", findings.group.ip()),
        );
    }
    if interface.is_multicast {
        return Check::ok(
            ID,
            format!("{name} carries multicast (it has the flag MULTICAST)"),
        );
    }
    if interface.is_loopback {
        let what = format!("{name} carries groups within this machine, without the flag MULTICAST");
        return Check::ok(ID, what);
    }
    let advice = format!("sudo ip link set {name} multicast on");
    Check::fail(
        ID,
        format!("{name} does not carry multicast (it lacks the flag MULTICAST)"),
        advice,
    )
}

/// The interface of programs that do not name one.
pub(super) fn route(findings: &Findings) -> Check {
    const ID: &str = "route";
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    let (ip, name) = (findings.group.ip(), &interface.name);
    if interface.is_loopback {
        return Check::skip(ID, format!("{name} needs no route"));
    }
    let range = match ip {
        IpAddr::V4(v4) if v4.is_multicast() => "224.0.0.0/4".to_owned(),
        IpAddr::V6(v6) if v6.is_multicast() => "ff00::/8".to_owned(),
        one => one.to_string(),
    };
    let add = format!("sudo ip route add {range} dev {name}");
    match &findings.route {
        Some(route) if route == name => Check::ok(
            ID,
            format!("programs that name no interface use {name} too ({ip} is routed by it)"),
        ),
        Some(route) => Check::warn(
            ID,
            format!(
                "programs that name no interface use {route}, not {name} ({ip} is routed by {route})"
            ),
            format!("name the interface in every program (--interface {name}), or: {add}"),
        ),
        None if !ip.is_multicast() => Check::fail(ID, format!("there is no route to {ip}"), add),
        None => Check::warn(
            ID,
            format!(
                "other players and senders that name no interface fail: there is no route to {ip}"
            ),
            add,
        ),
    }
}

/// In the group while the doctor listens.
pub(super) fn membership(findings: &Findings) -> Check {
    const ID: &str = "membership";
    let group = findings.group.ip();
    if !group.is_multicast() {
        return Check::skip(ID, format!("{group} is not a multicast group"));
    }
    let interface = match (&findings.interface, &findings.joined) {
        (Err(_), _) => return Check::skip(ID, "no interface"),
        (Ok(_), Err(why)) => {
            let advice = "see the lines above: the group can be joined once they are right";
            return Check::fail(ID, format!("{group} is not joined: {why}"), advice);
        }
        (Ok(interface), Ok(())) => interface,
    };
    let is_ours = |m: &&Member| m.interface == interface.name && m.group == group;
    match findings.members.iter().find(is_ours) {
        Some(member) => Check::ok(
            ID,
            format!(
                "this machine is in the group; netstat -g: {}",
                netstat_line(member)
            ),
        ),
        None => Check::fail(
            ID,
            format!("the kernel does not list {group} on {}", interface.name),
            "this is a bug in the kernel or in lancam; compare with: netstat -g -n",
        ),
    }
}

/// As `netstat -g` prints it: net-tools, `igmp_do_one`.
fn netstat_line(member: &Member) -> String {
    format!(
        "{:<15} {:<6} {}",
        member.interface, member.users, member.group
    )
}
