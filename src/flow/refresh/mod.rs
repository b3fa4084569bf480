//! Refresh: one grant for a session that is due, and its new session for all who ask meanwhile.
//!
//! The grant is a task, not a part of the request: a browser that goes away in the middle must not take
//! the rotated refresh token with it. No answer, of the provider or of Redis, ever ends a session that is
//! still valid; only the provider's `invalid_grant` does.
//!
//! | store | who coordinates | file |
//! |---|---|---|
//! | cookie | the workers of one Envoy, by the data that their VMs share | `in_cookies`, `handover` |
//! | Redis | all proxies, oauth2-proxy among them, by a lock in Redis | `in_redis`, `lock` |

pub(super) mod handover;
pub(super) mod in_cookies;
pub(super) mod in_redis;
pub(super) mod lock;

use std::rc::Rc;
use std::time::Duration;

use log::warn;

use super::outcome::{Outcome, Reason, TooLarge, Unavailable};
use super::person::Person;
use super::provider::{Provider, SignInError};
use super::{App, Io};
use crate::session::Session;
use crate::time::Timestamp;

/// How long a refresher that crashed in the middle delays the others; renewed while the grant runs.
const LEASE: Duration = Duration::from_secs(6);

/// How long nobody tries again after the provider gave no answer.
const BACKOFF: Duration = Duration::from_secs(5);

/// How often those who wait for another's lock look whether it is done.
const LOOK: Duration = Duration::from_millis(25);

/// How long a request waits that could go on with its old session.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits that could not.
const LONG_PATIENCE: Duration = Duration::from_secs(15);

/// What became of the refresh of a session in Redis.
#[derive(Clone)]
pub(in crate::flow) enum Refreshed {
    /// The session as it is now.
    Now(Rc<Person>),
    /// Redis has it no more.
    Gone,
    /// The provider ended it.
    Refused,
    /// The provider or Redis gave no answer.
    NoAnswer(Unavailable),
}

/// Whether the refresh token has to be used: past `cookie_refresh`, or past the session's expiry.
pub(super) fn is_due<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> bool {
    if !is_renewable(app, session) {
        return false;
    }
    let period = app.config.cookie.refresh;
    let aged = !period.is_zero() && session.created_at.is_some_and(|created| now.since(created) > period);
    aged || is_expired(app, session, now)
}

/// Whether there is a refresh token that we may use.
fn is_renewable<I: Io>(app: &App<I>, session: &Session) -> bool {
    app.config.renews() && !session.refresh_token.is_empty()
}

/// Whether `ExpiresOn` has passed. The original looks at it only after a refresh; we always do.
fn is_expired<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> bool {
    app.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires < now)
}

/// The session that a refresh token stands for now. What the provider will not renew is an error once it has expired.
async fn renew<I: Io>(app: &App<I>, provider: &Provider<I>, old: &Session) -> Result<Session, SignInError> {
    let renewed = provider.refresh(old).await?;
    match renewed.refused {
        Some(error) if is_expired(app, old, app.io.now()) => Err(error),
        _ => Ok(renewed.session),
    }
}

/// Whether a refresh that failed ends the session: the provider ended it, or its refresh token is somebody else's, or it
/// has expired and the provider will not renew it for another reason. Without that, everything were a 503 until the
/// cookie expires.
fn ends<I: Io>(app: &App<I>, session: &Session, error: SignInError) -> bool {
    matches!(error, SignInError::InvalidGrant | SignInError::OtherSubject)
        || (error.is_refusal() && is_expired(app, session, app.io.now()))
}

/// Says that a renewed session is not kept. Then the old one stays until it ends.
fn tell_too_large<I: Io>(app: &App<I>, size: TooLarge) {
    if let Some(left_out) = app.logs.refreshes.next(app.io.now()) {
        warn!("refresh: the renewed session is too large; the old one stays until it ends: {size}{left_out}");
    }
}

/// How long a request waits for what becomes of its session.
fn patience<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> Duration {
    if is_expired(app, session, now) { LONG_PATIENCE } else { PATIENCE }
}

/// The outcome of a session that is due, where it may not be refreshed now.
pub(super) fn as_it_is<I: Io>(app: &App<I>, person: Rc<Person>, now: Timestamp) -> Outcome {
    if is_expired(app, &person.session, now) {
        return Outcome::Anonymous(Reason::Expired);
    }
    Outcome::Authenticated(person)
}

/// The outcome of a session as it is: it need not be refreshed, or cannot be, for this reason.
pub(super) fn without<I: Io>(
    app: &App<I>,
    person: Rc<Person>,
    now: Timestamp,
    reason: Unavailable,
) -> Outcome {
    if !is_expired(app, &person.session, now) {
        return Outcome::Authenticated(person);
    }
    if !is_renewable(app, &person.session) {
        return Outcome::Anonymous(Reason::Expired);
    }
    // For want of an answer: nobody knows whether the provider would go on with it.
    Outcome::Unavailable(reason)
}
