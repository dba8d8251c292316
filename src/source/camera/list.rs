//! The cameras and their abilities, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::controls::{allowed, name_of};
use super::error::CameraError;
use super::find;
use super::format::{self, Pixels};
use super::ring::{Control, ControlKind, Node, Offer, SizeRange};
use crate::text::without_codes;

/// A camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CameraInfo {
    /// The node: `/dev/video0`. Its number may change.
    pub device: PathBuf,
    /// A stable path: by-id, else by-path.
    pub stable: Option<PathBuf>,
    /// What the camera calls itself.
    pub card: String,
    /// The kernel driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// Pixel formats; those that need no encoding come first.
    pub formats: Vec<FormatInfo>,
    /// Whether one of the formats is JPEG, which is sent as it is.
    pub without_encoding: bool,
    /// Its controls.
    pub controls: Vec<ControlInfo>,
    /// Why the device could not be opened or queried; the rest is then empty or incomplete.
    pub problem: Option<String>,
}

/// A pixel format of a camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatInfo {
    /// Its four letters.
    pub fourcc: String,
    /// The driver's description.
    pub description: String,
    /// `as it is`, `encoded here`, or `not read`.
    pub sent: &'static str,
    /// The sizes; for a range, its smallest and largest.
    pub sizes: Vec<SizeInfo>,
}

/// A size of a format.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeInfo {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second, fastest first.
    pub rates: Vec<f64>,
}

/// A control of a camera.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlInfo {
    /// Its name in the configuration.
    pub name: String,
    /// The driver's description.
    pub label: String,
    /// The current value.
    pub value: Option<i64>,
    /// Its value after power-up.
    pub default: i64,
    /// Lowest value.
    pub min: i64,
    /// Highest value.
    pub max: i64,
    /// Step between values.
    pub step: u64,
    /// A menu's indices and labels.
    pub menu: Vec<(u32, String)>,
    /// The accepted values, in words.
    pub allowed: String,
    /// It can only be read.
    pub read_only: bool,
    /// Currently without effect: another control overrides it.
    pub inactive: bool,
}

/// All cameras, in the order of their nodes' numbers, without metadata nodes, outputs and codecs. A
/// node that cannot be opened is listed with its `problem`.
pub fn list() -> Vec<CameraInfo> {
    find::nodes().into_iter().filter_map(info).collect()
}

fn info(device: PathBuf) -> Option<CameraInfo> {
    let mut info = CameraInfo {
        stable: find::by_id(&device),
        ..CameraInfo::default()
    };
    match find::open(&device) {
        Ok((_, node)) => describe(&node, &mut info),
        Err(CameraError::NotACamera { .. } | CameraError::Absent { .. }) => return None,
        Err(error) => info.problem = Some(error.to_string()),
    }
    info.device = device;
    Some(info)
}

fn describe(node: &Node, info: &mut CameraInfo) {
    let about = node.about();
    info.card.clone_from(&about.card);
    info.driver.clone_from(&about.driver);
    info.bus.clone_from(&about.bus);
    let offers = node.formats().unwrap_or_else(|error| {
        info.problem = Some(format!(
            "it does not list its formats: {}",
            without_codes(error)
        ));
        Vec::new()
    });
    info.formats = offers
        .iter()
        .map(|offer| format_info(node, offer))
        .collect();
    info.formats.sort_by_key(|format| match format.sent {
        AS_IT_IS => 0,
        ENCODED => 1,
        _ => 2,
    });
    info.without_encoding = info.formats.iter().any(|format| format.sent == AS_IT_IS);
    let controls = node.controls().unwrap_or_default();
    info.controls = controls.iter().map(|c| control_info(node, c)).collect();
}

const AS_IT_IS: &str = "as it is";
const ENCODED: &str = "encoded here";
const NOT_READ: &str = "not read";

fn format_info(node: &Node, offer: &Offer) -> FormatInfo {
    let sizes = node.sizes(offer.fourcc).unwrap_or_default();
    let ends = sizes.iter().flat_map(|size| match *size {
        SizeRange::One(size) => vec![size],
        SizeRange::Range(from, to, _) => vec![from, to],
    });
    FormatInfo {
        fourcc: offer.fourcc.to_string(),
        description: offer.description.clone(),
        sent: match format::meaning(offer.fourcc) {
            Some(Pixels::Jpeg) => AS_IT_IS,
            Some(_) => ENCODED,
            None => NOT_READ,
        },
        sizes: ends
            .map(|(width, height)| SizeInfo {
                width,
                height,
                rates: node
                    .rates(offer.fourcc, (width, height))
                    .unwrap_or_default(),
            })
            .collect(),
    }
}

fn control_info(node: &Node, control: &Control) -> ControlInfo {
    ControlInfo {
        name: name_of(&control.label),
        label: control.label.clone(),
        value: node.value(control),
        default: control.default,
        min: control.min,
        max: control.max,
        step: control.step,
        menu: match &control.kind {
            ControlKind::Menu(items) => items.clone(),
            _ => Vec::new(),
        },
        allowed: allowed(control),
        read_only: control.read_only,
        inactive: control.inactive,
    }
}

impl fmt::Display for CameraInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.device.display())?;
        if !self.card.is_empty() {
            write!(f, ": {} ({}, {})", self.card, self.driver, self.bus)?;
        }
        writeln!(f)?;
        if let Some(stable) = &self.stable {
            writeln!(f, "  device: {}", stable.display())?;
        }
        if let Some(problem) = &self.problem {
            writeln!(f, "  {problem}")?;
        }
        let (read, unread): (Vec<_>, Vec<_>) = self
            .formats
            .iter()
            .partition(|format| format.sent != NOT_READ);
        for format in read {
            writeln!(
                f,
                "  {}, sent {} ({})",
                format.fourcc,
                sent(format),
                format.description
            )?;
            for size in &format.sizes {
                let rates: Vec<_> = size.rates.iter().map(|r| format::trim(*r)).collect();
                write!(f, "    {}x{}", size.width, size.height)?;
                if !rates.is_empty() {
                    write!(f, " at {} fps", rates.join(", "))?;
                }
                writeln!(f)?;
            }
        }
        if !unread.is_empty() {
            let names: Vec<_> = unread.iter().map(|format| format.fourcc.as_str()).collect();
            writeln!(f, "  not read: {}", names.join(", "))?;
        }
        if !self.controls.is_empty() {
            writeln!(f, "  controls")?;
        }
        for control in &self.controls {
            write!(f, "    {}: {}", control.name, control.allowed)?;
            if let Some(value) = control.value {
                write!(f, "; now {value}")?;
            }
            if control.read_only {
                write!(f, ", read only")?;
            }
            if control.inactive {
                write!(f, ", currently without effect")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn sent(format: &FormatInfo) -> &'static str {
    if format.sent == AS_IT_IS {
        "as it is, without encoding"
    } else {
        "encoded here"
    }
}
