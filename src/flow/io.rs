//! What a flow needs from outside, as a trait that the core owns: time, random bytes, calls, Redis.
//!
//! `host::io` implements it in Envoy. Tests implement it with a clock that they move by hand.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http::{Request, Response};

use super::outcome::Unavailable;
use crate::redis;
use crate::redis::Command;
use crate::time::Timestamp;

/// The inputs and outputs of one worker, cheap to clone.
pub trait Io: Clone + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Random bytes, fit for keys and nonces.
    ///
    /// # Errors
    /// [`NoRandom`] if the host has none. Then no secret can be made.
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), NoRandom>;

    /// Sends one HTTP request to its absolute URI, and waits for the whole answer.
    fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, CallFailed>> + 'static;

    /// Sends one command to Redis, and waits for its reply.
    fn redis(&self, command: Command)
    -> impl Future<Output = Result<redis::Reply, redis::Failure>> + 'static;

    /// How well Redis is, as this worker knows it.
    fn redis_health(&self) -> redis::Health;

    /// From now on this is called with what may lose a write.
    fn watch_redis(&self, hook: impl Fn(redis::FailoverEvent) + 'static);

    /// From now on this is called with the keys that have changed in Redis, if a server tells of changes. It is called
    /// before the task goes on that waits for a later reply of the server.
    fn watch_redis_changes(&self, hook: impl Fn(&redis::Changed) + 'static);

    /// The stream by which the server of a key tells of its changes; `None` if it does not.
    fn redis_tracks(&self, key: &[u8]) -> Option<redis::StreamId>;

    /// Whether what was read of a key over this stream is valid without a question, if no change was told.
    fn redis_serves(&self, key: &[u8], stream: redis::StreamId) -> bool;

    /// From now on this is called if a server of Redis rejects the password.
    fn watch_redis_auth(&self, hook: impl Fn() + 'static);

    /// The password of these servers of Redis has changed.
    fn set_redis_credentials(&self, of: redis::Servers, credentials: &redis::Credentials);

    /// Adds one to a statistic.
    fn count(&self, what: Count);

    /// Waits for this delay.
    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs a task that outlives the request that started it.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// From now on calls this in every such period, until the worker ends. Only one can be set.
    fn every(&self, period: Duration, action: impl Fn() + 'static);

    /// Reads a value that the workers of this Envoy share.
    fn shared(&self, key: &str) -> Shared;

    /// Writes a value that the workers of this Envoy share, unless it changed since `version` was read.
    ///
    /// # Errors
    /// [`Conflict`] if another worker was faster: read again.
    fn set_shared(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict>;

    /// `N` random bytes.
    ///
    /// # Errors
    /// [`NoRandom`], as [`Io::fill_random`].
    fn random<const N: usize>(&self) -> Result<[u8; N], NoRandom> {
        let mut bytes = [0; N];
        self.fill_random(&mut bytes)?;
        Ok(bytes)
    }
}

/// What the statistics count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A refresh that gave new tokens.
    Refresh,
    /// A refresh that the provider refused: a session ended.
    RefreshRefused,
    /// A refresh that failed otherwise: without an answer, or with one that has neither tokens nor a refusal.
    RefreshFailed,
    /// A grant, of a code or a refresh token, that the provider refused because of this client.
    ClientRefused,
    /// A refresh that found the lock taken.
    LockWait,
    /// A session that the login app handed over.
    HandedOver,
    /// A session from the login app that the filter could not keep.
    HandedOverRefused,
    /// A session from an upstream that may not hand sessions over.
    HandedOverDropped,
    /// A sign-in that ended in a session.
    SignIn,
    /// A sign-in that failed.
    SignInFailed,
    /// A callback that was refused, because its sign-in had tried too many codes.
    CallbackRefused,
    /// A code that was not redeemed, because too many others were being redeemed.
    CodesBusy,
    /// A refresh that did not start, because too many others were under way.
    RefreshesBusy,
    /// A call of `backend_logout_url` that was not made, because too many others were under way.
    LogoutsBusy,
    /// A secret from the bridge that changed.
    SecretChanged,
    /// A secret that could not be read from the bridge, or was malformed.
    SecretUnusable,
    /// A session that its user ended.
    SignOut,
    /// A session that was ended by the index: its user signs out everywhere, or an administrator or the provider ends it.
    SessionEnded,
    /// A request whose session was not used for `session_idle_timeout`. In Redis such a session is gone.
    SessionIdle,
    /// A request whose session has passed `session_max_lifetime`.
    SessionTooOld,
    /// An entry of the index of sessions that Redis did not take.
    IndexFailed,
    /// A cookie that an older secret verified.
    OlderSecret,
    /// A logout token of the provider that ended its sessions.
    BackchannelLogout,
    /// A logout token that was invalid, or used before.
    BackchannelLogoutRefused,
    /// A logout token that ended nothing, because something does not answer.
    BackchannelLogoutFailed,
    /// A logout token that was not handled, because too many others were under way.
    LogoutTokensBusy,
    /// An answer of the provider that a retry would not change: the operator has to act.
    Misconfigured,
    /// A request that was answered 503, because the filter could not tell whether its session is valid.
    Unavailable(Unavailable),
}

/// A value that the workers share, with the version to write over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The bytes; empty if no worker has written it yet.
    pub value: Vec<u8>,
    /// The version to write over.
    pub version: Version,
}

/// The version of a shared value; `None` if no worker has written it yet.
pub type Version = Option<u32>;

/// The call had no answer: it was refused or timed out, TLS failed, or the host is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFailed;

/// Another worker wrote the shared value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// The host has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandom;

impl fmt::Display for CallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl fmt::Display for NoRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random numbers")
    }
}

impl From<NoRandom> for Unavailable {
    fn from(_: NoRandom) -> Self {
        Self::Random
    }
}
