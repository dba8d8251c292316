//! Frames shown while a third host attacks (tests/attack), on a viewer that loses no packet and on
//! one that loses 2 %. Needs root; prints Markdown.
//!
//!     cargo bench --bench attack

#[path = "../tests/attack/mod.rs"]
mod attack;
#[path = "../tests/common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the other benchmarks use the rest")]
#[path = "peers/table.rs"]
mod table;

use attack::{Attack, Outcome};
use table::Table;

/// Loss in percent of the packets.
const LOSSES: [u32; 2] = [0, 2];

fn main() {
    let mut table = Table::new(
        "Under attack",
        &[
            "a third host sends",
            "frames shown, no loss",
            "frames shown, 2 % loss",
        ],
    );
    for attack in Attack::ALL {
        let outcomes = LOSSES.map(|percent| attack::run("attack", attack, percent));
        let [Some(none), Some(some)] = outcomes else {
            eprintln!("attack: run as root");
            std::process::exit(1);
        };
        table.row([attack.name().to_owned(), cell(&none), cell(&some)]);
    }
    table.print();
    if let Some(share) = attack::repair_by_a_stranger("attack") {
        println!(
            "With `repair: Auto`, while a stranger reports 25 % of loss: {:.1} % of repair.",
            share * 100.0
        );
    }
}

fn cell(outcome: &Outcome) -> String {
    let share = format!("{:.0} of {:.0}", outcome.shown, outcome.sent);
    match outcome.strange {
        0 => share,
        strange => format!("{share}, and {strange} of the attacker's"),
    }
}
