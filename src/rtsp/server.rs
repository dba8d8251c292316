//! The server's sessions (RFC 2326 §1.3, §A.2): each request gets its answer, and says what begins
//! or ends to be delivered. How many sessions there may be, and when one is over, is decided here.
//!
//! A session of a group is a dialogue and nothing else: its client takes the stream where everybody
//! takes it. Only UDP and interleaved sessions are sent anything.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtsp_types::Method;
use rtsp_types::headers::{ACCEPT, PROXY_REQUIRE, REQUIRE, SCALE, SESSION, TRANSPORT};

use super::flow::Flow;
use super::message::Request;
use super::path::{TRACK, Target};
use super::response::{Response, Status};
use super::transport::{Possible, Wish, choose};
use crate::access::network;
use crate::clock::Mono;
use crate::rtp::rtcp::Description;
use crate::rtp::sdp::{Announcement, is_source_specific};

/// A client must show a sign of life within this time. RFC 2326 §12.37: "default is 60 seconds".
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Extra time before a session really ends: a sign of life may be on its way.
const GRACE: Duration = Duration::from_secs(5);
/// Most unicast sessions, in total and for one address.
pub const MOST_UNICAST: usize = 8;
const MOST_UNICAST_OF_ADDRESS: usize = 4;
/// Most multicast sessions, in total and for one address.
pub const MOST_MULTICAST: usize = 64;
const MOST_MULTICAST_OF_ADDRESS: usize = 16;

/// The methods that this server supports. RFC 2326 §10.1.
const METHODS: &str =
    "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// The facts about a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Width and height in pixels, once they are known.
    pub size: Option<(u16, u16)>,
    /// Frames a second, if the source states them.
    pub framerate: Option<f64>,
    /// Its destination.
    pub destination: SocketAddr,
    /// Time to live of multicast packets.
    pub ttl: u8,
    /// The address that it is sent from, if known.
    pub origin: Option<IpAddr>,
}

impl Stream {
    /// Its group, if its destination is one.
    fn group(&self) -> Option<SocketAddr> {
        let to_group = self.destination.ip().is_multicast();
        to_group.then_some(self.destination)
    }
}

/// The client. An IPv4 address is never in its IPv6-mapped form.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The number of its connection.
    pub connection: u64,
    /// Its address.
    pub from: SocketAddr,
    /// This host's address of the connection.
    pub local: SocketAddr,
}

/// A session's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    /// RFC 2326 §3.4: "at least 8 octets long". Clients may send back all of `ID;timeout=60`.
    pub(super) fn parse(header: &str) -> Option<SessionId> {
        let id = header.split(';').next()?.trim();
        let is_ours = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        is_ours.then(|| u64::from_str_radix(id, 16).ok().map(SessionId))?
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// How a client gets the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// From the group.
    Multicast,
    /// By UDP, to its ports.
    Udp {
        /// The destination of RTP.
        rtp: SocketAddr,
        /// The destination of RTCP.
        rtcp: SocketAddr,
    },
    /// Interleaved, over its connection.
    Interleaved {
        /// RTP's channel.
        rtp: u8,
        /// RTCP's channel.
        rtcp: u8,
    },
}

/// What to do about a request.
#[derive(Debug)]
#[must_use]
pub enum Answer {
    /// Answer it.
    Respond(Response),
    /// Answer it, then begin to deliver.
    Play(Response, Box<Play>),
    /// Stop delivering, give the flow back ([`Server::paused`]), then answer.
    Pause(Response, SessionId),
    /// Stop delivering, then answer. The session is over.
    End(Response, SessionId),
    /// Open a pair of ports, then ask again ([`Server::set_up`]).
    OpenPorts(Box<Setup>),
}

/// A delivery that is to begin.
#[derive(Debug)]
pub struct Play {
    /// The session that it belongs to.
    pub session: SessionId,
    /// The stream's name.
    pub stream: String,
    /// The transport; never the group.
    pub delivery: Delivery,
    /// The packets to send.
    pub flow: Flow,
}

