//! The thread that hears what the X server says: keys, sizes, and when a picture is on the screen.
//! It alone waits for the server's events; the window's thread sends requests meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};
use std::{io, thread};

use x11rb::connection::Connection;
use x11rb::errors::ConnectionError;
use x11rb::protocol::Event;
use x11rb::protocol::present::{CompleteNotifyEvent, ConnectionExt as _};
use x11rb::protocol::shm;
use x11rb::protocol::xproto::{
    ButtonPressEvent, ClientMessageEvent, ConnectionExt as _, EventMask, MotionNotifyEvent,
};
use x11rb::rust_connection::RustConnection;

use super::atoms::Atoms;
use super::keyboard::Keyboard;
use crate::clock::{Mono, Ntp};
use crate::display::input::{Input, OnScreen, Point};

/// Two presses of the button within this time, in ms, are one double click.
const DOUBLE_CLICK: u32 = 400;
/// How often it is told that the pointer moves, in ms, unless the window follows it.
const MOVES: u32 = 200;
/// The numbers of the mouse's buttons; a step of its wheel is a press of one.
const LEFT: u8 = 1;
const WHEEL_UP: u8 = 4;
const WHEEL_DOWN: u8 = 5;
/// A monitor begins its next picture sooner than that; only a window that nobody sees is told
/// later.
const LATEST_VBLANK: Duration = Duration::from_millis(100);

/// What both threads know of the window.
pub(super) struct State {
    /// Width in the upper half, height in the lower.
    size: AtomicU32,
    slots: [Slot; 2],
    is_refused: AtomicBool,
    is_followed: AtomicBool,
}

/// A segment on its way to the screen.
#[derive(Default)]
struct Slot {
    id: AtomicU32,
    is_read: AtomicBool,
    /// When its frame was captured; 0: nobody asks.
    captured: AtomicU64,
}

impl State {
    pub(super) fn new(size: (u16, u16)) -> State {
        State {
            size: AtomicU32::new(pack(size)),
            slots: Default::default(),
            is_refused: AtomicBool::new(false),
            is_followed: AtomicBool::new(false),
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        let size = self.size.load(Ordering::Acquire);
        ((size >> 16) as usize, (size & 0xffff) as usize)
    }

    /// Whether the server refuses to read a segment that it took.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Acquire)
    }

    /// Whether each of the pointer's moves is to be told.
    pub(super) fn follow_pointer(&self, is_wanted: bool) {
        self.is_followed.store(is_wanted, Ordering::Relaxed);
    }

    /// Whether the server reads the segment of this number.
    pub(super) fn is_read(&self, number: usize) -> bool {
        self.slots[number].is_read.load(Ordering::Acquire)
    }

    /// From now on, until the server says so, it reads the segment of this number.
    pub(super) fn begin(&self, number: usize, id: shm::Seg, captured: Option<Ntp>) {
        let slot = &self.slots[number];
        slot.id.store(id, Ordering::Relaxed);
        slot.captured
            .store(captured.map_or(0, |at| at.0), Ordering::Relaxed);
        slot.is_read.store(true, Ordering::Release);
    }

    /// The server has read this segment; the capture time of its frame, where the delay is wanted.
    fn end(&self, id: shm::Seg) -> Option<Ntp> {
        let mut slots = self.slots.iter();
        let slot = slots
            .find(|s| s.is_read.load(Ordering::Acquire) && s.id.load(Ordering::Relaxed) == id)?;
        let captured = slot.captured.load(Ordering::Relaxed);
        slot.is_read.store(false, Ordering::Release);
        (captured != 0).then_some(Ntp(captured))
    }

    fn refuse(&self) {
        self.is_refused.store(true, Ordering::Release);
        for slot in &self.slots {
            slot.is_read.store(false, Ordering::Release);
        }
    }
}

fn pack((width, height): (u16, u16)) -> u32 {
    u32::from(width) << 16 | u32::from(height)
}

pub(super) struct Events {
    pub(super) x: Arc<RustConnection>,
    pub(super) window: u32,
    pub(super) root: u32,
    pub(super) atoms: Atoms,
    pub(super) keyboard: Keyboard,
    pub(super) state: Arc<State>,
    /// Whether the server tells when the monitor begins its next picture.
    pub(super) has_vblank: bool,
    pub(super) on_screen: OnScreen,
    pub(super) inputs: Sender<Input>,
    pub(super) wake: Box<dyn Fn() + Send>,
}

impl Events {
    pub(super) fn start(self) -> io::Result<()> {
        let name = "lancam-events".to_owned();
        thread::Builder::new().name(name).spawn(|| self.run())?;
        Ok(())
    }

