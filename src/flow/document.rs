//! A document that the provider publishes: its metadata, or its keys.
//!
//! ```text
//! GET ─┬─ 200 ───────────────────────────────► the body
//!      ├─ no answer, 5xx, 429, 408 ──────────► Unavailable::Provider: it may pass by itself
//!      └─ all else ──────────────────────────► Unavailable::Misconfigured: the operator has to look
//! ```

use http::Request;
use log::warn;

use super::io::{Count, Io};
use super::outcome::Unavailable;
use crate::config;
use crate::oidc;

/// Which document, for the log.
#[derive(Clone, Copy)]
pub(super) struct Document {
    /// What a line is about.
    pub(super) name: &'static str,
    /// What the operator can do if it is not there.
    pub(super) remedy: &'static str,
}

pub(super) const DISCOVERY: Document = Document { name: "discovery", remedy: "see oidc_issuer_url" };
pub(super) const KEYS: Document = Document {
    name: "keys (jwks_uri)",
    remedy: "with skip_oidc_discovery, oidc_jwks_url names another address",
};

impl Document {
    /// The document's bytes.
    pub(super) async fn fetch<I: Io>(
        self,
        io: &I,
        url: &str,
        config: &config::Provider,
    ) -> Result<Vec<u8>, Unavailable> {
        let what = self.name;
        let Ok(request) = Request::get(url).header("accept", "application/json").body(Vec::new()) else {
            return Err(self.not_there(io, "its address is no URL"));
        };
        let answer = io.call(request, config.request_timeout).await.map_err(|error| {
            warn!("{what}: {error} from the provider");
            Unavailable::Provider
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.into_body());
        }
        if oidc::is_temporary(status) {
            warn!("{what}: the provider answered {}", status.as_u16());
            return Err(Unavailable::Provider);
        }
        Err(self.not_there(io, &format!("the provider answered {}", status.as_u16())))
    }

    /// What was asked for is not in the answer, and will not be when it is asked for again.
    pub(super) fn not_there<I: Io>(self, io: &I, why: &str) -> Unavailable {
        self.unusable(io, &format!("{why}; {}", self.remedy))
    }

    /// The same, and `why` says what to do.
    pub(super) fn unusable<I: Io>(self, io: &I, why: &str) -> Unavailable {
        let what = self.name;
        warn!("{what}: {why}");
        io.count(Count::Misconfigured);
        Unavailable::Misconfigured
    }
}
