//! Sessions that are too large to be read back from Redis.

use serde_json::{Value, json};

use super::{access_token, only_key, site};
use crate::flow::tests::{MINUTE, Site};
use crate::oidc::tests::vectors::claims;
use crate::redis::MAX_BULK;

/// Sessions get about 1 MB of groups, as groups and as a claim, and an access token of this many bytes.
fn grow(site: &Site, access_token: usize) {
    let groups: Vec<_> = (0..510).map(|number| format!("{number:01000}")).collect();
    site.provider.set_claim("groups", Value::Null);
    site.provider.set_userinfo(json!({ "sub": claims()["sub"], "groups": groups }));
    site.provider.set_access_token("a".repeat(access_token));
}

fn size(site: &Site) -> usize {
    site.world.fake_redis().snapshot()[only_key(site).as_bytes()].0.len()
}

#[test]
fn largest_readable_session_is_saved() {
    let site = site(json!({ "additional_claims": ["groups"] }));
    grow(&site, 70_000);
    let mut browser = site.signed_in();
    assert!((1_080_000..=MAX_BULK).contains(&size(&site)));
    assert!(browser.who().is_some());
}

#[test]
fn too_large_session_is_refused_with_explanation() {
    let site = site(json!({ "additional_claims": ["groups"] }));
    grow(&site, 120_000);
    let mut browser = site.browser();
    let login = browser.start("/page");
    let answer = browser.come_back(&site.provider, &login);
    assert_eq!(answer.status(), 503);
    assert!(String::from_utf8_lossy(answer.body()).contains("too many groups"));
    assert!(!browser.has_session());
    assert!(site.world.fake_redis().keys().is_empty());
    assert!(!site.world.fake_redis().seen().contains(&"setex".to_owned()));
}

#[test]
fn too_large_refresh_keeps_old_session_and_new_refresh_token() {
    let site =
        site(json!({ "additional_claims": ["groups"], "cookie_refresh": "10m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    grow(&site, 120_000);
    site.world.pass(11 * MINUTE);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    site.world.drain();
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    assert!(size(&site) < 10_000);
    // It is not refreshed again for every request.
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    // The first refresh token is used up; that of the second grant was saved.
    site.provider.set_claim("groups", json!(["staff"]));
    site.world.pass(11 * MINUTE);
    assert_eq!(access_token(&browser.ask("/", &[])).len(), 120_000);
    assert!(site.provider.grants("refresh_token")[1].contains("refresh-token-2"));
}

#[test]
fn too_large_refresh_of_expired_session_ends_it() {
    let site = site(json!({ "additional_claims": ["groups"], "cookie_refresh": "10m" }));
    let mut browser = site.signed_in();
    grow(&site, 120_000);
    site.world.pass(11 * MINUTE);
    assert!(browser.who().is_some());
    site.world.pass(50 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert!(!browser.has_session());
    assert!(site.world.fake_redis().keys().is_empty());
    let answer = browser.sign_in(&site.provider, "/");
    assert_eq!(answer.status(), 503);
    assert!(String::from_utf8_lossy(answer.body()).contains("too many groups"));
    // The provider is not asked again and again.
    site.world.pass(MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert_eq!(site.provider.grants("refresh_token").len(), 2);
}

#[test]
fn too_large_refresh_ends_session_without_expiry() {
    for (enforced, expires_in) in [(true, Value::Null), (false, json!(3600))] {
        let site = site(json!({
            "additional_claims": ["groups"], "cookie_refresh": "10m", "enforce_expires_on": enforced,
        }));
        site.provider.set_expires_in(expires_in);
        let mut browser = site.signed_in();
        grow(&site, 120_000);
        site.world.pass(11 * MINUTE);
        assert_eq!(browser.reply("/", &[]).details(), "session_too_large");
        assert!(!browser.has_session());
        assert!(site.world.fake_redis().keys().is_empty());
    }
}
