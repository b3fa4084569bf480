//! What a worker remembers: the values that were used last, bounded in number and in bytes.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;

/// The bytes that an entry may have on average, as the users of a cache count them; what is decoded is about
/// as large again.
const ENTRY_BYTES: usize = 8 << 10;

/// The end of a cookie that is its key: HMAC-SHA-256 in base64 has 44 characters.
const SIGNATURE: usize = 44;

/// Values by key, the least recently used of which make room.
pub(in crate::flow) struct Recent<V>(Option<RefCell<Entries<V>>>);

struct Entries<V> {
    values: LruCache<Vec<u8>, (Rc<V>, usize)>,
    bytes: usize,
    max_bytes: usize,
}

impl<V> Recent<V> {
    /// At most that many values; zero remembers nothing.
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

    /// Remembers a value of about so many bytes.
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

/// Something that was read from a cookie's value.
pub(in crate::flow) trait FromCookie {
    /// The value, byte for byte.
    fn cookie(&self) -> &[u8];
}

/// Cookies that a worker verified. An unchanged one costs a look-up and a compare.
///
/// The key is the end of the cookie, which is the signature: every verified cookie has its own. A
/// stranger can send that end with another beginning; then the compare of all bytes fails, and the
/// signature is checked as usual.
pub(in crate::flow) struct CookieCache<V>(Recent<V>);

impl<V: FromCookie> CookieCache<V> {
    /// At most that many cookies; zero turns it off.
    pub(in crate::flow) fn new(entries: usize) -> Self {
        Self(Recent::new(entries))
    }

    /// What was read from a cookie that was verified before, byte for byte.
    pub(in crate::flow) fn get(&self, cookie: &[u8]) -> Option<Rc<V>> {
        self.0.get(key(cookie)?).filter(|value| is_same(value.cookie(), cookie))
    }

    /// Remembers what was read from a cookie.
    pub(in crate::flow) fn insert(&self, value: &Rc<V>) {
        if let Some(key) = key(value.cookie()) {
            self.0.insert(key, value, value.cookie().len());
        }
    }
}

/// Equality by words: the `memcmp` of wasm goes byte by byte, and a cookie has thousands.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let is_word_same = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b);
    a.len() == b.len() && a_words.iter().zip(b_words).all(is_word_same) && a_rest == b_rest
}

fn key(cookie: &[u8]) -> Option<&[u8]> {
    cookie.get(cookie.len().checked_sub(SIGNATURE)?..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_same;

    proptest! {
        #[test]
        fn what_is_the_same_is_what_has_the_same_bytes(a: Vec<u8>, at: prop::sample::Index, flip: u8, cut in 0_usize..3) {
            let mut b = a.clone();
            if let Some(byte) = (!b.is_empty()).then(|| at.index(b.len())) {
                b[byte] ^= flip;
            }
            b.truncate(b.len().saturating_sub(cut));
            prop_assert_eq!(is_same(&a, &b), a == b);
        }
    }
}
