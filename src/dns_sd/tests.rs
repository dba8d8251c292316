//! Two responders and a directory on one link, without a network.

use std::net::{IpAddr, SocketAddr};

use simple_dns::{Packet, TYPE};

use super::directory::Directory;
use super::message;
use super::responder::{Facts, Link, Outgoing, Responder};
use crate::clock::Mono;

const LINK: u32 = 7;

/// A machine on the link.
struct Board {
    responder: Responder,
    ip: IpAddr,
}

impl Board {
    fn new(host: &str, ip: &str, streams: &[&str]) -> Board {
        let ip: IpAddr = ip.parse().unwrap();
        let seed = ip.to_string().bytes().map(u64::from).sum();
        let mut responder = Responder::new(&facts(host, streams), seed);
        responder.set_links(Mono(0), vec![link(&[ip])]);
        Board { responder, ip }
    }

    fn from(&self) -> SocketAddr {
        SocketAddr::new(self.ip, message::PORT)
    }
}

fn link(addresses: &[IpAddr]) -> Link {
    Link {
        index: LINK,
        addresses: addresses.to_vec(),
    }
}

fn facts(host: &str, streams: &[&str]) -> Facts {
    Facts {
        host: host.to_owned(),
        rtsp: Some("0.0.0.0:8554".parse().unwrap()),
        streams: streams.iter().map(|&s| s.to_owned()).collect(),
        page: None,
    }
}

fn ms(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

/// Lets the boards talk from one time to another, in milliseconds; gives all that was sent.
fn run(boards: &mut [&mut Board], from: u64, to: u64) -> Vec<Outgoing> {
    let mut all = Vec::new();
    for now in (from..to).step_by(5).map(ms) {
        for i in 0..boards.len() {
            boards[i].responder.poll(now);
            let (sender, sent) = (boards[i].from(), boards[i].responder.take());
            for outgoing in sent {
                // The sender hears itself, too.
                for board in boards.iter_mut() {
                    board.responder.push(now, LINK, sender, &outgoing.bytes);
                }
                all.push(outgoing);
            }
        }
    }
    all
}

fn responses(sent: &[Outgoing]) -> Vec<Packet<'_>> {
    let all = sent.iter().map(|o| message::parse(&o.bytes).unwrap());
    all.filter(message::is_response).collect()
}

#[test]
fn names_are_asked_for_probed_and_announced_twice() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    let sent = run(&mut [&mut board], 0, 4000);
    let packets: Vec<_> = sent
        .iter()
        .map(|o| message::parse(&o.bytes).unwrap())
        .collect();
    let probes = packets
        .iter()
        .filter(|p| !p.name_servers.is_empty())
        .count();
    let questions = packets.iter().filter(|p| !message::is_response(p)).count();
    // Three of each name, and three to ask for the host.
    assert_eq!((probes, questions), (6, 9));
    let said = responses(&sent);
    let with = |kind| {
        said.iter()
            .filter(|p| p.answers.iter().any(|r| message::is(r, kind)))
            .count()
    };
    assert_eq!((with(TYPE::SRV), with(TYPE::PTR), with(TYPE::A)), (2, 2, 2));
    assert!(said.iter().all(|p| p.answers.iter().all(|r| r.ttl > 0)));
    // Then there is silence, and at the end it is taken back.
    assert!(run(&mut [&mut board], 4000, 90_000).is_empty());
    board.responder.end_all();
    let sent = board.responder.take();
    let mut goodbye: Vec<_> = responses(&sent)
        .into_iter()
        .flat_map(|p| p.answers)
        .collect();
    assert_eq!(goodbye.len(), 4);
    assert!(goodbye.iter_mut().all(|r| r.ttl == 0));
}

#[test]
fn a_service_is_found_and_gone_after_its_goodbye() {
    let mut board = Board::new("board", "10.0.0.1", &["Tür 2"]);
    run(&mut [&mut board], 0, 6000);
    let mut directory = Directory::default();
    let from = board.from();
    let me: SocketAddr = "10.0.0.9:5353".parse().unwrap();
    for now in (6000..7000).step_by(5).map(ms) {
        for question in directory.poll(now) {
            board.responder.push(now, LINK, me, &question);
        }
        board.responder.poll(now);
        for outgoing in board.responder.take() {
            directory.push(now, from, LINK, &outgoing.bytes);
        }
    }
    let found: Vec<_> = directory.services().collect();
    assert_eq!(found.len(), 1, "{directory:?}");
    assert_eq!(found[0].name, "Tür 2 on board");
    assert_eq!(found[0].url().unwrap(), "rtsp://10.0.0.1:8554/T%C3%BCr%202");
    assert!(found[0].is_stream("Tür 2", board.ip));
    assert!(!found[0].is_stream("Tür 2", "10.0.0.3".parse().unwrap()));
    board.responder.end_all();
    for outgoing in board.responder.take() {
        directory.push(ms(7000), from, LINK, &outgoing.bytes);
    }
    directory.poll(ms(7900));
    assert_eq!(directory.services().count(), 1);
    directory.poll(ms(8100));
    assert_eq!(directory.services().count(), 0);
}

