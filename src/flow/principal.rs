//! Whom a request is from: a session, and what follows from it by the configuration.

use std::rc::Rc;

use super::authorize;
use super::http::headers::{self, IdentityHeaders};
use super::user::User;
use crate::config::Config;
use crate::session::{Session, SessionInfo};

/// What a worker remembers of a session: what the next request needs of it. It has no tokens, except in headers.
pub(super) struct Principal {
    pub(super) session: SessionInfo,
    /// Whether the session has a refresh token. A refresh reads it from the store.
    pub(super) has_refresh_token: bool,
    /// Whether `email_domains` and `allowed_groups` let this user in.
    pub(super) allowed: bool,
    /// The identity headers for the upstream and for the response.
    pub(super) headers: IdentityHeaders,
    /// Under which names the index lists the session; none without `redis_session_index`.
    pub(super) owner: Option<Box<Owner>>,
}

/// The user of a session, and the provider's name of its own session, if there is one.
pub(super) struct Owner {
    pub(super) user: User,
    pub(super) sid: Option<String>,
}

/// A session with its tokens, to be written or renewed.
pub(super) struct WholeSession {
    pub(super) session: Session,
    pub(super) principal: Rc<Principal>,
}

impl Principal {
    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        let is_indexed = config.redis.as_ref().is_some_and(|redis| redis.session_index);
        Rc::new(Self {
            allowed: authorize::is_allowed(config, &session),
            headers: headers::identity_headers(&config.headers, &session),
            has_refresh_token: !session.refresh_token.is_empty(),
            owner: is_indexed.then(|| Box::new(Owner::of(&session))),
            session: session.info,
        })
    }

    /// About how many bytes of memory it needs.
    pub(super) fn bytes(&self) -> usize {
        let Self { session, headers, owner, .. } = self;
        let owner = owner.as_ref().map_or(0, |owner| owner.bytes());
        size_of::<Self>()
            .saturating_add(session.heap_bytes())
            .saturating_add(headers.bytes())
            .saturating_add(owner)
    }
}

impl Owner {
    fn of(session: &Session) -> Self {
        let (user, sid) = User::of(session);
        Self { user, sid }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.user.issuer, &self.user.subject].into_iter().chain(&self.sid);
        texts.map(String::len).sum::<usize>().saturating_add(size_of::<Self>())
    }
}

impl WholeSession {
    /// The session of a sign-in. The time of the sign-in is written only if it limits the session: without that, the
    /// session is byte for byte as oauth2-proxy writes it.
    pub(super) fn signed_in(config: &Config, mut session: Session) -> Rc<Self> {
        if config.lifetimes.max.is_some() {
            session.signed_in_at = session.created_at;
        }
        Self::new(config, session)
    }

    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        let principal = Principal::new(config, session.clone());
        Rc::new(Self { session, principal })
    }
}
