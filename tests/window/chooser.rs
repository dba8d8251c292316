//! The window before there is a picture: it is there at once, says what is looked for, and lets the
//! user choose. Senders and viewer are on two hosts, and the announcements real ones.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::common::net::{INTERFACE, Net};
use super::common::process::Process;
use super::xserver::Kept;
use super::{Desktop, Shot, Viewer, signal, until};

/// The chosen row.
const SELECTED: [u8; 3] = [0x22, 0x5c, 0x9c];

fn hosts(test: &str) -> Option<(Desktop, Net)> {
    Some((Desktop::start(false)?, Net::pair(test)?))
}

fn send(net: &Net, name: &str, size: &str, last: u8) -> Process {
    let source = format!("send --source pattern:{size}@15 --interface {INTERFACE}");
    let command = format!("{source} --name {name} --group 239.255.7.{last}:5000 --stats -");
    let sender = Process::spawn("lancam send", net.sender.lancam(&command));
    sender.wait_for_message("watch ");
    sender
}

fn view<'a>(desktop: &'a Desktop, net: &Net, arguments: &str) -> Viewer<'a> {
    open(desktop, net.viewer.lancam(&format!("view {arguments}")))
}

fn open(desktop: &Desktop, mut command: Command) -> Viewer<'_> {
    command
        .env("DISPLAY", &desktop.display)
        .env_remove("WAYLAND_DISPLAY")
        // As from a menu: with a terminal, some things are said there.
        .stderr(Stdio::null());
    desktop.open(command)
}

/// What the desktop's menu entry says behind `lancam view`.
fn menu_entry() -> String {
    let entry = include_str!("../../deploy/debian/lancam.desktop");
    let mut arguments = entry
        .lines()
        .filter_map(|l| l.strip_prefix("Exec=lancam view"));
    arguments.next().expect("it starts the viewer").to_owned()
}

impl Viewer<'_> {
    /// Waits for this title.
    fn title_is(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        until(&format!("the title says {what}"), || {
            is_it(&self.title()).then_some(())
        });
    }

    fn shows(&self, name: &str, size: &str) {
        let title = format!("{name} - {size} - ");
        self.title_is(&title, |now| now.starts_with(&title));
    }

    fn is_choosing(&self, name: &str) {
        let title = format!("{name} - choose a stream");
        self.title_is(&title, |now| now == title);
    }

    fn point(&self, (x, y): (usize, usize)) {
        let (x, y) = (x.to_string(), y.to_string());
        self.desktop
            .output("xdotool", &["mousemove", "--window", &self.id, &x, &y]);
    }
}

impl Shot {
    /// Lines of text, one below the other.
    fn lines(&self) -> usize {
        let is_lit = |row: &[[u8; 3]]| row.iter().any(|p| p.iter().all(|&v| v > 140));
        let rows: Vec<bool> = self.pixels.chunks(self.size.0).map(is_lit).collect();
        let starts = rows.windows(2).filter(|pair| !pair[0] && pair[1]);
        starts.count()
    }

    /// Top and height of the row that is selected.
    fn selected(&self) -> Option<(usize, usize)> {
        let has = |row: &[[u8; 3]]| row.contains(&SELECTED);
        let rows = self.pixels.chunks(self.size.0).map(has);
        let rows: Vec<usize> = rows
            .enumerate()
            .filter_map(|(y, has)| has.then_some(y))
            .collect();
        Some((*rows.first()?, rows.len()))
    }
}

