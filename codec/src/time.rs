//! A point in time, as sessions store it: nanoseconds matter, and so do dates before 1970.

use std::fmt;
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
const SECS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// A whole second.
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// Seconds and nanoseconds; nanoseconds past a second are carried over, as Go's `time.Unix` does.
    pub fn new(secs: i64, nanos: u32) -> Self {
        Self { secs: secs.saturating_add(i64::from(nanos / NANOS_PER_SEC)), nanos: nanos % NANOS_PER_SEC }
    }

    /// The seconds, rounded towards the past.
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// The nanoseconds within the second.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// This point in time, `delay` later. It saturates.
    pub fn after(self, delay: Duration) -> Self {
        let secs = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        Self::new(self.secs.saturating_add(secs), self.nanos.saturating_add(delay.subsec_nanos()))
    }

    /// Whether this was less than `period` before `now`. A time in the future was not: the clock was set back meanwhile.
    pub fn was_within(self, period: Duration, now: Self) -> bool {
        self <= now && now.since(self) < period
    }

    /// How long ago `earlier` was; zero if it is in the future.
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

/// RFC 3339 in UTC, without trailing zeros in the fraction: `2023-11-14T22:13:20.5Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.secs.div_euclid(SECS_PER_DAY));
        let of_day = self.secs.rem_euclid(SECS_PER_DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of a number of days since 1970 in the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last; 400 of them have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468); // since 0000-03-01
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era.saturating_mul(400) + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_carried_into_seconds() {
        let time = Timestamp::new(1, 2_500_000_000);
        assert_eq!((time.secs(), time.nanos()), (3, 500_000_000));
    }

    #[test]
    fn elapsed_time_is_never_negative() {
        let now = Timestamp::new(10, 250_000_000);
        let then = Timestamp::new(8, 750_000_000);
        assert_eq!(now.since(then), Duration::from_millis(1500));
        assert_eq!(then.since(now), Duration::ZERO);
    }

    #[test]
    fn future_time_was_not_within_a_period() {
        let now = Timestamp::from_secs(10);
        let period = Duration::from_secs(5);
        let was_within = |secs| Timestamp::from_secs(secs).was_within(period, now);
        assert_eq!([4, 5, 6, 10, 11, 3610].map(was_within), [false, false, true, true, false, false]);
    }

    #[test]
    fn times_saturate_at_their_limits() {
        let end = Timestamp::from_secs(i64::MAX);
        assert_eq!(end.after(Duration::MAX).secs(), i64::MAX);
        let _ = end.since(Timestamp::from_secs(i64::MIN));
    }

    #[test]
    fn timestamp_is_written_as_rfc_3339() {
        for (secs, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (951_782_399, 0, "2000-02-28T23:59:59Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_700_000_000, 123_456_789, "2023-11-14T22:13:20.123456789Z"),
            (1_700_000_000, 500_000_000, "2023-11-14T22:13:20.5Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::new(secs, nanos).to_string(), text);
        }
        let _ = Timestamp::from_secs(i64::MIN).to_string();
        let _ = Timestamp::from_secs(i64::MAX).to_string();
    }
}
