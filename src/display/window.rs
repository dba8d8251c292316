//! The window: takes the newest frame from the mailbox, decodes it into the window's pixels, draws
//! the overlay, and answers keys. A thread of its own, which sleeps until a frame or a key is there,
//! and which is left behind where the X server does not answer. Before the first frame it shows what
//! `chooser` draws.
//!
//! Keys: `q` quits, Esc leaves full screen or quits, `f`, F11 or a double click full screen, `s`
//! saves the JPEG exactly as it came, `i` overlay, space freezes. X11, or XWayland on a Wayland
//! desktop.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::Frame;
use super::chooser::{Answer, Chooser};
use super::decode::{DecodeError, Decoder, fit};
use super::figures::Meter;
use super::input::{Input, Key};
use super::lobby::Lobby;
use super::overlay::Canvas;
use super::x11::{Screen, Window};
use crate::jpeg::recode::partial::Concealer;
use crate::mailbox::Mailbox;
use crate::record::save_picture;
use crate::stats::ViewerStats;
use crate::stats::delay::DelayMeter;

/// How long the thread sleeps at most before it looks at the clock, and whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// The window's size before the first frame says better.
const FIRST_SIZE: (u16, u16) = (640, 360);
/// How often it is asked whether the window is to end.
const WATCH: Duration = Duration::from_millis(100);
/// How long the window may take to close.
const CLOSING: Duration = Duration::from_millis(500);
/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(4);
/// A sender is lost when this long nothing came; longer for streams of few frames, up to the other.
const LOST: Duration = Duration::from_secs(2);
const LOST_SLOW: Duration = Duration::from_secs(10);
/// Who chooses from the list by a double click does not mean full screen.
const CHOOSING: Duration = Duration::from_millis(500);
/// Figures (made once a second) between two turns of the recent delays.
const ROTATE_EVERY: u32 = 5;

pub use super::x11::ScreenError;

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// There is no screen for it.
    #[error(transparent)]
    Screen(#[from] ScreenError),
    /// The X server went away, or somebody killed the window.
    #[error("the window is gone: the X server has ended or has closed the connection")]
    Lost,
    /// No thread could be started.
    #[error("cannot start the window's thread: {0}")]
    Thread(std::io::Error),
    /// turbojpeg could not be set up.
    #[error(transparent)]
    Decoder(#[from] DecodeError),
}

/// How the window is to be.
#[derive(Clone, Debug)]
pub struct WindowOptions {
    /// Size of the window against the picture's; `None`: its own size, or what fits on the screen.
    pub scale: Option<f32>,
    /// Whether the overlay is on from the start.
    pub overlay: bool,
    /// Ends after this many frames shown.
    pub frames: Option<u64>,
    /// Where `s` saves pictures.
    pub pictures: PathBuf,
}

/// What the window is fed with, and what it tells.
pub struct Feed<T> {
    /// Gives the stream's present name, for title, overlay and the names of saved pictures.
    pub name: Box<dyn Fn() -> String + Send>,
    /// What to say until the first frame, and where to leave what the user chooses.
    pub lobby: Arc<Lobby>,
    /// Where the frames come from; the window ends when it is closed.
    pub mailbox: Arc<Mailbox<T>>,
    /// The window counts `frames_shown` and, of the frames that it took, `frames_skipped`,
    /// `frames_partial`, and `frames_lost` where nothing of a partial one can be shown.
    pub stats: Arc<ViewerStats>,
    /// The window records the delay of each frame that it shows.
    pub delay: Arc<DelayMeter>,
    /// Ends the window when true.
    pub stop: Arc<AtomicBool>,
    /// Sentences to show for a few seconds at the bottom of the picture.
    pub messages: Option<mpsc::Receiver<String>>,
}

/// Opens the window and shows frames until the user quits, `stop` is set, the mailbox is closed, or
/// the wanted number of frames was shown.
///
/// # Errors
/// There is no screen, or it went away.
pub fn run<T: Frame + Send + 'static>(
    options: WindowOptions,
    feed: Feed<T>,
) -> Result<(), WindowError> {
    let stop = Arc::clone(&feed.stop);
    let (sender, ended) = mpsc::channel();
    let window = thread::Builder::new()
        .name("lancam-window".to_owned())
        .spawn(move || drop(sender.send(Viewer::open(options, feed).and_then(Viewer::run))))
        .map_err(WindowError::Thread)?;
    let mut closing_since = None;
    loop {
        match ended.recv_timeout(WATCH) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return window.join().map_err(|panic| resume_unwind(panic));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.load(Ordering::Relaxed)
            && closing_since.get_or_insert_with(Instant::now).elapsed() >= CLOSING
        {
            tracing::warn!("the X server does not answer: the window is left as it is");
            return Ok(());
        }
    }
}

