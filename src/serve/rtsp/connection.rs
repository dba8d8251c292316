//! One connection, from its first byte to its end: requests in; answers and, if the client takes
//! the stream that way, interleaved frames out.
//!
//! A frame is begun when everything before it is written, and then written to its end: a slow
//! client loses whole frames. What waits for it is one frame here, the newest one of the feed,
//! which all share, and what the kernel takes.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::anyhow;
use rtsp_types::Method;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info};

use super::shared::{Client, Shared, lock};
use super::sockets::ClientSockets;
use super::udp;
use crate::access::{Asked, Denied};
use crate::board::{Shot, Watcher};
use crate::clock::{Mono, Ntp};
use crate::net::visitor::{self, WRITE_TIME};
use crate::rtsp::flow::{interleave, interleave_packet};
use crate::rtsp::message::Request;
use crate::rtsp::response::Status;
use crate::rtsp::server::{Answer, Delivery, Peer, Play, SessionId, Setup};
use crate::rtsp::{Flow, Incoming, Reader, Response};

/// A request must have come in this time after its first byte.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// A connection without a session may be silent for so long: somebody may be typing a password.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// After this long without anything to do, to look whether the stream is still there.
const QUIET: Duration = Duration::from_secs(1);
/// With so many bytes of answers unread, no more requests are.
const MOST_ANSWERED: usize = 16 << 10;
/// Bytes taken by one read.
const READ: usize = 4 << 10;

/// Serves one connection.
pub(super) async fn serve(shared: &Arc<Shared>, socket: TcpStream, peer: Peer) {
    let mut connection = Connection::new(Arc::clone(shared), socket, peer);
    if let Err(error) = connection.run().await {
        debug!("RTSP: {} is gone: {error}", peer.from);
    }
    shared.closed(peer.connection);
}

/// The stream that the connection carries.
struct Playing {
    session: SessionId,
    flow: Flow,
    rtp: u8,
    rtcp: u8,
    watcher: Watcher,
    /// The newest frame, while the one before is being written.
    waiting: Option<Arc<Shot>>,
}

struct Connection {
    shared: Arc<Shared>,
    socket: TcpStream,
    peer: Peer,
    reader: Reader,
    out: Vec<u8>,
    written: usize,
    /// Bytes of answers in `out`.
    answered: usize,
    playing: Option<Playing>,
    /// The client has shown once that it may watch.
    is_known: bool,
    /// The connection ends when all is written.
    is_last: bool,
    /// When the open request began to come.
    begun: Option<Instant>,
    /// When the latest request came.
    heard: Instant,
    /// When the client last took something.
    taken: Instant,
}

enum Event {
    Readable,
    Writable,
    Frame(Option<Arc<Shot>>),
    Late,
}

