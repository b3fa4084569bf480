//! Refresh: one grant for any number of requests, and no outage that signs a user out.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::{MINUTE, Site};
use crate::flow::{Action, App, Decision, Ready};

const HOURLY: &str = "1h";

/// A page sends `number` requests at once to two workers; how each one ended.
fn burst(site: &Site, browser: &mut Browser, number: usize) -> Vec<Action> {
    let workers = [site.worker(), site.worker()];
    let requests = (0..number).map(|request| {
        let head = browser.head("/", &[]);
        match workers[request % 2].handle(head) {
            Ready::Later(future) => future,
            Ready::Now(_) => panic!("no refresh was due"),
        }
    });
    let actions: Vec<_> =
        site.world.run(requests.collect()).into_iter().map(|decision| decision.action).collect();
    actions.iter().for_each(|action| browser.keep_cookies(action));
    actions
}

fn access_token(action: &Action) -> String {
    match action {
        Action::Forward(forward) => sent(forward, "x-forwarded-access-token"),
        action => panic!("did not go to the upstream: {action:?}"),
    }
}

#[test]
fn simultaneous_requests_make_one_grant_and_share_session() {
    let site = Site::new(json!({ "cookie_refresh": HOURLY, "pass_access_token": true }));
    let mut browser = site.signed_in();
    site.world.pass(61 * MINUTE);
    site.provider.set_delay(Duration::from_millis(700));
    let decisions = burst(&site, &mut browser, 20);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    for decision in &decisions {
        assert_eq!(access_token(decision), "access-token-2");
    }
    // The browser has the new cookie now, so this request does not wait.
    assert!(matches!(
        site.app.handle(browser.head("/", &[])),
        Ready::Now(Decision { action: Action::Forward(_), .. })
    ));
}

#[test]
fn late_request_with_old_cookie_gets_new_one() {
    let site = Site::new(json!({ "cookie_refresh": HOURLY }));
    let mut browser = site.signed_in();
    let mut late = browser.clone();
    site.world.pass(61 * MINUTE);
    browser.forward("/", &[]);
    site.world.pass(5 * MINUTE);
    let old = late.cookies.clone();
    late.app = site.worker();
    assert!(late.who().is_some());
    assert_ne!(late.cookies, old);
    assert_eq!(late.cookies, browser.cookies);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn provider_outage_keeps_valid_session() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.provider.set_down(true);
    site.world.pass(31 * MINUTE);
    for _ in 0..3 {
        assert!(browser.who().is_some());
        site.world.pass(MINUTE);
    }
    site.provider.set_down(false);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn expired_session_during_provider_outage_is_503() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.provider.set_down(true);
    site.world.pass(61 * MINUTE);
    let answer = browser.reply("/", &[]);
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after") && browser.has_session());
    site.provider.set_down(false);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some(), "signed in again without signing in");
}

#[test]
fn refused_refresh_ends_cookie_session() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.world.pass(31 * MINUTE);
    let mut late = browser.clone();
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert!(!browser.has_session());
    // The other requests of the page do not ask the provider again.
    assert_eq!(late.reply("/", &[]).status(), 302);
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn other_token_endpoint_error_keeps_valid_session() {
    for (status, error) in [(401, "invalid_client"), (400, "invalid_request"), (500, ""), (429, "")] {
        let site = Site::new(json!({ "cookie_refresh": "30m" }));
        let mut browser = site.signed_in();
        site.provider.set_token_answer(Some((status, json!({ "error": error }))));
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some(), "{status} {error}");
        assert!(browser.has_session());
    }
}

#[test]
fn refused_session_ends_when_it_expires() {
    let site = Site::new(json!({}));
    site.provider.set_token_answer(None);
    let mut browser = site.signed_in();
    // Its refresh token works, so it outlives its expiry ...
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_some());
    // ... until the provider says otherwise.
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.world.pass(61 * MINUTE);
    assert_eq!(browser.who(), None);
}

