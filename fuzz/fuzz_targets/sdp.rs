//! Any text as a session description: an answer, never a panic, and nothing in it that could upset
//! a terminal. What is read can be said again.
#![no_main]

use lancam::rtp::sdp::{Announcement, MAX_LEN, StreamDescription};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(stream) = StreamDescription::parse(text) else {
        return;
    };
    assert!(text.len() <= MAX_LEN);
    let mut texts = vec![stream.name.clone(), stream.format.clone()];
    texts.extend(stream.tool.clone());
    texts.extend(stream.playable.clone().err());
    for text in texts {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    let again = Announcement {
        name: &stream.name,
        session: 1,
        version: stream.version,
        ssrc: stream.ssrc.map(|ssrc| (ssrc, "lancam@porch")),
        origin: stream.addr.ip(),
        destination: stream.addr,
        ttl: stream.ttl.unwrap_or(1),
        source: stream.source,
        framerate: stream.framerate,
        size: stream.size,
        repair_port: stream.repair_port,
        control: None,
    }
    .to_sdp();
    let read = StreamDescription::parse(again.as_bytes()).expect("what lancam writes reads back");
    assert_eq!(read.addr, stream.addr);
    assert_eq!(read.size, stream.size);
    assert_eq!(read.repair_port, stream.repair_port);
    assert_eq!(read.version, stream.version);
    assert_eq!(read.ssrc, stream.ssrc);
});
