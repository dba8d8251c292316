//! `lancam list`: the streams on this network, lancam's own and others', as a table, as JSON, or as
//! they come and go. They are found by their announcements (SAP) and by DNS-SD.

mod found;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use self::found::{Camera, Change, Found};
use crate::announced::can_show;
use crate::rtp::sap::{self, Listing, What};
use crate::signals::{Signal, Signals};
use crate::text::{counted, printable};

/// How long to listen by default: lancam announces a stream about every 2 s, ffmpeg every 5 s.
const LISTEN: Duration = Duration::from_secs(6);
/// How often signals are checked.
const TICK: Duration = Duration::from_millis(100);
/// Characters of a name in the table.
const NAME_WIDTH: usize = 24;

/// What `lancam list` was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlan {
    /// The interface to listen on, by name or by its address; `None`: all.
    pub interface: Option<String>,
    /// How long to listen; `None`: until all have had time to arrive, or with `watch` until a
    /// signal.
    pub timeout: Option<Duration>,
    /// Keep running and show what comes and goes.
    pub watch: bool,
    /// Print for programs.
    pub json: bool,
}

/// Listens and prints.
///
/// # Errors
/// There is no such interface, or nothing can be received.
pub fn run(plan: &ListPlan, mut signals: Signals) -> Result<()> {
    let mut found = Found::open(plan.interface.as_deref())?;
    if plan.watch {
        return watch(plan, &mut found, &mut signals);
    }
    let started = Instant::now();
    if io::stderr().is_terminal() {
        let seconds = plan.timeout.unwrap_or(LISTEN).as_secs_f32();
        eprint!("listening for {seconds} s ...\r");
    }
    while started.elapsed() < listen_for(plan, &found) && !is_over(&mut signals) {
        found.receive(TICK)?;
    }
    // What arrived during the signal.
    found.receive(Duration::ZERO)?;
    let (streams, cameras) = (found.streams(), found.cameras());
    if plan.json {
        let streams = streams.iter().map(|l| Row::of_stream(l, found.url_of(l)));
        let rows: Vec<Row<'_>> = streams.chain(cameras.iter().map(Row::of_camera)).collect();
        print(&serde_json::to_string_pretty(&rows).unwrap_or_default());
    } else if streams.is_empty() && cameras.is_empty() {
        print(&nothing(plan, started.elapsed()));
    } else {
        print(&table(streams, &cameras));
        eprint!("{}", shared_names(streams));
    }
    let turned_away = found.turned_away();
    if turned_away > 0 {
        let left_out = counted(turned_away, "announcement");
        eprintln!("{left_out} not shown: there are too many");
    }
    Ok(())
}

/// As long as the user says; else long enough for the least frequent announcements, which are rare
/// if there are many streams.
fn listen_for(plan: &ListPlan, found: &Found) -> Duration {
    let enough = found.longest_interval().max(LISTEN);
    plan.timeout.unwrap_or(enough)
}

fn is_over(signals: &mut Signals) -> bool {
    signals.wait(Duration::ZERO) == Some(Signal::Stop)
}

/// Prints changes until a signal or the time limit. On a terminal, redraws the table at each
/// change.
fn watch(plan: &ListPlan, found: &mut Found, signals: &mut Signals) -> Result<()> {
    let draws = io::stdout().is_terminal() && !plan.json;
    let started = Instant::now();
    let is_late = |started: Instant| plan.timeout.is_some_and(|t| started.elapsed() >= t);
    if draws {
        draw(found);
    }
    while !is_late(started) && !is_over(signals) {
        let changes = found.receive(TICK)?;
        if draws && !changes.is_empty() {
            draw(found);
            continue;
        }
        for change in &changes {
            print(&event(change, found, plan.json));
        }
    }
    Ok(())
}

/// Moves the cursor home, erases all below, and prints the table.
fn draw(found: &Found) {
    let (streams, cameras) = (found.streams(), found.settled_cameras());
    let text = match streams.is_empty() && cameras.is_empty() {
        true => "no stream is announced yet\n".to_owned(),
        false => table(streams, cameras),
    };
    print(&format!("\x1b[H\x1b[J{text}"));
}

