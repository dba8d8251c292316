//! What can go wrong with a camera, in sentences that say what happened and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::controls::ControlError;

/// Why a camera gives no frames.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The device does not exist.
    #[error(
        "{device} does not exist: is the camera plugged in? `lancam cameras` lists the cameras"
    )]
    Absent {
        /// As configured.
        device: PathBuf,
    },
    /// No camera at all.
    #[error("there is no camera: plug one in; `lancam cameras` lists what is there")]
    None,
    /// "The only camera" is ambiguous.
    #[error("there are several cameras, name one of them as the device: {}", join(.devices))]
    Several {
        /// By-id paths if they exist.
        devices: Vec<PathBuf>,
    },
    /// The device is something else.
    #[error("{device} is {what}; `lancam cameras` lists the cameras")]
    NotACamera {
        /// As opened.
        device: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// EACCES or EPERM.
    #[error(
        "{device} cannot be opened: add the user to the video group (sudo usermod -aG video USER, then log in again)"
    )]
    Permission {
        /// As opened.
        device: PathBuf,
    },
    /// EBUSY.
    #[error("{device} is busy: another program has the camera (fuser -v {device} names it)")]
    Busy {
        /// As opened.
        device: PathBuf,
    },
    /// ENOSPC when the stream starts.
    #[error(
        "the USB bus has no bandwidth left for {device} (No space left on device): ask for a smaller size or rate, for MJPEG instead of a raw format, or plug it into another USB controller"
    )]
    Bandwidth {
        /// As opened.
        device: PathBuf,
    },
    /// ENODEV, or an error reported by poll.
    #[error("{device} was unplugged")]
    Unplugged {
        /// As opened.
        device: PathBuf,
    },
    /// Nothing came for too long.
    #[error("{device} has sent no frame for {seconds} s and is reopened")]
    Silent {
        /// As opened.
        device: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Any other system call that failed.
    #[error("{device} failed to {doing}: {cause}")]
    Io {
        /// As opened.
        device: PathBuf,
        /// The action, in words.
        doing: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// A driver's answer that makes no sense.
    #[error("{device} cannot be used: {what}")]
    Driver {
        /// As opened.
        device: PathBuf,
        /// The answer.
        what: String,
    },
    /// The wanted format is not offered.
    #[error("{device} has no {wanted}: it offers {offered}. Set `format` to one of those, or Auto")]
    Format {
        /// As opened.
        device: PathBuf,
        /// As configured.
        wanted: String,
        /// The formats on offer.
        offered: String,
    },
    /// A control that cannot be set as configured.
    #[error("{device}: {cause}")]
    Control {
        /// As opened.
        device: PathBuf,
        /// Which and why.
        cause: ControlError,
    },
}

fn join(devices: &[PathBuf]) -> String {
    let names: Vec<_> = devices.iter().map(|d| d.display().to_string()).collect();
    names.join(", ")
}

impl CameraError {
    /// An error of the kernel while `doing` something, sorted by what the user can do about it.
    pub(super) fn from_io(device: &Path, doing: &'static str, cause: io::Error) -> CameraError {
        let device = device.to_path_buf();
        match cause.raw_os_error() {
            Some(libc::ENOENT | libc::ENXIO) => CameraError::Absent { device },
            Some(libc::ENODEV) => CameraError::Unplugged { device },
            Some(libc::EACCES | libc::EPERM) => CameraError::Permission { device },
            Some(libc::EBUSY) => CameraError::Busy { device },
            Some(libc::ENOSPC) => CameraError::Bandwidth { device },
            None if cause.kind() == io::ErrorKind::InvalidData => CameraError::Driver {
                device,
                what: cause.to_string(),
            },
            _ => CameraError::Io {
                device,
                doing,
                cause,
            },
        }
    }

    /// Whether the configuration is at fault, so that retrying is useless until something changes.
    pub fn is_config(&self) -> bool {
        matches!(
            self,
            CameraError::Several { .. }
                | CameraError::NotACamera { .. }
                | CameraError::Format { .. }
                | CameraError::Control { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_words_become_advice() {
        let say = |code| {
            let error = io::Error::from_raw_os_error(code);
            CameraError::from_io(Path::new("/dev/video7"), "start", error).to_string()
        };
        assert!(say(libc::ENOENT).contains("plugged in?"));
        assert!(say(libc::EACCES).contains("video group"));
        assert!(say(libc::EBUSY).contains("fuser -v /dev/video7"));
        assert!(say(libc::ENOSPC).contains("no bandwidth left"));
        assert!(say(libc::ENOSPC).contains("(No space left on device)"));
        assert_eq!(say(libc::ENODEV), "/dev/video7 was unplugged");
        assert!(say(libc::EIO).starts_with("/dev/video7 failed to start: Input/output error"));
    }

    #[test]
    fn only_the_config_s_faults_are_final() {
        let device = PathBuf::from("/dev/video7");
        let io = |code| CameraError::from_io(&device, "start", io::Error::from_raw_os_error(code));
        for code in [
            libc::ENOENT,
            libc::EACCES,
            libc::EBUSY,
            libc::ENOSPC,
            libc::EIO,
        ] {
            assert!(!io(code).is_config());
        }
        assert!(CameraError::Several { devices: vec![] }.is_config());
    }
}
