//! A rendered page as an answer: its headers, and the policy that allows only its own style and script, and the logo.

use std::sync::LazyLock;

use askama::DynTemplate;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use sha2::{Digest, Sha256};

use crate::config::Logo;
use crate::flow::http::reply::{self, Reply};

/// The bytes between `<style>` and `</style>` in every page.
pub(super) const STYLE: &str = include_str!("style.css");

/// The bytes between `<script>` and `</script>` in every page. The script changes only the query and the
/// fragment of existing links.
pub(super) const SCRIPT: &str = include_str!("fragment.js");

/// `form-action` of a page without forms.
pub(super) const NO_FORMS: &str = "'none'";

/// `form-action` of a page with forms for this site.
pub(super) const OWN_FORMS: &str = "'self'";

/// The same if an answer to a form redirects to the provider, which may redirect further. Chromium applies `form-action`
/// to each redirect. The targets of the forms themselves are paths.
pub(super) const FORMS_THAT_LEAVE: &str = "'self' https: http:";

/// The part of each Content-Security-Policy that is always the same: style and script by hash. The hashes are computed from
/// the bytes of the pages, so they always match.
static HASHES: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!("style-src 'sha256-{}'; script-src 'sha256-{}'", hash(STYLE), hash(SCRIPT))
});

/// The Content-Security-Policy of a page (CSP Level 3): its style and its script, `pages_logo`, its forms, and nothing
/// else.
fn policy(logo: Option<&Logo>, form_action: &str) -> HeaderValue {
    let image = logo.map(|logo| format!("img-src {}; ", logo.source())).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; {image}{}; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'",
        *HASHES
    );
    // The configuration lets only ASCII into the URL of a logo. If the value were invalid, a page would lose its style,
    // and nothing more would be allowed.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Renders a page.
pub(super) fn page(
    status: StatusCode,
    logo: Option<&Logo>,
    form_action: &str,
    template: &dyn DynTemplate,
) -> Reply {
    let mut answer = reply::empty(status);
    // The templates write strings into a string, which does not fail.
    *answer.body_mut() = template.dyn_render().unwrap_or_default().into_bytes();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, policy(logo, form_action));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address of a callback has the code and the state.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}
