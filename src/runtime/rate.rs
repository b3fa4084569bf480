//! How often something may happen: some at once, then one in every period.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

/// A token bucket, kept as one time: the end of the periods that the events so far have used up. Each event costs a
/// period, and fewer than `at_once` periods may be used in advance.
pub(crate) struct Rate {
    period: Duration,
    owed_at_most: Duration,
    paid_at: Cell<Option<Timestamp>>,
}

impl Rate {
    pub(crate) const fn new(at_once: u32, period: Duration) -> Self {
        let owed_at_most = period.saturating_mul(at_once.saturating_sub(1));
        Self { period, owed_at_most, paid_at: Cell::new(None) }
    }

    /// Whether the event may happen now.
    pub(crate) fn allows(&self, now: Timestamp) -> bool {
        self.paid_at(now).since(now) <= self.owed_at_most
    }

    /// The event happens now, and costs as much as `times` events.
    pub(crate) fn take(&self, times: u32, now: Timestamp) {
        let paid_at = self.paid_at(now).after(self.period.saturating_mul(times));
        self.paid_at.set(Some(paid_at.min(now.after(self.most()))));
    }

    fn paid_at(&self, now: Timestamp) -> Timestamp {
        // A time further ahead than that is only possible if the clock was set back.
        let paid_at =
            self.paid_at.get().filter(|paid_at| *paid_at > now && paid_at.since(now) <= self.most());
        paid_at.unwrap_or(now)
    }

    /// The most that can be used in advance, by an event that costs as much as many.
    fn most(&self) -> Duration {
        self.owed_at_most.saturating_add(self.period).saturating_mul(2)
    }
}

/// The limit of one kind of log line: ten at once, such as for ten users who fail in the same moment; then one a
/// second.
pub(crate) struct LogLimit {
    rate: Rate,
    left_out: Cell<u64>,
}

/// How many lines of the same kind were left out before this one. Zero prints nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl LogLimit {
    /// `Some` if a line may be written now. Print it at the end of the line.
    pub(crate) fn next(&self, now: Timestamp) -> Option<LeftOut> {
        if !self.rate.allows(now) {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        self.rate.take(1, now);
        Some(LeftOut(self.left_out.take()))
    }
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { rate: Rate::new(10, Duration::from_secs(1)), left_out: Cell::default() }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 similar line was left out before)"),
            count => write!(f, " ({count} similar lines were left out before)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these lines are written, if all come at the same time.
    fn written(limit: &LogLimit, lines: usize, now: Timestamp) -> usize {
        (0..lines).filter_map(|_| limit.next(now)).count()
    }

    #[test]
    fn ten_lines_at_once_then_one_a_second() {
        let limit = LogLimit::default();
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(100)), 10);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(101)), 1);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(104)), 3);
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(1000)), 10);
    }

    #[test]
    fn line_says_how_many_were_left_out_before() {
        let limit = LogLimit::default();
        let now = Timestamp::from_secs(100);
        assert_eq!(limit.next(now).unwrap().to_string(), "");
        written(&limit, 50, now);
        let next = limit.next(Timestamp::from_secs(102)).unwrap();
        assert_eq!(next.to_string(), " (41 similar lines were left out before)");
        assert_eq!(limit.next(Timestamp::from_secs(103)).unwrap().to_string(), "");
    }

    #[test]
    fn expensive_event_blocks_the_next_for_several_periods() {
        let rate = Rate::new(2, Duration::from_secs(1));
        let now = |secs: i64| Timestamp::from_secs(100 + secs);
        rate.take(3, now(0));
        assert_eq!([0, 1, 2].map(|secs| rate.allows(now(secs))), [false, false, true]);
        rate.take(1000, now(3));
        assert_eq!([3, 5, 6].map(|secs| rate.allows(now(secs))), [false, false, true]);
    }

    #[test]
    fn clock_that_is_set_back_silences_no_line() {
        let limit = LogLimit::default();
        written(&limit, 1000, Timestamp::from_secs(10_000));
        assert_eq!(written(&limit, 1000, Timestamp::from_secs(100)), 10);
    }
}
