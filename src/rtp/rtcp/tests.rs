//! Sessions of many members on a simulated clock, and both ends against each other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::members::{MAX_MEMBERS, MAX_OF_HOST};
use super::sender::Sent;
use super::time::middle;
use super::viewer::Counts;
use super::wire::{Compound, MAX_NACKED};
use super::*;
use crate::clock::{Mono, Ntp};
use crate::rtp::reception::Reception;
use crate::rtp::types::{RtpTime, SeqNo, Ssrc};

/// 10 Mbit/s, a common stream.
const STREAM: f64 = 1_250_000.0;
/// A viewer's report with UDP and IP headers.
const REPORT: usize = 160;
const MS: u64 = 1_000_000;

fn at(ms: u64) -> Mono {
    Mono(ms * MS)
}

/// Each member's own.
fn host(n: usize) -> IpAddr {
    (0x0a00_0000 + n as u32).to_be_bytes().into()
}

/// A group in which everybody hears everybody at once.
struct Group {
    members: Vec<Session>,
    /// When each report was sent, and by whom.
    reports: Vec<(Mono, usize, Due)>,
}

impl Group {
    /// One sender and `viewers` that all enter at time zero.
    fn new(viewers: usize, bandwidth: f64) -> Group {
        let member = |i: usize| {
            let mut session = Session::new(Ssrc(i as u32), i as u64 + 1, at(0));
            session.set_bandwidth(bandwidth);
            session.set_sending(i == 0);
            session
        };
        Group {
            members: (0..=viewers).map(member).collect(),
            reports: Vec::new(),
        }
    }

    /// Lets time pass; `each` is called for each member every 100 ms.
    fn run(&mut self, from: u64, to: u64, mut each: impl FnMut(Mono, usize, &mut Session)) {
        for ms in (from..to).step_by(10) {
            let now = at(ms);
            for i in 0..self.members.len() {
                if ms % 100 == 0 {
                    each(now, i, &mut self.members[i]);
                }
                let Some(due) = self.members[i].poll(now) else {
                    continue;
                };
                self.members[i].sent(now, due, REPORT - 28);
                self.reports.push((now, i, due));
                for j in (0..self.members.len()).filter(|&j| j != i) {
                    let other = &mut self.members[j];
                    other.received(REPORT - 28);
                    match (due, i) {
                        (Due::Bye, _) => {
                            other.bye_received(now, Ssrc(i as u32), host(i));
                        }
                        (_, 0) => {
                            other.sender_active(now, Ssrc(0), Some(host(0)));
                        }
                        _ => {
                            other.member_active(now, Ssrc(i as u32), host(i));
                            other.receives(Ssrc(i as u32), host(i));
                        }
                    }
                }
            }
        }
    }

    /// All reports' share of the session's bandwidth from `from` to `to`.
    fn share(&self, from: u64, to: u64) -> f64 {
        let within = |at: &Mono| (at.0 / MS >= from) && (at.0 / MS < to);
        let count = self.reports.iter().filter(|(at, ..)| within(at)).count();
        count as f64 * REPORT as f64 / (STREAM * (to - from) as f64 / 1e3)
    }
}

#[test]
fn however_many_report_it_stays_within_five_percent() {
    for viewers in [1, 10, 1_000] {
        let mut group = Group::new(viewers, STREAM);
        group.run(0, 20_000, |_, _, _| {});
        let share = group.share(0, 20_000);
        assert!(share < 0.05, "{viewers} viewers: {share}");
        let mut counts = BTreeMap::new();
        for (_, i, _) in &group.reports {
            *counts.entry(*i).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), viewers + 1, "everybody reports");
        // 5 s x 0.5 to 1.5, over e - 1.5: never more often than every 2 s.
        assert!(
            counts.values().all(|&n| (2..=10).contains(&n)),
            "{counts:?}"
        );
    }
}

