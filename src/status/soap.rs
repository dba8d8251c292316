//! The ONVIF services, by POST on the page's server: reads a request, checks that the client may
//! ask, gathers the facts, and has [`crate::onvif`] answer.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::{Body, Bytes};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use tokio::time::{sleep, timeout};

use crate::access::{Access, Asked, Denied};
use crate::board::{Board, Contents};
use crate::host;
use crate::net::{Interface, host::clock_state, interface};
use crate::onvif::{self, Device, Fault, MAX_LEN, Network, Reply, Used, Uuid};
use crate::rtp::sdp::StreamDescription;
use crate::stats::report::StreamReport;

/// The paths of the services.
const PATHS: [&str; 2] = ["/onvif/device_service", "/onvif/media_service"];
/// A request's body must arrive within this time.
const BODY_TIME: Duration = Duration::from_secs(5);

/// The answer to a request.
pub(super) enum Answer {
    Reply(Reply),
    /// The client must log in: HTTP's challenges go with the fault.
    Login {
        reply: Reply,
        stale: bool,
    },
    /// The request is not read any further.
    Refused(StatusCode, &'static str),
}

/// The ends of a request's connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) from: IpAddr,
    pub(super) local: SocketAddr,
}

/// Both services.
pub(super) struct Services {
    id: Uuid,
    host: String,
    access: Arc<Access>,
    /// The tokens that have been used.
    used: Mutex<Used>,
}

impl Services {
    pub(super) fn new(id: Uuid, access: Arc<Access>) -> Services {
        Services {
            id,
            host: host::name(),
            access,
            used: Mutex::default(),
        }
    }

    /// Whether a request is for the services.
    pub(super) fn is_asked<B>(&self, request: &Request<B>) -> bool {
        PATHS.contains(&request.uri().path())
    }

    /// The answer to a request whose Host header may mean this host.
    pub(super) async fn answer<B>(
        &self,
        request: &mut Request<B>,
        ends: Ends,
        board: &Board,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if request.method() != Method::POST {
            let why = "the ONVIF services answer POST only";
            return Answer::Refused(StatusCode::METHOD_NOT_ALLOWED, why);
        }
        // ONVIF Core Specification §5.9.1: a login by HTTP is checked first.
        let is_user = match self.logged_in(request, ends.from) {
            Ok(is_user) => is_user,
            Err(denied) => return self.denied(denied).await,
        };
        let body = match timeout(BODY_TIME, read(request.body_mut())).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                let why = "a request to the ONVIF services may have 16 KiB at most";
                return Answer::Refused(StatusCode::PAYLOAD_TOO_LARGE, why);
            }
            Err(_) => {
                let why = "the request did not arrive within five seconds";
                return Answer::Refused(StatusCode::REQUEST_TIMEOUT, why);
            }
        };
        let asked = match onvif::Request::read(&body) {
            Ok(asked) => asked,
            Err(fault) => return Answer::Reply(fault.into()),
        };
        if !is_user && !asked.is_open() {
            if let Err(refusal) = self.check_token(&asked, ends.from).await {
                return refusal;
            }
        }
        Answer::Reply(self.reply(&asked, request, ends, board))
    }

    /// Whether HTTP's header proves that the client is a user; without users, everybody may ask.
    fn logged_in<B>(&self, request: &Request<B>, from: IpAddr) -> Result<bool, Denied> {
        let authorization = request.headers().get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let uri = request.uri().path_and_query();
        let asked = Asked {
            from,
            method: request.method().as_str(),
            uri: uri.map_or("", |uri| uri.as_str()),
            authorization,
        };
        match self.access.check(Instant::now(), asked) {
            Ok(()) => Ok(true),
            // SOAP's header may have the login.
            Err(Denied::Login { stale: false }) => Ok(false),
            Err(denied) => Err(denied),
        }
    }

    async fn denied(&self, denied: Denied) -> Answer {
        match denied {
            Denied::Login { stale } => login(stale),
            Denied::Wrong(pause) => {
                sleep(pause).await;
                login(false)
            }
            Denied::TooMany => too_many(),
        }
    }

    /// Whether SOAP's header proves that the client is a user; a wrong password is answered after a
    /// pause.
    async fn check_token(&self, asked: &onvif::Request, from: IpAddr) -> Result<(), Answer> {
        let Some(token) = &asked.token else {
            return Err(login(false));
        };
        let (now, guesses) = (Instant::now(), self.access.guesses());
        if guesses.are_too_many(now, from) {
            return Err(too_many());
        }
        let password = self.access.password(&token.name);
        let checked = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.check(seconds(), token, password)
        };
        let Err(refused) = checked else {
            return Ok(());
        };
        if refused == onvif::Refused::Wrong {
            sleep(guesses.wrong(now, from)).await;
        }
        let why = refused.to_string();
        Err(Answer::Reply(Fault::not_authorized(&why).into()))
    }

    fn reply<B>(
        &self,
        asked: &onvif::Request,
        request: &Request<B>,
        ends: Ends,
        board: &Board,
    ) -> Reply {
        let (address, page_port) = called(request).unwrap_or_else(|| {
            // An IPv6 address in brackets, an IPv4 one as it is.
            let local = SocketAddr::new(ends.local.ip().to_canonical(), 0).to_string();
            let address = local.trim_end_matches(":0").to_owned();
            (address, ends.local.port())
        });
        let contents = board.contents();
        let rtsp_port = board.rtsp_port.load(std::sync::atomic::Ordering::Relaxed);
        asked.answer(&Device {
            id: self.id,
            host: &self.host,
            address: &address,
            page_port,
            rtsp_port: Some(rtsp_port).filter(|port| *port != 0),
            has_users: !self.access.is_open(),
            is_clock_synchronised: clock_state().is_ok_and(|clock| clock.is_synchronised),
            now: seconds(),
            interfaces: &interfaces,
            streams: &streams(&contents),
        })
    }
}

