//! Stream names in URLs, and URLs from strangers.

use std::net::SocketAddr;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use crate::text::{UNRESERVED, percent_encoded};

/// The characters of RFC 3986 §3.3 that are left as they are in a stranger's path: all but those
/// that mean something to a shell within quotes.
const KEPT: AsciiSet = UNRESERVED
    .remove(b'/')
    .remove(b'?')
    .remove(b'=')
    .remove(b'&')
    .remove(b'%')
    .remove(b':')
    .remove(b'@')
    .remove(b'+')
    .remove(b',');

/// The path of the stream called `name`, percent-encoded: RFC 3986 §2.1.
pub fn path_of(name: &str) -> String {
    format!("/{}", percent_encoded(name))
}

/// The URL of what is served at `address` under a path from a stranger, safe for terminals and
/// shells.
pub(super) fn url(address: SocketAddr, path: &str) -> String {
    let path = path.trim_start_matches('/');
    format!("rtsp://{address}/{}", utf8_percent_encode(path, &KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_safe_to_print_and_to_paste() {
        assert_eq!(path_of("porch"), "/porch");
        assert_eq!(path_of("Tür 2/a"), "/T%C3%BCr%202%2Fa");
        let at = "[fd77::1]:8554".parse().unwrap();
        assert_eq!(
            url(at, "/T%C3%BCr?x=1"),
            "rtsp://[fd77::1]:8554/T%C3%BCr?x=1"
        );
        assert_eq!(
            url(at, "a'b\x1b$(c);d"),
            "rtsp://[fd77::1]:8554/a%27b%1B%24%28c%29%3Bd"
        );
    }
}
