//! From the file as written to checked settings, and what streams may not share.

use std::io::{self, Read};
use std::path::Path;

use ron::value::RawValue;

use super::check;
use super::error::{ConfigError, Flag, Mistakes};
use super::forms::{CAMERA_KEYS, rtsp, status, users};
use super::kind::switch;
use super::raw::{self, Fields};
use super::stream::{SETTINGS, Stream};
use super::values::{Services, Status};
use crate::files;
use crate::source::SourceSpec;

/// More streams than this are a mistake.
const STREAMS_MAX: usize = 64;
/// The smallest MTU of IPv6. RFC 8200 §5.
const MTU_MIN_V6: u16 = 1280;

/// Larger files are not configs.
const FILE_MAX: u64 = 1 << 20;

/// What `lancam send` does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The streams, at least one; names and groups differ.
    pub streams: Vec<Stream>,
    /// What is served to visitors of all of them.
    pub services: Services,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            streams: vec![Stream::default()],
            services: Services::default(),
        }
    }
}

/// Reads and checks the config in the file at `path`; `flags` replace keys of its only stream.
///
/// # Errors
/// [`ConfigError`]. Its text is for the user: one line for each mistake.
pub fn load(path: &Path, flags: &[Flag]) -> Result<Config, ConfigError> {
    let mut bytes = Vec::new();
    files::open_regular(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|cause: io::Error| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))?;
    parse(&path.display().to_string(), &text, flags)
}

/// Checks the config in `text`, with `flags` as in [`load`]. Mistakes name `file` as its place.
///
/// # Errors
/// [`ConfigError::Mistakes`].
pub fn parse(file: &str, text: &str, flags: &[Flag]) -> Result<Config, ConfigError> {
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        mistakes: Mistakes::new(file, text, flags),
        flags,
    };
    let config = reader.config(text);
    reader.mistakes.into_result(config)
}

struct Reader<'a> {
    mistakes: Mistakes<'a>,
    flags: &'a [Flag],
}

/// A stream with its keys, which show where mistakes between streams are.
struct Placed<'a> {
    stream: Stream,
    text: &'a str,
    fields: Fields<'a>,
}

impl<'a> Placed<'a> {
    /// The text of the key's value; if not given, the stream's.
    fn place(&self, key: &str) -> &'a str {
        self.fields.get(key).unwrap_or(self.text)
    }
}

