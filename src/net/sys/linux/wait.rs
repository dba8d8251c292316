//! Waiting for datagrams, and for other threads. ppoll(2)

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use nix::sys::time::TimeSpec;
use socket2::Socket;

/// Waits at most `timeout` until one of `sockets` can be read; returns which of them can. A
/// socket's error counts: reading reports it. All false after a signal.
pub fn readable<const N: usize>(sockets: [&Socket; N], timeout: Duration) -> io::Result<[bool; N]> {
    let mut fds = sockets.map(watched);
    poll(&mut fds, timeout)?;
    Ok(fds.map(|fd| fd.any().unwrap_or(false)))
}

/// Waits at most `timeout` until one of any number of `sockets` can be read or `bell`, if there is
/// one, rings; it is silent again afterwards. Which of them can be read is for the caller to find
/// out.
pub fn any_readable(sockets: &[&Socket], bell: Option<&Bell>, timeout: Duration) -> io::Result<()> {
    let mut fds: Vec<_> = sockets.iter().copied().map(watched).collect();
    fds.extend(bell.map(Bell::watched));
    poll(&mut fds, timeout)?;
    if let Some(bell) = bell {
        bell.hush();
    }
    Ok(())
}

fn watched(socket: &Socket) -> PollFd<'_> {
    PollFd::new(socket.as_fd(), PollFlags::POLLIN)
}

fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> io::Result<i32> {
    match ppoll(fds, Some(TimeSpec::from_duration(timeout)), None) {
        Err(Errno::EINTR) => Ok(0),
        result => Ok(result?),
    }
}

/// Reads one datagram; returns its sender and its length, as far as it fits.
pub fn receive_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(SocketAddr, usize)> {
    let (len, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer)?;
    let from = from.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| {
            from.as_sockaddr_in6()
                .map(|v6| SocketAddr::V6((*v6).into()))
        })
    });
    Ok((from.ok_or(io::ErrorKind::InvalidData)?, len))
}

/// Wakes a thread that waits for sockets.
#[derive(Debug)]
pub struct Bell(UnixStream);

/// Rings a [`Bell`], from any thread.
#[derive(Debug)]
pub struct BellRope(UnixStream);

impl Bell {
    /// A bell and its rope.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> io::Result<(Bell, BellRope)> {
        let (bell, rope) = UnixStream::pair()?;
        for end in [&bell, &rope] {
            end.set_nonblocking(true)?;
        }
        Ok((Bell(bell), BellRope(rope)))
    }

    /// Waits at most `timeout` until the bell rings or one of `sockets` can be read; returns which
    /// of these can. The bell is silent again afterwards.
    pub fn wait<const N: usize>(
        &self,
        sockets: [&Socket; N],
        timeout: Duration,
    ) -> io::Result<[bool; N]> {
        let mut fds: Vec<_> = sockets.into_iter().map(watched).collect();
        fds.push(self.watched());
        poll(&mut fds, timeout)?;
        self.hush();
        Ok(std::array::from_fn(|i| fds[i].any().unwrap_or(false)))
    }

    fn watched(&self) -> PollFd<'_> {
        PollFd::new(self.0.as_fd(), PollFlags::POLLIN)
    }

    fn hush(&self) {
        while (&self.0).read(&mut [0; 64]).is_ok_and(|n| n == 64) {}
    }
}

impl BellRope {
    /// Rings the bell. It may be ringing already.
    pub fn pull(&self) {
        let _ = (&self.0).write(&[0]);
    }
}
