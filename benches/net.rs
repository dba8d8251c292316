//! What `net` costs against the least that the kernel asks: CPU time of the sending and of the
//! receiving thread for a frame of 250 KB, over a veth pair between two network namespaces. Each
//! way takes its turn in every round, so that the ratios come from one run. Needs root; leaves
//! nothing behind.
//!
//!     cargo bench --bench net

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lancam::net::{
    BatchReceiver, BatchSender, ReceiveOptions, ReceiveSocket, SendOptions, SendSocket,
};
use lancam::rtp::{PacketPlan, PlannedPacket};
use nix::time::{ClockId, clock_gettime};

mod bare;
#[path = "../tests/common/mod.rs"]
mod common;
use bare::{BareReceive, BareSend};
use common::net::{Host, INTERFACE, Net, can_enter};

const FRAME: usize = 250_000;
const DATAGRAM: usize = 1472;
const HEADER: usize = 20;
const ROUNDS: usize = 15;
const FRAMES_PER_ROUND: usize = 40;

fn main() {
    let Some(net) = can_enter("net").then(|| Net::pair("net")).flatten() else {
        std::process::exit(1);
    };
    println!(
        "{FRAME} bytes a frame in packets of {DATAGRAM}; medians of {ROUNDS} rounds of {FRAMES_PER_ROUND} frames\n"
    );
    sending(&net.sender, &net.viewer);
    receiving(&net.sender, &net.viewer);
}

fn sending(camera: &Host, viewer: &Host) {
    let group: SocketAddr = "239.255.78.1:20000".parse().unwrap();
    let reader = Reader::start(viewer, group);
    let (scan, plan) = frame();
    let flat: Vec<u8> = (0..plan.packets.len())
        .flat_map(|i| {
            let (header, payload) = plan.parts(i, &scan);
            [header, payload].concat()
        })
        .collect();
    let mut ours = camera.inside(|| sender(group));
    let mut plain = camera.inside(|| sender(group)).without_gso();
    let bare_socket = camera.inside(|| SendSocket::open(&send_options(group)).unwrap());
    let to = socket2::SockAddr::from(group);
    let mut bare = BareSend::new(&flat, DATAGRAM, &to);

    let packets = plan.packets.len();
    let mut send_ours = || assert_eq!(ours.send(plan.packets(0..packets, &scan)).unwrap().calls, 1);
    let mut send_bare = || bare.send(bare_socket.as_fd());
    let mut send_plain = || {
        assert_eq!(
            plain.send(plan.packets(0..packets, &scan)).unwrap().calls,
            1
        )
    };
    type Way<'a> = (&'a str, &'a mut dyn FnMut(), Vec<f64>);
    let mut ways: [Way<'_>; 3] = [
        ("bare sendmmsg + GSO of one buffer", &mut send_bare, vec![]),
        ("lancam", &mut send_ours, vec![]),
        ("lancam without GSO", &mut send_plain, vec![]),
    ];
    for _ in 0..ROUNDS {
        for (_, send, times) in &mut ways {
            let mut cpu = Duration::ZERO;
            for _ in 0..FRAMES_PER_ROUND {
                let before = reader.packets();
                let start = cpu_time();
                send();
                cpu += cpu_time() - start;
                reader.wait_for(before + packets);
            }
            times.push(micros(cpu) / FRAMES_PER_ROUND as f64);
        }
    }
    println!("sender, CPU us a frame");
    let base = median(&ways[0].2);
    for (name, _, times) in &ways {
        let time = median(times);
        println!("  {name:36} {time:8.1}   x{:.2}", time / base);
    }
    let gain = median(&ways[2].2) / median(&ways[1].2);
    println!("  GSO against none: {gain:.1} times less CPU\n");
    budget(
        "sender against the bare loop, at most 1.5",
        median(&ways[1].2) / base <= 1.5,
    );
    budget("GSO against none, at least 8", gain >= 8.0);
}

