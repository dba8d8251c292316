//! One packet, sealed or opened where it lies, when its index is known: the transforms of RFC 3711
//! §4.1 and §4.2 and of RFC 7714. Nothing here remembers a packet.

use aes::Aes128Enc;
use ctr::Ctr128BE;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::suite::{KEY_LEN, Suite};
use crate::rtp::Ssrc;

/// Bytes of an RTCP packet that stay in clear: its first header and its SSRC. RFC 3711 §3.4.
pub(super) const RTCP_HEAD: usize = 8;
/// Bytes of the E flag with the SRTCP index.
pub(super) const RTCP_INDEX: usize = 4;
/// "This packet is encrypted". RFC 3711 §3.4.
const ENCRYPTED: u32 = 1 << 31;

/// Which packet it is: no two of one key have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ssrc: Ssrc,
    /// RTP: rollover counter and sequence number, 48 bits. RTCP: 31 bits.
    pub(super) index: u64,
}

impl Place {
    /// RFC 3711 §4.1.1 and RFC 7714 §8.1, §9.1: SSRC, then the index as 48 bits.
    fn mix(self, block: &mut [u8; 10]) {
        let index = self.index.to_be_bytes();
        let bytes = self
            .ssrc
            .0
            .to_be_bytes()
            .into_iter()
            .chain(index.into_iter().skip(2));
        block.iter_mut().zip(bytes).for_each(|(b, of)| *b ^= of);
    }

    fn roc(self) -> u32 {
        (self.index >> 16) as u32
    }
}

/// One direction's session keys, of RTP or of RTCP.
pub(super) enum Cipher {
    Gcm {
        key: Box<LessSafeKey>,
        salt: [u8; 12],
    },
    Cm80 {
        key: Box<Aes128Enc>,
        auth: Hmac<Sha1>,
        salt: [u8; 14],
    },
}

impl Cipher {
    pub(super) fn gcm(key: &[u8; KEY_LEN], salt: [u8; 12]) -> Cipher {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes");
        Cipher::Gcm {
            key: Box::new(LessSafeKey::new(key)),
            salt,
        }
    }

    pub(super) fn cm80(key: &[u8; KEY_LEN], auth: &[u8], salt: [u8; 14]) -> Cipher {
        Cipher::Cm80 {
            key: Box::new(Aes128Enc::new(key.into())),
            auth: Mac::new_from_slice(auth).expect("HMAC takes keys of any length; RFC 2104 §2"),
            salt,
        }
    }

    pub(super) fn suite(&self) -> Suite {
        match self {
            Cipher::Gcm { .. } => Suite::Gcm,
            Cipher::Cm80 { .. } => Suite::Cm80,
        }
    }

    /// Seals the RTP packet with a header of `head` bytes; the tag takes the place of what is
    /// behind it.
    ///
    /// # Panics
    /// If `packet` has no room for header and tag.
    pub(super) fn seal_rtp(&self, place: Place, head: usize, packet: &mut [u8]) {
        let (text, tag) = packet.split_at_mut(packet.len() - self.suite().tag_len());
        match self {
            Cipher::Gcm { key, salt } => {
                let (head, body) = text.split_at_mut(head);
                tag.copy_from_slice(&gcm_seal(key, salt, place, head, body));
            }
            Cipher::Cm80 { key, auth, salt } => {
                apply(key, cm_block(salt, place), &mut text[head..]);
                // RFC 3711 §4.2: the rollover counter behind the packet.
                let whole = sign(auth, text, &place.roc().to_be_bytes()).finalize();
                tag.copy_from_slice(&whole.into_bytes()[..tag.len()]);
            }
        }
    }

    /// Opens the RTP packet with a header of `head` bytes and returns its length in clear; `None`:
    /// it is not authentic, and its bytes may be any.
    pub(super) fn open_rtp(&self, place: Place, head: usize, packet: &mut [u8]) -> Option<usize> {
        let len = packet.len().checked_sub(self.suite().tag_len())?;
        if len < head {
            return None;
        }
        match self {
            Cipher::Gcm { key, salt } => {
                let (head, body) = packet.split_at_mut(head);
                gcm_open(key, salt, place, head, body)?;
            }
            Cipher::Cm80 { key, auth, salt } => {
                let (text, tag) = packet.split_at_mut(len);
                let whole = sign(auth, text, &place.roc().to_be_bytes());
                whole.verify_truncated_left(tag).ok()?;
                apply(key, cm_block(salt, place), &mut text[head..]);
            }
        }
        Some(len)
    }

