//! The host's tick as an alarm: when it comes next, and which period the host has to be told.

use std::cell::Cell;
use std::time::Duration;

use crate::time::Timestamp;

/// The shortest period of a tick.
const SHORTEST: Duration = Duration::from_millis(1);

/// The tick of one root context. The host repeats it until it gets another period, and each time begins to wait anew.
#[derive(Default)]
pub(crate) struct Alarm {
    /// When the tick comes next, as the host was last told.
    at: Cell<Option<Timestamp>>,
}

impl Alarm {
    /// The tick came.
    pub(crate) fn rang(&self) {
        self.at.set(None);
    }

    /// The period that the host has to be told so that the tick comes at `next`. If `next` has passed, the tick comes
    /// as soon as it can. `Some(ZERO)` ends the tick; `None` means that the host knows already.
    pub(crate) fn set(&self, next: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let Some(next) = next else {
            // A needless tick does no harm, so the one that was asked for may come.
            return self.at.get().is_none().then_some(Duration::ZERO);
        };
        let at = next.max(now.after(SHORTEST));
        // Under a steady load, a tick that each callback delays would never come.
        if self.at.get().is_some_and(|asked| asked <= at) {
            return None;
        }
        self.at.set(Some(at));
        Some(at.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_secs(1000).after(Duration::from_micros(micros))
    }

    #[test]
    fn frequent_callbacks_do_not_delay_the_tick() {
        let alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(0)), at(0)), Some(SHORTEST));
        for micros in (0..5000).step_by(100) {
            assert_eq!(alarm.set(Some(at(micros)), at(micros)), None);
        }
        alarm.rang();
        assert_eq!(alarm.set(Some(at(5000)), at(5000)), Some(SHORTEST));
    }

    #[test]
    fn earlier_time_replaces_a_later_one() {
        let alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(9000)), at(0)), Some(Duration::from_millis(9)));
        assert_eq!(alarm.set(Some(at(4000)), at(0)), Some(Duration::from_millis(4)));
        assert_eq!(alarm.set(Some(at(9000)), at(0)), None);
    }

    #[test]
    fn tick_stops_if_nothing_is_due() {
        let alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(4000)), at(0)), Some(Duration::from_millis(4)));
        assert_eq!(alarm.set(None, at(1000)), None);
        alarm.rang();
        assert_eq!(alarm.set(None, at(4000)), Some(Duration::ZERO));
    }
}
