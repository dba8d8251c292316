//! Packets are sealed and opened without an allocation, once the first frame has been.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lancam::clock::Mono;
use lancam::rtp::header::Header;
use lancam::rtp::{PacketPlan, PlannedPacket, RtpTime, SeqNo, Ssrc};
use lancam::srtp::hello::HELLO_ID;
use lancam::srtp::{Keys, Opener, Salt, SealedFrame, Sealer, Secret, Suite};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: it only counts, and the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SSRC: Ssrc = Ssrc(7);
const PACKETS: u16 = 200;
const PAYLOAD: u32 = 1400;

/// Plans a frame that begins with packet `first`, whose header has the sealer's hello.
fn plan(plan: &mut PacketPlan, sealer: &Sealer, first: SeqNo) {
    plan.headers.clear();
    plan.packets.clear();
    for n in 0..PACKETS {
        let (start, seq) = (plan.headers.len(), first.plus(n));
        let header = Header {
            extension: n == 0,
            marker: n + 1 == PACKETS,
            payload_type: 26,
            seq,
            time: RtpTime(u32::from(first.0)),
            ssrc: SSRC,
        };
        header.write(&mut plan.headers);
        if n == 0 {
            let head = [0xBE, 0xDE, 0, 5, HELLO_ID << 4 | 15];
            plan.headers.extend_from_slice(&head);
            plan.headers
                .extend_from_slice(&sealer.hello(seq).to_bytes());
            plan.headers.extend_from_slice(&[0; 3]);
        }
        plan.packets.push(PlannedPacket {
            header_start: start as u32,
            header_len: (plan.headers.len() - start) as u32,
            payload_start: u32::from(n) * PAYLOAD,
            payload_len: PAYLOAD,
        });
    }
}

#[test]
fn sealing_and_opening_allocate_nothing() {
    for suite in [Suite::Gcm, Suite::Cm80] {
        let secrets = [1, 2].map(|n| Secret::new([n; 16]));
        let mut first = SeqNo(65_000);
        let mut sealer = Sealer::new(&secrets[0], suite, Salt([5; 11]), SSRC, first);
        let mut viewer = Opener::new(Keys::Secrets(secrets.to_vec()));
        let data = vec![0x5A; PAYLOAD as usize * usize::from(PACKETS)];
        let (mut planned, mut frame) = (PacketPlan::default(), SealedFrame::default());
        let mut slab = Vec::new();
        for n in 0..20 {
            let before = ALLOCATIONS.get();
            plan(&mut planned, &sealer, first);
            frame.begin(&sealer, &planned);
            assert!(frame.seal(&mut sealer, &planned, &data, 0..usize::from(PACKETS)));
            let (sent, bytes) = frame.sent();
            for (_, packet) in sent.packets(0..usize::from(PACKETS), bytes) {
                slab.clear();
                slab.extend_from_slice(packet);
                let len = viewer.open(Mono(n), &mut slab).expect("authentic");
                assert!(slab[..len].ends_with(&data[..PAYLOAD as usize]));
            }
            first = first.plus(PACKETS);
            let made = ALLOCATIONS.get() - before;
            assert_eq!(made > 0, n == 0, "{made} in frame {n}");
        }
    }
}
