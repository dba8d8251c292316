//! `lancam list`: the streams that are announced on this network, lancam's own and others', as a table, as JSON, or
//! as they come and go.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::announced::{Announced, can_show};
use crate::cli::ListArgs;
use crate::rtp::sap::{self, Change, Heard, What};
use crate::signals::{Signal, Signals};
use crate::text::printable;

/// Listened for unless the user says otherwise: lancam announces a stream every 2 s or so, ffmpeg every 5 s.
const LISTEN: Duration = Duration::from_secs(6);
/// Longest that is listened for where many announcements share the network and so come seldom.
const LISTEN_LONGEST: Duration = Duration::from_secs(30);
/// Signals are looked at this often.
const TICK: Duration = Duration::from_millis(100);
/// Characters of a name in the table.
const NAME_WIDTH: usize = 24;

/// Listens and prints.
///
/// # Errors
/// If announcements cannot be heard.
pub fn run(config: &ListArgs, mut signals: Signals) -> Result<()> {
    let mut announced = Announced::open(config.interface.as_deref())?;
    if config.watch {
        return watch(config, &mut announced, &mut signals);
    }
    let started = Instant::now();
    if io::stderr().is_terminal() {
        let seconds = config.timeout.unwrap_or(LISTEN).as_secs_f32();
        eprint!("listening for {seconds} s ...\r");
    }
    while started.elapsed() < listen_for(config, &announced) && !is_over(&mut signals) {
        announced.hear(TICK)?;
    }
    // What came while a signal did.
    announced.hear(Duration::ZERO)?;
    let streams = announced.directory().streams();
    if config.json {
        let rows: Vec<Row<'_>> = streams.iter().map(|h| Row::of(h)).collect();
        print(&serde_json::to_string_pretty(&rows).unwrap_or_default());
    } else if streams.is_empty() {
        print(&nothing(config, started.elapsed()));
    } else {
        print(&table(streams));
    }
    let turned_away = announced.directory().turned_away();
    if turned_away > 0 {
        eprintln!("{turned_away} more announcement(s) were turned away: there are too many");
    }
    Ok(())
}

/// As long as the user says; else until even one that is announced seldom, because there are many, has been heard.
fn listen_for(config: &ListArgs, announced: &Announced) -> Duration {
    let longest_interval = sap::interval(announced.directory().bytes()).mul_f64(4.0 / 3.0);
    let enough = longest_interval.clamp(LISTEN, LISTEN_LONGEST);
    config.timeout.unwrap_or(enough)
}

fn is_over(signals: &mut Signals) -> bool {
    signals.wait(Duration::ZERO) == Some(Signal::Stop)
}

/// Prints what comes and goes, until a signal or the time ends it. A terminal sees the table, drawn anew with each change.
fn watch(config: &ListArgs, announced: &mut Announced, signals: &mut Signals) -> Result<()> {
    let draws = io::stdout().is_terminal() && !config.json;
    let started = Instant::now();
    let is_late = |started: Instant| config.timeout.is_some_and(|t| started.elapsed() >= t);
    if draws {
        draw(announced.directory().streams());
    }
    while !is_late(started) && !is_over(signals) {
        let changes = announced.hear(TICK)?;
        if draws && !changes.is_empty() {
            draw(announced.directory().streams());
            continue;
        }
        for change in &changes {
            print(&event(change, config.json));
        }
    }
    Ok(())
}

/// Cursor home and "erase all below", then the table.
fn draw(streams: &[Arc<Heard>]) {
    let text = match streams.is_empty() {
        true => "no stream is announced here yet\n".to_owned(),
        false => table(streams),
    };
    print(&format!("\x1b[H\x1b[J{text}"));
}

fn event(change: &Change, is_json: bool) -> String {
    let word = word(change.what);
    if is_json {
        let event = Event {
            event: word,
            stream: Row::of(&change.heard),
        };
        return serde_json::to_string(&event).unwrap_or_default();
    }
    let row = cells(&change.heard).map(|cell| cell.trim().to_owned());
    format!("{word:<8} {}", row.join("  "))
}

fn word(what: What) -> &'static str {
    match what {
        What::Appeared => "new",
        What::Changed => "changed",
        What::Gone => "gone",
    }
}

/// One stream, for programs.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    /// Where its packets go.
    group: String,
    format: &'a str,
    width: Option<u16>,
    height: Option<u16>,
    fps: Option<f64>,
    ttl: Option<u8>,
    repair_port: Option<u16>,
    /// Who announces it.
    sender: String,
    interface: &'a str,
    tool: Option<&'a str>,
    can_show: bool,
    /// Why it cannot be shown.
    why_not: Option<String>,
}

/// A change, for programs.
#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    #[serde(flatten)]
    stream: Row<'a>,
}

impl Row<'_> {
    fn of(heard: &Heard) -> Row<'_> {
        let s = &heard.stream;
        let why_not = can_show(s).err();
        Row {
            name: &s.name,
            group: s.addr.to_string(),
            format: &s.format,
            width: s.size.map(|(w, _)| w),
            height: s.size.map(|(_, h)| h),
            fps: s.framerate,
            ttl: s.ttl,
            repair_port: s.repair_port,
            sender: heard.from.to_string(),
            interface: &heard.interface,
            tool: s.tool.as_deref(),
            can_show: why_not.is_none(),
            why_not,
        }
    }
}

const HEADS: [&str; 8] = [
    "NAME",
    "GROUP",
    "PICTURES",
    "SENDER",
    "BY",
    "TTL",
    "REPAIR",
    "LANCAM CAN SHOW IT",
];

fn cells(heard: &Heard) -> [String; 8] {
    let s = &heard.stream;
    let size = s.size.map(|(w, h)| format!(" {w}x{h}"));
    let rate = s.framerate.map(|fps| format!(" {fps}/s"));
    [
        printable(&s.name, NAME_WIDTH),
        s.addr.to_string(),
        format!(
            "{}{}{}",
            s.format,
            size.unwrap_or_default(),
            rate.unwrap_or_default()
        ),
        heard.from.to_string(),
        heard.interface.clone(),
        s.ttl.map_or("-".to_owned(), |ttl| ttl.to_string()),
        if s.repair_port.is_some() { "yes" } else { "no" }.to_owned(),
        can_show(s).map_or_else(|why| format!("no: {why}"), |()| "yes".to_owned()),
    ]
}

/// Columns as wide as their widest cell.
fn table(streams: &[Arc<Heard>]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(streams.iter().map(|heard| cells(heard)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 8] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn nothing(config: &ListArgs, listened: Duration) -> String {
    let by = config.interface.as_deref().unwrap_or("any interface");
    format!(
        "no stream is announced on {by} (listened for {:.0} s)\n\
         Does a sender run on this network? `lancam send --name porch` announces its stream; senders without announcements\n\
         are watched by their group: `lancam view 224.3.29.71:10000`. A firewall must let UDP port {} in.",
        listened.as_secs_f32(),
        sap::PORT
    )
}

/// A line or more on standard output; lost output is no loss.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
}
