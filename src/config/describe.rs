//! What a config means, in plain words, for `lancam check`.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::{Adapt, Config, Pacing, Repair, Status, Stream};
use crate::source::{CameraFormat, CameraSpec, ControlValue, SourceSpec};
use crate::text::printable;

/// What `config` makes `lancam send` do: several lines, each with its line feed.
pub fn describe(config: &Config) -> String {
    let mut out = String::new();
    for stream in &config.streams {
        out += &format!("stream \"{}\"\n", stream.name);
        for (what, text) in lines(stream) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {what:<11}{}", printable(&text, usize::MAX));
        }
    }
    out + "status page: " + &status(&config.status) + "\n"
}

/// One stream's lines: what, and how.
fn lines(s: &Stream) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("sends", source(s)),
        ("to", destination(s)),
        ("packets", packets(s)),
        ("pacing", pacing(s.pacing)),
        ("losses", losses(s)),
        ("thread", thread(s)),
    ];
    if let Some((width, height)) = s.resize {
        let text = format!(
            "to fit {width}x{height}, encoded again at quality {}",
            s.quality
        );
        lines.push(("resized", text));
    }
    if let Some(wait) = s.wait_for_viewers {
        let text = format!(
            "once {} viewer(s) report, or after {} s",
            wait.count, wait.at_most_s
        );
        lines.push(("starts", text));
    }
    if s.only_while_watched {
        lines.push((
            "on demand",
            "the source is open only while somebody watches".to_owned(),
        ));
    }
    if let Adapt::FrameRate { min } = s.adapt {
        let text = format!("fewer frames, but at least {min} a second");
        lines.push(("full link", text));
    }
    if let Some(path) = &s.sdp {
        lines.push(("SDP", format!("written to {}", path.display())));
    }
    lines.push(("announced", announced(s).to_owned()));
    lines
}

fn announced(s: &Stream) -> &'static str {
    match (s.announce, s.group.ip().is_multicast()) {
        (true, true) => "by SAP, so that others find it by its name",
        (true, false) => "no, as it goes to one host only",
        (false, _) => "no",
    }
}

fn source(s: &Stream) -> String {
    let rate = match s.fps {
        Some(fps) => format!(" at {fps} frames a second"),
        None => String::new(),
    };
    let again = if s.looped { ", again and again" } else { "" };
    match &s.source {
        SourceSpec::Pattern { width, height, fps } => {
            let fps = s.fps.unwrap_or(*fps);
            format!("the test pattern, {width}x{height} at {fps} frames a second")
        }
        SourceSpec::File { path } => format!("the file {}{rate}{again}", path.display()),
        SourceSpec::Stdin => format!("MJPEG from standard input{rate}"),
        SourceSpec::Exec { command } => {
            format!("MJPEG from the command `{}`{rate}", command)
        }
        SourceSpec::Camera(spec) => camera(spec),
    }
}

fn camera(c: &CameraSpec) -> String {
    let mut text = if c.device == Path::new("auto") {
        "the only camera there is".to_owned()
    } else {
        format!("the camera {}", c.device.display())
    };
    text += match c.format {
        CameraFormat::Auto => ", MJPEG where it has it",
        CameraFormat::Mjpeg => ", MJPEG",
        CameraFormat::Yuyv => ", YUYV, encoded here",
        CameraFormat::Nv12 => ", NV12, encoded here",
        CameraFormat::Yu12 => ", YU12, encoded here",
        CameraFormat::Rgb3 => ", RGB, encoded here",
    };
    if let Some((width, height)) = c.size {
        text += &format!(", {width}x{height}");
    }
    if let Some(fps) = c.fps {
        text += &format!(", {fps} frames a second");
    }
    for (name, value) in &c.controls {
        let value = match value {
            ControlValue::Number(n) => n.to_string(),
            ControlValue::Text(t) => t.clone(),
        };
        text += &format!(", {name}={value}");
    }
    text
}

fn destination(s: &Stream) -> String {
    let kind = match s.group.ip() {
        ip if !ip.is_multicast() => "one host only, as this is no multicast address",
        IpAddr::V4(_) => "IPv4 multicast",
        IpAddr::V6(_) => "IPv6 multicast",
    };
    let by = match &s.interface {
        Some(interface) => format!("by interface {interface}"),
        None => "by the interface that the kernel's routes choose".to_owned(),
    };
    format!("{} ({kind}), {by}", s.group)
}

fn packets(s: &Stream) -> String {
    let reach = match s.ttl {
        0 => "TTL 0: this host only".to_owned(),
        1 => "TTL 1: this network only".to_owned(),
        ttl => format!("TTL {ttl}: across up to {} routers", ttl - 1),
    };
    let mtu = match s.mtu {
        Some(mtu) => format!("at most {mtu} bytes"),
        None => "as large as the interface carries".to_owned(),
    };
    let here = match (s.loopback, s.group.ip().is_multicast()) {
        (false, true) => ", not for viewers on this host",
        _ => "",
    };
    format!("{mtu}, DSCP {}, {reach}{here}", s.dscp)
}

fn pacing(pacing: Pacing) -> String {
    match pacing {
        Pacing::Auto => "by the link's speed".to_owned(),
        Pacing::Off => "none, each frame as fast as the kernel takes it".to_owned(),
        Pacing::Spread(fraction) => {
            format!(
                "each frame over {:.0} % of the frame interval",
                fraction * 100.0
            )
        }
    }
}

fn losses(s: &Stream) -> String {
    let repair = match s.repair {
        Repair::Off => "no repair packets".to_owned(),
        Repair::Fixed(share) => format!("{:.0} % of repair packets", share * 100.0),
        Repair::Auto { max } => format!("up to {:.0} % of repair packets", max * 100.0),
    };
    let again = if s.retransmit {
        "what viewers ask for is sent again"
    } else {
        "nothing is sent again"
    };
    format!("{repair}, {again}")
}

fn thread(s: &Stream) -> String {
    let core = match s.pin {
        Some(core) => format!("on core {core}"),
        None => "on any core".to_owned(),
    };
    let priority = match s.realtime {
        Some(priority) => format!("real-time priority {priority}"),
        None => "normal priority".to_owned(),
    };
    let memory = if s.lock_memory { ", memory locked" } else { "" };
    format!("{core}, {priority}{memory}")
}

fn status(status: &Status) -> String {
    match status {
        Status::Off => "off".to_owned(),
        Status::On {
            listen,
            token: Some(_),
        } => {
            format!("http://{listen}/ for those who have the token")
        }
        Status::On {
            listen,
            token: None,
        } if listen.ip().is_loopback() => {
            format!("http://{listen}/ for this host")
        }
        Status::On {
            listen,
            token: None,
        } => {
            format!(
                "http://{listen}/ for everyone who can reach this host: a token would keep strangers out"
            )
        }
    }
}
