//! `lancam list`.

use std::time::Duration;

use clap::Args;

use super::values::seconds;
use crate::config::check;
use crate::list::ListPlan;

/// `lancam list`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
It listens for 6 s, or longer if many streams are announced.

Examples:
  lancam list
  lancam list --watch
  lancam list --json --timeout 3")]
pub struct ListArgs {
    /// Print JSON: a list, or with --watch one object per line
    #[arg(long)]
    pub json: bool,

    /// Keep running and show what comes and goes
    #[arg(long)]
    pub watch: bool,

    /// Interface to listen on, by name or address [default: all]
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// How many seconds to listen, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    pub timeout: Option<Duration>,
}

impl ListArgs {
    /// What the arguments mean.
    pub fn resolve(self) -> ListPlan {
        ListPlan {
            interface: self.interface,
            timeout: self.timeout,
            watch: self.watch,
            json: self.json,
        }
    }
}
