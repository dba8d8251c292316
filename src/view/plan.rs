//! What `lancam view` was asked to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::config::Services;
use crate::display::strips::default_helpers;
use crate::stats::StatsTo;

/// What is shown when part of a frame is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnLoss {
    /// Keep the last whole frame.
    #[default]
    Hold,
    /// Show what arrived, with the last frame in the gaps.
    Conceal,
}

/// The named SDP file cannot be used: a usage error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this SDP file cannot be used")]
pub struct BadSdp;

/// Which stream to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one in the default group, or else the only one announced.
    Any,
    /// The one announced under this name.
    Name(String),
    /// What is sent to this address and port.
    Group(SocketAddr),
    /// What this SDP file describes.
    Sdp(PathBuf),
}

/// Where frames are recorded, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An AVI file.
    Avi(PathBuf),
    /// A file of concatenated JPEGs.
    Mjpeg(PathBuf),
    /// Standard output, as concatenated JPEGs.
    Stdout,
}

/// What `lancam view` was asked to do, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewPlan {
    /// The stream.
    pub target: Target,
    /// What to call it; `None`: its own name.
    pub name: Option<String>,
    /// The interface to listen on, by name or by its address; `None`: the kernel's route decides.
    pub interface: Option<String>,
    /// No window.
    pub headless: bool,
    /// Stop after this many frames, at least 1.
    pub frames: Option<u64>,
    /// Where frames are recorded.
    pub record: Option<Record>,
    /// Where the first whole frame is saved.
    pub snapshot: Option<PathBuf>,
    /// The window's size relative to the picture's, 0.1 to 8; `None`: fit the screen.
    pub scale: Option<f32>,
    /// Whether the overlay is on from the start.
    pub overlay: bool,
    /// How many threads help to decode, 0 to 3; 0: each frame is decoded when all of it is there.
    pub decoders: usize,
    /// Whether the window fills the screen from the start.
    pub full_screen: bool,
    /// What is shown when part of a frame is lost.
    pub on_loss: OnLoss,
    /// Whether to request retransmission of lost packets.
    pub retransmit: bool,
    /// How long to wait for an incomplete frame, in frame intervals, 1 to 3.
    pub late: u8,
    /// What is served to visitors.
    pub services: Services,
    /// Where counters are written.
    pub stats: Option<StatsTo>,
}

impl Default for ViewPlan {
    fn default() -> ViewPlan {
        ViewPlan {
            target: Target::Any,
            name: None,
            interface: None,
            headless: false,
            frames: None,
            record: None,
            snapshot: None,
            scale: None,
            overlay: false,
            decoders: default_helpers(),
            full_screen: false,
            on_loss: OnLoss::Hold,
            retransmit: false,
            late: 1,
            services: Services::default(),
            stats: None,
        }
    }
}
