//! Refresh: one grant over all proxies, and no new session is lost.

use std::time::Duration;

use serde_json::json;

use super::{COOKIE, access_token, only_key, proxy, site};
use crate::flow::io::Count;
use crate::flow::tests::MINUTE;
use crate::flow::tests::browser::Browser;
use crate::flow::{Io, Ready};

#[test]
fn over_two_proxies_one_expiry_is_one_grant_and_all_have_the_new_session() {
    let site = site(json!({ "cookie_refresh": "1h", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let key = only_key(&site);
    site.world.pass(61 * MINUTE);
    site.provider.set_delay(Duration::from_millis(700));
    let proxies = [proxy(&site), proxy(&site), proxy(&site), proxy(&site)];
    let requests = (0..200).map(|request| match proxies[request % 4].handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("nobody asked Redis"),
    });
    let decisions = site.world.run(requests.collect());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
    for decision in &decisions {
        assert_eq!(access_token(&decision.action), "access-token-2");
        browser.keep_cookies(&decision.action);
    }
    assert_eq!(only_key(&site), key, "the ticket stays, and the lock is given back");
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    assert_eq!(site.world.counted(Count::Refresh), 1);
}

#[test]
fn a_refresh_signs_the_cookie_anew_and_whoever_has_an_old_one_gets_it_too() {
    let site = site(json!({ "cookie_refresh": "1h", "cookie_expire": "2h" }));
    let mut browser = site.signed_in();
    let mut late = browser.clone();
    let old = browser.cookies[COOKIE].clone();
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_some());
    assert_ne!(browser.cookies[COOKIE], old);
    assert!(late.who().is_some());
    assert_eq!(late.cookies, browser.cookies);
    // The old one would be too old by now, and so would be what Redis had.
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_some());
}

#[test]
fn while_another_proxy_holds_the_lock_its_session_is_waited_for() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let lock = format!("{}.lock", only_key(&site));
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().put(lock.as_bytes(), b"somebody else's");
    // Nobody answers for the lock: the old session is still valid, so it goes on, a little later.
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert!(site.world.now().since(began) >= Duration::from_secs(2));
    assert_eq!(site.provider.grants("refresh_token").len(), 0);
    assert!(site.world.counted(Count::LockWait) >= 1);
}

#[test]
fn a_holder_that_dies_delays_others_by_its_lease_alone() {
    let site = site(json!({ "cookie_refresh": "50m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let lock = format!("{}.lock", only_key(&site));
    site.world.pass(61 * MINUTE);
    let command = crate::redis::Command::lock(lock.as_bytes(), b"dead", Duration::from_secs(6));
    site.world.run(vec![Box::pin(site.world.clone().redis(command))]);
    // Past its expiry, so there is nothing to go on with.
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    let waited = site.world.now().since(began);
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(7), "{waited:?}");
}

#[test]
fn a_lock_is_renewed_while_the_provider_takes_its_time() {
    let site = site(json!({ "cookie_refresh": "30m", "provider_request_timeout": "20s" }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_secs(13));
    assert!(browser.who().is_some());
    assert!(other.who().is_some());
    site.world.drain();
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn a_refusal_deletes_the_session() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.world.pass(31 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert!(!browser.has_session());
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    assert_eq!(site.world.counted(Count::RefreshRefused), 1);
}

#[test]
fn a_refusal_of_a_token_that_another_proxy_used_ends_nothing() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let before = site.world.fake_redis().snapshot();
    site.world.pass(31 * MINUTE);
    // Another proxy refreshes, and this one sees the old session first.
    let mut other = browser.clone();
    other.app = proxy(&site);
    assert!(other.who().is_some());
    let after = site.world.fake_redis().snapshot();
    site.world.fake_redis().restore(before);
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.provider.set_delay(Duration::from_millis(50));
    let Ready::Later(request) = site.app.handle(browser.head("/", &[])) else { panic!("nobody asked Redis") };
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_millis(300)).await;
        world.fake_redis().restore(after);
    });
    let decision = site.world.run(vec![request]).remove(0);
    assert_eq!(access_token(&decision.action), "access-token-2");
    browser.keep_cookies(&decision.action);
    assert!(browser.who().is_some());
}

#[test]
fn a_new_session_that_cannot_be_saved_at_once_is_saved_when_redis_is_back() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().lose("setex", false);
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_secs(40)).await;
        world.fake_redis().lose_nothing();
    });
    // The old session is valid still, and nobody has to wait for more than two seconds.
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2", "this worker knows better");
    site.world.drain();
    assert_eq!(access_token(&other.ask("/", &[])), "access-token-2");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn just_after_an_outage_a_refresh_waits_for_those_that_were_in_the_middle_of_one() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    site.world.fake_redis().set_down(false);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    site.world.pass(Duration::from_secs(4));
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    // A worker that asked for nothing meanwhile knows by its connection.
    site.world.pass(31 * MINUTE);
    site.world.reconnected();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.pass(Duration::from_secs(4));
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-3");
    // Past its expiry there is nothing to go on with, so that one waits.
    site.world.pass(61 * MINUTE);
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    site.world.fake_redis().set_down(false);
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-4");
    assert!(site.world.now().since(began) >= Duration::from_secs(2));
}

#[test]
fn a_save_that_a_failover_lost_is_saved_again() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    let before = site.world.fake_redis().snapshot();
    site.world.pass(31 * MINUTE);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.fake_redis().restore(before);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.drain();
    assert_eq!(access_token(&other.ask("/", &[])), "access-token-2");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn a_session_that_was_deleted_elsewhere_does_not_come_back() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(31 * MINUTE);
    assert!(browser.who().is_some());
    other.reply("/oauth2/sign_out", &[]);
    assert_eq!(browser.who(), None);
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
}

#[test]
fn a_provider_that_is_down_ends_no_session_and_is_not_hammered() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let mut browser: Browser = site.signed_in();
    site.provider.set_down(true);
    site.world.pass(31 * MINUTE);
    for _ in 0..20 {
        assert!(browser.who().is_some());
    }
    assert_eq!(site.world.counted(Count::RefreshFailed), 1);
    site.provider.set_down(false);
    site.world.pass(Duration::from_secs(6));
    assert!(browser.who().is_some());
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn past_its_expiry_an_outage_of_the_provider_is_503() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.provider.set_down(true);
    site.world.pass(61 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    assert!(browser.has_session());
    site.provider.set_down(false);
    site.world.pass(MINUTE);
    assert!(browser.who().is_some());
}
