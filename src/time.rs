//! A point in time, as sessions store it: nanoseconds matter, and so do dates before 1970.

use std::time::Duration;

/// Seconds and nanoseconds since the Unix epoch, UTC.
///
/// `nanos` is always below 1,000,000,000, so the derived order is the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

const NANOS_PER_SEC: u32 = 1_000_000_000;

impl Timestamp {
    /// A whole second.
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// Seconds and nanoseconds; nanoseconds past a second are carried over, as Go's `time.Unix` does.
    pub fn new(secs: i64, nanos: u32) -> Self {
        Self {
            secs: secs.saturating_add(i64::from(nanos / NANOS_PER_SEC)),
            nanos: nanos % NANOS_PER_SEC,
        }
    }

    /// The seconds, rounded towards the past.
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// The nanoseconds within the second.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// This point in time, `delay` later; the end of time where that overflows.
    pub fn after(self, delay: Duration) -> Self {
        let secs = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        Self::new(
            self.secs.saturating_add(secs),
            self.nanos.saturating_add(delay.subsec_nanos()),
        )
    }

    /// How long ago `earlier` was; zero where it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        let ahead = i128::from(self.secs) * i128::from(NANOS_PER_SEC) + i128::from(self.nanos)
            - (i128::from(earlier.secs) * i128::from(NANOS_PER_SEC) + i128::from(earlier.nanos));
        let nanos = u128::try_from(ahead).unwrap_or(0);
        let per_sec = u128::from(NANOS_PER_SEC);
        Duration::new(
            u64::try_from(nanos / per_sec).unwrap_or(u64::MAX),
            u32::try_from(nanos % per_sec).unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_nanoseconds_past_a_second() {
        let time = Timestamp::new(1, 2_500_000_000);
        assert_eq!((time.secs(), time.nanos()), (3, 500_000_000));
    }

    #[test]
    fn knows_how_long_ago_something_was() {
        let now = Timestamp::new(10, 250_000_000);
        let then = Timestamp::new(8, 750_000_000);
        assert_eq!(now.since(then), Duration::from_millis(1500));
        assert_eq!(then.since(now), Duration::ZERO);
    }

    #[test]
    fn does_not_overflow_at_the_ends_of_time() {
        let end = Timestamp::from_secs(i64::MAX);
        assert_eq!(end.after(Duration::MAX).secs(), i64::MAX);
        let _ = end.since(Timestamp::from_secs(i64::MIN));
    }
}