#[test]
fn feedback_of_a_thousand_does_not_flood_either() {
    for viewers in [1, 10, 1_000] {
        let mut group = Group::new(viewers, STREAM);
        group.run(0, 15_000, |now, i, session| {
            if i > 0 {
                session.request_feedback(now);
            }
        });
        let share = group.share(0, 15_000);
        assert!(share < 0.05, "{viewers} viewers: {share}");
        let early = group
            .reports
            .iter()
            .filter(|(.., due)| *due == Due::Feedback);
        assert!(early.count() > 0);
    }
}

#[test]
fn a_narrow_stream_spreads_its_reports() {
    // 64 kbit/s: 400 bytes a second of RTCP, of which 100 viewers have 300.
    let mut group = Group::new(100, 8_000.0);
    group.run(0, 300_000, |_, _, _| {});
    // Without the first minute, in which the group is not known yet.
    let bytes = group.reports.iter().filter(|(at, ..)| at.0 / MS > 60_000);
    let rate = bytes.count() as f64 * REPORT as f64 / 240.0;
    assert!(rate < 8_000.0 * 0.05, "{rate} bytes a second");
    assert!(rate > 8_000.0 * 0.02, "{rate} bytes a second");
}

#[test]
fn in_a_small_group_feedback_comes_at_once() {
    let mut group = Group::new(2, STREAM);
    group.run(0, 4_000, |_, _, _| {});
    let began = group.reports.len();
    group.run(4_000, 4_300, |now, i, session| {
        if now == at(4_000) && i == 1 {
            session.request_feedback(now);
        }
    });
    let (when, who, due) = group.reports[began];
    assert_eq!((who, due), (1, Due::Feedback));
    assert!(when < at(4_100), "{when:?}");
}

#[test]
fn the_first_report_takes_about_a_second() {
    for seed in 0..100 {
        let session = Session::new(Ssrc(1), seed, at(0));
        let first = session.deadline();
        assert!((at(400)..at(1_300)).contains(&first), "{first:?}");
    }
}

#[test]
fn who_falls_silent_is_gone_after_five_intervals() {
    let mut session = Session::new(Ssrc(1), 1, at(0));
    session.sender_active(at(0), Ssrc(2), None);
    session.sender_active(at(2_000), Ssrc(2), Some(host(2)));
    session.member_active(at(8_000), Ssrc(3), host(3));
    session.member_active(at(10_000), Ssrc(3), host(3));
    assert!(session.is_sender(Ssrc(2)));
    assert_eq!(session.expire(at(13_000)), []);
    // Two intervals: no sender any more, but a member.
    assert!(!session.is_sender(Ssrc(2)));
    assert_eq!(session.members(), 3);
    assert_eq!(session.expire(at(27_000)), []);
    assert_eq!(session.expire(at(27_001)), [Ssrc(2)]);
    assert_eq!(session.expire(at(35_001)), [Ssrc(3)]);
    assert_eq!(session.members(), 1);
}

/// 12,000 SSRCs that one host made up, beside three viewers on hosts of their own and one on the
/// same host.
#[test]
fn the_members_of_one_host_are_few_and_gone_soon() {
    let mut session = Session::new(Ssrc(1), 1, at(0));
    session.set_bandwidth(STREAM);
    for i in 2..5 {
        session.member_active(at(0), Ssrc(i), host(i as usize));
    }
    session.member_active(at(0), Ssrc(5), host(66));
    for i in 0..12_000 {
        session.member_active(at(1_000), Ssrc(100 + i), host(66));
    }
    for i in 2..6 {
        session.member_active(
            at(4_000),
            Ssrc(i),
            host(if i < 5 { i as usize } else { 66 }),
        );
    }
    assert_eq!(session.members(), 1 + 4 + MAX_OF_HOST - 1);
    assert_eq!(session.expire(at(16_001)).len(), MAX_OF_HOST - 1);
    assert_eq!(session.members(), 1 + 4);
}

