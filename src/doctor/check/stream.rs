//! The stream itself: announcement, packets, frames, and the packets beside it.

use super::super::arrivals::{Arrivals, Source};
use super::super::findings::{Findings, Lookup};
use super::super::firewall::Verdict;
use super::super::report::Check;
use super::firewall::{described, dropped_here, let_stream_in, vanished};
use super::words::{count, list, nothing_came};
use crate::net::Link;
use crate::rtp::sap;

/// The name and its group; `None`: the target gives the group itself.
pub(super) fn announced(findings: &Findings) -> Option<Check> {
    const ID: &str = "announced";
    let group = findings.group;
    match &findings.lookup {
        Lookup::NotNeeded => None,
        Lookup::Found { name } => Some(Check::ok(ID, format!("{name:?} is in {group}"))),
        Lookup::NotFound { name, waited, .. } if waited.is_zero() => Some(Check::fail(
            ID,
            format!("{name:?} was not looked for, because nothing can be heard"),
            "see the lines below",
        )),
        Lookup::NotFound {
            name,
            waited,
            vanished,
        } => {
            let seconds = waited.as_secs();
            let what = format!("{name:?} was not announced in {seconds} s");
            Some(announcements_dropped(findings, &what, *vanished).unwrap_or_else(|| {
                Check::fail(
                    ID,
                    format!("{what}; {group}, the default group, is checked instead"),
                    "lancam list shows what is announced; or give the stream's group and port, if you know them",
                )
            }))
        }
        Lookup::NothingAnnounced if findings.received.arrivals.packets > 0 => Some(Check::skip(
            ID,
            format!("no name was needed: packets come to {group}, the default group"),
        )),
        Lookup::NothingAnnounced => Some(Check::skip(
            ID,
            format!("no stream is announced; {group}, the default group, is checked"),
        )),
    }
}

/// Whether the firewall is why a name was not found.
fn announcements_dropped(findings: &Findings, what: &str, vanished: u64) -> Option<Check> {
    const ID: &str = "announced";
    let port = sap::PORT;
    let what = match vanished {
        0 => format!("{what}, because the firewall drops announcements (UDP port {port})"),
        n => format!(
            "{what}, because the firewall drops announcements: {} reached this machine (UDP port {port})",
            count(n, "packet")
        ),
    };
    match findings.announcement_verdict() {
        Verdict::Drops(culprit) => {
            let what = format!("{what}: {}", described(&culprit));
            Some(Check::fail(ID, what, let_stream_in(findings, &culprit)))
        }
        Verdict::MayDrop(culprit) if vanished > 0 => {
            let what = format!("{what}: {}", described(&culprit));
            Some(Check::fail(ID, what, let_stream_in(findings, &culprit)))
        }
        _ if vanished > 0 => Some(Check::fail(ID, what, super::firewall::LOOK)),
        _ => None,
    }
}

/// Whether packets arrive, and how many.
pub(super) fn packets(findings: &Findings) -> Check {
    const ID: &str = "packets";
    let group = findings.group;
    if let Err(why) = &findings.joined {
        let what = format!("{group} cannot be listened to: {why}");
        return Check::fail(
            ID,
            what,
            elsewhere(findings).unwrap_or("see the lines above".to_owned()),
        );
    }
    let arrivals = &findings.received.arrivals;
    if arrivals.packets > 0 {
        let seconds = arrivals.packets_for.as_secs_f64().max(0.001);
        let rate = arrivals.packets as f64 / seconds;
        let mbit = arrivals.bytes as f64 * 8e-6 / seconds;
        // A single packet has no rate.
        return Check::ok(
            ID,
            match arrivals.packets {
                1 => "1 packet".to_owned(),
                n => format!("{n} packets: {rate:.0} a second, {mbit:.1} Mbit/s"),
            },
        );
    }
    let seconds = findings.received.listened.as_secs();
    let what = format!("no packet for {group} came in {seconds} s");
    if let Some(wire) = vanished(findings) {
        let what = format!(
            "{what}, though {} reached this machine",
            count(wire.packets, "packet")
        );
        return Check::fail(ID, what, "see firewall and rp_filter above");
    }
    if let Some(advice) = elsewhere(findings) {
        let name = findings.received.elsewhere.as_deref().unwrap_or_default();
        return Check::fail(
            ID,
            format!("{what}, but the stream arrives on {name}"),
            advice,
        );
    }
    let advice = match group.ip().is_multicast() {
        true => {
            "is the sender running, on this network, with this group and port (lancam send -v says on which interface)? Wi-Fi: does the access point let multicast through, without client isolation? A router in between needs --ttl on the sender, and multicast routing"
        }
        false => "is the sender running, and sending to this address and port?",
    };
    Check::fail(ID, what, advice)
}