#[test]
fn new_refresh_token_is_kept_if_userinfo_fails() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    site.provider.set_claim("email", json!(null));
    let sub = crate::oidc::tests::vectors::claims()["sub"].clone();
    site.provider.set_userinfo(json!({ "sub": sub, "email": "alice@example.com" }));
    let mut browser = site.signed_in();
    site.provider.set_failing(Some("/userinfo"));
    site.world.pass(31 * MINUTE);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    // An invalid answer does not lose it either.
    site.provider.set_userinfo(json!({ "email": "mallory@example.com" }));
    site.provider.set_failing(None);
    site.world.pass(31 * MINUTE);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    site.provider.set_userinfo(json!({ "sub": sub, "email": "alice@example.com" }));
    site.world.pass(31 * MINUTE);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    let grants = site.provider.grants("refresh_token");
    assert!(grants[1].contains("refresh_token=refresh-token-2"), "{grants:?}");
    assert!(grants[2].contains("refresh_token=refresh-token-3"), "{grants:?}");
}

#[test]
fn cancelled_request_does_not_cancel_refresh() {
    let site = Site::new(json!({ "cookie_refresh": HOURLY }));
    let mut browser = site.signed_in();
    site.world.pass(61 * MINUTE);
    site.provider.set_delay(Duration::from_millis(500));
    let Ready::Later(mut request) = site.app.handle(browser.head("/", &[])) else {
        panic!("nothing to wait for")
    };
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(request.as_mut().poll(&mut context).is_pending());
    drop(request);
    site.world.drain();
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn slow_provider_delays_valid_session_only_briefly() {
    let site = Site::new(json!({ "cookie_refresh": "30m", "provider_request_timeout": "10s" }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_secs(9));
    assert!(browser.who().is_some(), "goes on with the old session");
    site.world.drain();
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn session_without_refresh_token_is_not_refreshed() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    site.provider.set_token_answer(Some((200, json!({}))));
    let mut browser = site.browser();
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 502, "no tokens, no session");
    assert!(!browser.has_session());
}

/// The spellings of a cookie's signature: two bits of its base64url have no meaning.
pub(super) fn spellings(cookie: &str) -> Vec<String> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let signature = cookie.strip_suffix('=').unwrap();
    let (start, last) = signature.split_at(signature.len() - 1);
    let value = LETTERS.find(last).unwrap() & !3;
    LETTERS.chars().skip(value).take(4).map(|letter| format!("{start}{letter}=")).collect()
}

#[test]
fn cookie_with_respelled_signature_is_refreshed_once() {
    let site = Site::new(json!({ "cookie_refresh": HOURLY, "pass_access_token": true }));
    let browser = site.signed_in();
    site.world.pass(61 * MINUTE);
    site.provider.set_delay(Duration::from_millis(300));
    let cookie = &browser.cookies["_oauth2_proxy"];
    let spellings = spellings(cookie);
    assert!(spellings.contains(cookie));
    let workers = [site.worker(), site.worker()];
    let requests = spellings.iter().enumerate().map(|(number, cookie)| {
        let mut browser = browser.clone();
        browser.cookies.insert("_oauth2_proxy".to_owned(), cookie.clone());
        match workers[number % 2].handle(browser.head("/", &[])) {
            Ready::Later(future) => future,
            Ready::Now(_) => panic!("no refresh was due"),
        }
    });
    let decisions = site.world.run(requests.collect());
    assert!(decisions.iter().all(|decision| access_token(&decision.action) == "access-token-2"));
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn clients_in_one_envoy_refresh_separately() {
    let grants = |other: Value| {
        let site = Site::new(json!({ "cookie_refresh": HOURLY }));
        let mut browser = site.signed_in();
        let mut copy = browser.clone();
        site.world.pass(61 * MINUTE);
        assert!(browser.who().is_some());
        let mut options = json!({ "cookie_refresh": HOURLY });
        options.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        copy.app = App::new(Site::new(options).config, site.world.clone());
        assert!(copy.who().is_some(), "{other}");
        site.provider.grants("refresh_token").len()
    };
    let client = crate::oidc::tests::vectors::CLIENT;
    assert_eq!(grants(json!({ "client_id": "another", "oidc_extra_audiences": [client] })), 2);
    // With other rules it is still the same client, so its refreshes are shared.
    assert_eq!(grants(json!({ "allowed_groups": ["staff"], "skip_auth_routes": ["^/x"] })), 1);
}
