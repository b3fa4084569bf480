//! What the browser and Redis have, from the sign-in to the sign-out.

use std::time::Duration;

use serde_json::json;

use super::{COOKIE, only_key, proxy, site};
use crate::flow::tests::MINUTE;
use crate::flow::tests::browser::Browser;
use crate::flow::{Action, App, Io, Ready};

#[test]
fn sign_in_stores_ticket_in_cookie_and_session_in_redis() {
    let site = site(json!({ "cookie_expire": "24h" }));
    let mut browser = site.signed_in();
    let key = only_key(&site);
    assert!(key.starts_with("_oauth2_proxy-") && key.len() == "_oauth2_proxy-".len() + 32, "{key}");
    let ttl = site.world.fake_redis().ttl(&key, site.world.now());
    assert_eq!(ttl, Some(Duration::from_secs(24 * 3600)));
    assert!(browser.cookies[COOKIE].len() < 250);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
}

/// A longer value is not even verified.
#[test]
fn longest_ticket_is_accepted() {
    let name = "n".repeat(256);
    let site = site(json!({ "cookie_name": name, "redis_ticket_form": "v2" }));
    let mut browser = site.signed_in();
    assert!(browser.cookies[&name].len() > 500);
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
}

#[test]
fn session_without_cookie_expire_has_no_ttl() {
    let site = site(json!({ "cookie_expire": "0s" }));
    site.signed_in();
    assert_eq!(site.world.fake_redis().ttl(&only_key(&site), site.world.now()), None);
}

#[test]
fn session_deleted_in_redis_is_gone_at_once() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.fake_redis().seen();
    for _ in 0..3 {
        assert!(browser.who().is_some());
    }
    assert_eq!(site.world.fake_redis().seen(), ["get", "get", "get"]);
    site.world.fake_redis().restore(Default::default());
    assert_eq!(browser.who(), None);
    assert!(browser.has_session(), "its cookie stays, and opens nothing");
}

#[test]
fn session_cache_asks_redis_only_after_its_period() {
    let site = site(json!({ "redis_session_cache": "5s", "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    let mut other = browser.clone();
    other.app = proxy(&site);
    assert!(browser.who().is_some() && other.who().is_some());
    site.world.fake_redis().seen();
    for _ in 0..3 {
        assert!(browser.who().is_some());
    }
    assert!(site.world.fake_redis().seen().is_empty());
    site.world.pass(Duration::from_secs(5));
    assert!(browser.who().is_some() && other.who().is_some());
    assert_eq!(site.world.fake_redis().seen(), ["get", "get"]);
    // This worker notices it at once, another one after the period.
    let mut copy = browser.clone();
    browser.reply("/oauth2/sign_out", &[]);
    assert_eq!(copy.who(), None);
    assert!(other.who().is_some());
    site.world.pass(Duration::from_secs(5));
    assert_eq!(other.who(), None);
}

#[test]
fn due_session_is_loaded_despite_session_cache() {
    let site = site(json!({ "redis_session_cache": "1m", "cookie_refresh": "10s" }));
    let mut browser = site.signed_in();
    assert!(browser.who().is_some());
    site.world.pass(Duration::from_secs(11));
    site.world.fake_redis().seen();
    assert!(browser.who().is_some());
    assert!(site.world.fake_redis().seen().contains(&"replace".to_owned()));
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn simultaneous_requests_share_one_get() {
    let site = site(json!({}));
    let browser = site.signed_in();
    site.world.fake_redis().set_delay(Duration::from_millis(5));
    site.world.fake_redis().seen();
    let requests = (0..20).map(|_| match site.app.handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("Redis was not asked"),
    });
    let decisions = site.world.run(requests.collect());
    assert!(decisions.iter().all(|decision| matches!(decision.action, Action::Forward(_))));
    assert_eq!(site.world.fake_redis().seen(), ["get"]);
}

#[test]
fn cancelled_request_keeps_shared_get_alive() {
    let site = site(json!({}));
    let browser = site.signed_in();
    site.world.fake_redis().set_delay(Duration::from_millis(5));
    let ask = || match site.app.handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("Redis was not asked"),
    };
    let (mut first, second) = (ask(), ask());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending());
    drop(first);
    assert!(matches!(site.world.run(vec![second])[0].action, Action::Forward(_)));
    assert!(matches!(site.world.run(vec![ask()])[0].action, Action::Forward(_)));
}

#[test]
fn garbage_in_redis_is_no_session() {
    for garbage in [b"".as_slice(), b"x", &[0; 28], &[7; 5000]] {
        let site = site(json!({}));
        let mut browser = site.signed_in();
        site.world.fake_redis().put(only_key(&site).as_bytes(), garbage);
        assert_eq!(browser.who(), None);
    }
}

#[test]
fn session_of_another_ticket_is_no_session() {
    let site = site(json!({}));
    let mut first = site.signed_in();
    let first_key = only_key(&site);
    site.signed_in();
    let values = site.world.fake_redis().snapshot();
    let other = values.iter().find(|(key, _)| **key != first_key.as_bytes()).unwrap();
    site.world.fake_redis().put(first_key.as_bytes(), &other.1.0);
    assert_eq!(first.who(), None);
}

#[test]
fn both_ticket_forms_are_read_and_written() {
    for (written, read) in [("documented", "v2"), ("v2", "documented")] {
        let written = site(json!({ "redis_ticket_form": written }));
        let mut browser = written.signed_in();
        browser.app = App::new(site(json!({ "redis_ticket_form": read })).config, written.world.clone());
        assert!(browser.who().is_some());
    }
    let dotted = site(json!({ "cookie_name": "my.app" }));
    let mut browser = dotted.signed_in();
    assert!(only_key(&dotted).starts_with("my.app-"));
    assert!(browser.who().is_some());
}

#[test]
fn sign_in_creates_new_ticket_and_deletes_old_session() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    let (old_key, old_cookie) = (only_key(&site), browser.cookies[COOKIE].clone());
    browser.sign_in(&site.provider, "/");
    assert_ne!(only_key(&site), old_key);
    assert_ne!(browser.cookies[COOKIE], old_cookie);
    browser.cookies.insert(COOKIE.to_owned(), old_cookie);
    assert_eq!(browser.who(), None);
}