/// There is no sender: a window that waited for anything from the network would never be there.
#[test]
fn whatever_is_looked_for_the_window_comes_first() {
    let Some((desktop, net)) = hosts("the window comes first") else {
        return;
    };
    let sdp = desktop.folder.path().join("porch.sdp");
    let text = "v=0\r\no=- 7 1 IN IP4 10.77.0.1\r\ns=porch\r\nc=IN IP4 239.255.7.7/1\r\nt=0 0\r\n\
                m=video 5000 RTP/AVP 26\r\n";
    std::fs::write(&sdp, text).expect("written");
    let sdp = sdp.to_string_lossy().into_owned();
    for (target, title) in [
        ("porch", "porch - waiting"),
        ("", "lancam - waiting"),
        ("239.255.7.7:5000", "239.255.7.7:5000 - waiting"),
        (&sdp, "porch - waiting"),
    ] {
        let started = Instant::now();
        let viewer = view(&desktop, &net, target);
        eprintln!("{target:?}: a window after {:?}", started.elapsed());
        viewer.title_is(title, |now| now == title);
        viewer.shot_that("waiting", |shot| shot.lines() > 0);
        // Whoever does not want to wait ends it as ever.
        match target {
            "" => signal(&viewer.process, Signal::SIGTERM),
            "porch" => viewer.press("Escape"),
            _ => viewer.press("q"),
        }
        viewer.ends();
    }
}

#[test]
fn while_it_waits_it_says_what_there_is_and_what_to_do() {
    let Some((desktop, net)) = hosts("while it waits it says what there is") else {
        return;
    };
    let _garden = send(&net, "garden", "320x240", 1);
    let _lab = send(&net, "lab", "320x240", 2);
    for target in ["porch", "239.255.7.7:5000"] {
        let started = Instant::now();
        let viewer = view(&desktop, &net, target);
        // What is looked for, then what there is, and after 5 s what to do.
        viewer.shot_that(&format!("there-{}", target.len()), |shot| shot.lines() == 2);
        viewer.shot_that(&format!("advice-{}", target.len()), |shot| {
            shot.lines() == 4
        });
        assert!(started.elapsed() > Duration::from_secs(5));
        viewer.press("q");
        viewer.ends();
    }
}

/// Longer than a viewer without a window looks for one.
#[test]
fn the_only_stream_is_shown_whenever_it_comes() {
    let Some((desktop, net)) = hosts("the only stream is shown whenever it comes") else {
        return;
    };
    let started = Instant::now();
    let viewer = view(&desktop, &net, "");
    viewer.shot_that("nothing", |shot| shot.lines() == 4);
    until("it has looked for long", || {
        (started.elapsed() > Duration::from_secs(7)).then_some(())
    });
    let _garden = send(&net, "garden", "320x240", 1);
    viewer.shows("garden", "320x240");
    viewer.press("q");
    viewer.ends();
}

#[test]
fn of_several_streams_a_key_or_the_mouse_chooses() {
    let Some((desktop, net)) = hosts("of several streams a key chooses") else {
        return;
    };
    let _left = send(&net, "left", "320x240", 1);
    let right = send(&net, "right", "640x480", 2);

    let viewer = view(&desktop, &net, &menu_entry());
    viewer.is_choosing("lancam");
    // Headline, two rows, how to choose.
    let list = viewer.shot_that("choose", |shot| {
        shot.lines() == 4 && shot.selected().is_some()
    });
    let (top, height) = list.selected().expect("just seen");
    viewer.press("Down");
    viewer.shot_that("choose-down", |shot| {
        shot.selected() == Some((top + height, height))
    });
    viewer.press("Return");
    viewer.shows("right", "640x480");
    assert_eq!(viewer.size(), (640, 480));
    viewer.press("q");
    viewer.ends();

    let viewer = view(&desktop, &net, "");
    viewer.is_choosing("lancam");
    viewer.shot_that("choose-again", |shot| shot.lines() == 4);
    // The list of keys takes the list's place, and nothing is chosen unseen.
    viewer.press("h");
    viewer.shot_that("choose-help", |shot| {
        shot.selected().is_none() && shot.lines() > 4
    });
    viewer.press("2");
    viewer.press("Escape");
    viewer.shot_that("choose-after-help", |shot| {
        shot.selected().is_some() && shot.lines() == 4
    });
    viewer.press("1");
    viewer.shows("left", "320x240");
    viewer.press("q");
    viewer.ends();

    // What the mouse points at is selected. A double click chooses it, and does not fill the screen.
    let viewer = view(&desktop, &net, "");
    viewer.is_choosing("lancam");
    viewer.shot_that("choose-by-mouse", |shot| {
        shot.selected() == Some((top, height))
    });
    viewer.point((320, top + height + height / 2));
    viewer.shot_that("pointed", |shot| {
        shot.selected() == Some((top + height, height))
    });
    desktop.output("xdotool", &["click", "4"]);
    viewer.shot_that("wheel", |shot| shot.selected() == Some((top, height)));
    // No picture comes yet, which would give the window its size.
    right.signal(Signal::SIGSTOP);
    let twice = ["click", "--repeat", "2", "--delay", "50", "1"];
    desktop.output("xdotool", &twice);
    viewer.title_is("what was clicked", |now| now == "right - waiting");
    // Answered after both clicks.
    viewer.press("h");
    viewer.shot_that("clicked", |shot| shot.lines() > 6);
    assert_eq!(viewer.size(), (640, 360));
    right.signal(Signal::SIGCONT);
    viewer.shows("right", "640x480");
    viewer.press("q");
    viewer.ends();
}