    /// Seals a compound RTCP packet. RFC 3711 §3.4, RFC 7714 §9: the index and `mki` go behind it.
    ///
    /// # Panics
    /// If `packet` is shorter than an RTCP header with its SSRC.
    pub(super) fn seal_rtcp(&self, place: Place, packet: &mut Vec<u8>, mki: &[u8]) {
        let index = (ENCRYPTED | place.index as u32).to_be_bytes();
        let (head, body) = packet.split_at_mut(RTCP_HEAD);
        match self {
            Cipher::Gcm { key, salt } => {
                // RFC 7714 §9.2: the index is authenticated with the head.
                let tag = gcm_seal(key, salt, place, &rtcp_aad(head, index), body);
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&index);
                packet.extend_from_slice(mki);
            }
            Cipher::Cm80 { key, auth, salt } => {
                apply(key, cm_block(salt, place), body);
                // RFC 3711 §4.2: the MKI is not authenticated.
                let whole = sign(auth, packet, &index).finalize().into_bytes();
                packet.extend_from_slice(&index);
                packet.extend_from_slice(mki);
                packet.extend_from_slice(&whole[..Suite::Cm80.tag_len()]);
            }
        }
    }

    /// Opens an RTCP packet of which `index` and MKI were [taken away](Trailer): what is left is
    /// the packet and, by GCM, its tag. Returns its length in clear.
    pub(super) fn open_rtcp(&self, ssrc: Ssrc, packet: &mut [u8], rest: &Trailer) -> Option<usize> {
        let place = Place {
            ssrc,
            index: rest.index().into(),
        };
        match self {
            Cipher::Gcm { key, salt } => {
                let (head, body) = packet.split_at_mut_checked(RTCP_HEAD)?;
                let aad = rtcp_aad(head, rest.word);
                gcm_open(key, salt, place, &aad, body)?;
                Some(packet.len() - Suite::Gcm.tag_len())
            }
            Cipher::Cm80 { key, auth, salt } => {
                let whole = sign(auth, packet, &rest.word);
                whole.verify_truncated_left(&rest.tag).ok()?;
                apply(key, cm_block(salt, place), packet.get_mut(RTCP_HEAD..)?);
                Some(packet.len())
            }
        }
    }
}

/// What stands behind an SRTCP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trailer {
    /// E flag and index.
    word: [u8; RTCP_INDEX],
    /// With [`Suite::Cm80`]. With [`Suite::Gcm`] the tag belongs to the ciphertext.
    tag: [u8; Suite::Cm80.tag_len()],
}

impl Trailer {
    /// Takes the trailer and an MKI of `N` bytes off the end of a packet of `suite`, and returns
    /// what is before them.
    pub(super) fn split<const N: usize>(
        suite: Suite,
        packet: &[u8],
    ) -> Option<(&[u8], Trailer, [u8; N])> {
        let (packet, tag) = match suite {
            Suite::Gcm => (packet, Default::default()),
            Suite::Cm80 => packet.split_last_chunk().map(|(rest, tag)| (rest, *tag))?,
        };
        let (packet, mki) = packet.split_last_chunk()?;
        let (packet, word) = packet.split_last_chunk()?;
        let trailer = Trailer { word: *word, tag };
        // Whoever sends RTCP in clear is not one of us.
        let is_encrypted = u32::from_be_bytes(*word) & ENCRYPTED != 0;
        is_encrypted.then_some((packet, trailer, *mki))
    }

    pub(super) fn index(&self) -> u32 {
        u32::from_be_bytes(self.word) & !ENCRYPTED
    }
}

/// Adds AES-CM's keystream from `block` on to `data`.
pub(super) fn keystream(key: &[u8; KEY_LEN], block: [u8; 16], data: &mut [u8]) {
    apply(&Aes128Enc::new(key.into()), block, data);
}

fn apply(key: &Aes128Enc, block: [u8; 16], data: &mut [u8]) {
    let core = ctr::CtrCore::inner_iv_init(key, &block.into());
    let mut stream: Ctr128BE<&Aes128Enc> = StreamCipherCoreWrapper::from_core(core);
    stream.apply_keystream(data);
}

/// RFC 3711 §4.1.1: salt, SSRC and index, each where it belongs; the block counter behind them is
/// 0.
fn cm_block(salt: &[u8; 14], place: Place) -> [u8; 16] {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    place.mix((&mut block[4..14]).try_into().expect("10 bytes"));
    block
}

/// RFC 7714 §8.1, §9.1.
fn gcm_nonce(salt: &[u8; 12], place: Place) -> Nonce {
    let mut nonce = *salt;
    place.mix((&mut nonce[2..]).try_into().expect("10 bytes"));
    Nonce::assume_unique_for_key(nonce)
}

fn gcm_seal(
    key: &LessSafeKey,
    salt: &[u8; 12],
    place: Place,
    aad: &[u8],
    body: &mut [u8],
) -> [u8; 16] {
    let nonce = gcm_nonce(salt, place);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
    let tag = tag.expect("a packet is shorter than 2^36 bytes; RFC 5116 §5.1");
    tag.as_ref().try_into().expect("16 bytes")
}

fn gcm_open(
    key: &LessSafeKey,
    salt: &[u8; 12],
    place: Place,
    aad: &[u8],
    body: &mut [u8],
) -> Option<()> {
    let nonce = gcm_nonce(salt, place);
    key.open_in_place(nonce, Aad::from(aad), body)
        .ok()
        .map(|_| ())
}

fn rtcp_aad(head: &[u8], word: [u8; RTCP_INDEX]) -> [u8; RTCP_HEAD + RTCP_INDEX] {
    let mut aad = [0; RTCP_HEAD + RTCP_INDEX];
    aad[..RTCP_HEAD].copy_from_slice(head);
    aad[RTCP_HEAD..].copy_from_slice(&word);
    aad
}

fn sign(key: &Hmac<Sha1>, text: &[u8], behind: &[u8]) -> Hmac<Sha1> {
    key.clone().chain_update(text).chain_update(behind)
}
