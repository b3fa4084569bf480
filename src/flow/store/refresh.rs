//! The policy of refresh, the same for both stores: when a session is due, what a refusal means, how long a request
//! waits.
//!
//! A refresh is a task of its own and not a part of a request: a browser that closes its connection must not take the
//! rotated refresh token with it. A session that is still valid never ends because the provider or Redis does not
//! answer. Only `invalid_grant` ends it, or an answer about another user.
//!
//! | the provider refuses | a valid session | an expired session |
//! |---|---|---|
//! | the token | goes on | ends |
//! | the client: the operator has to act | goes on | is kept; the browser is led to the sign-in |
//! | neither: it does not answer, or not now | goes on | is kept; 503 |
//!
//! A session that is older than `session_max_lifetime` is over, whatever the provider says: it is not refreshed.
//!
//! | store | who is coordinated | by what | files |
//! |---|---|---|---|
//! | cookie | the workers of one Envoy | data that their VMs share | `cookie/refresh`, `cookie/slots` |
//! | Redis | all proxies, also oauth2-proxy | a lock in Redis | `redis/refresh`, `redis/lock` |

use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};

use crate::config::Config;
use crate::flow::Io;
use crate::flow::io::Count;
use crate::flow::outcome::{AnonymousReason, Outcome, TooLarge, Unavailable};
use crate::flow::principal::Principal;
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::provider::{Provider, Renewed};
use crate::oidc::ErrorScope;
use crate::runtime::rate::LogLimit;
use crate::session::{Session, SessionInfo};
use crate::time::Timestamp;

/// How long a worker that crashed during a refresh delays the others. The lease is renewed while the grant is under
/// way.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// How long no worker tries again after a refresh that failed.
pub(super) const BACKOFF: Duration = Duration::from_secs(5);

/// The pause between two attempts to acquire a lock that another proxy holds.
pub(super) const POLL: Duration = Duration::from_millis(25);

/// How long a request waits for a refresh if its old session is still valid.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request waits for a refresh if its old session has expired.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(15);

/// Why a session was not refreshed, if this alone does not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// The provider or the store did not answer. The next attempt may succeed.
    Unavailable(Unavailable),
    /// The provider does not accept this client.
    Client,
    /// The provider does not accept this refresh token.
    Token,
}

/// Why there is no refreshed session.
pub(super) enum NotRenewed {
    /// The provider ended the session.
    Ended(SignInError),
    /// The session was not refreshed. Whether it goes on depends on its expiry: see
    /// [`RefreshPolicy::outcome_without_refresh`].
    Hindered(Hindrance),
}

impl From<Unavailable> for Hindrance {
    fn from(reason: Unavailable) -> Self {
        Self::Unavailable(reason)
    }
}

/// Decides when a session is refreshed, and what becomes of it without a refresh.
pub(super) struct RefreshPolicy<I> {
    config: Rc<Config>,
    /// `None` if the filter signs no users in, so that it refreshes no session.
    provider: Option<Rc<Provider<I>>>,
    io: I,
    /// Limits the log lines about refreshes that failed.
    failures: LogLimit,
    /// Limits the log lines about grants that the provider refused because of this client.
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

    /// Whether a session has to be refreshed: it is older than `cookie_refresh`, or has expired.
    ///
    /// `on_demand`, for a user who asks for it, any session is due that was not renewed a moment ago.
    pub(super) fn is_due(&self, principal: &Principal, now: Timestamp, on_demand: bool) -> bool {
        let session = &principal.session;
        if !self.is_renewable(principal) || self.config.lifetimes.is_too_old(session, now) {
            return false;
        }
        let period = if on_demand { BACKOFF } else { self.config.cookie.refresh };
        let aged = !period.is_zero() && session.created_at.is_some_and(|created| now.since(created) > period);
        aged || self.is_expired(session, now)
    }

    /// Whether the session has a refresh token that this filter may use.
    fn is_renewable(&self, principal: &Principal) -> bool {
        self.config.renews() && principal.has_refresh_token
    }

