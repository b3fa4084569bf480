//! Timers: the tasks that sleep, by the time at which they wake.
//!
//! There is no clock in here. A [`Sleep`] reads the one that it was made with, and the caller of [`Timers::fire`] says
//! what time it is: Envoy's tick, or a test that moves its clock by hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::time::Timestamp;

/// The timers of one root context, cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Timers(Rc<State>);

#[derive(Default)]
struct State {
    wakers: RefCell<BTreeMap<Key, Waker>>,
    next_number: Cell<u64>,
}

/// When a timer is due. The number tells timers of the same time apart, and keeps them in their order.
type Key = (Timestamp, u64);

impl Timers {
    /// Waits for this delay, by this clock.
    pub(crate) fn sleep<C: Fn() -> Timestamp>(&self, delay: Duration, clock: C) -> Sleep<C> {
        Sleep { timers: self.clone(), until: clock().after(delay), clock, key: None }
    }

    /// When the first timer is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.wakers.borrow().keys().next().map(|(at, _)| *at)
    }

    /// Wakes the tasks whose timers are due.
    pub(crate) fn fire(&self, now: Timestamp) {
        while let Some(waker) = self.take_due(now) {
            waker.wake();
        }
    }

    fn take_due(&self, now: Timestamp) -> Option<Waker> {
        let mut wakers = self.0.wakers.borrow_mut();
        let first = wakers.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn new_key(&self, until: Timestamp) -> Key {
        let number = self.0.next_number.get();
        self.0.next_number.set(number.wrapping_add(1));
        (until, number)
    }
}

/// Waits until a time. If it is dropped, its timer ends with it.
pub(crate) struct Sleep<C> {
    timers: Timers,
    until: Timestamp,
    clock: C,
    /// Its timer, if it has begun to wait.
    key: Option<Key>,
}

impl<C: Fn() -> Timestamp + Unpin> Future for Sleep<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if (self.clock)() >= self.until {
            return Poll::Ready(());
        }
        let key = self.key.unwrap_or_else(|| self.timers.new_key(self.until));
        self.key = Some(key);
        self.timers.0.wakers.borrow_mut().insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl<C> Drop for Sleep<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timers.0.wakers.borrow_mut().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tasks::Tasks;

    /// A clock that is moved by hand, timers, and tasks that note their number when they wake.
    #[derive(Clone, Default)]
    struct Sleepers {
        secs: Rc<Cell<i64>>,
        timers: Timers,
        tasks: Rc<Tasks>,
        woken: Rc<RefCell<Vec<u64>>>,
    }

    impl Sleepers {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(self.secs.get())
        }

        fn sleep(&self, secs: u64) -> Sleep<impl Fn() -> Timestamp + Unpin + use<>> {
            let clock = self.clone();
            self.timers.sleep(Duration::from_secs(secs), move || clock.now())
        }

        /// A task that sleeps, then notes this number.
        fn spawn(&self, secs: u64, number: u64) {
            let (sleep, woken) = (self.sleep(secs), Rc::clone(&self.woken));
            self.tasks.spawn(Box::pin(async move {
                sleep.await;
                woken.borrow_mut().push(number);
            }));
            self.tasks.run(usize::MAX);
        }

        /// The numbers that are noted by this time.
        fn woken_at(&self, secs: i64) -> Vec<u64> {
            self.secs.set(secs);
            self.timers.fire(self.now());
            self.tasks.run(usize::MAX);
            self.woken.take()
        }
    }

    #[test]
    fn due_timers_wake_their_tasks_in_order() {
        let sleepers = Sleepers::default();
        for (number, secs) in [(1, 9), (2, 3), (3, 5), (4, 3)] {
            sleepers.spawn(secs, number);
        }
        assert_eq!(sleepers.timers.next(), Some(Timestamp::from_secs(3)));
        assert_eq!(sleepers.woken_at(2), [0; 0]);
        assert_eq!(sleepers.woken_at(5), [2, 4, 3]);
        assert_eq!(sleepers.timers.next(), Some(Timestamp::from_secs(9)));
        assert_eq!(sleepers.woken_at(9), [1]);
        assert_eq!(sleepers.timers.next(), None);
    }

    #[test]
    fn sleep_of_no_time_is_over_at_once() {
        let sleepers = Sleepers::default();
        sleepers.spawn(0, 1);
        assert_eq!(*sleepers.woken.borrow(), [1]);
        assert_eq!(sleepers.timers.next(), None);
    }

    #[test]
    fn dropped_sleep_leaves_no_timer() {
        let sleepers = Sleepers::default();
        let (id, waker) = sleepers.tasks.prepare();
        let mut sleep = Box::pin(sleepers.sleep(5));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleepers.tasks.insert(id, sleep);
        assert!(sleepers.timers.next().is_some());
        sleepers.tasks.cancel(id);
        assert_eq!(sleepers.timers.next(), None);
    }

    #[test]
    fn sleep_that_is_polled_again_keeps_one_timer() {
        let sleepers = Sleepers::default();
        let mut sleep = Box::pin(sleepers.sleep(5));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(sleep.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(sleepers.timers.0.wakers.borrow().len(), 1);
    }
}
