//! The limits of single values, shared by the file and the command line. Each check gives the
//! value back, or says what is allowed.

use std::net::{IpAddr, SocketAddr};

use crate::text::is_invisible;

/// Longest name of a stream, in characters.
const NAME_MAX: usize = 64;
/// Longest interface name in bytes (IFNAMSIZ less its terminator, linux/if.h).
const INTERFACE_MAX: usize = 15;
/// Repair packets go to the fourth port above the stream's own, so that must exist.
pub(crate) const REPAIR_PORT_OFFSET: u16 = 4;

/// A stream's name.
pub(crate) fn name(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.chars().count() > NAME_MAX {
        return Err(format!("it is longer than {NAME_MAX} characters"));
    }
    if let Some(c) = name.chars().find(|&c| is_invisible(c)) {
        return Err(format!(
            "it holds the invisible character U+{:04X}",
            u32::from(c)
        ));
    }
    Ok(name.to_owned())
}

/// A group (or one host's address) and port.
pub(crate) fn group(text: &str) -> Result<SocketAddr, String> {
    let Ok(group) = text.parse::<SocketAddr>() else {
        return Err(no_socket_address(text));
    };
    if group.ip().is_unspecified() {
        return Err("it is no address that packets can go to: name a group or one host".to_owned());
    }
    if group.ip() == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        return Err(
            "it is the broadcast address, which is not used: take a multicast group".to_owned(),
        );
    }
    if group.port() == 0 || group.port() > u16::MAX - REPAIR_PORT_OFFSET {
        return Err(format!(
            "its port must be 1 to {}: RTCP uses the port above it, repair the fourth above it",
            u16::MAX - REPAIR_PORT_OFFSET
        ));
    }
    Ok(group)
}

/// Where a status page listens.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| no_socket_address(text))
}

/// Why `text` is no `ADDRESS:PORT`.
fn no_socket_address(text: &str) -> String {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("the port is missing: {ip}:10000"),
        Ok(IpAddr::V6(ip)) => format!("the port is missing: [{ip}]:10000"),
        Err(_) => "it is no address and port".to_owned(),
    }
}

/// An interface, by name or by its address.
pub(crate) fn interface(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > INTERFACE_MAX {
        return Err(format!(
            "it is {} bytes long; Linux allows {INTERFACE_MAX}",
            text.len()
        ));
    }
    // dev_valid_name() in the kernel's net/core/dev.c.
    if text == "."
        || text == ".."
        || text
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_whitespace() || is_invisible(c))
    {
        return Err("no interface can be called that".to_owned());
    }
    Ok(text.to_owned())
}

/// A token for the status page.
pub(crate) fn token(text: &str) -> Result<String, String> {
    if text.len() < 8 || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it must be 8 to 256 printable ASCII characters without spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// A share above 0 and up to `max`; the error is empty, as what is allowed says it all.
#[cfg(feature = "send")]
pub(crate) fn share(value: f32, max: f32) -> Result<f32, String> {
    if value > 0.0 && value <= max {
        return Ok(value);
    }
    Err(String::new())
}

#[cfg(all(test, feature = "send"))]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        assert!(group("224.3.29.71:10000").is_ok());
        assert!(group("[ff15::1d47]:10000").is_ok());
        assert!(group("10.0.0.7:10000").is_ok());
        assert_eq!(
            group("224.3.29.71").unwrap_err(),
            "the port is missing: 224.3.29.71:10000"
        );
        assert_eq!(
            group("[ff02::1]").unwrap_err(),
            "the port is missing: [ff02::1]:10000"
        );
        assert!(group("224.3.29.71:0").is_err());
        assert!(group("224.3.29.71:65531").is_ok());
        assert!(group("224.3.29.71:65532").is_err());
        assert!(group("0.0.0.0:10000").is_err());
        assert!(group("255.255.255.255:10000").is_err());
        assert!(group("porch:10000").is_err());
    }

    #[test]
    fn names_cannot_deceive() {
        assert!(name("porch, front").is_ok());
        assert!(name("Straße 7").is_ok());
        for bad in ["", " ", "a\nb", "a\u{1b}[2Jb", "a\u{202e}b", "\u{feff}"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert!(name(&"x".repeat(64)).is_ok());
        assert!(name(&"x".repeat(65)).is_err());
    }

    #[test]
    fn interfaces() {
        for good in [
            "eth0",
            "enp0s31f6",
            "192.168.1.7",
            "fe80::1",
            "abcdefghijklmno",
        ] {
            assert!(interface(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "eth 0", "eth0:1", "..", "abcdefghijklmnop"] {
            assert!(interface(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares() {
        assert!(share(0.8, 0.8).is_ok());
        for bad in [0.0, -0.1, 0.81, f32::NAN, f32::INFINITY] {
            assert!(share(bad, 0.8).is_err(), "{bad}");
        }
    }
}
