//! The callback: `redirect_url`, and whether a browser reaches it with its cookie when it comes back from the
//! provider.
//!
//! | `redirect_url` | the path that the browser asks for | it reaches the callback |
//! |---|---|---|
//! | none, `https://host`, `https://host/` | `{proxy_prefix}/callback` | always |
//! | `https://host/a/oauth2/callback` | the path of the URL | if a proxy in front of Envoy removes `/a` |
//! | `https://host/other` | the path of the URL | if a proxy in front of Envoy rewrites it |

use http::Uri;

use super::errors::ConfigErrors;
use super::mode::Mode;
use super::options::Options;
use super::url::Url;

/// The URL that the provider sends the browser to, if `redirect_url` is set.
pub(super) fn build(options: &Options, mode: &Mode, errors: &mut ConfigErrors) -> Option<String> {
    let callback = format!("{}/callback", options.proxy_prefix);
    let url = options.redirect_url.as_ref().map(|url| with_path(url, &callback));
    // In the other modes, the filter has no callback.
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

/// A URL without a path gets the callback's, as in oauth2-proxy. For oauth2-proxy, `/` is a path, but no
/// callback has it. By RFC 3986 section 6.2.3 it is the same as no path.
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

/// The callback has one path. If `redirect_url` has another, only a proxy in front of Envoy can rewrite it.
fn check_path(asked: &str, callback: &str, is_behind_proxy: bool, errors: &mut ConfigErrors) {
    if asked == callback {
        return;
    }
    if is_behind_proxy || asked.ends_with(callback) {
        errors.warn(
            "redirect_url",
            format!(
                "its path is not {callback}: sign-ins fail unless a proxy in front of Envoy rewrites the path to \
                 that"
            ),
        );
    } else {
        errors.add(
            "redirect_url",
            format!(
                "its path must be {callback}, or be left out: with another path every sign-in fails. To change the \
                 path, set proxy_prefix; if a proxy in front of Envoy rewrites it, set reverse_proxy"
            ),
        );
    }
}

/// Browsers do not send a `Secure` cookie over http. They treat this machine's own host as secure without
/// TLS.
fn check_scheme(url: Option<&str>, is_secure: bool, errors: &mut ConfigErrors) {
    let Some(url) = url.and_then(|url| url.parse::<Uri>().ok()) else { return };
    let is_local = matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if is_secure && !is_local && url.scheme_str() == Some("http") {
        errors.warn(
            "redirect_url",
            "it is http, but with cookie_secure the browser sends the cookie of a sign-in only over https: sign-ins \
             fail unless a proxy in front redirects the callback to https",
        );
    }
}

/// Without the cookie of the sign-in, every sign-in fails. Without the cookie of the session, the user sees
/// no page.
fn check_cookie(asked: &str, options: &Options, errors: &mut ConfigErrors) {
    if errors.has("cookie_path") {
        return;
    }
    if !is_sent(&options.cookie_path, asked) {
        errors.add(
            "cookie_path",
            format!(
                "must cover the callback {asked}: otherwise the browser does not send the cookie of the sign-in \
                 there. Write /, or give proxy_prefix and redirect_url a path beneath cookie_path"
            ),
        );
    } else if is_sent(&options.proxy_prefix, &options.cookie_path) {
        errors.warn(
            "cookie_path",
            "it is below proxy_prefix: the browser does not send the session to other pages, and each of them leads \
             to the sign-in again",
        );
    }
}

/// Whether a browser sends a cookie with this path to the path `asked` (RFC 6265 section 5.1.4).
fn is_sent(cookie_path: &str, asked: &str) -> bool {
    asked
        .strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}
