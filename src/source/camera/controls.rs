//! Controls by name: from the configuration's words to the driver's values, all checked before any
//! is set.

use std::collections::BTreeMap;
use std::ffi::CString;

use super::ring::{Control, ControlKind, Node, Raw};
use crate::source::ControlValue;

/// Why a control cannot be set as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// No control has this name.
    #[error("it has no control `{name}`{}; it has {}", hint(.name, .known), list(.known))]
    Unknown {
        /// As configured.
        name: String,
        /// The names of all controls.
        known: Vec<String>,
    },
    /// A value that the control does not accept.
    #[error("`{name}` cannot be {value}: it takes {allowed}")]
    Value {
        /// As configured.
        name: String,
        /// As configured.
        value: String,
        /// The accepted values, in words.
        allowed: String,
    },
    /// A read-only control.
    #[error("`{name}` can be read but not set")]
    ReadOnly {
        /// As configured.
        name: String,
    },
    /// An array or a struct.
    #[error("`{name}` has no plain value and cannot be set here")]
    Compound {
        /// As configured.
        name: String,
    },
}

fn hint(name: &str, known: &[String]) -> String {
    known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, other)| {
            format!(" (did you mean `{other}`?)")
        })
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.join(", ")
}

/// A label as a name: lower case, with one underscore for every run of characters other than
/// letters and digits, as v4l2-ctl writes it. `Exposure, Auto` becomes `exposure_auto`.
pub(super) fn name_of(label: &str) -> String {
    let words: Vec<String> = label
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("_")
}

/// Names that kernels before and after 5.18 give the same control, if more differs than the order
/// of words.
const RENAMED: [(&str, &str); 5] = [
    ("exposure_absolute", "exposure_time_absolute"),
    ("exposure_auto_priority", "exposure_dynamic_framerate"),
    ("white_balance_temperature_auto", "white_balance_automatic"),
    ("focus_auto", "focus_automatic_continuous"),
    ("gain_auto", "gain_automatic"),
];

/// Finds a control by its name: as written, with its words in another order (`exposure_auto` and
/// `auto_exposure` are the same control in older and newer kernels), or under its other name.
fn find<'a>(controls: &'a [Control], name: &str) -> Option<&'a Control> {
    let name = name_of(name);
    let renamed = RENAMED.iter().find_map(|(old, new)| match () {
        () if *old == name => Some(*new),
        () if *new == name => Some(*old),
        () => None,
    });
    let by = |wanted: &dyn Fn(&str) -> bool| controls.iter().find(|c| wanted(&name_of(&c.label)));
    by(&|label| label == name)
        .or_else(|| by(&|label| words(label) == words(&name)))
        .or_else(|| by(&|label| Some(label) == renamed))
}

fn words(name: &str) -> Vec<&str> {
    let mut words: Vec<_> = name.split('_').collect();
    words.sort_unstable();
    words
}

/// Checks all wanted values and returns what to set, switches and menus first: drivers often accept
/// a value such as an exposure time only when its automatic mode is off.
///
/// # Errors
/// The first control that cannot be set as wanted; nothing has been set then.
pub(super) fn plan<'a>(
    controls: &'a [Control],
    wanted: &BTreeMap<String, ControlValue>,
) -> Result<Vec<(&'a Control, Raw)>, ControlError> {
    let mut plan = Vec::with_capacity(wanted.len());
    for (name, value) in wanted {
        let control = find(controls, name).ok_or_else(|| ControlError::Unknown {
            name: name.clone(),
            known: controls.iter().map(|c| name_of(&c.label)).collect(),
        })?;
        if control.read_only {
            return Err(ControlError::ReadOnly { name: name.clone() });
        }
        plan.push((control, raw(control, name, value)?));
    }
    plan.sort_by_key(|(control, _)| {
        !matches!(control.kind, ControlKind::Boolean | ControlKind::Menu(_))
    });
    Ok(plan)
}

