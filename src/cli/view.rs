//! `lancam view`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::services::ServiceFlags;
use super::usage::UsageError;
use super::values::{FRAMES, jpeg_path, record, stats_to, target};
use crate::config::Services;
use crate::config::check::{self, NUMBER, WHOLE, number};
use crate::display::help::KEYS;
use crate::display::strips::default_helpers;
use crate::stats::StatsTo;
use crate::view::{OnLoss, Record, Target, ViewPlan};

/// `lancam view`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = after_help())]
pub struct ViewArgs {
    /// Stream to watch: its name or the beginning of it, its group, or an SDP file
    #[arg(value_name = "NAME|ADDR:PORT|FILE.sdp")]
    pub target: Option<String>,

    /// Group to watch, the same as ADDR:PORT alone
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::group, conflicts_with = "target")]
    pub group: Option<SocketAddr>,

    /// Name for the window and saved pictures [default: the stream's]
    #[arg(long, value_parser = check::name)]
    pub name: Option<String>,

    /// Interface to listen on, by name or address
    #[arg(long, value_parser = check::interface)]
    pub interface: Option<String>,

    /// No window: only count, record or save
    #[arg(long)]
    pub headless: bool,

    /// Stop after this many frames
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number(WHOLE, FRAMES))]
    pub frames: Option<u64>,

    /// Record the frames as they came: .avi, .mjpeg, or - for MJPEG on standard
    /// output
    #[arg(long, value_name = "FILE", value_parser = record, allow_hyphen_values = true)]
    pub record: Option<Record>,

    /// Save the first whole frame as it came, to a .jpg file
    #[arg(long, value_name = "FILE", value_parser = jpeg_path)]
    pub snapshot: Option<PathBuf>,

    /// Window size relative to the picture, 0.1 to 8 [default: to suit the screen]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true,
        value_parser = number(NUMBER, 0.1..=8.0_f32))]
    pub scale: Option<f32>,

    /// Show statistics from the start
    #[arg(long)]
    pub overlay: bool,

    /// Threads that help to decode a frame while it arrives, 0 to 3 [default: one
    /// for each processor core but one]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number(WHOLE, 0..=3_usize))]
    pub decoders: Option<usize>,
    /// Fill the screen from the start
    #[arg(long)]
    pub fullscreen: bool,

    /// When part of a frame is lost, keep the last one or show what arrived
    #[arg(long, value_name = "hold|conceal", hide_possible_values = true, default_value_t = OnLoss::Hold, value_enum)]
    pub on_loss: OnLoss,

    /// Ask the sender for lost packets; the sender needs --retransmit too
    #[arg(long)]
    pub retransmit: bool,

    /// How long to wait for an incomplete frame, in frame intervals, 1 to 3
    #[arg(long, value_name = "FRAMES", default_value_t = 1, allow_negative_numbers = true,
        value_parser = number(WHOLE, 1..=3_u8))]
    pub late: u8,

    #[command(flatten)]
    services: ServiceFlags,

    /// Write statistics as JSON, one object per second (-: standard output)
    #[arg(long, value_name = "FILE|-", value_parser = stats_to, allow_hyphen_values = true)]
    pub stats: Option<StatsTo>,
}

impl ViewArgs {
    /// What the arguments mean.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(&self) -> Result<ViewPlan, UsageError> {
        if !cfg!(feature = "view") && !self.headless {
            return Err(UsageError::Usage(
                "this lancam was built without a window; add --headless".to_owned(),
            ));
        }
        let of_window = [
            ("--scale", self.scale.is_some()),
            ("--fullscreen", self.fullscreen),
            ("--overlay", self.overlay),
            ("--decoders", self.decoders.is_some()),
        ];
        let of_window = of_window.into_iter().find(|(_, is_given)| *is_given);
        if let Some((flag, _)) = of_window.filter(|_| self.headless) {
            return Err(UsageError::Usage(format!(
                "{flag} is for a window, but --headless shows none; drop one of them"
            )));
        }
        one_writer_on_stdout(self.record.as_ref(), self.stats.as_ref())?;
        let mut services = Services::default();
        self.services.apply(&mut services)?;
        Ok(ViewPlan {
            target: match (self.group, &self.target) {
                (Some(group), _) => Target::Group(group),
                (None, Some(text)) => target(text)?,
                (None, None) => Target::Any,
            },
            name: self.name.clone(),
            interface: self.interface.clone(),
            headless: self.headless,
            frames: self.frames,
            record: self.record.clone(),
            snapshot: self.snapshot.clone(),
            scale: self.scale,
            overlay: self.overlay,
            decoders: self.decoders.unwrap_or_else(default_helpers),
            full_screen: self.fullscreen,
            on_loss: self.on_loss,
            retransmit: self.retransmit,
            late: self.late,
            services,
            stats: self.stats.clone(),
        })
    }
}

fn after_help() -> String {
    let column = KEYS.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let keys: String = (KEYS.iter())
        .map(|(key, what)| format!("  {key:column$}  {what}\n"))
        .collect();
    format!(
        "\
Keys in the window:
{keys}
If no stream is named, the one in 224.3.29.71:10000 is shown, or else the only
one announced. If several are meant, the window lists them: choose with the
arrow keys and Enter, 1 to 9, or the mouse. Without a window that is an error.

Examples:
  lancam view
  lancam view porch
  lancam view porch --fullscreen
  lancam view 224.3.29.72:10000 --interface eth0
  lancam view porch.sdp
  lancam view --headless --frames 100 --record clip.avi
  lancam view --headless --frames 1 --snapshot now.jpg"
    )
}

/// A recording and statistics cannot both go to standard output.
fn one_writer_on_stdout(
    record: Option<&Record>,
    stats: Option<&StatsTo>,
) -> Result<(), UsageError> {
    if record == Some(&Record::Stdout) && stats == Some(&StatsTo::Stdout) {
        return Err(UsageError::Usage(
            "--record - and --stats - both write to standard output; give one of them a file"
                .to_owned(),
        ));
    }
    Ok(())
}
