//! What a flow needs from the outside, as a trait that the core owns: time, randomness, HTTP calls, Redis.
//!
//! Envoy implements it in `host::io`. Tests implement it with a clock that they move by hand.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use http::{Request, Response};

use super::outcome::Unavailable;
use crate::redis::{self, Command};
use crate::time::Timestamp;

/// The world of one worker, cheap to clone.
pub trait Io: Clone + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Random bytes, fit for keys and nonces.
    ///
    /// # Errors
    /// [`NoRandom`] if the host has none: then nothing secret can be made.
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), NoRandom>;

    /// Sends one HTTP request to the absolute URI that it names and waits for the whole answer.
    fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, CallFailed>> + 'static;

    /// Sends one command to Redis and waits for its reply.
    fn redis(&self, command: Command)
    -> impl Future<Output = Result<redis::Reply, redis::Failure>> + 'static;

    /// How well Redis is, as this worker knows it.
    fn redis_health(&self) -> redis::Health;

    /// From now on this is called with what may lose a write.
    fn watch_redis(&self, hook: impl Fn(redis::FailoverEvent) + 'static);

    /// Counts one more for the operator.
    fn count(&self, what: Count);

    /// Waits.
    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs a task that outlives the request which started it.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Reads what the workers of this Envoy share under `key`.
    fn shared(&self, key: &str) -> Shared;

    /// Writes what the workers of this Envoy share, unless it changed since `version` was read.
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

/// What is counted for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A refresh grant that gave new tokens.
    Refresh,
    /// A refresh grant that the provider refused: a session ended.
    RefreshRefused,
    /// A refresh grant without a usable answer.
    RefreshFailed,
    /// A grant, of a code or a refresh token, that the provider refused because of this client.
    ClientRefused,
    /// A refresh that found the lock taken.
    LockWait,
    /// A session that the login app handed over.
    HandedOver,
    /// A session that the login app handed over and that could not be kept.
    HandedOverRefused,
    /// A session from an upstream that may not hand sessions over.
    HandedOverDropped,
    /// A sign-in that ended in a session.
    SignIn,
    /// A callback that did not end in a session.
    SignInFailed,
    /// A callback whose sign-in has tried as many codes as it may.
    CallbackRefused,
    /// A code that was not redeemed, because too many were at the same time.
    CodesBusy,
    /// A refresh that did not begin, because too many were under way.
    RefreshesBusy,
    /// A call of `backend_logout_url` that was not made, because too many were under way.
    LogoutsBusy,
    /// A session that its user ended.
    SignOut,
    /// An answer of the provider that cannot be used and will be the same the next time: the operator has to act.
    Misconfigured,
    /// A request whose session could not be checked.
    Unavailable(Unavailable),
}

/// A value that the workers share, with the version to write over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// The bytes; empty if nothing was written yet.
    pub value: Vec<u8>,
    /// The version that a write has to name.
    pub version: Version,
}

/// The version of a shared value; none if nothing was written yet.
pub type Version = Option<u32>;

/// The call got no answer: refused, timed out, TLS failure, unknown host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallFailed;

/// Another worker wrote the shared value first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// The host gave no random bytes.
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
