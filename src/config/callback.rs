//! The callback: `redirect_url`, and whether a browser that comes back from the provider reaches it with its cookie.
//!
//! | `redirect_url` | the path that the browser asks for | it reaches the callback |
//! |---|---|---|
//! | none, `https://host`, `https://host/` | `{proxy_prefix}/callback` | always |
//! | `https://host/a/oauth2/callback` | as it stands there | if a proxy in front of Envoy takes `/a` away |
//! | `https://host/other` | as it stands there | if a proxy in front of Envoy rewrites it |

use http::Uri;

use super::errors::ConfigErrors;
use super::mode::Mode;
use super::options::Options;
use super::url::Url;

/// The URL that the provider sends the browser to, if `redirect_url` says it.
pub(super) fn build(options: &Options, mode: &Mode, errors: &mut ConfigErrors) -> Option<String> {
    let callback = format!("{}/callback", options.proxy_prefix);
    let url = options.redirect_url.as_ref().map(|url| with_path(url, &callback));
    // In the other modes no callback is the filter's.
    let is_checked =
        matches!(mode, Mode::Login) && !errors.has("proxy_prefix") && !errors.has("redirect_url");
    if is_checked {
        let asked = url.as_deref().map_or_else(|| callback.clone(), path);
        check_path(&asked, &callback, options.reverse_proxy, errors);
        check_cookie(&asked, options, errors);
        check_scheme(url.as_deref(), options.cookie_secure, errors);
    }
    url
}

/// A URL without a path gets the callback's, as in oauth2-proxy. To that, `/` is a path, which no callback has; by
/// RFC 3986 section 6.2.3 it is the same as none.
fn with_path(url: &Url, callback: &str) -> String {
    let url = url.as_str();
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at.saturating_add(3)));
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match rest.strip_prefix('/').unwrap_or(rest) {
        query if query.is_empty() || query.starts_with('?') => {
            format!("{scheme}{authority}{callback}{query}")
        }
        _ => url.to_owned(),
    }
}

fn path(url: &str) -> String {
    url.parse::<Uri>().map(|url| url.path().to_owned()).unwrap_or_default()
}

/// The filter answers one path. Only a proxy in front of Envoy can make it of another one.
fn check_path(asked: &str, callback: &str, is_behind_proxy: bool, errors: &mut ConfigErrors) {
    if asked == callback {
        return;
    }
    if is_behind_proxy || asked.ends_with(callback) {
        errors.warn(
            "redirect_url",
            format!(
                "its path is not {callback}: a sign-in can be finished only if a proxy in front of Envoy rewrites the \
                 path to that"
            ),
        );
    } else {
        errors.add(
            "redirect_url",
            format!(
                "its path must be {callback}, or be left out: with another one no sign-in can be finished. Set \
                 proxy_prefix to change the path; if a proxy in front of Envoy rewrites it, set reverse_proxy"
            ),
        );
    }
}

/// A cookie that is `Secure` is not sent to http. A host of this machine is secure to browsers without TLS.
fn check_scheme(url: Option<&str>, is_secure: bool, errors: &mut ConfigErrors) {
    let Some(url) = url.and_then(|url| url.parse::<Uri>().ok()) else { return };
    let is_local = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if is_secure && !is_local && url.scheme_str() == Some("http") {
        errors.warn(
            "redirect_url",
            "it is http, and with cookie_secure the browser sends the cookie of a sign-in to https alone: a sign-in can \
             be finished only if something in front redirects the callback to https",
        );
    }
}

/// Without its cookie no sign-in can be finished, and without the session's no page be seen.
fn check_cookie(asked: &str, options: &Options, errors: &mut ConfigErrors) {
    if errors.has("cookie_path") {
        return;
    }
    if !is_sent(&options.cookie_path, asked) {
        errors.add(
            "cookie_path",
            format!(
                "must cover the callback {asked}: the browser does not send it the cookie of the sign-in otherwise. \
                 Write /, or give proxy_prefix and redirect_url a path beneath cookie_path"
            ),
        );
    } else if is_sent(&options.proxy_prefix, &options.cookie_path) {
        errors.warn(
            "cookie_path",
            "it is below proxy_prefix: the browser sends the session to no other page, and each leads to the sign-in \
             again",
        );
    }
}

/// Whether a browser sends a cookie of this path to that one (RFC 6265 section 5.1.4).
fn is_sent(cookie_path: &str, asked: &str) -> bool {
    asked
        .strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}
