//! What else can stop packets between wire and socket: the reverse-path filter and their size.

use super::super::findings::{Findings, RpFilter};
use super::super::report::Check;
use super::words::sysctl_name;

/// IP and UDP headers: RFC 791 §3.1, RFC 8200 §3, RFC 768.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

pub(super) fn rp_filter(findings: &Findings) -> Check {
    const ID: &str = "rp_filter";
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    if findings.group.is_ipv6() {
        return Check::skip(ID, "IPv6 has no reverse-path filter");
    }
    let Some(filter) = findings.rp_filter else {
        return Check::skip(
            ID,
            format!(
                "/proc does not show the reverse-path filter of {}",
                interface.name
            ),
        );
    };
    let name = &interface.name;
    let state = state(filter, name);
    let wrong = findings
        .ways_back
        .iter()
        .find(|(_, way)| match filter.in_force() {
            1 => way.as_ref() != Some(name),
            2 => way.is_none(),
            _ => false,
        });
    if let Some((from, way)) = wrong {
        let way = match way {
            Some(other) => format!("goes by {other}"),
            None => "does not exist".to_owned(),
        };
        let what =
            format!("packets from {from} are dropped, because the route back {way}: {state}");
        let advice = format!(
            "route {from} by {name} (sudo ip route add {from} dev {name}), or switch the filter off: sudo sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{}.rp_filter=0",
            sysctl_name(name)
        );
        return match findings.received.arrivals.packets > 0 {
            true => Check::warn(ID, what, advice),
            false => Check::fail(ID, what, advice),
        };
    }
    Check::ok(ID, state)
}

fn state(filter: RpFilter, name: &str) -> String {
    let word = match filter.in_force() {
        0 => "off",
        1 => "strict",
        _ => "loose",
    };
    let (all, own) = (filter.all, filter.interface);
    format!("the reverse-path filter is {word} (rp_filter: all {all}, {name} {own})")
}

/// The packets' size and the interface's MTU.
pub(super) fn mtu(findings: &Findings) -> Check {
    const ID: &str = "mtu";
    let Ok(interface) = &findings.interface else {
        return Check::skip(ID, "no interface");
    };
    let (name, mtu) = (&interface.name, interface.mtu as usize);
    let arrivals = &findings.received.arrivals;
    if arrivals.packets == 0 {
        return Check::skip(
            ID,
            format!("no packets came; {name} carries packets of {mtu} bytes"),
        );
    }
    let headers = if findings.group.is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let largest = arrivals.largest + headers;
    let lost = arrivals.reception.map_or(0, |r| r.lost());
    if arrivals.whole == 0 && arrivals.only_last_packets && lost > 0 && largest <= mtu {
        let what = format!(
            "only the short packets at the end of frames arrive, of up to {largest} bytes: full ones are too large for {name} (MTU {mtu}) or for something on the way"
        );
        let advice = format!(
            "lancam send --mtu {mtu} on the sender, or the same MTU on every machine: sudo ip link set {name} mtu 1500"
        );
        return Check::fail(ID, what, advice);
    }
    let fragments = findings.wire.as_ref().map_or(0, |wire| wire.fragments);
    if largest > mtu || fragments > 0 {
        let what = format!(
            "packets of {largest} bytes arrive in pieces, and one lost piece loses the whole packet; {name} carries {mtu} (MTU)"
        );
        return Check::warn(ID, what, format!("lancam send --mtu {mtu} on the sender"));
    }
    Check::ok(
        ID,
        format!("packets of up to {largest} bytes fit; {name} carries {mtu} (MTU)"),
    )
}
