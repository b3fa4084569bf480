//! `provider_sign_out`: after a sign-out here, the browser goes to the provider, which ends its own session (OpenID Connect
//! RP-Initiated Logout 1.0).
//!
//! ```text
//! is the endpoint known? ─┬─ yes ───────────────────► 302 to it, with the ID token if that is not too long
//!                         ├─ the metadata has none ─► the page after a sign-out
//!                         └─ no answer ─────────────► that page, with a link to try again
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use log::{info, warn};

use super::sign_out;
use crate::config::ProviderSignOut;
use crate::flow::App;
use crate::flow::http::reply::{self, Reply};
use crate::flow::io::Io;
use crate::flow::pages::Pages;
use crate::oidc::EndSessionRequest;

/// The longest URL with an ID token, in bytes. With many groups, the token alone can have more. Many servers accept 4 kB for
/// the first line of a request (Netty), and many proxies in front of Envoy for all headers of a response (nginx).
const MAX_URL: usize = 3_000;

/// Sends the browser to the provider. The session here has ended; `id_token` is its own, or empty.
pub(super) async fn leave<I: Io>(
    app: &App<I>,
    options: &ProviderSignOut,
    id_token: &str,
    pages: Pages<'_>,
    everywhere_url: Option<&str>,
) -> Reply {
    let prefix = &app.config.routes.proxy_prefix;
    let sign_in_url = format!("{prefix}/sign_in");
    let known = sign_out::end_session_endpoint(app).await;
    let (endpoint, client_id) = match (&known, &app.config.provider) {
        (Ok(Some(endpoint)), Some(provider)) => (endpoint.as_str(), provider.client_id.as_str()),
        (Ok(_), _) => {
            log_stays(app, "the provider's metadata has no end_session_endpoint; set oidc_end_session_url");
            return pages.signed_out(&sign_in_url, None, everywhere_url);
        }
        (Err(reason), _) => {
            log_stays(app, reason.explain());
            let retry_url = format!("{prefix}/sign_out");
            return pages.signed_out(&sign_in_url, Some(&retry_url), everywhere_url);
        }
    };
    // Without random numbers the provider adds no state. It is needed for nothing: coming back changes nothing here.
    let state = app.io.random::<16>().map(|state| URL_SAFE_NO_PAD.encode(state)).unwrap_or_default();
    let redirect_uri = options.post_logout_redirect_url.as_deref().unwrap_or_default();
    let state = if redirect_uri.is_empty() { "" } else { &state };
    let request = EndSessionRequest { id_token, client_id, redirect_uri, state };
    let url = request.url(endpoint);
    if url.len() <= MAX_URL || id_token.is_empty() {
        return reply::redirect(&url);
    }
    if let Some(left_out) = app.log_limits.id_tokens.next(app.io.now()) {
        let bytes = id_token.len();
        info!(
            "sign-out: the provider gets no ID token and asks the user: {bytes} bytes are too many for a URL{left_out}"
        );
    }
    reply::redirect(&EndSessionRequest { id_token: "", ..request }.url(endpoint))
}

fn log_stays<I: Io>(app: &App<I>, reason: &str) {
    if let Some(left_out) = app.log_limits.end_session.next(app.io.now()) {
        warn!(
            "sign-out: the browser was not sent to the provider, whose session goes on: {reason}{left_out}"
        );
    }
}
