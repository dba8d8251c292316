//! A packet's index from its sequence number (RFC 3711 §3.3.1), and which indices came before
//! (§3.3.2).

use crate::rtp::SeqNo;

/// How many indices back the window reaches: more than a sender retransmits, four frames of 2 MiB.
pub const WINDOW: u64 = 1 << 13;
/// The largest index. RFC 3711 §3.3.1.
pub(super) const MAX_INDEX: u64 = (1 << 48) - 1;

/// Which of a run's packets have come. Only authentic ones may be [noted](Window::note).
#[derive(Debug)]
pub struct Window {
    highest: Option<u64>,
    /// One bit an index, for the last [`WINDOW`].
    seen: Box<[u64; (WINDOW / 64) as usize]>,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            highest: None,
            seen: Box::new([0; (WINDOW / 64) as usize]),
        }
    }
}

impl Window {
    /// The index nearest to the highest one; before the first packet, the rollover counter is 0.
    /// `None`: it would be before the start or beyond the end.
    pub fn estimate(&self, seq: SeqNo) -> Option<u64> {
        let Some(highest) = self.highest else {
            return Some(seq.0.into());
        };
        let distance = seq.distance(SeqNo(highest as u16));
        let index = highest.checked_add_signed(distance.into())?;
        (index <= MAX_INDEX).then_some(index)
    }

    /// Whether the packet came before, or is too old to tell.
    pub fn has(&self, index: u64) -> bool {
        match self.highest {
            Some(highest) if highest >= index => {
                highest - index >= WINDOW || self.seen[word(index)] & bit(index) != 0
            }
            _ => false,
        }
    }

    /// Notes an authentic packet that it does not [have](Window::has).
    pub fn note(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if index > highest {
            // Those in between have not come.
            let skipped = (index - highest - 1).min(WINDOW - 1);
            (index - skipped..index).for_each(|i| self.seen[word(i)] &= !bit(i));
        }
        self.seen[word(index)] |= bit(index);
        self.highest = Some(highest.max(index));
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}
