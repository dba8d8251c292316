//! The window: takes the newest frame from the mailbox, decodes it into the window's pixels, draws
//! the overlay, and answers keys. A thread of its own, which sleeps until a frame or a key is
//! there, and which is left behind where the X server does not answer. Before the first frame it
//! shows what `chooser` draws.
//!
//! [`super::help`] lists the keys. X11, or XWayland on a Wayland desktop.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::Frame;
use super::arriving::{Arriving, Head};
use super::chooser::{Answer, Chooser};
use super::decode::{DecodeError, Decoder};
use super::figures::Meter;
use super::follow::{ArrivingScan, Ways};
use super::help::KEYS;
use super::input::{Input, Key};
use super::layout::fit;
use super::lobby::Lobby;
use super::overlay::{Overlay, Row};
use super::signal::Signal;
use super::strips::StripDecoder;
use super::x11::{Screen, Window};
use crate::jpeg::recode::partial::Concealer;
use crate::mailbox::Mailbox;
use crate::record::save_picture;
use crate::stats::ViewerStats;
use crate::stats::delay::DelayMeter;
use crate::text::without_codes;

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
/// How long the pointer may rest in full screen until it is hidden.
const POINTER: Duration = Duration::from_secs(2);
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
    /// How many threads help to decode; 0: each frame is decoded when all of it is there.
    pub decoders: usize,
    /// Whether it fills the screen from the start.
    pub full_screen: bool,
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
    /// What has come of the next frame.
    pub arriving: Option<Arc<Arriving>>,
    /// Why no frame comes, as far as that is known; asked while none does.
    pub reason: Box<dyn Fn() -> Option<String> + Send>,
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
    strips: StripDecoder,
    /// Memory for what arrives.
    bytes: Vec<u8>,
    ways: Ways,
    /// The number of the last frame that was, or was not, followed while it arrived.
    followed: u64,
    /// The size of the window in which the pixels of the frame to show are already.
    decoded: Option<(usize, usize)>,
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
    /// Whether figures are shown, and the list of keys.
    figures: bool,
    help: bool,
    overlay: Overlay,
    /// It filled the screen when the first picture came: what size it has otherwise is still open.
    is_unsized: bool,
    pointer_moved: Instant,
    shown: u64,
    chooser: Chooser,
    chosen: Option<Instant>,
    signal: Signal,
    meter: Meter,
    updates: u32,
    title: String,
    rows: Vec<(&'static str, String)>,
    message: Option<(String, Instant)>,
}

