//! Who may see the page. If there is a token or there are users, visitors must give the token or
//! log in. If not, requests must be for an address or a name of the local network, so that a web
//! page elsewhere cannot make a browser read the camera by pointing its own name at this host's
//! address (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, REFERER};
use subtle::ConstantTimeEq;

use crate::access::{Access, Asked, Denied, Guesses};

/// Names that no public name server knows: RFC 6762 §3, RFC 8375, and what routers use.
const LOCAL_SUFFIXES: [&str; 5] = [".local", ".lan", ".home.arpa", ".internal", ".localhost"];

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No token was given, and nobody has logged in.
    Login {
        /// The login was right, but its challenge too old.
        stale: bool,
    },
    /// The token or password is wrong: answer only after this delay.
    Wrong(Duration),
    /// Too many wrong ones came from this address; this one was not checked.
    TooMany,
    /// The requested host name is not one of the local network.
    Host,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        match denied {
            Denied::Login { stale } => Refusal::Login { stale },
            Denied::Wrong(pause) => Refusal::Wrong(pause),
            Denied::TooMany => Refusal::TooMany,
        }
    }
}

/// Why a request is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Everybody may see the page.
    Open,
    /// Name and password.
    User,
    /// The token in the address: the browser is told to store it as a cookie.
    Query,
    /// The token in a header.
    Header,
}

/// What requests are checked against.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    guesses: Guesses,
    access: Arc<Access>,
    /// Cookies belong to a host, not to a port: two pages on one host must not overwrite each
    /// other's.
    cookie: String,
    /// Origins of other sites that may embed this page and its pictures.
    embed: Vec<String>,
}

impl Guard {
    /// The guard of the page on this port.
    pub(super) fn new(
        port: u16,
        token: Option<String>,
        embed: Vec<String>,
        access: Arc<Access>,
    ) -> Guard {
        Guard {
            token,
            guesses: Guesses::default(),
            access,
            cookie: format!("lancam_token_{port}"),
            embed,
        }
    }

    /// Origins of other sites that may embed this page and its pictures.
    pub(super) fn embedders(&self) -> &[String] {
        &self.embed
    }

    /// Whether the request comes from a page that may embed the pictures. Browsers send its origin
    /// along.
    pub(super) fn is_embedder<B>(&self, request: &Request<B>) -> bool {
        let referrer = request.headers().get(REFERER);
        let referrer = referrer.and_then(|value| value.to_str().ok());
        referrer.is_some_and(|referrer| {
            let origin = |origin: &String| {
                let rest = referrer.strip_prefix(origin.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            self.embed.iter().any(origin)
        })
    }

    /// Whether a request from this address may be answered.
    pub(super) fn check<B>(
        &self,
        now: Instant,
        request: &Request<B>,
        from: IpAddr,
    ) -> Result<Pass, Refusal> {
        if self.token.is_none() && self.access.is_open() {
            return self.check_host(request).map(|()| Pass::Open);
        }
        let authorization = request.headers().get(AUTHORIZATION);
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let is_login = authorization.is_some_and(|value| value.starts_with("Digest "));
        if !self.access.is_open() && is_login {
            let asked = Asked {
                from,
                method: request.method().as_str(),
                uri: request
                    .uri()
                    .path_and_query()
                    .map_or("", |uri| uri.as_str()),
                authorization,
            };
            return Ok(self.access.check(now, asked).map(|()| Pass::User)?);
        }
        self.check_token(now, request, from)
    }

    /// Whether a request is for a name of the local network; needed where nobody has to log in.
    pub(super) fn check_host<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let host = request.headers().get(HOST);
        // Browsers always send the header.
        let is_local = host.is_none_or(|host| host.to_str().is_ok_and(is_local));
        (is_local || !self.access.is_open())
            .then_some(())
            .ok_or(Refusal::Host)
    }

    fn check_token<B>(
        &self,
        now: Instant,
        request: &Request<B>,
        from: IpAddr,
    ) -> Result<Pass, Refusal> {
        let mut given = self.tokens(request).peekable();
        let (Some(token), Some(_)) = (&self.token, given.peek()) else {
            return Err(Refusal::Login { stale: false });
        };
        if self.guesses.are_too_many(now, from) {
            return Err(Refusal::TooMany);
        }
        given
            .find(|(_, given)| bool::from(given.as_bytes().ct_eq(token.as_bytes())))
            .map(|(pass, _)| pass)
            .ok_or_else(|| Refusal::Wrong(self.guesses.wrong(now, from)))
    }

    /// The values of the WWW-Authenticate headers that say how to log in.
    pub(super) fn challenges(&self, now: Instant, from: IpAddr, stale: bool) -> Vec<String> {
        let mut all = Vec::new();
        if !self.access.is_open() {
            all.extend(self.access.challenges(now, from, stale));
        }
        if self.token.is_some() {
            all.push("Bearer realm=\"lancam\"".to_owned());
        }
        all
    }

    /// Whether there is a token.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn tokens<B>(&self, request: &Request<B>) -> impl Iterator<Item = (Pass, String)> {
        let query = parameter(request, "token").map(|given| (Pass::Query, given));
        let values = request.headers().get_all(AUTHORIZATION).iter();
        let bearers = values
            .filter_map(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .map(|given| given.trim().to_owned());
        let headers = bearers.chain(self.cookies(request));
        query
            .into_iter()
            .chain(headers.map(|given| (Pass::Header, given)))
    }

    fn cookies<B>(&self, request: &Request<B>) -> impl Iterator<Item = String> {
        request
            .headers()
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| decoded(value))
    }

