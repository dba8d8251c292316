//! The server's side of Digest authentication (RFC 7616), including the form without `qop` that
//! older players use (RFC 2069). The `sha2` and `md-5` crates compute the digests.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::guesses::network;
use crate::host;

/// The realm in a challenge: what a client is asked to log in to.
const REALM: &str = "lancam";

/// How long a challenge is valid.
const LIFE: Duration = Duration::from_secs(600);

/// The parts of a request that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The client's address.
    pub(crate) from: IpAddr,
    /// Its method, such as `GET` or `DESCRIBE`.
    pub(crate) method: &'a str,
    /// The address in its first line.
    pub(crate) uri: &'a str,
    /// The value of its Authorization header.
    pub(crate) authorization: Option<&'a str>,
}

/// How digests are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Md5,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// The algorithm of this name; MD5 if none is given. RFC 7616 §3.3.
    fn of(name: Option<&str>) -> Option<Algorithm> {
        let Some(name) = name else {
            return Some(Algorithm::Md5);
        };
        let all = [Algorithm::Sha256, Algorithm::Md5];
        (all.into_iter()).find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// The digest of `parts` with colons between them, in hexadecimal.
    fn of_parts(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Algorithm::Sha256 => format!("{:x}", Sha256::digest(text)),
            Algorithm::Md5 => format!("{:x}", Md5::digest(text)),
        }
    }
}

/// One challenge. RFC 7616 §3.3.
pub(super) fn challenge(algorithm: Algorithm, nonce: &str, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    format!(
        "Digest realm=\"{REALM}\", qop=\"auth\", algorithm={}, nonce=\"{nonce}\"{stale}",
        algorithm.name()
    )
}

/// Challenges. They are not stored: each contains the time it was made and a digest that only this
/// process can compute, as RFC 7616 §3.3 proposes. An intercepted one is useless from another
/// address.
#[derive(Debug)]
pub(super) struct Nonces {
    start: Instant,
    key: String,
}

impl Nonces {
    pub(super) fn new() -> Nonces {
        let key = [host::random(), host::random(), host::random()];
        Nonces {
            start: Instant::now(),
            key: format!("{key:x?}"),
        }
    }

    /// A new challenge for a client at `from`.
    pub(super) fn make(&self, now: Instant, from: IpAddr) -> String {
        let second = now.saturating_duration_since(self.start).as_secs();
        self.of(second, from)
    }

    /// Whether this process made it, for this client, and not too long ago.
    pub(super) fn is_fresh(&self, now: Instant, from: IpAddr, nonce: &str) -> bool {
        let made = nonce.split_once('-').map(|(second, _)| second);
        let Some(made) = made.and_then(|second| u64::from_str_radix(second, 16).ok()) else {
            return false;
        };
        let second = now.saturating_duration_since(self.start).as_secs();
        let is_own = bool::from(self.of(made, from).as_bytes().ct_eq(nonce.as_bytes()));
        is_own && made <= second && second - made <= LIFE.as_secs()
    }

    fn of(&self, second: u64, from: IpAddr) -> String {
        let second = format!("{second:x}");
        let network = network(from).to_string();
        let proof = Algorithm::Sha256.of_parts(&[&second, &network, &self.key]);
        format!("{second}-{}", &proof[..32])
    }
}

/// A client's answer to a challenge: the Authorization header. RFC 7616 §3.4.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) user: String,
    pub(super) nonce: String,
    uri: String,
    response: String,
    algorithm: Option<String>,
    /// `qop`, `nc` and `cnonce`: all, or none as in RFC 2069.
    qop: Option<String>,
    count: String,
    client_nonce: String,
    realm: String,
}

