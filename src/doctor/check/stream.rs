//! What came of the stream.

use super::super::facts::{Announcement, Facts};
use super::super::hearing::{Heard, Sender};
use super::super::report::Check;
use super::{count, list, nothing_came, way};
use crate::net::Link;

/// The name and where it leads; `None`: the target needs none.
pub(super) fn announced(facts: &Facts) -> Option<Check> {
    const ID: &str = "announced";
    let group = facts.group;
    match &facts.announcement {
        Announcement::NotAsked => None,
        Announcement::Heard { name } => Some(Check::ok(ID, format!("{name:?}, in {group}"))),
        Announcement::Nothing if facts.ears.heard.packets > 0 => Some(Check::skip(
            ID,
            format!("not asked for: packets come to {group}, the default"),
        )),
        Announcement::Nothing => Some(Check::skip(
            ID,
            format!("no stream is announced: {group}, the default, is looked at"),
        )),
        Announcement::Missing { name, waited } if waited.is_zero() => Some(Check::fail(
            ID,
            format!("{name:?} was not looked for, because nothing can be heard"),
            "see the lines below",
        )),
        Announcement::Missing { name, waited } => Some(Check::fail(
            ID,
            format!(
                "no stream called {name:?} in {} s: {group}, the default, is looked at instead",
                waited.as_secs()
            ),
            "lancam list shows what is announced; give its group and port, if you know them",
        )),
    }
}

/// Packets at all, and how many.
pub(super) fn packets(facts: &Facts) -> Check {
    const ID: &str = "packets";
    let group = facts.group;
    if let Err(why) = &facts.joined {
        let advice = "see the lines above";
        return Check::fail(ID, format!("not listened to {group}: {why}"), advice);
    }
    let heard = &facts.ears.heard;
    if heard.packets > 0 {
        let seconds = heard.packets_for.as_secs_f64().max(0.001);
        let rate = heard.packets as f64 / seconds;
        let mbit = heard.bytes as f64 * 8e-6 / seconds;
        // A single packet has no rate.
        return Check::ok(
            ID,
            match heard.packets {
                1 => "1 packet".to_owned(),
                n => format!("{n} packets: {rate:.0} a second, {mbit:.1} Mbit/s"),
            },
        );
    }
    let seconds = facts.ears.listened.as_secs();
    let what = format!("no packet for {group} came in {seconds} s");
    if let Some(wire) = way::vanished(facts) {
        let seen = count(wire.packets, "packet");
        let what = format!("{what}, though {seen} reached the interface");
        return Check::fail(ID, what, "see firewall and rp_filter above");
    }
    let elsewhere = facts.wire.as_ref().ok().map(|w| &w.elsewhere);
    if let Some((name, _)) = elsewhere.and_then(|all| all.iter().max_by_key(|(_, n)| **n)) {
        let what = format!("{what}; they come in by {name}");
        return Check::fail(ID, what, format!("listen there: --interface {name}"));
    }
    let advice = match group.ip().is_multicast() {
        true => {
            "is the sender running, in this network, with this group and port (lancam send -v says by which interface)? Wi-Fi: does the access point let multicast through, without client isolation? A router between needs --ttl on the sender and multicast routing"
        }
        false => "is the sender running, and sending to this address and port?",
    };
    Check::fail(ID, what, advice)
}

/// Whether pictures can be made of them.
pub(super) fn frames(facts: &Facts) -> Check {
    const ID: &str = "frames";
    if let Some(skip) = nothing_came(facts, ID) {
        return skip;
    }
    let heard = &facts.ears.heard;
    if heard.whole > 0 {
        let rate = heard
            .fps()
            .map_or_else(String::new, |fps| format!(", {fps:.1} a second"));
        return Check::ok(ID, format!("{}{rate}", count(heard.whole, "whole frame")));
    }
    if let Some(what) = no_jpeg(heard) {
        let advice = "this is another program's stream: give lancam another group or port, or the stream's .sdp file if it is JPEG";
        return Check::fail(ID, what, advice);
    }
    let lost = count(heard.counters.frames_lost, "frame");
    let what = format!("no whole frame: {lost} given up for lost packets");
    let advice = "see loss, mtu and rmem_max below; if few packets came, --wait longer";
    Check::fail(ID, what, advice)
}

/// What the packets are, if none is of a JPEG stream.
fn no_jpeg(heard: &Heard) -> Option<String> {
    if heard.counters.packets_received > 0 {
        return None;
    }
    Some(match heard.no_rtp == heard.packets {
        true => "what comes is no RTP".to_owned(),
        false => format!(
            "what comes is RTP of payload type {}, no JPEG (26)",
            list(&heard.payload_types)
        ),
    })
}