#[test]
fn request_with_replaced_ticket_keeps_new_cookie() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    // One tab comes back from the provider, while another one sends requests with the old cookie.
    let login = browser.start("/");
    site.provider.set_nonce(&login["nonce"]);
    let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
    let callback = browser.head(&format!("/oauth2/callback?code=code&state={state}"), &[]);
    let Ready::Later(callback) = site.app.handle(callback) else { panic!("the provider was not asked") };
    let (world, app, page) = (site.world.clone(), site.app.clone(), browser.head("/", &[]));
    let page = Box::pin(async move {
        world.sleep(Duration::from_secs(1)).await;
        let Ready::Later(page) = app.handle(page) else { panic!("Redis was not asked") };
        page.await
    });
    let decisions = site.world.run(vec![callback, page]);
    decisions.iter().for_each(|decision| browser.keep_cookies(&decision.action));
    assert!(browser.has_session() && browser.who().is_some());
}

#[test]
fn sign_out_deletes_session_from_redis() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    let mut copy = browser.clone();
    assert_eq!(browser.reply("/oauth2/sign_out", &[]).status(), 200);
    assert!(!browser.has_session());
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    assert_eq!(copy.who(), None);
}

#[test]
fn get_under_way_at_sign_out_is_not_cached() {
    for start in 0..25 {
        let site = site(json!({ "redis_session_cache": "1m" }));
        let browser = site.signed_in();
        let mut copy = browser.clone();
        site.world.pass(2 * MINUTE);
        site.world.fake_redis().set_delay(Duration::from_millis(5));
        let ask = move |app: &std::rc::Rc<App<_>>, head| match app.handle(head) {
            Ready::Later(future) => future,
            Ready::Now(decision) => Box::pin(std::future::ready(decision)),
        };
        let sign_out = ask(&site.app, browser.head("/oauth2/sign_out", &[]));
        let (world, app, head) = (site.world.clone(), site.app.clone(), browser.head("/", &[]));
        let page = Box::pin(async move {
            world.sleep(Duration::from_millis(start)).await;
            ask(&app, head).await
        });
        site.world.run(vec![sign_out, page]);
        assert_eq!(copy.who(), None, "{start} ms");
    }
}

#[test]
fn refresh_under_way_does_not_undo_sign_out() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_millis(600));
    let mut other = browser.clone();
    other.app = proxy(&site);
    let ask = |browser: &Browser, path| match browser.app.handle(browser.head(path, &[])) {
        Ready::Later(future) => future,
        Ready::Now(_) => panic!("Redis was not asked"),
    };
    let (refresh, sign_out) = (ask(&browser, "/"), ask(&other, "/oauth2/sign_out"));
    let world = site.world.clone();
    let sign_out = Box::pin(async move {
        world.sleep(Duration::from_millis(100)).await;
        sign_out.await
    });
    let decisions = site.world.run(vec![refresh, sign_out]);
    assert!(matches!(decisions[0].action, Action::Forward(_)));
    assert!(matches!(&decisions[1].action, Action::Reply(reply) if reply.status() == 200));
    assert_eq!(site.world.fake_redis().keys(), Vec::<String>::new());
    browser.keep_cookies(&decisions[0].action);
    assert_eq!(browser.who(), None);
}

#[test]
fn slow_refresh_does_not_undo_sign_out_that_took_its_lock() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_secs(4));
    let Ready::Later(refresh) = site.app.handle(browser.head("/", &[])) else {
        panic!("Redis was not asked")
    };
    let (world, other, head) = (site.world.clone(), proxy(&site), browser.head("/oauth2/sign_out", &[]));
    let sign_out = Box::pin(async move {
        world.sleep(Duration::from_millis(500)).await;
        let Ready::Later(sign_out) = other.handle(head) else { panic!("Redis was not asked") };
        sign_out.await
    });
    let decisions = site.world.run(vec![refresh, sign_out]);
    assert!(matches!(&decisions[1].action, Action::Reply(reply) if reply.status() == 200));
    // A copy of the cookie, at a proxy that did not see the sign-out.
    let mut copy = browser.clone();
    copy.app = proxy(&site);
    assert_eq!(copy.who(), None);
    site.world.pass(2 * MINUTE);
    copy.app = proxy(&site);
    assert_eq!(copy.who(), None);
    site.world.drain();
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn session_that_is_not_allowed_here_stays_in_redis() {
    for rules in [json!({ "email_domains": ["elsewhere.example"] }), json!({ "allowed_groups": ["admins"] })]
    {
        let site = site(json!({}));
        let mut browser = site.signed_in();
        let elsewhere = browser.app.clone();
        browser.app = App::new(self::site(rules).config, site.world.clone());
        assert_eq!(browser.reply("/", &[]).status(), 403);
        site.world.drain();
        browser.app = elsewhere;
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    }
}