/// RFC 3550 §8.2: who says goodbye, reports or sends under another's SSRC does so for nobody.
#[test]
fn a_member_is_its_host() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let (now, hello) = next_of(&mut viewer, 0);
    take(&mut sender, now, &hello.bytes);
    assert!(viewer.leave(at(2_000)));
    let (now, goodbye) = next_of(&mut viewer, 2_000);
    let mut left = 0;
    let stranger = address(66);
    let receive = |sender: &mut SenderSide, from, left: &mut u32| {
        let count = |f: Feedback<'_>| *left += u32::from(matches!(f, Feedback::Left { .. }));
        sender
            .receive(now, SENT, from, &goodbye.bytes, count)
            .unwrap();
    };
    receive(&mut sender, stranger, &mut left);
    assert_eq!((sender.viewers(), left), (1, 0));
    assert_eq!(sender.reports(now)[0].address, address(2));
    receive(&mut sender, address(2), &mut left);
    assert_eq!((sender.viewers(), left), (0, 1));
}

/// The feedback of a report about `highest` and `lost` by a viewer whose last sender report was
/// `last_sr`, after what was sent.
fn reported(sender: &mut SenderSide, ms: u64, sent: Sent, block: wire::ReportBlock) -> usize {
    let description = describe("desk", "");
    let datagram = Compound {
        from: Ssrc(7),
        info: None,
        block: Some(wire::ReportBlock {
            ssrc: SENDER,
            ..block
        }),
        description: &description,
        frames: None,
        nack: None,
        bye: false,
    }
    .to_bytes();
    let mut reports = 0;
    let count = |f: Feedback<'_>| reports += usize::from(matches!(f, Feedback::Report(_)));
    sender
        .receive(at(ms), sent, address(2), &datagram, count)
        .unwrap();
    reports
}

#[test]
fn a_report_must_agree_with_what_was_sent() {
    let mut sender = sender();
    // 1,000 packets a second, from number 65,000 on.
    let sent = |ms: u64| Sent {
        packets: ms,
        octets: ms,
        bytes: ms,
        highest: SeqNo(65_000).plus(ms as u16),
    };
    for ms in (1_000..=20_000).step_by(1_000) {
        sender.tick(at(ms), sent(ms), |_| {});
    }
    let (now, _) = next_of_sender(&mut sender, 20_000, sent(20_000));
    let ms = now.0 / MS + 1_000;
    let last_sr = middle(wall(now));
    let highest = |back: u32| 3 * 65_536 + 65_000 + ms as u32 - back;
    let block = |highest, lost| wire::ReportBlock {
        highest,
        lost,
        ..Default::default()
    };
    // Numbers that have not been sent, or long ago.
    assert_eq!(
        reported(&mut sender, ms, sent(ms), block(highest(0) + 1, 0)),
        0
    );
    assert_eq!(
        reported(&mut sender, ms, sent(ms), block(highest(9_000), 0)),
        0
    );
    assert_eq!(reported(&mut sender, ms, sent(ms), block(1_000, 1_000)), 0);
    assert!(sender.reports(at(ms))[0].fraction_lost.abs() < f32::EPSILON);
    // A sender report that was not sent, or was kept for longer than since.
    for (last_sr, since_last_sr) in [(last_sr + 1, 0), (last_sr, 70_000)] {
        let block = wire::ReportBlock {
            last_sr,
            since_last_sr,
            ..block(highest(10), 5)
        };
        assert_eq!(reported(&mut sender, ms, sent(ms), block), 0);
    }
    let good = wire::ReportBlock {
        last_sr,
        since_last_sr: 65_000,
        ..block(highest(10), 5)
    };
    assert_eq!(reported(&mut sender, ms, sent(ms), good), 1);
    // More received since than was sent, or more lost than that.
    let later = ms + 2_000;
    let block = |received: u32, lost| block(highest(10) + received, lost);
    let low_16_bits_agree = 65_536 + 2_000;
    for (received, lost) in [(low_16_bits_agree, 5), (2_000, 2_500)] {
        assert_eq!(
            reported(&mut sender, later, sent(later), block(received, lost)),
            0
        );
        assert_eq!(reported(&mut sender, ms, sent(ms), good), 1);
    }
    assert_eq!(
        reported(&mut sender, later, sent(later), block(2_000, 105)),
        1
    );
}

