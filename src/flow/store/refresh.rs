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

use crate::config::Config;
use crate::flow::Io;
use crate::flow::io::Count;
use crate::flow::outcome::{Outcome, Reason, TooLarge, Unavailable};
use crate::flow::person::Person;
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::provider::{Provider, Renewed};
use crate::oidc::About;
use crate::runtime::rate::LogLimit;
use crate::session::Session;
use crate::time::Timestamp;

/// How long a refresher that crashed in the middle delays the others; renewed while the grant runs.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// How long nobody tries again after the provider gave no answer.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

/// How often those who wait for another's lock look whether it is done.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// How long a request waits that could go on with its old session.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits that could not.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(15);

/// Why a session was not renewed, where that alone does not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
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

impl From<Unavailable> for Hindrance {
    fn from(reason: Unavailable) -> Self {
        Self::Unavailable(reason)
    }
}

/// When a session is refreshed, and what it is without a refresh: the same in both stores.
pub(super) struct RefreshPolicy<I> {
    config: Rc<Config>,
    /// None where others sign people in, and nothing is renewed.
    provider: Option<Rc<Provider<I>>>,
    io: I,
    /// Limits the lines about refreshes that failed.
    failures: LogLimit,
    /// Limits the lines about grants that the provider refused because of this client.
    clients: LogLimit,
}

impl<I: Io> RefreshPolicy<I> {
    pub(super) fn new(config: &Rc<Config>, provider: Option<Rc<Provider<I>>>, io: &I) -> Self {
        Self {
            config: Rc::clone(config),
            provider,
            io: io.clone(),
            failures: LogLimit::default(),
            clients: LogLimit::default(),
        }
    }

    /// Whether the refresh token has to be used: past `cookie_refresh`, or past the session's expiry.
    pub(super) fn is_due(&self, session: &Session, now: Timestamp) -> bool {
        if !self.is_renewable(session) {
            return false;
        }
        let period = self.config.cookie.refresh;
        let aged = !period.is_zero() && session.created_at.is_some_and(|created| now.since(created) > period);
        aged || self.is_expired(session, now)
    }

    /// Whether there is a refresh token that we may use.
    fn is_renewable(&self, session: &Session) -> bool {
        self.config.renews() && !session.refresh_token.is_empty()
    }

    /// Whether `ExpiresOn` has passed. The original looks at it only after a refresh; we always do.
    pub(super) fn is_expired(&self, session: &Session, now: Timestamp) -> bool {
        self.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires < now)
    }

    /// Whether a session may stay as it is though its refresh token gave another: only if it will expire. What replaces
    /// it is as new as a renewed one, so that the provider is not asked again at once, and `cookie_expire` begins anew
    /// with it. Without an expiry it would never end, whatever the provider says of its person.
    fn may_stay(&self, session: &Session, now: Timestamp) -> bool {
        self.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires >= now)
    }

    /// How long a request waits for what becomes of its session.
    pub(super) fn patience(&self, session: &Session, now: Timestamp) -> Duration {
        if self.is_expired(session, now) { LONG_PATIENCE } else { PATIENCE }
    }

    /// Uses the refresh token of a session. That it ends the session is not counted yet: another proxy may have used the
    /// token.
    pub(super) async fn renew(&self, old: &Session) -> Result<Session, NotRenewed> {
        let Some(provider) = &self.provider else {
            return Err(NotRenewed::Hindered(Unavailable::Provider.into()));
        };
        let renewed = provider.refresh(old).await;
        let now = self.io.now();
        let has_expired = self.is_expired(old, now);
        let error = match renewed {
            Ok(Renewed { refused: Some(error), .. }) if !self.may_stay(old, now) => {
                return Err(NotRenewed::Ended(error));
            }
            Ok(Renewed { session, .. }) => {
                self.io.count(Count::Refresh);
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
        self.io.count(Count::RefreshFailed);
        Err(NotRenewed::Hindered(match about {
            About::Client => {
                if let Some(left_out) = self.clients.next(now) {
                    error!(
                        "refresh: {error}; until that is mended, sessions that expire lead to the sign-in{left_out}"
                    );
                }
                Hindrance::Client
            }
            about => {
                if let Some(left_out) = self.failures.next(now) {
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
    pub(super) fn log_ended(&self, error: SignInError) {
        self.io.count(Count::RefreshRefused);
        info!("refresh: the provider ended a session: {error}");
    }

    /// What is kept if the renewed session is too large: the old one until it ends, with the new refresh token, because
    /// its own is used up; and as old as the new one, so that the provider is not asked again at once. One that has
    /// expired, or never will, is over: each grant would give the same, and a sign-in says what is too large.
    pub(super) fn fallback_if_too_large(
        &self,
        renewed: &Session,
        old: &Session,
        size: TooLarge,
    ) -> Option<Session> {
        let now = self.io.now();
        let stays = self.may_stay(old, now);
        if let Some(left_out) = self.failures.next(now) {
            let then = if stays { "; the old one stays until it ends" } else { ", so the session ends" };
            warn!("refresh: the renewed session is too large{then}: {size}{left_out}");
        }
        stays.then(|| Session {
            refresh_token: renewed.refresh_token.clone(),
            created_at: Some(now),
            ..old.clone()
        })
    }

    /// The outcome of a session that is due, where it may not be refreshed now.
    pub(super) fn outcome_as_is(&self, person: Rc<Person>, now: Timestamp) -> Outcome {
        if self.is_expired(&person.session, now) {
            return Outcome::Anonymous(Reason::Expired);
        }
        Outcome::Authenticated(person)
    }

    /// The outcome of a session as it is: it need not be refreshed, or cannot be, for this reason.
    pub(super) fn outcome_without_refresh(
        &self,
        person: Rc<Person>,
        now: Timestamp,
        reason: impl Into<Hindrance>,
    ) -> Outcome {
        if !self.is_expired(&person.session, now) {
            return Outcome::Authenticated(person);
        }
        if !self.is_renewable(&person.session) {
            return Outcome::Anonymous(Reason::Expired);
        }
        match reason.into() {
            // Without an answer, the filter does not know whether the provider would renew it.
            Hindrance::Unavailable(reason) => Outcome::Unavailable(reason),
            Hindrance::Client => Outcome::Anonymous(Reason::ClientRefused),
            Hindrance::Token => Outcome::Anonymous(Reason::Refused),
        }
    }
}
