//! How large text is on this desktop, against a screen of 96 dots an inch: by `Xft.dpi` among the X
//! resources, which desktops set, or by `GDK_SCALE`.

use x11rb::errors::ReplyError;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _};
use x11rb::rust_connection::RustConnection;

/// Beyond these it is a mistake.
const SANE: std::ops::RangeInclusive<f32> = 0.5..=8.0;
/// How many four-byte words of the resources are read.
const MOST: u32 = 1 << 16;

/// As the desktop of `root`, the first screen's, has it.
pub(super) fn scale(x: &RustConnection, root: u32) -> f32 {
    let resources = resources(x, root).unwrap_or_default();
    let gdk = std::env::var("GDK_SCALE").ok();
    scale_of(&String::from_utf8_lossy(&resources), gdk.as_deref())
}

fn resources(x: &RustConnection, root: u32) -> Result<Vec<u8>, ReplyError> {
    let (property, kind) = (AtomEnum::RESOURCE_MANAGER, AtomEnum::STRING);
    let reply = x
        .get_property(false, root, property, kind, 0, MOST)?
        .reply()?;
    Ok(reply.value)
}

fn scale_of(resources: &str, gdk: Option<&str>) -> f32 {
    let number = |text: &str| text.trim().parse().ok();
    let dpi = resources
        .lines()
        .find_map(|line| line.strip_prefix("Xft.dpi:").and_then(number))
        .map(|dpi: f32| dpi / 96.0);
    let scale = dpi.or_else(|| gdk.and_then(number)).unwrap_or(1.0);
    match SANE.contains(&scale) {
        true => scale,
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resources_come_first() {
        let resources = "Xcursor.size:\t48\nXft.dpi:\t192\nXft.antialias:\t1\n";
        assert_eq!(scale_of(resources, None), 2.0);
        assert_eq!(scale_of(resources, Some("3")), 2.0);
        assert_eq!(scale_of("Xft.dpi: 144", None), 1.5);
        assert_eq!(scale_of("Xft.antialias:\t1\n", Some("2")), 2.0);
        assert_eq!(scale_of("", None), 1.0);
    }

    #[test]
    fn what_makes_no_sense_is_as_good_as_nothing() {
        for resources in ["Xft.dpi:", "Xft.dpi: many", "Xft.dpi: NaN", "Xft.dpi: -96"] {
            assert_eq!(scale_of(resources, None), 1.0, "{resources}");
        }
        assert_eq!(scale_of("Xft.dpi: 1e30", Some("0")), 1.0);
        assert_eq!(scale_of("", Some("inf")), 1.0);
    }
}
