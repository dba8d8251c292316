//! From the file as it is written to settings that are checked: defaults, limits of each value, and
//! what streams may not share.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::check;
use super::error::Mistakes;
use super::raw::{
    Key, RawAdapt, RawConfig, RawControl, RawFormat, RawPacing, RawRepair, RawSampling, RawSource,
    RawStatus, RawStream, RawWait,
};
use super::{Adapt, Config, ConfigError, Pacing, Repair, Status, Stream, WaitForViewers};
use crate::jpeg::Sampling;
use crate::net::pacing::MOST_OF_INTERVAL;
use crate::source::{
    CameraFormat, CameraSpec, ControlValue, FPS_RANGE, PATTERN_MAX, PATTERN_MIN, SourceSpec,
};

/// More streams than this are a mistake.
const STREAMS_MAX: usize = 64;
/// Sides of a picture that can be asked for, in pixels.
pub(crate) const RESIZE_RANGE: RangeInclusive<u32> = PATTERN_MIN..=PATTERN_MAX;
/// Sizes of IP packets: what every IPv4 host takes (RFC 791 §3.1) to the largest there is.
pub(crate) const MTU_RANGE: RangeInclusive<u16> = 576..=65_535;
/// The smallest MTU of IPv6. RFC 8200 §5.
pub(crate) const MTU_MIN_V6: u16 = 1280;
/// Cores that an affinity mask has room for (CPU_SETSIZE).
pub(crate) const CORES: RangeInclusive<usize> = 0..=1023;

/// Reads a config from `text`, which stands in the file called `file`.
pub(super) fn resolve(file: &str, text: &str) -> Result<Config, ConfigError> {
    let mut reader = Reader {
        mistakes: Mistakes::new(file, text),
    };
    let config = reader.config(Key::read(text));
    reader.mistakes.into_result(config)
}

struct Reader<'a> {
    mistakes: Mistakes<'a>,
}

/// Width and height in pixels.
type Size = (u32, u32);

/// A config's stream with the texts that name and place it, for mistakes between streams.
struct Placed<'a> {
    stream: Stream,
    text: &'a str,
    name: &'a str,
    source: &'a str,
    group: &'a str,
    sdp: &'a str,
}

impl<'a> Reader<'a> {
    fn config(&mut self, raw: Key<'a, RawConfig<'a>>) -> Config {
        let Some(raw) = self.take("", raw) else {
            return Config::default();
        };
        Config {
            streams: self.streams(raw.streams),
            status: self.status(raw.status),
        }
    }

    fn streams(&mut self, raw: Key<'a, Vec<Key<'a, RawStream<'a>>>>) -> Vec<Stream> {
        let text = raw.text;
        let Some(list) = self.take("streams", raw) else {
            return Config::default().streams;
        };
        if list.is_empty() {
            let why = "without a stream there is nothing to send";
            self.mistakes.value("streams", text, why);
        }
        if list.len() > STREAMS_MAX {
            let why = format!("{} are more than the {STREAMS_MAX} allowed", list.len());
            self.mistakes.value("streams", text, &why);
            return Vec::new();
        }
        let mut streams: Vec<Placed<'a>> = Vec::new();
        for raw in list {
            let text = raw.text;
            let Some(raw) = self.take("streams", raw) else {
                continue;
            };
            let next = self.stream(text, raw);
            for earlier in &streams {
                self.clash(earlier, &next);
            }
            streams.push(next);
        }
        streams.into_iter().map(|placed| placed.stream).collect()
    }

