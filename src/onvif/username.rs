//! WS-UsernameToken with a digest (OASIS Web Services Security UsernameToken Profile 1.0, §3.1):
//! logging in by SOAP's header. HTTP's own Digest is elsewhere.
//!
//! A digest is valid once, within five minutes of the time that it states, by this machine's clock.
//! Clients whose clock is wrong first ask for this machine's time (GetSystemDateAndTime needs no
//! login) and use that.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::xml::{Element, SECURITY};

/// How many seconds a token's time may differ from this machine's.
const WINDOW: i64 = 300;
/// Most tokens remembered as used.
const MOST_USED: usize = 4096;
/// The only kind of password accepted: the other one is the password in plain text.
const DIGEST: &str = "#PasswordDigest";

type Sha1Digest = [u8; 20];

/// The login in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsernameToken {
    /// The user's name.
    pub name: String,
    digest: Vec<u8>,
    nonce: Vec<u8>,
    created: String,
}

/// Why a token is not accepted. Only a client that knows the password is told the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such user, or the password is another one.
    #[error("wrong user name or password")]
    Wrong,
    /// The token's time is too far from this machine's.
    #[error(
        "the token's time is more than five minutes off; GetSystemDateAndTime gives this device's"
    )]
    Time,
    /// It has been used before.
    #[error("this token has been used before")]
    Used,
}

impl UsernameToken {
    /// The token in SOAP's header. Missing parts are empty, and match no password.
    pub(super) fn of(header: &Element) -> Option<UsernameToken> {
        let mut blocks = header.children.iter();
        let security = blocks.find(|block| block.is(SECURITY, "Security"))?;
        let token = security.child("UsernameToken")?;
        let text = |name| token.text_of(name).unwrap_or_default();
        let bytes = |name| STANDARD.decode(text(name)).unwrap_or_default();
        let kind = token.child("Password").and_then(|p| p.attribute("Type"));
        let is_digest = kind.is_some_and(|kind| kind.ends_with(DIGEST));
        Some(UsernameToken {
            name: text("Username").to_owned(),
            digest: match is_digest {
                true => bytes("Password"),
                false => Vec::new(),
            },
            nonce: bytes("Nonce"),
            created: text("Created").to_owned(),
        })
    }

    /// §3.1: Password_Digest = Base64 ( SHA-1 ( nonce + created + password ) ).
    fn expected(&self, password: &str) -> Sha1Digest {
        Sha1::new()
            .chain_update(&self.nonce)
            .chain_update(&self.created)
            .chain_update(password)
            .finalize()
            .into()
    }

    /// The time it states, in seconds since 1970.
    fn time(&self) -> Option<i64> {
        let zoned = DateTime::parse_from_rfc3339(&self.created);
        // An xsd:dateTime may lack a time zone.
        let plain = || NaiveDateTime::parse_from_str(&self.created, "%Y-%m-%dT%H:%M:%S%.f");
        match zoned {
            Ok(time) => Some(time.timestamp()),
            Err(_) => Some(plain().ok()?.and_utc().timestamp()),
        }
    }
}

/// The tokens that have been used.
#[derive(Debug, Default)]
pub struct Used {
    /// Ordered by the time that they state.
    tokens: BTreeSet<(i64, Sha1Digest)>,
    /// Tokens up to this time have been forgotten to make room.
    forgotten: Option<i64>,
}

impl Used {
    /// Checks that the sender of `token` knows `password`, that of the user it names (`None` if
    /// there is no such user). A token is accepted only once. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The token is not accepted.
    pub fn check(
        &mut self,
        now: i64,
        token: &UsernameToken,
        password: Option<&str>,
    ) -> Result<(), Refused> {
        let expected = token.expected(password.unwrap_or_default());
        let is_right = bool::from(token.digest.ct_eq(&expected));
        if !is_right || password.is_none() {
            return Err(Refused::Wrong);
        }
        let time = token.time().ok_or(Refused::Time)?;
        if time.abs_diff(now) > WINDOW as u64 {
            return Err(Refused::Time);
        }
        self.take(now, time, expected)
    }