#[test]
fn when_most_leave_the_rest_report_sooner() {
    let mut session = Session::new(Ssrc(1), 1, at(0));
    session.set_bandwidth(8_000.0);
    for i in 2..1_000 {
        session.member_active(at(0), Ssrc(i), host(i as usize));
    }
    // Reports take 425 s apart in the mean, so that one is long due.
    assert_eq!(session.poll(at(2_000_000)), Some(Due::Report));
    session.sent(at(2_000_000), Due::Report, REPORT);
    let before = session.deadline();
    assert!(before > at(2_100_000), "{before:?}");
    for i in 2..1_000 {
        session.bye_received(at(2_000_000), Ssrc(i), host(i as usize));
    }
    assert!(
        session.deadline() < at(2_002_000),
        "{:?}",
        session.deadline()
    );
}

#[test]
fn a_thousand_who_leave_together_do_not_flood() {
    let mut group = Group::new(1_000, STREAM);
    group.run(0, 10_000, |_, _, _| {});
    let began = group.reports.len();
    group.run(10_000, 20_000, |now, _, session| {
        if now == at(10_000) {
            assert!(session.leave(now, REPORT - 28));
        }
    });
    let byes = &group.reports[began..];
    let in_first_second = byes.iter().filter(|(when, ..)| *when < at(11_000));
    let count = in_first_second.count();
    // 5 % of the stream are 390 goodbyes a second.
    assert!(count < 390, "{count} goodbyes in the first second");
}

#[test]
fn a_few_who_leave_say_so_at_once_and_strangers_say_nothing() {
    let mut session = Session::new(Ssrc(1), 1, at(0));
    assert!(!session.clone().leave(at(10), 100), "never reported");
    session.sent(at(1_000), Due::Report, REPORT);
    session.member_active(at(1_000), Ssrc(2), host(2));
    assert!(session.leave(at(2_000), 100));
    assert_eq!(session.poll(at(2_000)), Some(Due::Bye));
}

#[test]
fn the_table_of_members_is_bounded() {
    let mut session = Session::new(Ssrc(1), 1, at(0));
    for i in 2..(2 * MAX_MEMBERS as u32) {
        session.member_active(at(0), Ssrc(i), host(i as usize));
    }
    assert_eq!(session.members(), MAX_MEMBERS + 1);
    assert!(!session.member_active(at(0), Ssrc(u32::MAX), host(1_000_000)));
    session.bye_received(at(0), Ssrc(2), host(2));
    assert!(session.member_active(at(0), Ssrc(u32::MAX), host(1_000_000)));
}

// Both ends.

const SENDER: Ssrc = Ssrc(0xcafe);
/// So many that any number may be the newest.
const SENT: Sent = Sent {
    packets: 100_000,
    octets: 0,
    bytes: 0,
    highest: SeqNo(0),
};

fn describe(name: &str, tool: &str) -> Description {
    Description {
        cname: format!("user@{name}"),
        name: name.to_owned(),
        tool: tool.to_owned(),
    }
}

fn sender() -> SenderSide {
    SenderSide::new(SENDER, 777, describe("board", sender::TOOL), 1, at(0))
}

fn viewer(ssrc: u32) -> ViewerSide {
    ViewerSide::new(Ssrc(ssrc), describe("desk", "lancam view"), 2, at(0))
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 10_001))
}