fn receiving(camera: &Host, viewer: &Host) {
    let group: SocketAddr = "239.255.78.2:20002".parse().unwrap();
    let (scan, plan) = frame();
    let mut sender = camera.inside(|| sender(group));
    let mut times = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (way, times) in times.iter_mut().enumerate() {
            let socket = viewer.inside(|| ReceiveSocket::open(&receive_options(group)).unwrap());
            let progress = Arc::new(AtomicUsize::new(0));
            let total = plan.packets.len() * FRAMES_PER_ROUND;
            let reader = thread::spawn({
                let progress = progress.clone();
                move || match way {
                    0 => bare_receive(&socket, total, &progress),
                    _ => lancam_receive(socket, total, &progress),
                }
            });
            for n in 1..=FRAMES_PER_ROUND {
                sender
                    .send(plan.packets(0..plan.packets.len(), &scan))
                    .unwrap();
                wait_for(&progress, plan.packets.len() * n);
            }
            times.push(micros(reader.join().unwrap()) / FRAMES_PER_ROUND as f64);
        }
    }
    println!("receiver without decoding, CPU us a frame");
    let [base, ours] = times.map(|t| median(&t));
    println!("  {:36} {base:8.1}", "bare recvmmsg + GRO + memcpy");
    println!(
        "  {:36} {ours:8.1}   x{:.2}\n",
        "lancam, each datagram copied",
        ours / base
    );
    budget(
        "receiver against the bare loop, at most 2",
        ours / base <= 2.0,
    );
}

fn budget(what: &str, is_kept: bool) {
    println!("  {} {what}", if is_kept { "kept:  " } else { "MISSED:" });
}

fn send_options(group: SocketAddr) -> SendOptions {
    let mut options = SendOptions::new(group);
    options.interface = Some(INTERFACE.into());
    options
}

fn receive_options(group: SocketAddr) -> ReceiveOptions {
    let mut options = ReceiveOptions::new(group);
    options.interface = Some(INTERFACE.into());
    options
}

fn sender(group: SocketAddr) -> BatchSender {
    BatchSender::new(SendSocket::open(&send_options(group)).unwrap())
}

fn frame() -> (Vec<u8>, PacketPlan) {
    let scan: Vec<u8> = (0..FRAME).map(|i| i as u8).collect();
    let mut plan = PacketPlan::default();
    for start in (0..FRAME).step_by(DATAGRAM - HEADER) {
        plan.packets.push(PlannedPacket {
            header_start: plan.headers.len() as u32,
            header_len: HEADER as u32,
            payload_start: start as u32,
            payload_len: (DATAGRAM - HEADER).min(FRAME - start) as u32,
        });
        // Where the payload belongs, as RFC 2435's fragment offset says.
        plan.headers.extend((start as u32).to_be_bytes());
        plan.headers.resize(plan.headers.len() + HEADER - 4, 0);
    }
    (scan, plan)
}

/// A viewer that takes everything, so that the sender's packets have somewhere to go.
struct Reader {
    packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reader {
    fn start(viewer: &Host, group: SocketAddr) -> Reader {
        let socket = viewer.inside(|| ReceiveSocket::open(&receive_options(group)).unwrap());
        let mut receiver = BatchReceiver::new(socket);
        let packets = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (packets, stop) = (packets.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let batch = receiver.receive(None).unwrap();
                    packets.fetch_add(batch.datagrams().count(), Ordering::Relaxed);
                }
            }
        });
        Reader {
            packets,
            stop,
            thread: Some(thread),
        }
    }

    fn packets(&self) -> usize {
        self.packets.load(Ordering::Relaxed)
    }

    fn wait_for(&self, packets: usize) {
        wait_for(&self.packets, packets);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wait_for(count: &AtomicUsize, value: usize) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while count.load(Ordering::Relaxed) < value {
        assert!(Instant::now() < deadline, "packets were lost");
        thread::sleep(Duration::from_micros(200));
    }
}

/// The least that receiving takes.
fn bare_receive(socket: &ReceiveSocket, total: usize, progress: &AtomicUsize) -> Duration {
    let mut bare = BareReceive::new(2 * FRAME);
    let start = cpu_time();
    let mut packets = 0;
    while packets < total {
        bare.receive(socket.as_fd(), |message| {
            packets += message.len().div_ceil(DATAGRAM)
        });
        progress.store(packets, Ordering::Relaxed);
    }
    cpu_time() - start
}

/// What a viewer does before decoding: each payload to its place in the frame.
fn lancam_receive(socket: ReceiveSocket, total: usize, progress: &AtomicUsize) -> Duration {
    let mut receiver = BatchReceiver::new(socket);
    let mut place = vec![0u8; 2 * FRAME];
    let start = cpu_time();
    let mut packets = 0;
    while packets < total {
        let batch = receiver.receive(None).unwrap();
        for (_, datagram) in batch.datagrams() {
            let (header, payload) = datagram.split_at(HEADER);
            let at = u32::from_be_bytes(header[..4].try_into().unwrap()) as usize;
            place[at..at + payload.len()].copy_from_slice(payload);
            packets += 1;
        }
        progress.store(packets, Ordering::Relaxed);
    }
    std::hint::black_box(&place);
    cpu_time() - start
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

fn micros(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
