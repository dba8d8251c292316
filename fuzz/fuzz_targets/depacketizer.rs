//! Any run of datagrams, at any times: no panic, and no frame larger than is allowed.
//!
//! Input: records of one byte (what it is, the time since the one before, and which of two
//! addresses it is from), two bytes of length (big endian), the datagram.
#![no_main]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lancam::clock::Mono;
use lancam::rtp::{Depacketizer, Event, Options, ReceivedFrame, Ssrc};
use libfuzzer_sys::fuzz_target;

const MAX_FRAME: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let options = Options {
        max_frame: MAX_FRAME,
        give_partial: data.first().is_some_and(|b| b & 1 != 0),
        ..Options::default()
    };
    let mut depacketizer = Depacketizer::new(options, Arc::default());
    let mut now = Mono(0);
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 2 & 31));
        let address = IpAddr::from([10, 0, 0, kind >> 7]);
        match kind & 3 {
            0 => depacketizer.insert_recovered(now, datagram),
            1 if len == 4 => {
                let ssrc = u32::from_be_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]);
                depacketizer.bye(address, Ssrc(ssrc));
            }
            _ => depacketizer.push(now, address, datagram),
        }
        let _ = (depacketizer.deadline(), depacketizer.reception());
        while let Some(event) = depacketizer.poll(now) {
            if let Event::Frame(ReceivedFrame::Jpeg(frame))
            | Event::Partial(ReceivedFrame::Jpeg(frame)) = event
            {
                assert!(frame.jpeg().len() <= MAX_FRAME + 1024);
                assert!(
                    frame
                        .present()
                        .iter()
                        .all(|r| r.end <= frame.picture().scan.len())
                );
                depacketizer.recycle(frame);
            }
        }
    }
});
