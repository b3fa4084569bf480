//! How the provider takes the client's secret, as this worker found out.
//!
//! ```text
//! grant ── the way that was right last, or the likeliest ─┬─ any other answer ──────────► that is the answer
//!                                                         └─ invalid_client ── the next way, with the same code
//! ```
//!
//! `invalid_client` alone leads on: it says that the server looked at the client, and so not at the code.

use std::cell::Cell;
use std::time::Duration;

use log::info;

use crate::oidc::ClientAuthMethod;
use crate::time::Timestamp;

/// After the provider answered `invalid_client` to each way, the filter tries only one way for this long. So a wrong secret
/// does not multiply the requests of all who sign in.
const PAUSE: Duration = Duration::from_secs(60);

/// What a worker knows.
#[derive(Default)]
pub(in crate::flow) struct ClientAuthMethods {
    right: Cell<Option<ClientAuthMethod>>,
    none_was_right_at: Cell<Option<Timestamp>>,
}

impl ClientAuthMethods {
    /// Those to try now, in this order; at least one.
    pub(in crate::flow) fn to_try(
        &self,
        mut methods: Vec<ClientAuthMethod>,
        now: Timestamp,
    ) -> Vec<ClientAuthMethod> {
        if let Some(right) = self.right.get().filter(|right| methods.contains(right)) {
            methods.retain(|method| *method != right);
            methods.insert(0, right);
        }
        if self.is_pausing(now) {
            methods.truncate(1);
        }
        methods
    }

    /// The provider took the client in this way, after it had not taken it in another.
    pub(in crate::flow) fn was_right(&self, method: ClientAuthMethod) {
        info!(
            "token endpoint: the provider accepts the client's secret by {method}; see token_endpoint_auth_method"
        );
        self.right.set(Some(method));
        self.none_was_right_at.set(None);
    }

    /// The provider answered `invalid_client` to each of the ways that were tried.
    pub(in crate::flow) fn none_was_right(&self, now: Timestamp) {
        // Not longer for those who came meanwhile, or the others were never tried again.
        if !self.is_pausing(now) {
            self.none_was_right_at.set(Some(now));
        }
    }

    fn is_pausing(&self, now: Timestamp) -> bool {
        self.none_was_right_at.get().is_some_and(|at| at.was_within(PAUSE, now))
    }
}
