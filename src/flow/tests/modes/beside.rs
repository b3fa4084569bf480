//! Beside an oauth2-proxy: its sessions are read, its endpoints are its own, and its cookies stay.

use serde_json::{Value, json};

use super::super::browser::Browser;
use super::super::{MINUTE, Site};
use crate::flow::io::Count;

fn beside(options: Value) -> Site {
    super::site(json!({ "mode": "beside", "skip_provider_button": false }), options)
}

/// A browser that an oauth2-proxy with the same secret, and the same store, signed in.
fn signed_in(site: &Site, options: Value) -> Browser {
    let mut browser = site.browser();
    browser.cookies = Site::new(options).signed_in().cookies;
    browser
}

fn location(browser: &mut Browser, target: &str) -> String {
    browser.reply(target, &[]).headers()["location"].to_str().unwrap().to_owned()
}

#[test]
fn session_of_oauth2_proxy_is_enough() {
    let site = beside(json!({}));
    let mut browser = signed_in(&site, json!({}));
    assert_eq!(browser.who().unwrap(), "alice@example.com");
}

#[test]
fn browser_without_session_is_sent_to_oauth2_proxy() {
    let site = beside(json!({}));
    assert_eq!(location(&mut site.browser(), "/a?b=c"), "/oauth2/sign_in?rd=%2Fa%3Fb%3Dc");
    let site = beside(json!({ "skip_provider_button": true, "proxy_prefix": "/auth" }));
    assert_eq!(location(&mut site.browser(), "/"), "/auth/start?rd=%2F");
}

#[test]
fn endpoints_of_oauth2_proxy_go_to_it() {
    let site = beside(json!({ "strip_session_cookie": true, "pass_authorization_header": true }));
    let mut browser = signed_in(&site, json!({}));
    for endpoint in ["sign_in", "sign_out?rd=/", "start?rd=/", "callback?code=x", "auth", "userinfo"] {
        let target = format!("/oauth2/{endpoint}");
        let headers =
            [("authorization", "Bearer x"), ("x-forwarded-user", "root"), ("x_forwarded_email", "r")];
        let forward = browser.forward(&target, &headers);
        assert_eq!(forward.remove, [b"x-forwarded-user".to_vec(), b"x_forwarded_email".to_vec()], "{target}");
        assert!(
            forward.set.is_empty() && forward.response.is_empty() && forward.cookie.is_none(),
            "{target}"
        );
    }
    browser.forward("/oauth2/static/css/bulma.min.css", &[]);
}

#[test]
fn path_that_resembles_an_endpoint_needs_a_session() {
    let site = beside(json!({}));
    for target in [
        "/oauth2/",
        "/oauth2/admin",
        "/oauth2/sign_in/x",
        "/oauth2/static/../admin",
        "/oauth2/static/%2e%2e/admin",
        "/oauth2sign_in",
        "/OAUTH2/sign_in",
    ] {
        assert_eq!(site.browser().reply(target, &[]).status(), 302, "{target}");
    }
}

#[test]
fn unreadable_cookie_of_oauth2_proxy_stays() {
    // A filter with another secret, by mistake, must not sign users out of the oauth2-proxy.
    let site = beside(json!({ "cookie_secret": "another secret!!" }));
    let mut browser = signed_in(&site, json!({}));
    let before = browser.cookies.clone();
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert_eq!(browser.cookies, before);
}

#[test]
fn forbidden_user_stays_signed_in_at_oauth2_proxy() {
    let site = beside(json!({ "allowed_groups": ["nobody-is-in-it"] }));
    let mut browser = signed_in(&site, json!({}));
    let before = browser.cookies.clone();
    assert_eq!(browser.reply("/", &[]).status(), 403);
    assert_eq!(browser.cookies, before);
}

#[test]
fn expired_session_is_left_to_oauth2_proxy() {
    let site = beside(json!({}));
    let mut browser = signed_in(&site, json!({}));
    site.world.pass(61 * MINUTE);
    assert!(location(&mut browser, "/").starts_with("/oauth2/sign_in"));
    assert!(browser.has_session());
}

#[test]
fn mode_beside_with_client_credentials_refreshes() {
    let renewing = json!({ "cookie_refresh": "10m" });
    let mut options = renewing.clone();
    options["mode"] = json!("beside");
    let site = Site::new(options);
    let mut browser = signed_in(&site, renewing);
    let before = browser.cookies.clone();
    assert!(browser.who().is_some());
    assert_eq!((site.world.counted(Count::Refresh), &browser.cookies), (0, &before));
    site.world.pass(11 * MINUTE);
    assert!(browser.who().is_some());
    assert_eq!(site.world.counted(Count::Refresh), 1);
    assert_ne!(browser.cookies, before);
}

#[test]
fn rejected_client_leaves_session_of_oauth2_proxy() {
    let site = Site::new(json!({ "mode": "beside", "cookie_refresh": "10m" }));
    let mut browser = signed_in(&site, json!({ "cookie_refresh": "10m" }));
    let before = browser.cookies.clone();
    site.provider.set_token_answer(Some((401, json!({ "error": "invalid_client" }))));
    site.world.pass(61 * MINUTE);
    // Its page would end the session, as ours.
    assert_eq!(location(&mut browser, "/"), "/oauth2/start?rd=%2F");
    assert_eq!(browser.cookies, before);
    site.provider.set_token_answer(None);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some());
}

#[test]
fn provider_for_bearer_tokens_alone_refreshes_nothing() {
    let site = Site::new(json!({ "mode": "beside", "skip_jwt_bearer_tokens": true }));
    let mut browser = signed_in(&site, json!({}));
    assert!(browser.who().is_some());
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_none());
    assert_eq!((site.world.counted(Count::Refresh), site.world.counted(Count::RefreshFailed)), (0, 0));
}

/// It only reads them, and its user of Redis may not be allowed to do more.
#[test]
fn mode_beside_is_ready_if_it_can_read_sessions() {
    let options = json!({ "session_store_type": "redis", "redis_connection_url": "redis://127.0.0.1" });
    let site = beside(options);
    for verb in ["SETEX", "SET", "DEL", "EVAL"] {
        site.world.fake_redis().refuse(verb, "NOPERM this user has no permissions");
        assert_eq!(site.browser().reply("/ready", &[]).status(), 200, "{verb}");
    }
    site.world.fake_redis().set_down(true);
    assert_eq!(site.browser().reply("/ready", &[]).status(), 503);
}
