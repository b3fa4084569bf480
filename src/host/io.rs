//! The core's world in Envoy: host calls for time, randomness, HTTP calls and shared data.
//!
//! Envoy ties a call to the context that makes it: a call made by a request is cancelled with that
//! request, and its answer is lost to anybody else who waits for it. So the calls of all flows go
//! into an outbox, which the root context empties in its tick, at most a millisecond later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use futures_channel::oneshot;
use http::{Request, Response};
use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

use super::metrics::Metrics;
use super::redis::Redis;
use super::{abi, redis};
use crate::config::Config;
use crate::flow::io::{CallFailed, Conflict, Count, Io, NoRandom, Shared, Version};
use crate::redis::{Command, CommandId, FailoverEvent, Failure, Health};
use crate::runtime::alarm::Alarm;
use crate::runtime::rate::LogLimit;
use crate::runtime::tasks::{PORTION, TaskId, Tasks};
use crate::time::Timestamp;

/// Tells the bridge whether to speak TLS; the bridge takes it off again.
const BRIDGE_HEADER: &str = "x-oauth2-session-bridge";

/// A firewall in front of a provider may refuse who does not say what it is.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Where the answer of a call goes; dropped where there is none.
type Answer = oneshot::Sender<Response<Vec<u8>>>;

struct Call {
    request: Request<Vec<u8>>,
    timeout: Duration,
    answer: Answer,
}

/// The I/O of one root context.
#[derive(Clone)]
pub(super) struct HostIo(Rc<State>);

/// How long a root context that the host has no use for any more waits for its tasks: a little longer than a renewed
/// session waits for Redis.
const LEAVE_PATIENCE: Duration = Duration::from_secs(11 * 60);

struct State {
    bridge_cluster: String,
    redis: Option<Redis>,
    metrics: Metrics,
    not_made: LogLimit,
    tasks: Tasks,
    outbox: RefCell<Vec<Call>>,
    calls: RefCell<HashMap<u32, Answer>>,
    timers: RefCell<BTreeMap<(Timestamp, u64), Waker>>,
    timer_number: Cell<u64>,
    alarm: Alarm,
    /// When this root context goes whatever it does, if the host has no use for it any more.
    leaves_at: Cell<Option<Timestamp>>,
}

impl HostIo {
    pub(super) fn new(root_id: u32, config: &Config) -> Self {
        let bridge_cluster = &config.bridge_cluster;
        let metrics = Metrics::new();
        let mut seed = [0; 8];
        // For the delays of reconnects; zeros where there is no randomness do as well.
        let _ = getrandom::fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        let redis = config.redis.as_ref();
        Self(Rc::new(State {
            redis: redis.map(|redis| Redis::new(root_id, bridge_cluster, &redis.client, seed, metrics)),
            metrics,
            not_made: LogLimit::default(),
            bridge_cluster: bridge_cluster.clone(),
            tasks: Tasks::default(),
            outbox: RefCell::default(),
            calls: RefCell::default(),
            timers: RefCell::default(),
            timer_number: Cell::default(),
            alarm: Alarm::default(),
            leaves_at: Cell::default(),
        }))
    }

