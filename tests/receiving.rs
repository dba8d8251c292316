//! The receive state machine as a whole under schedules of loss, reordering, repetition, lies and
//! questions. The same schedules are fuzzed (fuzz/fuzz_targets/receiving.rs).

use proptest::prelude::*;

mod schedule;

/// Mostly what happens on a network.
fn steps() -> impl Strategy<Value = Vec<u8>> {
    let step = prop_oneof![
        2 => any::<u8>().prop_map(|parity| vec![0, parity]),
        8 => (0u8..16).prop_map(|n| vec![1 | n << 4]),
        2 => Just(vec![5]),
        1 => Just(vec![6]),
        1 => Just(vec![7]),
        3 => (0u8..16).prop_map(|n| vec![9 | n << 4]),
        1 => Just(vec![11]),
        3 => (0u8..16).prop_map(|n| vec![13 | n << 4]),
        2 => any::<bool>().prop_map(|parity| vec![14 | u8::from(parity) << 4]),
        1 => (any::<bool>(), any::<u8>(), any::<u8>())
            .prop_map(|(is_parity, at, with)| vec![if is_parity { 12 } else { 8 }, at, with]),
    ];
    prop::collection::vec(step, 0..400).prop_map(|steps| steps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_comes(schedule in steps()) {
        schedule::run(&schedule);
    }

    #[test]
    fn whatever_at_all_comes(schedule in prop::collection::vec(any::<u8>(), 0..2_000)) {
        schedule::run(&schedule);
    }
}
