//! Packetize, then permute, drop and duplicate, then depacketize: exactly the frames that are whole
//! come out, in order, byte for byte; and no bytes at all make the depacketizer panic or grow.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::jpeg::{Picture, Sampling};
use lancam::rtp::{Depacketizer, Event, Options, Packetizer, ReceivedFrame, RtpTime, SeqNo, Ssrc};
use lancam::stats::ViewerStats;
use proptest::prelude::*;

/// Where all packets come from.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One frame that is sent.
#[derive(Clone, Debug)]
struct Sent {
    scan: Vec<u8>,
    sampling: Sampling,
    restart_interval: u16,
    quant: u8,
}

fn frame(packets: std::ops::Range<usize>) -> impl Strategy<Value = Sent> {
    let sampling = prop_oneof![Just(Sampling::Yuv420), Just(Sampling::Yuv422)];
    let restart_interval = prop_oneof![Just(0u16), 1..99u16];
    let scan = (packets, 1..60usize, any::<u8>());
    (scan, sampling, restart_interval, 1..255u8).prop_map(
        |((packets, last, seed), sampling, restart_interval, quant)| {
            // Without restart header 92 bytes fit the first packet of 256, and 236 each other.
            let len = match packets {
                1 => last,
                n => 92 + (n - 2) * 236 + last,
            };
            Sent {
                scan: (0..len)
                    .map(|i| (i as u8).wrapping_mul(31) ^ seed)
                    .collect(),
                sampling,
                restart_interval,
                quant,
            }
        },
    )
}

/// Frames of at least `least` packets, and what becomes of each packet: copies and their delays.
fn stream() -> impl Strategy<Value = (Vec<Sent>, Vec<Vec<usize>>, u16, u32)> {
    (1..6usize).prop_flat_map(|least| {
        let frames = prop::collection::vec(frame(least..least + 6), 1..12);
        // So far that a packet never falls behind the frames being assembled.
        let delay = 0..=3 * least;
        let copies = prop_oneof![
            8 => prop::collection::vec(delay.clone(), 1..2),
            1 => prop::collection::vec(delay, 2..4),
            1 => Just(Vec::new()),
        ];
        (
            frames,
            prop::collection::vec(copies, 200),
            any::<u16>(),
            any::<u32>(),
        )
    })
}

fn plain(seed: u8) -> Sent {
    Sent {
        scan: vec![seed; 300],
        sampling: Sampling::Yuv422,
        restart_interval: 0,
        quant: 1,
    }
}