struct Viewer<T> {
    options: WindowOptions,
    feed: Feed<T>,
    name: String,
    window: Window,
    decoder: Decoder,
    concealer: Concealer,
    /// The frame to show, and the size of its picture.
    current: Option<Box<T>>,
    picture: (usize, usize),
    /// It was not drawn yet.
    is_fresh: bool,
    /// The window must be drawn again.
    dirty: bool,
    quit: bool,
    frozen: bool,
    overlay: bool,
    shown: u64,
    chooser: Chooser,
    chosen: Option<Instant>,
    signal: Signal,
    meter: Meter,
    updates: u32,
    title: String,
    lines: Vec<String>,
    message: Option<(String, Instant)>,
}

impl<T: Frame + Send + 'static> Viewer<T> {
    fn open(options: WindowOptions, feed: Feed<T>) -> Result<Self, WindowError> {
        let name = printable((feed.name)());
        let screen = Screen::connect()?;
        let decoder = Decoder::new()?;
        let (mailbox, delay) = (Arc::clone(&feed.mailbox), Arc::clone(&feed.delay));
        let window = Window::open(
            screen,
            &name,
            FIRST_SIZE,
            move || mailbox.nudge(),
            Arc::new(move |captured, now| delay.record_since(captured, now)),
        )?;
        let now = Instant::now();
        let meter = Meter::new(now, feed.stats.snapshot());
        Ok(Viewer {
            window,
            decoder,
            concealer: Concealer::default(),
            current: None,
            picture: (0, 0),
            is_fresh: false,
            dirty: true,
            quit: false,
            frozen: false,
            overlay: options.overlay,
            shown: 0,
            chooser: Chooser::default(),
            chosen: None,
            signal: Signal::new(),
            meter,
            updates: 0,
            title: String::new(),
            lines: Vec::new(),
            message: None,
            name,
            options,
            feed,
        })
    }

    fn run(mut self) -> Result<(), WindowError> {
        self.show_figures();
        while !self.is_over() {
            let patience = if self.dirty { Duration::ZERO } else { TICK };
            match self.feed.mailbox.take(patience) {
                Some(frame) => self.accept(frame),
                None if self.feed.mailbox.is_closed() => break,
                None => {}
            }
            self.keep_time(Instant::now());
            self.answer_inputs()?;
            if self.dirty {
                self.draw()?;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.quit
            || self.feed.stop.load(Ordering::Relaxed)
            || self
                .options
                .frames
                .is_some_and(|frames| self.shown >= frames)
    }

    /// Makes `frame` the one to show, unless it cannot be, or the picture is frozen.
    fn accept(&mut self, mut frame: Box<T>) {
        self.signal.frame(Instant::now());
        // Who wants to see one picture misses none of the others.
        if self.frozen || !frame.is_whole() && !self.fill(&mut frame) {
            return self.feed.mailbox.recycle(frame);
        }
        let size = match self.decoder.size(frame.jpeg()) {
            Ok(size) => size,
            Err(error) => {
                tracing::debug!(%error, "a frame cannot be shown");
                self.feed.stats.frames_skipped.add(1);
                return self.feed.mailbox.recycle(frame);
            }
        };
        if std::mem::replace(&mut self.is_fresh, true) {
            // The X server was too slow for the one before.
            self.feed.stats.frames_skipped.add(1);
        }
        if let Some(used) = self.current.replace(frame) {
            self.feed.mailbox.recycle(used);
        } else {
            self.follow_pointer(false);
            self.first_picture(size);
        }
        self.picture = size;
        self.dirty = true;
    }

    /// Fills the gaps of a frame with what is on the screen, and counts it; false if nothing of it can be
    /// shown.
    fn fill(&mut self, frame: &mut T) -> bool {
        let last = self.current.as_deref();
        let can_show = last.is_some_and(|last| frame.conceal(last, &mut self.concealer));
        match can_show {
            true => self.feed.stats.frames_partial.add(1),
            false => self.feed.stats.frames_lost.add(1),
        }
        can_show
    }

    /// Gives the window the first picture's size, unless the user has already chosen one.
    fn first_picture(&mut self, picture: (usize, usize)) {
        if self.window.size() != (FIRST_SIZE.0.into(), FIRST_SIZE.1.into()) {
            return;
        }
        let (width, height) = first_size(picture, self.options.scale, self.window.screen_size());
        if let Err(error) = self.window.resize(width, height) {
            tracing::debug!(%error, "cannot resize the window");
        }
    }

    /// What changes with time alone: figures, title, messages, the notice of a lost sender.
    fn keep_time(&mut self, now: Instant) {
        if self.meter.is_due(now) {
            self.updates += 1;
            let recent = self.feed.delay.recent();
            self.meter
                .update(now, self.feed.stats.snapshot(), self.picture, recent);
            if self.updates % ROTATE_EVERY == 0 {
                self.feed.delay.rotate();
            }
            self.show_figures();
        }
        while let Some(Ok(text)) = self.feed.messages.as_ref().map(mpsc::Receiver::try_recv) {
            self.say(text);
        }
        if self.message.as_ref().is_some_and(|(_, end)| now >= *end) {
            self.message = None;
            self.dirty = true;
        }
        self.dirty |= self.signal.has_changed(now);
        self.listen();
    }

    /// Takes what there is to say or to choose from before the first frame.
    fn listen(&mut self) {
        if self.current.is_some() || !self.chooser.update(self.feed.lobby.waiting()) {
            return;
        }
        self.follow_pointer(self.is_choosing());
        self.show_figures();
        self.dirty = true;
    }

    fn is_choosing(&self) -> bool {
        self.current.is_none() && self.chooser.is_choosing()
    }

    fn follow_pointer(&self, is_wanted: bool) {
        if let Err(error) = self.window.follow_pointer(is_wanted) {
            tracing::debug!(%error, "cannot ask for the mouse");
        }
    }

    fn show_figures(&mut self) {
        self.name = printable((self.feed.name)());
        let figures = self.meter.figures();
        let title = match self.frozen {
            true => format!("{} - frozen", self.name),
            false if self.is_choosing() => format!("{} - choose a stream", self.name),
            false => figures.title(&self.name),
        };
        if title != self.title {
            if let Err(error) = self.window.set_title(&title) {
                tracing::debug!(%error, "cannot set the title");
            }
            self.title = title;
        }
        self.lines = figures.lines(&self.name);
        // While frames come, the next one shows them.
        self.dirty |= self.overlay && (self.frozen || self.signal.is_quiet(Instant::now()));
    }

    fn say(&mut self, text: String) {
        self.message = Some((text, Instant::now() + MESSAGE));
        self.dirty = true;
    }

    /// Draws all there is to see, in the window's present size; later, if the X server still reads what was drawn
    /// before.
    fn draw(&mut self) -> Result<(), WindowError> {
        let size = self.window.size();
        let Some(pixels) = self.window.pixels(size) else {
            return Ok(());
        };
        self.dirty = false;
        let current = self.current.as_ref();
        match current.map(|frame| self.decoder.decode(frame.jpeg(), pixels, size)) {
            Some(Ok(decoded)) => {
                if let Some(warning) = decoded.warning {
                    tracing::debug!(%warning, "a frame is damaged");
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "a frame cannot be shown"),
            None => pixels.fill(0),
        }
        let mut canvas = Canvas::new(pixels, size);
        if current.is_none() {
            self.chooser.draw(&mut canvas);
        }
        if self.overlay {
            canvas.panel(&self.lines);
        }
        if let Some(notice) = self.signal.notice() {
            canvas.notice(notice);
        }
        match &self.message {
            Some((text, _)) => canvas.message(text),
            None if self.frozen => canvas.message("frozen"),
            None => {}
        }
        let is_fresh = std::mem::take(&mut self.is_fresh);
        let captured = current.filter(|_| is_fresh).and_then(|f| f.captured());
        let put = self.window.put(size, captured);
        put.map_err(|_| WindowError::Lost)?;
        if is_fresh {
            self.shown += 1;
            self.feed.stats.frames_shown.add(1);
        }
        Ok(())
    }

    fn answer_inputs(&mut self) -> Result<(), WindowError> {
        while let Some(input) = self.window.next_input() {
            match input {
                Input::Key(key) => self.answer(key),
                Input::DoubleClick if self.has_just_chosen() => {}
                Input::DoubleClick => self.toggle_full_screen(),
                Input::Click(_) | Input::Pointer(_) | Input::WheelUp | Input::WheelDown => {
                    self.answer_mouse(input);
                }
                Input::Changed => self.dirty = true,
                Input::Closed => self.quit = true,
                Input::Lost => return Err(WindowError::Lost),
            }
        }
        Ok(())
    }

    fn answer_mouse(&mut self, input: Input) {
        if !self.is_choosing() {
            return;
        }
        let answer = match input {
            Input::Click(at) => self.chooser.click(at),
            Input::Pointer(at) => self.chooser.point(at),
            Input::WheelUp => self.chooser.wheel(false),
            Input::WheelDown => self.chooser.wheel(true),
            _ => return,
        };
        self.follow(answer);
    }

    /// Does what an answer of the list asks for; false: nothing, the input means something else.
    fn follow(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Unused => return false,
            Answer::Used => {}
            Answer::Chosen(key) => {
                self.chosen = Some(Instant::now());
                self.feed.lobby.choose(key);
            }
        }
        self.dirty = true;
        true
    }

    fn has_just_chosen(&self) -> bool {
        self.chosen.is_some_and(|at| at.elapsed() < CHOOSING)
    }

    fn answer(&mut self, key: Key) {
        if self.is_choosing() {
            let answer = self.chooser.press(key);
            if self.follow(answer) {
                return;
            }
        }
        match key {
            // What fills the screen must be easy to get out of.
            Key::Escape if self.window.is_full_screen() => self.toggle_full_screen(),
            Key::Char('q') | Key::Escape => self.quit = true,
            Key::Char('f') | Key::F11 => self.toggle_full_screen(),
            Key::Char('s') => self.save(),
            Key::Char('i') => {
                self.overlay = !self.overlay;
                self.dirty = true;
            }
            Key::Char(' ') => {
                self.frozen = !self.frozen;
                self.show_figures();
                self.dirty = true;
            }
            Key::Char(_)
            | Key::Enter
            | Key::Up
            | Key::Down
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End => {}
        }
    }

    fn toggle_full_screen(&mut self) {
        if let Err(error) = self.window.toggle_full_screen() {
            self.say(format!("no full screen: {error}"));
        }
    }

    fn save(&mut self) {
        let Some(frame) = &self.current else {
            return self.say("nothing to save yet".to_owned());
        };
        match save_picture(&self.options.pictures, &self.name, frame.jpeg()) {
            Ok(path) => {
                tracing::info!(path = %path.display(), "picture saved");
                self.say(format!("saved {}", path.display()));
            }
            Err(error) => {
                tracing::warn!(%error, "picture not saved");
                self.say(error.to_string());
            }
        }
    }
}

/// Whether a window could be opened.
///
/// # Errors
/// If not.
pub fn find_display() -> Result<(), WindowError> {
    Ok(Screen::connect().map(drop)?)
}

/// A name may come from the network, and X11 takes no NUL in a title.
fn printable(mut name: String) -> String {
    name.retain(|c| !c.is_control());
    name
}

/// The window's size for the first picture.
fn first_size(
    picture: (usize, usize),
    scale: Option<f32>,
    screen: (usize, usize),
) -> (usize, usize) {
    if let Some(scale) = scale.filter(|scale| *scale > 0.0) {
        // A cast from float saturates.
        let side = |pixels: usize| (pixels as f32 * scale).round() as usize;
        return (side(picture.0).max(1), side(picture.1).max(1));
    }
    // Room for the window's frame and the desktop's bars.
    let room = (screen.0 * 9 / 10, screen.1 * 9 / 10);
    if picture.0 <= room.0 && picture.1 <= room.1 {
        return picture;
    }
    let rect = fit(picture, room);
    (rect.width.max(1), rect.height.max(1))
}

/// Whether frames come, and what to say on the picture when they do no longer.
#[derive(Debug)]
struct Signal {
    last: Option<Instant>,
    /// How long may nothing come.
    patience: Duration,
    /// Whole seconds without a frame, once that is too long.
    lost_for: Option<u64>,
    notice: Option<String>,
}

impl Signal {
    fn new() -> Signal {
        Signal {
            last: None,
            patience: LOST,
            lost_for: None,
            notice: None,
        }
    }

    fn frame(&mut self, now: Instant) {
        let interval = self.last.map_or(Duration::ZERO, |last| now - last);
        self.patience = (interval * 3).clamp(LOST, LOST_SLOW);
        self.last = Some(now);
        self.lost_for = None;
        self.notice = None;
    }

    /// Brings the notice up to date; true if it reads differently now.
    fn has_changed(&mut self, now: Instant) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        let silence = now.saturating_duration_since(last);
        if silence < self.patience || self.lost_for == Some(silence.as_secs()) {
            return false;
        }
        self.lost_for = Some(silence.as_secs());
        self.notice = Some(format!("no signal since {} s", silence.as_secs()));
        true
    }

    fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Whether no frame is to be expected in the next moment.
    fn is_quiet(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) > Duration::from_millis(200))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_sender_is_said_second_by_second_and_forgotten_with_the_next_frame() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut signal = Signal::new();
        assert!(!signal.has_changed(at(60_000)));
        signal.frame(at(0));
        assert_eq!(signal.notice(), None);
        assert!(!signal.has_changed(at(1_900)));
        assert!(signal.has_changed(at(2_010)));
        assert!(!signal.has_changed(at(2_900)));
        assert!(signal.has_changed(at(12_100)));
        assert_eq!(signal.notice(), Some("no signal since 12 s"));
        signal.frame(at(12_200));
        assert_eq!(signal.notice(), None);
    }

    #[test]
    fn a_slow_stream_is_no_lost_one() {
        let start = Instant::now();
        let mut signal = Signal::new();
        for s in [0, 3, 6] {
            signal.frame(start + Duration::from_secs(s));
        }
        assert!(!signal.has_changed(start + Duration::from_secs(9)));
        assert!(signal.has_changed(start + Duration::from_secs(16)));
    }

    #[test]
    fn the_first_size_fits_on_the_screen() {
        let screen = (1920, 1080);
        assert_eq!(first_size((1280, 720), None, screen), (1280, 720));
        assert_eq!(first_size((3840, 2160), None, screen), (1728, 972));
        assert_eq!(first_size((1280, 720), Some(0.5), screen), (640, 360));
        assert_eq!(first_size((1280, 720), Some(2.0), screen), (2560, 1440));
        assert_eq!(first_size((1, 1), Some(0.001), screen), (1, 1));
    }
}