impl Connection {
    fn new(shared: Arc<Shared>, socket: TcpStream, peer: Peer) -> Connection {
        let now = Instant::now();
        Connection {
            shared,
            socket,
            peer,
            reader: Reader::default(),
            out: Vec::new(),
            written: 0,
            answered: 0,
            playing: None,
            is_known: false,
            is_last: false,
            begun: None,
            heard: now,
            taken: now,
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        visitor::limit(&self.socket)?;
        while !(self.is_last && self.out.is_empty()) {
            match self.event().await {
                Event::Readable => self.read().await?,
                Event::Writable => self.write()?,
                Event::Frame(Some(shot)) => self.newer(shot),
                Event::Frame(None) => self.stream_ended(),
                Event::Late => self.check_time()?,
            }
        }
        Ok(())
    }

    async fn event(&mut self) -> Event {
        let reads = !self.is_last && self.answered < MOST_ANSWERED;
        let writes = !self.out.is_empty();
        let mut late = pin!(sleep_until(self.deadline()));
        let socket = &self.socket;
        let mut frame = pin!(async {
            match &mut self.playing {
                Some(playing) => playing.watcher.next().await,
                None => pending().await,
            }
        });
        poll_fn(|context| {
            if writes && socket.poll_write_ready(context).is_ready() {
                return Poll::Ready(Event::Writable);
            }
            if reads && socket.poll_read_ready(context).is_ready() {
                return Poll::Ready(Event::Readable);
            }
            if let Poll::Ready(shot) = frame.as_mut().poll(context) {
                return Poll::Ready(Event::Frame(shot));
            }
            late.as_mut().poll(context).map(|()| Event::Late)
        })
        .await
    }

    /// When to look for what is late.
    fn deadline(&self) -> Instant {
        let limits = [
            self.playing.as_ref().map(|_| Instant::now() + QUIET),
            (!self.out.is_empty()).then(|| self.taken + WRITE_TIME),
            self.begun.map(|begun| begun + HEAD_TIME),
        ];
        let idle = self.heard + IDLE_TIME;
        limits.into_iter().flatten().fold(idle, Instant::min)
    }

    fn check_time(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if !self.out.is_empty() && now >= self.taken + WRITE_TIME {
            return Err(timed_out("it takes nothing"));
        }
        if self.begun.is_some_and(|begun| now >= begun + HEAD_TIME) {
            self.shared.board.rtsp.refused_requests.add(1);
            return Err(timed_out("a request does not come to its end"));
        }
        let playing = self.playing.as_ref().map(|playing| playing.session);
        if playing.is_some_and(|session| !lock(&self.shared.server).has(session)) {
            self.stream_ended();
        }
        let has_session = lock(&self.shared.server).has_session(self.peer.connection);
        if now >= self.heard + IDLE_TIME {
            if !has_session {
                return Err(timed_out("it asks for nothing"));
            }
            self.heard = now;
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; READ];
        let len = match self.socket.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.reader.push(&bytes[..len]);
        while !self.is_last {
            match self.reader.take() {
                Ok(Some(Incoming::Request(request))) => self.answer(&request).await,
                Ok(Some(Incoming::Interleaved { .. })) => self.begun = None,
                Ok(None) => break,
                Err(bad) => {
                    self.is_last = true;
                    self.respond(&bad.response());
                }
            }
        }
        let is_within = self.reader.is_within();
        self.begun = is_within.then(|| self.begun.unwrap_or_else(Instant::now));
        Ok(())
    }

    async fn answer(&mut self, request: &Request) {
        self.heard = Instant::now();
        self.begun = None;
        self.is_last = request.is_last();
        if let Some(refusal) = self.refusal(request).await {
            return self.respond(&refusal);
        }
        let mut streams = self.shared.streams();
        if *request.method() == Method::Describe {
            self.shared.learn_size(request, &mut streams).await;
        }
        let now = Mono::now();
        let answer = lock(&self.shared.server).request(now, &self.peer, request, &streams);
        match answer {
            Answer::Respond(response) => self.respond(&response),
            Answer::Play(response, play) => {
                self.respond(&response);
                self.play(*play);
            }
            Answer::Pause(response, session) => {
                self.pause(session).await;
                self.respond(&response);
            }
            Answer::End(response, session) => {
                self.playing.take_if(|playing| playing.session == session);
                self.shared.stop(session);
                self.respond(&response);
            }
            Answer::OpenPorts(setup) => {
                let response = self.open_ports(*setup);
                self.respond(&response);
            }
        }
        self.shared.count();
    }

    /// The answer to a client that may not watch, or has not said yet who it is. OPTIONS tells
    /// nothing, and whoever asked once over this connection is known.
    async fn refusal(&mut self, request: &Request) -> Option<Response> {
        if self.is_known || *request.method() == Method::Options {
            return None;
        }
        let now = std::time::Instant::now();
        let (access, from) = (&self.shared.access, self.peer.from.ip());
        let denied = access.check(
            now,
            Asked {
                from,
                method: request.method_name(),
                uri: request.url().map_or("*", |url| url.as_str()),
                authorization: request.header(&rtsp_types::headers::AUTHORIZATION),
            },
        );
        let stale = match denied {
            Ok(()) => {
                self.is_known = true;
                return None;
            }
            Err(Denied::TooMany) => {
                let refusal = Response::new(Status::Unavailable, request.cseq());
                return Some(refusal.with("Retry-After", 3));
            }
            Err(Denied::Wrong(pause)) => {
                sleep(pause).await;
                false
            }
            Err(Denied::Login { stale }) => stale,
        };
        let refusal = Response::new(Status::Unauthorized, request.cseq());
        let challenges = access.challenges(now, from, stale).into_iter();
        Some(challenges.fold(refusal, |refusal, challenge| {
            refusal.with("WWW-Authenticate", challenge)
        }))
    }

    /// Puts an answer behind what is being written.
    fn respond(&mut self, response: &Response) {
        let stats = &self.shared.board.rtsp;
        stats.requests.add(1);
        match response.status() {
            Status::Unauthorized => stats.refused_access.add(1),
            Status::Unavailable => stats.refused_sessions.add(1),
            status if status.code() >= 400 => stats.refused_requests.add(1),
            _ => {}
        }
        let bytes = response.to_bytes();
        self.answered += bytes.len();
        self.put(|out| out.extend_from_slice(&bytes));
    }

    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.out.is_empty() {
            self.taken = Instant::now();
        }
        write(&mut self.out);
    }