    /// A clock that nobody sets, for timers and deadlines; where its zero lies is of no meaning. [`Io::now`] is the
    /// time of day, which may be set back by an hour.
    fn steady(&self) -> Timestamp {
        let since = abi::monotonic_time();
        since.map_or_else(|| self.now(), |since| Timestamp::from_secs(0).after(since))
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Hands the answer of a call to whoever waits for it; `None` where no answer came.
    pub(super) fn answered(&self, token: u32, response: Option<Response<Vec<u8>>>) {
        let waiting = self.0.calls.borrow_mut().remove(&token);
        if let (Some(sender), Some(response)) = (waiting, response) {
            // The one who asked may be gone; then the answer is nobody's.
            let _ = sender.send(response);
        }
    }

    /// The tick: wakes the tasks whose time has come.
    pub(super) fn ring(&self) {
        self.0.alarm.rang();
        let now = self.steady();
        if let Some(redis) = &self.0.redis {
            redis.wake(now);
        }
        loop {
            let mut timers = self.0.timers.borrow_mut();
            match timers.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let waker = first.remove();
                    drop(timers);
                    waker.wake();
                }
                _ => return,
            }
        }
    }

    /// Sets the host's alarm to the next timer; to at once if the root context has something to do.
    fn set_alarm(&self) {
        let now = self.steady();
        let next = if self.has_work() {
            Some(now)
        } else {
            let timer = self.0.timers.borrow().keys().next().map(|(at, _)| *at);
            let redis = self.0.redis.as_ref().and_then(|redis| redis.next_wake(now));
            timer.into_iter().chain(redis).chain(self.0.leaves_at.get()).min()
        };
        if let Some(period) = self.0.alarm.set(next, now) {
            let _ = hostcalls::set_tick_period(period);
        }
    }

    /// Whether something was asked for that has not begun.
    pub(super) fn has_work(&self) -> bool {
        self.0.tasks.is_ready() || !self.0.outbox.borrow().is_empty()
    }

    /// What a request's own callback ends with: what the flow asked of Redis goes out, in one piece.
    pub(super) fn end_of_request_callback(&self) {
        if let Some(redis) = &self.0.redis {
            redis.flush(self.steady());
        }
        self.set_alarm();
    }

    /// A request is gone, and with it the task that decides about it. Others may have waited for just that.
    pub(super) fn cancel(&self, task: TaskId) {
        self.0.tasks.cancel(task);
        if self.has_work() {
            self.set_alarm();
        }
    }

    /// What a callback of the root context ends with: a portion of the tasks that are ready runs, and what they asked
    /// for goes out. Replies of Redis wake tasks, and tasks send commands, which may fail at once.
    pub(super) fn end_of_root_callback(&self) {
        let mut left = PORTION;
        loop {
            if let Some(redis) = &self.0.redis {
                let now = self.steady();
                redis.flush(now);
                redis.open_streams(now);
                redis.flush(now);
            }
            match self.0.tasks.run(left) {
                0 => break,
                ran => left = left.saturating_sub(ran),
            }
        }
        self.dispatch();
        self.set_alarm();
        if self.0.leaves_at.get().is_some_and(|at| self.0.tasks.is_empty() || at <= self.steady()) {
            self.0.leaves_at.set(None);
            abi::root_is_done();
        }
    }

    /// Whether the host may delete the root context now. With its tasks it would lose the answers that they wait for,
    /// such as the tokens of a refresh; so it waits for them, and says itself when they are done.
    pub(super) fn may_leave(&self) -> bool {
        if self.0.tasks.is_empty() {
            return true;
        }
        self.0.leaves_at.set(Some(self.steady().after(LEAVE_PATIENCE)));
        self.set_alarm();
        false
    }

    /// Bytes of a stream to Redis.
    pub(super) fn stream_received(&self, token: u32, bytes: &[u8]) {
        if let Some(redis) = &self.0.redis {
            redis.received(token, bytes, self.steady());
        }
    }

    /// The end of a stream to Redis, and what is said about it.
    pub(super) fn stream_closed(&self, token: u32, message: &[u8]) {
        if let Some(redis) = &self.0.redis {
            redis.closed(token, message, self.steady());
        }
    }

    /// Makes the calls of the outbox. Only for callbacks of the root context (see above).
    fn dispatch(&self) {
        for call in self.0.outbox.take() {
            if call.answer.is_canceled() {
                continue; // nobody waits any more
            }
            match self.dispatch_one(&call.request, call.timeout) {
                Ok(token) => {
                    self.0.calls.borrow_mut().insert(token, call.answer);
                }
                Err(why) => {
                    if let Some(left_out) = self.0.not_made.next(self.now()) {
                        error!("bridge: no call is made: {why}{left_out}");
                    }
                }
            }
        }
    }

    /// # Errors
    /// Why no call is made.
    fn dispatch_one(&self, request: &Request<Vec<u8>>, timeout: Duration) -> Result<u32, String> {
        let headers = call_headers(request).ok_or("a part of the request is missing, or is not ASCII")?;
        let body = (!request.body().is_empty()).then_some(request.body().as_slice());
        let cluster = &self.0.bridge_cluster;
        hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
            .map_err(|status| abi::not_begun(status, cluster))
    }
}

