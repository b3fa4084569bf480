//! What a run measured.

use std::time::Duration;

/// Percentiles and windows over times since the start.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that `part` of a thousand are not above; none if there are none.
    pub(crate) fn percentile(&self, part: usize) -> Option<Duration> {
        let index = (self.0.len() * part).div_ceil(1000).saturating_sub(1);
        self.0.get(index).copied()
    }

    /// The most that lie within any window of this length.
    pub(crate) fn most_within(&self, window: Duration) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (index, time) in self.0.iter().enumerate() {
            while self.0.get(first).is_some_and(|start| time.saturating_sub(*start) >= window) {
                first += 1;
            }
            most = most.max(index + 1 - first);
        }
        most
    }
}

/// Milliseconds with one digit; none stays none.
pub(crate) fn millis(time: Option<Duration>) -> Option<f64> {
    time.map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Times {
        millis.iter().map(|time| Duration::from_millis(*time)).collect()
    }

    #[test]
    fn percentile_is_one_of_the_times() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(times(&hundred).percentile(500), Some(Duration::from_millis(50)));
        assert_eq!(times(&hundred).percentile(990), Some(Duration::from_millis(99)));
        assert_eq!(times(&hundred).percentile(1000), Some(Duration::from_millis(100)));
        assert_eq!(times(&[]).percentile(500), None);
    }

    #[test]
    fn window_does_not_include_its_end() {
        let some = times(&[0, 50, 99, 100, 300]);
        assert_eq!(some.most_within(Duration::from_millis(100)), 3);
        assert_eq!(some.most_within(Duration::from_millis(301)), 5);
    }
}