impl<'a> Reader<'a> {
    fn config(&mut self, text: &'a str) -> Config {
        let mut fields: Fields<'a> = match raw::read(text) {
            Ok(fields) => fields,
            Err(error) => {
                self.mistakes.ron(&error);
                return Config::default();
            }
        };
        let streams = match fields.ask("streams") {
            Some(list) => self.streams(list),
            None => vec![self.stream("()")],
        };
        let services = self.services(&mut fields);
        let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        let elsewhere = (&keys[..], "a stream: streams: [(KEY: ...)]");
        self.mistakes.finish("the config", &fields, Some(elsewhere));
        Config {
            streams: streams.into_iter().map(|placed| placed.stream).collect(),
            services,
        }
    }

    fn services(&mut self, fields: &mut Fields<'a>) -> Services {
        let usual = Services::default();
        let m = &mut self.mistakes;
        let services = Services {
            status: m.take(fields, "status", &status()).unwrap_or(usual.status),
            rtsp: m.take(fields, "rtsp", &rtsp()).flatten(),
            users: m.take(fields, "users", &users()).unwrap_or(usual.users),
            onvif: m.take(fields, "onvif", &switch()).unwrap_or(usual.onvif),
            dns_sd: m.take(fields, "dns_sd", &switch()).unwrap_or(usual.dns_sd),
        };
        if let (true, Status::Off, Some(onvif)) =
            (services.onvif, &services.status, fields.get("onvif"))
        {
            let why = "ONVIF is answered by the status page's server; set \"status\" too";
            m.value("onvif", onvif, why);
        }
        services
    }

    fn streams(&mut self, text: &'a str) -> Vec<Placed<'a>> {
        let why = match raw::read::<Vec<&RawValue>>(text) {
            Err(_) => "expected a list of streams, such as [(name: \"porch\")]".to_owned(),
            Ok(list) if list.is_empty() => "without a stream there is nothing to send".to_owned(),
            Ok(list) if list.len() > STREAMS_MAX => {
                format!("at most {STREAMS_MAX} streams are allowed")
            }
            Ok(list) => return self.each_stream(text, &list),
        };
        self.mistakes.value("streams", text, &why);
        Vec::new()
    }

    fn each_stream(&mut self, text: &'a str, list: &[&'a RawValue]) -> Vec<Placed<'a>> {
        let several = list.len() > 1;
        if let Some(flag) = self.flags.first().filter(|_| several) {
            let sentence = format!(
                "{flag} is for a single stream, but this file has {}; set \"{}\" in the file",
                list.len(),
                flag.key
            );
            self.mistakes.at(text, &sentence);
        }
        let mut streams: Vec<Placed<'a>> = Vec::new();
        for raw in list {
            let mistakes = self.mistakes.count();
            let next = self.stream(raw.get_ron());
            // A wrong value has become its default, whose clashes mean nothing.
            if self.mistakes.count() == mistakes {
                streams.iter().for_each(|one| self.clash(one, &next));
                streams.push(next);
            }
        }
        streams
    }

    fn stream(&mut self, text: &'a str) -> Placed<'a> {
        let mut fields: Fields<'a> = raw::read(text).unwrap_or_else(|_| {
            let why = "expected a stream, such as (name: \"porch\")";
            self.mistakes.value("streams", text, why);
            Fields::default()
        });
        if !self.flags.is_empty() {
            // What the flags replace must be correct too.
            Stream::read(&mut fields, &mut self.mistakes);
            for flag in self.flags {
                fields.put(flag.key, &flag.ron);
            }
        }
        let stream = Stream::read(&mut fields, &mut self.mistakes);
        let elsewhere = (CAMERA_KEYS, "the camera: source: Camera(KEY: ...)");
        self.mistakes.finish("a stream", &fields, Some(elsewhere));
        let mut placed = Placed {
            stream,
            text,
            fields,
        };
        self.fits(&mut placed);
        placed
    }

    /// What settings of one stream may not be combined.
    fn fits(&mut self, placed: &mut Placed<'a>) {
        let (fps, mtu) = (placed.place("fps"), placed.place("mtu"));
        let only_while_watched = placed.place("only_while_watched");
        let stream = &mut placed.stream;
        let is_own_rate_kept = fold_into_camera(stream);
        // A flag overrides the rate in Camera(...).
        if !is_own_rate_kept && self.mistakes.flag(fps).is_none() {
            let why = "the camera has another fps; keep one of them";
            self.mistakes.value("fps", fps, why);
        }
        if stream.group.is_ipv6() && stream.mtu.is_some_and(|mtu| mtu < MTU_MIN_V6) {
            let why = format!("the group is IPv6, which needs {MTU_MIN_V6} or more");
            self.mistakes.value("mtu", mtu, &why);
        }
        if stream.only_while_watched && stream.source == SourceSpec::Stdin {
            let why = "standard input cannot be closed and opened again; use Exec";
            self.mistakes
                .value("only_while_watched", only_while_watched, why);
        }
    }

    /// What two streams may not share.
    fn clash(&mut self, a: &Placed<'a>, b: &Placed<'a>) {
        let (one, other) = (&a.stream, &b.stream);
        let both = format!("streams \"{}\" and \"{}\"", one.name, other.name);
        let mut at = |key: &str, sentence: String| self.mistakes.at(b.place(key), &sentence);
        if one.name == other.name {
            let name = &other.name;
            at(
                "name",
                format!("two streams are called \"{name}\"; give each its own \"name\""),
            );
        }
        if one.group == other.group {
            let group = other.group;
            at(
                "group",
                format!("{both} send to the same group, {group}; give each its own \"group\""),
            );
        } else if let Some(port) = shared_port(one, other) {
            let ip = other.group.ip();
            at(
                "group",
                format!(
                    "{both} both need port {port} of {ip}, as RTCP uses the port after a stream's own and repair the fourth after it; \
                 choose ports 10 apart"
                ),
            );
        }
        if same_device(&one.source, &other.source) {
            let source = &other.source;
            at(
                "source",
                format!("{both} have the same source, {source}, which can be read only once"),
            );
        }
        if one.sdp.is_some() && one.sdp == other.sdp {
            at(
                "sdp",
                format!("{both} write the same SDP file; give each its own \"sdp\""),
            );
        }
    }
}

/// Passes the stream's quality and frame rate to its camera. `false`: the camera has another rate.
fn fold_into_camera(stream: &mut Stream) -> bool {
    let SourceSpec::Camera(camera) = &mut stream.source else {
        return true;
    };
    camera.quality = stream.quality;
    let Some(fps) = stream.fps else {
        return true;
    };
    camera.fps.replace(fps).is_none_or(|own| own == fps)
}

/// Whether both are one source that can be read only once.
fn same_device(a: &SourceSpec, b: &SourceSpec) -> bool {
    match (a, b) {
        (SourceSpec::Stdin, SourceSpec::Stdin) => true,
        (SourceSpec::Camera(a), SourceSpec::Camera(b)) => a.device == b.device,
        _ => false,
    }
}

/// A port of the same address that both streams use.
fn shared_port(a: &Stream, b: &Stream) -> Option<u16> {
    if a.group.ip() != b.group.ip() {
        return None;
    }
    let theirs = ports(b);
    ports(a).into_iter().find(|port| theirs.contains(port))
}

/// The ports that a stream sends to: RTP, RTCP (RFC 3550 §11), repair.
fn ports(stream: &Stream) -> [u16; 3] {
    let port = stream.group.port();
    [port, port + 1, port + check::REPAIR_PORT_OFFSET]
}
