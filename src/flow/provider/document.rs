//! A document that the provider publishes: its metadata, or its keys.
//!
//! ```text
//! GET ─┬─ 200 ───────────────────────────────► the body
//!      ├─ a redirect ── as well encrypted ───► GET there, a few times
//!      ├─ no answer, 5xx, 429, 408 ──────────► Unavailable::Provider: it may pass by itself
//!      └─ all else ──────────────────────────► Unavailable::Misconfigured: the operator has to act
//! ```
//!
//! These requests carry nothing secret, and only the provider decides where they lead. A request with a secret, a token or
//! a code follows no redirect.

use std::rc::Rc;
use std::time::Duration;

use http::header::LOCATION;
use http::{Request, Response, StatusCode};
use log::{Level, warn};

use super::skipped_keys::SkippedKeyLog;
use crate::config;
use crate::flow::io::{CallFailed, Count, Io};
use crate::flow::outcome::Unavailable;
use crate::oidc::{self, Jwks, JwksError, Metadata};

/// The most redirects that are followed. Providers have one or two: to https, and to their current name. Browsers
/// follow twenty.
const MAX_REDIRECTS: usize = 5;

/// Envoy counts in whole milliseconds, and reads 0 as "no timeout".
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// What the log calls a document, and what helps if it cannot be had.
#[derive(Clone, Copy)]
struct Document {
    /// The name at the beginning of a log line.
    name: &'static str,
    /// What the operator can do if it is missing.
    remedy: &'static str,
}

const DISCOVERY: Document = Document { name: "discovery", remedy: "see oidc_issuer_url" };
const KEYS: Document = Document {
    name: "keys (jwks_uri)",
    remedy: "with skip_oidc_discovery, oidc_jwks_url names another address",
};

/// The provider's metadata: from its discovery document, unless the options have it.
pub(super) async fn metadata<I: Io>(
    io: I,
    config: Rc<config::ProviderConfig>,
) -> Result<Metadata, Unavailable> {
    if let Some(metadata) = &config.metadata {
        return Ok(metadata.clone());
    }
    let body = DISCOVERY.fetch(&io, &oidc::metadata_url(&config.issuer_url), &config).await?;
    let metadata = Metadata::parse(&body, &config.issuer_url, config.insecure_skip_issuer_verification);
    let is_any_taken = config.allow_http_endpoints;
    metadata
        .and_then(|found| if is_any_taken { Ok(found) } else { found.require_encryption(&config.issuer_url) })
        .map_err(|error| DISCOVERY.unusable(&io, &error.to_string()))
}

/// The provider's keys. The log says why some of them are not used.
pub(super) async fn keys<I: Io>(
    io: I,
    url: String,
    config: Rc<config::ProviderConfig>,
    skipped_keys: Rc<SkippedKeyLog>,
) -> Result<Jwks, Unavailable> {
    let body = KEYS.fetch(&io, &url, &config).await?;
    let keys = Jwks::parse(&body).map_err(|error| {
        let unusable = KEYS.not_there(&io, &error.to_string());
        if let JwksError::NoKey(skipped) = &error {
            skipped_keys.log(skipped, Level::Warn, io.now());
        }
        unusable
    })?;
    skipped_keys.log(keys.skipped(), Level::Info, io.now());
    Ok(keys)
}

impl Document {
    /// The bytes of the document. All redirects together take no longer than `request_timeout`.
    async fn fetch<I: Io>(
        self,
        io: &I,
        url: &str,
        config: &config::ProviderConfig,
    ) -> Result<Vec<u8>, Unavailable> {
        let what = self.name;
        let began = io.now();
        let (mut url, mut whose) = (url.to_owned(), "the provider".to_owned());
        for _ in 0..=MAX_REDIRECTS {
            let Ok(request) = Request::get(&url).header("accept", "application/json").body(Vec::new()) else {
                return Err(self.not_there(io, "its address is not a valid URL"));
            };
            let left = config.request_timeout.saturating_sub(io.now().since(began));
            let answer = if left < SHORTEST_TIMEOUT { Err(CallFailed) } else { io.call(request, left).await };
            let answer = answer.map_err(|error| {
                warn!("{what}: {error} from {whose}");
                Unavailable::Provider
            })?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer.into_body());
            }
            if oidc::is_temporary(status) {
                warn!("{what}: {whose} answered {}", status.as_u16());
                return Err(Unavailable::Provider);
            }
            let Some(location) = location(&answer) else {
                return Err(self.not_there(io, &format!("{whose} answered {}", status.as_u16())));
            };
            let said = format!("{whose} answered {} and leads to {}", status.as_u16(), shown(&location));
            let Some(target) = oidc::redirect_target(&url, &location) else {
                return Err(self.not_there(io, &format!("{said}, where no request can go")));
            };
            if !may_follow(config, &target) {
                return Err(self.unusable(
                    io,
                    &format!("{said}, and oidc_issuer_url is https; see insecure_oidc_allow_http_endpoints"),
                ));
            }
            (url, whose) = (target, shown(&location));
        }
        Err(self.not_there(io, &format!("more than {MAX_REDIRECTS} redirects, the last one to {whose}")))
    }

    /// The document is not at its address, and asking again does not help.
    fn not_there<I: Io>(self, io: &I, why: &str) -> Unavailable {
        self.unusable(io, &format!("{why}; {}", self.remedy))
    }

    /// The document cannot be used. `why` says what to do.
    fn unusable<I: Io>(self, io: &I, why: &str) -> Unavailable {
        let what = self.name;
        warn!("{what}: {why}");
        io.count(Count::Misconfigured);
        Unavailable::Misconfigured
    }
}

/// A redirect must not be less protected than the way to the provider itself.
fn may_follow(config: &config::ProviderConfig, target: &str) -> bool {
    config.allow_http_endpoints || oidc::is_unencrypted(&config.issuer_url) || !oidc::is_unencrypted(target)
}

fn location(answer: &Response<Vec<u8>>) -> Option<String> {
    let leads_on = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = answer.headers().get(LOCATION).filter(|_| leads_on)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// For the log: quoted and cut, because the provider wrote it; without user, password and query, which may be secret.
fn shown(location: &str) -> String {
    let address = without_user(location.split(['?', '#']).next().unwrap_or_default());
    format!("{:?}", address.chars().take(200).collect::<String>())
}

/// An address without its user and password. Some clients read an invalid URL as a valid one, for example with
/// backslashes or with too few slashes. So those are handled too.
fn without_user(address: &str) -> String {
    const SLASHES: [char; 2] = ['/', '\\'];
    let (scheme, rest) = match address.split_once(':') {
        Some((scheme, rest)) if !scheme.contains(SLASHES) => (format!("{scheme}:"), rest),
        _ => (String::new(), address),
    };
    let authority = rest.trim_start_matches(SLASHES);
    let slashes: String = rest.chars().take_while(|char| SLASHES.contains(char)).collect();
    if scheme.is_empty() && slashes.len() < 2 {
        return address.to_owned();
    }
    let (authority, path) = authority.split_at(authority.find(SLASHES).unwrap_or(authority.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{slashes}{host}{path}")
}