proptest! {
    #[test]
    fn exactly_the_frames_that_are_whole_come_out(
        (frames, fates, first_seq, first_time) in stream(),
    ) {
        // Two frames before and one after arrive as they were sent.
        let mut sent = vec![plain(1), plain(2)];
        sent.extend(frames);
        sent.push(plain(3));
        let mut packetizer = Packetizer::new(Ssrc(1), SeqNo(first_seq), 256);
        let mut time = RtpTime(first_time);
        let mut wire: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut whole = Vec::new();
        let (mut index, mut gone) = (0, 0);
        for (n, f) in sent.iter().enumerate() {
            let picture = Picture {
                width: 33,
                height: 17,
                sampling: f.sampling,
                restart_interval: f.restart_interval,
                quant: [f.quant; 128],
                scan: &f.scan,
            };
            let plan = packetizer.plan(&picture, time, None).unwrap();
            let mut all = true;
            for i in 0..plan.packets.len() {
                let (header, payload) = plan.parts(i, &f.scan);
                let datagram = [header, payload].concat();
                let safe = n < 2 || n + 1 == sent.len();
                let delays = if safe { &[0][..] } else { &fates[index][..] };
                for delay in delays {
                    wire.push((index + delay, datagram.clone()));
                }
                all &= !delays.is_empty();
                gone += u64::from(delays.is_empty());
                index += 1;
            }
            if all {
                whole.push(f);
            }
            time = RtpTime(time.0.wrapping_add(3_000));
        }
        wire.sort_by_key(|(due, _)| *due);

        let stats = Arc::new(ViewerStats::default());
        let options = Options { reorder: 64, ..Options::default() };
        let mut depacketizer = Depacketizer::new(options, stats.clone());
        let mut got = 0;
        let mut now = Mono(1);
        let mut drain = |depacketizer: &mut Depacketizer, now| {
            while let Some(event) = depacketizer.poll(now) {
                let Event::Frame(ReceivedFrame::Jpeg(frame)) = event else { continue };
                let expected = whole.get(got).expect("a frame too many");
                let picture = frame.picture();
                assert!(picture.scan == expected.scan, "frame {got}");
                assert_eq!(picture.quant, [expected.quant; 128]);
                assert_eq!(picture.sampling, expected.sampling);
                assert_eq!(picture.restart_interval, expected.restart_interval);
                assert_eq!((picture.width, picture.height), (33, 17));
                got += 1;
                depacketizer.recycle(frame);
            }
            got
        };
        for (_, datagram) in &wire {
            depacketizer.push(now, HERE, datagram);
            drain(&mut depacketizer, now);
        }
        now = now + Duration::from_secs(2);
        let got = drain(&mut depacketizer, now);
        prop_assert_eq!(got, whole.len());
        let stats = stats.snapshot();
        prop_assert_eq!(stats.frames_whole, whole.len() as u64);
        prop_assert_eq!(stats.frames_lost, (sent.len() - whole.len()) as u64);
        prop_assert_eq!(stats.packets_lost, gone);
        prop_assert_eq!(stats.packets_received, wire.len() as u64);
        prop_assert_eq!((stats.packets_late, stats.packets_invalid), (0, 0));
        let reception = depacketizer.reception().unwrap();
        prop_assert_eq!(reception.lost(), gone);
        prop_assert_eq!(reception.expected, index as u64);
    }

    #[test]
    fn no_bytes_make_it_panic(
        datagrams in prop::collection::vec(
            (
                // Few values, so that packets meet in the same frames.
                0..4u8, 0..3u8, 0..12u8, 0..3u32, 0..2u32, 0..2u8,
                prop_oneof![Just([0u8, 0, 0]), Just([0, 0, 20]), any::<[u8; 3]>()],
                prop_oneof![Just(0u8), Just(1), Just(64), Just(65), any::<u8>()],
                prop_oneof![Just(50u8), Just(255), Just(200), any::<u8>()],
                prop::collection::vec(any::<u8>(), 0..200),
                0..40_000_000u64,
            ),
            0..60,
        ),
        give_partial in any::<bool>(),
    ) {
        let options = Options { give_partial, max_frame: 1 << 20, ..Options::default() };
        let mut depacketizer = Depacketizer::new(options, Arc::default());
        let mut now = Mono(0);
        for (bits, marker, seq, time, ssrc, size, offset, kind, q, rest, wait) in datagrams {
            let mut d = vec![0x80 | bits << 4, 26 | (marker & 1) << 7, 0, seq];
            d.extend_from_slice(&(time * 3_000).to_be_bytes());
            d.extend_from_slice(&ssrc.to_be_bytes());
            d.push(0);
            d.extend_from_slice(&offset);
            d.extend_from_slice(&[kind, q, size, size]);
            d.extend_from_slice(&rest);
            if seq == 11 {
                depacketizer.insert_recovered(now, &d);
            } else {
                depacketizer.push(now, HERE, &d);
            }
            now = now + Duration::from_nanos(wait);
            let _ = (depacketizer.deadline(), depacketizer.reception());
            let _ = depacketizer.received(Ssrc(ssrc), RtpTime(time * 3_000)).count();
            while let Some(event) = depacketizer.poll(now) {
                if let Event::Frame(ReceivedFrame::Jpeg(frame)) | Event::Partial(ReceivedFrame::Jpeg(frame)) = event {
                    prop_assert!(frame.jpeg().len() <= (1 << 20) + 700);
                    depacketizer.recycle(frame);
                }
            }
        }
    }
}
