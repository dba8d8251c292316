//! The status page: a stream's state, figures and pictures over HTTP/1.1 (RFC 9112), for browsers,
//! phones and Prometheus.
//!
//! Not a web server: a handful of exact paths, GET and HEAD only (POST for the ONVIF services), no
//! files, and nothing that changes state.

mod body;
mod guard;
mod metrics;
mod respond;
mod server;
mod soap;

pub(crate) use server::Page;
