//! The file as it is written: every key that there is, each with its text and what serde made of
//! it. Nothing is checked here but types; limits and defaults are `resolve`'s business.
//!
//! Each value is a [`Key`], read on its own, so that one wrong value hides no other and each
//! mistake knows its place in the file.

use std::collections::BTreeMap;
use std::fmt;

use ron::error::SpannedError;
use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::source::ControlValue;

/// One value of the file.
pub(super) struct Key<'a, T> {
    /// Its RON text, a part of the file's; empty where the key is not in the file.
    pub(super) text: &'a str,
    /// What it says; `None` where the key is not in the file.
    pub(super) value: Option<Result<T, Box<SpannedError>>>,
}

impl<T> Default for Key<'_, T> {
    fn default() -> Self {
        Key {
            text: "",
            value: None,
        }
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Key<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Key::read(<&RawValue>::deserialize(deserializer)?.get_ron()))
    }
}

impl<'a, T: Deserialize<'a>> Key<'a, T> {
    /// Reads a value from its text.
    pub(super) fn read(text: &'a str) -> Self {
        Key {
            text,
            value: Some(options().from_str(text).map_err(Box::new)),
        }
    }
}

/// How RON is read: `Some(3)` may be written `3`, and nesting is bounded (a config needs 8 levels;
/// ron counts two or three for each).
fn options() -> ron::Options {
    ron::Options::default()
        .with_default_extension(Extensions::IMPLICIT_SOME)
        .with_recursion_limit(64)
}

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "Config")]
pub(super) struct RawConfig<'a> {
    #[serde(borrow)]
    pub(super) streams: Key<'a, Vec<Key<'a, RawStream<'a>>>>,
    #[serde(borrow)]
    pub(super) status: Key<'a, RawStatus<'a>>,
}

/// One stream.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "Stream")]
pub(super) struct RawStream<'a> {
    #[serde(borrow)]
    pub(super) name: Key<'a, String>,
    #[serde(borrow)]
    pub(super) source: Key<'a, RawSource<'a>>,
    #[serde(borrow)]
    pub(super) group: Key<'a, String>,
    #[serde(borrow)]
    pub(super) interface: Key<'a, Option<String>>,
    #[serde(borrow)]
    pub(super) ttl: Key<'a, u8>,
    #[serde(borrow)]
    pub(super) loopback: Key<'a, bool>,
    #[serde(borrow)]
    pub(super) dscp: Key<'a, u8>,
    #[serde(borrow)]
    pub(super) mtu: Key<'a, Option<u16>>,
    #[serde(borrow)]
    pub(super) pacing: Key<'a, RawPacing>,
    #[serde(borrow)]
    pub(super) repair: Key<'a, RawRepair>,
    #[serde(borrow)]
    pub(super) retransmit: Key<'a, bool>,
    #[serde(borrow)]
    pub(super) pin: Key<'a, Option<usize>>,
    #[serde(borrow)]
    pub(super) realtime: Key<'a, Option<u8>>,
    #[serde(borrow)]
    pub(super) lock_memory: Key<'a, bool>,
    #[serde(borrow)]
    pub(super) fps: Key<'a, Option<f64>>,
    #[serde(borrow, rename = "loop")]
    pub(super) looped: Key<'a, bool>,
    #[serde(borrow)]
    pub(super) resize: Key<'a, Option<(u32, u32)>>,
    #[serde(borrow)]
    pub(super) quality: Key<'a, u8>,
    #[serde(borrow)]
    pub(super) sdp: Key<'a, Option<String>>,
    #[serde(borrow)]
    pub(super) wait_for_viewers: Key<'a, Option<RawWait<'a>>>,
    #[serde(borrow)]
    pub(super) adapt: Key<'a, RawAdapt>,
    #[serde(borrow)]
    pub(super) only_while_watched: Key<'a, bool>,
    #[serde(borrow)]
    pub(super) announce: Key<'a, bool>,
}

/// `source`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Source")]
// Read once, and gone again.
#[allow(clippy::large_enum_variant)]
pub(super) enum RawSource<'a> {
    Camera {
        #[serde(borrow, default)]
        device: Key<'a, String>,
        #[serde(borrow, default)]
        format: Key<'a, RawFormat>,
        #[serde(borrow, default)]
        size: Key<'a, Option<(u32, u32)>>,
        #[serde(borrow, default)]
        fps: Key<'a, Option<f64>>,
        #[serde(borrow, default)]
        sampling: Key<'a, RawSampling>,
        #[serde(borrow, default)]
        controls: Key<'a, BTreeMap<String, Key<'a, RawControl>>>,
    },
    File(#[serde(borrow)] Key<'a, String>),
    Pattern(#[serde(borrow)] Key<'a, String>),
    Exec(#[serde(borrow)] Key<'a, String>),
    Stdin,
}

/// `format` of a camera.
#[derive(Deserialize)]
#[serde(rename = "Format")]
pub(super) enum RawFormat {
    Auto,
    Mjpeg,
    Yuyv,
    Nv12,
    Yu12,
    Rgb3,
}

/// `sampling` of a camera.
#[derive(Deserialize)]
#[serde(rename = "Sampling")]
pub(super) enum RawSampling {
    Yuv420,
    Yuv422,
}

/// One of a camera's `controls`.
pub(super) struct RawControl(pub(super) ControlValue);

impl<'de> Deserialize<'de> for RawControl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ControlVisitor;

        impl Visitor<'_> for ControlVisitor {
            type Value = RawControl;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number, true, false or a text")
            }

            fn visit_bool<E>(self, v: bool) -> Result<RawControl, E> {
                Ok(RawControl(ControlValue::Number(i64::from(v))))
            }

            fn visit_i64<E>(self, v: i64) -> Result<RawControl, E> {
                Ok(RawControl(ControlValue::Number(v)))
            }

            fn visit_u64<E: Error>(self, v: u64) -> Result<RawControl, E> {
                let v = i64::try_from(v).map_err(|_| E::custom("too large"))?;
                self.visit_i64(v)
            }

            fn visit_str<E>(self, v: &str) -> Result<RawControl, E> {
                Ok(RawControl(ControlValue::Text(v.to_owned())))
            }
        }

        deserializer.deserialize_any(ControlVisitor)
    }
}

