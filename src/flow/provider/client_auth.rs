//! Client authentication: how the provider takes the client's secret, as this worker found out.
//!
//! ```text
//! grant ── the method that worked last, or the likeliest ─┬─ any other answer ──► that is the answer
//!                                                         └─ invalid_client ── the next method, with the same code
//! ```
//!
//! Only `invalid_client` leads to the next method: it means that the server rejected the client and did not look at the code.

use std::cell::Cell;
use std::time::Duration;

use log::info;

use crate::oidc::ClientAuthMethod;
use crate::time::Timestamp;

/// After the provider answered `invalid_client` to each method, the filter tries only one method for this long. So a
/// wrong secret does not multiply the requests of users who sign in.
const PAUSE: Duration = Duration::from_secs(60);

/// What this worker has learned about the provider.
#[derive(Default)]
pub(in crate::flow) struct ClientAuthMethods {
    right: Cell<Option<ClientAuthMethod>>,
    none_was_right_at: Cell<Option<Timestamp>>,
}

impl ClientAuthMethods {
    /// The methods to try now, in this order; at least one.
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

    /// The provider accepted this method, after it had rejected another.
    pub(in crate::flow) fn was_right(&self, method: ClientAuthMethod) {
        info!(
            "token endpoint: the provider accepts the client's secret by {method}; see token_endpoint_auth_method"
        );
        self.right.set(Some(method));
        self.none_was_right_at.set(None);
    }

    /// The provider answered `invalid_client` to each method that was tried.
    pub(in crate::flow) fn none_was_right(&self, now: Timestamp) {
        // Requests that come during the pause must not extend it, or the other methods would never be tried again.
        if !self.is_pausing(now) {
            self.none_was_right_at.set(Some(now));
        }
    }

    fn is_pausing(&self, now: Timestamp) -> bool {
        self.none_was_right_at.get().is_some_and(|at| at.was_within(PAUSE, now))
    }
}
