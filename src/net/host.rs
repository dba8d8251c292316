//! What the kernel says about this machine: how large socket buffers may be, and whether its clock
//! is synchronised. It only reads.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use socket2::SockRef;

use super::sys;

/// The largest socket buffers, in bytes, that an unprivileged program may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// `net.core.rmem_max`.
    pub receive: usize,
    /// `net.core.wmem_max`.
    pub send: usize,
}

/// More than any limit; half of what a C `int` holds, because the kernel doubles it.
const TOO_MUCH: usize = (i32::MAX / 2) as usize;

/// The limits, found by asking for more: the files in /proc do not exist in every network
/// namespace.
///
/// # Errors
/// No socket is available.
pub fn buffer_limits() -> io::Result<BufferLimits> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let socket = SockRef::from(&socket);
    socket.set_recv_buffer_size(TOO_MUCH)?;
    socket.set_send_buffer_size(TOO_MUCH)?;
    // socket(7), SO_RCVBUF: "The kernel doubles this value [...] when it is set".
    Ok(BufferLimits {
        receive: socket.recv_buffer_size()? / 2,
        send: socket.send_buffer_size()? / 2,
    })
}

/// What the kernel thinks of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Something (NTP, PTP) keeps it synchronised.
    pub is_synchronised: bool,
    /// How far it may be off at most, as the synchronising program says.
    pub max_error: Duration,
}

/// The clock's state.
///
/// # Errors
/// The call is not allowed, as in some sandboxes.
pub fn clock_state() -> io::Result<ClockState> {
    let (is_synchronised, max_error) = sys::clock_state()?;
    Ok(ClockState {
        is_synchronised,
        max_error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_that_proc_shows() {
        let limits = buffer_limits().unwrap();
        assert!(limits.receive > 1000 && limits.send > 1000, "{limits:?}");
        // Some sandboxes show no such file.
        if let Ok(text) = std::fs::read_to_string("/proc/sys/net/core/rmem_max") {
            assert_eq!(limits.receive, text.trim().parse::<usize>().unwrap());
        }
    }

    #[test]
    fn the_clock_answers() {
        match clock_state() {
            // The kernel's own bound is 16 s.
            Ok(state) => assert!(state.max_error <= Duration::from_secs(20), "{state:?}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
