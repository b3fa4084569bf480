//! Who a session belongs to: the issuer and the subject of its ID token.

use crate::oidc::{self, TokenUser};
use crate::session::Session;

/// A user, as a provider names them. Two providers may have the same subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// The `iss` claim; empty for a session without an ID token, which a login app handed over.
    pub(super) issuer: String,
    /// The `sub` claim; without an ID token the user of the session.
    pub(super) subject: String,
}

impl User {
    /// The user of a session, and the provider's name of its own session, if there is one. The ID token is not verified
    /// again: only this filter, or an oauth2-proxy with the same secret, has written the session.
    pub(super) fn of(session: &Session) -> (Self, Option<String>) {
        match oidc::unverified_user(&session.id_token) {
            Some(TokenUser { issuer, subject, sid }) => (Self { issuer, subject }, sid),
            None => {
                let subject = String::from_utf8_lossy(&session.user).into_owned();
                (Self { issuer: String::new(), subject }, None)
            }
        }
    }
}
