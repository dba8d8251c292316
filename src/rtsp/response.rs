//! Answers to requests. RFC 2326 §7.

use std::fmt::Write as _;

/// How a request ends. RFC 2326 §7.1.1, §11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Not understood.
    BadRequest,
    /// The client must log in.
    Unauthorized,
    /// There is no such stream.
    NotFound,
    /// The method is known, but not allowed here.
    MethodNotAllowed,
    /// The client accepts no form of description that this server has.
    NotAcceptable,
    /// The body is too long.
    TooLarge,
    /// §11.3.1: the server does not have this parameter.
    ParameterNotUnderstood,
    /// §11.3.4: no such session, or it is over.
    SessionNotFound,
    /// §11.3.5: not in this state.
    NotValidInThisState,
    /// §11.3.9: another stream in the same session.
    AggregateNotAllowed,
    /// §11.3.11: none of the requested transports is available.
    UnsupportedTransport,
    /// The method is unknown.
    NotImplemented,
    /// There is no room at present.
    Unavailable,
    /// Not RTSP 1.0.
    VersionNotSupported,
    /// §11.3.14: the request requires a feature that the server does not have.
    OptionNotSupported,
}

impl Status {
    /// Its number.
    pub fn code(self) -> u16 {
        self.words().0
    }

    fn words(self) -> (u16, &'static str) {
        match self {
            Status::Ok => (200, "OK"),
            Status::BadRequest => (400, "Bad Request"),
            Status::Unauthorized => (401, "Unauthorized"),
            Status::NotFound => (404, "Not Found"),
            Status::MethodNotAllowed => (405, "Method Not Allowed"),
            Status::NotAcceptable => (406, "Not Acceptable"),
            Status::TooLarge => (413, "Request Entity Too Large"),
            Status::ParameterNotUnderstood => (451, "Parameter Not Understood"),
            Status::SessionNotFound => (454, "Session Not Found"),
            Status::NotValidInThisState => (455, "Method Not Valid in This State"),
            Status::AggregateNotAllowed => (459, "Aggregate Operation Not Allowed"),
            Status::UnsupportedTransport => (461, "Unsupported Transport"),
            Status::NotImplemented => (501, "Not Implemented"),
            Status::Unavailable => (503, "Service Unavailable"),
            Status::VersionNotSupported => (505, "RTSP Version Not Supported"),
            Status::OptionNotSupported => (551, "Option Not Supported"),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: Status,
    head: String,
    body: String,
}

impl Response {
    /// An answer to the request with this number.
    pub fn new(status: Status, cseq: Option<u32>) -> Response {
        let (code, phrase) = status.words();
        let response = Response {
            status,
            head: format!("RTSP/1.0 {code} {phrase}\r\n"),
            body: String::new(),
        };
        let response = match cseq {
            Some(cseq) => response.with("CSeq", cseq),
            None => response,
        };
        response.with("Server", concat!("lancam/", env!("CARGO_PKG_VERSION")))
    }

    /// Adds a header. `value` must be one line.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Response {
        // Writing to a String cannot fail.
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    /// Adds a body. RFC 2326 §12.14: it must come with Content-Length.
    #[must_use]
    pub fn with_body(self, kind: &str, body: String) -> Response {
        let response = self.with("Content-Type", kind);
        let response = response.with("Content-Length", body.len());
        Response { body, ..response }
    }

    /// How the request ended.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.head, "\r\n", &self.body].concat().into_bytes()
    }
}
