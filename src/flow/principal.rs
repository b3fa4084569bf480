//! Whom a request is from: a session, and what follows from it by the configuration.

use std::rc::Rc;

use super::authorize;
use super::http::headers::{self, IdentityHeaders};
use crate::config::Config;
use crate::session::Session;

/// A session, and what was worked out from it once.
pub(super) struct Principal {
    pub(super) session: Session,
    /// Whether `email_domains` and `allowed_groups` let this user in.
    pub(super) allowed: bool,
    /// The identity headers for the upstream and for the response.
    pub(super) headers: IdentityHeaders,
}

impl Principal {
    /// The user of a sign-in. The time of the sign-in is written only if it limits the session: without that, the
    /// session is byte for byte as oauth2-proxy writes it.
    pub(super) fn signed_in(config: &Config, mut session: Session) -> Rc<Self> {
        if config.lifetimes.max.is_some() {
            session.signed_in_at = session.created_at;
        }
        Self::new(config, session)
    }

    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        Rc::new(Self {
            allowed: authorize::is_allowed(config, &session),
            headers: headers::identity_headers(&config.headers, &session),
            session,
        })
    }
}
