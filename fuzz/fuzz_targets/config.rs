//! Any text as a config: an answer, never a panic; and every mistake has its place in the text.
#![no_main]

use lancam::config::{ConfigError, describe, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse("fuzz.ron", text, &[]) {
        Ok(config) => {
            assert!(!config.streams.is_empty());
            assert!(!describe(&config).is_empty());
        }
        Err(ConfigError::Mistakes(mistakes)) => {
            assert!(!mistakes.is_empty());
            let lines = 1 + text.matches('\n').count();
            for mistake in &mistakes {
                assert!((1..=lines).contains(&mistake.place.as_ref().unwrap().line));
                assert!(!mistake.sentence.chars().any(char::is_control));
            }
        }
        Err(other) => panic!("{other}"),
    }
});
