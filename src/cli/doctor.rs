//! `lancam doctor`.

use std::time::Duration;

use clap::Args;

use super::usage::UsageError;
use super::values::target;
use crate::config::check::{self, WHOLE, number};
use crate::doctor::DoctorPlan;
use crate::view::Target;

/// `lancam doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Joins the group, listens for a few seconds and prints a line for each check: ok,
warn, fail or skip, and what to do. It changes nothing. With sudo it sees more:
packets in front of the firewall, its rules, and IGMP or MLD queries.

Examples:
  lancam doctor
  sudo lancam doctor 224.3.29.72:10000 --interface eth0
  lancam doctor porch
  lancam doctor porch.sdp
  sudo lancam doctor --wait 130     long enough to hear any IGMP querier

Exit status: 0 if the stream can be watched, 1 if not, 2 for wrong usage.")]
pub struct DoctorArgs {
    /// Stream to look for: its name, its group, or an SDP file [default: what
    /// `lancam view` alone would show]
    #[arg(value_name = "NAME|ADDR:PORT|FILE.sdp")]
    pub target: Option<String>,

    /// Interface to listen on, by name or address
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// How many seconds to listen, 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 3, allow_negative_numbers = true,
        value_parser = number(WHOLE, 1..=3600_u64))]
    pub wait: u64,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl DoctorArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<DoctorPlan, UsageError> {
        Ok(DoctorPlan {
            target: match &self.target {
                Some(text) => target(text)?,
                None => Target::Any,
            },
            interface: self.interface.clone(),
            wait: Duration::from_secs(self.wait),
            json: self.json,
        })
    }
}