/// A session that is about to begin, or to change its transport.
#[derive(Debug)]
pub struct Setup {
    cseq: Option<u32>,
    replaced: Option<SessionId>,
    session: Session,
}

impl Setup {
    /// The new transport.
    pub fn delivery(&self) -> Delivery {
        self.session.delivery
    }
}

/// One client's session.
#[derive(Debug)]
struct Session {
    stream: String,
    /// The track's address as the client knows it.
    url: String,
    from: IpAddr,
    /// The connection that its latest request came over, while that is open.
    connection: Option<u64>,
    delivery: Delivery,
    /// The flow of a unicast client; `None` while it is being delivered, and for the group.
    flow: Option<Flow>,
    is_playing: bool,
    /// When it last showed a sign of life.
    alive: Mono,
}

impl Session {
    fn is_multicast(&self) -> bool {
        self.delivery == Delivery::Multicast
    }

    fn is_interleaved(&self) -> bool {
        matches!(self.delivery, Delivery::Interleaved { .. })
    }

    /// An open connection is a sign of life, except by UDP: there the client must show that packets
    /// arrive, or send a request.
    fn is_over(&self, now: Mono) -> bool {
        let may_rest = self.connection.is_some() && !matches!(self.delivery, Delivery::Udp { .. });
        !may_rest && now.since(self.alive) > TIMEOUT + GRACE
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Server {
    sessions: HashMap<SessionId, Session>,
    /// Sessions that had to make room for others and have not been reported yet.
    replaced: Vec<SessionId>,
    description: Description,
    random: fn() -> u64,
}

impl Server {
    /// A server that describes itself in RTCP as given. `random` must give numbers that nobody can
    /// guess: another program on a client's host could end a session whose name it knows.
    pub fn new(description: Description, random: fn() -> u64) -> Server {
        Server {
            sessions: HashMap::new(),
            replaced: Vec::new(),
            description,
            random,
        }
    }

    /// The numbers of unicast and of multicast sessions.
    pub fn counts(&self) -> (usize, usize) {
        let multicast = self.sessions.values().filter(|s| s.is_multicast()).count();
        (self.sessions.len() - multicast, multicast)
    }

    /// What to do about the `request` of an authorised `peer` for one of `streams`.
    pub fn request(
        &mut self,
        now: Mono,
        peer: &Peer,
        request: &Request,
        streams: &[Stream],
    ) -> Answer {
        self.answer(now, peer, request, streams)
            .unwrap_or_else(Answer::Respond)
    }

    fn answer(
        &mut self,
        now: Mono,
        peer: &Peer,
        request: &Request,
        streams: &[Stream],
    ) -> Result<Answer, Response> {
        let respond = |status| Response::new(status, request.cseq());
        // RFC 2326 §12.17: "must be present in all requests".
        if request.cseq().is_none() {
            return Err(respond(Status::BadRequest));
        }
        understood(request)?;
        let session = self.session(now, peer, request)?;
        let known = || session.ok_or_else(|| respond(Status::SessionNotFound));
        match request.method() {
            Method::Options => Ok(Answer::Respond(respond(Status::Ok).with("Public", METHODS))),
            Method::Describe => describe(now, peer, request, streams).map(Answer::Respond),
            Method::Setup => self.setup(now, peer, request, session, streams),
            Method::Play => self.play(known()?, request, streams),
            Method::Pause => self.pause(known()?, request),
            Method::Teardown => self.teardown(known()?, request),
            // §10.8: "may be used to test client or server liveness".
            Method::GetParameter | Method::SetParameter => {
                let is_empty = request.body().trim_ascii().is_empty();
                let response = respond(match is_empty {
                    true => Status::Ok,
                    false => Status::ParameterNotUnderstood,
                });
                Ok(Answer::Respond(match session {
                    Some(id) => response.with("Session", id),
                    None => response,
                }))
            }
            Method::Extension(_) => Err(respond(Status::NotImplemented).with("Public", METHODS)),
            _ => Err(respond(Status::MethodNotAllowed).with("Allow", METHODS)),
        }
    }

    /// The session that a request names, if it comes from that session's own host. Counts as a sign
    /// of life.
    fn session(
        &mut self,
        now: Mono,
        peer: &Peer,
        request: &Request,
    ) -> Result<Option<SessionId>, Response> {
        let Some(header) = request.header(&SESSION) else {
            return Ok(None);
        };
        let unknown = || Response::new(Status::SessionNotFound, request.cseq());
        let id = SessionId::parse(header).ok_or_else(unknown)?;
        let session = self.sessions.get_mut(&id).ok_or_else(unknown)?;
        // An interleaved session belongs to its connection.
        let is_there = session.connection == Some(peer.connection);
        if session.from != peer.from.ip() || session.is_interleaved() && !is_there {
            return Err(unknown());
        }
        session.alive = now;
        session.connection = Some(peer.connection);
        Ok(Some(id))
    }

    /// RFC 2326 §10.4.
    fn setup(
        &mut self,
        now: Mono,
        peer: &Peer,
        request: &Request,
        replaced: Option<SessionId>,
        streams: &[Stream],
    ) -> Result<Answer, Response> {
        let refuse = |status| Response::new(status, request.cseq());
        let (target, stream) = find(request, streams)?;
        if let Some(session) = replaced.and_then(|id| self.sessions.get(&id)) {
            // "MUST bundle this setup request into the existing session or return error '459'".
            if session.stream != stream.name {
                return Err(refuse(Status::AggregateNotAllowed));
            }
            if session.is_playing || (session.flow.is_none() && !session.is_multicast()) {
                return Err(not_now(request));
            }
        }
        let carries = |(id, session): (&SessionId, &Session)| {
            let is_there = session.connection == Some(peer.connection);
            is_there && session.is_interleaved() && Some(*id) != replaced
        };
        let possible = Possible {
            group: stream.group().map(|group| group.ip()),
            client: peer.from.ip(),
            can_interleave: !self.sessions.iter().any(carries),
        };
        let transport = request.header(&TRANSPORT).unwrap_or_default();
        let wish =
            choose(transport, &possible).map_err(|_| refuse(Status::UnsupportedTransport))?;
        let delivery = match wish {
            Wish::Multicast => Delivery::Multicast,
            Wish::Interleaved { rtp, rtcp } => Delivery::Interleaved { rtp, rtcp },
            Wish::Udp { rtp, rtcp } => Delivery::Udp {
                rtp: at_port(peer.from, rtp),
                rtcp: at_port(peer.from, rtcp),
            },
        };
        let is_multicast = delivery == Delivery::Multicast;
        if !self.make_room(peer.from.ip(), is_multicast, replaced) {
            return Err(refuse(Status::Unavailable));
        }
        let track = target.base + TRACK;
        let setup = Setup {
            cseq: request.cseq(),
            replaced,
            session: Session {
                stream: stream.name.clone(),
                url: track,
                from: peer.from.ip(),
                connection: Some(peer.connection),
                delivery,
                flow: (!is_multicast).then(|| Flow::new(self.random, self.description.clone())),
                is_playing: false,
                alive: now,
            },
        };
        match delivery {
            Delivery::Udp { .. } => Ok(Answer::OpenPorts(Box::new(setup))),
            Delivery::Interleaved { rtp, rtcp } => {
                let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}");
                Ok(Answer::Respond(self.begin(setup, transport).0))
            }
            Delivery::Multicast => {
                let transport = multicast(stream, peer);
                Ok(Answer::Respond(self.begin(setup, transport).0))
            }
        }
    }

    /// Completes a session that sends from this port and the next one; without ports, there is no
    /// session.
    pub fn set_up(&mut self, setup: Setup, port: Option<u16>) -> (Response, Option<SessionId>) {
        let (Delivery::Udp { rtp, rtcp }, Some(port)) = (setup.session.delivery, port) else {
            return (Response::new(Status::Unavailable, setup.cseq), None);
        };
        let transport = format!(
            "RTP/AVP;unicast;client_port={}-{};server_port={port}-{}",
            rtp.port(),
            rtcp.port(),
            port.wrapping_add(1)
        );
        let (response, id) = self.begin(setup, transport);
        (response, Some(id))
    }

    fn begin(&mut self, setup: Setup, mut transport: String) -> (Response, SessionId) {
        let id = setup.replaced.unwrap_or_else(|| self.new_id());
        if let Some(flow) = &setup.session.flow {
            transport += &format!(";ssrc={:08X}", flow.ssrc().0);
        }
        self.sessions.insert(id, setup.session);
        let response = Response::new(Status::Ok, setup.cseq)
            .with("Transport", transport)
            .with(
                "Session",
                format_args!("{id};timeout={}", TIMEOUT.as_secs()),
            );
        (response, id)
    }

    fn new_id(&self) -> SessionId {
        loop {
            let id = SessionId((self.random)());
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// The same, but may replace the oldest session that this host has abandoned: a player that was
    /// killed may come back before its session has timed out.
    fn make_room(&mut self, from: IpAddr, is_multicast: bool, replaced: Option<SessionId>) -> bool {
        if self.has_room(from, is_multicast, replaced) {
            return true;
        }
        let left_behind = self.sessions.iter().filter(|(_, session)| {
            let is_own = network(session.from) == network(from);
            is_own && session.connection.is_none() && session.is_multicast() == is_multicast
        });
        let oldest = left_behind.min_by_key(|(_, session)| session.alive);
        let Some(id) = oldest.map(|(id, _)| *id) else {
            return false;
        };
        self.sessions.remove(&id);
        self.replaced.push(id);
        self.has_room(from, is_multicast, replaced)
    }

    /// Whether `from` may have another session, with `replaced` gone.
    fn has_room(&self, from: IpAddr, is_multicast: bool, replaced: Option<SessionId>) -> bool {
        let (most, most_of_address) = match is_multicast {
            true => (MOST_MULTICAST, MOST_MULTICAST_OF_ADDRESS),
            false => (MOST_UNICAST, MOST_UNICAST_OF_ADDRESS),
        };
        let others = || {
            let others = self
                .sessions
                .iter()
                .filter(|(id, _)| Some(**id) != replaced);
            others.filter(|(_, session)| session.is_multicast() == is_multicast)
        };
        let of_address = others().filter(|(_, session)| network(session.from) == network(from));
        // Loopback addresses may take all, since a relay on this machine does.
        others().count() < most && (from.is_loopback() || of_address.count() < most_of_address)
    }

    /// RFC 2326 §10.5.
    fn play(
        &mut self,
        id: SessionId,
        request: &Request,
        streams: &[Stream],
    ) -> Result<Answer, Response> {
        let session = self.of_request(id, request)?;
        if !streams.iter().any(|stream| stream.name == session.stream) {
            return Err(Response::new(Status::NotFound, request.cseq()));
        }
        let mut response = Response::new(Status::Ok, request.cseq()).with("Session", id);
        // The stream is live: it plays from now on, at its own speed. The answer says so (§12.29,
        // §12.34).
        response = response.with("Range", "npt=now-");
        if request.header(&SCALE).is_some() {
            response = response.with("Scale", "1");
        }
        if session.is_playing {
            return Ok(Answer::Respond(response));
        }
        if session.is_multicast() {
            // No RTP-Info: GStreamer would wait for ever if the group's packets had other numbers.
            session.is_playing = true;
            return Ok(Answer::Respond(response));
        }
        let Some(flow) = session.flow.take() else {
            return Err(not_now(request));
        };
        session.is_playing = true;
        // §12.33. No `rtptime`: the next frame has no timestamp yet.
        let info = format_args!("url={};seq={}", session.url, flow.next_seq().0);
        let response = response.with("RTP-Info", info);
        let play = Play {
            session: id,
            stream: session.stream.clone(),
            delivery: session.delivery,
            flow,
        };
        Ok(Answer::Play(response, Box::new(play)))
    }

    /// RFC 2326 §10.6.
    fn pause(&mut self, id: SessionId, request: &Request) -> Result<Answer, Response> {
        let session = self.of_request(id, request)?;
        if !session.is_playing {
            return Err(not_now(request));
        }
        session.is_playing = false;
        let response = Response::new(Status::Ok, request.cseq()).with("Session", id);
        Ok(match session.is_multicast() {
            true => Answer::Respond(response),
            false => Answer::Pause(response, id),
        })
    }

    /// RFC 2326 §10.7.
    fn teardown(&mut self, id: SessionId, request: &Request) -> Result<Answer, Response> {
        self.of_request(id, request)?;
        self.sessions.remove(&id);
        let response = Response::new(Status::Ok, request.cseq()).with("Session", id);
        Ok(Answer::End(response, id))
    }

    /// The session, unless the request's address is that of another stream.
    fn of_request(&mut self, id: SessionId, request: &Request) -> Result<&mut Session, Response> {
        let session = self.sessions.get_mut(&id);
        let session =
            session.ok_or_else(|| Response::new(Status::SessionNotFound, request.cseq()))?;
        let name = request.url().map(|url| Target::of(url).map(|t| t.name));
        let is_other = match name {
            Some(Some(Some(name))) => name != session.stream,
            Some(None) => true,
            Some(Some(None)) | None => false,
        };
        match is_other {
            true => Err(Response::new(Status::NotFound, request.cseq())),
            false => Ok(session),
        }
    }

    /// Takes back the flow of a stopped delivery.
    pub fn paused(&mut self, id: SessionId, flow: Flow) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.flow = Some(flow);
        }
    }

    /// Notes that the client of this session has sent RTCP.
    pub fn alive(&mut self, now: Mono, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.alive = now;
        }
    }

