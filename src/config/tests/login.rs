//! The options of sign-in, of the filter's own paths and of headers.

use super::*;

#[test]
fn domain_that_can_never_match_is_refused() {
    mistake("email_domains", json!({"email_domains": ["example.org", "@example.com"]}));
    mistake("whitelist_domains", json!({"whitelist_domains": ["https://example.com"]}));
    let domains = ["example.com", ".example.com", "*.example.com:8443", "example.com:*"];
    assert_eq!(config(json!({"whitelist_domains": domains})).login.whitelist_domains, domains);
}

#[test]
fn bearer_token_issuers_need_skip_jwt_bearer_tokens() {
    assert!(config(json!({})).bearer.is_none());
    let bearer = config(json!({"skip_jwt_bearer_tokens": true})).bearer.unwrap();
    assert!(bearer.login_fallback && bearer.issuers.is_empty());
    let bearer = config(json!({
        "skip_jwt_bearer_tokens": true,
        "bearer_token_login_fallback": false,
        "extra_jwt_issuers": ["https://ci.example.com=api", "https://login.example.com/a=b/=x"],
    }));
    let bearer = bearer.bearer.unwrap();
    assert!(!bearer.login_fallback);
    let issuers: Vec<_> =
        bearer.issuers.iter().map(|issuer| (issuer.issuer_url.as_str(), issuer.client_id.as_str())).collect();
    assert_eq!(issuers, [("https://ci.example.com", "api"), ("https://login.example.com/a=b/", "x")]);
    for issuer in
        ["https://ci.example.com", "=api", "https://ci.example.com=", "ci=api", "https://a.example/?x=y"]
    {
        mistake("extra_jwt_issuers", json!({"skip_jwt_bearer_tokens": true, "extra_jwt_issuers": [issuer]}));
    }
    mistake("extra_jwt_issuers", json!({"extra_jwt_issuers": ["https://ci.example.com=api"]}));
}

#[test]
fn dash_means_no_banner_and_no_footer() {
    let texts = |banner| {
        let login = config(json!({"banner": banner, "footer": banner})).login;
        (login.banner, login.footer)
    };
    assert_eq!(texts("-"), (None, None));
    assert_eq!(texts(""), (None, None));
    assert_eq!(texts("Hello"), (Some("Hello".to_owned()), Some("Hello".to_owned())));
}

#[test]
fn a_redirect_url_is_absolute() {
    let url = "https://app.example.com/oauth2/callback";
    assert_eq!(config(json!({"redirect_url": url})).login.redirect_url.as_deref(), Some(url));
    assert_eq!(config(json!({})).login.redirect_url, None);
    mistake("redirect_url", json!({"redirect_url": "/oauth2/callback"}));
}

#[test]
fn logout_url_may_have_an_id_token_placeholder() {
    let url = "https://login.example.com/logout?id_token_hint={id_token}";
    let config = config(json!({"backend_logout_url": url}));
    assert_eq!(config.login.backend_logout_url.as_deref(), Some(url));
}

#[test]
fn basic_authentication_needs_a_password() {
    let headers = |changes| config(changes).headers;
    let with_password = headers(json!({"basic_auth_password": "pw"}));
    assert_eq!(with_password.basic_auth(), Some(b"pw".as_slice()));
    assert!(with_password.sets_authorization());
    let off = headers(json!({"basic_auth_password": "pw", "pass_basic_auth": false}));
    assert_eq!(off.basic_auth(), None);
    assert!(!off.sets_authorization());
    assert!(!headers(json!({})).sets_authorization());
    assert!(headers(json!({"pass_authorization_header": true})).sets_authorization());
    // That one is a header of the response.
    assert!(!headers(json!({"set_authorization_header": true})).sets_authorization());
}

#[test]
fn ambiguous_proxy_prefix_is_refused() {
    for prefix in ["/oauth2", "/a/b-c_d.e~f"] {
        assert_eq!(config(json!({"proxy_prefix": prefix})).routes.proxy_prefix, prefix);
    }
    for prefix in
        ["", "/", "oauth2", "/oauth2/", "//evil.example", "/a//b", "/a?b", "/a#b", "/../a", "/a%20b"]
    {
        mistake("proxy_prefix", json!({"proxy_prefix": prefix}));
    }
}

#[test]
fn ping_and_ready_are_paths_or_off() {
    for option in ["ping_path", "ready_path"] {
        config(json!({option: ""}));
        config(json!({option: "/healthz/x"}));
        for path in ["ping", "/ping?x", "/ping#x"] {
            mistake(option, json!({option: path}));
        }
    }
}