/// The headers of a call; nothing where one is missing, or is not ASCII.
fn call_headers(request: &Request<Vec<u8>>) -> Option<Vec<(&str, &str)>> {
    let uri = request.uri();
    let mut headers = vec![
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str()?),
        (":authority", uri.authority()?.as_str()),
        (":path", uri.path_and_query().map_or("/", |path| path.as_str())),
        (BRIDGE_HEADER, uri.scheme_str()?),
        ("user-agent", USER_AGENT),
    ];
    for (name, value) in request.headers() {
        headers.push((name.as_str(), value.to_str().ok()?));
    }
    Some(headers)
}

impl Io for HostIo {
    fn now(&self) -> Timestamp {
        now()
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        getrandom::fill(bytes).map_err(|_| NoRandom)
    }

    fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, CallFailed>> + 'static {
        let (answer, receiver) = oneshot::channel();
        self.0.outbox.borrow_mut().push(Call { request, timeout, answer });
        async move { receiver.await.map_err(|_| CallFailed) }
    }

    fn redis(&self, command: Command) -> impl Future<Output = redis::Outcome> + 'static {
        let asked = self.0.redis.as_ref().map(|redis| {
            let (command, answer) = redis.send(command, self.steady());
            (Asked { io: self.clone(), command }, answer)
        });
        async move {
            match asked {
                Some((_asked, answer)) => answer.await.unwrap_or(Err(Failure::Lost)),
                None => Err(Failure::Unreachable),
            }
        }
    }

    fn redis_health(&self) -> Health {
        self.0.redis.as_ref().map(|redis| redis.health(self.steady())).unwrap_or_default()
    }

    fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        if let Some(redis) = &self.0.redis {
            redis.watch(Box::new(hook));
        }
    }

    fn count(&self, what: Count) {
        self.0.metrics.count(what);
    }

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static {
        Sleep { io: self.clone(), until: self.steady().after(delay), timer: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.tasks.spawn(Box::pin(task));
    }

    fn shared(&self, key: &str) -> Shared {
        let (value, version) = hostcalls::get_shared_data(key).unwrap_or_default();
        Shared { value: value.unwrap_or_default(), version }
    }

    fn set_shared(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        hostcalls::set_shared_data(key, Some(value), version).map_err(|_| Conflict)
    }
}

/// The time of day.
pub(super) fn now() -> Timestamp {
    let now = hostcalls::get_current_time().unwrap_or(UNIX_EPOCH);
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(0).after(since)
}

/// A command that somebody waits for; dropped where nobody does any more, as when the browser is gone.
struct Asked {
    io: HostIo,
    command: CommandId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(redis) = &self.io.0.redis {
            redis.forget(self.command);
        }
    }
}

/// A timer in the host's list for as long as somebody waits for it.
struct Sleep {
    io: HostIo,
    until: Timestamp,
    timer: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.io.steady() >= self.until {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or_else(|| {
            let number = self.io.0.timer_number.get();
            self.io.0.timer_number.set(number.wrapping_add(1));
            (self.until, number)
        });
        self.timer = Some(timer);
        self.io.0.timers.borrow_mut().insert(timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.io.0.timers.borrow_mut().remove(&timer);
        }
    }
}

/// The response of a call, inside the callback that announces it. `None` where the call failed,
/// which the host tells by a response without headers.
pub(super) fn call_response(num_headers: usize, body_size: usize) -> Option<Response<Vec<u8>>> {
    if num_headers == 0 {
        return None;
    }
    let head = abi::headers(MapType::HttpCallResponseHeaders).ok()?;
    let status = std::str::from_utf8(head.header(":status")).ok()?.parse::<u16>().ok()?;
    let mut response = Response::builder().status(status);
    for (name, value) in head.headers().filter(|(name, _)| !name.starts_with(b":")) {
        response = response.header(name, value);
    }
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size.min(MAX_BODY));
    response.body(body.ok().flatten().unwrap_or_default()).ok()
}

/// The longest answer that the filter reads, in bytes; a longer one is cut and then does not parse.
const MAX_BODY: usize = 1 << 20;
