//! TCP connections from unknown visitors: limits on what each may cost, and how to turn one away.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// A visitor who receives nothing for this long is disconnected.
pub const WRITE_TIME: Duration = Duration::from_secs(10);
/// Pause after the kernel could not hand over a connection, such as for lack of descriptors.
pub const RETRY: Duration = Duration::from_millis(100);
/// After this long without a sign of a visitor, a probe is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Most bytes that wait in the kernel for a slow visitor: beyond that, pictures are left out
/// instead of queued.
const MOST_UNSENT: u32 = 128 << 10;

/// Limits the cost of a visitor who does not read or has vanished.
///
/// # Errors
/// The visitor has gone already.
pub fn limit(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    // tcp(7): this also applies if the other end's window stays closed.
    socket.set_tcp_user_timeout(Some(WRITE_TIME))?;
    socket.set_tcp_notsent_lowat(MOST_UNSENT)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)
}

/// Says `why` there is no room, as far as that is possible without waiting: `socket` must be
/// non-blocking.
pub fn turn_away(socket: io::Result<TcpStream>, why: &[u8]) {
    if let Err(error) = socket.and_then(|mut socket| socket.write(why)) {
        tracing::debug!("a visitor was not told that there is no room: {error}");
    }
}