#[test]
fn unknown_access_log_field_is_refused() {
    let fields = config(json!({"access_log_fields": ["user", "reason"]})).access_log;
    assert!(fields.user && fields.reason && !fields.state);
    let line = mistake("access_log_fields", json!({"access_log_fields": "user,cookie"}));
    assert!(line.contains("user, state, reason"), "{line}");
}

#[test]
fn groups_separator_is_one_punctuation_character() {
    assert_eq!(config(json!({})).headers.groups_header_separator, b',');
    for separator in ["|", ";", ",", "/"] {
        let config = config(json!({ "groups_header_separator": separator }));
        assert_eq!([config.headers.groups_header_separator], separator.as_bytes());
    }
    // A reader does not see a blank at an end; with two characters, "a|" and "b" would become "a" and "|b".
    for separator in ["", " ", "\t", "\n", "||", ", ", "a", "1", "·", "\u{7f}"] {
        assert!(
            mistake("groups_header_separator", json!({ "groups_header_separator": separator }))
                .contains("must be"),
            "{separator:?}"
        );
    }
}

#[test]
fn guard_header_with_blank_comma_or_control_is_mistake() {
    assert_eq!(config(json!({})).headers.guard, None);
    assert_eq!(config(json!({ "pass_guard_header": "" })).headers.guard, None);
    let guard = config(json!({ "pass_guard_header": "3f9a~/+=" })).headers.guard;
    assert_eq!(guard.as_deref(), Some(b"3f9a~/+=".as_slice()));
    for value in ["two words", " x", "x ", "a,b", "x\n", "x\u{7f}", "gr\u{fc}n"] {
        mistake("pass_guard_header", json!({ "pass_guard_header": value }));
    }
}

#[test]
fn provider_sign_out_is_off_by_default() {
    assert!(config(json!({})).login.provider_sign_out.is_none());
    let on = config(json!({"provider_sign_out": true})).login.provider_sign_out.unwrap();
    assert_eq!(on.post_logout_redirect_url, None);
    let url = "https://app.example.com/bye?x=1";
    let on = config(json!({"provider_sign_out": true, "post_logout_redirect_url": url}));
    assert_eq!(on.login.provider_sign_out.unwrap().post_logout_redirect_url.as_deref(), Some(url));
}

#[test]
fn wrong_combination_with_provider_sign_out_is_refused() {
    let url = "https://app.example.com/bye";
    assert!(
        mistake("post_logout_redirect_url", json!({"post_logout_redirect_url": url}))
            .contains("only for provider_sign_out")
    );
    for (name, value) in [
        ("post_logout_redirect_url", "https://app.example.com/oauth2/sign_out?x"),
        ("post_logout_redirect_url", "https://app.example.com/?t={id_token}"),
        ("post_logout_redirect_url", "/bye"),
        ("oidc_end_session_url", "https://login.example.com/end?id_token_hint={id_token}"),
    ] {
        mistake(name, json!({"provider_sign_out": true, name: value}));
    }
    mistake(
        "post_logout_redirect_url",
        json!({"provider_sign_out": true, "proxy_prefix": "/login",
        "post_logout_redirect_url": "https://app.example.com/login/sign_out"}),
    );
    config(
        json!({"provider_sign_out": true, "proxy_prefix": "/login", "post_logout_redirect_url": "https://app.example.com/oauth2/sign_out"}),
    );
    let endpoints = json!({
        "skip_oidc_discovery": true,
        "login_url": "https://login.example.com/authorize",
        "redeem_url": "https://login.example.com/token",
        "oidc_jwks_url": "https://login.example.com/jwks",
        "provider_sign_out": true,
    });
    assert!(mistake("provider_sign_out", endpoints.clone()).contains("needs oidc_end_session_url"));
    let mut known = endpoints;
    known["oidc_end_session_url"] = json!("https://login.example.com/end");
    config(known);
}

#[test]
fn provider_sign_out_is_for_mode_login() {
    for (mode, reason) in [("beside", "oauth2-proxy has the path"), ("app", "the sign-in app is the client")]
    {
        let mut options = json!({"mode": mode, "provider_sign_out": true, "cookie_refresh": "1h"});
        if mode == "app" {
            options["login_app_path"] = json!("/login");
            options["login_app_clusters"] = json!(["app"]);
        }
        assert!(mistake("provider_sign_out", options).contains(reason), "{mode}");
    }
}