    fn stream(&mut self, text: &'a str, raw: RawStream<'a>) -> Placed<'a> {
        let d = Stream::default();
        let (name, group, sdp) = (raw.name.text, raw.group.text, raw.sdp.text);
        let source = raw.source.text;
        let (fps, mtu) = (raw.fps.text, raw.mtu.text);
        let only_while_watched = raw.only_while_watched.text;
        let mut stream = Stream {
            name: self.checked("name", raw.name, d.name, |v| check::name(&v)),
            source: self.source(raw.source, d.source),
            group: self.checked("group", raw.group, d.group, |v| check::group(&v)),
            interface: self.checked("interface", raw.interface, d.interface, |v| {
                v.map(|v| check::interface(&v)).transpose()
            }),
            ttl: self.take("ttl", raw.ttl).unwrap_or(d.ttl),
            loopback: self.take("loopback", raw.loopback).unwrap_or(d.loopback),
            dscp: self.checked("dscp", raw.dscp, d.dscp, within(0..=63)),
            mtu: self.checked("mtu", raw.mtu, d.mtu, maybe(MTU_RANGE)),
            pacing: self.checked("pacing", raw.pacing, d.pacing, pacing),
            repair: self.checked("repair", raw.repair, d.repair, repair),
            retransmit: self
                .take("retransmit", raw.retransmit)
                .unwrap_or(d.retransmit),
            pin: self.checked("pin", raw.pin, d.pin, maybe(CORES)),
            realtime: self.checked("realtime", raw.realtime, d.realtime, maybe(1..=99)),
            lock_memory: self
                .take("lock_memory", raw.lock_memory)
                .unwrap_or(d.lock_memory),
            fps: self.checked("fps", raw.fps, d.fps, maybe(FPS_RANGE)),
            looped: self.take("loop", raw.looped).unwrap_or(d.looped),
            resize: self.checked("resize", raw.resize, d.resize, size_within(RESIZE_RANGE)),
            quality: self.checked("quality", raw.quality, d.quality, within(1..=100)),
            sdp: self.checked("sdp", raw.sdp, d.sdp, maybe_path),
            wait_for_viewers: self.wait(raw.wait_for_viewers),
            adapt: self.checked("adapt", raw.adapt, d.adapt, adapt),
            only_while_watched: self
                .take("only_while_watched", raw.only_while_watched)
                .unwrap_or(d.only_while_watched),
            announce: self.take("announce", raw.announce).unwrap_or(d.announce),
        };
        if !super::fold_into_camera(&mut stream) {
            let why = "the camera's own fps says otherwise, keep one of them";
            self.mistakes.value("fps", fps, why);
        }
        if stream.group.is_ipv6() && stream.mtu.is_some_and(|mtu| mtu < MTU_MIN_V6) {
            self.mistakes.value("mtu", mtu, "the group is IPv6");
        }
        if stream.only_while_watched && stream.source == SourceSpec::Stdin {
            let why = "standard input cannot be closed and opened again, use Exec";
            let key = "only_while_watched";
            self.mistakes.value(key, only_while_watched, why);
        }
        Placed {
            stream,
            text,
            name,
            source,
            group,
            sdp,
        }
    }

    fn source(&mut self, raw: Key<'a, RawSource<'a>>, default: SourceSpec) -> SourceSpec {
        let Some(raw) = self.take("source", raw) else {
            return default;
        };
        match raw {
            RawSource::Camera {
                device,
                format,
                size,
                fps,
                sampling,
                controls,
            } => {
                let mut camera = CameraSpec::new("auto");
                if let Some(device) =
                    self.checked("device", device, None, |v| some_path(v).map(Some))
                {
                    camera.device = device;
                }
                if let Some(format) = self.take("format", format) {
                    camera.format = camera_format(&format);
                }
                if let Some(sampling) = self.take("sampling", sampling) {
                    camera.sampling = camera_sampling(&sampling);
                }
                camera.size = self.checked("size", size, None, size_within(1..=65_535));
                camera.fps = self.checked("fps", fps, None, maybe(FPS_RANGE));
                camera.controls = self.controls(controls);
                SourceSpec::Camera(camera)
            }
            RawSource::File(path) => self.checked("File", path, default, |path| {
                let path = some_path(path)?;
                Ok(SourceSpec::File { path })
            }),
            RawSource::Pattern(text) => self.checked("Pattern", text, default, |text| {
                format!("pattern:{text}")
                    .parse()
                    .map_err(|e: crate::source::SpecError| e.to_string())
            }),
            RawSource::Exec(command) => self.checked("Exec", command, default, |command| {
                if command.trim().is_empty() {
                    return Err("the command is empty".to_owned());
                }
                Ok(SourceSpec::Exec { command })
            }),
            RawSource::Stdin => SourceSpec::Stdin,
        }
    }

    fn controls(
        &mut self,
        raw: Key<'a, BTreeMap<String, Key<'a, RawControl>>>,
    ) -> BTreeMap<String, ControlValue> {
        let mut controls = BTreeMap::new();
        for (name, value) in self.take("controls", raw).unwrap_or_default() {
            if let Some(RawControl(value)) = self.take("controls", value) {
                controls.insert(name, value);
            }
        }
        controls
    }

    fn wait(&mut self, raw: Key<'a, Option<RawWait<'a>>>) -> Option<WaitForViewers> {
        let raw = self.take("wait_for_viewers", raw)??;
        Some(WaitForViewers {
            count: self.checked("count", raw.count, 1, within(1..=10_000)),
            at_most_s: self.checked("at_most_s", raw.at_most_s, 10, within(1..=86_400)),
        })
    }

    fn status(&mut self, raw: Key<'a, RawStatus<'a>>) -> Status {
        let Some(RawStatus::On { listen, token }) = self.take("status", raw) else {
            return Status::Off;
        };
        Status::On {
            listen: self.checked("listen", listen, super::DEFAULT_STATUS, |v| {
                check::listen(&v)
            }),
            token: self.checked("token", token, None, |v| {
                v.map(|v| check::token(&v)).transpose()
            }),
        }
    }

    /// What two streams may not share.
    fn clash(&mut self, a: &Placed<'a>, b: &Placed<'a>) {
        // A value that was left out has no text: the stream's own is shown instead.
        let place = |text: &'a str| if text.is_empty() { b.text } else { text };
        let name = &b.stream.name;
        if a.stream.name == *name {
            let sentence = format!("two streams are called \"{name}\": give each its own \"name\"");
            self.mistakes.at(place(b.name), sentence);
        }
        if let Some(port) = shared_port(&a.stream, &b.stream) {
            let both = format!("streams \"{}\" and \"{name}\"", a.stream.name);
            let sentence = if a.stream.group == b.stream.group {
                format!(
                    "{both} send to the same group and port, {}: give each its own \"group\"",
                    b.stream.group
                )
            } else {
                format!(
                    "{both} both need port {port} of {}, as each uses the port above its own for RTCP and the fourth above for repair: take ports 10 apart",
                    b.stream.group.ip()
                )
            };
            self.mistakes.at(place(b.group), sentence);
        }
        if same_device(&a.stream.source, &b.stream.source) {
            let sentence = format!(
                "streams \"{}\" and \"{name}\" have the same source, {}, which can be read only once",
                a.stream.name, a.stream.source
            );
            self.mistakes.at(place(b.source), sentence);
        }
        if a.stream.sdp.is_some() && a.stream.sdp == b.stream.sdp {
            let sentence = format!(
                "streams \"{}\" and \"{name}\" write the same SDP file: give each its own \"sdp\"",
                a.stream.name
            );
            self.mistakes.at(place(b.sdp), sentence);
        }
    }

    /// The value, if the key is there and of its type.
    fn take<T>(&mut self, key: &str, raw: Key<'_, T>) -> Option<T> {
        match raw.value? {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.ron(key, raw.text, &error);
                None
            }
        }
    }

    /// The value, if the key is there and `check` takes it; else the default. `check` may give
    /// the empty text for "what is allowed says it all".
    fn checked<T, U>(
        &mut self,
        key: &str,
        raw: Key<'_, T>,
        default: U,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> U {
        let text = raw.text;
        match self.take(key, raw).map(check) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(why)) => {
                self.mistakes.value(key, text, &why);
                default
            }
        }
    }
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