impl<T: Frame + Send + 'static> Viewer<T> {
    fn open(options: WindowOptions, feed: Feed<T>) -> Result<Self, WindowError> {
        let name = printable((feed.name)());
        let screen = Screen::connect()?;
        let decoder = Decoder::new()?;
        let strips = StripDecoder::new(options.decoders)?;
        let (mailbox, delay) = (Arc::clone(&feed.mailbox), Arc::clone(&feed.delay));
        let window = Window::open(
            screen,
            &name,
            FIRST_SIZE,
            options.full_screen,
            move || mailbox.nudge(),
            Arc::new(move |captured, now| delay.record_since(captured, now)),
        )?;
        let now = Instant::now();
        let meter = Meter::new(now, feed.stats.snapshot());
        let scale = window.scale();
        Ok(Viewer {
            window,
            decoder,
            strips,
            bytes: Vec::new(),
            ways: Ways::default(),
            followed: 0,
            decoded: None,
            concealer: Concealer::default(),
            current: None,
            picture: (0, 0),
            is_fresh: false,
            dirty: true,
            quit: false,
            frozen: false,
            figures: options.overlay,
            help: false,
            overlay: Overlay::new(scale),
            is_unsized: false,
            pointer_moved: now,
            shown: 0,
            chooser: Chooser::default(),
            chosen: None,
            signal: Signal::new(),
            meter,
            updates: 0,
            title: String::new(),
            rows: Vec::new(),
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
                None => self.follow_arriving(),
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

    /// Decodes the next frame while it arrives, if there is something of it.
    fn follow_arriving(&mut self) {
        let Some(arriving) = &self.feed.arriving else {
            return;
        };
        let Some((number, head)) = arriving.begin(self.followed) else {
            return;
        };
        self.followed = number;
        // The first picture changes the window's size.
        let can_follow = !self.frozen && self.current.is_some() && self.strips.accepts(&head);
        if !can_follow || !self.ways.is_followed() {
            return arriving.ignore(number);
        }
        let size = self.window.size();
        let Some(pixels) = self.window.pixels(size) else {
            return arriving.ignore(number);
        };
        let (mailbox, bytes) = (&self.feed.mailbox, &mut self.bytes);
        let mut scan = ArrivingScan::new(number, &head, arriving, mailbox, bytes);
        let result = self.strips.decode(&head, &mut scan, pixels, size);
        let Some(frame) = scan.into_frame() else {
            return;
        };
        match result {
            Ok(()) => self.ways.record(true, frame.last_arrival()),
            Err(_) if frame.number() == number => self.ways.record_failure(),
            Err(_) => {}
        }
        self.accept(frame);
        self.decoded = (result.is_ok() && self.is_fresh).then_some(size);
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
            self.window.follow_pointer(false);
            self.first_picture(size);
        }
        self.picture = size;
        self.decoded = None;
        self.dirty = true;
    }

    /// Fills the gaps of a frame with what is on the screen, and counts it; false if nothing of it
    /// can be shown.
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
        if self.window.is_full_screen() {
            self.is_unsized = true;
        } else if self.window.size() == (FIRST_SIZE.0.into(), FIRST_SIZE.1.into()) {
            self.resize_to(picture);
        }
    }

    fn resize_to(&mut self, picture: (usize, usize)) {
        let (width, height) = first_size(picture, self.options.scale, self.window.screen_size());
        if let Err(error) = self.window.resize(width, height) {
            tracing::debug!(%error, "cannot resize the window");
        }
    }

    /// The window may have begun or ceased to fill the screen.
    fn state_changed(&mut self) {
        self.window.note_state();
        self.pointer_moved = Instant::now();
        if self.is_unsized && !self.window.is_full_screen() {
            self.is_unsized = false;
            self.resize_to(self.picture);
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
            // Before the first picture the lobby says what there is to say.
            if self.current.is_some() {
                self.say(text);
            }
        }
        if self.message.as_ref().is_some_and(|(_, end)| now >= *end) {
            self.message = None;
            self.dirty = true;
        }
        self.dirty |= self.signal.has_changed(now);
        let rests = now.saturating_duration_since(self.pointer_moved) >= POINTER;
        self.window.hide_pointer(rests);
        self.listen();
    }

    /// Takes what there is to say or to choose from before the first frame.
    fn listen(&mut self) {
        if self.current.is_some() || !self.chooser.update(self.feed.lobby.waiting()) {
            return;
        }
        self.window.follow_pointer(self.is_choosing());
        self.show_figures();
        self.dirty = true;
    }

    fn is_choosing(&self) -> bool {
        self.current.is_none() && self.chooser.is_choosing()
    }

    fn show_figures(&mut self) {
        self.name = printable((self.feed.name)());
        let figures = self.meter.figures();
        let title = match (self.signal.notice(&self.name), self.chooser.title()) {
            _ if self.frozen => format!("{} - frozen", self.name),
            (_, Some(title)) if self.current.is_none() => format!("{} - {title}", self.name),
            (Some(notice), _) => notice,
            (None, _) => figures.title(&self.name),
        };
        if title != self.title {
            if let Err(error) = self.window.set_title(&title) {
                tracing::debug!(%error, "cannot set the title");
            }
            self.title = title;
        }
        self.rows = figures.rows();
        // While frames come, the next one shows them.
        self.dirty |= self.figures && (self.frozen || self.signal.is_quiet(Instant::now()));
    }

    fn say(&mut self, text: String) {
        self.message = Some((text, Instant::now() + MESSAGE));
        self.dirty = true;
    }

    /// Draws all there is to see, in the window's present size; later, if the X server still reads
    /// what was drawn before.
    fn draw(&mut self) -> Result<(), WindowError> {
        let size = self.window.size();
        let Some(pixels) = self.window.pixels(size) else {
            return Ok(());
        };
        self.dirty = false;
        let is_decoded = self.decoded.take() == Some(size);
        let current = self.current.as_deref();
        match current {
            _ if is_decoded => {}
            Some(frame) => {
                decode(&mut self.decoder, &mut self.strips, frame, pixels, size);
                if self.is_fresh && frame.is_whole() {
                    self.ways.record(false, frame.last_arrival());
                }
            }
            None => pixels.fill(0),
        }
        let mut canvas = self.overlay.canvas(pixels, size);
        if current.is_none() && !self.help {
            self.chooser.draw(&mut canvas);
        }
        if self.frozen {
            canvas.frozen("frozen");
        }
        if self.help {
            canvas.help("Keys", KEYS);
        }
        if self.figures && current.is_some() {
            let rows: Vec<Row<'_>> = self
                .rows
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            canvas.panel(&self.name, &rows);
        }
        if let Some(notice) = self.signal.notice(&self.name) {
            canvas.notice(&notice, (self.feed.reason)().as_deref());
        }
        if let Some((text, _)) = &self.message {
            canvas.message(text);
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
                Input::State => self.state_changed(),
                Input::Changed => self.dirty = true,
                Input::Closed => self.quit = true,
                Input::Lost => return Err(WindowError::Lost),
            }
        }
        Ok(())
    }

    fn answer_mouse(&mut self, input: Input) {
        if let Input::Pointer(_) = input {
            self.pointer_moved = Instant::now();
        }
        if !self.takes_choice() {
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

    /// Whether the list is seen: the list of keys takes its place.
    fn takes_choice(&self) -> bool {
        self.is_choosing() && !self.help
    }

    fn has_just_chosen(&self) -> bool {
        self.chosen.is_some_and(|at| at.elapsed() < CHOOSING)
    }

    fn answer(&mut self, key: Key) {
        if self.takes_choice() {
            let answer = self.chooser.press(key);
            if self.follow(answer) {
                return;
            }
        }
        match key {
            Key::Char('h' | '?') => self.toggle_help(),
            Key::Escape if self.help => self.toggle_help(),
            // What fills the screen must be easy to get out of.
            Key::Escape if self.window.is_full_screen() => self.toggle_full_screen(),
            Key::Char('q') | Key::Escape => self.quit = true,
            Key::Char('f') | Key::F11 => self.toggle_full_screen(),
            Key::Char('s') => self.save(),
            Key::Char('i') => {
                self.figures = !self.figures;
                self.dirty = true;
            }
            Key::Char(' ') if self.current.is_some() => {
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

    fn toggle_help(&mut self) {
        self.help = !self.help;
        self.dirty = true;
    }

    fn toggle_full_screen(&mut self) {
        match self.window.toggle_full_screen() {
            Ok(()) => self.state_changed(),
            Err(error) => self.say(format!("no full screen: {error}")),
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
                self.say(without_codes(error));
            }
        }
    }
}

/// Decodes a frame that is all there.
fn decode<T: Frame>(
    decoder: &mut Decoder,
    strips: &mut StripDecoder,
    frame: &T,
    pixels: &mut [u32],
    size: (usize, usize),
) {
    if let Some(mut picture) = frame.picture().filter(|_| frame.is_whole()) {
        let head = Head::of(&picture);
        if strips.is_worth_while(&head, size)
            && strips
                .decode(&head, &mut picture.scan, pixels, size)
                .is_ok()
        {
            return;
        }
    }
    match decoder.decode(frame.jpeg(), pixels, size) {
        Ok(decoded) => {
            if let Some(warning) = decoded.warning {
                tracing::debug!(%warning, "a frame is damaged");
            }
        }
        Err(error) => tracing::debug!(%error, "a frame cannot be shown"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
