//! `lancam cameras`.

use clap::Args;

/// `lancam cameras`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  lancam cameras
  lancam cameras --json")]
pub struct CamerasArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl CamerasArgs {
    /// The list, ready for printing.
    pub fn run(&self) -> String {
        let cameras = crate::source::camera::list();
        if self.json {
            // Plain data with string keys can always be written.
            return serde_json::to_string_pretty(&cameras).unwrap_or_default() + "\n";
        }
        if cameras.is_empty() {
            return "no cameras on this machine (looked at /dev/video*)\n".to_owned();
        }
        let texts: Vec<String> = cameras.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }
}