    /// Whether `ExpiresOn` has passed. oauth2-proxy checks it only after a refresh, this filter always.
    pub(super) fn is_expired(&self, session: &SessionInfo, now: Timestamp) -> bool {
        self.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires < now)
    }

    /// Whether the old session may be kept although its refresh token is used up: only if it has an expiry that is
    /// still to come. The kept session counts as new, so that the provider is not asked again at once. This restarts
    /// `cookie_expire` too: without an expiry, the session would never end, whatever the provider says about its user.
    fn may_stay(&self, session: &SessionInfo, now: Timestamp) -> bool {
        self.config.cookie.enforce_expires_on && session.expires_on.is_some_and(|expires| expires >= now)
    }

    /// How long a request waits for the refresh of its session.
    pub(super) fn patience(&self, session: &SessionInfo, now: Timestamp) -> Duration {
        if self.is_expired(session, now) { LONG_PATIENCE } else { PATIENCE }
    }

    /// Uses the refresh token of a session. If the provider ends the session, the caller counts that
    /// ([`Self::log_ended`]): another proxy may have used the token before.
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
                return Ok(self.with_sign_in_of(old, session));
            }
            Err(error) => error,
        };
        let about = error.about();
        if matches!(error, SignInError::InvalidGrant | SignInError::OtherSubject)
            || (about == ErrorScope::Token && has_expired)
        {
            return Err(NotRenewed::Ended(error));
        }
        self.io.count(Count::RefreshFailed);
        Err(NotRenewed::Hindered(match about {
            ErrorScope::Client => {
                if let Some(left_out) = self.clients.next(now) {
                    error!(
                        "refresh: {error}; until that is fixed, users with expired sessions are sent to the sign-in{left_out}"
                    );
                }
                Hindrance::Client
            }
            about => {
                if let Some(left_out) = self.failures.next(now) {
                    warn!("refresh: {error}; the session stays until it expires{left_out}");
                }
                match about {
                    ErrorScope::Token => Hindrance::Token,
                    _ => Unavailable::Provider.into(),
                }
            }
        }))
    }

    /// A renewed session, with the time of the sign-in if that limits the session. A session of oauth2-proxy lacks it.
    /// Then its last refresh counts as the sign-in.
    fn with_sign_in_of(&self, old: &Session, mut renewed: Session) -> Session {
        let signed_in_at = self.config.lifetimes.max.and(self.config.lifetimes.signed_in_at(old));
        renewed.signed_in_at = signed_in_at.or(old.signed_in_at);
        renewed
    }

    /// Counts and logs that the provider ended a session.
    pub(super) fn log_ended(&self, error: SignInError) {
        self.io.count(Count::RefreshRefused);
        info!("refresh: the provider ended a session: {error}");
    }

    /// What to keep if the refreshed session is too large: the old session with the new refresh token, because its own
    /// is used up. It counts as new, so that the provider is not asked again at once. `None` if the old session has
    /// expired or has no expiry: each refresh would give the same result, and a sign-in tells the user what is too
    /// large.
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
        stays.then(|| {
            let mut session = Session { refresh_token: renewed.refresh_token.clone(), ..old.clone() };
            session.created_at = Some(now);
            self.with_sign_in_of(old, session)
        })
    }

    /// The outcome of a session that is due but must not be refreshed by this request.
    pub(super) fn outcome_as_is(&self, principal: Rc<Principal>, now: Timestamp) -> Outcome {
        if self.config.lifetimes.is_too_old(&principal.session, now) {
            return Outcome::Anonymous(AnonymousReason::TooOld);
        }
        if self.is_expired(&principal.session, now) {
            return Outcome::Anonymous(AnonymousReason::Expired);
        }
        Outcome::Authenticated(principal)
    }

    /// The outcome of a session that does not need a refresh, or was not refreshed for this reason.
    pub(super) fn outcome_without_refresh(
        &self,
        principal: Rc<Principal>,
        now: Timestamp,
        reason: impl Into<Hindrance>,
    ) -> Outcome {
        if self.config.lifetimes.is_too_old(&principal.session, now) {
            return Outcome::Anonymous(AnonymousReason::TooOld);
        }
        if !self.is_expired(&principal.session, now) {
            return Outcome::Authenticated(principal);
        }
        if !self.is_renewable(&principal) {
            return Outcome::Anonymous(AnonymousReason::Expired);
        }
        match reason.into() {
            // The provider did not answer, so the filter does not know whether it would renew the session.
            Hindrance::Unavailable(reason) => Outcome::Unavailable(reason),
            Hindrance::Client => Outcome::Anonymous(AnonymousReason::ClientRefused),
            Hindrance::Token => Outcome::Anonymous(AnonymousReason::Refused),
        }
    }
}