/// A camera that was unplugged says no goodbye.
#[test]
fn a_service_that_answers_no_more_is_forgotten() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    let mut directory = Directory::default();
    for outgoing in run(&mut [&mut board], 0, 4000) {
        directory.push(ms(4000), board.from(), LINK, &outgoing.bytes);
    }
    directory.poll(ms(190_000));
    assert_eq!(directory.services().count(), 1);
    directory.poll(ms(210_000));
    assert_eq!(directory.services().count(), 0);
}

#[test]
fn two_boards_flashed_alike_take_two_names() {
    let mut first = Board::new("board", "10.0.0.1", &["porch"]);
    run(&mut [&mut first], 0, 4000);
    let mut second = Board::new("board", "10.0.0.2", &["porch"]);
    second
        .responder
        .set_links(ms(4000), vec![link(&[second.ip])]);
    run(&mut [&mut first, &mut second], 4000, 12_000);
    assert_eq!(first.responder.names(), ["board", "porch on board"]);
    let second = second.responder.names();
    assert_eq!(second, ["board-2", "porch on board (2)"]);
}

#[test]
fn two_boards_switched_on_at_once_take_two_names() {
    let mut first = Board::new("board", "10.0.0.1", &["porch"]);
    let mut second = Board::new("board", "10.0.0.2", &["porch"]);
    run(&mut [&mut first, &mut second], 0, 12_000);
    let mut names = [first.responder.names(), second.responder.names()];
    names.sort();
    assert_eq!(names[0][0], "board");
    assert_eq!(names[1][0], "board-2");
    assert_ne!(names[0][1], names[1][1]);
}

/// What Avahi on the same machine says.
fn neighbour(kind: &str, host: &str, ip: &str, ttl: u32) -> Vec<u8> {
    let mut records = message::addresses(&message::host(host), &[ip.parse().unwrap()]);
    records[0].ttl = ttl;
    if kind == "probe" {
        let mut packet = Packet::new_query(0);
        packet.name_servers = records;
        return message::bytes(&packet).unwrap();
    }
    message::bytes(&message::response(records, Vec::new())).unwrap()
}

fn has_address(sent: &[Outgoing]) -> bool {
    let said = responses(sent);
    let mut records = said
        .iter()
        .flat_map(|p| p.answers.iter().chain(&p.additional_records));
    records.any(|r| message::address(r).is_some())
}

#[test]
fn a_name_that_another_program_here_has_is_left_to_it() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    let from = board.from();
    let answer = neighbour("answer", "board", "10.0.0.1", 120);
    let mut sent = run(&mut [&mut board], 0, 300);
    board.responder.push(ms(300), LINK, from, &answer);
    sent.extend(run(&mut [&mut board], 300, 5000));
    assert!(!has_address(&sent));
    assert_eq!(board.responder.names(), ["board", "porch on board"]);
    // It has ended, so the name is taken.
    board.responder.push(
        ms(5000),
        LINK,
        from,
        &neighbour("answer", "board", "10.0.0.1", 0),
    );
    assert!(has_address(&run(&mut [&mut board], 5000, 10_000)));
    // It is back.
    board.responder.push(
        ms(10_000),
        LINK,
        from,
        &neighbour("probe", "board", "10.0.0.1", 120),
    );
    assert!(!has_address(&run(&mut [&mut board], 10_000, 30_000)));
    assert_eq!(board.responder.names(), ["board", "porch on board"]);
}

