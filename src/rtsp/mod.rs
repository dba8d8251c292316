//! RTSP 1.0 (RFC 2326), the server's side: how players, recorders and other servers ask for a stream
//! by one address. In: bytes, requests and a time; out: answers, and what is to be played to whom.
//! No sockets, no clocks, no threads, and no passwords: who may watch is asked before a request
//! comes here.
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