    fn open_ports(&self, setup: Setup) -> Response {
        let sockets = match setup.delivery() {
            Delivery::Udp { rtp, rtcp } => ClientSockets::open(self.peer.local, rtp, rtcp),
            Delivery::Multicast | Delivery::Interleaved { .. } => Err(anyhow!("no UDP")),
        };
        let opened = sockets.and_then(|sockets| Ok((sockets.port()?, sockets)));
        let opened = opened.map_err(|error| debug!("RTSP: {error}")).ok();
        let mut server = lock(&self.shared.server);
        let (response, session) = server.set_up(setup, opened.as_ref().map(|(port, _)| *port));
        if let Some((session, (_, sockets))) = session.zip(opened) {
            lock(&self.shared.clients).insert(session, Client::Ready(Box::new(sockets)));
        }
        response
    }

    fn play(&mut self, play: Play) {
        let Delivery::Interleaved { rtp, rtcp } = play.delivery else {
            return udp::play(&self.shared, play);
        };
        let Some(watcher) = self.shared.watch(&play.stream) else {
            return lock(&self.shared.server).end(play.session);
        };
        info!("RTSP: {} by TCP to {}", play.stream, self.peer.from);
        self.playing = Some(Playing {
            session: play.session,
            flow: play.flow,
            rtp,
            rtcp,
            watcher,
            waiting: None,
        });
    }

    async fn pause(&mut self, session: SessionId) {
        match self.playing.take_if(|playing| playing.session == session) {
            Some(playing) => lock(&self.shared.server).paused(session, playing.flow),
            None => self.shared.pause(session).await,
        }
    }

    /// A frame has come. One that still waits is left out.
    fn newer(&mut self, shot: Arc<Shot>) {
        let Some(playing) = &mut self.playing else {
            return;
        };
        if playing.waiting.replace(shot).is_some() {
            self.shared.board.rtsp.frames_skipped.add(1);
        }
        if self.out.is_empty() {
            self.begin_frame();
        }
    }

    /// Begins to write the frame that waits, and a report if one is due.
    fn begin_frame(&mut self) {
        let Some(playing) = &mut self.playing else {
            return;
        };
        let Some(shot) = playing.waiting.take() else {
            return;
        };
        let stats = &self.shared.board.rtsp;
        let picture = shot.picture();
        let wall = Ntp::from(shot.captured.to_wall());
        let Ok(plan) = playing.flow.frame(&picture, shot.captured, wall) else {
            return stats.frames_skipped.add(1);
        };
        self.taken = Instant::now();
        interleave(&mut self.out, playing.rtp, plan, picture.scan);
        stats.frames_sent.add(1);
        stats.packets_sent.add(plan.packets.len() as u64);
        stats.bytes_sent.add(self.out.len() as u64);
        let now = Mono::now();
        if let Some(report) = playing.flow.report(now, Ntp::from(now.to_wall())) {
            interleave_packet(&mut self.out, playing.rtcp, &report);
        }
    }

    /// The stream is not there any more. The client may ask for another one.
    fn stream_ended(&mut self) {
        let Some(playing) = self.playing.take() else {
            return;
        };
        lock(&self.shared.server).end(playing.session);
        let now = Mono::now();
        let bye = playing.flow.bye(now, Ntp::from(now.to_wall()));
        self.put(|out| interleave_packet(out, playing.rtcp, &bye));
    }

    fn write(&mut self) -> io::Result<()> {
        let len = match self.socket.try_write(&self.out[self.written..]) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.written += len;
        self.taken = Instant::now();
        if self.written == self.out.len() {
            self.out.clear();
            (self.written, self.answered) = (0, 0);
            self.begin_frame();
        }
        Ok(())
    }
}

fn timed_out(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}
