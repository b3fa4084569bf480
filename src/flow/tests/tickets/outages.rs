//! Redis is away: 503, and the cookie stays.

use http::StatusCode;
use serde_json::json;

use super::{access_token, only_key, site};
use crate::flow::tests::MINUTE;

#[test]
fn while_redis_is_down_everything_is_503_and_the_cookie_stays() {
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
fn a_browser_without_a_session_can_go_to_the_provider_while_redis_is_down() {
    let site = site(json!({}));
    site.world.fake_redis().set_down(true);
    let mut browser = site.browser();
    assert_eq!(browser.reply("/", &[]).status(), 302);
    browser.start("/");
}

#[test]
fn a_callback_while_redis_is_down_can_be_repeated() {
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
fn a_session_that_cannot_be_saved_is_tried_again_and_then_the_sign_in_begins_anew() {
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
fn a_write_whose_reply_was_lost_is_no_loss() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().lose("lock", true);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.drain();
    assert_eq!(only_key(&site).matches(".lock").count(), 0, "the lock is given back");
}
