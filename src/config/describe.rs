//! What a config means, in plain words, for `lancam check`.

use super::resolve::Config;
use super::stream::SETTINGS;
use super::users::UsersFrom;
use super::values::{Services, Status};
use crate::text::{counted, printable};

/// Described even if left at their defaults: what is sent, and where.
const ALWAYS: [&str; 3] = ["source", "group", "interface"];

/// What `config` makes `lancam send` do: a line for each setting that matters, each with its
/// newline.
pub fn describe(config: &Config) -> String {
    let mut out = String::new();
    for stream in &config.streams {
        out += &format!("stream \"{}\"\n", stream.name);
        for setting in SETTINGS.iter().skip(1) {
            if ALWAYS.contains(&setting.key) || !(setting.is_default)(stream) {
                let meaning = printable(&(setting.meaning)(stream), usize::MAX);
                out += &format!("  {:<19} {meaning}\n", setting.key);
            }
        }
    }
    out + &services(&config.services)
}

fn services(services: &Services) -> String {
    let users = match &services.users {
        UsersFrom::Config(users) if users.is_empty() => "everyone may watch".to_owned(),
        UsersFrom::Config(users) => format!("for {}", counted(users.len() as u64, "user")),
        UsersFrom::File(path) => format!("for the users in {}", path.display()),
    };
    let mut out = format!("status page: {}\n", status(&services.status));
    out += &match services.rtsp {
        Some(listen) => format!("RTSP: rtsp://{listen}/, {users}\n"),
        None => "RTSP: off\n".to_owned(),
    };
    if services.onvif {
        out += &format!("ONVIF: at the status page's address, {users}\n");
    }
    if !services.dns_sd {
        out += "DNS-SD: off\n";
    }
    out
}

fn status(status: &Status) -> String {
    match status {
        Status::Off => "off".to_owned(),
        Status::On {
            listen,
            token: Some(_),
            ..
        } => format!("http://{listen}/, with a token"),
        Status::On { listen, .. } if listen.ip().is_loopback() => {
            format!("http://{listen}/, for this machine only")
        }
        Status::On { listen, .. } => format!(
            "http://{listen}/, for everyone who can reach this machine; a token would keep strangers out"
        ),
    }
}
