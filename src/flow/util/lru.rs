//! Bounded LRU caches: the values that were used last, limited in number and in bytes.
//!
//! A cache has fingerprints of its keys, not the keys. Several caches can share a [`Budget`]: then the least recently used
//! value of all of them makes room for a new one.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use lru::LruCache;
use session_codec::fingerprint::{AlreadyHashed, Fingerprint, FingerprintKey};

/// Memory budget for each entry of a cache that is limited in number, in bytes.
const ENTRY_BYTES: usize = 8 << 10;

/// What an entry takes besides its value: its node, its place in the table, and the allocator's own.
const PER_ENTRY: usize = 64;

/// The memory of one cache, or of several. The code for all types of values is the same, so that the module contains it
/// once.
#[derive(Clone)]
pub(in crate::flow) struct Budget(Option<Rc<Memory>>);

struct Memory {
    key: FingerprintKey,
    entries: RefCell<Entries>,
}

struct Entries {
    values: LruCache<Fingerprint, (Rc<dyn Any>, usize), AlreadyHashed>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

/// Values of one type by key.
pub(in crate::flow) struct BoundedLru<V> {
    budget: Budget,
    /// Distinguishes the caches of a budget.
    kind: u8,
    values: PhantomData<Rc<V>>,
}

impl Budget {
    /// At most this many entries with this many bytes; with zero, none.
    pub(in crate::flow) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let has_room = max_entries > 0 && max_bytes > 0;
        // The table grows with its entries. `LruCache::new` would take the memory of all at once.
        let values = || LruCache::unbounded_with_hasher(AlreadyHashed::default());
        Self(has_room.then(|| {
            let entries = Entries { values: values(), bytes: 0, max_entries, max_bytes };
            Rc::new(Memory { key: FingerprintKey::random(), entries: RefCell::new(entries) })
        }))
    }

    /// The same for values of an ordinary size.
    pub(in crate::flow) fn of_entries(max_entries: usize) -> Self {
        Self::new(max_entries, max_entries.saturating_mul(ENTRY_BYTES))
    }

    fn insert(&self, kind: u8, key: &[u8], value: Rc<dyn Any>, bytes: usize) {
        let Some(memory) = &self.0 else { return };
        let entries = &mut *memory.entries.borrow_mut();
        let bytes = bytes.saturating_add(PER_ENTRY);
        let key = memory.key.of(kind, key);
        entries.forget(&key);
        // A value that does not fit would only push all others out.
        if bytes <= entries.max_bytes {
            entries.bytes = entries.bytes.saturating_add(bytes);
            entries.values.push(key, (value, bytes));
        }
        while entries.bytes > entries.max_bytes || entries.values.len() > entries.max_entries {
            let Some((_, (_, dropped))) = entries.values.pop_lru() else { return };
            entries.bytes = entries.bytes.saturating_sub(dropped);
        }
    }

    fn get(&self, kind: u8, key: &[u8]) -> Option<Rc<dyn Any>> {
        let memory = self.0.as_ref()?;
        let key = memory.key.of(kind, key);
        memory.entries.borrow_mut().values.get(&key).map(|(value, _)| Rc::clone(value))
    }

    fn remove(&self, kind: u8, key: &[u8]) {
        if let Some(memory) = &self.0 {
            memory.entries.borrow_mut().forget(&memory.key.of(kind, key));
        }
    }
}

impl Entries {
    fn forget(&mut self, key: &Fingerprint) {
        if let Some((_, dropped)) = self.values.pop(key) {
            self.bytes = self.bytes.saturating_sub(dropped);
        }
    }
}

