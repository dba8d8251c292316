//! Who may connect: users who log in by Digest (RFC 7616), the same ones for the page, RTSP and
//! ONVIF; how fast passwords may be guessed; and how many connections there may be.
//!
//! Not a server itself: it sees a request's method, address and header, and sends nothing.

mod digest;
mod guesses;
mod places;

use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use digest::Asked;
pub(crate) use guesses::{Guesses, network};
pub(crate) use places::{Place, Places};

use self::digest::{Algorithm, Answer, Nonces};
use crate::config::Users;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It must log in: answer with [`Access::challenges`].
    Login {
        /// The password was right but the challenge too old: the client can retry without asking
        /// its user.
        stale: bool,
    },
    /// The name or password is wrong: answer as for `Login`, but only after this delay.
    Wrong(Duration),
    /// Too many wrong passwords came from this address; this one was not checked.
    TooMany,
}

/// The users, the challenges and the count of wrong guesses.
#[derive(Debug)]
pub(crate) struct Access {
    users: Users,
    nonces: Nonces,
    guesses: Guesses,
}

impl Access {
    pub(crate) fn new(users: Users) -> Access {
        Access {
            users,
            nonces: Nonces::new(),
            guesses: Guesses::default(),
        }
    }

    /// Whether everybody may watch.
    pub(crate) fn is_open(&self) -> bool {
        self.users.is_empty()
    }

    /// A user's password, to check a login other than by Digest; the caller counts wrong ones among
    /// the [`Self::guesses`].
    pub(crate) fn password(&self, user: &str) -> Option<&str> {
        self.users.password(user)
    }

    /// The count of wrong passwords from each address.
    pub(crate) fn guesses(&self) -> &Guesses {
        &self.guesses
    }

    /// Whether the request may be answered.
    pub(crate) fn check(&self, now: Instant, asked: Asked<'_>) -> Result<(), Denied> {
        if self.is_open() {
            return Ok(());
        }
        let Some(answer) = asked.authorization.and_then(Answer::parse) else {
            return Err(Denied::Login { stale: false });
        };
        if self.guesses.are_too_many(now, asked.from) {
            return Err(Denied::TooMany);
        }
        let password = self.users.password(&answer.user);
        // An unknown name takes the same work, so that timing does not reveal who exists.
        let is_right = answer.is_right(password.unwrap_or_default(), asked) && password.is_some();
        match (
            is_right,
            self.nonces.is_fresh(now, asked.from, &answer.nonce),
        ) {
            (true, true) => Ok(()),
            (true, false) => Err(Denied::Login { stale: true }),
            // This counts even if the challenge is old or forged; otherwise such challenges could
            // be used to guess at any speed.
            (false, _) => Err(Denied::Wrong(self.guesses.wrong(now, asked.from))),
        }
    }

    /// The values of the WWW-Authenticate headers that ask a client to log in, one for each
    /// algorithm. Clients that know one challenge only take the first or the last: SHA-256 is
    /// preferred (RFC 7616 §3.7), and MD5 is all that most players know.
    pub(crate) fn challenges(&self, now: Instant, from: IpAddr, stale: bool) -> [String; 2] {
        let nonce = self.nonces.make(now, from);
        [Algorithm::Sha256, Algorithm::Md5].map(|a| digest::challenge(a, &nonce, stale))
    }
}

#[cfg(test)]
mod tests;