fn raw(control: &Control, name: &str, value: &ControlValue) -> Result<Raw, ControlError> {
    let refused = || ControlError::Value {
        name: name.to_owned(),
        value: match value {
            ControlValue::Number(number) => number.to_string(),
            ControlValue::Text(text) => format!("`{text}`"),
        },
        allowed: allowed(control),
    };
    let number = match (&control.kind, value) {
        (ControlKind::Other, _) => {
            return Err(ControlError::Compound {
                name: name.to_owned(),
            });
        }
        (ControlKind::Text, ControlValue::Text(text)) => {
            let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
            if length < control.min || length > control.max {
                return Err(refused());
            }
            let text = CString::new(text.as_str()).map_err(|_| refused())?;
            return Ok(Raw::Text(text));
        }
        (ControlKind::Text, ControlValue::Number(_)) => return Err(refused()),
        (ControlKind::Menu(items), ControlValue::Text(label)) => {
            i64::from(item(items, label).ok_or_else(refused)?)
        }
        (_, ControlValue::Text(text)) => from_words(control, text).ok_or_else(refused)?,
        (_, ControlValue::Number(number)) => *number,
    };
    if !takes(control, number) {
        return Err(refused());
    }
    Ok(Raw::Number(number))
}

/// A menu's index by its label, or by a prefix that only one label has: `manual` for `Manual Mode`.
fn item(items: &[(u32, String)], label: &str) -> Option<u32> {
    let label = name_of(label);
    let exact = items.iter().find(|(_, other)| name_of(other) == label);
    if let Some((index, _)) = exact {
        return Some(*index);
    }
    let mut begin = items
        .iter()
        .filter(|(_, other)| name_of(other).starts_with(&label) && !label.is_empty());
    match (begin.next(), begin.next()) {
        (Some((index, _)), None) => Some(*index),
        _ => None,
    }
}

fn from_words(control: &Control, text: &str) -> Option<i64> {
    if control.kind == ControlKind::Boolean {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => return Some(1),
            "off" | "false" | "no" => return Some(0),
            _ => {}
        }
    }
    text.parse().ok()
}

fn takes(control: &Control, number: i64) -> bool {
    match &control.kind {
        ControlKind::Menu(items) => items.iter().any(|(index, _)| i64::from(*index) == number),
        ControlKind::Boolean => number == 0 || number == 1,
        ControlKind::Button => true,
        // A bitmask's "maximum" is the set of its bits.
        ControlKind::Bitmask => {
            u32::try_from(number).is_ok_and(|bits| bits & !(control.max as u32) == 0)
        }
        ControlKind::Integer => {
            let from_min = i128::from(number) - i128::from(control.min);
            (control.min..=control.max).contains(&number)
                && from_min % i128::from(control.step.max(1)) == 0
        }
        ControlKind::Text | ControlKind::Other => false,
    }
}

/// The values that a control accepts, in words.
pub(super) fn allowed(control: &Control) -> String {
    match &control.kind {
        ControlKind::Menu(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|(index, label)| format!("{index} ({label})"))
                .collect();
            items.join(", ")
        }
        ControlKind::Boolean => "on or off".to_owned(),
        ControlKind::Button => "any number: it is pressed".to_owned(),
        ControlKind::Bitmask => format!("bits of {:#x}", control.max as u32),
        ControlKind::Integer if control.step > 1 => {
            format!(
                "{} to {} in steps of {}",
                control.min, control.max, control.step
            )
        }
        ControlKind::Integer => format!("{} to {}", control.min, control.max),
        ControlKind::Text => format!("text of {} to {} bytes", control.min, control.max),
        ControlKind::Other => "no plain value".to_owned(),
    }
}

