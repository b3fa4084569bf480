//! The endpoints under `/oauth2`, and `/ping` and `/ready`.

use std::rc::Rc;

use serde_json::{Value, json};

use super::browser::sent;
use super::{MINUTE, Site};
use crate::flow::Action;
use crate::flow::principal::WholeSession;
use crate::oidc::tests::vectors::ISSUED;
use crate::session::{Session, SessionInfo};
use crate::time::Timestamp;

#[test]
fn userinfo_has_keys_of_oauth2_proxy() {
    let site = Site::new(json!({}));
    let answer = site.browser().reply("/oauth2/userinfo", &[]);
    assert_eq!(answer.status(), 401);
    let answer = site.signed_in().reply("/oauth2/userinfo", &[]);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let info: Value = serde_json::from_slice(answer.body()).unwrap();
    let sub = crate::oidc::tests::vectors::claims()["sub"].clone();
    assert_eq!(info, json!({ "user": sub, "email": "alice@example.com", "groups": ["staff"] }));
}

#[test]
fn userinfo_has_exact_names_or_none() {
    // Bytes of another writer of the same store; JSON is text, and a replacement character makes all of them one.
    let session = Session {
        info: SessionInfo {
            user: b"a\xff".to_vec(),
            email: b"\x80@example.com".to_vec(),
            groups: vec![b"CN=a,DC=b".to_vec(), b" c ".to_vec(), b"d\xff".to_vec()],
            preferred_username: "zoë".as_bytes().to_vec(),
            created_at: Some(Timestamp::from_secs(ISSUED)),
            ..Default::default()
        },
        ..Session::default()
    };
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let (app, head) = (Rc::clone(&site.app), browser.head("/", &[]));
    let person = WholeSession::new(&site.config, session);
    let cookie = async move { app.store.create(&person, &head).await.unwrap() };
    let cookie = site.world.run(vec![Box::pin(cookie)]).remove(0);
    browser.cookies.insert("_oauth2_proxy".to_owned(), String::from_utf8(cookie).unwrap());
    let info: Value = serde_json::from_slice(browser.reply("/oauth2/userinfo", &[]).body()).unwrap();
    assert_eq!(
        info,
        json!({ "user": "", "email": "", "groups": ["CN=a,DC=b", " c "], "preferredUsername": "zoë" })
    );
}

#[test]
fn auth_endpoint_answers_202_401_or_403() {
    let site = Site::new(json!({ "set_xauthrequest": true }));
    assert_eq!(site.browser().reply("/oauth2/auth", &[]).status(), 401);
    let mut browser = site.signed_in();
    let answer = browser.reply("/oauth2/auth?allowed_groups=staff", &[]);
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["x-auth-request-email"], "alice@example.com");
    assert_eq!(browser.reply("/oauth2/auth?allowed_groups=admins", &[]).status(), 403);
    assert!(browser.has_session());
}

#[test]
fn repeated_constraint_of_auth_is_one_list() {
    let site = Site::new(json!({}));
    let mut browser = site.signed_in();
    for (query, status) in [
        ("allowed_groups=&allowed_groups=admins", 403),
        ("allowed_emails=&allowed_emails=bob@example.com", 403),
        ("allowed_groups=admins&allowed_groups=staff", 202),
        ("allowed_groups=admins&allowed_groups=", 403),
        ("allowed_groups=", 202),
    ] {
        assert_eq!(browser.reply(&format!("/oauth2/auth?{query}"), &[]).status(), status, "{query}");
    }
}

#[test]
fn sign_out_ends_session_and_calls_backend_logout() {
    let site = Site::new(json!({
        "backend_logout_url": "https://login.example.com/logout?id_token_hint={id_token}",
    }));
    let mut browser = site.signed_in();
    let answer = browser.reply("/oauth2/sign_out", &[]);
    assert_eq!(answer.status(), 200);
    assert!(!browser.has_session());
    site.world.drain();
    assert_eq!(site.provider.calls("/logout"), 1);
}

/// The target of a sign-out with this `rd`.
fn sign_out_to(site: &Site, target: &str) -> String {
    let mut browser = site.signed_in();
    let encoded: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
    let answer = browser.reply(&format!("/oauth2/sign_out?rd={encoded}"), &[]);
    assert!(!browser.has_session());
    answer.headers()["location"].to_str().unwrap().to_owned()
}

