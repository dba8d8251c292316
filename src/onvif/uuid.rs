//! UUIDs made from names (RFC 9562 §5.5): equal names give equal UUIDs, which reveal nothing about
//! the name.

use std::fmt;

use sha1::{Digest, Sha1};

/// A UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// The namespace of all of lancam's UUIDs.
    pub const LANCAM: Uuid = Uuid([
        0x1c, 0x8e, 0x2f, 0x0b, 0x6d, 0x53, 0x4a, 0x91, 0x9b, 0x27, 0xe4, 0x05, 0xd8, 0x3a, 0x77,
        0xc6,
    ]);

    /// The version 5 UUID of `name` in this namespace.
    pub fn named(self, name: &str) -> Uuid {
        let hash = Sha1::new()
            .chain_update(self.0)
            .chain_update(name.as_bytes())
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// Its first bits, which are practically random.
    pub(super) fn bits(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_the_uuids_of_the_rfc() {
        // RFC 9562 §6.6, the namespace of domain names, and Appendix A.4.
        let dns = Uuid(0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8_u128.to_be_bytes());
        let named = dns.named("www.example.com");
        assert_eq!(named.to_string(), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
