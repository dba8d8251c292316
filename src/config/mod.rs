//! What the user wants, checked: the settings of every stream, read from a RON file or made from
//! the command line. Only the file itself is opened here; whether a camera, an interface or a core
//! exists is left to those who use it.
//!
//! A file is split into keys and texts (`raw`). Flags become the same kind of text and replace the
//! file's; then each text is read by its key's row in the table of settings (`stream`, `kind`,
//! `forms`), and what does not fit together is refused (`resolve`). Mistakes are reported with
//! file, line, column, the key and what is expected ([`ConfigError`]).

pub(crate) mod check;
#[cfg(feature = "send")]
mod describe;
#[cfg(feature = "send")]
mod error;
#[cfg(feature = "send")]
mod forms;
#[cfg(feature = "send")]
mod kind;
#[cfg(feature = "send")]
mod machine;
#[cfg(feature = "send")]
mod raw;
#[cfg(feature = "send")]
mod resolve;
#[cfg(feature = "send")]
mod stream;
mod users;
mod values;

pub use self::users::{Users, UsersError, UsersFrom};
pub use self::values::{
    Adapt, DEFAULT_GROUP, DEFAULT_RTSP, DEFAULT_STATUS, REPAIR_AUTO_MAX, Repair, Services, Status,
    WaitForViewers,
};
#[cfg(feature = "send")]
pub use self::{
    describe::describe,
    error::{ConfigError, Flag, Mistake, Place},
    machine::missing_here,
    resolve::{Config, load, parse},
    stream::{SETTINGS, Setting, Stream},
};
pub use crate::net::Pacing;

#[cfg(all(test, feature = "send"))]
mod tests;