fn login(stale: bool) -> Answer {
    let why = "only the users of this camera may ask: a name and a password are needed";
    Answer::Login {
        reply: Fault::not_authorized(why).into(),
        stale,
    }
}

fn too_many() -> Answer {
    let why = "too many wrong passwords from this address: try again in a few seconds";
    Answer::Refused(StatusCode::TOO_MANY_REQUESTS, why)
}

/// Reads a body of at most [`MAX_LEN`] bytes; `None` if it is longer or was cut short.
async fn read<B>(body: &mut B) -> Option<Vec<u8>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    if body.size_hint().lower() > MAX_LEN as u64 {
        return None;
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_LEN {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}

/// The host and port that the client used, so that the addresses it is given work for it too, even
/// behind a router that forwards a port.
fn called<B>(request: &Request<B>) -> Option<(String, u16)> {
    let host = request.headers().get(HOST)?;
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    let port = authority.port_u16().unwrap_or(80);
    Some((authority.host().to_owned(), port)).filter(|(host, _)| !host.is_empty())
}

/// Seconds since 1970.
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs() as i64)
}

/// The interfaces to other machines, or loopback if there are none.
fn interfaces() -> Vec<onvif::Interface> {
    let mut all = interface::list().unwrap_or_default();
    all.retain(|interface| interface.is_up);
    if all.iter().any(|interface| !interface.is_loopback) {
        all.retain(|interface| !interface.is_loopback);
    }
    all.iter().map(described).collect()
}

fn described(interface: &Interface) -> onvif::Interface {
    onvif::Interface {
        name: interface.name.clone(),
        hardware: interface.hardware.unwrap_or_default(),
        mtu: interface.mtu,
        addresses: Network::all(&interface.addresses, &interface.prefixes).collect(),
    }
}

/// The streams that have sent a picture.
fn streams(contents: &Contents) -> Vec<onvif::Stream> {
    let streams = contents.report.streams.iter().zip(&contents.scenes);
    streams
        .filter_map(|(report, scene)| stream(report, scene.sdp.as_deref()?))
        .collect()
}

fn stream(report: &StreamReport, sdp: &str) -> Option<onvif::Stream> {
    let format = report.format?;
    let described = StreamDescription::parse(sdp.as_bytes()).ok()?;
    Some(onvif::Stream {
        name: report.name.clone(),
        size: (format.width, format.height),
        fps: described.framerate.unwrap_or(report.rates.fps),
        kbit_per_s: (report.rates.mbit_per_s * 1000.0).round() as u32,
        group: described.addr,
        ttl: described.ttl.unwrap_or(1),
    })
}