impl<V: 'static> BoundedLru<V> {
    /// Remembers at most `entries` values; with zero, none.
    pub(in crate::flow) fn new(entries: usize) -> Self {
        Self::within(&Budget::of_entries(entries), 0)
    }

    /// A cache that shares a budget with caches of other kinds.
    pub(in crate::flow) fn within(budget: &Budget, kind: u8) -> Self {
        Self { budget: budget.clone(), kind, values: PhantomData }
    }

    /// The value of a key.
    pub(in crate::flow) fn get(&self, key: &[u8]) -> Option<Rc<V>> {
        self.budget.get(self.kind, key)?.downcast().ok()
    }

    /// All values, the most recent first.
    pub(in crate::flow) fn all(&self) -> Vec<Rc<V>> {
        let entries = self.budget.0.as_ref().map(|memory| memory.entries.borrow());
        let values = entries.iter().flat_map(|entries| entries.values.iter());
        values.filter_map(|(_, (value, _))| Rc::clone(value).downcast().ok()).collect()
    }

    /// Remembers a value that needs about this many bytes besides those of its type.
    pub(in crate::flow) fn insert(&self, key: &[u8], value: &Rc<V>, bytes: usize) {
        let value: Rc<dyn Any> = Rc::<V>::clone(value);
        self.budget.insert(self.kind, key, value, bytes.saturating_add(size_of::<V>()));
    }

    /// Forgets the value of a key.
    pub(in crate::flow) fn remove(&self, key: &[u8]) {
        self.budget.remove(self.kind, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(max_entries: usize, max_bytes: usize) -> BoundedLru<u8> {
        BoundedLru::within(&Budget::new(max_entries, max_bytes), 0)
    }

    fn add<V: 'static>(cache: &BoundedLru<V>, key: u8, value: V, bytes: usize) {
        cache.insert(&[key], &Rc::new(value), bytes);
    }

    fn has<V: 'static>(cache: &BoundedLru<V>, keys: impl IntoIterator<Item = u8>) -> Vec<u8> {
        keys.into_iter().filter(|key| cache.get(&[*key]).is_some()).collect()
    }

    #[test]
    fn least_recently_used_value_makes_room() {
        let cache = cache(3, usize::MAX);
        (1..=3).for_each(|key| add(&cache, key, key, 0));
        assert_eq!(cache.get(&[1]).as_deref(), Some(&1));
        add(&cache, 4, 4, 0);
        assert_eq!(has(&cache, 1..=4), [1, 3, 4]);
        assert_eq!(cache.all().iter().map(|value| **value).collect::<Vec<_>>(), [4, 3, 1]);
        cache.remove(&[3]);
        assert_eq!(has(&cache, 1..=4), [1, 4]);
    }

    #[test]
    fn bytes_of_all_values_stay_within_the_limit() {
        let cache = cache(usize::MAX, 10_000);
        for key in 0..100 {
            add(&cache, key, key, 1000 - PER_ENTRY - 1);
            // Again: the bytes of the value that was there count no more.
            add(&cache, key, key, 1000 - PER_ENTRY - 1);
        }
        assert_eq!(has(&cache, 0..100), (90..100).collect::<Vec<_>>());
    }

    #[test]
    fn value_larger_than_all_room_pushes_none_out() {
        let cache = cache(usize::MAX, 10_000);
        add(&cache, 1, 1, 100);
        add(&cache, 2, 2, 10_000);
        assert_eq!(has(&cache, 1..=2), [1]);
    }

    #[test]
    fn zero_remembers_nothing() {
        for cache in [cache(0, 1000), cache(1000, 0), BoundedLru::new(0)] {
            add(&cache, 1, 1, 0);
            assert_eq!(has(&cache, [1]), [0; 0]);
        }
    }

    #[test]
    fn caches_with_one_budget_share_room_but_no_keys() {
        let budget = Budget::new(2, usize::MAX);
        let (numbers, texts) =
            (BoundedLru::<u8>::within(&budget, 0), BoundedLru::<&'static str>::within(&budget, 1));
        let others = BoundedLru::<u8>::within(&budget, 2);
        add(&numbers, 1, 10, 0);
        assert!(texts.get(&[1]).is_none() && others.get(&[1]).is_none());
        add(&texts, 1, "ten", 0);
        assert_eq!((numbers.get(&[1]).as_deref(), texts.get(&[1]).as_deref()), (Some(&10), Some(&"ten")));
        add(&others, 1, 20, 0);
        assert_eq!((has(&numbers, [1]), has(&texts, [1]), has(&others, [1])), (vec![], vec![1], vec![1]));
    }
}
