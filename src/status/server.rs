//! The page's connections: their limits, and how they end.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tracing::{debug, warn};

use super::guard::Guard;
use super::respond::Site;
use super::soap::{Ends, Services};
use crate::access::{Access, Place, Places};
use crate::board::Board;
use crate::net::visitor;
use crate::onvif::Uuid;

/// Most connections at a time; further ones are turned away at once.
const MOST_CONNECTIONS: usize = 64;
/// Most connections from one address.
const MOST_OF_ADDRESS: usize = 20;
/// Limits of a request's first line and headers, in bytes and in number.
const MOST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// A request's head must arrive within this time, and a connection may be idle for as long.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The answer when there is no room.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nContent-Length: 33\r\nConnection: close\r\n\r\ntoo many visitors: try again soon";

/// The page, and how many visitors it may have.
pub(crate) struct Page {
    site: Arc<Site>,
    places: Arc<Places>,
}

impl Page {
    /// A page on this port. Visitors need the `token` if there is one, or must be users. Pages of
    /// the origins `embed` may show its pictures. `onvif` is the id of the device for ONVIF
    /// clients, if they are answered.
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

    /// Accepts and serves connections for as long as it is polled.
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
                    tokio::time::sleep(visitor::RETRY).await;
                    continue;
                }
            };
            match self.places.take(from) {
                Some(place) => {
                    tokio::spawn(serve(socket, Arc::clone(&self.site), place));
                }
                None => {
                    self.site.board.visitors.refused_connections.add(1);
                    visitor::turn_away(socket.into_std(), NO_ROOM);
                }
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(socket: tokio::net::TcpStream, site: Arc<Site>, place: Place) {
    let local = match visitor::limit(&socket).and_then(|()| socket.local_addr()) {
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
