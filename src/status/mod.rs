//! The status page: a stream's state, figures and pictures, by HTTP/1.1 (RFC 9112) for browsers,
//! phones and Prometheus.
//!
//! Not a web server: a handful of exact paths, GET and HEAD (POST for the ONVIF services alone), no
//! files, and nothing that changes anything.

mod body;
mod guard;
mod metrics;
mod respond;
mod server;
mod soap;

pub(crate) use server::Page;