#[test]
fn sign_out_gives_id_token_only_to_end_session_endpoint() {
    let at_the_provider = "https://login.example.com/end?id_token_hint=ey";
    let elsewhere =
        json!({ "whitelist_domains": ["login.example.com", "login.example.com:8443", ".example.org"] });
    let with = |name: &str, value: &str| {
        let mut options = elsewhere.clone();
        options[name] = json!(value);
        Site::new(options)
    };
    let by_discovery = || {
        let site = Site::new(elsewhere.clone());
        site.provider.set_metadata("end_session_endpoint", json!("https://LOGIN.example.com:443/logout"));
        site
    };
    let by_option = with("oidc_end_session_url", "https://login.example.com/logout");
    // It wins over discovery.
    by_option.provider.set_metadata("end_session_endpoint", json!("https://a.example.org/logout"));
    let end = "https://login.example.com/end?id_token_hint={id_token}";
    for site in [&by_discovery(), &by_option] {
        assert!(sign_out_to(site, end).starts_with(at_the_provider));
    }
    for target in [
        "https://a.example.org/?t={id_token}",
        "http://login.example.com/end?id_token_hint={id_token}",
        "https://login.example.com:8443/end?id_token_hint={id_token}",
        "/local?t={id_token}",
    ] {
        for site in [&by_discovery(), &by_option] {
            assert_eq!(sign_out_to(site, target), target.replace("{id_token}", ""));
        }
    }
    // The end-session endpoint is unknown.
    let unknown = "https://login.example.com/end?id_token_hint=";
    assert_eq!(sign_out_to(&Site::new(elsewhere.clone()), end), unknown);
    let unencrypted = Site::new(elsewhere.clone());
    unencrypted.provider.set_metadata("end_session_endpoint", json!("http://login.example.com/end"));
    assert_eq!(
        sign_out_to(&unencrypted, "http://login.example.com/end?t={id_token}"),
        "http://login.example.com/end?t="
    );
}

#[test]
fn sign_out_without_discovery_omits_id_token() {
    let site = Site::new(json!({ "whitelist_domains": ["login.example.com"] }));
    site.provider.set_metadata("end_session_endpoint", json!("https://login.example.com/end"));
    let mut browser = site.signed_in();
    // Another worker of the same Envoy has not asked for the metadata yet.
    browser.app = site.worker();
    site.provider.set_down(true);
    let answer =
        browser.reply("/oauth2/sign_out?rd=https%3A%2F%2Flogin.example.com%2Fend%3Ft%3D%7Bid_token%7D", &[]);
    assert_eq!(answer.headers()["location"], "https://login.example.com/end?t=");
    assert!(!browser.has_session());
}

#[test]
fn end_session_url_option_replaces_discovery() {
    let options = |more: serde_json::Value| {
        let mut all = json!({
            "skip_oidc_discovery": true,
            "login_url": "https://login.example.com/authorize",
            "redeem_url": "https://login.example.com/token",
            "oidc_jwks_url": "https://login.example.com/jwks",
            "whitelist_domains": ["login.example.com"],
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Site::new(all)
    };
    let end = "https://login.example.com/end?id_token_hint={id_token}";
    let known = options(json!({ "oidc_end_session_url": "https://login.example.com/logout" }));
    assert!(sign_out_to(&known, end).starts_with("https://login.example.com/end?id_token_hint=ey"));
    let unknown = options(json!({}));
    assert_eq!(sign_out_to(&unknown, end), "https://login.example.com/end?id_token_hint=");
}

#[test]
fn sign_out_redirects_only_to_allowed_targets() {
    let site = Site::new(json!({}));
    // Without the ID token's place, the last three are `//evil.com`.
    for target in
        ["https://evil.com", "/{id_token}/evil.com", "/{id_token}\\evil.com", "{id_token}//evil.com"]
    {
        let encoded: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        for mut browser in [site.signed_in(), site.browser()] {
            let answer = browser.reply(&format!("/oauth2/sign_out?rd={encoded}"), &[]);
            assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (200, None), "{target}");
        }
    }
}

#[test]
fn sign_in_page_clears_session_and_links_to_start() {
    let site = Site::new(json!({ "skip_provider_button": false, "provider_display_name": "Example & Co" }));
    let mut browser = site.signed_in();
    let answer = browser.reply("/oauth2/sign_in?rd=%2Fpage", &[]);
    assert_eq!(answer.status(), 200);
    assert!(!browser.has_session());
    let page = String::from_utf8(answer.body().clone()).unwrap();
    assert!(page.contains("Example &#38; Co") && page.contains("/oauth2/start?rd=%2Fpage"), "{page}");
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
}

#[test]
fn prefetch_and_cross_site_load_do_not_sign_out() {
    let image =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let ahead = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-purpose", "prefetch;prerender"),
    ];
    for store in [json!({}), super::in_redis()] {
        let mut options = json!({ "skip_provider_button": false });
        options.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
        let site = Site::new(options);
        let mut browser = site.signed_in();
        let before = browser.cookies.clone();
        for headers in [image.as_slice(), &ahead, &[("purpose", "prefetch")]] {
            for target in ["/oauth2/sign_out", "/oauth2/sign_in", "/oauth2/start"] {
                let answer = browser.reply(target, headers);
                assert_eq!(answer.status(), 403, "{target} {headers:?}");
                assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"));
                assert!(!answer.headers().contains_key("set-cookie"));
            }
        }
        assert_eq!(browser.cookies, before);
        assert!(browser.who().is_some());
    }
}

