//! A person who is signed in: a session, and what follows from it by the configuration.

use std::rc::Rc;

use super::authorize;
use super::http::headers::{self, Said};
use crate::config::Config;
use crate::session::Session;

/// A session with what it means here, worked out once.
pub(super) struct Person {
    pub(super) session: Session,
    /// Whether `email_domains` and `allowed_groups` let this person in.
    pub(super) allowed: bool,
    /// What the upstream and the response get to know.
    pub(super) said: Said,
}

impl Person {
    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        Rc::new(Self {
            allowed: authorize::is_allowed(config, &session),
            said: headers::said(&config.headers, &session),
            session,
        })
    }
}