    fn take(&mut self, now: i64, time: i64, digest: Sha1Digest) -> Result<(), Refused> {
        // Older ones are refused because of their time.
        self.tokens = self.tokens.split_off(&(now - WINDOW, [0; 20]));
        // Unless the clock has been set back since.
        self.forgotten = self.forgotten.filter(|&time| time <= now + WINDOW);
        if self.forgotten.is_some_and(|forgotten| time <= forgotten) {
            return Err(Refused::Used);
        }
        if !self.tokens.insert((time, digest)) {
            return Err(Refused::Used);
        }
        if self.tokens.len() > MOST_USED {
            self.forgotten = self.tokens.pop_first().map(|(time, _)| time);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onvif::xml;

    /// 2026-11-28T02:00:00Z.
    const NOW: i64 = 1_795_831_200;

    fn header(kind: &str, password: &str, nonce: &str, created: &str) -> Element {
        let xml = format!(
            "<Header><w:Security xmlns:w='{SECURITY}'><w:UsernameToken><w:Username>viewer</w:Username>\
             <w:Password Type='{kind}'>{password}</w:Password><w:Nonce>{nonce}</w:Nonce>\
             <Created>{created}</Created></w:UsernameToken></w:Security></Header>"
        );
        xml::read(xml.as_bytes()).unwrap()
    }

    /// A token of a user with the password "secret".
    fn token(nonce: &str, created: &str) -> UsernameToken {
        let mut token = UsernameToken {
            name: "viewer".to_owned(),
            digest: Vec::new(),
            nonce: nonce.as_bytes().to_vec(),
            created: created.to_owned(),
        };
        token.digest = token.expected("secret").to_vec();
        token
    }

    fn at(seconds: i64) -> String {
        DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339()
    }

    #[test]
    fn the_digest_is_that_of_the_specification() {
        // ONVIF Application Programmer's Guide §6.1.1.3 has this example.
        let header = header(
            "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest",
            "tuOSpGlFlIXsozq4HFNeeGeFLEI=",
            "LKqI6G/AikKCQrN0zqZFlg==",
            "2010-09-16T07:50:45Z",
        );
        let token = UsernameToken::of(&header).unwrap();
        let then = DateTime::parse_from_rfc3339("2010-09-16T07:50:45Z").unwrap();
        let mut used = Used::default();
        let checked = used.check(then.timestamp(), &token, Some("userpassword"));
        assert_eq!(checked, Ok(()));
    }

    #[test]
    fn other_passwords_and_users_are_refused() {
        let mut used = Used::default();
        let token = token("1", &at(NOW));
        let wrong = Err(Refused::Wrong);
        assert_eq!(used.check(NOW, &token, Some("Secret")), wrong);
        assert_eq!(used.check(NOW, &token, None), wrong);
        let nobody = UsernameToken {
            digest: token.expected("").to_vec(),
            ..token.clone()
        };
        assert_eq!(used.check(NOW, &nobody, None), wrong);
        assert_eq!(used.check(NOW, &token, Some("secret")), Ok(()));
    }

    #[test]
    fn what_is_missing_matches_no_password() {
        for (kind, password) in [
            ("x#PasswordText", "secret"),
            ("", "secret"),
            ("x#PasswordDigest", "no base64!"),
        ] {
            let token = UsernameToken::of(&header(kind, password, "", "")).unwrap();
            let refused = Used::default().check(NOW, &token, Some("secret"));
            assert_eq!(refused, Err(Refused::Wrong), "{kind} {password}");
        }
        let other = xml::read(b"<Header><Security><UsernameToken/></Security></Header>").unwrap();
        assert_eq!(UsernameToken::of(&other), None);
    }

    #[test]
    fn a_token_is_good_once() {
        let mut used = Used::default();
        let first = token("1", &at(NOW));
        let check =
            |used: &mut Used, now, token: &UsernameToken| used.check(now, token, Some("secret"));
        assert_eq!(check(&mut used, NOW, &first), Ok(()));
        assert_eq!(check(&mut used, NOW + 1, &first), Err(Refused::Used));
        assert_eq!(check(&mut used, NOW, &token("2", &at(NOW))), Ok(()));
        assert_eq!(check(&mut used, NOW + WINDOW, &first), Err(Refused::Used));
        assert_eq!(
            check(&mut used, NOW + WINDOW + 1, &first),
            Err(Refused::Time)
        );
        assert!(used.tokens.len() == 2);
        check(&mut used, NOW + 900, &token("3", &at(NOW + 900))).unwrap();
        assert_eq!(used.tokens.len(), 1);
    }

    #[test]
    fn only_a_token_of_this_time_is_good() {
        let far = [
            "",
            "yesterday",
            "2026-11-28",
            "026-11-28T02:00:00Z",
            "2026-11-28T03:00:00Z",
            "2026-11-28T01:54:59Z",
        ];
        for created in far {
            let refused = Used::default().check(NOW, &token("1", created), Some("secret"));
            assert_eq!(refused, Err(Refused::Time), "{created}");
        }
        for created in [
            "2026-11-28T02:00:00Z",
            "2026-11-28T02:04:59.9Z",
            "2026-11-28T01:55:00",
            "2026-11-28T04:00:00+02:00",
        ] {
            let checked = Used::default().check(NOW, &token("1", created), Some("secret"));
            assert_eq!(checked, Ok(()), "{created}");
        }
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_is_refused() {
        let mut used = Used::default();
        let first = token("first", &at(NOW - 10));
        used.check(NOW, &first, Some("secret")).unwrap();
        for n in 0..MOST_USED {
            let token = token(&n.to_string(), &at(NOW));
            used.check(NOW, &token, Some("secret")).unwrap();
        }
        assert_eq!(used.tokens.len(), MOST_USED);
        assert_eq!(used.check(NOW, &first, Some("secret")), Err(Refused::Used));
        // The clock is set back: what was forgotten is in the future now.
        let earlier = token("1", &at(NOW - 3600));
        assert_eq!(used.check(NOW - 3600, &earlier, Some("secret")), Ok(()));
    }
}
