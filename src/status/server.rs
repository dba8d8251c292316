//! The listening side: connections, their limits and their end. It all runs on one low-priority
//! thread.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::access::Guard;
use super::board::Board;
use super::guesses::network;
use super::limits::{MOST_CONNECTIONS, MOST_OF_ADDRESS};
use super::respond::Site;
use crate::net::thread;

/// Limits of a request's first line and headers, in bytes and in number.
const MOST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// A request's head must arrive within this time; a connection may be idle as long.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A visitor who takes nothing for this long is disconnected.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// After this long without a sign of a visitor, a probe is sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Bytes that may wait in the kernel for a slow visitor: beyond that pictures are left out, not
/// queued.
const MOST_UNSENT: u32 = 128 << 10;
/// Pause after the kernel could not hand over a connection, as when descriptors are short.
const RETRY: Duration = Duration::from_millis(100);

/// The answer when there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nContent-Length: 33\r\nConnection: close\r\n\r\ntoo many visitors: try again soon";

/// Why there is no status page.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The address cannot be listened on.
    #[error("the status page cannot listen on {address}: {cause}; choose another address or port")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        cause: std::io::Error,
    },
    /// The kernel has no thread or descriptor left.
    #[error("the status page cannot be started: {0}")]
    Start(#[source] std::io::Error),
}

/// A server that is listening.
pub(super) struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    site: Arc<Site>,
    connections: Arc<Semaphore>,
}

impl Server {
    pub(super) fn listen(
        address: SocketAddr,
        token: Option<String>,
        embed: Vec<String>,
        board: Arc<Board>,
    ) -> Result<Server, StatusError> {
        let fail = |cause| StatusError::Listen { address, cause };
        // SO_REUSEADDR is set: a restarted page finds its port free.
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(StatusError::Start)?;
        let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let guard = Guard::new(address.port(), token, embed);
        Ok(Server {
            runtime,
            listener,
            address,
            site: Arc::new(Site::new(board, guard, Arc::clone(&connections))),
            connections,
        })
    }

    /// The address it listens on, with the port that the kernel chose if none was set.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; open connections end then.
    pub(super) fn run(self, stop: &Notify) {
        thread::after_others();
        let Server {
            runtime,
            listener,
            site,
            connections,
            ..
        } = self;
        runtime.block_on(async {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return warn!("the status page ended: {error}"),
            };
            let pictures = Arc::clone(&site);
            tokio::spawn(async move { pictures.feeds.run().await });
            let mut stopped = Box::pin(stop.notified());
            let mut serve = Box::pin(accept(listener, site, connections));
            poll_fn(|context| {
                if stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                serve.as_mut().poll(context)
            })
            .await;
        });
    }
}

async fn accept(listener: tokio::net::TcpListener, site: Arc<Site>, connections: Arc<Semaphore>) {
    let addresses = Arc::new(Addresses::default());
    loop {
        let (socket, from) = match listener.accept().await {
            Ok((socket, from)) => (socket, from.ip()),
            Err(error) => {
                debug!("status page: {error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let place = Arc::clone(&connections).try_acquire_owned().ok();
        match place.and_then(|permit| Place::take(&addresses, from, permit)) {
            Some(place) => {
                tokio::spawn(serve(socket, Arc::clone(&site), place));
            }
            None => {
                site.board.visitors.refused_connections.add(1);
                turn_away(socket);
            }
        }
    }
}

/// The number of connections of each address.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn with<T>(&self, work: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection's place, counted in all and for its address.
struct Place {
    addresses: Arc<Addresses>,
    from: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// `None`: the address has its maximum.
    fn take(
        addresses: &Arc<Addresses>,
        from: IpAddr,
        permit: OwnedSemaphorePermit,
    ) -> Option<Place> {
        let from = network(from);
        let most = match from.is_loopback() {
            true => MOST_CONNECTIONS,
            false => MOST_OF_ADDRESS,
        };
        let has_room = addresses.with(|all| {
            let taken = all.entry(from).or_default();
            let has_room = *taken < most;
            *taken += usize::from(has_room);
            has_room
        });
        has_room.then(|| Place {
            addresses: Arc::clone(addresses),
            from,
            _permit: permit,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.addresses.with(|all| {
            let left = all
                .get(&self.from)
                .map_or(0, |taken| taken.saturating_sub(1));
            match left {
                0 => all.remove(&self.from),
                left => all.insert(self.from, left),
            }
        });
    }
}

/// Serves one connection, from its first request to its end.
async fn serve(socket: tokio::net::TcpStream, site: Arc<Site>, place: Place) {
    if let Err(error) = limit(&socket) {
        return debug!("status page: {error}");
    }
    let from = place.from;
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request, from).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(socket), service)
        .await;
    if let Err(error) = served {
        debug!("status page: a connection ended: {error}");
        if error.is_parse() {
            site.board.visitors.refused_requests.add(1);
        }
    }
    drop(place);
}

/// Limits what a visitor can cost who does not read or has vanished.
fn limit(socket: &tokio::net::TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // tcp(7): also if the other end's window stays closed.
    socket.set_tcp_user_timeout(Some(WRITE_TIME))?;
    socket.set_tcp_notsent_lowat(MOST_UNSENT)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)
}

/// Says that there is no room, as far as possible without waiting.
fn turn_away(socket: tokio::net::TcpStream) {
    let said = socket
        .into_std()
        .and_then(|mut socket: TcpStream| socket.write(NO_ROOM));
    if let Err(error) = said {
        debug!("status page: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `visitors` are let in at the same time.
    fn let_in(visitors: impl Iterator<Item = IpAddr>) -> usize {
        let addresses = Arc::new(Addresses::default());
        let all = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let places: Vec<Place> = visitors
            .filter_map(|from| {
                let permit = Arc::clone(&all).try_acquire_owned().ok()?;
                Place::take(&addresses, from, permit)
            })
            .collect();
        let count = places.len();
        drop(places);
        assert!(addresses.with(|all| all.is_empty()));
        count
    }

    #[test]
    fn one_host_does_not_take_every_place() {
        let same = |address: &'static str| (0..200).map(|_| address.parse().unwrap());
        assert_eq!(let_in(same("10.0.0.7")), MOST_OF_ADDRESS);
        assert_eq!(let_in(same("::ffff:10.0.0.7")), MOST_OF_ADDRESS);
        let of_one_network = (0..200).map(|n| format!("2001:db8:0:1::{n:x}").parse().unwrap());
        assert_eq!(let_in(of_one_network), MOST_OF_ADDRESS);
        let of_many_networks = (0..200).map(|n| format!("2001:db8:0:{n:x}::1").parse().unwrap());
        assert_eq!(let_in(of_many_networks), MOST_CONNECTIONS);
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(let_in(same(here)), MOST_CONNECTIONS, "{here}");
        }
    }
}