fn wall(now: Mono) -> Ntp {
    Ntp((3_900_000_000 << 32) + (u128::from(now.0) * (1 << 32) / 1_000_000_000) as u64)
}

fn facts(expected: u64, received: u64) -> Counts {
    Counts {
        reception: Some(Reception {
            ssrc: SENDER,
            address: address(1).ip(),
            highest: expected as u32,
            expected,
            received,
            jitter: 900,
        }),
        frames: FrameReport {
            whole: 50,
            repaired: 4,
            lost: 1,
            missing: 2,
            delay: Some(123),
            ..FrameReport::default()
        },
        bytes: received * 1_400,
    }
}

/// The first datagram that the viewer has, from `ms` on, and when.
fn next_of(viewer: &mut ViewerSide, ms: u64) -> (Mono, viewer::Outgoing) {
    let mut now = at(ms);
    loop {
        if let Some((_, outgoing)) = viewer.poll(now) {
            return (now, outgoing);
        }
        now = now + Duration::from_millis(1);
        assert!(now < at(ms + 20_000), "no report");
    }
}

fn next_of_sender(sender: &mut SenderSide, ms: u64, sent: Sent) -> (Mono, Vec<u8>) {
    let mut now = at(ms);
    loop {
        if let Some((_, datagram)) = sender.poll(now, wall(now), sent) {
            return (now, datagram);
        }
        now = now + Duration::from_millis(1);
        assert!(now < at(ms + 20_000), "no report");
    }
}

fn take(sender: &mut SenderSide, now: Mono, datagram: &[u8]) -> Vec<String> {
    let mut heard = Vec::new();
    let keep = |f: Feedback<'_>| heard.push(format!("{f:?}"));
    sender
        .receive(now, SENT, address(2), datagram, keep)
        .unwrap();
    heard
}

#[test]
fn a_sender_report_maps_times_and_counts() {
    let mut sender = sender();
    let sent = Sent {
        packets: 300,
        octets: 400_000,
        bytes: 410_000,
        ..SENT
    };
    sender.tick(at(1_000), sent, |_| {});
    let (now, datagram) = next_of_sender(&mut sender, 1_000, sent);
    let items = parse(&datagram).unwrap();
    let Item::Sender { from, info } = &items[0] else {
        panic!("{items:?}");
    };
    assert_eq!((*from, info.ntp), (SENDER, wall(now)));
    assert_eq!((info.packets, info.octets), (300, 400_000));
    let time = RtpTime::from_nanos(now.0).0.wrapping_add(777);
    assert_eq!(info.time, RtpTime(time));
}

#[test]
fn a_viewer_is_known_before_it_sees_anything() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let (now, outgoing) = next_of(&mut viewer, 0);
    assert_eq!(outgoing.to, None);
    assert!(take(&mut sender, now, &outgoing.bytes).is_empty());
    assert_eq!(sender.viewers(), 1);
    let report = &sender.reports(now)[0];
    assert_eq!((report.ssrc, report.address), (7, address(2)));
    assert_eq!((&report.name[..], report.frames), ("desk", None));
}

#[test]
fn a_report_tells_loss_jitter_round_trip_and_frames() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let sent = Sent {
        packets: 900,
        octets: 1,
        bytes: 1_250_000,
        ..SENT
    };
    sender.tick(at(1_000), sent, |_| {});
    let (now, datagram) = next_of_sender(&mut sender, 1_000, sent);
    // 30 ms there.
    let there = now + Duration::from_millis(30);
    viewer
        .receive(there, address(1), &datagram, None, |_| panic!("no goodbye"))
        .unwrap();
    viewer.update(there, facts(1_000, 900));
    let (now, outgoing) = next_of(&mut viewer, 1_100);
    // 20 ms back.
    let back = now + Duration::from_millis(20);
    assert_eq!(take(&mut sender, back, &outgoing.bytes).len(), 1);
    let report = sender.reports(back).remove(0);
    assert!((report.fraction_lost - 0.1).abs() < 0.005, "{report:?}");
    assert_eq!(report.packets_lost, 100);
    assert!((report.jitter_ms - 10.0).abs() < 0.01, "{report:?}");
    let round_trip = report.round_trip_ms.unwrap();
    assert!((round_trip - 50.0).abs() < 0.1, "{report:?}");
    let frames = report.frames.unwrap();
    assert_eq!((frames.whole, frames.repaired, frames.lost), (50, 4, 1));
    assert_eq!(frames.packets_missing, 2);
    assert!((frames.delay_ms.unwrap() - 12.3).abs() < 0.01);
}

