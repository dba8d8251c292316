//! The server's side of RTSP 1.0 (RFC 2326), by which players, recorders and other servers request
//! a stream. Bytes, requests and the time go in; answers, and what to deliver to whom, come out. No
//! sockets, clocks, threads or passwords: a request is authorised before it gets here.
//!
//! | module | what it is |
//! |---|---|
//! | [`message`] | requests and interleaved frames from a connection's bytes, within limits |
//! | [`response`] | answers |
//! | [`path`] | which stream an address means |
//! | [`transport`] | the `Transport` header: what a client wants, and what it gets |
//! | [`server`] | sessions: from requests to answers and deliveries |
//! | [`flow`] | what a unicast client is sent: RTP and RTCP packets |
//!
//! Not RTSP 2.0, RTSP over HTTP, RECORD or REDIRECT.

pub mod flow;
pub mod message;
pub mod path;
pub mod response;
pub mod server;
#[cfg(test)]
mod tests;
pub mod transport;

pub use flow::Flow;
pub use message::{Incoming, Reader, Request};
pub use response::Response;
pub use server::{Server, Stream};
