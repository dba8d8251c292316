//! `lancam doctor`: why can I not see it? One line for each thing that can be wrong between a sender and a picture on this
//! machine, and what to do about it. It repairs nothing, and needs no privilege: what this user may not see is skipped,
//! with the right that is missing.
//!
//! `gather` finds the facts out (the only part with IO), `check` judges them, `report` prints.

mod check;
mod facts;
mod firewall;
mod gather;
mod hearing;
mod report;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cli::Target;
use crate::view::Wanted;
pub use report::{Check, Report, Status};

/// What `lancam doctor` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorPlan {
    /// The stream.
    pub target: Target,
    /// The interface to listen on, by name or by its address; `None`: the kernel's route decides.
    pub interface: Option<String>,
    /// How long to listen.
    pub wait: Duration,
    /// The report is for programs.
    pub json: bool,
}

/// Examines this machine and prints the report.
///
/// # Errors
/// The stream cannot be watched, with the first reason; or the target is an SDP file that describes none.
pub fn run(plan: &DoctorPlan) -> Result<()> {
    let report = examine(plan)?;
    let mut out = io::stdout();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let text = match plan.json {
        true => report.to_json(),
        false => report.to_text(out.is_terminal() && !no_color),
    };
    // Whoever closed the pipe wants to see no more.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match report.why_not() {
        Some(why) => bail!("{} cannot be watched: {why}", report.group),
        None => Ok(()),
    }
}

/// Examines this machine.
///
/// # Errors
/// The target is an SDP file that describes no stream that can be shown.
pub fn examine(plan: &DoctorPlan) -> Result<Report> {
    // What a target means, a viewer and the doctor say in one place.
    let mut wanted = Wanted::of(&plan.target)?;
    wanted.receive.interface = plan.interface.clone();
    Ok(check::all(&gather::facts(&wanted, plan.wait)))
}