fn event(change: &Change, found: &Found, is_json: bool) -> String {
    let (what, row, cells) = match change {
        Change::Stream(change) => {
            let listing = &change.listing;
            let row = Row::of_stream(listing, found.url_of(listing));
            (change.what, row, cells(listing))
        }
        Change::Camera(what, camera) => (*what, Row::of_camera(camera), camera_cells(camera)),
    };
    let word = word(what);
    if is_json {
        let event = Event {
            event: word,
            stream: row,
        };
        return serde_json::to_string(&event).unwrap_or_default();
    }
    let row = cells.map(|cell| cell.trim().to_owned());
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
    /// Where its packets go; nothing of what is served by RTSP alone.
    group: Option<String>,
    /// Where it is served by RTSP.
    rtsp: Option<String>,
    format: Option<&'a str>,
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
    fn of_stream(listing: &Listing, rtsp: Option<String>) -> Row<'_> {
        let s = &listing.stream;
        let why_not = can_show(s).err();
        Row {
            name: &s.name,
            group: Some(s.addr.to_string()),
            rtsp,
            format: Some(&s.format),
            width: s.size.map(|(w, _)| w),
            height: s.size.map(|(_, h)| h),
            fps: s.framerate,
            ttl: s.ttl,
            repair_port: s.repair_port,
            sender: listing.from.to_string(),
            interface: &listing.interface,
            tool: s.tool.as_deref(),
            can_show: why_not.is_none(),
            why_not,
        }
    }

    fn of_camera(camera: &Camera) -> Row<'_> {
        Row {
            name: &camera.name,
            group: None,
            rtsp: Some(camera.url.clone()),
            format: None,
            width: None,
            height: None,
            fps: None,
            ttl: None,
            repair_port: None,
            sender: camera.from.to_string(),
            interface: &camera.interface,
            tool: None,
            can_show: false,
            why_not: Some(BY_RTSP.to_owned()),
        }
    }
}

/// Why lancam does not show a camera.
const BY_RTSP: &str = "it is served by RTSP alone, as ffplay plays it";

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

fn cells(listing: &Listing) -> [String; 8] {
    let s = &listing.stream;
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
        listing.from.to_string(),
        listing.interface.clone(),
        s.ttl.map_or("-".to_owned(), |ttl| ttl.to_string()),
        if s.repair_port.is_some() { "yes" } else { "no" }.to_owned(),
        can_show(s).map_or_else(|why| format!("no: {why}"), |()| "yes".to_owned()),
    ]
}

fn camera_cells(camera: &Camera) -> [String; 8] {
    let none = || "-".to_owned();
    [
        printable(&camera.name, NAME_WIDTH),
        camera.url.clone(),
        none(),
        camera.from.to_string(),
        camera.interface.clone(),
        none(),
        none(),
        format!("no: {BY_RTSP}"),
    ]
}

/// Columns as wide as their widest cell.
fn table(streams: &[Arc<Listing>], cameras: &[Camera]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(streams.iter().map(|listing| cells(listing)));
    rows.extend(cameras.iter().map(camera_cells));
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

/// A line for each name that several streams share: anybody can announce any name.
fn shared_names(streams: &[Arc<Listing>]) -> String {
    let mut counts = BTreeMap::new();
    for listing in streams {
        *counts.entry(&listing.stream.name).or_insert(0) += 1;
    }
    let shared = counts.iter().filter(|(_, count)| **count > 1);
    let line = |(name, count): (&&String, &i32)| {
        let command = format!("{name}@ADDRESS");
        format!(
            "{count} streams are called {name:?}: watch one by its sender's address, lancam view {command:?}\n"
        )
    };
    shared.map(line).collect()
}

fn nothing(plan: &ListPlan, listened: Duration) -> String {
    let by = plan.interface.as_deref().unwrap_or("any interface");
    format!(
        "no stream is announced on {by} (listened for {:.0} s)\n\
         Is a sender running on this network? `lancam send --name porch` announces its stream; senders without announcements\n\
         are watched by their group: `lancam view 224.3.29.71:10000`. A firewall must let UDP port {} in.",
        listened.as_secs_f32(),
        sap::PORT
    )
}

/// Prints to standard output; a failure does no harm.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
}
