//! What the kernel's refusals mean.

use std::io;

use nix::errno::Errno;

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// The network is down: no route, no link, adapter unplugged, address gone.
pub fn is_network_down(error: &io::Error) -> bool {
    matches!(
        errno(error),
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::EADDRNOTAVAIL
            | Errno::ENETRESET
    )
}

/// The kernel or the device has no room; a limit of memberships is one.
pub fn is_out_of_room(error: &io::Error) -> bool {
    matches!(errno(error), Errno::ENOBUFS | Errno::ENOMEM)
}

/// The bytes to be sent are gone: they were in a mapped file that has been truncated.
pub fn is_payload_gone(error: &io::Error) -> bool {
    errno(error) == Errno::EFAULT
}

/// The errors of a kernel that cannot segment: EIO without checksum offload, EINVAL (EMSGSIZE in
/// newer ones) when a segment and its headers exceed the MTU, ENOPROTOOPT and EOPNOTSUPP when it is
/// too old.
pub fn may_refuse_segmentation(error: &io::Error) -> bool {
    matches!(
        errno(error),
        Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP
    )
}