impl Answer {
    /// `None` if it is not Digest, or a part is missing.
    pub(super) fn parse(header: &str) -> Option<Answer> {
        let (scheme, rest) = header.trim_start().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut answer = Answer::default();
        for (name, value) in Parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "username" => answer.user = value,
                "realm" => answer.realm = value,
                "nonce" => answer.nonce = value,
                "uri" => answer.uri = value,
                "response" => answer.response = value,
                "algorithm" => answer.algorithm = Some(value),
                "qop" => answer.qop = Some(value),
                "nc" => answer.count = value,
                "cnonce" => answer.client_nonce = value,
                _ => {}
            }
        }
        let needed = [&answer.user, &answer.nonce, &answer.uri, &answer.response];
        needed.iter().all(|part| !part.is_empty()).then_some(answer)
    }

    /// Whether it proves that the client knows `password`, for this request.
    pub(super) fn is_right(&self, password: &str, asked: Asked<'_>) -> bool {
        self.is_right_in(REALM, password, asked)
    }

    pub(super) fn is_right_in(&self, realm: &str, password: &str, asked: Asked<'_>) -> bool {
        let Some(algorithm) = Algorithm::of(self.algorithm.as_deref()) else {
            return false;
        };
        // RFC 7616 §3.4.2 and §3.4.3: A1, A2.
        let secret = algorithm.of_parts(&[&self.user, realm, password]);
        let request = algorithm.of_parts(&[asked.method, &self.uri]);
        let expected = match self.qop.as_deref() {
            Some("auth") => algorithm.of_parts(&[
                &secret,
                &self.nonce,
                &self.count,
                &self.client_nonce,
                "auth",
                &request,
            ]),
            Some(_) => return false,
            None => algorithm.of_parts(&[&secret, &self.nonce, &request]),
        };
        let given = self.response.to_ascii_lowercase();
        let is_right = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        // A proxy may serve the page under a longer path.
        is_right && self.realm == realm && path(&self.uri).ends_with(path(asked.uri))
    }
}

/// The part of a URI that identifies the resource. RTSP clients may write the host in the request
/// line and not in the header, or the reverse, and differ about a trailing slash.
fn path(uri: &str) -> &str {
    let behind_scheme = uri.split_once("://").map(|(_, rest)| rest);
    let path = match behind_scheme {
        Some(rest) => rest.find('/').map_or("", |at| &rest[at..]),
        None => uri,
    };
    path.trim_end_matches('/')
}

/// The `name=value` pairs of a header, quoted or not. RFC 9110 §11.2.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<(&'a str, String)> {
        let text = self.0.trim_start_matches([' ', '\t', ',']);
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        self.0 = rest;
        Some((name.trim(), value))
    }
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A client's answer to `challenge`, with the parts that it asks for.
    pub(crate) fn answer(challenge: &str, user: &str, password: &str, asked: Asked<'_>) -> String {
        let (_, parts) = challenge.split_once(' ').unwrap();
        let of = |wanted: &str| {
            Parameters(parts)
                .find(|(name, _)| *name == wanted)
                .map(|p| p.1)
        };
        let (realm, nonce) = (of("realm").unwrap(), of("nonce").unwrap());
        let name = of("algorithm").unwrap();
        let algorithm = Algorithm::of(Some(&name)).unwrap();
        let secret = algorithm.of_parts(&[user, &realm, password]);
        let request = algorithm.of_parts(&[asked.method, asked.uri]);
        let (extra, response) = match of("qop") {
            Some(_) => (
                ", qop=auth, nc=00000001, cnonce=\"c\"",
                algorithm.of_parts(&[&secret, &nonce, "00000001", "c", "auth", &request]),
            ),
            None => ("", algorithm.of_parts(&[&secret, &nonce, &request])),
        };
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{}\", \
             algorithm={name}, response=\"{response}\"{extra}",
            asked.uri
        )
    }

    #[test]
    fn parameters_are_read_as_the_rfc_writes_them() {
        let text = r#"a="x, \"y\"" , b=c,,d = "", e="\\""#;
        let all: Vec<_> = Parameters(text).collect();
        let expected = [("a", "x, \"y\""), ("b", "c"), ("d", ""), ("e", "\\")];
        assert_eq!(all, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn the_same_resource_is_written_in_several_ways() {
        for same in [
            "rtsp://10.0.0.7:8554/porch",
            "rtsp://porch.local/porch/",
            "/porch",
        ] {
            assert_eq!(path(same), "/porch", "{same}");
        }
        assert_eq!(path("rtsp://10.0.0.7"), "");
        assert_eq!(path("/"), "");
        assert_ne!(path("/porch/multicast"), path("/porch"));
    }
}
