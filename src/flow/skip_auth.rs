//! Which requests for the upstream need no session: `skip_auth_routes`, `skip_auth_preflight`, and the paths of the login app.

use super::http::request::RequestHead;
use crate::config::Config;
use crate::path_match::is_unambiguous;

/// Whether a request needs no session.
pub(super) fn skips_auth(config: &Config, head: &RequestHead) -> bool {
    if !head.has_path() {
        return false;
    }
    let is_preflight = config.routes.skip_auth_preflight && head.method() == b"OPTIONS";
    is_preflight || is_skipped_route(config, head) || is_login_app_path(config, head)
}

/// `skip_auth_routes`.
pub(super) fn is_skipped_route(config: &Config, head: &RequestHead) -> bool {
    // A pattern such as `.*` also matches a request without a path, which is not meant.
    let skip_auth = &config.routes.skip_auth;
    head.has_path() && skip_auth.allows(head.method(), head.path()) && is_unambiguous(head.path())
}

/// Whether the request is for the login app.
pub(super) fn is_login_app_path(config: &Config, head: &RequestHead) -> bool {
    config.mode.login_app().is_some_and(|login_app| login_app.routes.allows(head.method(), head.path()))
        && is_unambiguous(head.path())
}