    fn run(mut self) {
        // The frame that the next vblank shows, and when the server had read it.
        let mut shown: Option<(Ntp, SystemTime)> = None;
        let mut clicked: Option<u32> = None;
        let mut moved: Option<u32> = None;
        loop {
            let event = match self.x.wait_for_event() {
                Ok(event) => event,
                Err(error) => {
                    tracing::debug!(%error, "the X server is gone");
                    return self.say(Input::Lost);
                }
            };
            match event {
                Event::ShmCompletion(event) => {
                    let captured = self.state.end(event.shmseg);
                    (self.wake)();
                    let now = SystemTime::now();
                    match captured {
                        Some(captured) if self.has_vblank => {
                            // Not told yet of the one before: it was on no screen.
                            shown = Some((captured, now));
                            drop(self.ask_for_vblank());
                        }
                        Some(captured) => (self.on_screen)(captured, now),
                        None => {}
                    }
                }
                Event::PresentCompleteNotify(event) => {
                    if let Some((captured, read)) = shown.take() {
                        (self.on_screen)(captured, seen_at(&event, read));
                    }
                }
                Event::KeyPress(event) => {
                    if let Some(key) = self.keyboard.press(&event) {
                        self.say(Input::Key(key));
                    }
                }
                Event::KeyRelease(event) => self.keyboard.release(&event),
                Event::ButtonPress(event) => self.button(&event, &mut clicked),
                Event::MotionNotify(event) => self.motion(&event, &mut moved),
                Event::PropertyNotify(event) if event.atom == self.atoms._NET_WM_STATE => {
                    self.say(Input::State);
                }
                Event::Expose(event) if event.count == 0 => self.say(Input::Changed),
                Event::ConfigureNotify(event) if event.window == self.window => {
                    let size = pack((event.width, event.height));
                    if self.state.size.swap(size, Ordering::AcqRel) != size {
                        self.say(Input::Changed);
                    }
                }
                Event::MappingNotify(_) => {
                    if let Ok(keyboard) = Keyboard::new(&self.x) {
                        self.keyboard = keyboard;
                    }
                }
                Event::ClientMessage(event) => drop(self.answer(event)),
                Event::DestroyNotify(event) if event.window == self.window => {
                    return self.say(Input::Closed);
                }
                Event::Error(error) => {
                    tracing::debug!(?error, "the X server refuses a request");
                    if error.extension_name.as_deref() == Some(shm::X11_EXTENSION_NAME) {
                        self.state.refuse();
                    }
                }
                _ => {}
            }
        }
    }

    fn say(&self, input: Input) {
        // The window lives as long as its process cares.
        let _ = self.inputs.send(input);
        (self.wake)();
    }

    fn ask_for_vblank(&self) -> Result<(), ConnectionError> {
        // The next of all (each one divides by 1).
        self.x.present_notify_msc(self.window, 0, 0, 1, 0)?;
        self.x.flush()
    }

    fn button(&self, event: &ButtonPressEvent, before: &mut Option<u32>) {
        match event.detail {
            LEFT => self.say(Input::Click(point(event.event_x, event.event_y))),
            WHEEL_UP => return self.say(Input::WheelUp),
            WHEEL_DOWN => return self.say(Input::WheelDown),
            _ => return,
        }
        let is_double = before.is_some_and(|at| event.time.wrapping_sub(at) <= DOUBLE_CLICK);
        *before = (!is_double).then_some(event.time);
        if is_double {
            self.say(Input::DoubleClick);
        }
    }

    fn motion(&self, event: &MotionNotifyEvent, before: &mut Option<u32>) {
        let is_recent = before.is_some_and(|at| event.time.wrapping_sub(at) < MOVES);
        if is_recent && !self.state.is_followed.load(Ordering::Relaxed) {
            return;
        }
        *before = Some(event.time);
        self.say(Input::Pointer(point(event.event_x, event.event_y)));
    }

    /// What the window manager asks: to close, or whether we still answer.
    fn answer(&self, mut event: ClientMessageEvent) -> Result<(), ConnectionError> {
        let asked = event.data.as_data32()[0];
        if event.type_ != self.atoms.WM_PROTOCOLS || event.window != self.window {
            return Ok(());
        }
        if asked == self.atoms.WM_DELETE_WINDOW {
            self.say(Input::Closed);
        } else if asked == self.atoms._NET_WM_PING {
            event.window = self.root;
            let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
            self.x.send_event(false, self.root, mask, event)?;
            self.x.flush()?;
        }
        Ok(())
    }
}

/// A place in the window; outside of it, above or to the left, the nearest in it.
fn point(x: i16, y: i16) -> Point {
    let inside = |v: i16| usize::try_from(v).unwrap_or(0);
    Point {
        x: inside(x),
        y: inside(y),
    }
}

/// When a picture that the server had read at `read` is seen: with the monitor's next picture.
fn seen_at(vblank: &CompleteNotifyEvent, read: SystemTime) -> SystemTime {
    // Its clock is CLOCK_MONOTONIC, in µs.
    let at = Mono(vblank.ust.saturating_mul(1000)).to_wall();
    match at.duration_since(read) {
        Ok(later) if later <= LATEST_VBLANK => at,
        _ => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_seen_with_the_monitors_next_one() {
        let ms = Duration::from_millis;
        let now = Mono::now();
        let seen = |after_ms: u64, read: Duration| {
            let vblank = CompleteNotifyEvent {
                ust: (now + ms(after_ms)).0 / 1000,
                ..CompleteNotifyEvent::default()
            };
            let read = now.to_wall() + read;
            let later = seen_at(&vblank, read).duration_since(read);
            later.expect("not before it was read").as_millis()
        };
        assert!((8..=10).contains(&seen(12, ms(3))));
        // The window is hidden, or the time is made up.
        assert_eq!(seen(500, ms(0)), 0);
        assert_eq!(seen(0, ms(5)), 0);
    }
}
