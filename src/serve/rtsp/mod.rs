//! RTSP's sockets: connections, their limits and their end, and what clients are sent over them or
//! by UDP. What is said over a connection is [`crate::rtsp`]'s.
//!
//! The frames are the board's, at the full rate. Nobody waits for a client: who is slow misses whole
//! frames.

mod connection;
mod shared;
mod sockets;
mod udp;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use tracing::{debug, warn};

use self::shared::Shared;
use crate::access::{Access, Places};
use crate::board::Board;
use crate::net::visitor;
use crate::rtsp::server::Peer;

/// Connections served at a time; more are turned away at once. Each session of a group has one.
const MOST_CONNECTIONS: usize = 96;
/// Of these, connections from one address.
const MOST_OF_ADDRESS: usize = 24;

/// The answer when there is no room.
const NO_ROOM: &[u8] = b"RTSP/1.0 503 Service Unavailable\r\nConnection: close\r\n\r\n";

/// The RTSP server.
#[derive(Clone)]
pub(super) struct Rtsp {
    shared: Arc<Shared>,
    places: Arc<Places>,
}

impl Rtsp {
    pub(super) fn new(board: Arc<Board>, access: Arc<Access>) -> Rtsp {
        Rtsp {
            shared: Arc::new(Shared::new(board, access)),
            places: Places::new(MOST_CONNECTIONS, MOST_OF_ADDRESS),
        }
    }

    /// Serves those who connect, for as long as it is polled.
    pub(super) async fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.keep_house().await });
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => self.accept(listener).await,
            Err(error) => warn!("RTSP is not served any more: {error}"),
        }
    }

    async fn accept(&self, listener: tokio::net::TcpListener) {
        let stats = &self.shared.board.rtsp;
        for number in 0.. {
            let (socket, from) = match listener.accept().await {
                Ok((socket, from)) => (socket, canonical(from)),
                Err(error) => {
                    debug!("RTSP: {error}");
                    tokio::time::sleep(visitor::RETRY).await;
                    continue;
                }
            };
            let Some(place) = self.places.take(from.ip()) else {
                stats.refused_connections.add(1);
                visitor::turn_away(socket.into_std(), NO_ROOM);
                continue;
            };
            let peer = match socket.local_addr() {
                Ok(local) => Peer {
                    connection: number,
                    from,
                    local: canonical(local),
                },
                // It has gone again.
                Err(_) => continue,
            };
            let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&self.places));
            stats.connections.set(self.places.taken() as u64);
            tokio::spawn(async move {
                connection::serve(&shared, socket, peer).await;
                drop(place);
                shared.board.rtsp.connections.set(places.taken() as u64);
            });
        }
    }

    /// Says goodbye to those who are sent something by UDP.
    pub(super) async fn end(&self) {
        self.shared.end().await;
    }
}

/// IPv4 clients of a socket for both come from mapped addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port()),
        IpAddr::V6(_) => address,
    }
}
