//! The secrets of a worker, which may change while it runs. All their users ask here, each time that they need one.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::{Config, Secret};
use crate::cookie::{CookieSecrets, SecretId};

/// The secrets that are valid now.
pub(super) struct Secrets {
    cookie: RefCell<Rc<CookieSecrets>>,
    client: RefCell<Secret>,
}

impl Secrets {
    /// The secrets of the configuration.
    pub(super) fn new(config: &Config) -> Self {
        let client = config.provider.as_ref().map(|provider| provider.client_secret.clone());
        Self {
            cookie: RefCell::new(Rc::new(config.cookie.secrets.clone())),
            client: RefCell::new(client.unwrap_or_default()),
        }
    }

    /// The cookie secrets. A flow that waits asks again after it.
    pub(super) fn cookie(&self) -> Rc<CookieSecrets> {
        Rc::clone(&self.cookie.borrow())
    }

    /// Replaces the cookie secrets. From now on the first of them signs, and a cookie of a secret that is no longer
    /// among them is invalid, also if it was verified before.
    pub(super) fn set_cookie(&self, secrets: CookieSecrets) {
        *self.cookie.borrow_mut() = Rc::new(secrets);
    }

    /// The secret of this client at the provider; empty for a public client.
    pub(super) fn client(&self) -> Secret {
        self.client.borrow().clone()
    }

    /// Replaces the secret of this client.
    pub(super) fn set_client(&self, secret: Secret) {
        self.client.replace(secret);
    }

    /// How a cookie secret is used now.
    pub(super) fn rank(&self, id: SecretId) -> Rank {
        let secrets = self.cookie.borrow();
        if secrets.current().id() == id {
            Rank::Current
        } else if secrets.find(id).is_some() {
            Rank::Older
        } else {
            Rank::Removed
        }
    }
}

/// How a cookie secret is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// It signs and verifies.
    Current,
    /// It only verifies.
    Older,
    /// It is no longer valid.
    Removed,
}
