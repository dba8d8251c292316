//! The facts about this machine and its streams that the services report; the caller gathers them.

use std::net::{IpAddr, SocketAddr};

use super::uuid::Uuid;
use crate::text::percent_encoded;

/// This machine, as seen by one client.
pub struct Device<'a> {
    /// Its permanent, unique id.
    pub id: Uuid,
    /// The machine's name.
    pub host: &'a str,
    /// The host in the client's URI: a name or an address, IPv6 in brackets.
    pub address: &'a str,
    /// The port of the services and of the page's pictures.
    pub page_port: u16,
    /// The RTSP server's port, if there is one.
    pub rtsp_port: Option<u16>,
    /// Whether clients must log in.
    pub has_users: bool,
    /// Whether something keeps the clock right (NTP).
    pub is_clock_synchronised: bool,
    /// Seconds since 1970.
    pub now: i64,
    /// Lists its network interfaces, which takes many system calls.
    pub interfaces: &'a dyn Fn() -> Vec<Interface>,
    /// The streams that have sent a picture.
    pub streams: &'a [Stream],
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its hardware address.
    pub hardware: [u8; 6],
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<Network>,
}

/// An address of this machine, with its network's prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// The prefix length.
    pub prefix: u8,
}

impl Network {
    /// Those of an interface, whose addresses and prefixes are in the same order.
    pub fn all(addresses: &[IpAddr], prefixes: &[u8]) -> impl Iterator<Item = Network> {
        let networks = addresses.iter().zip(prefixes);
        networks.map(|(&address, &prefix)| Network { address, prefix })
    }

    /// Whether `other` is in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let (own, other, width) = match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let others = width - u32::from(self.prefix).min(width);
        (own ^ other).checked_shr(others).unwrap_or(0) == 0
    }
}

/// A stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Its name, which is also the token of everything that belongs to it.
    pub name: String,
    /// Width and height of its pictures.
    pub size: (u16, u16),
    /// Frames a second.
    pub fps: f64,
    /// Its rate in kbit/s.
    pub kbit_per_s: u32,
    /// Its destination: a group or a single machine.
    pub group: SocketAddr,
    /// Its packets' time to live.
    pub ttl: u8,
}

impl Device<'_> {
    /// The address of a service.
    pub(super) fn service(&self, name: &str) -> String {
        format!("http://{}:{}/onvif/{name}", self.address, self.page_port)
    }

    /// The address of a stream's newest picture.
    pub(super) fn snapshot(&self, stream: &Stream) -> String {
        let name = percent_encoded(&stream.name);
        format!(
            "http://{}:{}/snapshot.jpg?stream={name}",
            self.address, self.page_port
        )
    }

    /// The address of a stream by RTSP, if there is a server.
    pub(super) fn rtsp(&self, stream: &Stream, more: &str) -> Option<String> {
        let name = percent_encoded(&stream.name);
        let port = self.rtsp_port?;
        Some(format!("rtsp://{}:{port}/{name}{more}", self.address))
    }
}

impl Stream {
    /// Frames a second as a whole number, at least one.
    pub(super) fn whole_fps(&self) -> u32 {
        (self.fps.round() as u32).max(1)
    }
}

/// The scopes by which everybody can see what the device is. ONVIF Core Specification §7.3.3.3.
pub(super) fn scopes(host: &str) -> Vec<String> {
    let name = if host.is_empty() { "lancam" } else { host };
    let name = percent_encoded(name);
    let scopes = [
        "Profile/Streaming",
        "type/video_encoder",
        "type/Network_Video_Transmitter",
        "hardware/lancam",
        &format!("name/{name}"),
    ];
    let scopes = scopes.iter();
    scopes
        .map(|scope| format!("onvif://www.onvif.org/{scope}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> Network {
        let address = address.parse().unwrap();
        Network { address, prefix }
    }

    #[test]
    fn a_network_holds_its_own_hosts_only() {
        let inside = [
            ("10.77.0.1", 24, "10.77.0.254"),
            ("10.77.0.1", 24, "::ffff:10.77.0.2"),
            ("10.77.0.1", 32, "10.77.0.1"),
            ("10.77.0.1", 0, "1.2.3.4"),
            ("fe80::1", 64, "fe80::2:3"),
            ("::1", 128, "::1"),
            ("::1", 0, "fd00::1"),
        ];
        for (own, prefix, other) in inside {
            assert!(
                network(own, prefix).contains(other.parse().unwrap()),
                "{own} {other}"
            );
        }
        let outside = [
            ("10.77.0.1", 24, "10.77.1.1"),
            ("10.77.0.1", 32, "10.77.0.2"),
            ("10.77.0.1", 0, "fe80::1"),
            ("fe80::1", 64, "fe80:0:0:1::1"),
            ("fe80::1", 128, "fe80::2"),
            ("fe80::1", 64, "10.77.0.1"),
        ];
        for (own, prefix, other) in outside {
            assert!(
                !network(own, prefix).contains(other.parse().unwrap()),
                "{own} {other}"
            );
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(percent_encoded("front door/7"), "front%20door%2F7");
        assert_eq!(percent_encoded("Straße~1"), "Stra%C3%9Fe~1");
        assert!(scopes("").contains(&"onvif://www.onvif.org/name/lancam".to_owned()));
    }
}
