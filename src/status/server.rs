//! The page's connections: their limits and their end.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tracing::{debug, warn};

use super::guard::Guard;
use super::respond::Site;
use super::soap::{Ends, Services};
use crate::access::{Access, Place, Places};
use crate::board::Board;
use crate::onvif::Uuid;

/// Connections served at a time; more are turned away at once.
const MOST_CONNECTIONS: usize = 64;
/// Of these, connections from one address.
const MOST_OF_ADDRESS: usize = 20;
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

/// The page, and how many visitors it may have.
pub(crate) struct Page {
    site: Arc<Site>,
    places: Arc<Places>,
}

impl Page {
    /// A page on this port. Visitors need the `token` if there is one, or must be users; pages of
    /// the origins `embed` may show its pictures. `onvif`: the device that ONVIF clients are told
    /// of, if they are answered.
    pub(crate) fn new(
        port: u16,
        token: Option<String>,
        embed: &[String],
        board: Arc<Board>,
        access: Arc<Access>,
        onvif: Option<Uuid>,
    ) -> Page {
        let services = onvif.map(|id| Services::new(id, Arc::clone(&access)));
        let places = Places::new(MOST_CONNECTIONS, MOST_OF_ADDRESS);
        let guard = Guard::new(port, token, embed.to_vec(), access);
        Page {
            site: Arc::new(Site::new(board, guard, Arc::clone(&places), services)),
            places,
        }
    }

    /// Serves those who connect, for as long as it is polled.
    pub(crate) async fn serve(self, listener: TcpListener) {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => self.accept(listener).await,
            Err(error) => warn!("the status page ended: {error}"),
        }
    }

    async fn accept(self, listener: tokio::net::TcpListener) {
        loop {
            let (socket, from) = match listener.accept().await {
                Ok((socket, from)) => (socket, from.ip()),
                Err(error) => {
                    debug!("status page: {error}");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            match self.places.take(from) {
                Some(place) => {
                    tokio::spawn(serve(socket, Arc::clone(&self.site), place));
                }
                None => {
                    self.site.board.visitors.refused_connections.add(1);
                    turn_away(socket);
                }
            }
        }
    }
}

/// Serves one connection, from its first request to its end.
async fn serve(socket: tokio::net::TcpStream, site: Arc<Site>, place: Place) {
    let local = match limit(&socket).and_then(|()| socket.local_addr()) {
        Ok(local) => local,
        Err(error) => return debug!("status page: {error}"),
    };
    let from = place.from();
    let ends = Ends { from, local };
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.answer(request, ends).await) }
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
