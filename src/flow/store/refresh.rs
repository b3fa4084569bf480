//! Refresh: one grant for a session that is due, and its new session for all who ask meanwhile.
//!
//! The grant is a task, not a part of the request: a browser that goes away in the middle must not take
//! the rotated refresh token with it. Without an answer, of the provider or of Redis, no session ends that is
//! still valid; only the provider's `invalid_grant` ends one, or an answer about another person.
//!
//! | the provider's answer is about | a session that is valid still | one that has expired |
//! |---|---|---|
//! | the token | goes on | ends |
//! | the client: the operator has to act | goes on | stays; the browser is led to the sign-in |
//! | neither: there is none, or not now | goes on | stays; 503 |
//!
//! | store | who coordinates | file |
//! |---|---|---|
//! | cookie | the workers of one Envoy, by the data that their VMs share | `cookie/refresh`, `cookie/slots` |
//! | Redis | all proxies, oauth2-proxy among them, by a lock in Redis | `redis/refresh`, `redis/lock` |

use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};

use crate::flow::io::Count;
use crate::flow::outcome::{Outcome, Reason, TooLarge, Unavailable};
use crate::flow::person::Person;
use crate::flow::provider::Renewed;
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::{App, Io};
use crate::oidc::About;
use crate::session::Session;
use crate::time::Timestamp;

/// How long a refresher that crashed in the middle delays the others; renewed while the grant runs.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// How long nobody tries again after the provider gave no answer.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

/// How often those who wait for another's lock look whether it is done.
pub(super) const LOOK: Duration = Duration::from_millis(25);

/// How long a request waits that could go on with its old session.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits that could not.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(15);

/// Why a session was not renewed, where that alone does not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum Hindrance {
    /// Something gave no answer, so it may go on a moment later.
    Unavailable(Unavailable),
    /// The provider does not take this client.
    Client,
    /// The provider does not renew this session.
    Token,
}

/// Why there is no new session.
pub(super) enum NotRenewed {
    /// The old one is over.
    Ended(SignInError),
    /// The old one may go on.
    Hindered(Hindrance),
}

/// What became of the refresh of a session in Redis.
#[derive(Clone)]
pub(in crate::flow) enum Refreshed {
    /// The session as it is now.
    Now(Rc<Person>),
    /// There is none any more.
    Ended(Reason),
    /// The old one is as it was.
    Hindered(Hindrance),
}

/// Whether the refresh token has to be used: past `cookie_refresh`, or past the session's expiry.
pub(in crate::flow) fn is_due<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> bool {
    if !is_renewable(app, session) {
        return false;
    }
    let period = app.config.cookie.refresh;
    let aged = !period.is_zero() && session.created_at.is_some_and(|created| now.since(created) > period);
    aged || is_expired(app, session, now)
}

/// Whether there is a refresh token that we may use.
pub(super) fn is_renewable<I: Io>(app: &App<I>, session: &Session) -> bool {
    app.config.renews() && !session.refresh_token.is_empty()
}

/// Whether `ExpiresOn` has passed. The original looks at it only after a refresh; we always do.
pub(super) fn is_expired<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> bool {
    app.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires < now)
}

/// Whether a session may stay as it is though its refresh token gave another: only if it will expire. What replaces it is
/// as new as a renewed one, so that the provider is not asked again at once, and `cookie_expire` begins anew with it.
/// Without an expiry it would never end, whatever the provider says of its person.
pub(super) fn may_stay<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> bool {
    app.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires >= now)
}

/// Uses the refresh token of a session. That it ends the session is not counted yet: another proxy may have used the
/// token.
pub(super) async fn renew<I: Io>(app: &App<I>, old: &Session) -> Result<Session, NotRenewed> {
    let Some(provider) = &app.provider else {
        return Err(NotRenewed::Hindered(Unavailable::Provider.into()));
    };
    let renewed = provider.refresh(old).await;
    let now = app.io.now();
    let has_expired = is_expired(app, old, now);
    let error = match renewed {
        Ok(Renewed { refused: Some(error), .. }) if !may_stay(app, old, now) => {
            return Err(NotRenewed::Ended(error));
        }
        Ok(Renewed { session, .. }) => {
            app.io.count(Count::Refresh);
            return Ok(session);
        }
        Err(error) => error,
    };
    let about = error.about();
    if matches!(error, SignInError::InvalidGrant | SignInError::OtherSubject)
        || (about == About::Token && has_expired)
    {
        return Err(NotRenewed::Ended(error));
    }
    app.io.count(Count::RefreshFailed);
    Err(NotRenewed::Hindered(match about {
        About::Client => {
            if let Some(left_out) = app.logs.clients.next(now) {
                error!(
                    "refresh: {error}; until that is mended, sessions that expire lead to the sign-in{left_out}"
                );
            }
            Hindrance::Client
        }
        about => {
            if let Some(left_out) = app.logs.refreshes.next(now) {
                warn!("refresh: {error}; the session stays until it expires{left_out}");
            }
            match about {
                About::Token => Hindrance::Token,
                _ => Unavailable::Provider.into(),
            }
        }
    }))
}

/// Counts and logs that the provider ended a session.
pub(super) fn tell_ended<I: Io>(app: &App<I>, error: SignInError) {
    app.io.count(Count::RefreshRefused);
    info!("refresh: the provider ended a session: {error}");
}

/// Says that a renewed session is not kept; whether the old one is, until it ends.
pub(super) fn old_one_stays<I: Io>(app: &App<I>, old: &Session, size: TooLarge) -> bool {
    let now = app.io.now();
    let stays = may_stay(app, old, now);
    if let Some(left_out) = app.logs.refreshes.next(now) {
        let then = if stays { "; the old one stays until it ends" } else { ", so the session ends" };
        warn!("refresh: the renewed session is too large{then}: {size}{left_out}");
    }
    stays
}

/// How long a request waits for what becomes of its session.
pub(super) fn patience<I: Io>(app: &App<I>, session: &Session, now: Timestamp) -> Duration {
    if is_expired(app, session, now) { LONG_PATIENCE } else { PATIENCE }
}

/// The outcome of a session that is due, where it may not be refreshed now.
pub(in crate::flow) fn as_it_is<I: Io>(app: &App<I>, person: Rc<Person>, now: Timestamp) -> Outcome {
    if is_expired(app, &person.session, now) {
        return Outcome::Anonymous(Reason::Expired);
    }
    Outcome::Authenticated(person)
}

/// The outcome of a session as it is: it need not be refreshed, or cannot be, for this reason.
pub(in crate::flow) fn without<I: Io>(
    app: &App<I>,
    person: Rc<Person>,
    now: Timestamp,
    reason: impl Into<Hindrance>,
) -> Outcome {
    if !is_expired(app, &person.session, now) {
        return Outcome::Authenticated(person);
    }
    if !is_renewable(app, &person.session) {
        return Outcome::Anonymous(Reason::Expired);
    }
    match reason.into() {
        // Without an answer, the filter does not know whether the provider would renew it.
        Hindrance::Unavailable(reason) => Outcome::Unavailable(reason),
        Hindrance::Client => Outcome::Anonymous(Reason::ClientRefused),
        Hindrance::Token => Outcome::Anonymous(Reason::Refused),
    }
}

impl From<Unavailable> for Hindrance {
    fn from(reason: Unavailable) -> Self {
        Self::Unavailable(reason)
    }
}
