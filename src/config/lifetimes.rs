//! When sessions end, besides `cookie_expire` and their tokens.

use std::time::Duration;

use super::errors::ConfigErrors;
use super::options::Options;
use super::routes::compile;
use crate::path_match::{Route, SkipAuth};
use crate::session::SessionInfo;
use crate::time::Timestamp;

/// The shortest limit. Times in cookies count whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);

/// The use of a session is written once in this part of the timeout.
const WRITES: u32 = 20;

/// The options of the ends of a session.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// `session_max_lifetime`; none if it is zero.
    pub max: Option<Duration>,
    /// `session_idle_timeout`; none if it is zero.
    pub idle: Option<Duration>,
    /// `idle_ignore_routes`.
    ignored: SkipAuth,
    /// `cookie_expire`; zero for no such end.
    expire: Duration,
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Lifetimes {
    let max = limit("session_max_lifetime", options.session_max_lifetime, errors);
    let idle = limit("session_idle_timeout", options.session_idle_timeout, errors);
    let expire = options.cookie_expire;
    if let Some(idle) = idle {
        let name = "session_idle_timeout";
        errors.check(expire.is_zero() || idle < expire, name, "must be less than cookie_expire");
        errors.check(max.is_none_or(|max| idle < max), name, "must be less than session_max_lifetime");
        // Otherwise a session could go on without Redis being asked.
        errors.check(
            options.redis_session_cache < idle,
            "redis_session_cache",
            "must be less than session_idle_timeout",
        );
    }
    errors.check(
        idle.is_some() || options.idle_ignore_routes.is_empty(),
        "idle_ignore_routes",
        "has no effect without session_idle_timeout; set that, or leave this out",
    );
    let ignored =
        compile("idle_ignore_routes", &options.idle_ignore_routes, Route::parse, SkipAuth::new, errors);
    Lifetimes { max, idle, ignored, expire }
}

/// A limit that is set. `SETEX` and the times in cookies count whole seconds.
fn limit(name: &str, limit: Duration, errors: &mut ConfigErrors) -> Option<Duration> {
    let limit = (!limit.is_zero()).then_some(limit)?;
    errors.check(
        limit >= SHORTEST && limit.subsec_nanos() == 0,
        name,
        "must be whole seconds, at least 1s; or 0 for no limit",
    );
    Some(limit)
}

impl Lifetimes {
    /// Whether an option of ours ends sessions.
    pub fn are_limited(&self) -> bool {
        self.max.is_some() || self.idle.is_some()
    }

    /// When the user signed in. A session that says only when it was made or renewed counts from then.
    pub fn signed_in_at(&self, session: &SessionInfo) -> Option<Timestamp> {
        session.signed_in_at.or(session.created_at)
    }

    /// When a session is too old, with `session_max_lifetime`.
    pub fn absolute_end(&self, session: &SessionInfo) -> Option<Timestamp> {
        let max = self.max?;
        self.signed_in_at(session).map(|at| at.after(max))
    }

    /// Whether a session is over because its sign-in is too long ago. A session without any time is, too.
    pub fn is_too_old(&self, session: &SessionInfo, now: Timestamp) -> bool {
        self.max.is_some() && self.absolute_end(session).is_none_or(|end| end <= now)
    }

    /// Whether a request for this path is no use of its session (`idle_ignore_routes`).
    pub fn is_ignored(&self, method: &[u8], path: &[u8]) -> bool {
        self.ignored.allows(method, path)
    }

    /// How often the use of a session is written. A session may end by that much before its timeout, never after it.
    pub fn write_period(&self) -> Duration {
        self.idle.unwrap_or_default().checked_div(WRITES).unwrap_or_default().max(SHORTEST)
    }

    /// How long the store keeps a session that was used just now: until the first of its ends. Zero means for ever.
    pub fn time_to_live(&self, session: &SessionInfo, now: Timestamp) -> Duration {
        // `SETEX` rejects zero.
        let left = |end: Timestamp| Duration::from_secs(end.since(now).as_secs()).max(SHORTEST);
        let expire = (!self.expire.is_zero()).then_some(self.expire);
        let absolute = self.absolute_end(session).map(left);
        [expire, self.idle, absolute].into_iter().flatten().min().unwrap_or_default()
    }

    /// When a session ends as it is: with its tokens, if `enforces_expires_on`, with `cookie_expire`, or with the absolute
    /// end. A refresh moves the first two.
    pub fn end(&self, session: &SessionInfo, enforces_expires_on: bool) -> Option<Timestamp> {
        let tokens = session.expires_on.filter(|_| enforces_expires_on);
        let expire = session.created_at.filter(|_| !self.expire.is_zero()).map(|at| at.after(self.expire));
        [tokens, expire, self.absolute_end(session)].into_iter().flatten().min()
    }
}