/// The interface where the stream arrives instead.
fn elsewhere(findings: &Findings) -> Option<String> {
    let name = findings.received.elsewhere.as_ref()?;
    Some(format!(
        "the stream arrives on {name}; listen there: --interface {name}"
    ))
}

/// Whether they make pictures.
pub(super) fn frames(findings: &Findings) -> Check {
    const ID: &str = "frames";
    if let Some(skip) = nothing_came(findings, ID) {
        return skip;
    }
    let arrivals = &findings.received.arrivals;
    if arrivals.whole > 0 {
        let rate = arrivals
            .fps()
            .map_or_else(String::new, |fps| format!(", {fps:.1} a second"));
        return Check::ok(
            ID,
            format!("{}{rate}", count(arrivals.whole, "whole frame")),
        );
    }
    if let Some(what) = not_jpeg(arrivals) {
        let advice = "another program sends here: use another group or port for lancam, or give the stream's .sdp file if it is JPEG";
        return Check::fail(ID, what, advice);
    }
    let lost = count(arrivals.counters.frames_lost, "frame");
    let what = format!("no whole frame arrived; {lost} were incomplete");
    let advice = "see loss, mtu and rmem_max below; if few packets came, --wait longer";
    Check::fail(ID, what, advice)
}

/// What the packets are, if they are not a JPEG stream's.
fn not_jpeg(arrivals: &Arrivals) -> Option<String> {
    if arrivals.counters.packets_received > 0 {
        return None;
    }
    Some(match arrivals.not_rtp == arrivals.packets {
        true => "what arrives is not RTP".to_owned(),
        false => format!(
            "what arrives is RTP of payload type {}, not JPEG (26)",
            list(&arrivals.payload_types)
        ),
    })
}

pub(super) fn loss(findings: &Findings) -> Check {
    const ID: &str = "loss";
    if let Some(skip) = nothing_came(findings, ID) {
        return skip;
    }
    let arrivals = &findings.received.arrivals;
    let Some(reception) = arrivals.reception else {
        return Check::skip(ID, "no RTP/JPEG came");
    };
    let (lost, expected) = (reception.lost(), reception.expected);
    if lost == 0 {
        return Check::ok(ID, format!("none of {} lost", count(expected, "packet")));
    }
    let share = 100.0 * lost as f64 / expected.max(1) as f64;
    let what = format!(
        "{lost} of {} lost ({share:.1} %), and {} with them",
        count(expected, "packet"),
        count(arrivals.counters.frames_lost, "frame")
    );
    let wireless = findings
        .interface
        .as_ref()
        .is_ok_and(|i| i.link == Link::Wireless);
    let advice = if findings.received.overflowed > 0 {
        "the receive buffer was full: see rmem_max below"
    } else if dropped_here(findings).is_some() {
        "this machine drops them: see firewall above"
    } else if wireless {
        "Wi-Fi sends multicast slowly and never repeats it: use --repair auto on the sender, a higher multicast rate in the access point, or a cable"
    } else {
        "they are lost on the way: look for a slow link or a full switch; lancam send --pacing 0.8 spreads bursts, --repair auto lets viewers rebuild what is lost"
    };
    Check::warn(ID, what, advice)
}

