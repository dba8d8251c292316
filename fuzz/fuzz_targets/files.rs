//! Whatever is in a file, its frames lie inside it, and reading it comes to an end.
#![no_main]

use lancam::source::file::frame_ranges;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for frame in frame_ranges(data) {
        assert!(frame.start <= frame.end && frame.end <= data.len());
    }
});
