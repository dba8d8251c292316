//! The interface, the route to the group, and the membership.

use super::super::facts::{Chosen, Facts};
use super::super::report::Check;
use super::list;
use crate::net::Interface;
use crate::net::igmp::Member;

/// Up, with a link, and not loopback by accident.
pub(super) fn interface(facts: &Facts) -> Check {
    const ID: &str = "interface";
    let interface = match &facts.interface {
        Ok(interface) => interface,
        Err(why) => {
            return Check::fail(ID, why, "name one of this machine's with --interface");
        }
    };
    let name = &interface.name;
    if !interface.is_up {
        let advice = format!("sudo ip link set {name} up");
        return Check::fail(ID, format!("{name} is down"), advice);
    }
    if interface.is_loopback && facts.chosen == Chosen::Route && facts.group.ip().is_multicast() {
        let others: Vec<_> = facts.interfaces.iter().filter(|i| !i.is_loopback).collect();
        let advice = match others.as_slice() {
            [] => "connect this machine to a network".to_owned(),
            others => format!(
                "bring one up that reaches the sender: {}",
                list(others.iter().map(|i| state(i)))
            ),
        };
        let what = format!("only {name} can carry the group: nothing from other machines is heard");
        return Check::warn(ID, what, advice);
    }
    if !interface.is_running {
        let what = format!("{name} is up but has no link");
        return Check::fail(ID, what, "plug the cable in, or join the Wi-Fi network");
    }
    let why = match facts.chosen {
        Chosen::User => "",
        Chosen::Announcement => " (the stream is announced there)",
        Chosen::Route => " (by the routes)",
    };
    Check::ok(ID, format!("{name} is up and has a link{why}"))
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
pub(super) fn address(facts: &Facts) -> Check {
    const ID: &str = "address";
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    let name = &interface.name;
    let family = if facts.group.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    if interface.has_address_like(facts.group.ip()) {
        let own = interface.addresses.iter();
        let alike = own.filter(|a| a.is_ipv4() == facts.group.is_ipv4());
        return Check::ok(ID, format!("{name} has {}", list(alike)));
    }
    if !interface.is_up {
        return Check::skip(ID, format!("{name} is down"));
    }
    let what = format!(
        "{name} has no {family} address: its reports to switch and router carry none, and senders on it have none to send from"
    );
    let advice = match facts.group.is_ipv4() {
        true => format!(
            "let DHCP give it one, or: sudo ip address add 192.168.1.50/24 dev {name} (an address of your network)"
        ),
        false => format!(
            "switch IPv6 on: sudo sysctl -w net.ipv6.conf.{}.disable_ipv6=0",
            sysctl_name(name)
        ),
    };
    match facts.ears.heard.packets > 0 {
        true => Check::warn(ID, what, advice),
        false => Check::fail(ID, what, advice),
    }
}

/// sysctl(8): a dot that belongs to the name is written as a slash.
pub(super) fn sysctl_name(interface: &str) -> String {
    interface.replace('.', "/")
}

/// The MULTICAST flag.
pub(super) fn multicast(facts: &Facts) -> Check {
    const ID: &str = "multicast";
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    let name = &interface.name;
    if !facts.group.ip().is_multicast() {
        return Check::skip(ID, format!("{} is no group", facts.group.ip()));
    }
    if interface.is_multicast {
        return Check::ok(ID, format!("{name} has the MULTICAST flag"));
    }
    if interface.is_loopback {
        let what = format!("{name} carries groups inside this machine, without the MULTICAST flag");
        return Check::ok(ID, what);
    }
    let advice = format!("sudo ip link set {name} multicast on");
    Check::fail(ID, format!("{name} lacks the MULTICAST flag"), advice)
}

/// Where programs that name no interface go.
pub(super) fn route(facts: &Facts) -> Check {
    const ID: &str = "route";
    let Ok(interface) = &facts.interface else {
        return Check::skip(ID, "no interface");
    };
    let (ip, name) = (facts.group.ip(), &interface.name);
    let range = if ip.is_ipv4() {
        "224.0.0.0/4"
    } else {
        "ff00::/8"
    };
    let add = match ip.is_multicast() {
        true => format!("sudo ip route add {range} dev {name}"),
        false => format!("sudo ip route add {ip} dev {name}"),
    };
    match &facts.route {
        Some(route) if route == name => Check::ok(ID, format!("{ip} is routed by {name}")),
        Some(route) => Check::warn(
            ID,
            format!(
                "{ip} is routed by {route}, not by {name}: a program that names no interface uses {route}"
            ),
            format!("name the interface in every program (--interface {name}), or: {add}"),
        ),
        None if !ip.is_multicast() => Check::fail(ID, format!("there is no route to {ip}"), add),
        None => Check::warn(
            ID,
            format!(
                "there is no route to {ip}: other players and senders that name no interface fail"
            ),
            add,
        ),
    }
}

/// In the group while the doctor listens.
pub(super) fn membership(facts: &Facts) -> Check {
    const ID: &str = "membership";
    let group = facts.group.ip();
    if !group.is_multicast() {
        return Check::skip(ID, format!("{group} is no group"));
    }
    let interface = match (&facts.interface, &facts.joined) {
        (Err(_), _) => return Check::skip(ID, "no interface"),
        (Ok(_), Err(why)) => {
            let advice = "see the lines above; the group can be joined when they are right";
            return Check::fail(ID, format!("{group} is not joined: {why}"), advice);
        }
        (Ok(interface), Ok(())) => interface,
    };
    let is_ours = |m: &&Member| m.interface == interface.name && m.group == group;
    match facts.members.iter().find(is_ours) {
        Some(member) => Check::ok(ID, netstat_line(member)),
        None => Check::fail(
            ID,
            format!("the kernel does not list {group} on {}", interface.name),
            "this is a bug of the kernel or of lancam; compare with: netstat -g -n",
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