/// RFC 3550 §6.4.1.
pub(super) fn jitter(findings: &Findings) -> Check {
    const ID: &str = "jitter";
    if let Some(skip) = nothing_came(findings, ID) {
        return skip;
    }
    let Some(reception) = findings.received.arrivals.reception else {
        return Check::skip(ID, "no RTP/JPEG came");
    };
    let jitter = f64::from(reception.jitter) / 90.0;
    let fps = findings.received.arrivals.fps();
    let interval = fps.map(|fps| 1000.0 / fps);
    let what = format!("packets arrive within {jitter:.1} ms of their time (jitter)");
    match interval.filter(|&ms| jitter > ms) {
        Some(ms) => Check::warn(
            ID,
            format!("{what}, more than a frame lasts ({ms:.1} ms): the picture stutters"),
            "look for Wi-Fi power saving, a busy network or a sender short of CPU",
        ),
        None => Check::ok(ID, what),
    }
}

pub(super) fn ttl(findings: &Findings) -> Check {
    const ID: &str = "ttl";
    if let Some(skip) = nothing_came(findings, ID) {
        return skip;
    }
    let word = if findings.group.is_ipv4() {
        "TTL"
    } else {
        "hop limit"
    };
    let Some((least, most)) = findings.received.arrivals.ttl else {
        return Check::skip(ID, format!("the kernel does not say the {word}"));
    };
    let value = match least == most {
        true => format!("{word} {least}"),
        false => format!("{word} {least} to {most}"),
    };
    let meaning = match (least, findings.group.ip().is_multicast()) {
        (_, false) => "packets may cross routers",
        (0, true) => "the stream stays on its machine",
        (1, true) => "the stream stays on this network",
        (_, true) => "a multicast router would pass the stream on",
    };
    Check::ok(ID, format!("{meaning} ({value} on arrival)"))
}

pub(super) fn senders(findings: &Findings) -> Check {
    const ID: &str = "senders";
    if let Some(skip) = nothing_came(findings, ID) {
        return skip;
    }
    let sources = &findings.received.arrivals.sources;
    match sources.as_slice() {
        [] => Check::skip(ID, "no RTP came"),
        [one] => Check::ok(ID, format!("one: {}", named(one))),
        several if follow_each_other(several) => Check::ok(
            ID,
            format!("one after the other: {}", list(several.iter().map(named))),
        ),
        several => Check::warn(
            ID,
            format!(
                "{} at a time, of which viewers show one: {}",
                several.len(),
                list(several.iter().map(named))
            ),
            "stop one, or give it its own group or port: --group 224.3.29.72:10000",
        ),
    }
}

fn named(source: &Source) -> String {
    format!("{} (SSRC {:08x})", source.from, source.ssrc.0)
}

/// A restarted sender has another SSRC.
fn follow_each_other(sources: &[Source]) -> bool {
    let mut sorted: Vec<_> = sources.iter().collect();
    sorted.sort_by_key(|s| s.first);
    sorted.windows(2).all(|w| w[0].last < w[1].first)
}

/// Reports beside the stream. RFC 3550 §11.
pub(super) fn rtcp(findings: &Findings) -> Check {
    const ID: &str = "rtcp";
    match findings.received.rtcp {
        None => Check::skip(ID, "not listened"),
        Some(0) => Check::skip(
            ID,
            "none came; senders that send RTCP do so every few seconds",
        ),
        Some(n) => Check::ok(ID, count(n, "packet")),
    }
}

/// lancam's own packets beside the stream.
pub(super) fn repair(findings: &Findings) -> Check {
    const ID: &str = "repair";
    match findings.received.repair {
        None => Check::skip(ID, "not listened"),
        Some(0) => Check::skip(
            ID,
            "none came: the sender sends none (--repair), or something drops its port",
        ),
        Some(n) => Check::ok(ID, count(n, "repair packet")),
    }
}
