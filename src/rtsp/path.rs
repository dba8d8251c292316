//! Which stream an address means: `/` is the first stream, `/NAME` the one with this name, and
//! `/NAME/multicast` the same with its group in the description. Each may be followed by
//! `/trackID=0`, its only track.

use percent_encoding::percent_decode_str;
use rtsp_types::Url;

/// The only track's name. RFC 2326 §C.1.1: `a=control`.
pub const TRACK: &str = "trackID=0";
/// The last part of an address that requests the group in the description.
const MULTICAST: &str = "multicast";

/// What an address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stream's name; `None` for the first stream.
    pub name: Option<String>,
    /// Whether its description is to name the group.
    pub is_multicast: bool,
    /// The address without the track, with a slash at the end: the track's is relative to it.
    pub base: String,
}

impl Target {
    /// Parses an address; `None` if no stream can have it.
    pub fn of(url: &Url) -> Option<Target> {
        let mut parts: Vec<&str> = url.path().split('/').filter(|p| !p.is_empty()).collect();
        if parts.last() == Some(&TRACK) {
            parts.pop();
        }
        let base = base(url, &parts);
        let (name, is_multicast) = match parts[..] {
            [] => (None, false),
            [name] => (Some(name), false),
            [name, MULTICAST] => (Some(name), true),
            _ => return None,
        };
        Some(Target {
            name: name.map(decoded),
            is_multicast,
            base,
        })
    }

    /// Whether this stream is meant, given that no earlier one is.
    pub fn means(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|own| own == name)
    }
}

/// The scheme, host and port of `url`, as the client knows this server, with another path; without
/// login and query.
fn base(url: &Url, parts: &[&str]) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path: String = parts.iter().map(|part| format!("{part}/")).collect();
    format!("{}://{host}{port}/{path}", url.scheme())
}

/// RFC 3986 §2.1. The name of a stream is always UTF-8.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Option<(Option<String>, bool, String)> {
        let target = Target::of(&Url::parse(address).unwrap())?;
        Some((target.name, target.is_multicast, target.base))
    }

    #[test]
    fn addresses_mean_streams() {
        let is = |address, name: Option<&str>, is_multicast, base: &str| {
            let expected = (name.map(str::to_owned), is_multicast, base.to_owned());
            assert_eq!(target(address), Some(expected), "{address}");
        };
        for address in [
            "rtsp://h:8554",
            "rtsp://h:8554/",
            "rtsp://u:p@h:8554//trackID=0?x=y",
        ] {
            is(address, None, false, "rtsp://h:8554/");
        }
        for address in [
            "rtsp://[fe80::1]/a%20b",
            "rtsp://[fe80::1]/a%20b/trackID=0/",
        ] {
            is(address, Some("a b"), false, "rtsp://[fe80::1]/a%20b/");
        }
        is(
            "rtsp://h/a/multicast/trackID=0",
            Some("a"),
            true,
            "rtsp://h/a/multicast/",
        );
        is(
            "rtsp://h/multicast",
            Some("multicast"),
            false,
            "rtsp://h/multicast/",
        );
        is("rtsp://h/a%2Fb", Some("a/b"), false, "rtsp://h/a%2Fb/");
        is(
            "rtsp://h/Stra%C3%9Fe",
            Some("Straße"),
            false,
            "rtsp://h/Stra%C3%9Fe/",
        );
        is(
            "rtsp://h/Straße",
            Some("Straße"),
            false,
            "rtsp://h/Stra%C3%9Fe/",
        );
        is("rtsp://h/100%", Some("100%"), false, "rtsp://h/100%/");
        is("rtsp://h/%+1%f", Some("%+1%f"), false, "rtsp://h/%+1%f/");
        assert_eq!(target("rtsp://h/a/b"), None);
        assert_eq!(target("rtsp://h/a/multicast/b"), None);
        assert_eq!(target("rtsp://h/../../etc/passwd"), None);
    }
}
