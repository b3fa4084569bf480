//! What runs the flows of one root context: their tasks, timers and calls, and when the host has to call them next.
//!
//! ```text
//!                    ┌──────────────── Runtime ─────────────────┐
//!  callbacks of the  │  Timers, Outbox, RedisDriver ── wake ──► │
//!  root context and ─┼──► Tasks: run a portion                  │ Host
//!  of requests       │    drive the streams of Redis ───────────┼──► open_stream, write_stream, close_stream
//!                    │    dispatch the calls of the Outbox ─────┼──► call
//!                    │    set the Alarm ────────────────────────┼──► set_tick
//!                    │    leave, if the host waits for that ────┼──► done
//!                    └──────────────────────────────────────────┘
//! ```
//!
//! It knows no Envoy: what Envoy can do for it is the trait [`Host`]. So all of it is tested natively.

mod alarm;
#[cfg(any(test, feature = "higress"))]
pub(crate) mod calls;
pub(crate) mod outbox;
pub(crate) mod rate;
mod redis;
pub(crate) mod tasks;
pub(crate) mod timers;

#[cfg(test)]
mod tests;

pub(crate) use self::redis::RedisCount;

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::time::Duration;

use http::{Request, Response};

use self::alarm::Alarm;
use self::outbox::{Outbox, Waiting};
use self::redis::{CommandOutcome, RedisDriver};
use self::tasks::{PORTION, TaskId, Tasks};
use self::timers::Timers;
use crate::redis::{
    Changed, ClientConfig, Command, Credentials, FailoverEvent, Failure, Health, Served, Servers, StreamId,
};
use crate::time::Timestamp;

/// How long the tasks of a root context may keep it, if the host has no use for it any more. It is a little longer than
/// a refreshed session waits for Redis.
const LEAVE_PATIENCE: Duration = Duration::from_secs(11 * 60);

/// What a host can do for a root context.
pub(crate) trait Host {
    /// A clock that no user sets, for timers and deadlines. Only differences of its times mean something.
    fn steady_now(&self) -> Timestamp;

    /// Makes an HTTP call through the bridge, and gives the token that its answer will have. Only in a callback of the
    /// root context.
    ///
    /// # Errors
    /// Why it made no call.
    fn call(&self, headers: Vec<(&str, &str)>, body: &[u8], timeout: Duration) -> Result<u32, String>;

    /// Calls the root context again after this period, and then in every such period; zero ends that.
    fn set_tick(&self, period: Duration);

    /// The root context may be deleted now.
    fn done(&self);

    /// Opens a stream to Redis with this method and these headers, and gives its token. Only in a callback of the root
    /// context.
    ///
    /// # Errors
    /// Why it opened no stream.
    fn open_stream(&self, method: &str, headers: Vec<(&str, &[u8])>) -> Result<u32, String>;

    /// Sends bytes on a stream, in any callback. If it gives false, the stream is gone.
    fn write_stream(&self, token: u32, bytes: &[u8]) -> bool;

    /// Ends a stream, in any callback.
    fn close_stream(&self, token: u32);

    /// Counts for the statistics of Redis.
    fn count(&self, what: RedisCount);
}

/// What happens again and again. It is no task, because tasks keep the root context.
struct Repeated {
    period: Duration,
    next: Cell<Timestamp>,
    action: Box<dyn Fn()>,
}

/// The runtime of one root context.
pub(crate) struct Runtime<H> {
    host: H,
    tasks: Tasks,
    timers: Timers,
    outbox: Outbox,
    redis: Option<RedisDriver>,
    alarm: Alarm,
    repeated: OnceCell<Repeated>,
    /// Whether the alarm has to be set again, although nothing was asked for.
    is_wake_earlier: Cell<bool>,
    /// If the host waits for this root context to leave: when it does so with tasks that are not done.
    leaves_at: Cell<Option<Timestamp>>,
}

impl<H: Host> Runtime<H> {
    /// `seed` is for the delays of reconnects to Redis, and should be another one in every worker.
    pub(crate) fn new(host: H, redis: Option<&ClientConfig>, seed: u64) -> Self {
        Self {
            host,
            tasks: Tasks::default(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            redis: redis.map(|config| RedisDriver::new(config, seed)),
            alarm: Alarm::default(),
            repeated: OnceCell::default(),
            is_wake_earlier: Cell::default(),
            leaves_at: Cell::default(),
        }
    }

    #[cfg(feature = "higress")]
    pub(crate) const fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Asks for an HTTP call, and waits for its answer. An error means that no answer came.
    pub(crate) fn call(&self, request: Request<Vec<u8>>, timeout: Duration) -> Waiting {
        self.outbox.call(request, timeout)
    }

    /// The answer of a call came; `None` if the call failed.
    pub(crate) fn answered(&self, token: u32, response: Option<Response<Vec<u8>>>) {
        self.outbox.answered(token, response);
    }

    /// Sends a command to Redis, and waits for its outcome.
    pub(crate) fn redis(&self, command: Command) -> impl Future<Output = CommandOutcome> + use<H> {
        let sent = self.redis.as_ref().map(|redis| redis.send(command, self.host.steady_now()));
        async move {
            match sent {
                Some((_pending, outcome)) => outcome.await.unwrap_or(Err(Failure::Lost)),
                None => Err(Failure::Unreachable),
            }
        }
    }

    /// How well Redis is.
    pub(crate) fn redis_health(&self) -> Health {
        self.redis.as_ref().map(|redis| redis.health(self.host.steady_now())).unwrap_or_default()
    }

    /// From now on this is called if something may lose a write in Redis.
    pub(crate) fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        if let Some(redis) = &self.redis {
            redis.watch(Box::new(hook));
        }
    }