#[test]
fn a_query_of_a_simple_resolver_is_answered_to_it_alone_and_seldom() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    run(&mut [&mut board], 0, 4000);
    let mut query = Packet::new_query(77);
    let host = message::host("board");
    let kind = simple_dns::QTYPE::TYPE(TYPE::A);
    let class = simple_dns::QCLASS::CLASS(simple_dns::CLASS::IN);
    query
        .questions
        .push(simple_dns::Question::new(host, kind, class, false));
    let query = message::bytes(&query).unwrap();
    let from: SocketAddr = "10.0.0.9:40000".parse().unwrap();
    for _ in 0..1000 {
        board.responder.push(ms(4000), LINK, from, &query);
    }
    let sent = board.responder.take();
    assert_eq!(sent.len(), 20);
    let said = responses(&sent);
    assert!(sent.iter().all(|o| o.to == Some(from)));
    assert_eq!(said[0].id(), 77);
    assert_eq!(
        (said[0].answers[0].ttl, said[0].answers[0].cache_flush),
        (10, false)
    );
    // Services that answer whatever they are sent are not answered.
    let echo: SocketAddr = "10.0.0.9:7".parse().unwrap();
    board.responder.push(ms(9000), LINK, echo, &query);
    assert!(board.responder.take().is_empty());
}

#[test]
fn what_is_known_is_not_answered_and_nothing_is_repeated_at_once() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    run(&mut [&mut board], 0, 6000);
    let me: SocketAddr = "10.0.0.9:5353".parse().unwrap();
    let mut directory = Directory::default();
    let question = directory.poll(ms(6000)).remove(0);
    for _ in 0..100 {
        board.responder.push(ms(6000), LINK, me, &question);
    }
    let sent = run(&mut [&mut board], 6000, 6500);
    assert_eq!(sent.len(), 1);
    directory.push(ms(6100), board.from(), LINK, &sent[0].bytes);
    let question = directory.poll(ms(8000)).remove(0);
    board.responder.push(ms(8000), LINK, me, &question);
    assert!(run(&mut [&mut board], 8000, 9000).is_empty());
}

#[test]
fn only_what_others_can_reach_is_advertised() {
    let mut board = Board::new("board", "10.0.0.1", &["porch"]);
    let local = Facts {
        rtsp: Some("127.0.0.1:8554".parse().unwrap()),
        page: Some("[::1]:8080".parse().unwrap()),
        ..facts("board", &["porch"])
    };
    board.responder = Responder::new(&local, 1);
    board.responder.set_links(Mono(0), vec![link(&[board.ip])]);
    assert!(run(&mut [&mut board], 0, 3000).is_empty());
    // Of another of this machine's links.
    let elsewhere = Facts {
        rtsp: Some("10.0.1.1:8554".parse().unwrap()),
        ..facts("board", &["porch"])
    };
    board.responder.follow(ms(3000), &elsewhere);
    assert!(run(&mut [&mut board], 3000, 6000).is_empty());
    board
        .responder
        .follow(ms(6000), &facts("board", &["porch", "yard"]));
    assert!(!run(&mut [&mut board], 6000, 9000).is_empty());
    assert_eq!(
        board.responder.names(),
        ["board", "porch on board", "yard on board"]
    );
}

#[test]
fn a_directory_stays_within_its_bounds_and_is_fair() {
    let mut directory = Directory::default();
    let camera = |name: &str, host: &str, ip: &str| {
        let instance = message::Kind::Rtsp.instance(name);
        let host = message::host(host);
        let mut records = vec![
            message::pointer(message::Kind::Rtsp.name(), instance.clone()),
            message::srv(&instance, &host, 554),
            message::txt(&instance, "/live"),
        ];
        records.extend(message::addresses(&host, &[ip.parse().unwrap()]));
        message::bytes(&message::response(records, Vec::new())).unwrap()
    };
    let flooder: SocketAddr = "10.0.0.66:5353".parse().unwrap();
    for i in 0..10_000 {
        let datagram = camera(&format!("x{i}"), "flood", "10.0.0.66");
        directory.push(ms(i), flooder, LINK, &datagram);
    }
    let honest: SocketAddr = "10.0.0.3:5353".parse().unwrap();
    let name = "a\x1b[2J\x07\u{202e}";
    directory.push(ms(10_000), honest, LINK, &camera(name, "cam", "10.0.0.3"));
    let all: Vec<_> = directory.services().collect();
    assert_eq!((all.len(), directory.turned_away()), (65, 10_000 - 64));
    assert_eq!(all[64].name, "a\u{fffd}[2J\u{fffd}\u{fffd}");
    assert_eq!(all[64].url().unwrap(), "rtsp://10.0.0.3:554/live");
}
