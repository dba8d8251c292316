//! Whatever a camera or a file hands in, the gate answers with a picture or a reason. A picture
//! that passed must read back as what it says it is, and pass again untouched.
#![no_main]

use lancam::jpeg::gate::{Gate, GateOptions};
use lancam::jpeg::header::Header;
use lancam::jpeg::rebuild::{EOI, write_jpeg};
use lancam::jpeg::split::next_jpeg;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut from = 0;
    while let Some(frame) = next_jpeg(data, from) {
        assert!(from <= frame.start && frame.start < frame.end && frame.end <= data.len());
        from = frame.end;
    }

    let resize = data.last().is_some_and(|b| b % 2 == 1).then_some((64, 48));
    let mut gate = Gate::new(GateOptions {
        resize,
        quality: 50,
    });
    // Twice: the second frame takes the path of a header that is known.
    for _ in 0..2 {
        let Ok(picture) = gate.pass(data) else {
            continue;
        };
        let mut jpeg = Vec::new();
        write_jpeg(&mut jpeg, &picture);
        let header = Header::parse(&jpeg).expect("a rebuilt header reads");
        assert_eq!(
            (header.width, header.height),
            (picture.width, picture.height)
        );
        assert_eq!(header.restart_interval, picture.restart_interval);
        let scan = picture.scan.strip_suffix(&EOI).unwrap_or(picture.scan);
        assert_eq!(&jpeg[header.scan_start..jpeg.len() - 2], scan);
    }
});
