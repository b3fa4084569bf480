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
use std::rc::{Rc, Weak};

/// The reads under way.
#[derive(Default)]
pub(super) struct Reads(RefCell<Vec<Weak<Read>>>);

/// The read of one key.
pub(super) struct Read {
    key: Vec<u8>,
    is_outdated: Cell<bool>,
}

impl Reads {
    /// A read begins. It ends if the caller drops this.
    pub(super) fn begin(&self, key: &[u8]) -> Rc<Read> {
        let read = Rc::new(Read { key: key.to_vec(), is_outdated: Cell::new(false) });
        let mut reads = self.0.borrow_mut();
        reads.retain(|read| read.strong_count() > 0);
        reads.push(Rc::downgrade(&read));
        read
    }

    /// This key has changed; `None` stands for all keys.
    pub(super) fn changed(&self, key: Option<&[u8]>) {
        for read in self.0.borrow().iter().filter_map(Weak::upgrade) {
            if key.is_none_or(|key| key == read.key) {
                read.is_outdated.set(true);
            }
        }
    }
}

impl Read {
    /// Whether the key has changed since the read began.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.get()
    }
}