/// Sets what was planned. What the driver refuses is returned in sentences, and the rest is set.
pub(super) fn apply(node: &Node, plan: &[(&Control, Raw)]) -> Vec<String> {
    plan.iter()
        .filter_map(|(control, value)| {
            let error = node.set_control(control, value).err()?;
            let name = name_of(&control.label);
            Some(if control.inactive {
                format!("did not take `{name}`: {error} (another control currently overrides it)")
            } else {
                format!("did not take `{name}`: {error}")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ControlValue::{Number, Text};

    fn control(id: u32, label: &str, kind: ControlKind, min: i64, max: i64, step: u64) -> Control {
        Control::for_test(id, label, kind, min, max, step)
    }

    fn camera() -> Vec<Control> {
        let exposure = ["Auto Mode", "Manual Mode", "Shutter Priority Mode"];
        let items = (0..).zip(exposure.map(str::to_owned)).collect();
        vec![
            control(1, "Gain", ControlKind::Integer, 0, 255, 1),
            control(2, "Auto Exposure", ControlKind::Menu(items), 0, 2, 1),
            control(
                3,
                "Exposure Time, Absolute",
                ControlKind::Integer,
                3,
                2047,
                4,
            ),
            control(4, "White Balance, Automatic", ControlKind::Boolean, 0, 1, 1),
            control(5, "Label", ControlKind::Text, 2, 4, 1),
            control(6, "LEDs", ControlKind::Bitmask, 0, 0b1010, 0),
            control(7, "Matrix", ControlKind::Other, 0, 9, 1),
        ]
    }

    fn set(name: &str, value: ControlValue) -> Result<(u32, Raw), String> {
        let controls = camera();
        let wanted = BTreeMap::from([(name.to_owned(), value)]);
        match plan(&controls, &wanted) {
            Ok(plan) => Ok((plan[0].0.id, plan[0].1.clone())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn names_are_v4l2_ctl_s() {
        assert_eq!(name_of("Exposure, Auto"), "exposure_auto");
        assert_eq!(
            name_of("White Balance, Automatic"),
            "white_balance_automatic"
        );
        assert_eq!(name_of("Pan (Absolute) "), "pan_absolute");
    }

    #[test]
    fn old_and_new_names_find_the_same_control() {
        for name in ["auto_exposure", "exposure_auto", "Exposure, Auto"] {
            assert_eq!(set(name, Text("manual".into())), Ok((2, Raw::Number(1))));
        }
        assert_eq!(set("exposure_absolute", Number(7)), Ok((3, Raw::Number(7))));
        let balance = set("white_balance_temperature_auto", Text("off".into()));
        assert_eq!(balance, Ok((4, Raw::Number(0))));
    }

    #[test]
    fn menus_take_numbers_and_labels() {
        assert_eq!(set("auto_exposure", Number(2)), Ok((2, Raw::Number(2))));
        assert_eq!(
            set("auto_exposure", Text("Shutter Priority Mode".into())),
            Ok((2, Raw::Number(2)))
        );
        assert_eq!(
            set("auto_exposure", Text("aperture".into())).unwrap_err(),
            "`auto_exposure` cannot be `aperture`: it takes 0 (Auto Mode), 1 (Manual Mode), 2 (Shutter Priority Mode)"
        );
        assert!(set("auto_exposure", Number(3)).is_err());
    }

    #[test]
    fn ranges_are_checked_and_named() {
        assert_eq!(set("gain", Number(255)), Ok((1, Raw::Number(255))));
        assert_eq!(set("gain", Text("32".into())), Ok((1, Raw::Number(32))));
        assert_eq!(
            set("gain", Number(256)).unwrap_err(),
            "`gain` cannot be 256: it takes 0 to 255"
        );
        assert_eq!(
            set("exposure_absolute", Number(8)).unwrap_err(),
            "`exposure_absolute` cannot be 8: it takes 3 to 2047 in steps of 4"
        );
        assert!(set("gain", Number(i64::MIN)).is_err());
        assert!(set("leds", Number(0b1000)).is_ok());
        assert!(set("leds", Number(0b0100)).is_err());
        assert!(set("label", Text("abc".into())).is_ok());
        assert!(set("label", Text("abcde".into())).is_err());
        assert!(set("label", Text("a\0b".into())).is_err());
        assert!(set("matrix", Number(1)).is_err());
    }

    #[test]
    fn an_unknown_control_is_answered_with_the_known_ones() {
        let error = set("gian", Number(1)).unwrap_err();
        assert!(
            error.starts_with("it has no control `gian` (did you mean `gain`?); it has gain, ")
        );
    }

    #[test]
    fn switches_are_set_before_values() {
        let controls = camera();
        let wanted = BTreeMap::from([
            ("exposure_absolute".to_owned(), Number(7)),
            ("exposure_auto".to_owned(), Text("manual".into())),
            ("gain".to_owned(), Number(1)),
        ]);
        let plan = plan(&controls, &wanted).unwrap();
        let ids: Vec<_> = plan.iter().map(|(control, _)| control.id).collect();
        assert_eq!(ids, [2, 3, 1]);
    }
}
