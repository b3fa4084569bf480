//! Reads of sessions under way, so that a change in the meantime is noticed.
//!
//! ```text
//! GET, PTTL ──► Redis ──► replies, in memory ──► the task goes on, and remembers the session
//!                               ▲
//!                               └── a change that Redis tells here belongs to what was read
//! ```
//!
//! Redis tells of a change in order with its replies. But a task that waits for a reply goes on a moment later, and would
//! then remember a session that has changed since.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

/// With this many reads, those that have ended are removed.
const SWEEP: usize = 256;

/// The reads under way, by key. If Redis is slow there are thousands, and then each change and each read has to be cheap.
#[derive(Default)]
pub(super) struct Reads {
    under_way: RefCell<HashMap<Vec<u8>, Weak<Read>>>,
    /// At how many reads to remove those that have ended.
    sweep_at: Cell<usize>,
}

/// The reads of one key that no change has come between.
#[derive(Default)]
pub(super) struct Read {
    is_outdated: Cell<bool>,
}

impl Reads {
    /// A read begins. It ends if the caller drops this.
    pub(super) fn begin(&self, key: &[u8]) -> Rc<Read> {
        let mut reads = self.under_way.borrow_mut();
        if let Some(read) = reads.get(key).and_then(Weak::upgrade) {
            return read;
        }
        if reads.len() >= self.sweep_at.get().max(SWEEP) {
            reads.retain(|_, read| read.strong_count() > 0);
            self.sweep_at.set(reads.len().saturating_mul(2));
        }
        let read = Rc::new(Read::default());
        reads.insert(key.to_vec(), Rc::downgrade(&read));
        read
    }

    /// This key has changed; `None` stands for all keys. A read that begins from now on is another one.
    pub(super) fn changed(&self, key: Option<&[u8]>) {
        let mut reads = self.under_way.borrow_mut();
        let outdated = match key {
            Some(key) => reads.remove(key).into_iter().collect(),
            None => std::mem::take(&mut *reads).into_values().collect::<Vec<_>>(),
        };
        for read in outdated.iter().filter_map(Weak::upgrade) {
            read.is_outdated.set(true);
        }
    }
}

impl Read {
    /// Whether the key has changed since the read began.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_belongs_to_the_reads_that_began_before_it() {
        let reads = Reads::default();
        let (a, again, b) = (reads.begin(b"a"), reads.begin(b"a"), reads.begin(b"b"));
        reads.changed(Some(b"a"));
        let later = reads.begin(b"a");
        assert!(a.is_outdated() && again.is_outdated() && !b.is_outdated() && !later.is_outdated());
        reads.changed(None);
        assert!(b.is_outdated() && later.is_outdated() && !reads.begin(b"b").is_outdated());
    }

    #[test]
    fn ended_reads_take_no_room() {
        let reads = Reads::default();
        let under_way: Vec<_> = (0..1000_u32).map(|key| reads.begin(&key.to_le_bytes())).collect();
        (1000..100_000_u32).for_each(|key| drop(reads.begin(&key.to_le_bytes())));
        assert!(reads.under_way.borrow().len() <= 2 * under_way.len());
        reads.changed(None);
        assert!(under_way.iter().all(|read| read.is_outdated()));
    }
}