    /// The session is over: its stream or its client is gone.
    pub fn end(&mut self, id: SessionId) {
        self.sessions.remove(&id);
    }

    /// Whether a session's latest request came over this connection.
    pub fn has_session(&self, connection: u64) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.connection == Some(connection))
    }

    /// The streams that clients take from their groups, once for each client.
    pub fn watched_groups(&self) -> Vec<String> {
        let playing = self
            .sessions
            .values()
            .filter(|s| s.is_multicast() && s.is_playing);
        playing.map(|session| session.stream.clone()).collect()
    }

    /// Notes the end of a connection; returns the sessions that end with it. One that plays by UDP
    /// or from the group goes on (RFC 2326 §1.3: no session is "tied to a transport-level
    /// connection").
    pub fn closed(&mut self, connection: u64) -> Vec<SessionId> {
        for session in self.sessions.values_mut() {
            if session.connection == Some(connection) {
                session.connection = None;
            }
        }
        self.remove(|session| {
            session.connection.is_none() && (session.is_interleaved() || !session.is_playing)
        })
    }

    /// Ends and returns the sessions of streams that no longer exist.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<SessionId> {
        self.remove(|session| !is_there(&session.stream))
    }

    /// Whether this session exists.
    pub fn has(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// Ends and returns the sessions without a sign of life for too long; also returns those that
    /// have made room for others since the last call.
    pub fn expire(&mut self, now: Mono) -> Vec<SessionId> {
        let mut over = self.remove(|session| session.is_over(now));
        over.append(&mut self.replaced);
        over
    }

    fn remove(&mut self, is_over: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let over = self.sessions.iter().filter(|(_, session)| is_over(session));
        let over: Vec<SessionId> = over.map(|(id, _)| *id).collect();
        for id in &over {
            self.sessions.remove(id);
        }
        over
    }
}

