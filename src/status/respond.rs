//! From a request to a response. Paths are compared byte for byte as received, so no spelling of
//! one can lead anywhere else.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::body::{Body, MOVING, Moving};
use super::guard::{Guard, Pass, Refusal, parameter};
use super::metrics;
use super::soap::{Answer, Ends, Services};
use crate::access::Places;
use crate::board::{Board, Contents, Pace, Role, RtspSnapshot, Scene, VisitorSnapshot};
use crate::onvif::{self, Reply};
use crate::players::Command;
use crate::stats::report::{Point, StreamReport};

const PAGE: &str = include_str!("page.html");
const PAGE_CSS: &str = include_str!("page.css");
const PAGE_JS: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");
const LOGIN: &str = include_str!("login.html");

/// How many visitors may watch moving pictures at a time.
const MOST_WATCHERS: usize = 32;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Fetch standard, "Cross-Origin-Resource-Policy header".
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// The statuses of requests that nothing here can answer.
const UNANSWERED: [StatusCode; 4] = [
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::REQUEST_TIMEOUT,
];
/// The paths that other sites may embed, if they know the token or are named.
const PICTURES: [&str; 2] = ["/snapshot.jpg", "/stream.mjpg"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every response: no caching, no guessed types, no framing, no referrer and no
/// embedding elsewhere, and the page runs only its own script.
const HEADERS: [(HeaderName, &str); 7] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, POLICY),
    (RESOURCE_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Answers requests.
pub(super) struct Site {
    pub(super) board: Arc<Board>,
    guard: Guard,
    /// The policy if other origins may frame this page.
    framing: Option<HeaderValue>,
    connections: Arc<Places>,
    watchers: Arc<Places>,
    /// The services for ONVIF clients, if they are on.
    services: Option<Services>,
}

impl Site {
    pub(super) fn new(
        board: Arc<Board>,
        guard: Guard,
        connections: Arc<Places>,
        services: Option<Services>,
    ) -> Site {
        Site {
            board,
            framing: framing(guard.embedders()),
            guard,
            connections,
            watchers: Places::new(MOST_WATCHERS, MOST_WATCHERS),
            services,
        }
    }

    /// The response to one request. Only the ONVIF services read a request's body.
    pub(super) async fn answer<B>(&self, mut request: Request<B>, ends: Ends) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        self.board.visitors.requests.add(1);
        let services = self.services.as_ref();
        let (pass, mut response) = match services.filter(|s| s.is_asked(&request)) {
            Some(services) => (None, self.of_services(services, &mut request, ends).await),
            None => self.of_page(&request, ends.from).await,
        };
        if UNANSWERED.contains(&response.status()) {
            self.board.visitors.refused_requests.add(1);
        }
        for (name, value) in HEADERS {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        self.admit_others(&request, pass, response.headers_mut());
        response
    }

    /// The response to a request to the page, and why it was allowed.
    async fn of_page<B>(
        &self,
        request: &Request<B>,
        from: IpAddr,
    ) -> (Option<Pass>, Response<Body>) {
        match self.check(request, from).await {
            Ok(pass) => (Some(pass), self.admitted(request, pass, from).await),
            Err(refusal) => {
                self.board.visitors.refused_access.add(1);
                (None, self.refused(refusal, request.uri().path(), from))
            }
        }
    }

    /// The response to a request to the ONVIF services.
    async fn of_services<B>(
        &self,
        services: &Services,
        request: &mut Request<B>,
        ends: Ends,
    ) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        if let Err(refusal) = self.guard.check_host(request) {
            self.board.visitors.refused_access.add(1);
            return self.refused(refusal, request.uri().path(), ends.from);
        }
        match services.answer(request, ends, &self.board).await {
            Answer::Reply(reply) => soap(reply),
            Answer::Login { reply, stale } => {
                self.board.visitors.refused_access.add(1);
                let mut response = soap(reply);
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                self.challenge(&mut response, ends.from, stale);
                response
            }
            Answer::Refused(status, why) => {
                let mut response = sentence(status, why);
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    let allowed = HeaderValue::from_static("POST");
                    response.headers_mut().insert(ALLOW, allowed);
                }
                response
            }
        }
    }

    /// Lets other sites embed the paths that they may.
    fn admit_others<B>(&self, request: &Request<B>, pass: Option<Pass>, headers: &mut HeaderMap) {
        // Only somebody who knows the token can write it into an address.
        let may_show = pass == Some(Pass::Query) || self.guard.is_embedder(request);
        if may_show && PICTURES.contains(&request.uri().path()) {
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        if let Some(policy) = &self.framing {
            headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
            // The header cannot hold a list.
            headers.remove(X_FRAME_OPTIONS);
        }
    }

    /// Whether the request may be answered; for a wrong token or password, only after a pause.
    async fn check<B>(&self, request: &Request<B>, from: IpAddr) -> Result<Pass, Refusal> {
        let pass = self.guard.check(Instant::now(), request, from);
        if let Err(Refusal::Wrong(pause)) = pass {
            tokio::time::sleep(pause).await;
        }
        pass
    }

    async fn admitted<B>(&self, request: &Request<B>, pass: Pass, from: IpAddr) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = sentence(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered",
            );
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match request.uri().path() {
            // Moves the token from the address bar, history and bookmarks into a cookie.
            "/" if pass == Pass::Query => self.welcome(),
            "/" => content(HTML, PAGE),
            "/page.css" => content("text/css; charset=utf-8", PAGE_CSS),
            "/page.js" => content("text/javascript; charset=utf-8", PAGE_JS),
            "/icon.svg" => content("image/svg+xml", ICON),
            "/status.json" => self.status(),
            "/metrics" => self.metrics(request.headers()),
            "/healthz" => self.health(request),
            "/stream.sdp" => self.of_stream(request, sdp),
            "/snapshot.jpg" => self.snapshot(request).await,
            "/stream.mjpg" => {
                self.of_stream(request, |report, scene| self.moving(report, scene, from))
            }
            _ => sentence(
                StatusCode::NOT_FOUND,
                "there is nothing here; the paths are / /snapshot.jpg /stream.mjpg /stream.sdp /status.json /metrics /healthz",
            ),
        }
    }

    fn welcome(&self) -> Response<Body> {
        let mut response = sentence(StatusCode::SEE_OTHER, "the page is at /");
        let headers = response.headers_mut();
        headers.insert(LOCATION, HeaderValue::from_static("./"));
        let cookie = self.guard.set_cookie();
        if let Some(cookie) = cookie.and_then(|cookie| cookie.try_into().ok()) {
            headers.insert(SET_COOKIE, cookie);
        }
        response
    }

    /// The answer for the stream that `?stream=NAME` names, or for the first one.
    fn of_stream<B>(
        &self,
        request: &Request<B>,
        make: impl FnOnce(&StreamReport, &Scene) -> Response<Body>,
    ) -> Response<Body> {
        let contents = self.board.contents();
        match find(&contents, request) {
            Some(i) => make(&contents.report.streams[i], &contents.scenes[i]),
            None => no_stream(),
        }
    }

    async fn snapshot<B>(&self, request: &Request<B>) -> Response<Body> {
        let contents = self.board.contents();
        let Some(i) = find(&contents, request) else {
            return no_stream();
        };
        let name = &contents.report.streams[i].name;
        match self
            .board
            .feeds
            .snapshot(name, &contents.scenes[i].preview)
            .await
        {
            Some(shot) => content("image/jpeg", shot.jpeg.clone()),
            None => sentence(
                StatusCode::SERVICE_UNAVAILABLE,
                "no picture has come for three seconds",
            ),
        }
    }

    fn moving(&self, report: &StreamReport, scene: &Scene, from: IpAddr) -> Response<Body> {
        let Some(place) = self.watchers.take(from) else {
            self.board.visitors.refused_watchers.add(1);
            return sentence(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many watch already: use /snapshot.jpg, or run `lancam view --headless --status` on another machine",
            );
        };
        let feeds = &self.board.feeds;
        let watcher = feeds.watch(&report.name, &scene.preview, Pace::Page);
        response(MOVING, Body::Moving(Moving::new(watcher, place)))
    }

    fn status(&self) -> Response<Body> {
        let contents = self.board.contents();
        let streams = contents.report.streams.iter().zip(&contents.scenes);
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            role: self.board.role,
            uptime_s: contents.report.uptime_s,
            rtsp_port: Some(self.board.rtsp_port.load(Ordering::Relaxed)).filter(|port| *port != 0),
            visitors: self.visitors(),
            rtsp: self.board.rtsp.snapshot(),
            streams: streams
                .map(|(report, scene)| Stream::of(report, scene))
                .collect(),
        };
        match serde_json::to_vec(&status) {
            Ok(json) => content("application/json", json),
            Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let accepts = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("application/openmetrics-text"));
        let form = metrics::Form::of(accepts);
        let contents = self.board.contents();
        let figures = (&self.visitors(), &self.board.rtsp.snapshot());
        let text = metrics::write(&contents, self.board.role, figures, form);
        content(form.content_type(), text)
    }

    fn health<B>(&self, request: &Request<B>) -> Response<Body> {
        let contents = self.board.contents();
        let asked = parameter(request, "stream");
        let only = asked.as_deref().map(|name| contents.find(Some(name)));
        if only == Some(None) {
            return no_stream();
        }
        match contents.health(only.flatten()) {
            Ok(()) => sentence(StatusCode::OK, "ok"),
            Err(why) => sentence(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    fn refused(&self, refusal: Refusal, path: &str, from: IpAddr) -> Response<Body> {
        match refusal {
            Refusal::Host => sentence(
                StatusCode::MISDIRECTED_REQUEST,
                "without a token or users this page answers only to its address or a name of the local network: use that, or set a token",
            ),
            Refusal::TooMany => {
                let mut response = sentence(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens or passwords from this address: try again in a few seconds",
                );
                let seconds = HeaderValue::from_static("3");
                response.headers_mut().insert(RETRY_AFTER, seconds);
                response
            }
            Refusal::Login { stale } => self.login(path, from, stale),
            Refusal::Wrong(_) => self.login(path, from, false),
        }
    }

    /// Says how to log in.
    fn login(&self, path: &str, from: IpAddr, stale: bool) -> Response<Body> {
        let mut response = match path {
            "/" if self.guard.has_token() => response(HTML, Body::new(LOGIN)),
            // The form needs no secret.
            "/page.css" => return content("text/css; charset=utf-8", PAGE_CSS),
            "/icon.svg" => return content("image/svg+xml", ICON),
            _ if self.guard.has_token() => sentence(
                StatusCode::UNAUTHORIZED,
                "a token is needed: add ?token=… to the address, or send the header Authorization: Bearer …",
            ),
            _ => sentence(
                StatusCode::UNAUTHORIZED,
                "only the users of this camera may watch: log in with a name and a password",
            ),
        };
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        self.challenge(&mut response, from, stale);
        response
    }

    /// Adds the headers that say how to log in.
    fn challenge(&self, response: &mut Response<Body>, from: IpAddr, stale: bool) {
        for challenge in self.guard.challenges(Instant::now(), from, stale) {
            if let Ok(challenge) = challenge.try_into() {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
        }
    }

    fn visitors(&self) -> VisitorSnapshot {
        VisitorSnapshot {
            connections: self.connections.taken() as u64,
            watchers: self.watchers.taken() as u64,
            ..self.board.visitors.snapshot()
        }
    }
}

/// [`POLICY`] with these origins allowed to frame the page; `None` if there are none.
fn framing(embedders: &[String]) -> Option<HeaderValue> {
    let ancestors = format!("frame-ancestors {}", embedders.join(" "));
    let policy = POLICY.replace("frame-ancestors 'none'", &ancestors);
    (!embedders.is_empty()).then(|| policy.try_into().ok())?
}

fn find<B>(contents: &Contents, request: &Request<B>) -> Option<usize> {
    contents.find(parameter(request, "stream").as_deref())
}

fn sdp(_: &StreamReport, scene: &Scene) -> Response<Body> {
    match &scene.sdp {
        Some(text) => content("application/sdp", text.clone()),
        None => sentence(
            StatusCode::SERVICE_UNAVAILABLE,
            "the stream is not known yet",
        ),
    }
}

fn no_stream() -> Response<Body> {
    sentence(
        StatusCode::NOT_FOUND,
        "no stream has that name; /status.json lists them",
    )
}

/// An ONVIF service's answer.
fn soap(reply: Reply) -> Response<Body> {
    let mut response = content(onvif::CONTENT_TYPE, reply.body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    response
}

fn response(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn content(content_type: &'static str, bytes: impl Into<hyper::body::Bytes>) -> Response<Body> {
    response(content_type, Body::new(bytes))
}

fn sentence(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = content(TEXT, text.into() + "\n");
    *response.status_mut() = status;
    response
}

/// `/status.json`.
#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    role: Role,
    uptime_s: f64,
    /// The address `rtsp://HOST:PORT/NAME`.
    rtsp_port: Option<u16>,
    visitors: VisitorSnapshot,
    rtsp: RtspSnapshot,
    streams: Vec<Stream<'a>>,
}

/// One of its streams.
#[derive(Serialize)]
struct Stream<'a> {
    #[serde(flatten)]
    report: &'a StreamReport,
    is_healthy: bool,
    /// What is wrong with it.
    problem: Option<&'a str>,
    has_sdp: bool,
    commands: &'a [Command],
    history: History,
}

/// The last minutes, one value a second. In columns, they take a fifth of the bytes.
#[derive(Serialize)]
struct History {
    fps: Vec<f32>,
    mbit_per_s: Vec<f32>,
    loss_percent: Vec<Option<f32>>,
    viewers: Vec<u32>,
}

impl<'a> Stream<'a> {
    fn of(report: &'a StreamReport, scene: &'a Scene) -> Stream<'a> {
        Stream {
            report,
            is_healthy: scene.health.is_ok(),
            problem: scene.health.as_ref().err().map(String::as_str),
            has_sdp: scene.sdp.is_some(),
            commands: &scene.commands,
            history: History::of(&scene.history),
        }
    }
}

impl History {
    fn of(points: &[Point]) -> History {
        History {
            fps: points.iter().map(|p| p.fps).collect(),
            mbit_per_s: points.iter().map(|p| p.mbit_per_s).collect(),
            loss_percent: points.iter().map(|p| p.loss_percent).collect(),
            viewers: points.iter().map(|p| p.viewers).collect(),
        }
    }
}
