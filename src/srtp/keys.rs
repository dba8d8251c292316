//! Where keys come from: HKDF (RFC 5869) makes a run's master key from the secret, and the key
//! derivation of RFC 3711 §4.3 makes the session keys from that.

use std::fmt;

use ring::hkdf::{self, HKDF_SHA256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::cipher::{Cipher, keystream};
use super::suite::{KEY_LEN, MAX_MASTER_SALT, Suite};

/// Bytes of a [`Salt`].
pub const SALT_LEN: usize = 11;
/// Bytes of HMAC-SHA1's key. RFC 3711 §8.2.
const AUTH_KEY_LEN: usize = 20;
/// What the secret is used for: HKDF's info, with the suite's byte behind it.
const PURPOSE: &[u8] = b"lancam srtp 1";

/// What sender and viewers share.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; KEY_LEN]);

impl Secret {
    /// The secret of these bytes, all of which are to be random.
    pub fn new(bytes: [u8; KEY_LEN]) -> Secret {
        Secret(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What distinguishes a run from all others that have the same secret: random, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; SALT_LEN]);

/// One run's master key and master salt. RFC 3711 §3.2.1.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    /// The key, then the salt; longer than one of [`Suite::Gcm`] needs, and zero there.
    bytes: Zeroizing<[u8; KEY_LEN + MAX_MASTER_SALT]>,
}

impl MasterKey {
    /// The master key of the run with `salt`.
    pub fn of_run(secret: &Secret, suite: Suite, salt: Salt) -> MasterKey {
        let mut key = MasterKey {
            suite,
            bytes: Zeroizing::default(),
        };
        let len = key.len();
        let number = [suite.number()];
        let info = [PURPOSE, &number];
        hkdf::Salt::new(HKDF_SHA256, &salt.0)
            .extract(&secret.0)
            .expand(&info, Length(len))
            .and_then(|out| out.fill(&mut key.bytes[..len]))
            .expect("HKDF-SHA256 gives 8,160 bytes; RFC 5869 §2.3");
        key
    }

    /// The one that was agreed upon elsewhere: key, then salt, as in SDP. RFC 4568 §6.1. `None`: it
    /// has another length than `suite` needs.
    pub fn from_bytes(suite: Suite, bytes: &[u8]) -> Option<MasterKey> {
        let mut key = MasterKey {
            suite,
            bytes: Zeroizing::default(),
        };
        let len = key.len();
        (bytes.len() == len).then(|| {
            key.bytes[..len].copy_from_slice(bytes);
            key
        })
    }

    /// Its bytes, for other players.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// What it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    fn len(&self) -> usize {
        KEY_LEN + self.suite.salt_len()
    }

    /// The session keys of RTP packets. RFC 3711 §4.3.2: labels 0, 1, 2.
    pub(super) fn rtp(&self) -> Cipher {
        self.cipher(0)
    }

    /// The session keys of RTCP packets: labels 3, 4, 5.
    pub(super) fn rtcp(&self) -> Cipher {
        self.cipher(3)
    }

    fn cipher(&self, label: u8) -> Cipher {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let mut auth = Zeroizing::new([0; AUTH_KEY_LEN]);
        let mut salt = [0; MAX_MASTER_SALT];
        self.derive(label, &mut *key);
        self.derive(label + 1, &mut *auth);
        self.derive(label + 2, &mut salt[..self.suite.salt_len()]);
        match self.suite {
            Suite::Gcm => Cipher::gcm(&key, *salt.first_chunk().expect("12 of 14 bytes")),
            Suite::Cm80 => Cipher::cm80(&key, &*auth, salt),
        }
    }

    /// RFC 3711 §4.3.1 and §4.3.3: the keystream of AES-CM under the master key, from the label and
    /// the master salt on. No key derivation rate: each key is derived once. RFC 7714 §11: a salt
    /// of 96 bits has 16 zero bits behind it.
    pub(super) fn derive(&self, label: u8, out: &mut [u8]) {
        let (key, salt) = self.bytes.split_at(KEY_LEN);
        let mut block = [0; 16];
        block[..MAX_MASTER_SALT].copy_from_slice(salt);
        block[7] ^= label;
        out.fill(0);
        keystream(key.try_into().expect("16 bytes"), block, out);
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, …)", self.suite.name())
    }
}

/// How long HKDF's output is.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What a viewer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The secret; while it is changed, the new one and the old one.
    Secrets(Vec<Secret>),
    /// The key of one run, from a session description.
    Master(MasterKey),
}

impl Keys {
    /// The master keys that packets of a run with `salt` may have.
    pub(super) fn of_run(&self, suite: Suite, salt: Salt) -> impl Iterator<Item = MasterKey> {
        let (secrets, master) = match self {
            Keys::Secrets(secrets) => (secrets.as_slice(), None),
            Keys::Master(key) => (&[][..], Some(key.clone())),
        };
        secrets
            .iter()
            .map(move |secret| MasterKey::of_run(secret, suite, salt))
            .chain(master)
    }
}
