//! Any run of packets on a locked stream's ports, from strangers and from members: no panic, no
//! endless work, and nothing opened that nobody sealed.
//!
//! Input: records of one byte (RTP or RTCP; whether a member seals it; the time since the one
//! before), two bytes of length (big endian), the datagram.
#![no_main]

use std::time::Duration;

use lancam::clock::Mono;
use lancam::rtp::{SeqNo, Ssrc};
use lancam::srtp::{ControlOpener, ControlSealer, Keys, Opener, Salt, Sealer, Secret, Suite};
use libfuzzer_sys::fuzz_target;

const SSRC: Ssrc = Ssrc(7);

fuzz_target!(|data: &[u8]| {
    let [ours, other] = [1, 2].map(|n| Secret::new([n; 16]));
    let suite = match data.len() % 2 {
        0 => Suite::Gcm,
        _ => Suite::Cm80,
    };
    let mut sealer = Sealer::new(&ours, suite, Salt([3; 11]), SSRC, SeqNo(9));
    let mut member = ControlSealer::new(&ours, suite, Salt([4; 11]), SSRC);
    let keys = Keys::Secrets(vec![other, ours]);
    let mut viewers = [
        Opener::new(keys.clone()),
        Opener::new(Keys::Master(sealer.master().clone())),
    ];
    let mut control = ControlOpener::new(keys);
    let mut now = Mono(0);
    let mut rest = data;
    while let [kind, l0, l1, tail @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(tail.len());
        let (datagram, next) = tail.split_at(len);
        rest = next;
        now = now + Duration::from_millis(u64::from(kind >> 2));
        let mut packet = datagram.to_vec();
        let is_sealed = match kind & 3 {
            2 => seal(&mut sealer, datagram, &mut packet),
            3 => member.seal(&mut packet),
            _ => false,
        };
        match kind & 1 {
            0 => viewers.iter_mut().for_each(|viewer| {
                let mut packet = packet.clone();
                if let Ok(len) = viewer.open(now, &mut packet) {
                    assert!(is_sealed && packet[..len] == *datagram);
                }
            }),
            _ => match control.open(now, &packet) {
                Ok(opened) => assert!(is_sealed && opened == datagram),
                Err(_) => assert!(!is_sealed),
            },
        }
    }
});

fn seal(sealer: &mut Sealer, plain: &[u8], out: &mut Vec<u8>) -> bool {
    out.resize(sealer.sealed_len(plain.len()), 0);
    sealer.seal(plain, &[], out)
}
