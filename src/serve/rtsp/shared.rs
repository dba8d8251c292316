//! What RTSP's connections share: the sessions, the streams, and who takes them by UDP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use super::sockets::ClientSockets;
use crate::access::Access;
use crate::board::{Board, Pace, Watcher};
use crate::clock::Mono;
use crate::host;
use crate::rtp::sdp::StreamDescription;
use crate::rtsp::message::Request;
use crate::rtsp::path::Target;
use crate::rtsp::server::SessionId;
use crate::rtsp::{Flow, Server, Stream};

/// How often to look for sessions that are over.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the last words to clients may take at the end.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct Shared {
    pub(super) board: Arc<Board>,
    pub(super) access: Arc<Access>,
    pub(super) server: Mutex<Server>,
    /// The UDP sessions.
    pub(super) clients: Mutex<HashMap<SessionId, Client>>,
}

/// A client that takes the stream by UDP.
pub(super) enum Client {
    Ready(Box<ClientSockets>),
    Playing {
        /// With a message, it says goodbye; when dropped, it falls silent.
        stop: oneshot::Sender<()>,
        task: JoinHandle<(Flow, Box<ClientSockets>)>,
    },
}

impl Shared {
    /// Of streams, and who is served.
    pub(super) fn new(board: Arc<Board>, access: Arc<Access>) -> Shared {
        let description = host::description("lancam");
        Shared {
            board,
            access,
            server: Mutex::new(Server::new(description, host::random)),
            clients: Mutex::default(),
        }
    }

    /// The streams, as far as they are known by now.
    pub(super) fn streams(&self) -> Vec<Stream> {
        let contents = self.board.contents();
        let streams = contents.report.streams.iter().zip(&contents.scenes);
        let known = streams.filter_map(|(report, scene)| {
            let sdp = scene.sdp.as_ref()?;
            let described = StreamDescription::parse(sdp.as_bytes()).ok()?;
            Some(Stream {
                name: report.name.clone(),
                size: described.size,
                framerate: described.framerate,
                destination: described.addr,
                ttl: described.ttl.unwrap_or(1),
                origin: described.origin.filter(|origin| !origin.is_unspecified()),
            })
        });
        known.collect()
    }

    /// The pictures of a stream; `None`: there is none of this name any more.
    pub(super) fn watch(&self, name: &str) -> Option<Watcher> {
        let contents = self.board.contents();
        let scene = &contents.scenes[contents.find(Some(name))?];
        Some(self.board.feeds.watch(name, &scene.preview, Pace::Full))
    }

    /// Waits for the first picture of a stream that is to be described: over 2040 pixels its size
    /// is needed. A source that is open on demand opens for it.
    pub(super) async fn learn_size(&self, request: &Request, streams: &mut [Stream]) {
        let target = request.url().and_then(Target::of);
        let meant = target.and_then(|target| streams.iter_mut().find(|s| target.means(&s.name)));
        let Some(stream) = meant.filter(|stream| stream.size.is_none()) else {
            return;
        };
        let contents = self.board.contents();
        let Some(i) = contents.find(Some(&stream.name)) else {
            return;
        };
        let preview = &contents.scenes[i].preview;
        let shot = self.board.feeds.snapshot(&stream.name, preview).await;
        stream.size = shot.map(|shot| (shot.picture().width, shot.picture().height));
    }

    /// Ends sessions without a sign of life or a stream, and keeps sources open that groups' clients
    /// watch.
    pub(super) async fn keep_house(self: Arc<Shared>) {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let contents = self.board.contents();
            let (over, watched) = {
                let mut server = lock(&self.server);
                let mut over = server.expire(Mono::now());
                over.extend(server.retain(|name| contents.find(Some(name)).is_some()));
                (over, server.watched_groups())
            };
            for session in over {
                debug!("RTSP: session {session} is over");
                self.bye(session);
            }
            let watched = watched.iter().filter_map(|name| contents.find(Some(name)));
            watched.for_each(|i| contents.scenes[i].preview.touch());
            self.count();
        }
    }

    /// Shows how many sessions there are.
    pub(super) fn count(&self) {
        let (unicast, multicast) = lock(&self.server).counts();
        self.board.rtsp.sessions.set(unicast as u64);
        self.board.rtsp.multicast_sessions.set(multicast as u64);
    }

    /// Stops sending by UDP for now.
    pub(super) async fn pause(&self, session: SessionId) {
        let client = lock(&self.clients).remove(&session);
        let Some(Client::Playing { stop, task }) = client else {
            return;
        };
        drop(stop);
        if let Ok((flow, sockets)) = task.await {
            lock(&self.clients).insert(session, Client::Ready(sockets));
            lock(&self.server).paused(session, flow);
        }
    }

    /// Stops sending by UDP. The client knows.
    pub(super) fn stop(&self, session: SessionId) {
        lock(&self.clients).remove(&session);
    }

    /// The same for a client that does not know.
    pub(super) fn bye(&self, session: SessionId) {
        if let Some(Client::Playing { stop, .. }) = lock(&self.clients).remove(&session) {
            let _ = stop.send(());
        }
    }

    /// Says goodbye to all clients.
    pub(super) async fn end(&self) {
        let clients = std::mem::take(&mut *lock(&self.clients));
        for client in clients.into_values() {
            if let Client::Playing { stop, task } = client {
                let _ = stop.send(());
                let _ = timeout(LAST_WORDS, task).await;
            }
        }
    }

    /// A connection has ended.
    pub(super) fn closed(&self, connection: u64) {
        let over = lock(&self.server).closed(connection);
        over.into_iter().for_each(|session| self.stop(session));
        self.count();
    }
}

/// Nothing that holds one of these locks waits or panics half-way.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