/// Takes what lies in the range.
fn within<T: PartialOrd>(range: RangeInclusive<T>) -> impl FnOnce(T) -> Result<T, String> {
    move |value| {
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(String::new())
        }
    }
}

/// Takes `None` and what lies in the range.
fn maybe<T: PartialOrd>(
    range: RangeInclusive<T>,
) -> impl FnOnce(Option<T>) -> Result<Option<T>, String> {
    move |value| value.map(within(range)).transpose()
}

/// Takes `None` and a width and height that both lie in the range.
fn size_within(
    range: RangeInclusive<u32>,
) -> impl FnOnce(Option<Size>) -> Result<Option<Size>, String> {
    move |size| match size {
        Some((width, height)) if !range.contains(&width) || !range.contains(&height) => {
            Err(String::new())
        }
        size => Ok(size),
    }
}

/// Takes `None` and a path.
fn maybe_path(path: Option<String>) -> Result<Option<PathBuf>, String> {
    path.map(some_path).transpose()
}

/// Takes a path.
fn some_path(path: String) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if path.contains('\0') {
        return Err("no path can hold a zero byte".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn camera_format(raw: &RawFormat) -> CameraFormat {
    match raw {
        RawFormat::Auto => CameraFormat::Auto,
        RawFormat::Mjpeg => CameraFormat::Mjpeg,
        RawFormat::Yuyv => CameraFormat::Yuyv,
        RawFormat::Nv12 => CameraFormat::Nv12,
        RawFormat::Yu12 => CameraFormat::Yu12,
        RawFormat::Rgb3 => CameraFormat::Rgb3,
    }
}

fn camera_sampling(raw: &RawSampling) -> Sampling {
    match raw {
        RawSampling::Yuv420 => Sampling::Yuv420,
        RawSampling::Yuv422 => Sampling::Yuv422,
    }
}

fn pacing(raw: RawPacing) -> Result<Pacing, String> {
    Ok(match raw {
        RawPacing::Auto => Pacing::Auto,
        RawPacing::Off => Pacing::Off,
        RawPacing::Spread(fraction) => Pacing::Spread(check::share(fraction, MOST_OF_INTERVAL)?),
    })
}

fn repair(raw: RawRepair) -> Result<Repair, String> {
    Ok(match raw {
        RawRepair::Off => Repair::Off,
        RawRepair::Fixed(share) => Repair::Fixed(check::share(share, 1.0)?),
        RawRepair::Auto { max } => Repair::Auto {
            max: check::share(max, 1.0)?,
        },
    })
}

fn adapt(raw: RawAdapt) -> Result<Adapt, String> {
    Ok(match raw {
        RawAdapt::Off => Adapt::Off,
        RawAdapt::FrameRate { min } => Adapt::FrameRate {
            min: within(FPS_RANGE)(min)?,
        },
    })
}
