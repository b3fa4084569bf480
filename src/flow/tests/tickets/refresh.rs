//! Refresh: one grant for all proxies, and no refreshed session is lost.

use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};

use super::{COOKIE, access_token, only_key, proxy, replicated, site};
use crate::flow::io::Count;
use crate::flow::tests::MINUTE;
use crate::flow::tests::Site;
use crate::flow::tests::browser::Browser;
use crate::flow::tests::fake_redis::Values;
use crate::flow::tests::world::World;
use crate::flow::{Action, Io, Ready};

#[test]
fn two_proxies_refresh_once_and_share_session() {
    let site = site(json!({ "cookie_refresh": "1h", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let key = only_key(&site);
    site.world.pass(61 * MINUTE);
    site.provider.set_delay(Duration::from_millis(700));
    let proxies = [proxy(&site), proxy(&site), proxy(&site), proxy(&site)];
    let requests = (0..200).map(|request| match proxies[request % 4].handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("Redis was not asked"),
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
fn refresh_renews_cookie_of_every_browser_with_ticket() {
    let site = site(json!({ "cookie_refresh": "1h", "cookie_expire": "2h" }));
    let mut browser = site.signed_in();
    let mut late = browser.clone();
    let old = browser.cookies[COOKIE].clone();
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_some());
    assert_ne!(browser.cookies[COOKIE], old);
    assert!(late.who().is_some());
    assert_eq!(late.cookies, browser.cookies);
    // By now the old cookie and the old session would have expired.
    site.world.pass(61 * MINUTE);
    assert!(browser.who().is_some());
}

#[test]
fn held_lock_delays_request_until_other_proxy_saves() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let lock = format!("{}.lock", only_key(&site));
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().put(lock.as_bytes(), b"somebody else's");
    // The lock is never released. The old session is still valid, so the request goes on a little later.
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert!(site.world.now().since(began) >= Duration::from_secs(2));
    assert_eq!(site.provider.grants("refresh_token").len(), 0);
    assert!(site.world.counted(Count::LockWait) >= 1);
}

#[test]
fn lock_of_crashed_holder_ends_with_its_lease() {
    let site = site(json!({ "cookie_refresh": "50m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let lock = format!("{}.lock", only_key(&site));
    site.world.pass(61 * MINUTE);
    let command = crate::redis::Command::lock(lock.as_bytes(), b"dead", Duration::from_secs(6));
    site.world.run(vec![Box::pin(site.world.clone().redis(command))]);
    // The session has expired, so the request has to wait.
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    let waited = site.world.now().since(began);
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(7), "{waited:?}");
}

#[test]
fn lock_is_renewed_while_provider_is_slow() {
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
fn refused_refresh_deletes_session_from_redis() {
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
fn refused_token_that_another_proxy_used_keeps_session() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let before = site.world.fake_redis().snapshot();
    site.world.pass(31 * MINUTE);
    // Another proxy refreshes the session, and this one reads the old session first.
    let mut other = browser.clone();
    other.app = proxy(&site);
    assert!(other.who().is_some());
    let after = site.world.fake_redis().snapshot();
    site.world.fake_redis().restore(before);
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.provider.set_delay(Duration::from_millis(50));
    let Ready::Later(request) = site.app.handle(browser.head("/", &[])) else {
        panic!("Redis was not asked")
    };
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
fn refreshed_session_is_saved_when_redis_returns() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().lose("replace", false);
    let world = site.world.clone();
    site.world.spawn(async move {
        world.sleep(Duration::from_secs(40)).await;
        world.fake_redis().lose_nothing();
    });
    // The old session is still valid, so no request waits for more than two seconds.
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2", "this worker knows better");
    site.world.drain();
    assert_eq!(access_token(&other.ask("/", &[])), "access-token-2");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn session_that_cannot_be_saved_is_not_in_memory_for_longer() {
    let site = site(json!({ "cookie_refresh": "30m", "redis_session_cache": "10s" }));
    let browser = site.signed_in();
    let key = only_key(&site);
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().lose("replace", false);
    let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else { panic!() };
    let (world, app) = (site.world.clone(), site.app.clone());
    let later = Box::pin(async move {
        world.sleep(Duration::from_secs(10)).await;
        world.clone().redis(crate::redis::Command::del(key.as_bytes())).await.unwrap();
        world.sleep(Duration::from_secs(20)).await;
        match app.handle(browser.head("/", &[])) {
            Ready::Later(future) => future.await,
            Ready::Now(decision) => decision,
        }
    });
    let [during, after] = <[_; 2]>::try_from(site.world.run(vec![page, later])).unwrap();
    assert!(matches!(during.action, Action::Forward(_)));
    assert!(!matches!(after.action, Action::Forward(_)));
}

#[test]
fn refresh_waits_after_redis_outage_for_unfinished_ones() {
    let site = site(json!({ "cookie_refresh": "30m", "pass_access_token": true }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    site.world.fake_redis().set_down(false);
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-1");
    site.world.pass(Duration::from_secs(4));
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    // A worker without a request meanwhile knows of it by its connection.
    site.world.pass(31 * MINUTE);
    site.world.reconnected();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-2");
    site.world.pass(Duration::from_secs(4));
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-3");
    // An expired session cannot go on, so its request waits.
    site.world.pass(61 * MINUTE);
    site.world.fake_redis().set_down(true);
    assert_eq!(browser.reply("/", &[]).status(), 503);
    site.world.fake_redis().set_down(false);
    let began = site.world.now();
    assert_eq!(access_token(&browser.ask("/", &[])), "access-token-4");
    assert!(site.world.now().since(began) >= Duration::from_secs(2));
}

#[test]
fn newer_session_replaces_older_one_from_replica() {
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
fn session_deleted_elsewhere_during_refresh_is_gone() {
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

/// An operator, and the sign-out of oauth2-proxy, delete a session without its lock.
#[test]
fn session_deleted_without_the_lock_during_refresh_stays_deleted() {
    for options in
        [json!({}), json!({ "session_idle_timeout": "2h" }), json!({ "redis_session_cache": "1m" })]
    {
        let (site, mut browser) = refreshing(site, &options, |world, _| {
            world.fake_redis().restore(Values::default());
            Box::pin(async {})
        });
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
        assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new(), "{options}");
        assert_eq!(browser.who(), None, "{options}");
    }
}

/// The Sentinels may be about to name a replica that has the session.
#[test]
fn refresh_at_a_master_that_came_back_empty_is_saved() {
    for options in [json!({}), json!({ "session_idle_timeout": "2h" })] {
        let (site, mut browser) = refreshing(replicated, &options, |world, _| {
            world.fake_redis().restore(Values::default());
            world.fake_redis().doubt(world.now());
            Box::pin(async {})
        });
        only_key(&site);
        assert!(browser.who().is_some(), "{options}");
        assert_eq!(site.provider.grants("refresh_token").len(), 1, "{options}");
    }
}

/// The lock of the refresh is lost too, so the sign-out takes it without force.
#[test]
fn sign_out_at_another_master_during_refresh_wins() {
    for has_session in [false, true] {
        let (site, mut browser) = refreshing(replicated, &json!({}), move |world, mut other| {
            let mut values = world.fake_redis().snapshot();
            values.retain(|key, _| has_session && !key.ends_with(b".lock"));
            world.fail_over(values);
            let world = world.clone();
            Box::pin(async move {
                world.sleep(Duration::from_millis(50)).await;
                let Ready::Later(page) = other.app.handle(other.head("/oauth2/sign_out", &[])) else {
                    panic!()
                };
                other.keep_cookies(&page.await.action);
                assert!(!other.has_session());
            })
        });
        assert_eq!(browser.who(), None, "{has_session}");
        assert!(site.world.fake_redis().keys().iter().all(|key| key.ends_with(".lock")), "{has_session}");
    }
}

/// A browser whose session was refreshed. What happens while the provider is asked for that gets a copy of the browser at
/// another proxy.
fn refreshing(
    site: fn(Value) -> Site,
    options: &Value,
    meanwhile: impl FnOnce(&World, Browser) -> Pin<Box<dyn Future<Output = ()>>> + 'static,
) -> (Site, Browser) {
    let mut all = json!({ "cookie_refresh": "30m" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let site = site(all);
    let browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_secs(1));
    let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else { panic!() };
    let (world, mut other) = (site.world.clone(), browser.clone());
    other.app = proxy(&site);
    site.world.spawn(async move {
        world.sleep(Duration::from_millis(900)).await;
        assert!(!world.fake_redis().keys().is_empty());
        meanwhile(&world, other).await;
    });
    site.world.run(vec![page]);
    (site, browser)
}

#[test]
fn provider_outage_keeps_session_and_backs_off() {
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
fn expired_ticket_session_during_provider_outage_is_503() {
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