#[test]
fn backspace_leads_from_any_picture_to_the_list_and_back() {
    let Some((desktop, net)) = hosts("backspace leads to the list and back") else {
        return;
    };
    let left = send(&net, "left", "320x240", 1);
    let mut right = send(&net, "right", "640x480", 2);
    let is_list = |shot: &Shot| shot.selected().is_some() && shot.lines() == 5;
    let viewer = view(&desktop, &net, "left");
    viewer.shows("left", "320x240");
    let has_viewers = |sender: &Process, n: u64| {
        sender.wait_for_stats("viewers", |stats| stats["viewers"] == n);
    };
    has_viewers(&left, 1);
    for back in ["BackSpace", "Escape"] {
        viewer.press("BackSpace");
        viewer.is_choosing("left");
        viewer.shot_that("listed", is_list);
        viewer.press(back);
        viewer.shows("left", "320x240");
        viewer.shot_that("left-again", |shot| shot.selected().is_none());
    }
    // The other one, in a window of its size; the first sender hears that its viewer has gone.
    viewer.press("BackSpace");
    viewer.shot_that("listed-again", is_list);
    viewer.press("2");
    viewer.shows("right", "640x480");
    assert_eq!(viewer.size(), (640, 480));
    has_viewers(&right, 1);
    has_viewers(&left, 0);
    // That one is lost: the list has what is left, and leads there.
    assert!(right.stop(Signal::SIGTERM).success());
    viewer.title_is("no signal", |now| now.starts_with("right: no signal for "));
    viewer.press("BackSpace");
    viewer.is_choosing("right");
    viewer.shot_that("what-is-left", |shot| {
        shot.selected().is_some() && shot.lines() == 4
    });
    // The keys of the list are listed there, and what is chosen unseen is not taken.
    viewer.press("h");
    viewer.shot_that("keys-of-the-list", |shot| {
        shot.selected().is_none() && shot.lines() > 6
    });
    viewer.press("h");
    viewer.press("Return");
    viewer.shows("left", "320x240");
    assert_eq!(viewer.size(), (320, 240));
    has_viewers(&left, 1);
    viewer.press("q");
    viewer.ends();
}

#[test]
fn backspace_leads_from_a_stream_that_never_comes_to_those_that_are_there() {
    let Some((desktop, net)) = hosts("backspace leads from a stream that never comes") else {
        return;
    };
    let _garden = send(&net, "garden", "320x240", 1);
    for target in ["porch", "239.255.7.7:5000"] {
        let viewer = view(&desktop, &net, target);
        let waits = format!("{target} - waiting");
        viewer.shot_that("waits", |shot| shot.lines() == 2);
        viewer.press("BackSpace");
        viewer.is_choosing(target);
        viewer.press("BackSpace");
        viewer.title_is(&waits, |now| now == waits);
        viewer.press("BackSpace");
        viewer.is_choosing(target);
        viewer.press("Return");
        viewer.shows("garden", "320x240");
        viewer.press("q");
        viewer.ends();
    }
}

