//! What a viewer does with frames: decode, show in a window, draw the overlay, record.
//! Everything after "a JPEG frame is here"; sockets, packets and threads are not its business.

pub mod arriving;
#[cfg(feature = "view")]
mod chooser;
pub mod decode;
pub mod figures;
#[cfg(feature = "view")]
mod follow;
pub mod help;
#[cfg(feature = "view")]
mod input;
pub mod layout;
pub mod lobby;
pub mod overlay;
mod scale;
#[cfg(feature = "view")]
mod signal;
pub mod strips;
#[cfg(feature = "view")]
pub mod window;
#[cfg(feature = "view")]
mod x11;

use crate::clock::{Mono, Ntp};
use crate::jpeg::Picture;
use crate::jpeg::recode::partial::Concealer;

/// A frame, as the window needs it.
pub trait Frame {
    /// The JPEG, from SOI on, exactly as it would be saved.
    fn jpeg(&self) -> &[u8];

    /// When the sender captured it, on the wall clock; `None` where the stream does not say.
    fn captured(&self) -> Option<Ntp>;

    /// What the JPEG was put together from. `None`: it can only be decoded as a whole.
    fn picture(&self) -> Option<Picture<'_>> {
        None
    }

    /// Under which number it [arrived](arriving::Arriving); later frames have larger numbers.
    fn number(&self) -> u64 {
        0
    }

    /// When the last of it came; `None`: nobody knows.
    fn last_arrival(&self) -> Option<Mono> {
        None
    }

    /// Whether all of it came.
    fn is_whole(&self) -> bool {
        true
    }

    /// Puts what `last` has into the gaps of a frame that is not whole; false if there is nothing
    /// to show.
    fn conceal(&mut self, _last: &Self, _concealer: &mut Concealer) -> bool {
        false
    }
}
