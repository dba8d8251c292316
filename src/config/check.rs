//! The limits of single values, shared by the file and the command line. Each check returns the
//! value, or says what is wrong and what to write instead.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::net::interface;
use crate::text::is_invisible;

/// Longest name of a stream, in characters.
const NAME_MAX: usize = 64;
/// Longest interface name in bytes (IFNAMSIZ less its terminator, linux/if.h).
const INTERFACE_MAX: usize = 15;
/// Repair packets go to the fourth port above the stream's own, so that port must exist.
pub(crate) const REPAIR_PORT_OFFSET: u16 = 4;
/// A number without a fraction, in words.
pub(crate) const WHOLE: &str = "a whole number";
/// A number that may have a fraction.
pub(crate) const NUMBER: &str = "a number";

/// A range in words.
pub(crate) fn limits<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// A number from the command line; `what` calls it [`WHOLE`] or [`NUMBER`].
pub(crate) fn number<T: FromStr + PartialOrd + Display>(
    what: &'static str,
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone
where
    RangeInclusive<T>: Clone,
{
    move |word| {
        let value = word.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| format!("expected {what} from {}", limits(&range)))
    }
}

/// A stream's name.
pub(crate) fn name(name: &str) -> Result<String, String> {
    if let Some(c) = name.chars().find(|&c| is_invisible(c)) {
        let code = u32::from(c);
        return Err(format!("it contains the invisible character U+{code:04X}"));
    }
    if name.trim().is_empty() || name.chars().count() > NAME_MAX {
        return Err(format!("expected 1 to {NAME_MAX} characters"));
    }
    Ok(name.to_owned())
}

/// A group (or one machine's address) and port.
pub(crate) fn group(text: &str) -> Result<SocketAddr, String> {
    let group = match interface::parse_addr(text) {
        Some(Ok(group)) => group,
        Some(Err(unknown)) => return Err(unknown.to_string()),
        None => socket_address(text, "224.3.29.71:10000")?,
    };
    if group.ip().is_unspecified() {
        return Err("nothing can be sent there; give a group or one machine's address".to_owned());
    }
    if group.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("this is the broadcast address; give a multicast group".to_owned());
    }
    let last = u16::MAX - REPAIR_PORT_OFFSET;
    if !(1..=last).contains(&group.port()) {
        return Err(format!(
            "the port must be from 1 to {last}: RTCP uses the next one, repair the fourth after it"
        ));
    }
    Ok(group)
}

/// The address and port of a status page.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    socket_address(text, "127.0.0.1:8080")
}

/// The address and port of RTSP.
pub(crate) fn listen_rtsp(text: &str) -> Result<SocketAddr, String> {
    socket_address(text, "[::]:8554")
}

fn socket_address(text: &str, example: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let port = example.rsplit(':').next().unwrap_or_default();
    let is_address = |part: &str| format!("{part}:1").parse::<SocketAddr>().is_ok();
    text.parse().map_err(|_| match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("the port is missing; write {ip}:{port}"),
        Ok(IpAddr::V6(ip)) => format!("the port is missing; write [{ip}]:{port}"),
        Err(_) => match text.rsplit_once(':') {
            Some((address, wrong)) if is_address(address) => {
                format!("{wrong:?} is not a port; write {address}:{port}")
            }
            _ => format!("expected ADDRESS:PORT, such as {example}"),
        },
    })
}

/// An interface, by name or by its address.
pub(crate) fn interface(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if text.len() > INTERFACE_MAX {
        return Err(format!(
            "an interface's name has at most {INTERFACE_MAX} bytes"
        ));
    }
    // dev_valid_name() in the kernel's net/core/dev.c.
    let is_bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || is_invisible(c);
    if ["", ".", ".."].contains(&text) || text.chars().any(is_bad) {
        return Err("expected an interface's name or address, such as eth0".to_owned());
    }
    Ok(text.to_owned())
}

/// A token for the status page.
pub(crate) fn token(text: &str) -> Result<String, String> {
    if text.len() < 8 || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("expected 8 to 256 printable ASCII characters without spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// The origin of another web page, RFC 6454 §6.2: a scheme and a host, perhaps with a port.
#[cfg(feature = "send")]
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let expected =
        || "expected the beginning of a page's address, such as https://ha.local".to_owned();
    let text = text.to_ascii_lowercase();
    let rest = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    match rest.is_some_and(|host| !host.is_empty() && host.chars().all(is_host)) {
        true => Ok(text),
        false => Err(expected()),
    }
}

/// A path.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("a path cannot contain a zero byte".to_owned());
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        assert!(group("224.3.29.71:10000").is_ok());
        assert!(group("[ff15::1d47]:10000").is_ok());
        assert!(group("10.0.0.7:10000").is_ok());
        assert_eq!(
            group("224.3.29.71").unwrap_err(),
            "the port is missing; write 224.3.29.71:10000"
        );
        assert_eq!(
            group("[ff02::1]").unwrap_err(),
            "the port is missing; write [ff02::1]:10000"
        );
        assert_eq!(
            group("224.3.29.71:99999").unwrap_err(),
            "\"99999\" is not a port; write 224.3.29.71:10000"
        );
        assert!(group("[ff02::1%lo]:10000").is_ok());
        let unknown = group("[ff02::1%none0]:10000").unwrap_err();
        assert!(unknown.starts_with("no interface \"none0\"; this machine has"));
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
}
