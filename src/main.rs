//! The `lancam` binary: arguments in, exit code out. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use lancam::cli::{Cli, Command, UsageError};
use lancam::signals::{Hangup, Signals};
use lancam::view::BadSdp;
use lancam::{list, logging, text, view};

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    logging::init(cli.verbose);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error_text = text::without_codes(format_args!("{error:#}"));
            // The terminal may be gone.
            let _ = writeln!(std::io::stderr(), "lancam: {error_text}");
            // 2: wrong usage or config; 1: failed while running.
            let is_usage = error.is::<UsageError>() || error.is::<BadSdp>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        #[cfg(feature = "send")]
        Command::Send(args) => lancam::send::run(args.resolve()?, signals(Hangup::Reload)?),
        Command::List(args) => list::run(&args.resolve(), signals(Hangup::Stop)?),
        Command::View(args) => view::run(&args.resolve()?, signals(Hangup::Stop)?),
        #[cfg(feature = "send")]
        Command::Demo(args) => lancam::demo::run(args.resolve(), signals(Hangup::Stop)?),
        #[cfg(feature = "send")]
        Command::Cameras(args) => {
            print!("{}", args.run());
            Ok(())
        }
        #[cfg(feature = "send")]
        Command::Check(args) => {
            print!("{}", args.run()?);
            Ok(())
        }
        Command::Doctor(args) => lancam::doctor::run(&args.resolve()?),
    }
}

fn signals(hangup: Hangup) -> Result<Signals> {
    Signals::install(hangup).context("the signal handlers could not be installed")
}
