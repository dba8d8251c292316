//! Bytes that one thread lends and another goes on reading: whoever lent them leaves them alone
//! until they have been dropped. So a copy that only the reader needs is made by the reader.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The memory that something is lent from. While a clone is left, its contents stay.
#[derive(Clone)]
pub struct Owner(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Owner {
    /// Memory of one who uses it for something else only when nobody else has it
    /// ([`Arc::get_mut`]).
    pub fn new(memory: Arc<impl AsRef<[u8]> + Send + Sync + 'static>) -> Owner {
        Owner(memory)
    }

    /// Keeps `part`; `None` if it is not part of this memory.
    pub fn keep(&self, part: &[u8]) -> Option<Kept> {
        let memory = (*self.0).as_ref();
        let start = part.as_ptr().addr().checked_sub(memory.as_ptr().addr())?;
        let range = start..start.checked_add(part.len())?;
        memory.get(range.clone())?;
        Some(Kept {
            owner: self.clone(),
            range,
        })
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({} bytes)", (*self.0).as_ref().len())
    }
}

/// Bytes that stay as they are until this is dropped.
#[derive(Debug)]
pub struct Kept {
    owner: Owner,
    range: Range<usize>,
}

impl Kept {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &(*self.owner.0).as_ref()[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_part_of_its_memory() {
        let mut memory = Arc::new(vec![1, 2, 3, 4]);
        let owner = Owner::new(Arc::clone(&memory));
        let kept = owner.keep(&memory[1..3]).unwrap();
        assert!(owner.keep(&[2, 3]).is_none(), "other memory");
        drop(owner);
        assert!(Arc::get_mut(&mut memory).is_none(), "it is read");
        assert_eq!(kept.bytes(), [2, 3]);
        drop(kept);
        assert!(Arc::get_mut(&mut memory).is_some());
    }
}
