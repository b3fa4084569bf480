//! A person who is signed in: a session, and what follows from it by the configuration.

use std::rc::Rc;

use super::{Header, authorize, headers};
use crate::config::Config;
use crate::session::Session;

/// A session with what it means here, worked out once.
pub(super) struct Person {
    pub(super) session: Session,
    /// Whether `email_domains` and `allowed_groups` let this person in.
    pub(super) allowed: bool,
    /// What the upstream gets to know.
    pub(super) request_headers: Rc<[Header]>,
    /// What `set_xauthrequest` adds to the response.
    pub(super) response_headers: Vec<Header>,
}

impl Person {
    pub(super) fn new(config: &Config, session: Session) -> Rc<Self> {
        Rc::new(Self {
            allowed: authorize::is_allowed(config, &session),
            request_headers: headers::for_upstream(&config.headers, &session),
            response_headers: headers::for_response(&config.headers, &session),
            session,
        })
    }
}
