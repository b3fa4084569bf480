//! A limit for log lines that a stranger can cause: some at once, then one a second.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

/// So many lines may come at once, by as many people who fail in the same moment.
const AT_ONCE: u32 = 10;

/// What one line costs.
const SECOND: Duration = Duration::from_secs(1);

/// The limit of one kind of line.
///
/// Each line is paid for with a second. It is written as long as less than [`AT_ONCE`] seconds are owed.
#[derive(Default)]
pub(crate) struct LogLimit {
    paid_at: Cell<Option<Timestamp>>,
    left_out: Cell<u64>,
}

/// How many lines of the same kind were left out before this one; prints nothing if there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl LogLimit {
    /// Whether a line may be written now. The line has to end with what this gives.
    pub(crate) fn next(&self, now: Timestamp) -> Option<LeftOut> {
        let owed_at_most = SECOND * AT_ONCE;
        // More than that is never owed: then the clock was set back.
        let paid_at = self.paid_at.get().filter(|paid| *paid > now && paid.since(now) <= owed_at_most);
        let paid_at = paid_at.unwrap_or(now);
        if paid_at.since(now) > owed_at_most - SECOND {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        self.paid_at.set(Some(paid_at.after(SECOND)));
        Some(LeftOut(self.left_out.take()))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 line like this was left out before)"),
            count => write!(f, " ({count} lines like this were left out before)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many lines at the same time are written.
    fn written(limit: &LogLimit, lines: usize, now: Timestamp) -> usize {
        (0..lines).filter_map(|_| limit.next(now)).count()
    }

    #[test]
    fn some_lines_come_at_once_and_then_one_a_second() {
        let limit = LogLimit::default();
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(100)), 10);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(101)), 1);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(104)), 3);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(1000)), 10);
    }

    #[test]
    fn a_line_says_how_many_were_left_out_before_it() {
        let limit = LogLimit::default();
        let now = Timestamp::from_secs(100);
        assert_eq!(limit.next(now).unwrap().to_string(), "");
        written(&limit, 50, now);
        let next = limit.next(Timestamp::from_secs(102)).unwrap();
        assert_eq!(next.to_string(), " (41 lines like this were left out before)");
        assert_eq!(limit.next(Timestamp::from_secs(103)).unwrap().to_string(), "");
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let limit = LogLimit::default();
        written(&limit, 1000, Timestamp::from_secs(10_000));
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(100)), 10);
    }
}