/// `pacing`.
#[derive(Deserialize)]
#[serde(rename = "Pacing")]
pub(super) enum RawPacing {
    Auto,
    Off,
    Spread(f32),
}

/// `repair`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Repair")]
pub(super) enum RawRepair {
    Off,
    Fixed(f32),
    Auto {
        #[serde(default = "repair_max")]
        max: f32,
    },
}

/// What `Auto()` means.
fn repair_max() -> f32 {
    super::REPAIR_AUTO_MAX
}

/// `adapt`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Adapt")]
pub(super) enum RawAdapt {
    Off,
    FrameRate {
        #[serde(default = "adapt_min")]
        min: f64,
    },
}

/// What `FrameRate()` means.
fn adapt_min() -> f64 {
    5.0
}

/// `wait_for_viewers`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "WaitForViewers")]
pub(super) struct RawWait<'a> {
    #[serde(borrow, default)]
    pub(super) count: Key<'a, u32>,
    #[serde(borrow, default)]
    pub(super) at_most_s: Key<'a, u32>,
}

/// `status`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Status")]
// Read once, and gone again.
#[allow(clippy::large_enum_variant)]
pub(super) enum RawStatus<'a> {
    Off,
    On {
        #[serde(borrow, default)]
        listen: Key<'a, String>,
        #[serde(borrow, default)]
        token: Key<'a, Option<String>>,
    },
}

/// What each key takes, in the words that follow "write".
const TAKES: &[(&str, &str)] = &[
    (
        "streams",
        "a list of streams: [(name: \"porch\"), (name: \"yard\", group: \"224.3.29.72:10000\")]",
    ),
    ("name", "a text of 1 to 64 characters in quotes"),
    (
        "source",
        "Camera(device: \"/dev/video0\"), File(\"clip.avi\"), Pattern(\"1280x720@30\"), Exec(\"rpicam-vid ...\") or Stdin",
    ),
    (
        "group",
        "\"ADDRESS:PORT\", for example \"224.3.29.71:10000\" or \"[ff15::1d47]:10000\"",
    ),
    (
        "interface",
        "an interface's name or address in quotes, for example \"eth0\", or None",
    ),
    ("ttl", "a whole number from 0 to 255"),
    ("loopback", "true or false"),
    ("dscp", "a whole number from 0 to 63"),
    (
        "mtu",
        "a whole number from 576 (IPv6: 1280) to 65535, or None",
    ),
    (
        "pacing",
        "Auto, Off or Spread(FRACTION) with a fraction above 0 and at most 0.8",
    ),
    (
        "repair",
        "Off, Fixed(SHARE) or Auto(max: SHARE) with a share above 0 and at most 1",
    ),
    ("retransmit", "true or false"),
    ("pin", "the number of a core from 0 to 1023, or None"),
    ("realtime", "a whole number from 1 to 99, or None"),
    ("lock_memory", "true or false"),
    ("fps", "a number from 0.1 to 240, or None"),
    ("loop", "true or false"),
    (
        "resize",
        "(WIDTH, HEIGHT) with sides from 16 to 8192, or None",
    ),
    ("quality", "a whole number from 1 to 100"),
    ("sdp", "the path of a file in quotes, or None"),
    ("wait_for_viewers", "(count: 1, at_most_s: 10) or None"),
    (
        "adapt",
        "Off or FrameRate(min: FPS) with 0.1 to 240 frames a second",
    ),
    ("only_while_watched", "true or false"),
    ("announce", "true or false"),
    ("File", "the path of a file in quotes"),
    (
        "Pattern",
        "\"WIDTHxHEIGHT@FPS\", for example \"1280x720@30\"",
    ),
    ("Exec", "a shell command in quotes"),
    (
        "status",
        "Off or On(listen: \"127.0.0.1:8080\", token: None)",
    ),
    (
        "device",
        "the path of a camera in quotes, for example \"/dev/video0\"",
    ),
    ("format", "Auto, Mjpeg, Yuyv, Nv12, Yu12 or Rgb3"),
    ("sampling", "Yuv420 or Yuv422"),
    (
        "size",
        "(WIDTH, HEIGHT) with sides from 1 to 65535, or None",
    ),
    (
        "controls",
        "{\"gain\": 32, \"exposure_auto\": \"manual\"}: a number, true, false or a text for each",
    ),
    ("count", "a whole number from 1 to 10000"),
    ("at_most_s", "a whole number of seconds from 1 to 86400"),
    ("listen", "\"ADDRESS:PORT\", for example \"127.0.0.1:8080\""),
    (
        "token",
        "8 to 256 printable ASCII characters in quotes, without spaces, or None",
    ),
];

/// What `key` takes.
pub(super) fn takes(key: &str) -> Option<&'static str> {
    TAKES
        .iter()
        .find(|(k, _)| *k == key)
        .map(|(_, takes)| *takes)
}

/// What keys stand in `Camera(...)`: told to those who write them one level too high.
pub(super) const CAMERA_KEYS: &[&str] = &["device", "format", "size", "sampling", "controls"];