pub(super) fn loss(facts: &Facts) -> Check {
    const ID: &str = "loss";
    if let Some(skip) = nothing_came(facts, ID) {
        return skip;
    }
    let heard = &facts.ears.heard;
    let Some(reception) = heard.reception else {
        return Check::skip(ID, "no RTP/JPEG came");
    };
    let (lost, expected) = (reception.lost(), reception.expected);
    if lost == 0 {
        return Check::ok(ID, format!("none of {} lost", count(expected, "packet")));
    }
    let share = 100.0 * lost as f64 / expected.max(1) as f64;
    let what = format!(
        "{lost} of {} lost ({share:.1} %), {} given up",
        count(expected, "packet"),
        count(heard.counters.frames_lost, "frame")
    );
    let wireless = facts
        .interface
        .as_ref()
        .is_ok_and(|i| i.link == Link::Wireless);
    let advice = if facts.ears.overflowed > 0 {
        "the socket's buffer was full: see rmem_max below"
    } else if way::dropped_here(facts).is_some() {
        "this machine drops them: see firewall above"
    } else if wireless {
        "Wi-Fi sends multicast slowly and never repeats it: --repair 0.3 on the sender, a higher multicast rate in the access point, or a cable"
    } else {
        "they are lost on the way: lancam send --pacing 0.8 spreads bursts, --repair 0.2 lets viewers rebuild what is lost; look for a slow link or a full switch"
    };
    Check::warn(ID, what, advice)
}

/// RFC 3550 §6.4.1.
pub(super) fn jitter(facts: &Facts) -> Check {
    const ID: &str = "jitter";
    if let Some(skip) = nothing_came(facts, ID) {
        return skip;
    }
    let Some(reception) = facts.ears.heard.reception else {
        return Check::skip(ID, "no RTP/JPEG came");
    };
    let jitter = f64::from(reception.jitter) / 90.0;
    let fps = facts.ears.heard.fps();
    let interval = fps.map(|fps| 1000.0 / fps);
    let what = format!("{jitter:.1} ms");
    match interval.filter(|&ms| jitter > ms) {
        Some(ms) => Check::warn(
            ID,
            format!("{what}, more than a frame lasts ({ms:.1} ms): pictures come unevenly"),
            "look for Wi-Fi power saving, a busy network or a sender that is short of CPU",
        ),
        None => Check::ok(ID, what),
    }
}

pub(super) fn ttl(facts: &Facts) -> Check {
    const ID: &str = "ttl";
    if let Some(skip) = nothing_came(facts, ID) {
        return skip;
    }
    let word = if facts.group.is_ipv4() {
        "TTL"
    } else {
        "hop limit"
    };
    let Some((least, most)) = facts.ears.heard.ttl else {
        return Check::skip(ID, format!("the kernel does not tell the {word}"));
    };
    let value = match least == most {
        true => format!("{word} {least}"),
        false => format!("{word} {least} to {most}"),
    };
    let meaning = match (least, facts.group.ip().is_multicast()) {
        (_, false) => "on arrival",
        (0, true) => "on arrival: the stream does not leave its machine",
        (1, true) => "on arrival: no router passes the stream on from here",
        (_, true) => "on arrival: a multicast router would pass the stream on",
    };
    Check::ok(ID, format!("{value} {meaning}"))
}

pub(super) fn senders(facts: &Facts) -> Check {
    const ID: &str = "senders";
    if let Some(skip) = nothing_came(facts, ID) {
        return skip;
    }
    let senders = &facts.ears.heard.senders;
    match senders.as_slice() {
        [] => Check::skip(ID, "no RTP came"),
        [one] => Check::ok(ID, format!("one: {}", named(one))),
        several if follow_each_other(several) => Check::ok(
            ID,
            format!("one after the other: {}", list(several.iter().map(named))),
        ),
        several => Check::warn(
            ID,
            format!(
                "{} at a time: {}; viewers show one of them",
                several.len(),
                list(several.iter().map(named))
            ),
            "stop one, or give it a group or port of its own: --group 224.3.29.72:10000",
        ),
    }
}

fn named(sender: &Sender) -> String {
    format!("{} (SSRC {:08x})", sender.from, sender.ssrc.0)
}

/// A sender that began again has another SSRC.
fn follow_each_other(senders: &[Sender]) -> bool {
    let mut sorted: Vec<_> = senders.iter().collect();
    sorted.sort_by_key(|s| s.first);
    sorted.windows(2).all(|w| w[0].last < w[1].first)
}

/// The port above the stream's. RFC 3550 §11.
pub(super) fn rtcp(facts: &Facts) -> Check {
    const ID: &str = "rtcp";
    match facts.ears.rtcp {
        None => Check::skip(ID, "not listened"),
        Some(0) => Check::skip(
            ID,
            "none came; senders that send it do so every few seconds",
        ),
        Some(n) => Check::ok(ID, count(n, "packet")),
    }
}

/// lancam's own, beside the stream.
pub(super) fn repair(facts: &Facts) -> Check {
    const ID: &str = "repair";
    match facts.ears.repair {
        None => Check::skip(ID, "not listened"),
        Some(0) => Check::skip(
            ID,
            "none came: the sender sends none (--repair), or something drops its port",
        ),
        Some(n) => Check::ok(ID, count(n, "repair packet")),
    }
}
