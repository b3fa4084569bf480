//! Log lines that were written already, so that not every request of a session writes the same line.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::time::Duration;

use crate::time::Timestamp;

/// A line is written once in this period.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// The most lines in one period.
const MAX_LINES: usize = 1000;

/// The lines of a period, by a hash of what they are about. If two have the same hash, the second is not written.
#[derive(Default)]
pub(in crate::flow) struct LogOnce {
    since: Cell<Option<Timestamp>>,
    hashes: RefCell<HashSet<u64>>,
}

impl LogOnce {
    /// Whether a line about this may be written now.
    pub(in crate::flow) fn is_first(&self, about: impl Hash, now: Timestamp) -> bool {
        let mut hashes = self.hashes.borrow_mut();
        if !self.since.get().is_some_and(|since| since.was_within(PERIOD, now)) {
            self.since.set(Some(now));
            hashes.clear();
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(about);
        hashes.len() < MAX_LINES && hashes.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_line_is_written_once_an_hour() {
        let log_once = LogOnce::default();
        let at = |minutes: u64| Timestamp::from_secs(1_700_000_000).after(Duration::from_secs(minutes * 60));
        assert!(log_once.is_first("a", at(0)) && log_once.is_first("b", at(10)));
        assert!(!log_once.is_first("a", at(59)));
        assert!(log_once.is_first("a", at(60)) && !log_once.is_first("a", at(61)));
        // A clock that is set back begins a new hour.
        assert!(log_once.is_first("a", at(0)));
    }

    #[test]
    fn many_log_lines_fill_neither_log_nor_memory() {
        let log_once = LogOnce::default();
        let now = Timestamp::from_secs(1_700_000_000);
        let lines = (0..5000).filter(|number| log_once.is_first(number, now)).count();
        assert_eq!((lines, log_once.hashes.borrow().len()), (MAX_LINES, MAX_LINES));
    }
}
