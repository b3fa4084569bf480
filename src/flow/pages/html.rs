//! A rendered page as an answer: its headers, and the policy that allows only its own style and script.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use sha2::{Digest, Sha256};

use crate::flow::http::reply::{self, Reply};

/// The bytes between `<style>` and `</style>` in every page.
pub(super) const STYLE: &str = include_str!("style.css");

/// The bytes between `<script>` and `</script>` in every page. The script changes only the query and the
/// fragment of existing links.
pub(super) const SCRIPT: &str = include_str!("fragment.js");

/// The Content-Security-Policy of every page (CSP Level 3): its style and its script by hash, and nothing
/// else. The hashes are computed from the bytes of the pages, so they always match.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'none'"));

/// The policy of a page with forms for this site.
static POLICY_WITH_OWN_FORMS: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self'"));

/// The same if an answer to a form redirects to the provider, which may redirect further. Chromium applies `form-action`
/// to each redirect. The targets of the forms themselves are paths.
static POLICY_WITH_FORMS_THAT_LEAVE: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self' https: http:"));

fn policy(form_action: &str) -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action {form_action}; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    // Base64 is valid in a header. If it were not, a page would lose its style, and nothing more would be
    // allowed.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Renders a page with forms for this site.
pub(super) fn page_with_own_forms(status: StatusCode, template: &impl Template) -> Reply {
    with_policy(status, template, POLICY_WITH_OWN_FORMS.clone())
}

/// Renders a page with forms for this site, whose answers may redirect to the provider.
pub(super) fn page_with_forms_that_leave(status: StatusCode, template: &impl Template) -> Reply {
    with_policy(status, template, POLICY_WITH_FORMS_THAT_LEAVE.clone())
}

/// Renders a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Reply {
    with_policy(status, template, POLICY.clone())
}

fn with_policy(status: StatusCode, template: &impl Template, policy: HeaderValue) -> Reply {
    let mut answer = reply::empty(status);
    // The templates write strings into a string, which does not fail.
    *answer.body_mut() = template.render().unwrap_or_default().into_bytes();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address of a callback has the code and the state.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}
