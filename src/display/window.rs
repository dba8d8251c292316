//! The window: takes the newest frame from the mailbox, decodes it into the window's pixels, draws
//! the overlay, and answers keys. A thread of its own, which sleeps until a frame or a key is
//! there, and which is left behind where the X server does not answer. Before the first frame, and
//! while the user wants the list of streams, it shows what `chooser` draws.
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
use super::help::{KEYS, LIST_KEYS};
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
/// The window's size before the first frame says better, where text has its usual size.
const FIRST_SIZE: (usize, usize) = (640, 360);
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
    /// How large text is on this desktop.
    scale: f32,
    /// The size that was asked for last; the user may have changed it since.
    own_size: (usize, usize),
    /// It filled the screen when the first picture came: what size it has otherwise is still open.
    is_unsized: bool,
    pointer_moved: Instant,
    shown: u64,
    chooser: Chooser,
    /// The list of streams is in the picture's place.
    is_covered: bool,
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
        let scale = screen.scale();
        let first = fitting(scaled(FIRST_SIZE, scale), screen.size());
        let window = Window::open(
            screen,
            &name,
            first,
            options.full_screen,
            move || mailbox.nudge(),
            Arc::new(move |captured, now| delay.record_since(captured, now)),
        )?;
        let now = Instant::now();
        let meter = Meter::new(now, feed.stats.snapshot());
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
            scale,
            own_size: first,
            is_unsized: false,
            pointer_moved: now,
            shown: 0,
            chooser: Chooser::default(),
            is_covered: false,
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
        let has_picture = self.current.is_some() && self.feed.lobby.admits(number);
        let can_follow = has_picture && !self.is_held() && self.strips.accepts(&head);
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
        if !self.feed.lobby.admits(frame.number()) {
            return self.feed.mailbox.recycle(frame);
        }
        self.forget_former();
        self.signal.frame(Instant::now());
        // Who wants to see one picture, or the list, misses none of the others.
        if self.is_held() || !frame.is_whole() && !self.fill(&mut frame) {
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

    /// Whether frames that come change nothing on the screen.
    fn is_held(&self) -> bool {
        self.frozen || self.is_covered
    }

    /// Lets go of the picture if it is of another stream than the one that is meant by now.
    fn forget_former(&mut self) {
        let lobby = &self.feed.lobby;
        let Some(frame) = self.current.take_if(|frame| !lobby.admits(frame.number())) else {
            return;
        };
        self.feed.mailbox.recycle(frame);
        self.signal = Signal::new();
        self.meter = Meter::new(Instant::now(), self.feed.stats.snapshot());
        (self.is_fresh, self.frozen) = (false, false);
        self.picture = (0, 0);
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

    /// Gives the window the size of a stream's first picture, unless the user has chosen one.
    fn first_picture(&mut self, picture: (usize, usize)) {
        if self.window.is_full_screen() {
            self.is_unsized = true;
        } else if self.window.size() == self.own_size {
            self.resize_to(picture);
        }
    }

    fn resize_to(&mut self, picture: (usize, usize)) {
        let screen = self.window.screen_size();
        let size = match self.options.scale {
            Some(scale) => scaled(picture, scale),
            // In whole steps, so that the picture stays as sharp as it is.
            None => fitting(scaled(picture, self.scale.floor().max(1.0)), screen),
        };
        self.own_size = size;
        let (width, height) = size;
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

    /// Takes what there is to say or to choose from where there is no picture.
    fn listen(&mut self) {
        self.forget_former();
        let lobby = &self.feed.lobby;
        let wants_list = lobby.wants_list();
        let has_room = self.current.is_none() || wants_list;
        let is_new = has_room && self.chooser.update(lobby.waiting());
        let is_covered = wants_list && self.chooser.is_list();
        if !is_new && is_covered == self.is_covered {
            return;
        }
        self.is_covered = is_covered;
        self.window.follow_pointer(self.is_choosing());
        self.show_figures();
        self.dirty = true;
    }

    /// Whether there is no picture, but what the lobby says.
    fn is_waiting(&self) -> bool {
        self.current.is_none() || self.is_covered
    }

    fn is_choosing(&self) -> bool {
        self.is_waiting() && self.chooser.is_choosing()
    }

    fn show_figures(&mut self) {
        self.name = printable((self.feed.name)());
        let figures = self.meter.figures();
        let title = match (self.signal.notice(&self.name), self.chooser.title()) {
            (_, Some(title)) if self.is_waiting() => format!("{} - {title}", self.name),
            _ if self.frozen => format!("{} - frozen", self.name),
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
        let current = self.current.as_deref().filter(|_| !self.is_covered);
        match current {
            Some(_) if is_decoded => {}
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
        if self.frozen && current.is_some() {
            canvas.frozen("frozen");
        }
        if self.help {
            let is_list = current.is_none() && self.chooser.is_choosing();
            canvas.help("Keys", if is_list { LIST_KEYS } else { KEYS });
        }
        if let Some((text, _)) = &self.message {
            canvas.message(text);
        }
        if let Some(notice) = self.signal.notice(&self.name).filter(|_| current.is_some()) {
            canvas.notice(&notice, (self.feed.reason)().as_deref());
        }
        if self.figures && current.is_some() {
            let rows: Vec<Row<'_>> = self
                .rows
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            canvas.panel(&self.name, &rows);
        }
        let is_fresh = current.is_some() && std::mem::take(&mut self.is_fresh);
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
            Key::Escape if self.feed.lobby.wants_list() => self.toggle_list(),
            Key::Backspace => self.toggle_list(),
            // What fills the screen must be easy to get out of.
            Key::Escape if self.window.is_full_screen() => self.toggle_full_screen(),
            Key::Char('q') | Key::Escape => self.quit = true,
            Key::Char('f') | Key::F11 => self.toggle_full_screen(),
            // What these do would not be seen.
            Key::Char('s' | 'i' | ' ') if self.is_covered => {}
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

    /// Asks for the list of streams, or for what was there before.
    fn toggle_list(&mut self) {
        let wants_list = self.feed.lobby.wants_list();
        if wants_list || !self.is_choosing() {
            self.feed.lobby.want_list(!wants_list);
            self.help = false;
            self.dirty = true;
        }
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

/// A size so many times as large.
fn scaled(size: (usize, usize), scale: f32) -> (usize, usize) {
    // A cast from float saturates.
    let side = |pixels: usize| ((pixels as f32 * scale).round() as usize).max(1);
    (side(size.0), side(size.1))
}

/// The size, or what fits on the screen.
fn fitting(size: (usize, usize), screen: (usize, usize)) -> (usize, usize) {
    // Room for the window's frame and the desktop's bars.
    let room = (screen.0 * 9 / 10, screen.1 * 9 / 10);
    if size.0 <= room.0 && size.1 <= room.1 {
        return size;
    }
    let rect = fit(size, room);
    (rect.width.max(1), rect.height.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_size_fits_on_the_screen() {
        let screen = (1920, 1080);
        assert_eq!(fitting((1280, 720), screen), (1280, 720));
        assert_eq!(fitting((3840, 2160), screen), (1728, 972));
        assert_eq!(fitting((1, 1), (1, 1)), (1, 1));
        assert_eq!(scaled((1280, 720), 0.5), (640, 360));
        assert_eq!(scaled((1280, 720), 2.0), (2560, 1440));
        assert_eq!(scaled((1, 1), 0.001), (1, 1));
    }
}