#[test]
fn navigation_to_sign_out_ends_session() {
    let navigation = ("sec-fetch-mode", "navigate");
    for headers in [
        // A form or a link of another site; the way back from the provider is one too.
        [("sec-fetch-site", "cross-site"), navigation, ("sec-fetch-dest", "document")],
        // Front-channel logout.
        [("sec-fetch-site", "cross-site"), navigation, ("sec-fetch-dest", "iframe")],
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
        [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
        [("sec-fetch-site", "none"), navigation, ("sec-fetch-dest", "document")],
    ] {
        let site = Site::new(json!({}));
        let mut browser = site.signed_in();
        assert_eq!(browser.reply("/oauth2/sign_out", &headers).status(), 200, "{headers:?}");
        assert!(!browser.has_session());
    }
}

#[test]
fn unsupported_method_of_endpoint_is_405() {
    let site = Site::new(json!({}));
    for (method, target) in
        [("POST", "/oauth2/start"), ("HEAD", "/oauth2/callback"), ("DELETE", "/oauth2/sign_out")]
    {
        let answer = site.browser().reply(target, &[(":method", method)]);
        assert_eq!(answer.status(), 405, "{method} {target}");
        assert!(answer.headers().contains_key("allow"));
    }
}

#[test]
fn every_reply_of_the_filter_is_uncacheable() {
    let site = Site::new(json!({}));
    for target in [
        "/",
        "/ping",
        "/ready",
        "/oauth2/start",
        "/oauth2/callback",
        "/oauth2/userinfo",
        "/oauth2/auth",
        "/oauth2/sign_out",
    ] {
        let answer = site.browser().reply(target, &[]);
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"), "{target}");
    }
}

#[test]
fn ping_and_ready_need_no_session() {
    let site = Site::new(json!({}));
    site.provider.set_down(true);
    for target in ["/ping", "/ready"] {
        assert_eq!(site.browser().reply(target, &[]).status(), 200);
    }
}

#[test]
fn request_without_path_is_no_endpoint_and_skips_nothing() {
    let site = Site::new(json!({
        "ping_path": "", "ready_path": "", "skip_auth_preflight": true,
        "skip_auth_routes": ["", "^", ".*", "CONNECT=^", "GET!=^/private"],
    }));
    let connect = [(":method", "CONNECT"), (":path", "")];
    for headers in [connect.as_slice(), &[(":path", "")], &[(":method", "OPTIONS"), (":path", "*")]] {
        let target = headers.last().unwrap().1;
        assert!(matches!(site.browser().ask(target, headers), Action::Reply(_)), "{headers:?}");
    }
    // It cannot be led to a sign-in.
    assert_eq!(site.browser().reply("", &connect).status(), 401);
    let mut browser = site.signed_in();
    assert_eq!(sent(&browser.forward("", &connect), "x-forwarded-email"), "alice@example.com");
}

#[test]
fn connect_tunnel_is_no_endpoint_whatever_its_path() {
    let site = Site::new(json!({ "skip_auth_routes": ["^/public"] }));
    for path in ["/ping", "/ready", "/public", "/oauth2/sign_in", "/oauth2/start"] {
        assert_eq!(site.browser().reply(path, &[(":method", "CONNECT")]).status(), 401, "{path}");
    }
}

#[test]
fn any_endpoint_that_loads_a_session_refreshes_it() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    for target in ["/oauth2/auth", "/oauth2/userinfo"] {
        let mut browser = site.signed_in();
        let old = browser.cookies.clone();
        site.world.pass(31 * MINUTE);
        assert!(browser.reply(target, &[]).status().is_success());
        assert_ne!(browser.cookies, old, "{target}");
    }
}