#[test]
fn loss_that_changes_is_told_at_once() {
    let mut viewer = viewer(7);
    viewer.update(at(100), facts(1_000, 1_000));
    let (first, _) = next_of(&mut viewer, 100);
    let ms = first.0 / MS;
    // Steady: nothing before the regular report.
    viewer.update(at(ms + 200), facts(2_000, 1_999));
    assert!(viewer.deadline() > at(ms + 1_500));
    viewer.update(at(ms + 400), facts(3_000, 2_900));
    let (now, outgoing) = next_of(&mut viewer, ms + 400);
    assert!(now <= at(ms + 450), "{now:?}");
    assert_eq!(outgoing.to, None);
    let items = parse(&outgoing.bytes).unwrap();
    let Item::Block { block, .. } = items[1] else {
        panic!("{items:?}");
    };
    // 100 of 2,000 since the first report.
    assert_eq!(block.fraction_lost, 12);
}

#[test]
fn packets_are_asked_for_alone_and_do_not_disturb_the_counts() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let sent = Sent {
        packets: 1,
        octets: 1,
        bytes: 1,
        ..SENT
    };
    let (now, datagram) = next_of_sender(&mut sender, 0, sent);
    viewer
        .receive(now, address(1), &datagram, None, |_| {})
        .unwrap();
    viewer.update(at(1_000), facts(1_000, 1_000));
    let (first, _) = next_of(&mut viewer, 1_500);
    let ms = first.0 / MS + 100;
    viewer.request_packets(at(ms), &[SeqNo(5), SeqNo(65_535)]);
    let (now, outgoing) = next_of(&mut viewer, ms);
    assert_eq!((now, outgoing.to), (at(ms), Some(address(1))));
    let heard = take(&mut sender, now, &outgoing.bytes);
    assert_eq!(heard.len(), 1);
    assert!(
        heard[0].contains("missing: [SeqNo(5), SeqNo(65535)]"),
        "{heard:?}"
    );
    // The next report counts from the first, not from the request.
    viewer.update(at(ms + 100), facts(1_100, 1_001));
    let (_, outgoing) = next_of(&mut viewer, ms + 100);
    let items = parse(&outgoing.bytes).unwrap();
    let Item::Block { block, .. } = items[1] else {
        panic!("{items:?}");
    };
    assert_eq!(block.fraction_lost, 253);
}

#[test]
fn a_goodbye_is_heard_at_both_ends() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let (now, hello) = next_of(&mut viewer, 0);
    take(&mut sender, now, &hello.bytes);
    assert!(viewer.leave(at(2_000)));
    let (now, goodbye) = next_of(&mut viewer, 2_000);
    assert_eq!(now, at(2_000));
    let heard = take(&mut sender, now, &goodbye.bytes);
    assert_eq!(heard, ["Left { ssrc: Ssrc(7) }"]);
    assert_eq!(sender.viewers(), 0);

    let mut viewer = self::viewer(8);
    let sent = Sent::default();
    let _ = next_of_sender(&mut sender, 0, sent);
    assert!(sender.leave(at(3_000), Sent::default()));
    let (now, goodbye) = next_of_sender(&mut sender, 3_000, sent);
    let followed = facts(1, 1).reception;
    let mut gone = Vec::new();
    let mut receive = |from| {
        viewer
            .receive(now, from, &goodbye, followed.as_ref(), |ssrc| {
                gone.push(ssrc)
            })
            .unwrap()
    };
    // A stranger's counts for nothing.
    assert_eq!((receive(address(3)), receive(address(1))), (1, 0));
    assert_eq!(gone, [SENDER]);
}

