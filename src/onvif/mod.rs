//! A read-only ONVIF device of Profile S: the device and media services by SOAP, and WS-Discovery,
//! by which such devices are found. Sans-IO: bytes, facts and the time in, bytes out. `status` and
//! `serve` have the sockets and HTTP, and decide who may ask.
//!
//! Not supported, and answered with a fault: events, PTZ, imaging, audio and all changes.
//! docs/ONVIF.md lists what is answered.

mod device;
pub mod discovery;
mod facts;
mod media;
mod soap;
#[cfg(test)]
mod tests;
mod username;
mod uuid;
mod xml;

pub use facts::{Device, Interface, Network, Stream};
pub use soap::{CONTENT_TYPE, Fault, Reply, Request};
pub use username::{Refused, Used, UsernameToken};
pub use uuid::Uuid;
pub use xml::MAX_LEN;

impl Request {
    /// Whether everybody is answered this.
    pub fn is_open(&self) -> bool {
        let name = &self.operation.name;
        name.namespace == xml::DEVICE && device::is_open(&name.local)
    }

    /// The answer, or the fault that says why there is none. The services are told apart by the
    /// operation's namespace, whichever path it comes by.
    pub fn answer(&self, device: &Device) -> Reply {
        let name = &self.operation.name;
        let answer = match name.namespace {
            xml::DEVICE => device::answer(self, device),
            xml::MEDIA => media::answer(self, device),
            _ => Err(Fault::no_such_action(&name.local)),
        };
        answer.into()
    }
}
