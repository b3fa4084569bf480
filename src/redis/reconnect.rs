//! When to connect again, and which commands wait for it.
//!
//! ```text
//!  failure ──────────── patience ────────────►│
//!     │  commands wait for the reconnects     │  commands fail at once with the last failure,
//!     │  up to their own deadlines            │  unless an attempt is due or under way:
//!     │                                       │  then they wait for that one
//!     ├── 50..100 ms ── attempt ── 100..200 ms ── attempt ── ... ── 0.5..1 s ── attempt
//! ```
//!
//! An outage lasts from a failure to the next handshake that succeeds. If the server was not ready for commands,
//! which a handshake does not show, it lasts to the next command that the server runs. The delay is drawn from the
//! upper half of a range that doubles, so that not all clients come back at the same moment.

use std::time::Duration;

use super::failure::Failure;
use crate::time::Timestamp;

/// The shortest delay before an attempt.
const MIN_DELAY: Duration = Duration::from_millis(50);

/// The longest.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// In which time all clients connect to a new server. A server that needs 30 µs for a connection accepts 1,600 in it.
const SPREAD: Duration = Duration::from_millis(50);

/// The outage of one server, if there is one.
pub(super) struct Reconnect {
    outage: Option<Outage>,
    jitter: Jitter,
    patience: Duration,
}

struct Outage {
    since: Timestamp,
    failures: u32,
    last: Failure,
    retry_at: Timestamp,
}

impl Reconnect {
    pub(super) const fn new(seed: u64, patience: Duration) -> Self {
        Self { outage: None, jitter: Jitter::new(seed), patience }
    }

    /// Something failed now that began at `since`.
    pub(super) fn failed(&mut self, failure: Failure, since: Timestamp, now: Timestamp) {
        let (since, failures) =
            self.has_failed().map_or((since, 0), |outage| (outage.since, outage.failures));
        let retry_at = now.after(self.jitter.delay(failures));
        self.outage = Some(Outage { since, failures: failures.saturating_add(1), last: failure, retry_at });
    }

    /// The server has changed, so the next attempt need not wait.
    pub(super) fn retry_now(&mut self, now: Timestamp) {
        if let Some(outage) = &mut self.outage {
            outage.retry_at = outage.retry_at.min(now);
        }
    }

    /// The server has changed, and all clients hear of that in the same moment. So the next attempt waits for a short random
    /// time: if all connected at once, the server would not accept all of them.
    pub(super) fn retry_soon(&mut self, now: Timestamp) {
        let retry_at = now.after(self.jitter.up_to(SPREAD));
        match &mut self.outage {
            Some(outage) => outage.retry_at = retry_at,
            None => {
                self.outage = Some(Outage { since: now, failures: 0, last: Failure::NotMaster, retry_at })
            }
        }
    }

    /// The outage, unless the server has only changed and no attempt failed yet.
    fn has_failed(&self) -> Option<&Outage> {
        self.outage.as_ref().filter(|outage| outage.failures > 0)
    }

    /// A handshake succeeded.
    pub(super) fn connected(&mut self) {
        self.outage = self.outage.take().filter(|outage| matches!(outage.last, Failure::NotReady(_)));
    }

    /// The server ran a command.
    pub(super) fn succeeded(&mut self) {
        self.outage = None;
    }

    /// Whether there is an outage.
    pub(super) const fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether an attempt may begin.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.retry_at().is_none_or(|retry_at| now >= retry_at)
    }

    /// When the next attempt may begin; `None` means at once, without an outage.
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.outage.as_ref().map(|outage| outage.retry_at)
    }

    /// Why a command that was sent at this time fails at once; `None` if it waits for the end of the outage.
    ///
    /// A command never waits for a server that refuses the handshake: an operator has to change the configuration.
    pub(super) fn verdict(&self, sent_at: Timestamp) -> Option<&Failure> {
        let outage = self.has_failed()?;
        let rides_out = sent_at < outage.since.after(self.patience)
            && !matches!(outage.last, Failure::HandshakeRefused { .. });
        (!rides_out).then_some(&outage.last)
    }
}

