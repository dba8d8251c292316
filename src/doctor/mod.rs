//! `lancam doctor`: why is there no picture? One line for each thing that can be wrong between a
//! sender and a picture on this machine, and what to do about it. It repairs nothing and needs no
//! privilege: what this user may not see is skipped, with a note.
//!
//! `gather` finds things out (the only part with IO), `check` judges them, `report` prints.

mod arrivals;
mod check;
mod findings;
mod firewall;
mod gather;
mod report;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::view::Target;
use findings::Chosen;
pub use report::{Check, Diagnosis, Outcome};

/// What `lancam doctor` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorPlan {
    /// The stream.
    pub target: Target,
    /// The interface to listen on, by name or by its address; `None`: the one that a viewer would
    /// choose.
    pub interface: Option<String>,
    /// How long to listen.
    pub wait: Duration,
    /// Print the report for programs.
    pub json: bool,
}

/// Examines this machine and prints the diagnosis.
///
/// # Errors
/// The stream cannot be watched, with the first reason; or the target is an SDP file without a
/// stream, or means several streams.
pub fn run(plan: &DoctorPlan) -> Result<()> {
    let diagnosis = examine(plan)?;
    let mut out = io::stdout();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let text = match plan.json {
        true => diagnosis.to_json(),
        false => diagnosis.to_text(out.is_terminal() && !no_color),
    };
    // Whoever closed the pipe does not want to see more.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match diagnosis.why_not() {
        Some(why) => bail!("{} cannot be watched: {why}", diagnosis.group),
        None => Ok(()),
    }
}

/// Examines this machine.
///
/// # Errors
/// The target is an SDP file that describes no stream that can be shown, or means several streams.
pub fn examine(plan: &DoctorPlan) -> Result<Diagnosis> {
    let (mut wanted, lookup) = gather::target::find(&plan.target, plan.interface.as_deref())?;
    let chosen = match (&plan.interface, &wanted.receive.interface) {
        (Some(_), _) => Chosen::User,
        (None, Some(_)) => Chosen::Announcement,
        (None, None) => Chosen::Viewer,
    };
    if plan.interface.is_some() {
        wanted.receive.interface.clone_from(&plan.interface);
    }
    let findings = gather::findings(&wanted, lookup, chosen, plan.wait);
    Ok(check::all(&findings))
}
