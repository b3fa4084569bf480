//! What runs the flows of one root context: their tasks, timers and calls, and when the host has to call them next.
//!
//! ```text
//!                    ┌────────────── Runtime ───────────────┐
//!  callbacks of the  │  Timers, Outbox, Redis ── wake ──►   │
//!  root context and ─┼──► Tasks: run a portion              │ Host
//!  of requests       │    flush, open the streams ──────────┼──► Redis
//!                    │    dispatch the calls of the Outbox ─┼──► call
//!                    │    set the Alarm ────────────────────┼──► set_tick
//!                    │    leave, if the host waits for that ┼──► done
//!                    └──────────────────────────────────────┘
//! ```
//!
//! It knows no Envoy: what Envoy can do for it is the trait [`Host`]. So all of it is tested natively.

mod alarm;
mod outbox;
pub(crate) mod rate;
pub(crate) mod tasks;
pub(crate) mod timers;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use http::{Request, Response};

use self::alarm::Alarm;
use self::outbox::Outbox;
use self::tasks::{PORTION, TaskId, Tasks};
use self::timers::Timers;
use crate::time::Timestamp;

/// How long the tasks of a root context may keep it, if the host has no use for it any more. It is a little longer than
/// a refreshed session waits for Redis.
const LEAVE_PATIENCE: Duration = Duration::from_secs(11 * 60);

/// What a host can do for a root context.
pub(crate) trait Host {
    /// A clock that no user sets, for timers and deadlines. Only differences of its times mean something.
    fn steady_now(&self) -> Timestamp;

    /// Makes an HTTP call, and gives the token that its answer will have. Only in a callback of the root context.
    ///
    /// # Errors
    /// Why it made no call.
    fn call(&self, request: &Request<Vec<u8>>, timeout: Duration) -> Result<u32, String>;

    /// Calls the root context again after this period, and then in every such period; zero ends that.
    fn set_tick(&self, period: Duration);

    /// The root context may be deleted now.
    fn done(&self);

    /// Tells Redis what time it is.
    fn wake_redis(&self, now: Timestamp);

    /// When Redis has to be told the time.
    fn next_wake_of_redis(&self, now: Timestamp) -> Option<Timestamp>;

    /// Sends what was asked of Redis, and hands out its replies. In any callback.
    fn flush_redis(&self, now: Timestamp);

    /// Opens the streams to Redis that it needs. Only in a callback of the root context.
    fn open_streams(&self, now: Timestamp);
}

/// The runtime of one root context.
pub(crate) struct Runtime<H> {
    host: H,
    tasks: Tasks,
    timers: Timers,
    outbox: Outbox,
    alarm: Alarm,
    /// If the host waits for this root context to leave: when it does so with tasks that are not done.
    leaves_at: Cell<Option<Timestamp>>,
}

impl<H: Host> Runtime<H> {
    pub(crate) fn new(host: H) -> Self {
        Self {
            host,
            tasks: Tasks::default(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            alarm: Alarm::default(),
            leaves_at: Cell::default(),
        }
    }

    pub(crate) fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Asks for an HTTP call; gives its answer, or `None` if none came.
    pub(crate) fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Option<Response<Vec<u8>>>> + use<H> {
        self.outbox.call(request, timeout)
    }

    /// The answer of a call came; `None` if the call failed.
    pub(crate) fn answered(&self, token: u32, response: Option<Response<Vec<u8>>>) {
        self.outbox.answered(token, response);
    }

    /// The tick came.
    pub(crate) fn ticked(&self) {
        self.alarm.rang();
        let now = self.host.steady_now();
        self.host.wake_redis(now);
        self.timers.fire(now);
    }

    /// Whether something was asked for that has not begun.
    pub(crate) fn has_work(&self) -> bool {
        self.tasks.is_ready() || !self.outbox.is_empty()
    }

    /// Drops the task that decides about a request, because the request is gone. Other tasks may have waited for it.
    pub(crate) fn cancel(&self, task: TaskId) {
        self.tasks.cancel(task);
        if self.has_work() {
            self.set_alarm();
        }
    }

    /// A callback of a request ends: what its flow asked of Redis goes out, in one piece.
    pub(crate) fn end_of_request_callback(&self) {
        self.host.flush_redis(self.host.steady_now());
        self.set_alarm();
    }

    /// A callback of the root context ends: a portion of the tasks that are ready runs, and what they asked for goes
    /// out. Replies of Redis wake tasks, and tasks send commands, which may fail at once.
    pub(crate) fn end_of_root_callback(&self) {
        let mut left = PORTION;
        loop {
            let now = self.host.steady_now();
            self.host.flush_redis(now);
            self.host.open_streams(now);
            self.host.flush_redis(now);
            match self.tasks.run(left) {
                0 => break,
                ran => left = left.saturating_sub(ran),
            }
        }
        self.outbox.dispatch(&self.host);
        self.set_alarm();
        self.leave_if_done();
    }

    /// Whether the host may delete the root context now. With its tasks it would lose the answers that they wait for,
    /// such as the tokens of a refresh. So it stays until they are done, and then says so itself ([`Host::done`]).
    pub(crate) fn may_leave(&self) -> bool {
        if self.tasks.is_empty() {
            return true;
        }
        self.leaves_at.set(Some(self.host.steady_now().after(LEAVE_PATIENCE)));
        self.set_alarm();
        false
    }

    fn leave_if_done(&self) {
        let leaves = |at| self.tasks.is_empty() || at <= self.host.steady_now();
        if self.leaves_at.get().is_some_and(leaves) {
            self.leaves_at.set(None);
            self.host.done();
        }
    }

    /// Sets the host's tick to the next time at which something is due; to at once if something has not begun.
    fn set_alarm(&self) {
        let now = self.host.steady_now();
        let next = if self.has_work() {
            Some(now)
        } else {
            let redis = self.host.next_wake_of_redis(now);
            self.timers.next().into_iter().chain(redis).chain(self.leaves_at.get()).min()
        };
        if let Some(period) = self.alarm.set(next, now) {
            self.host.set_tick(period);
        }
    }
}