/// RFC 2326 §12.32: a request that requires an unknown feature is refused. §12.27 treats
/// `Proxy-Require` in the same way.
fn understood(request: &Request) -> Result<(), Response> {
    let required = request.header(&REQUIRE).or(request.header(&PROXY_REQUIRE));
    let Some(required) = required else {
        return Ok(());
    };
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let named: String = required.chars().filter(printable).collect();
    let refusal = Response::new(Status::OptionNotSupported, request.cseq());
    Err(refusal.with("Unsupported", named))
}

/// RFC 2326 §10.2.
fn describe(
    now: Mono,
    peer: &Peer,
    request: &Request,
    streams: &[Stream],
) -> Result<Response, Response> {
    let (target, stream) = find(request, streams)?;
    if !request.header(&ACCEPT).is_none_or(takes_sdp) {
        return Err(Response::new(Status::NotAcceptable, request.cseq()));
    }
    let group = stream.group().filter(|_| target.is_multicast);
    let local = peer.local.ip();
    // Zeros, so that the client chooses a transport in SETUP: given the group here, some clients
    // would accept nothing else. RFC 2326 §C.1.7.
    let anywhere: IpAddr = match local {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let destination = group.unwrap_or(SocketAddr::new(anywhere, 0));
    let seconds = now.0 / 1_000_000_000;
    let sdp = Announcement {
        name: &stream.name,
        session: 1,
        // A version number: it never decreases, and means nothing else.
        version: seconds,
        ssrc: None,
        origin: local,
        destination,
        ttl: stream.ttl,
        source: stream
            .origin
            .filter(|_| is_source_specific(destination.ip())),
        framerate: stream.framerate,
        size: stream.size,
        repair_port: None,
        control: Some(TRACK),
    };
    Ok(Response::new(Status::Ok, request.cseq())
        .with("Content-Base", &target.base)
        .with_body("application/sdp", sdp.to_sdp()))
}

/// Whether `Accept` allows SDP. RFC 2326 §12.1.
fn takes_sdp(accept: &str) -> bool {
    let kinds = accept.split(',').filter_map(|part| part.split(';').next());
    let mut kinds = kinds.map(|kind| kind.trim().to_ascii_lowercase());
    kinds.any(|kind| ["application/sdp", "application/*", "*/*"].contains(&kind.as_str()))
}

/// The stream that a request is about.
fn find<'a>(request: &Request, streams: &'a [Stream]) -> Result<(Target, &'a Stream), Response> {
    let target = request.url().and_then(Target::of);
    let stream = target.as_ref().and_then(|target| {
        let stream = streams.iter().find(|stream| target.means(&stream.name))?;
        (!target.is_multicast || stream.group().is_some()).then_some(stream)
    });
    let not_found = || Response::new(Status::NotFound, request.cseq());
    target.zip(stream).ok_or_else(not_found)
}

/// RFC 2326 §11.3.5: the answer lists what is possible instead.
fn not_now(request: &Request) -> Response {
    Response::new(Status::NotValidInThisState, request.cseq()).with("Allow", METHODS)
}

/// RFC 2326 §12.39. `source` is given if it is not this server: a gateway's stream comes from its
/// sender.
fn multicast(stream: &Stream, peer: &Peer) -> String {
    let (group, port) = (stream.destination.ip(), stream.destination.port());
    let mut transport = format!(
        "RTP/AVP;multicast;destination={group};port={port}-{};ttl={}",
        port.wrapping_add(1),
        stream.ttl
    );
    if let Some(origin) = stream.origin.filter(|origin| *origin != peer.local.ip()) {
        transport += &format!(";source={origin}");
    }
    transport
}

fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}