    /// From now on this is called if keys have changed in Redis.
    pub(crate) fn watch_redis_changes(&self, hook: impl Fn(&Changed) + 'static) {
        if let Some(redis) = &self.redis {
            redis.watch_changes(Box::new(hook));
        }
    }

    /// The stream by which the server of a key tells of its changes.
    pub(crate) fn redis_tracks(&self, key: &[u8]) -> Option<StreamId> {
        self.redis.as_ref()?.tracks(key)
    }

    /// Whether what was read of a key over this stream is valid, if no change was told.
    pub(crate) fn redis_serves(&self, key: &[u8], stream: StreamId) -> bool {
        let Some(redis) = &self.redis else { return false };
        let served = redis.serves(key, stream, self.host.steady_now());
        if served == Served::First {
            self.is_wake_earlier.set(true);
        }
        served != Served::No
    }

    /// From now on this is called if a server rejects the password.
    pub(crate) fn watch_redis_auth(&self, hook: impl Fn() + 'static) {
        if let Some(redis) = &self.redis {
            redis.watch_auth(Box::new(hook));
        }
    }

    /// The password of these servers of Redis has changed.
    pub(crate) fn set_redis_credentials(&self, of: Servers, credentials: &Credentials) {
        if let Some(redis) = &self.redis {
            redis.set_credentials(of, credentials, self.host.steady_now());
        }
    }

    /// From now on calls this in every such period, for as long as the root context lives.
    pub(crate) fn every(&self, period: Duration, action: impl Fn() + 'static) {
        let next = Cell::new(self.host.steady_now().after(period));
        let _ = self.repeated.set(Repeated { period, next, action: Box::new(action) });
    }

    /// Bytes arrived on the stream with this token.
    pub(crate) fn stream_received(&self, token: u32, bytes: &[u8]) {
        if let Some(redis) = &self.redis {
            redis.received(token, bytes, self.host.steady_now());
        }
    }

    /// The stream with this token ended, with this message.
    pub(crate) fn stream_closed(&self, token: u32, message: &[u8]) {
        if let Some(redis) = &self.redis {
            redis.closed(token, message, self.host.steady_now());
        }
    }

    /// The tick came.
    pub(crate) fn ticked(&self) {
        self.alarm.rang();
        let now = self.host.steady_now();
        if let Some(redis) = &self.redis {
            redis.wake(now);
        }
        self.timers.fire(now);
        if let Some(repeated) = self.repeated.get().filter(|repeated| repeated.next.get() <= now) {
            repeated.next.set(now.after(repeated.period));
            (repeated.action)();
        }
    }

    /// Whether something was asked for that has not begun.
    fn has_work(&self) -> bool {
        self.tasks.is_ready() || !self.outbox.is_empty()
    }

    /// Whether the callback of a request has to end with [`end_of_request_callback`](Self::end_of_request_callback).
    pub(crate) fn is_changed(&self) -> bool {
        self.has_work() || self.is_wake_earlier.get()
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
        if let Some(redis) = &self.redis {
            redis.flush(&self.host, self.host.steady_now());
        }
        self.set_alarm();
    }

    /// A callback of the root context ends: a portion of the tasks that are ready runs, and what they asked for goes
    /// out. Replies of Redis wake tasks, and tasks send commands, which may fail at once.
    pub(crate) fn end_of_root_callback(&self) {
        let mut left = PORTION;
        loop {
            if let Some(redis) = &self.redis {
                let now = self.host.steady_now();
                redis.flush(&self.host, now);
                redis.open_streams(&self.host, now);
                redis.flush(&self.host, now);
            }
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
        self.is_wake_earlier.set(false);
        let now = self.host.steady_now();
        let next = if self.has_work() {
            Some(now)
        } else {
            let redis = self.redis.as_ref().and_then(|redis| redis.next_wake(now));
            let repeated = self.repeated.get().map(|repeated| repeated.next.get());
            self.timers.next().into_iter().chain(redis).chain(repeated).chain(self.leaves_at.get()).min()
        };
        if let Some(period) = self.alarm.set(next, now) {
            self.host.set_tick(period);
        }
    }
}