/// Random delays (splitmix64). To guess them is of no use to an attacker.
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The delay after this many earlier failures.
    fn delay(&mut self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_add(1)).unwrap_or(u32::MAX);
        let longest = MIN_DELAY.saturating_mul(doubled).min(MAX_DELAY);
        longest / 2 + self.up_to(longest / 2)
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(0);
        Duration::from_nanos(self.next() % longest.saturating_add(1))
    }

    /// A random number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1000);

    fn fail(reconnect: &mut Reconnect, now: Timestamp) -> Duration {
        reconnect.failed(Failure::Unreachable, now, now);
        reconnect.retry_at().unwrap().since(now)
    }

    #[test]
    fn delays_double_up_to_one_second() {
        for seed in 0..200 {
            let mut reconnect = Reconnect::new(seed, MAX_DELAY);
            for (least, most) in [(50, 100), (100, 200), (200, 400), (400, 800), (500, 1000), (500, 1000)] {
                let delay = fail(&mut reconnect, START);
                let range = Duration::from_millis(least)..=Duration::from_millis(most);
                assert!(range.contains(&delay), "{delay:?} is not in {range:?}");
            }
        }
    }

    #[test]
    fn delay_after_many_failures_stays_at_one_second() {
        let mut jitter = Jitter(7);
        for failures in [10, 30, 31, 32, 33, u32::MAX] {
            assert!((MAX_DELAY / 2..=MAX_DELAY).contains(&jitter.delay(failures)), "{failures}");
        }
    }

    #[test]
    fn delays_differ_by_seed() {
        let delays = |seed| {
            let mut reconnect = Reconnect::new(seed, MAX_DELAY);
            [(); 8].map(|()| fail(&mut reconnect, START))
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    #[test]
    fn clients_connect_to_a_new_server_in_different_moments() {
        for has_failed in [false, true] {
            let delay = |seed| {
                let mut reconnect = Reconnect::new(seed, MAX_DELAY);
                if has_failed {
                    fail(&mut reconnect, Timestamp::from_secs(0));
                }
                reconnect.retry_soon(START);
                assert!(reconnect.verdict(START).is_none() || has_failed, "commands wait for it");
                reconnect.retry_at().unwrap().since(START)
            };
            let delays: std::collections::BTreeSet<_> = (0..200).map(delay).collect();
            assert!(delays.len() == 200 && delays.last() <= Some(&SPREAD), "{delays:?}");
        }
    }

    #[test]
    fn command_waits_although_the_server_has_changed_long_ago() {
        let mut reconnect = Reconnect::new(0, MAX_DELAY);
        reconnect.retry_soon(START);
        let now = START.after(10 * MAX_DELAY);
        assert_eq!(reconnect.verdict(now), None);
        fail(&mut reconnect, now);
        assert_eq!(reconnect.verdict(now), None);
    }

    #[test]
    fn successful_command_ends_outage() {
        let mut reconnect = Reconnect::new(0, MAX_DELAY);
        assert!(reconnect.is_due(START));
        for _ in 0..5 {
            fail(&mut reconnect, START);
        }
        assert!(!reconnect.is_due(START));
        reconnect.succeeded();
        assert!(reconnect.is_due(START));
        assert_eq!(reconnect.verdict(START.after(MAX_DELAY)), None);
        assert!(fail(&mut reconnect, START) <= Duration::from_millis(100));
    }

    #[test]
    fn command_waits_only_in_a_young_outage() {
        let mut reconnect = Reconnect::new(0, MAX_DELAY);
        let later = |millis| START.after(Duration::from_millis(millis));
        reconnect.failed(Failure::Lost, START, START);
        reconnect.failed(Failure::Unreachable, later(500), later(600));
        assert_eq!(reconnect.verdict(later(999)), None);
        assert_eq!(reconnect.verdict(later(1000)), Some(&Failure::Unreachable));
    }
}
