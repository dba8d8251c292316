//! Key codes to what is printed on the keys: X11 protocol, "Keyboards" and appendix A. Not a way to
//! type text.

use x11rb::connection::Connection;
use x11rb::errors::ReplyError;
use x11rb::protocol::xproto::{ConnectionExt as _, KeyButMask, KeyPressEvent, KeyReleaseEvent};
use x11rb::rust_connection::RustConnection;

use crate::display::input::Key;

const BACKSPACE: u32 = 0xff08;
const ESCAPE: u32 = 0xff1b;
const F11: u32 = 0xffc8;
const RETURN: u32 = 0xff0d;
const KEYPAD_ENTER: u32 = 0xff8d;
const HOME: u32 = 0xff50;
const UP: u32 = 0xff52;
const DOWN: u32 = 0xff54;
const PAGE_UP: u32 = 0xff55;
const PAGE_DOWN: u32 = 0xff56;
const END: u32 = 0xff57;
/// The keypad has keys of its own for these, this far above the others.
const KEYPAD: u32 = 0x45;
const KEYPAD_END: u32 = END + KEYPAD;
const KEYPAD_HOME: u32 = HOME + KEYPAD;
const KEYPAD_UP: u32 = UP + KEYPAD;
const KEYPAD_DOWN: u32 = DOWN + KEYPAD;
const KEYPAD_PAGE_UP: u32 = PAGE_UP + KEYPAD;
const KEYPAD_PAGE_DOWN: u32 = PAGE_DOWN + KEYPAD;

/// The keyboard as it is laid out at present.
#[derive(Debug)]
pub(super) struct Keyboard {
    /// The code of the first key.
    first: u8,
    /// Symbols of a key.
    each: usize,
    symbols: Vec<u32>,
    /// The key that went up last, and when.
    released: Option<(u8, u32)>,
}

impl Keyboard {
    /// Asks the server for it.
    pub(super) fn new(x: &RustConnection) -> Result<Keyboard, ReplyError> {
        let (first, last) = (x.setup().min_keycode, x.setup().max_keycode);
        let count = last.saturating_sub(first).saturating_add(1);
        let reply = x.get_keyboard_mapping(first, count)?.reply()?;
        Ok(Keyboard {
            first,
            each: reply.keysyms_per_keycode.into(),
            symbols: reply.keysyms,
            released: None,
        })
    }

    /// The key that went down; `None` if lancam has no use for it, or it was down before: a key
    /// that is held goes up and down again at the same moment.
    pub(super) fn press(&mut self, event: &KeyPressEvent) -> Option<Key> {
        if self.released.take() == Some((event.detail, event.time)) {
            return None;
        }
        let with_others = KeyButMask::CONTROL | KeyButMask::MOD1 | KeyButMask::MOD4;
        if u16::from(event.state) & u16::from(with_others) != 0 {
            // Such as Alt+F4, which is the window manager's.
            return None;
        }
        self.key(event.detail, event.state.contains(KeyButMask::SHIFT))
    }

    /// A key went up.
    pub(super) fn release(&mut self, event: &KeyReleaseEvent) {
        self.released = Some((event.detail, event.time));
    }

    /// Latin letters where a key has any, whatever other alphabet stands first.
    fn key(&self, code: u8, is_shifted: bool) -> Option<Key> {
        let start = usize::from(code.checked_sub(self.first)?) * self.each;
        let symbols = self.symbols.get(start..start + self.each)?;
        let shifted = symbols.get(1).filter(|_| is_shifted);
        shifted
            .into_iter()
            .chain(symbols)
            .find_map(|&symbol| key_of(symbol))
    }
}

/// Latin-1 symbols are the characters themselves.
fn key_of(symbol: u32) -> Option<Key> {
    match symbol {
        0x20..=0x7e => char::from_u32(symbol).map(|c| Key::Char(c.to_ascii_lowercase())),
        BACKSPACE => Some(Key::Backspace),
        ESCAPE => Some(Key::Escape),
        F11 => Some(Key::F11),
        RETURN | KEYPAD_ENTER => Some(Key::Enter),
        HOME | KEYPAD_HOME => Some(Key::Home),
        UP | KEYPAD_UP => Some(Key::Up),
        DOWN | KEYPAD_DOWN => Some(Key::Down),
        PAGE_UP | KEYPAD_PAGE_UP => Some(Key::PageUp),
        PAGE_DOWN | KEYPAD_PAGE_DOWN => Some(Key::PageDown),
        END | KEYPAD_END => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyboard() -> Keyboard {
        Keyboard {
            first: 8,
            each: 4,
            symbols: vec![
                ESCAPE,
                0,
                0,
                0, // 8
                0x71,
                0x51,
                0,
                0, // 9: q Q
                0x6ca,
                0x6ea,
                0x71,
                0x51, // 10: Cyrillic short i, then q
                0x2f,
                0x3f,
                0,
                0, // 11: / ?
                UP,
                0,
                0,
                0, // 12
                KEYPAD_ENTER,
                0,
                0,
                0, // 13
            ],
            released: None,
        }
    }

    fn event(code: u8, time: u32, state: KeyButMask) -> KeyPressEvent {
        KeyPressEvent {
            response_type: 2,
            detail: code,
            sequence: 0,
            time,
            root: 0,
            event: 0,
            child: 0,
            root_x: 0,
            root_y: 0,
            event_x: 0,
            event_y: 0,
            state,
            same_screen: true,
        }
    }

    #[test]
    fn keys_are_what_is_printed_on_them() {
        let mut keyboard = keyboard();
        let none = KeyButMask::from(0u16);
        let mut press = |code, state| keyboard.press(&event(code, 0, state));
        assert_eq!(press(8, none), Some(Key::Escape));
        assert_eq!(press(9, none), Some(Key::Char('q')));
        assert_eq!(press(9, KeyButMask::SHIFT), Some(Key::Char('q')));
        assert_eq!(press(10, none), Some(Key::Char('q')));
        assert_eq!(press(11, none), Some(Key::Char('/')));
        assert_eq!(press(11, KeyButMask::SHIFT), Some(Key::Char('?')));
        assert_eq!(press(12, none), Some(Key::Up));
        assert_eq!(press(13, none), Some(Key::Enter));
        assert_eq!(press(9, KeyButMask::MOD1), None);
        assert_eq!(press(7, none), None);
        assert_eq!(press(255, none), None);
    }

    #[test]
    fn a_held_key_counts_once() {
        let mut keyboard = keyboard();
        let none = KeyButMask::from(0u16);
        assert!(keyboard.press(&event(9, 100, none)).is_some());
        keyboard.release(&event(9, 600, none));
        assert!(keyboard.press(&event(9, 600, none)).is_none());
        keyboard.release(&event(9, 640, none));
        assert!(keyboard.press(&event(9, 700, none)).is_some());
    }
}
