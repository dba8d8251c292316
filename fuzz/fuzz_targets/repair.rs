//! Any run of datagrams on a viewer's two ports: no panic, no endless work.
//!
//! Input: records of one byte (which port, the time since the one before, and which of two
//! addresses it is from), two bytes of length (big endian), the datagram.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::rtp::{Depacketizer, Event, Options, ReceivedFrame, RepairDecoder};
use lancam::stats::ViewerStats;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let stats: Arc<ViewerStats> = Arc::default();
    let options = Options {
        max_frame: 1 << 20,
        reorder: 256,
        ..Options::default()
    };
    let mut frames = Depacketizer::new(options, Arc::clone(&stats));
    let mut repair = RepairDecoder::new(stats);
    let mut now = Mono(0);
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 2 & 31));
        let address = IpAddr::from([10, 0, 0, kind >> 7]);
        if kind & 1 == 0 {
            frames.push(now, address, datagram);
            repair.packets_came(now, &mut frames);
        } else {
            repair.push(now, address, datagram, &mut frames);
        }
        while let Some(event) = frames.poll(now) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame))
            | Event::Partial(ReceivedFrame::Jpeg(frame)) = event
            {
                frames.recycle(frame);
            }
        }
    }
});
