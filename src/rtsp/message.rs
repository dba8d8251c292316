//! What a client sends over its connection: requests (RFC 2326 §6) and interleaved frames (§10.12).
//! The `rtsp-types` crate parses requests; this module limits their length and finds their end.

use memchr::memmem;
use rtsp_types::headers::{CSEQ, HeaderName};
use rtsp_types::{Message, Method, ParseError, Url, Version};

use super::response::{Response, Status};

/// Most bytes in a request's first line and headers, including the empty line.
pub const MOST_HEAD: usize = 8 << 10;
/// Most lines in them.
const MOST_LINES: usize = 64;
/// Most bytes in a request's body.
pub const MOST_BODY: usize = 4 << 10;
/// Bytes before the data of an interleaved frame: `$`, channel, length. RFC 2326 §10.12.
pub const FRAME_HEAD: usize = 4;

/// One item that a client sent.
#[derive(Debug)]
pub enum Incoming {
    /// A request.
    Request(Request),
    /// The start of an interleaved frame on this channel. Its data are skipped: a client's reports
    /// only show that it is alive.
    Interleaved {
        /// The channel.
        channel: u8,
    },
}

/// Bytes that are not RTSP, or exceed the limits. Since nobody can tell where the next request
/// begins, the connection is closed after the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    status: Status,
    cseq: Option<u32>,
}

impl Bad {
    /// The answer.
    pub fn response(&self) -> Response {
        Response::new(self.status, self.cseq).with("Connection", "close")
    }
}

/// Splits a connection's bytes into items. It keeps what is still incomplete: at most a head, a
/// body and the rest of one read.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// How many bytes of the current interleaved frame are still to come.
    skip: usize,
}

impl Reader {
    /// Adds received bytes. Before more are added, all complete items must be taken with
    /// [`Reader::take`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether an item is incomplete.
    pub fn is_within(&self) -> bool {
        self.skip > 0 || !self.bytes.is_empty()
    }

    /// The next complete item; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not RTSP, or too many. Nothing more can be read from the connection.
    pub fn take(&mut self) -> Result<Option<Incoming>, Bad> {
        let skipped = self.skip.min(self.bytes.len());
        self.skip -= skipped;
        // RFC 2068 §4.1, which RFC 2326 builds upon: "servers SHOULD ignore any empty line(s)
        // received where a Request-Line is expected".
        let rest = self.bytes[skipped..].iter();
        let blank = rest.take_while(|&&b| matches!(b, b'\r' | b'\n')).count();
        self.bytes
            .drain(..skipped + if self.skip == 0 { blank } else { 0 });
        match self.bytes[..] {
            [] => Ok(None),
            [b'$', channel, high, low, ..] => {
                self.skip = usize::from(u16::from_be_bytes([high, low]));
                self.bytes.drain(..FRAME_HEAD);
                Ok(Some(Incoming::Interleaved { channel }))
            }
            [b'$', ..] => Ok(None),
            _ => self.request(),
        }
    }

    fn request(&mut self) -> Result<Option<Incoming>, Bad> {
        let near = &self.bytes[..self.bytes.len().min(MOST_HEAD)];
        let Some(end) = memmem::find(near, b"\r\n\r\n") else {
            return match self.bytes.len() < MOST_HEAD {
                true => Ok(None),
                false => Err(bad(Status::BadRequest, near)),
            };
        };
        let head = &self.bytes[..end + 2];
        if memmem::find_iter(head, b"\r\n").count() > MOST_LINES {
            return Err(bad(Status::BadRequest, head));
        }
        let body = body_len(head).ok_or_else(|| bad(Status::BadRequest, head))?;
        if body > MOST_BODY {
            return Err(bad(Status::TooLarge, head));
        }
        let whole = end + 4 + body;
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let request = Request::parse(&self.bytes[..whole]).ok_or_else(|| match version(head) {
            Some(b"RTSP/1.0") | None => bad(Status::BadRequest, head),
            Some(_) => bad(Status::VersionNotSupported, head),
        })?;
        self.bytes.drain(..whole);
        Ok(Some(Incoming::Request(request)))
    }
}

fn bad(status: Status, head: &[u8]) -> Bad {
    let cseq = header(head, CSEQ.as_str()).and_then(number);
    Bad { status, cseq }
}

/// The version at the end of the first line, if it is an RTSP version.
fn version(head: &[u8]) -> Option<&[u8]> {
    let line = head.split(|&b| b == b'\r').next()?;
    let last = line.rsplit(|&b| b == b' ').next()?;
    last.starts_with(b"RTSP/").then_some(last)
}

/// The length of the body; `None` if it is not a number.
fn body_len(head: &[u8]) -> Option<usize> {
    let stated = header(head, "Content-Length");
    stated.map_or(Some(0), |text| number(text).map(|n| n as usize))
}

/// The value of the first header of this name.
fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let lines = head.split(|&b| b == b'\n').skip(1);
    let mut pairs = lines.filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], &line[colon + 1..]))
    });
    let (_, value) = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(value)
}

/// RFC 2326 §12.14, §12.17: `1*DIGIT`.
fn number(text: &[u8]) -> Option<u32> {
    let text = text.trim_ascii();
    let is_number = text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// A well-formed request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request(rtsp_types::Request<Vec<u8>>);

impl Request {
    /// Reads a request which is all of `bytes`.
    fn parse(bytes: &[u8]) -> Option<Request> {
        let parsed: Result<(Message<Vec<u8>>, usize), ParseError> = Message::parse(bytes);
        match parsed {
            Ok((Message::Request(request), len)) if len == bytes.len() => {
                (request.version() == Version::V1_0).then_some(Request(request))
            }
            _ => None,
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.0.method()
    }

    /// The method's name.
    pub fn method_name(&self) -> &str {
        self.method().into()
    }

    /// The address; `None` for `*`, the server itself.
    pub fn url(&self) -> Option<&Url> {
        self.0.request_uri()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    /// The value of a header; several with the same name are joined by commas.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.0.header(name).map(|value| value.as_str())
    }

    /// The request's number, if it has one, which the answer repeats. RFC 2326 §12.17.
    pub fn cseq(&self) -> Option<u32> {
        self.header(&CSEQ).and_then(|text| number(text.as_bytes()))
    }

    /// Whether the client wants the connection closed after the answer. RFC 2326 §12.10.
    pub fn is_last(&self) -> bool {
        let connection = self.header(&rtsp_types::headers::CONNECTION);
        connection.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
