//! Chooses the format, size and rate to ask a camera for, and words its answer.

use std::path::Path;

use super::error::CameraError;
use super::ring::{Format, Fourcc, Node, Size, SizeRange};
use crate::source::{CameraFormat, CameraSpec};

/// What a camera's buffer contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// A JPEG, sent as it is.
    Jpeg,
    Yuyv,
    Nv12,
    Yu12,
    Rgb3,
}

/// A larger size is not believed: its planes would take too much memory.
const MOST_PIXELS: u64 = 100_000_000;

/// In order of preference: the first two need no encoding; then 4:2:2 before 4:2:0.
const KNOWN: [(&[u8; 4], Pixels); 6] = [
    (b"MJPG", Pixels::Jpeg),
    (b"JPEG", Pixels::Jpeg),
    (b"YUYV", Pixels::Yuyv),
    (b"NV12", Pixels::Nv12),
    (b"YU12", Pixels::Yu12),
    (b"RGB3", Pixels::Rgb3),
];

/// The pixel format of these four letters; `None` if it is not supported.
pub(super) fn meaning(fourcc: Fourcc) -> Option<Pixels> {
    KNOWN
        .iter()
        .find(|(letters, _)| **letters == fourcc.0)
        .map(|(_, pixels)| *pixels)
}

/// What was agreed with the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreed {
    pub(super) pixels: Pixels,
    pub(super) format: Format,
    /// Frames a second, if the driver knows.
    pub(super) fps: Option<f64>,
}

/// Sets the configured format, size and rate, or the nearest that the driver has; differences go
/// into `notes`.
///
/// # Errors
/// [`CameraError::Format`] if the format is not on offer, [`CameraError::Driver`] for an answer
/// that makes no sense, else what the kernel said.
pub(super) fn negotiate(
    node: &Node,
    device: &Path,
    spec: &CameraSpec,
    notes: &mut Vec<String>,
) -> Result<Agreed, CameraError> {
    let failed = |doing| move |e| CameraError::from_io(device, doing, e);
    let offered: Vec<Fourcc> = node
        .formats()
        .map_err(failed("list its formats"))?
        .into_iter()
        .map(|offer| offer.fourcc)
        .collect();
    let fourcc = choose(spec.format, &offered).ok_or_else(|| CameraError::Format {
        device: device.to_path_buf(),
        wanted: wanted_words(spec.format).to_owned(),
        offered: list(&offered),
    })?;
    let size = match spec.size {
        Some(size) => size,
        None => node.format().map_err(failed("tell its format"))?.size,
    };
    let format = node
        .set_format(fourcc, size)
        .map_err(failed("set its format"))?;
    let pixels = check(format, device)?;
    if format.fourcc != fourcc {
        notes.push(format!("gives {} instead of {fourcc}", format.fourcc));
    }
    if spec.size.is_some_and(|wanted| wanted != format.size) {
        let sizes = node.sizes(fourcc).map_err(failed("list its sizes"))?;
        notes.push(size_note(size, format.size, fourcc, &sizes));
    }
    let fps = node
        .set_rate(spec.fps)
        .map_err(failed("set its frame rate"))?;
    if let (Some(wanted), Some(got)) = (spec.fps, fps) {
        if (wanted - got).abs() > 0.01 * wanted {
            let rates = node
                .rates(format.fourcc, format.size)
                .map_err(failed("list its rates"))?;
            notes.push(rate_note(wanted, got, &rates));
        }
    }
    Ok(Agreed {
        pixels,
        format,
        fps,
    })
}

fn choose(wanted: CameraFormat, offered: &[Fourcc]) -> Option<Fourcc> {
    let fits = |pixels| match wanted {
        CameraFormat::Auto => true,
        CameraFormat::Mjpeg => pixels == Pixels::Jpeg,
        CameraFormat::Yuyv => pixels == Pixels::Yuyv,
        CameraFormat::Nv12 => pixels == Pixels::Nv12,
        CameraFormat::Yu12 => pixels == Pixels::Yu12,
        CameraFormat::Rgb3 => pixels == Pixels::Rgb3,
    };
    KNOWN
        .iter()
        .filter(|(_, pixels)| fits(*pixels))
        .map(|(letters, _)| Fourcc(**letters))
        .find(|fourcc| offered.contains(fourcc))
}

fn wanted_words(wanted: CameraFormat) -> &'static str {
    match wanted {
        CameraFormat::Auto => "format that lancam reads (MJPG, YUYV, NV12, YU12, RGB3)",
        CameraFormat::Mjpeg => "MJPEG",
        CameraFormat::Yuyv => "YUYV",
        CameraFormat::Nv12 => "NV12",
        CameraFormat::Yu12 => "YU12",
        CameraFormat::Rgb3 => "RGB3",
    }
}

fn list(fourccs: &[Fourcc]) -> String {
    if fourccs.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<_> = fourccs.iter().map(Fourcc::to_string).collect();
    names.join(", ")
}