/// NACKs go where the source is, whatever a stranger sends in its name or in others'.
#[test]
fn a_strangers_sender_report_leads_no_nack_astray() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let sent = Sent {
        packets: 1,
        octets: 1,
        bytes: 1,
        ..SENT
    };
    let (now, datagram) = next_of_sender(&mut sender, 0, sent);
    let followed = facts(1_000, 1_000).reception;
    let mut receive = |from, datagram: &[u8]| {
        viewer
            .receive(now, from, datagram, followed.as_ref(), |_| {})
            .unwrap()
    };
    assert_eq!(receive(address(1), &datagram), 0);
    assert_eq!(receive(address(3), &datagram), 1);
    viewer.update(at(1_000), facts(1_000, 1_000));
    // As many others as there is room for push the source's own report out of none.
    for other in 0..20 {
        let mut datagram = datagram.clone();
        datagram[7] ^= other + 1;
        viewer
            .receive(at(1_000), address(3), &datagram, followed.as_ref(), |_| {})
            .unwrap();
    }
    let (first, _) = next_of(&mut viewer, 1_500);
    let ms = first.0 / MS + 100;
    viewer.request_packets(at(ms), &[SeqNo(5)]);
    let (_, outgoing) = next_of(&mut viewer, ms);
    assert_eq!(outgoing.to, Some(address(1)));
    assert_eq!(viewer.address_of_sender(), Some(address(1)));
}

/// Members that report nothing of the stream have no feedback to send, so none is held back for
/// them.
#[test]
fn members_that_receive_nothing_delay_no_nack() {
    let mut viewer = viewer(7);
    let followed = facts(1_000, 1_000).reception;
    for n in 0..64 {
        let report = Compound {
            from: Ssrc(1_000 + n),
            info: None,
            block: None,
            description: &describe("desk", "lancam view"),
            frames: None,
            nack: None,
            bye: false,
        };
        let from = SocketAddr::new(host(n as usize), 4_444);
        viewer
            .receive(at(500), from, &report.to_bytes(), followed.as_ref(), |_| {})
            .unwrap();
    }
    assert_eq!(viewer.members(), 65);
    viewer.update(at(1_000), facts(1_000, 1_000));
    let (first, _) = next_of(&mut viewer, 1_500);
    let mut ms = first.0 / MS;
    for _ in 0..10 {
        ms += 33;
        viewer.request_packets(at(ms), &[SeqNo(5)]);
        assert_eq!(next_of(&mut viewer, ms).0, at(ms));
    }
}

#[test]
fn a_viewer_that_was_killed_times_out() {
    let (mut sender, mut viewer) = (sender(), viewer(7));
    let (now, hello) = next_of(&mut viewer, 0);
    take(&mut sender, now, &hello.bytes);
    let mut left = Vec::new();
    let later = now + Duration::from_secs(2);
    take(&mut sender, later, &hello.bytes);
    let five_intervals = later + Duration::from_secs(25);
    sender.tick(five_intervals, Sent::default(), |f| {
        left.push(format!("{f:?}"))
    });
    assert!(left.is_empty());
    let later = five_intervals + Duration::from_millis(1);
    sender.tick(later, Sent::default(), |f| left.push(format!("{f:?}")));
    assert_eq!(left, ["Left { ssrc: Ssrc(7) }"]);
    assert_eq!(sender.viewers(), 0);
}

