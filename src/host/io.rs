//! The core's world in Envoy: host calls for time, randomness, HTTP calls and shared data.

use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Request, Response};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

use super::metrics::Metrics;
use super::redis::Redis;
use super::{abi, redis};
use crate::config::Config;
use crate::flow::io::{CallFailed, Conflict, Count, Io, NoRandom, Shared, Version};
use crate::redis::{Command, CommandId, FailoverEvent, Failure, Health};
use crate::runtime::{Host, Runtime};
use crate::time::Timestamp;

/// Tells the bridge whether to speak TLS; the bridge takes it off again.
const BRIDGE_HEADER: &str = "x-oauth2-session-bridge";

/// A firewall in front of a provider may refuse who does not say what it is.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The I/O of one root context.
#[derive(Clone)]
pub(super) struct HostIo(Rc<State>);

struct State {
    runtime: Runtime<Envoy>,
    metrics: Metrics,
}

/// What Envoy can do for a root context.
struct Envoy {
    bridge_cluster: String,
    redis: Option<Redis>,
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
        let redis = redis.map(|redis| Redis::new(root_id, bridge_cluster, &redis.client, seed, metrics));
        let envoy = Envoy { bridge_cluster: bridge_cluster.clone(), redis };
        Self(Rc::new(State { runtime: Runtime::new(envoy), metrics }))
    }

    pub(super) fn runtime(&self) -> &Runtime<impl Host + use<>> {
        &self.0.runtime
    }

    fn redis_client(&self) -> Option<&Redis> {
        self.0.runtime.host().redis.as_ref()
    }

    /// Bytes of a stream to Redis.
    pub(super) fn stream_received(&self, token: u32, bytes: &[u8]) {
        if let Some(redis) = self.redis_client() {
            redis.received(token, bytes, steady());
        }
    }

    /// The end of a stream to Redis, and what is said about it.
    pub(super) fn stream_closed(&self, token: u32, message: &[u8]) {
        if let Some(redis) = self.redis_client() {
            redis.closed(token, message, steady());
        }
    }
}

impl Host for Envoy {
    fn steady_now(&self) -> Timestamp {
        steady()
    }

    fn call(&self, request: &Request<Vec<u8>>, timeout: Duration) -> Result<u32, String> {
        let headers = call_headers(request).ok_or("a part of the request is missing, or is not ASCII")?;
        let body = (!request.body().is_empty()).then_some(request.body().as_slice());
        let cluster = &self.bridge_cluster;
        hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
            .map_err(|status| abi::not_begun(status, cluster))
    }

    fn set_tick(&self, period: Duration) {
        let _ = hostcalls::set_tick_period(period);
    }

    fn done(&self) {
        abi::root_is_done();
    }

    fn wake_redis(&self, now: Timestamp) {
        if let Some(redis) = &self.redis {
            redis.wake(now);
        }
    }

    fn next_wake_of_redis(&self, now: Timestamp) -> Option<Timestamp> {
        self.redis.as_ref()?.next_wake(now)
    }

    fn flush_redis(&self, now: Timestamp) {
        if let Some(redis) = &self.redis {
            redis.flush(now);
        }
    }

    fn open_streams(&self, now: Timestamp) {
        if let Some(redis) = &self.redis {
            redis.open_streams(now);
        }
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
        let answer = self.0.runtime.call(request, timeout);
        async move { answer.await.ok_or(CallFailed) }
    }

    fn redis(&self, command: Command) -> impl Future<Output = redis::Outcome> + 'static {
        let asked = self.redis_client().map(|redis| {
            let (command, answer) = redis.send(command, steady());
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
        self.redis_client().map(|redis| redis.health(steady())).unwrap_or_default()
    }

    fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        if let Some(redis) = self.redis_client() {
            redis.watch(Box::new(hook));
        }
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

/// A clock that no user sets, for timers and deadlines; where its zero lies is of no meaning. [`Io::now`] is the time of
/// day, which may be set back by an hour.
fn steady() -> Timestamp {
    abi::monotonic_time().map_or_else(now, |since| Timestamp::from_secs(0).after(since))
}

/// A command that somebody waits for; dropped where nobody does any more, as when the browser is gone.
struct Asked {
    io: HostIo,
    command: CommandId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(redis) = self.io.redis_client() {
            redis.forget(self.command);
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