#[test]
fn the_stream_of_the_default_group_does_not_hide_the_others() {
    let Some((desktop, net)) = hosts("the default group does not hide the others") else {
        return;
    };
    let source = format!("send --source pattern:320x240@15 --interface {INTERFACE} --name porch");
    let sender = Process::spawn("lancam send", net.sender.lancam(&source));
    sender.wait_for_message("watch ");
    let _garden = send(&net, "garden", "640x480", 1);
    let viewer = view(&desktop, &net, "");
    viewer.shows("porch", "320x240");
    // It is told that there is another; here below the picture, where nothing else is.
    let (size, picture) = ((320, 480), 120..360);
    viewer.resize(size);
    viewer.shot_that("hint", |shot| {
        shot.size == size && shot.rows(picture.end..size.1).lines() > 0
    });
    viewer.shot_that("hint-gone", |shot| {
        shot.rows(picture.end..size.1).lines() == 0
    });
    viewer.press("BackSpace");
    viewer.is_choosing("porch");
    viewer.press("1");
    viewer.shows("garden", "640x480");
    viewer.press("BackSpace");
    viewer.is_choosing("garden");
    viewer.press("2");
    viewer.shows("porch", "320x240");
    viewer.press("q");
    viewer.ends();
}

/// On a dense screen a picture is not half as large as elsewhere.
#[test]
fn the_first_window_follows_the_desktops_scale() {
    let Some((desktop, net)) = hosts("the first window follows the scale") else {
        return;
    };
    desktop.set_density(192);
    let _porch = send(&net, "porch", "320x240", 1);
    for (arguments, size) in [("porch", (640, 480)), ("porch --scale 1", (320, 240))] {
        let viewer = view(&desktop, &net, arguments);
        viewer.shows("porch", "320x240");
        until("the window has its size", || {
            (viewer.size() == size).then_some(())
        });
        viewer.press("q");
        viewer.ends();
    }
}

#[test]
fn a_name_that_means_several_is_asked_back_in_the_window() {
    let Some((desktop, net)) = hosts("a name that means several") else {
        return;
    };
    let _left = send(&net, "porch-left", "320x240", 1);
    let _right = send(&net, "porch-right", "640x480", 2);
    let _garden = send(&net, "garden", "160x120", 3);
    let viewer = view(&desktop, &net, "porch");
    viewer.is_choosing("porch");
    viewer.shot_that("which", |shot| shot.lines() == 4);
    viewer.press("2");
    viewer.shows("porch-right", "640x480");
    viewer.press("q");
    viewer.ends();
}

#[test]
fn the_list_follows_what_comes_and_goes() {
    let Some((desktop, net)) = hosts("the list follows what comes and goes") else {
        return;
    };
    let mut a = send(&net, "a", "320x240", 1);
    let mut b = send(&net, "b", "640x480", 2);
    let viewer = view(&desktop, &net, "");
    viewer.is_choosing("lancam");
    viewer.shot_that("two", |shot| shot.lines() == 4);
    viewer.press("Down");
    let mut c = send(&net, "c", "160x120", 3);
    let three = viewer.shot_that("three", |shot| shot.lines() == 5);
    let (top, height) = three.selected().expect("b");
    // The first one goes: the selection goes up with its stream.
    assert!(a.stop(Signal::SIGTERM).success());
    viewer.shot_that("two-again", |shot| {
        let up = shot
            .selected()
            .is_some_and(|(now, _)| now + height / 2 == top || now < top);
        shot.lines() == 4 && up
    });
    // All go: it waits, and offers what comes then.
    assert!(b.stop(Signal::SIGTERM).success());
    assert!(c.stop(Signal::SIGTERM).success());
    viewer.shot_that("none", |shot| shot.selected().is_none());
    let _again = send(&net, "b", "640x480", 2);
    viewer.is_choosing("lancam");
    viewer.press("Return");
    viewer.shows("b", "640x480");
    viewer.press("q");
    viewer.ends();
}

/// Started from a menu, nobody reads what is written to standard error.
#[test]
fn what_goes_wrong_stands_in_the_window() {
    let Some((desktop, net)) = hosts("what goes wrong stands in the window") else {
        return;
    };
    let mut viewer = view(&desktop, &net, "--interface nonesuch0");
    viewer.shot_that("failed", |shot| shot.lines() >= 3);
    assert!(viewer.process.0.try_wait().expect("a child").is_none());
    viewer.press("q");
    let status = until("the viewer ends", || {
        viewer.process.0.try_wait().expect("a child")
    });
    assert_eq!(status.code(), Some(1));
}