    /// The cookie that admits a browser's further requests. It names no path, since a proxy may
    /// serve the page under another one. Scripts cannot read it, and requests from other sites do
    /// not carry it.
    pub(super) fn set_cookie(&self) -> Option<String> {
        // A token may contain characters that a cookie may not. RFC 6265 §4.1.1.
        let encoded: String =
            form_urlencoded::byte_serialize(self.token.as_ref()?.as_bytes()).collect();
        Some(format!(
            "{}={encoded}; HttpOnly; SameSite=Lax; Max-Age=31536000",
            self.cookie
        ))
    }
}

/// The value of a parameter of the request's query.
pub(super) fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

fn decoded(text: &str) -> String {
    let pair = format!("x={text}");
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .map_or(String::new(), |(_, value)| value.into_owned())
}

/// Whether a Host header names an address, or a name that only the local network knows.
fn is_local(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Users;

    const TOKEN: &str = "correct&horse;%+=";

    fn guard(token: Option<&str>) -> Guard {
        let embed = vec!["https://ha.local".to_owned()];
        let nobody = Arc::new(Access::new(Users::default()));
        Guard::new(8080, token.map(str::to_owned), embed, nobody)
    }

    /// Each from another address, so that none is slowed by those before.
    fn check(guard: &Guard, request: &Request<()>) -> Result<Pass, Refusal> {
        let from = std::net::Ipv4Addr::from_bits(crate::host::random() as u32);
        let wrong = |refusal| match refusal {
            Refusal::Wrong(_) => Refusal::Wrong(Duration::ZERO),
            other => other,
        };
        (guard.check(Instant::now(), request, from.into())).map_err(wrong)
    }

    fn get(address: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn the_token_comes_in_three_ways() {
        let guard = guard(Some(TOKEN));
        assert_eq!(
            check(&guard, &get("/", &[])),
            Err(Refusal::Login { stale: false })
        );
        let other = [("cookie", "lancam_token_8081=correct%26horse%3B%25%2B%3D")];
        assert_eq!(
            check(&guard, &get("/", &other)),
            Err(Refusal::Login { stale: false })
        );
        let basic = [("authorization", "Basic correct&horse;%+=")];
        assert_eq!(
            check(&guard, &get("/", &basic)),
            Err(Refusal::Login { stale: false })
        );
        let refused = [
            get("/?token=", &[]),
            get("/?token=correct", &[]),
            get("/?token=correct%26horse;%25%2B=x", &[]),
            get("/?token=x&token=correct%26horse;%25%2B=", &[]),
            get("/", &[("authorization", "Bearer correct&horse;%+")]),
            get("/", &[("cookie", "lancam_token_8080=correct%26horse")]),
        ];
        for request in refused {
            assert_eq!(
                check(&guard, &request),
                Err(Refusal::Wrong(Duration::ZERO)),
                "{request:?}"
            );
        }
        let query = get("/x?a=b&token=correct%26horse%3B%25%2B%3D", &[]);
        assert_eq!(check(&guard, &query), Ok(Pass::Query));
        let bearer = format!("Bearer {TOKEN}");
        let header = get("/", &[("authorization", &bearer)]);
        assert_eq!(check(&guard, &header), Ok(Pass::Header));
        let kept = guard.set_cookie().unwrap();
        let (pair, attributes) = kept.split_once("; ").unwrap();
        assert!(attributes.contains("HttpOnly"), "{attributes}");
        let cookie = get("/", &[("cookie", &format!("a=b; {pair}; c=d"))]);
        assert_eq!(check(&guard, &cookie), Ok(Pass::Header));
    }

    #[test]
    fn only_those_pages_embed_that_may() {
        let guard = guard(None);
        let asked = |referrer| guard.is_embedder(&get("/snapshot.jpg", &[("referer", referrer)]));
        assert!(
            asked("https://ha.local/")
                && asked("https://ha.local/lovelace/0")
                && asked("https://ha.local")
        );
        assert!(
            !asked("https://ha.local.evil.example/")
                && !asked("http://ha.local/")
                && !asked("https://ha.local:8123/")
        );
        assert!(!guard.is_embedder(&get("/snapshot.jpg", &[])));
    }

    #[test]
    fn without_a_token_public_names_are_refused() {
        let guard = guard(None);
        let good = [
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]:8080",
            "[fe80::1]",
            "localhost:8080",
            "raspberrypi",
            "camera.local:80",
            "Camera.LAN",
            "x.home.arpa.",
        ];
        for host in good {
            assert_eq!(
                check(&guard, &get("/", &[("host", host)])),
                Ok(Pass::Open),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8080",
            "local.evil.com",
            "evil.com.",
        ] {
            let request = get("/", &[("host", host)]);
            assert_eq!(check(&guard, &request), Err(Refusal::Host), "{host}");
        }
        assert_eq!(check(&guard, &get("/", &[])), Ok(Pass::Open));
    }
}
