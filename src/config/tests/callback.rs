//! `redirect_url`, `proxy_prefix` and `cookie_path`: whether a browser comes back to the filter with its cookie.

use super::*;

fn url(changes: Value) -> String {
    config(changes).login.redirect_url.unwrap()
}

/// oauth2-proxy appends the path if there is none (`NewOAuthProxy`), and keeps a query.
#[test]
fn redirect_url_without_path_gets_the_callback_path() {
    for (given, expected) in [
        ("https://app.example.com", "https://app.example.com/oauth2/callback"),
        ("https://app.example.com/", "https://app.example.com/oauth2/callback"),
        ("http://app.example.com:8080", "http://app.example.com:8080/oauth2/callback"),
        ("https://[::1]:8443", "https://[::1]:8443/oauth2/callback"),
        ("https://app.example.com?tenant=/a", "https://app.example.com/oauth2/callback?tenant=/a"),
        ("https://app.example.com/?tenant=a", "https://app.example.com/oauth2/callback?tenant=a"),
        ("https://app.example.com/oauth2/callback", "https://app.example.com/oauth2/callback"),
        ("https://app.example.com/oauth2/callback?x=y", "https://app.example.com/oauth2/callback?x=y"),
    ] {
        assert_eq!(url(json!({ "redirect_url": given })), expected);
        let config = config(json!({ "redirect_url": given, "cookie_secure": false }));
        assert!(config.warnings.is_empty(), "{given}");
    }
    assert_eq!(
        url(json!({ "redirect_url": "https://app.example.com", "proxy_prefix": "/a/b" })),
        "https://app.example.com/a/b/callback"
    );
}

#[test]
fn redirect_url_with_another_path_is_refused() {
    for path in [
        "/callback",
        "/oauth2",
        "/oauth2/",
        "/oauth2/callback/",
        "/oauth2/Callback",
        "//",
        "/x/oauth2/callbacks",
    ] {
        let line =
            mistake("redirect_url", json!({ "redirect_url": format!("https://app.example.com{path}") }));
        assert!(line.contains("/oauth2/callback") && line.contains("proxy_prefix"), "{line}");
    }
    mistake(
        "redirect_url",
        json!({ "redirect_url": "https://app.example.com/oauth2/callback", "proxy_prefix": "/auth" }),
    );
}

#[test]
fn redirect_path_behind_a_proxy_is_a_warning() {
    let stripped = "https://app.example.com/tools/oauth2/callback";
    let other = "https://app.example.com/callback";
    for changes in [
        json!({ "redirect_url": stripped }),
        json!({ "redirect_url": stripped, "cookie_path": "/tools" }),
        json!({ "redirect_url": other, "reverse_proxy": true }),
    ] {
        let config = config(changes.clone());
        assert_eq!(config.login.redirect_url.as_deref(), changes["redirect_url"].as_str());
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        assert!(config.warnings[0].starts_with("redirect_url: its path is not /oauth2/callback"));
    }
}

/// RFC 6265 section 4.1.2.5.
#[test]
fn http_redirect_url_with_secure_cookie_is_a_warning() {
    let warnings = |url: &str, is_secure: bool| {
        config(json!({ "redirect_url": url, "cookie_secure": is_secure })).warnings
    };
    assert!(warnings("http://app.example.com", true)[0].starts_with("redirect_url: it is http"));
    assert!(warnings("http://app.example.com", false).is_empty());
    for local in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]/oauth2/callback"] {
        assert!(warnings(local, true).is_empty(), "{local}");
    }
}

/// By RFC 6265 section 5.1.4, from the path that the browser asks for.
#[test]
fn a_cookie_path_has_to_cover_the_callback() {
    let there = "https://app.example.com/tools/oauth2/callback";
    for changes in [
        json!({ "cookie_path": "/app" }),
        json!({ "cookie_path": "/oauth" }),
        json!({ "cookie_path": "/oauth2/callback/" }),
        json!({ "cookie_path": "/OAUTH2" }),
        json!({ "cookie_path": "/app", "redirect_url": "https://app.example.com" }),
        json!({ "cookie_path": "/oauth2", "redirect_url": there }),
        json!({ "cookie_path": "/tool", "redirect_url": there }),
    ] {
        mistake("cookie_path", changes);
    }
    for changes in [
        json!({ "cookie_path": "/app", "proxy_prefix": "/app/oauth2" }),
        json!({ "cookie_path": "/app/", "proxy_prefix": "/app/oauth2" }),
        json!({ "cookie_path": "/tools/", "redirect_url": there }),
    ] {
        config(changes);
    }
}

#[test]
fn cookie_path_below_proxy_prefix_is_a_warning() {
    let warnings = |path: &str| config(json!({ "cookie_path": path })).warnings;
    for path in ["/oauth2", "/oauth2/"] {
        assert!(
            warnings(path)[0].starts_with("cookie_path: it is below proxy_prefix"),
            "{:?}",
            warnings(path)
        );
    }
    assert!(warnings("/").is_empty());
}

#[test]
fn redirect_url_is_not_checked_in_other_modes() {
    for mode in ["beside", "app"] {
        let mut json = json!({
            "mode": mode, "cookie_secret": "0123456789abcdef", "email_domains": ["*"], "cookie_path": "/app",
            "redirect_url": "https://app.example.com/callback",
        });
        if mode == "app" {
            json["login_app_path"] = json!("/login");
            json["login_app_clusters"] = json!("login-app");
        }
        assert!(parse(&json).unwrap().warnings.is_empty());
    }
}