/// There it is read, and whoever typed a command wants an end.
#[test]
fn with_a_terminal_what_goes_wrong_ends_it() {
    let Some((desktop, net)) = hosts("with a terminal what goes wrong ends it") else {
        return;
    };
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = net.viewer.lancam("view --interface nonesuch0");
    command
        .env("DISPLAY", &desktop.display)
        .env_remove("WAYLAND_DISPLAY")
        .stderr(pty.slave);
    let mut viewer = Kept(command.spawn().expect("the viewer starts"));
    drop(command);
    let status = until("the viewer ends", || viewer.0.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(1));
    let mut text = [0; 4096];
    let n = File::from(pty.master).read(&mut text).expect("read");
    let said = String::from_utf8_lossy(&text[..n]);
    assert!(said.contains("no interface \"nonesuch0\""), "{said}");
}

/// A frame is decoded while it arrives, in memory that is shared or not, and looks the same.
#[test]
fn a_real_stream_fills_the_screen_with_helpers_or_without_and_with_no_file_that_may_grow() {
    let Some((desktop, net)) = hosts("a real stream fills the screen") else {
        return;
    };
    let source = format!(
        "send --source pattern:1280x720@15 --pacing 0.5 --interface {INTERFACE} --group 239.255.7.1:5000"
    );
    let sender = Process::spawn("lancam send", net.sender.lancam(&source));
    sender.wait_for_message("watch ");
    for (decoders, has_room) in [("0", true), ("1", true), ("3", false)] {
        let arguments = format!("view 239.255.7.1:5000 --fullscreen --decoders {decoders}");
        let command = match has_room {
            true => net.viewer.lancam(&arguments),
            false => {
                let mut command = net.viewer.command("prlimit");
                command
                    .args(["--fsize=0", env!("CARGO_BIN_EXE_lancam")])
                    .args(arguments.split(' '));
                command
            }
        };
        let viewer = open(&desktop, command);
        viewer.shot_that(&format!("decoders-{decoders}"), |shot| {
            // The pattern's bars, from grey to black, in the upper part.
            let bar = |n: usize| {
                shot.pixels[shot.size.0 * shot.size.1 / 5 + shot.size.0 * (2 * n + 1) / 16]
            };
            let near = |a: [u8; 3], b: [u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 24);
            let bars = [
                [191, 191, 0],
                [0, 191, 191],
                [0, 191, 0],
                [191, 0, 191],
                [191, 0, 0],
                [0, 0, 191],
            ];
            // The sweeping bar may hide one.
            (1..7).filter(|&n| near(bar(n), bars[n - 1])).count() >= 5
        });
        viewer.press("q");
        viewer.ends();
    }
}

/// Packets tell it before any announcement does.
#[test]
fn a_stream_in_the_default_group_has_its_name_and_is_lost_by_it() {
    let Some((desktop, net)) = hosts("a stream in the default group has its name") else {
        return;
    };
    let source = format!("send --source pattern:320x240@15 --interface {INTERFACE} --name porch");
    let mut sender = Process::spawn("lancam send", net.sender.lancam(&source));
    sender.wait_for_message("watch ");
    let viewer = view(&desktop, &net, "--overlay");
    viewer.shows("porch", "320x240");
    assert!(sender.stop(Signal::SIGTERM).success());
    viewer.title_is("no signal", |now| now.starts_with("porch: no signal for "));
    let reason = Some("the sender has stopped");
    viewer.shot_that("stopped", |shot| shot.is_lost("porch", reason));
    viewer.press("q");
    viewer.ends();
}

/// There is nothing that could stand still.
#[test]
fn before_there_is_a_picture_none_is_frozen() {
    let Some((desktop, net)) = hosts("before there is a picture none is frozen") else {
        return;
    };
    let viewer = view(&desktop, &net, "239.255.7.1:5000");
    viewer.press("space");
    let _porch = send(&net, "porch", "320x240", 1);
    viewer.title_is("a size", |now| now.contains(" - 320x240 - "));
    viewer.press("q");
    viewer.ends();
}
