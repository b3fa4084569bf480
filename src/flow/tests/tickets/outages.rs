//! Redis does not answer: 503, and the browser keeps its cookie.

use http::StatusCode;
use serde_json::json;

use super::{access_token, only_key, site};
use crate::flow::tests::MINUTE;

#[test]
fn redis_outage_answers_503_and_keeps_cookie() {
    let site = site(json!({ "skip_provider_button": false }));
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    for path in ["/", "/oauth2/auth", "/oauth2/userinfo", "/oauth2/sign_out", "/oauth2/sign_in", "/ready"] {
        let answer = browser.reply(path, &[]);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        assert!(browser.has_session(), "{path}");
    }
    let api = browser.reply("/", &[("accept", "application/json")]);
    assert_eq!(api.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(browser.reply("/ping", &[]).status(), 200);
    site.world.fake_redis().set_down(false);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    assert_eq!(browser.reply("/ready", &[]).status(), 200);
}

#[test]
fn sign_in_starts_while_redis_is_down() {
    let site = site(json!({}));
    site.world.fake_redis().set_down(true);
    let mut browser = site.browser();
    assert_eq!(browser.reply("/", &[]).status(), 302);
    browser.start("/");
}

#[test]
fn callback_during_redis_outage_can_be_repeated() {
    let site = site(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.come_back(&site.provider, &login).status(), 503);
    assert!(site.provider.grants("authorization_code").is_empty(), "the code is not used up");
    site.world.fake_redis().set_down(false);
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert!(browser.who().is_some());
}

#[test]
fn unsaved_sign_in_is_retried_then_starts_again() {
    let site = site(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    site.world.fake_redis().lose("setex", false);
    let answer = browser.come_back(&site.provider, &login);
    assert_eq!(answer.status(), 503);
    assert!(String::from_utf8_lossy(answer.body()).contains("/oauth2/start?rd="));
    assert!(!browser.has_session());
    assert!(site.world.fake_redis().seen().iter().filter(|name| *name == "setex").count() > 10);
    site.world.fake_redis().lose_nothing();
    browser.sign_in(&site.provider, "/page");
    assert!(browser.who().is_some());
}

#[test]
fn write_with_lost_reply_signs_user_in() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().lose("lock", true);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.drain();
    assert_eq!(only_key(&site).matches(".lock").count(), 0, "the lock is released");
}
