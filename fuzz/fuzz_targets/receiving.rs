//! A viewer's receive state machine as a whole, under any schedule (tests/schedule).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/schedule/mod.rs"]
mod schedule;

fuzz_target!(|data: &[u8]| schedule::run(data));