/// Refuses impossible answers of a driver.
fn check(format: Format, device: &Path) -> Result<Pixels, CameraError> {
    let nonsense = |what: String| CameraError::Driver {
        device: device.to_path_buf(),
        what: format!("its driver reports {what}"),
    };
    let (width, height) = format.size;
    // A JPEG's sides have 16 bits (T.81 §B.2.2); below 2 there is no chroma to share.
    let fits = |side| (2..=65535).contains(&side);
    if !fits(width) || !fits(height) || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(nonsense(format!("a picture of {width}x{height}")));
    }
    if format.bytes == 0 {
        return Err(nonsense("frames of 0 bytes".to_owned()));
    }
    if format.planes != 1 {
        return Err(nonsense(format!(
            "{} in {} memory planes, of which lancam reads one",
            format.fourcc, format.planes
        )));
    }
    meaning(format.fourcc)
        .ok_or_else(|| nonsense(format!("{}, which was not asked for", format.fourcc)))
}

fn size_note(wanted: Size, got: Size, fourcc: Fourcc, sizes: &[SizeRange]) -> String {
    let near = nearest(wanted, sizes);
    let mut note = format!(
        "has no {}x{} in {fourcc} and gives {}x{}",
        wanted.0, wanted.1, got.0, got.1
    );
    if !near.is_empty() {
        let near: Vec<_> = near.iter().map(|(w, h)| format!("{w}x{h}")).collect();
        note.push_str("; the nearest that it has: ");
        note.push_str(&near.join(", "));
    }
    note
}

/// The three sizes that differ least from `wanted`.
fn nearest(wanted: Size, sizes: &[SizeRange]) -> Vec<Size> {
    let mut all: Vec<Size> = sizes
        .iter()
        .map(|size| match *size {
            SizeRange::One(size) => size,
            SizeRange::Range(from, to, step) => (
                snap(wanted.0, from.0, to.0, step.0),
                snap(wanted.1, from.1, to.1, step.1),
            ),
        })
        .collect();
    all.sort_by_key(|size| size.0.abs_diff(wanted.0) + size.1.abs_diff(wanted.1));
    all.dedup();
    all.truncate(3);
    all
}

fn snap(wanted: u32, from: u32, to: u32, step: u32) -> u32 {
    let clamped = wanted.clamp(from.min(to), to);
    clamped - (clamped - from.min(clamped)) % step.max(1)
}

fn rate_note(wanted: f64, got: f64, rates: &[f64]) -> String {
    let mut note = format!(
        "cannot do {wanted} frames a second at this size and gives {}",
        trim(got)
    );
    if !rates.is_empty() {
        let rates: Vec<_> = rates.iter().map(|r| trim(*r)).collect();
        note.push_str("; it has ");
        note.push_str(&rates.join(", "));
    }
    note
}

/// A rate without needless zeros: `30`, `12.5`, `29.97`.
pub(super) fn trim(rate: f64) -> String {
    let text = format!("{rate:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MJPG: Fourcc = Fourcc(*b"MJPG");
    const YUYV: Fourcc = Fourcc(*b"YUYV");
    const H264: Fourcc = Fourcc(*b"H264");

    #[test]
    fn mjpeg_is_preferred_and_what_is_asked_for_is_kept_to() {
        let all = [YUYV, H264, MJPG];
        assert_eq!(choose(CameraFormat::Auto, &all), Some(MJPG));
        assert_eq!(choose(CameraFormat::Yuyv, &all), Some(YUYV));
        assert_eq!(choose(CameraFormat::Auto, &[H264, YUYV]), Some(YUYV));
        assert_eq!(choose(CameraFormat::Mjpeg, &[YUYV]), None);
        assert_eq!(choose(CameraFormat::Auto, &[H264]), None);
    }

    #[test]
    fn a_size_that_is_lacking_is_answered_with_the_nearest() {
        let sizes = [(640, 480), (1280, 720), (320, 240), (1920, 1080)].map(SizeRange::One);
        let note = size_note((1000, 700), (1280, 720), MJPG, &sizes);
        assert_eq!(
            note,
            "has no 1000x700 in MJPG and gives 1280x720; the nearest that it has: 1280x720, 640x480, 320x240"
        );
        let range = [SizeRange::Range((32, 32), (2592, 1944), (2, 2))];
        assert_eq!(nearest((1001, 9999), &range), [(1000, 1944)]);
        assert_eq!(nearest((5, 5), &range), [(32, 32)]);
        // A driver's nonsense: a range that runs backwards, steps of nothing.
        let odd = [SizeRange::Range((900, 900), (100, 100), (0, 0))];
        assert_eq!(nearest((500, 50), &odd).len(), 1);
    }

    #[test]
    fn a_driver_s_nonsense_is_refused() {
        let good = Format {
            fourcc: MJPG,
            size: (640, 480),
            stride: 0,
            bytes: 1000,
            planes: 1,
        };
        let check = |format| check(format, Path::new("/dev/video0"));
        assert_eq!(check(good).unwrap(), Pixels::Jpeg);
        for bad in [
            Format {
                size: (0, 480),
                ..good
            },
            Format {
                size: (640, 70_000),
                ..good
            },
            Format { bytes: 0, ..good },
            Format { planes: 2, ..good },
            Format {
                fourcc: H264,
                ..good
            },
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.to_string().contains("its driver reports"), "{error}");
        }
    }

    #[test]
    fn rates_are_written_short() {
        assert_eq!(trim(30.0), "30");
        assert_eq!(trim(30000.0 / 1001.0), "29.97");
        assert_eq!(
            rate_note(60.0, 30.0, &[30.0, 12.5]),
            "cannot do 60 frames a second at this size and gives 30; it has 30, 12.5"
        );
    }
}
