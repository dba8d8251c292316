//! SRTCP (RFC 3711 §3.4): the reports of all members of a session.
//!
//! Members draw their SSRCs themselves, and two may draw the same one. So that they never share a
//! keystream, each has a master key of its own, by a salt that it draws. The salt stands in its
//! packets as their MKI (RFC 3711 §3.1), with the suite's number in front. Members whose master key
//! was told (RFC 4568) share that one, and send no MKI.
//!
//! # Bounds
//! At most [`MAX_MEMBERS`] are remembered, all of them authentic. Keys are derived for each packet:
//! whoever reads a socket limits how many that may be.

use std::collections::HashMap;

use super::cipher::{Cipher, Place, RTCP_HEAD, RTCP_INDEX, Trailer};
use super::keys::{Keys, MasterKey, SALT_LEN, Salt, Secret};
use super::open::Refusal;
use super::suite::Suite;
use crate::clock::Mono;
use crate::rtp::Ssrc;

/// Bytes of an MKI.
pub const MKI_LEN: usize = 1 + SALT_LEN;
/// How many members are remembered; the one that was silent longest gives way.
pub const MAX_MEMBERS: usize = 1 << 14;
/// The largest index. RFC 3711 §3.4.
const MAX_INDEX: u32 = (1 << 31) - 1;

/// Bytes that a packet grows by.
pub const fn overhead(suite: Suite) -> usize {
    suite.tag_len() + RTCP_INDEX + MKI_LEN
}

/// Seals the RTCP packets of one member.
pub struct ControlSealer {
    cipher: Cipher,
    /// None of those whose key was told.
    mki: Vec<u8>,
    ssrc: Ssrc,
    next: u32,
}

impl ControlSealer {
    /// The member `ssrc`. `salt` is random and its own.
    pub fn new(secret: &Secret, suite: Suite, salt: Salt, ssrc: Ssrc) -> ControlSealer {
        ControlSealer {
            cipher: MasterKey::of_run(secret, suite, salt).rtcp(),
            mki: [&[suite.number()], &salt.0[..]].concat(),
            ssrc,
            next: 0,
        }
    }

    /// The same with a key that was told. Nobody else may have this SSRC.
    pub fn with_master(key: &MasterKey, ssrc: Ssrc) -> ControlSealer {
        ControlSealer {
            cipher: key.rtcp(),
            mki: Vec::new(),
            ssrc,
            next: 0,
        }
    }

    /// Seals a compound packet of this member. False, and nothing is to be sent: it is none, or all
    /// 2^31 indices are used.
    #[must_use]
    pub fn seal(&mut self, packet: &mut Vec<u8>) -> bool {
        if ssrc_of(packet) != Some(self.ssrc) || self.next > MAX_INDEX {
            return false;
        }
        let place = Place {
            ssrc: self.ssrc,
            index: self.next.into(),
        };
        self.next += 1;
        self.cipher.seal_rtcp(place, packet, &self.mki);
        true
    }
}

/// Opens the RTCP packets of all members.
pub struct ControlOpener {
    keys: Keys,
    members: HashMap<Member, Seen>,
    /// The packet while it is opened.
    text: Vec<u8>,
}

impl ControlOpener {
    /// An opener that knows no member yet.
    pub fn new(keys: Keys) -> ControlOpener {
        ControlOpener {
            keys,
            members: HashMap::new(),
            text: Vec::new(),
        }
    }

    /// The packet in clear.
    ///
    /// # Errors
    /// It is to be dropped.
    pub fn open(&mut self, now: Mono, packet: &[u8]) -> Result<&[u8], Refusal> {
        let ssrc = ssrc_of(packet).ok_or(Refusal::Malformed)?;
        let mut refusal = Refusal::Malformed;
        // Where the MKI is, depends on the suite that it tells.
        for suite in [Suite::Gcm, Suite::Cm80] {
            let Some((text, trailer, mki)) = split(&self.keys, suite, packet) else {
                continue;
            };
            let seen = self.members.get(&(ssrc, mki)).copied().unwrap_or_default();
            if seen.has(trailer.index()) {
                refusal = Refusal::Replayed;
                continue;
            }
            refusal = Refusal::Unauthentic;
            for key in self.keys.of_run(suite, salt_of(mki)) {
                self.text.clear();
                self.text.extend_from_slice(text);
                let opened = key.rtcp().open_rtcp(ssrc, &mut self.text, &trailer);
                if let Some(len) = opened {
                    note(
                        &mut self.members,
                        (ssrc, mki),
                        seen.with(now, trailer.index()),
                    );
                    return Ok(&self.text[..len]);
                }
            }
        }
        Err(refusal)
    }
}

type Member = (Ssrc, [u8; MKI_LEN]);

/// The packet of a member that uses `suite`, what stands behind it, and the member's MKI: zeros if
/// there is none. `None`: it is none of that suite.
fn split<'a>(
    keys: &Keys,
    suite: Suite,
    packet: &'a [u8],
) -> Option<(&'a [u8], Trailer, [u8; MKI_LEN])> {
    match keys {
        Keys::Master(key) if key.suite() != suite => None,
        Keys::Master(_) => {
            let (text, trailer, []) = Trailer::split(suite, packet)?;
            Some((text, trailer, [0; MKI_LEN]))
        }
        Keys::Secrets(_) => Trailer::split(suite, packet)
            .filter(|(_, _, mki): &(_, _, [u8; MKI_LEN])| mki[0] == suite.number()),
    }
}

fn salt_of([_, salt @ ..]: [u8; MKI_LEN]) -> Salt {
    Salt(salt)
}

/// The SSRC of a compound packet that is long enough to be one.
fn ssrc_of(packet: &[u8]) -> Option<Ssrc> {
    let head: &[u8; RTCP_HEAD] = packet.first_chunk()?;
    Some(Ssrc(u32::from_be_bytes(*head.last_chunk()?)))
}

fn note(members: &mut HashMap<Member, Seen>, member: Member, seen: Seen) {
    if members.len() >= MAX_MEMBERS && !members.contains_key(&member) {
        let oldest = members.values().map(|seen| seen.heard).min();
        members.retain(|_, seen| Some(seen.heard) != oldest);
    }
    members.insert(member, seen);
}

/// Which packets of a member came: the newest, and one bit for each of the 64 before it.
#[derive(Clone, Copy, Default)]
struct Seen {
    newest: Option<u32>,
    before: u64,
    heard: Mono,
}

impl Seen {
    fn has(&self, index: u32) -> bool {
        let Some(back) = self.newest.and_then(|newest| newest.checked_sub(index)) else {
            return false;
        };
        back == 0 || back > u64::BITS || self.before & 1 << (back - 1) != 0
    }

    /// The same with a packet that it does not [have](Seen::has).
    fn with(mut self, now: Mono, index: u32) -> Seen {
        self.heard = now;
        let newest = self.newest.unwrap_or(index);
        match index.checked_sub(newest) {
            None => self.before |= 1 << (newest - index - 1),
            Some(0) => self.newest = Some(index),
            Some(steps) => {
                // What was the newest is one of those before now.
                let before = self.before.checked_shl(steps).unwrap_or(0);
                self.before = before | 1u64.checked_shl(steps - 1).unwrap_or(0);
                self.newest = Some(index);
            }
        }
        self
    }
}
