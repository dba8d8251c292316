//! The transforms that there are, and their sizes.

/// Bytes of an AES-128 key.
pub const KEY_LEN: usize = 16;
/// The longest master salt.
pub(super) const MAX_MASTER_SALT: usize = 14;

/// How packets are encrypted and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AEAD_AES_128_GCM, RFC 7714.
    Gcm,
    /// AES_CM_128_HMAC_SHA1_80, RFC 3711 and RFC 4568 §6.2.1.
    Cm80,
}

impl Suite {
    /// Its name in SDP. RFC 4568 §6.2, RFC 7714 §14.2.
    pub fn name(self) -> &'static str {
        match self {
            Suite::Gcm => "AEAD_AES_128_GCM",
            Suite::Cm80 => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    /// Bytes that an RTP packet grows by.
    pub const fn tag_len(self) -> usize {
        match self {
            Suite::Gcm => 16,
            Suite::Cm80 => 10,
        }
    }

    /// Bytes of its master salt, and of its session salts.
    pub(super) const fn salt_len(self) -> usize {
        match self {
            Suite::Gcm => 12,
            Suite::Cm80 => MAX_MASTER_SALT,
        }
    }

    /// Its number on the wire: the lower byte of its DTLS-SRTP profile. RFC 5764 §4.1.2, RFC 7714
    /// §14.2.
    pub const fn number(self) -> u8 {
        match self {
            Suite::Gcm => 7,
            Suite::Cm80 => 1,
        }
    }

    /// The suite of a number.
    pub fn of_number(number: u8) -> Option<Suite> {
        [Suite::Gcm, Suite::Cm80]
            .into_iter()
            .find(|suite| suite.number() == number)
    }
}
