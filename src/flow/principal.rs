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
    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        Rc::new(Self {
            allowed: authorize::is_allowed(config, &session),
            headers: headers::identity_headers(&config.headers, &session),
            session,
        })
    }
}
