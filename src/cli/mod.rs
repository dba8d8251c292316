//! The command line: what may be written, and what it means. Each subcommand has a file with its
//! raw arguments, as clap reads them, and their translation into the subcommand's plan. Only the
//! config file is opened here.

#[cfg(feature = "send")]
mod cameras;
#[cfg(feature = "send")]
mod check;
#[cfg(feature = "send")]
mod demo;
mod doctor;
mod list;
#[cfg(feature = "send")]
mod send;
mod services;
mod usage;
mod values;
mod view;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

#[cfg(feature = "send")]
use self::{cameras::CamerasArgs, check::CheckArgs, demo::DemoArgs, send::SendArgs};
use self::{doctor::DoctorArgs, list::ListArgs, view::ViewArgs};

pub use self::usage::UsageError;

/// Version, commit and features, as `--version` prints them.
pub const VERSION: &str = match (cfg!(feature = "send"), cfg!(feature = "view")) {
    (true, true) => version!("send, view"),
    (true, false) => version!("send"),
    (false, true) => version!("view"),
    (false, false) => version!("none"),
};

/// The commit comes from build.rs.
macro_rules! version {
    ($features:literal) => {
        concat!(
            env!("CARGO_PKG_VERSION"),
            " (",
            env!("LANCAM_COMMIT"),
            "; features: ",
            $features,
            ")"
        )
    };
}
use version;

/// A camera for your LAN: MJPEG by UDP multicast, at the lowest delay.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "lancam",
    version = VERSION,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = "\
Try it, with nothing set up:
  lancam demo

Send a camera or a file to everyone on this network:
  lancam send --source /dev/video0
  lancam send --source clip.avi --loop

Watch it on any other machine:
  lancam view
  lancam list

No picture?
  lancam doctor

Exit status: 0 success, 1 failure while running, 2 wrong usage or config."
)]
pub struct Cli {
    /// Log more; twice logs everything. LANCAM_LOG takes precedence
    #[arg(short, long, global = true, display_order = 100, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// clap's; help and version are among them.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words).map_err(|error| match error.get(ContextKind::InvalidArg) {
            // clap takes `-v=3` for the flags `-v` and `-=`.
            Some(ContextValue::String(flag)) if flag == "-=" || flag == "--verbose..." => {
                let why = "-v takes no value; write -v to log more, -vv to log everything";
                Cli::command().error(ErrorKind::UnknownArgument, why)
            }
            _ => error,
        })
    }
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Send a camera, a file or the test pattern to a group
    #[cfg(feature = "send")]
    Send(Box<SendArgs>),
    /// Watch a stream, in a window or without one
    View(Box<ViewArgs>),
    /// List the streams and cameras on this network
    List(ListArgs),
    /// Send the test pattern over this machine's loopback and show it
    #[cfg(feature = "send")]
    Demo(Box<DemoArgs>),
    /// List this machine's cameras with formats, sizes, rates and controls
    #[cfg(feature = "send")]
    Cameras(CamerasArgs),
    /// Check a config: print what it means, or what is wrong and where
    #[cfg(feature = "send")]
    Check(CheckArgs),
    /// Find out why there is no picture
    Doctor(DoctorArgs),
}

#[cfg(all(test, feature = "send"))]
mod tests;
