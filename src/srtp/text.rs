//! A secret as text that can be read aloud and typed: seven groups of four signs, such as
//! `9K3M-7QXA-…`. The signs are those of Crockford's Base32, which has no letter that looks like a
//! digit. 25.6 of the 28 signs are the secret; the others are a checksum, so that a slip is found
//! when the secret is read and not when a picture fails to come.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keys::Secret;
use super::suite::KEY_LEN;

/// How many secrets a file may have: the one in use, and others while it is changed.
pub const MAX_SECRETS: usize = 4;

const SIGNS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Signs of a secret: 128 bits and 12 of the checksum, 5 in each.
const LEN: usize = 28;
const GROUP: usize = 4;
/// What is hashed before the secret.
const PURPOSE: &[u8] = b"lancam secret 1";

/// Why a text is no secret. It never has the text's signs in it, but for one that is in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// There is none.
    #[error("there is no secret in it")]
    None,
    /// A sign that no secret has.
    #[error("{0:?} is not a sign of a secret: they are digits and letters without I, L, O and U")]
    Sign(char),
    /// Too few or too many signs.
    #[error("it has {0} signs, a secret has {LEN}")]
    Length(usize),
    /// The checksum does not fit.
    #[error("the secret is mistyped: its checksum does not fit")]
    Checksum,
    /// More than [`MAX_SECRETS`].
    #[error("there are more than {MAX_SECRETS} secrets in it")]
    Many,
}

impl Secret {
    /// It as text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bits = self.bits();
        let mut text = Zeroizing::new(String::with_capacity(LEN + LEN / GROUP));
        for i in 0..LEN {
            let separator = if i > 0 && i % GROUP == 0 { "-" } else { "" };
            let sign = SIGNS[usize::from(five(&bits, i))];
            let _ = write!(text, "{separator}{}", char::from(sign));
        }
        text
    }

    /// The secret of a text. Case, spaces and hyphens mean nothing, and O is a 0, I and L a 1.
    ///
    /// # Errors
    /// The text is not that of a secret.
    pub fn from_text(text: &str) -> Result<Secret, InvalidSecret> {
        let mut bits = Zeroizing::new([0; BITS]);
        let mut len = 0;
        for sign in text.chars().filter(|&c| c != '-' && !c.is_whitespace()) {
            let value = value(sign).ok_or(InvalidSecret::Sign(sign))?;
            if len < LEN {
                set_five(&mut bits, len, value);
            }
            len += 1;
        }
        if len != LEN {
            return Err(InvalidSecret::Length(len));
        }
        let secret = Secret::new(*bits.first_chunk().expect("a key and more"));
        match *secret.bits() == *bits {
            true => Ok(secret),
            false => Err(InvalidSecret::Checksum),
        }
    }

    /// The secrets of a file's text, one a line, the one in use first. What is behind a `#` is a
    /// comment.
    ///
    /// # Errors
    /// With the number of the line, from 1, that is not one, or 0 if it is none of them.
    pub fn all_from_text(text: &str) -> Result<Vec<Secret>, (usize, InvalidSecret)> {
        let mut secrets = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            if secrets.len() == MAX_SECRETS {
                return Err((i + 1, InvalidSecret::Many));
            }
            secrets.push(Secret::from_text(line).map_err(|why| (i + 1, why))?);
        }
        match secrets.is_empty() {
            true => Err((0, InvalidSecret::None)),
            false => Ok(secrets),
        }
    }

    /// The secret and its checksum, and four bits of 0.
    fn bits(&self) -> Zeroizing<[u8; BITS]> {
        let mut bits = Zeroizing::new([0; BITS]);
        let hash = Sha256::new()
            .chain_update(PURPOSE)
            .chain_update(self.bytes())
            .finalize();
        bits[..KEY_LEN].copy_from_slice(self.bytes());
        bits[KEY_LEN..].copy_from_slice(&[hash[0], hash[1] & 0xF0]);
        bits
    }
}

