//! When sessions end, besides `cookie_expire` and their tokens.

use std::time::Duration;

use super::errors::ConfigErrors;
use super::options::Options;
use crate::session::Session;
use crate::time::Timestamp;

/// The shortest limit. Times in cookies count whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);

/// The options of the ends of a session.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// `session_max_lifetime`; none if it is zero.
    pub max: Option<Duration>,
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Lifetimes {
    Lifetimes { max: limit("session_max_lifetime", options.session_max_lifetime, errors) }
}

/// A limit that is set.
fn limit(name: &str, limit: Duration, errors: &mut ConfigErrors) -> Option<Duration> {
    let limit = (!limit.is_zero()).then_some(limit)?;
    errors.check(limit >= SHORTEST, name, "must be at least 1s, or 0 for no limit");
    Some(limit)
}

impl Lifetimes {
    /// When the user signed in. A session that says only when it was made or renewed counts from then.
    pub fn signed_in_at(&self, session: &Session) -> Option<Timestamp> {
        session.signed_in_at.or(session.created_at)
    }

    /// When a session is too old, with `session_max_lifetime`.
    pub fn absolute_end(&self, session: &Session) -> Option<Timestamp> {
        let max = self.max?;
        self.signed_in_at(session).map(|at| at.after(max))
    }

    /// Whether a session is over because its sign-in is too long ago. A session without any time is, too.
    pub fn is_too_old(&self, session: &Session, now: Timestamp) -> bool {
        self.max.is_some() && self.absolute_end(session).is_none_or(|end| end <= now)
    }

    /// How long the store keeps a session: for `expire`, which is zero for ever, but not beyond the absolute end.
    pub fn time_to_live(&self, expire: Duration, session: &Session, now: Timestamp) -> Duration {
        let Some(end) = self.absolute_end(session) else { return expire };
        // `SETEX` counts whole seconds, and rejects zero.
        let left = Duration::from_secs(end.since(now).as_secs()).max(SHORTEST);
        if expire.is_zero() { left } else { expire.min(left) }
    }
}