#[test]
fn senders_are_no_viewers() {
    let mut sender = sender();
    let mut other = SenderSide::new(Ssrc(5), 0, describe("shed", sender::TOOL), 3, at(0));
    // It has sent nothing yet: a receiver report.
    let (now, datagram) = next_of_sender(&mut other, 0, Sent::default());
    take(&mut sender, now, &datagram);
    assert_eq!(sender.viewers(), 0);
    // Its own, looped back.
    let (now, datagram) = next_of_sender(&mut sender, 2_000, Sent::default());
    take(&mut sender, now, &datagram);
    assert_eq!(sender.viewers(), 0);
}

#[test]
fn a_clock_that_was_set_makes_no_round_trip() {
    let mut sender = sender();
    let description = describe("desk", "");
    for (last_sr, since_last_sr) in [
        (0, 0),
        (1, 0),
        (u32::MAX / 3, 5),
        (middle(wall(at(9_000))), 0),
    ] {
        let datagram = Compound {
            from: Ssrc(7),
            info: None,
            block: Some(wire::ReportBlock {
                ssrc: SENDER,
                last_sr,
                since_last_sr,
                ..wire::ReportBlock::default()
            }),
            description: &description,
            frames: None,
            nack: None,
            bye: false,
        }
        .to_bytes();
        take(&mut sender, at(1_000), &datagram);
        let report = sender.reports(at(1_000)).remove(0);
        assert_eq!(report.round_trip_ms, None, "{last_sr}");
    }
}

#[test]
fn a_request_for_very_many_packets_is_cut() {
    let mut viewer = viewer(7);
    viewer.update(at(100), facts(60_000, 10));
    let (first, _) = next_of(&mut viewer, 100);
    let all: Vec<SeqNo> = (0..=u16::MAX).map(SeqNo).collect();
    let now = first + Duration::from_millis(100);
    viewer.request_packets(now, &all);
    let (_, outgoing) = next_of(&mut viewer, now.0 / MS + 1);
    let items = parse(&outgoing.bytes).unwrap();
    let Some(Item::Nack { missing, .. }) = items.last() else {
        panic!("{items:?}");
    };
    assert_eq!(missing.len(), MAX_NACKED);
    assert!(outgoing.bytes.len() < 1_200);
}

/// Packets with headers that hold and anything in them, so that both ends get to see more than the
/// first check.
fn datagram(kinds: &[(u8, u8, u8)], filling: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut filling = filling.iter().copied().cycle();
    for (i, &(kind, count, words)) in kinds.iter().enumerate() {
        let kind = if i == 0 {
            200 + kind % 2
        } else {
            200 + kind % 8
        };
        bytes.extend([0x80 | (count % 32), kind, 0, words]);
        bytes.extend(filling.by_ref().take(usize::from(words) * 4));
    }
    bytes
}

proptest::proptest! {
    #[test]
    fn no_run_of_datagrams_does_harm(
        run in proptest::collection::vec(
            (
                proptest::collection::vec(proptest::prelude::any::<(u8, u8, u8)>(), 1..6),
                // Few values, so that SSRCs meet again.
                proptest::collection::vec(0u8..4, 1..9),
                0u64..12_000,
            ),
            1..20,
        ),
    ) {
        let (mut sender, mut viewer) = (sender(), viewer(7));
        let mut now = at(0);
        for (kinds, filling, pause) in run {
            now = now + Duration::from_millis(pause);
            let datagram = datagram(&kinds, &filling);
            let _ = sender.receive(now, SENT, address(2), &datagram, |_| {});
            let _ = viewer.receive(now, address(1), &datagram, None, |_| {});
            sender.tick(now, Sent::default(), |_| {});
            viewer.update(now, facts(1_000 + pause, 900));
            while sender.poll(now, wall(now), Sent::default()).is_some() {}
            while viewer.poll(now).is_some() {}
            proptest::prop_assert!(sender.deadline() > now && viewer.deadline() > now);
            proptest::prop_assert_eq!(sender.viewers(), sender.reports(now).len());
        }
    }
}