/// Bytes that the signs' bits fill.
const BITS: usize = KEY_LEN + 2;

fn value(sign: char) -> Option<u8> {
    let sign = match sign.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        sign => sign,
    };
    let at = SIGNS.iter().position(|&s| char::from(s) == sign)?;
    Some(at as u8)
}

/// The five bits of sign `i`.
fn five(bits: &[u8; BITS], i: usize) -> u8 {
    let (byte, shift) = place(i);
    let pair = u16::from_be_bytes([bits[byte], bits[byte + 1]]);
    (pair >> shift & 31) as u8
}

fn set_five(bits: &mut [u8; BITS], i: usize, value: u8) {
    let (byte, shift) = place(i);
    let pair = (u16::from(value) << shift).to_be_bytes();
    bits[byte] |= pair[0];
    bits[byte + 1] |= pair[1];
}

/// The first of the two bytes that sign `i` is in, and how far it is from their end.
fn place(i: usize) -> (usize, usize) {
    (5 * i / 8, 11 - 5 * i % 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "000G-40R4-0M30-E209-185G-R38E-1X83";

    #[test]
    fn a_secret_reads_as_it_is_written_however_it_is_typed() {
        let secret = Secret::new(std::array::from_fn(|i| i as u8));
        let text = secret.to_text();
        assert_eq!(*text, TEXT);
        let typed = text
            .replace('-', " ")
            .to_lowercase()
            .replace('0', "o")
            .replace('1', "l");
        assert_eq!(Secret::from_text(&typed), Ok(secret.clone()));
        assert_eq!(Secret::from_text(&text.replace('1', "I")), Ok(secret));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_told() {
        let refused = |text: &str| Secret::from_text(text).expect_err("no secret");
        assert_eq!(refused(&TEXT[1..]), InvalidSecret::Length(27));
        assert_eq!(refused(&format!("{TEXT}0")), InvalidSecret::Length(29));
        assert_eq!(refused("000U"), InvalidSecret::Sign('U'));
        assert_eq!(
            refused(&TEXT.replace("E209", "E290")),
            InvalidSecret::Checksum
        );
        assert_eq!(refused(""), InvalidSecret::Length(0));
    }

    #[test]
    fn a_file_has_one_secret_a_line() {
        let file = format!("# The porch's.\n\n{TEXT}  # new\n{TEXT}\n");
        assert_eq!(Secret::all_from_text(&file).map(|all| all.len()), Ok(2));
        let refused = |text: &str| Secret::all_from_text(text).expect_err("not secrets");
        assert_eq!(refused("# none\n"), (0, InvalidSecret::None));
        assert_eq!(
            refused(&format!("{TEXT}\n\nhello")),
            (3, InvalidSecret::Length(5))
        );
        assert_eq!(
            refused(&format!("{TEXT}\n").repeat(5)),
            (5, InvalidSecret::Many)
        );
    }

    #[test]
    fn one_wrong_sign_is_found() {
        let signs = TEXT.replace('-', "");
        let mut missed = Vec::new();
        for (at, right) in signs.bytes().enumerate() {
            for wrong in SIGNS.iter().filter(|&&sign| sign != right) {
                let mut text = signs.clone().into_bytes();
                text[at] = *wrong;
                let text = String::from_utf8(text).expect("ASCII");
                if Secret::from_text(&text).is_ok() {
                    missed.push(text);
                }
            }
        }
        // Of 868; a checksum of 12 bits misses one in 4,096.
        assert!(missed.len() <= 1, "{missed:?}");
    }

    proptest! {
        #[test]
        fn any_secret_comes_back(bytes: [u8; 16]) {
            let secret = Secret::new(bytes);
            prop_assert_eq!(Secret::from_text(&secret.to_text()), Ok(secret));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Secret::all_from_text(&text);
        }
    }
}
