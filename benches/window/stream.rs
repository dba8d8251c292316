//! What a stream brings: which frame of the clip, when it was captured, and when its last packet came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use lancam::clock::{Mono, Ntp};
use lancam::net::{BatchReceiver, ReceiveOptions, ReceiveSocket};
use lancam::rtp::{Depacketizer, Event, Options, ReceivedFrame};

use crate::clips::Clip;

/// A frame that came whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) number: usize,
    pub(crate) captured: Mono,
    pub(crate) last_packet: Mono,
}

/// Receives until it is asked what came.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Came>>,
}

impl Stream {
    pub(crate) fn receive(group: &str, clip: &Clip) -> Stream {
        let mut options = ReceiveOptions::new(group.parse().expect("a group"));
        options.interface = Some("lo".to_owned());
        let socket = ReceiveSocket::open(&options).expect("a socket");
        let stop = Arc::new(AtomicBool::new(false));
        // The scan's end tells frames apart, and stays as it was encoded.
        let ends: Vec<Vec<u8>> = clip.frames.iter().map(|jpeg| end(jpeg)).collect();
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || receive(socket, &stop, &ends)
        });
        Stream { stop, thread }
    }

    pub(crate) fn end(self) -> Vec<Came> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

fn end(jpeg: &[u8]) -> Vec<u8> {
    let jpeg = jpeg.strip_suffix(&[0xff, 0xd9]).unwrap_or(jpeg);
    jpeg[jpeg.len() - 32..].to_vec()
}

fn receive(socket: ReceiveSocket, stop: &AtomicBool, ends: &[Vec<u8>]) -> Vec<Came> {
    let mut receiver = BatchReceiver::new(socket);
    let mut frames = Depacketizer::new(Options::default(), Arc::default());
    let mut came = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let batch = receiver.receive(Some(Duration::from_millis(50)));
        for (from, datagram) in batch.expect("packets").datagrams() {
            let now = Mono::now();
            frames.push(now, from.ip(), datagram);
            while let Some(event) = frames.poll(now) {
                let Event::Frame(ReceivedFrame::Jpeg(frame)) = event else {
                    continue;
                };
                let number = ends.iter().position(|e| frame.picture().scan.ends_with(e));
                if let Some((number, captured)) = number.zip(frame.captured()) {
                    came.push(Came {
                        number,
                        captured: mono(captured),
                        last_packet: frame.last_arrival(),
                    });
                }
                frames.recycle(frame);
            }
        }
    }
    came
}

/// A moment of the wall clock on the monotonic one.
fn mono(at: Ntp) -> Mono {
    let ago = Ntp::from(SystemTime::now()).nanos_since(at);
    Mono(Mono::now().0.saturating_add_signed(-ago))
}
