//! From the configured device to a device node, looked up at every open: a replugged camera may
//! have another number.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::CameraError;
use super::ring::Node;

/// The configured device that means "the only camera".
pub(super) const AUTO: &str = "auto";
const BY_ID: &str = "/dev/v4l/by-id";
const BY_PATH: &str = "/dev/v4l/by-path";

/// Opens the device that the configuration names.
///
/// # Errors
/// It is absent, forbidden, busy, ambiguous, or not a camera.
pub(super) fn open(device: &Path) -> Result<(PathBuf, Node), CameraError> {
    let path = if device == Path::new(AUTO) {
        the_only_camera()?
    } else {
        expand(device)
    };
    let node = Node::open(&path).map_err(|e| not_opened(&path, e))?;
    if let Some(what) = node.about().why_no_camera() {
        return Err(CameraError::NotACamera {
            device: path,
            what: what.to_owned(),
        });
    }
    Ok((path, node))
}

fn not_opened(path: &Path, error: std::io::Error) -> CameraError {
    let what = match error.raw_os_error() {
        // open or QUERYCAP on something that is not a video device.
        Some(libc::ENOTTY | libc::EINVAL) => "not a video device",
        Some(libc::EISDIR) => "a folder",
        // The device disappeared in between.
        Some(libc::ENODEV | libc::ENXIO) => {
            return CameraError::Absent {
                device: path.to_path_buf(),
            };
        }
        _ => return CameraError::from_io(path, "open", error),
    };
    CameraError::NotACamera {
        device: path.to_path_buf(),
        what: what.to_owned(),
    }
}

/// `video0` and a by-id or by-path name suffice.
fn expand(device: &Path) -> PathBuf {
    if device.components().count() != 1 || device.is_absolute() {
        return device.to_path_buf();
    }
    [BY_ID, BY_PATH, "/dev"]
        .iter()
        .map(|folder| Path::new(folder).join(device))
        .find(|path| path.exists())
        .unwrap_or_else(|| Path::new(BY_ID).join(device))
}

fn the_only_camera() -> Result<PathBuf, CameraError> {
    let mut refused = None;
    let mut cameras = Vec::new();
    for path in nodes() {
        match Node::open(&path) {
            Ok(node) if node.about().why_no_camera().is_none() => cameras.push(path),
            Ok(_) => {}
            Err(error) => refused = Some((path, error)),
        }
    }
    match (cameras.as_slice(), refused) {
        ([only], _) => Ok(only.clone()),
        // The camera may be the node that could not be opened.
        ([], Some((path, error))) => Err(not_opened(&path, error)),
        ([], None) => Err(CameraError::None),
        (several, _) => Err(CameraError::Several {
            devices: several
                .iter()
                .map(|path| by_id(path).unwrap_or_else(|| path.clone()))
                .collect(),
        }),
    }
}

/// All `/dev/videoN`, in the order of their numbers.
pub(super) fn nodes() -> Vec<PathBuf> {
    let mut nodes: Vec<(u32, PathBuf)> = list("/dev")
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let number = name.strip_prefix("video")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// The stable name of a device node: its by-id link, else its by-path link.
pub(super) fn by_id(node: &Path) -> Option<PathBuf> {
    let target = node.canonicalize().ok()?;
    [BY_ID, BY_PATH]
        .into_iter()
        .flat_map(list)
        .find(|link| link.canonicalize().is_ok_and(|t| t == target))
}

fn list(folder: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path())
}

/// What can be seen of a device without opening it. It changes when the device appears, disappears,
/// or gets its permissions, so waiting for a camera needs no futile opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Presence(Vec<(u64, u64, i64, i64)>);

/// The presence of the configured device now.
pub(super) fn presence(device: &Path) -> Presence {
    let paths = if device == Path::new(AUTO) {
        nodes()
    } else {
        vec![expand(device)]
    };
    let seen = paths.iter().filter_map(|path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.rdev(), meta.ctime(), meta.ctime_nsec()))
    });
    Presence(seen.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_is_refused_with_a_sentence() {
        let say = |path: &str| match open(Path::new(path)) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert!(say("/dev/null").starts_with("/dev/null is not a video device"));
        assert!(say("/dev").starts_with("/dev is a folder"));
        assert!(say("/dev/video_none").contains("does not exist"));
        assert!(say("usb-none-video-index0").starts_with("/dev/v4l/by-id/usb-none"));
    }

    #[test]
    fn presence_changes_with_the_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video9");
        let away = presence(&path);
        assert_eq!(away, Presence::default());
        fs::write(&path, "").unwrap();
        let there = presence(&path);
        assert_ne!(there, away);
        assert_eq!(presence(&path), there);
        fs::remove_file(&path).unwrap();
        assert_eq!(presence(&path), away);
    }
}
