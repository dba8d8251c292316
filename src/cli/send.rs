//! `lancam send`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::services::ServiceFlags;
use super::usage::UsageError;
use super::values::stats_to;
use crate::config::{self, Config, Flag, SETTINGS, Setting};
use crate::send::SendPlan;
use crate::stats::StatsTo;

/// `lancam send`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Sources:
  camera                       the only camera (the default)
  /dev/video0                  a camera; paths in /dev/v4l/by-id stay the same
  clip.avi  clip.mjpeg  a.jpg  a video or a picture
  shot-%04d.jpg                a numbered series of pictures
  -                            MJPEG from standard input; a named pipe works too
  exec:COMMAND                 MJPEG from a command's output
  pattern:1280x720@30          the built-in test pattern

Examples:
  lancam send --source /dev/video0 --interface eth0
  lancam send --source clip.avi --loop --group 224.3.29.72:10000
  lancam send --source \"exec:rpicam-vid --codec mjpeg -t 0 -o -\"
  lancam send --config /etc/lancam/lancam.ron

Flags override the config if it holds a single stream.")]
pub struct SendArgs {
    /// Config file, for one or more streams
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    stream: StreamFlags,

    #[command(flatten)]
    services: ServiceFlags,

    /// Write statistics as JSON, one object per second (-: standard output)
    #[arg(long, value_name = "FILE|-", value_parser = stats_to)]
    pub stats: Option<StatsTo>,
}

impl SendArgs {
    /// What the arguments mean together with the config file, which is read now, and again on
    /// reload.
    ///
    /// # Errors
    /// [`UsageError`] in words for the user.
    pub fn resolve(self) -> Result<SendPlan, UsageError> {
        Ok(SendPlan {
            config: self.config()?,
            stats: self.stats.clone(),
            reload: Box::new(move || Ok(self.config()?)),
        })
    }

    /// The file's config, with the flags applied.
    fn config(&self) -> Result<Config, UsageError> {
        let flags = &self.stream.0;
        let mut config = match &self.config {
            Some(path) => config::load(path, flags)?,
            None => config::parse("", "()", flags)?,
        };
        self.services.apply(&mut config.services)?;
        Ok(config)
    }
}

/// The flags that replace keys of a stream: those in the table of settings.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamFlags(Vec<Flag>);

impl Args for StreamFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter_map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        StreamFlags::augment_args(command)
    }
}

/// The flag of a setting, if it has one.
fn flag(setting: &'static Setting) -> Option<Arg> {
    let value = setting.flag?;
    let arg = Arg::new(setting.key).long(setting.key.replace('_', "-"));
    if value.is_empty() {
        return Some(arg.help(setting.words).action(ArgAction::SetTrue));
    }
    let to_flag = |word: &str| {
        (setting.to_ron)(word).map(|ron| Flag {
            key: setting.key,
            word: word.to_owned(),
            ron,
        })
    };
    let limits = (setting.limits)();
    let default = (setting.default)();
    let mut help = setting.words.to_owned();
    if !limits.is_empty() {
        help += &format!(" ({limits})");
    }
    if default != "none" {
        help += &format!(" [default: {default}]");
    }
    Some(
        arg.help(help)
            .value_name(value)
            .value_parser(to_flag)
            .allow_hyphen_values(true),
    )
}

impl FromArgMatches for StreamFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<StreamFlags, clap::Error> {
        let flags = SETTINGS.iter().filter_map(|setting| match setting.flag? {
            "" => matches.get_flag(setting.key).then(|| Flag {
                key: setting.key,
                word: String::new(),
                ron: "true".to_owned(),
            }),
            _ => matches.get_one::<Flag>(setting.key).cloned(),
        });
        Ok(StreamFlags(flags.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = StreamFlags::from_arg_matches(matches)?;
        Ok(())
    }
}
