//! [`Io`] and [`Host`] in Envoy: host calls for time, random bytes, HTTP calls, streams and shared data.

use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Request, Response};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

use super::abi;
#[cfg(feature = "higress")]
use super::calls::RedisLink;
use super::metrics::Metrics;
#[cfg(not(feature = "higress"))]
use super::streams::RedisLink;
use crate::config::Config;
use crate::flow::io::{CallFailed, Conflict, Count, Io, NoRandom, Shared, Version};
use crate::redis::{Changed, Command, Credentials, FailoverEvent, Failure, Health, Reply, Servers, StreamId};
use crate::runtime::outbox;
use crate::runtime::{Host, RedisCount, Runtime};
use crate::time::Timestamp;

/// The I/O of one root context.
#[derive(Clone)]
pub(super) struct HostIo(Rc<State>);

struct State {
    runtime: Runtime<Envoy>,
    metrics: Metrics,
}

/// The longest body of an answer that is read, in bytes. A longer one is cut, and then does not parse.
const MAX_BODY: usize = 1 << 20;

/// What Envoy can do for a root context.
pub(super) struct Envoy {
    bridge_cluster: String,
    redis: RedisLink,
    metrics: Metrics,
}

impl HostIo {
    pub(super) fn new(root_id: u32, config: &Config) -> Self {
        let metrics = Metrics::new();
        let mut seed = [0; 8];
        // Zeros do as well, if there are no random bytes.
        let _ = getrandom::fill(&mut seed);
        let seed = u64::from_le_bytes(seed);
        let redis = config.redis.as_ref().map(|redis| &redis.client);
        let link = RedisLink::new(root_id, config);
        let envoy = Envoy { bridge_cluster: config.bridge_cluster.clone(), redis: link, metrics };
        Self(Rc::new(State { runtime: Runtime::new(envoy, redis, seed), metrics }))
    }

    pub(super) fn runtime(&self) -> &Runtime<Envoy> {
        &self.0.runtime
    }
}

impl Host for Envoy {
    fn steady_now(&self) -> Timestamp {
        steady()
    }

    fn call(&self, headers: Vec<(&str, &str)>, body: &[u8], timeout: Duration) -> Result<u32, String> {
        let body = (!body.is_empty()).then_some(body);
        let cluster = &self.bridge_cluster;
        hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
            .map_err(|status| abi::call_error(status, cluster))
    }

    fn set_tick(&self, period: Duration) {
        let _ = hostcalls::set_tick_period(period);
    }

    fn done(&self) {
        abi::root_is_done();
    }

    fn open_stream(&self, method: &str, headers: Vec<(&str, &[u8])>) -> Result<u32, String> {
        self.redis.open(method, headers)
    }

    fn write_stream(&self, token: u32, bytes: &[u8]) -> bool {
        self.redis.write(token, bytes)
    }

    fn close_stream(&self, token: u32) {
        self.redis.close(token);
    }

    fn count(&self, what: RedisCount) {
        self.metrics.count_redis(what);
    }
}

#[cfg(feature = "higress")]
impl Envoy {
    pub(super) const fn redis(&self) -> &RedisLink {
        &self.redis
    }
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
        let answer = self.0.runtime.call(request, timeout);
        async move { answer.await.map_err(|_| CallFailed) }
    }

    fn redis(&self, command: Command) -> impl Future<Output = Result<Reply, Failure>> + 'static {
        self.0.runtime.redis(command)
    }

    fn redis_health(&self) -> Health {
        self.0.runtime.redis_health()
    }

    fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        self.0.runtime.watch_redis(hook);
    }

    fn watch_redis_changes(&self, hook: impl Fn(&Changed) + 'static) {
        self.0.runtime.watch_redis_changes(hook);
    }

    fn redis_tracks(&self, key: &[u8]) -> Option<StreamId> {
        self.0.runtime.redis_tracks(key)
    }

    fn redis_serves(&self, key: &[u8], stream: StreamId) -> bool {
        self.0.runtime.redis_serves(key, stream)
    }

    fn watch_redis_auth(&self, hook: impl Fn() + 'static) {
        self.0.runtime.watch_redis_auth(hook);
    }

    fn set_redis_credentials(&self, of: Servers, credentials: &Credentials) {
        self.0.runtime.set_redis_credentials(of, credentials);
    }

    fn count(&self, what: Count) {
        self.0.metrics.count(what);
    }

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static {
        self.0.runtime.timers().sleep(delay, steady)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.runtime.tasks().spawn(Box::pin(task));
    }

    fn every(&self, period: Duration, action: impl Fn() + 'static) {
        self.0.runtime.every(period, action);
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

/// The clock of [`Host::steady_now`]. [`Io::now`] is the time of day, which may be set back by an hour.
pub(super) fn steady() -> Timestamp {
    abi::monotonic_time().map_or_else(now, |since| Timestamp::from_secs(0).after(since))
}

/// The answer of a call, inside the callback that announces it. A failed call has no headers.
pub(super) fn call_answer(num_headers: usize, body_size: usize) -> Option<Response<Vec<u8>>> {
    if num_headers == 0 {
        return None;
    }
    let head = abi::headers(MapType::HttpCallResponseHeaders).ok()?;
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size.min(MAX_BODY));
    outbox::answer(head.header(":status"), head.headers(), body.ok().flatten().unwrap_or_default())
}
