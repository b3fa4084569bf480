//! A bounded LRU cache: the values that were used last, limited in number and in bytes.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

/// Memory budget for each entry, in encoded bytes. The decoded value needs about as much again.
const ENTRY_BYTES: usize = 8 << 10;

/// Values by key. The least recently used make room for new ones.
pub(in crate::flow) struct BoundedLru<V>(Option<RefCell<Entries<V>>>);

struct Entries<V> {
    values: LruCache<Vec<u8>, (Rc<V>, usize)>,
    bytes: usize,
    max_bytes: usize,
}

impl<V> BoundedLru<V> {
    /// Remembers at most `entries` values; with zero, none.
    pub(in crate::flow) fn new(entries: usize) -> Self {
        Self(NonZeroUsize::new(entries).map(|entries| {
            let max_bytes = entries.get().saturating_mul(ENTRY_BYTES);
            // Not `new`, which would take the memory of all entries at once.
            let mut values = LruCache::unbounded();
            values.resize(entries);
            RefCell::new(Entries { values, bytes: 0, max_bytes })
        }))
    }

    /// The value of a key.
    pub(in crate::flow) fn get(&self, key: &[u8]) -> Option<Rc<V>> {
        let mut entries = self.0.as_ref()?.borrow_mut();
        entries.values.get(key).map(|(value, _)| Rc::clone(value))
    }

    /// All values, the most recent first.
    pub(in crate::flow) fn all(&self) -> Vec<Rc<V>> {
        let entries = self.0.as_ref().map(RefCell::borrow);
        entries
            .iter()
            .flat_map(|entries| entries.values.iter())
            .map(|(_, (value, _))| Rc::clone(value))
            .collect()
    }

    /// Remembers a value that needs about this many bytes.
    pub(in crate::flow) fn insert(&self, key: &[u8], value: &Rc<V>, bytes: usize) {
        let Some(entries) = &self.0 else { return };
        let mut entries = entries.borrow_mut();
        let entries = &mut *entries;
        entries.bytes = entries.bytes.saturating_add(bytes);
        if let Some((_, (_, dropped))) = entries.values.push(key.to_vec(), (Rc::clone(value), bytes)) {
            entries.bytes = entries.bytes.saturating_sub(dropped);
        }
        while entries.bytes > entries.max_bytes {
            let Some((_, (_, dropped))) = entries.values.pop_lru() else { return };
            entries.bytes = entries.bytes.saturating_sub(dropped);
        }
    }

    /// Forgets the value of a key.
    pub(in crate::flow) fn remove(&self, key: &[u8]) {
        let Some(entries) = &self.0 else { return };
        let mut entries = entries.borrow_mut();
        if let Some((_, dropped)) = entries.values.pop(key) {
            entries.bytes = entries.bytes.saturating_sub(dropped);
        }
    }
}
