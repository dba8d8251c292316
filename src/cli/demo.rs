//! `lancam demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::values::{FRAMES, jpeg_path};
use crate::config::check::{self, WHOLE, number};
use crate::config::{DEFAULT_GROUP, Stream};
use crate::demo::DemoPlan;
use crate::source::SourceSpec;
use crate::view::{Target, ViewPlan};

/// `lancam demo`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
It needs no camera, config or network. Without a display it runs for ten
seconds, prints figures and saves a picture, lancam-demo.jpg.")]
pub struct DemoArgs {
    /// What to send [default: pattern:1280x720@30]
    #[arg(long, value_name = "SRC")]
    pub source: Option<SourceSpec>,

    /// Group on the loopback interface [default: 224.3.29.71:10000]
    #[arg(long, value_name = "ADDR:PORT", value_parser = check::group)]
    pub group: Option<SocketAddr>,

    /// No window, even if there is a display
    #[arg(long)]
    pub headless: bool,

    /// Stop after this many frames
    #[arg(long, value_name = "N", allow_negative_numbers = true,
        value_parser = number(WHOLE, FRAMES))]
    pub frames: Option<u64>,

    /// Save the first whole frame as it came, to a .jpg file
    #[arg(long, value_name = "FILE", value_parser = jpeg_path)]
    pub snapshot: Option<PathBuf>,
}

impl DemoArgs {
    /// What the arguments mean.
    pub fn resolve(self) -> DemoPlan {
        const LOOPBACK: &str = "lo";
        const NAME: &str = "demo";
        let group = self.group.unwrap_or(DEFAULT_GROUP);
        let source = self.source.unwrap_or(SourceSpec::Pattern {
            width: 1280,
            height: 720,
            fps: 30.0,
        });
        DemoPlan {
            stream: Stream {
                name: NAME.to_owned(),
                source,
                group,
                group_chosen: true,
                interface: Some(LOOPBACK.to_owned()),
                // Nothing leaves this host.
                ttl: 0,
                looped: true,
                ..Stream::default()
            },
            view: ViewPlan {
                target: Target::Group(group),
                name: Some(NAME.to_owned()),
                interface: Some(LOOPBACK.to_owned()),
                headless: self.headless || !cfg!(feature = "view"),
                frames: self.frames,
                snapshot: self.snapshot,
                overlay: true,
                ..ViewPlan::default()
            },
        }
    }
}
