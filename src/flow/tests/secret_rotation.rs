//! The cookie secret changes: sessions go on, each with the time that it had, until their secret is removed.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::browser::Browser;
use super::world::World;
use super::{MINUTE, Site, in_redis};
use crate::cookie::{self, CookieSecret, CookieSecrets};
use crate::flow::io::Count;
use crate::flow::{Action, App, Forward, Io, Ready};

const COOKIE: &str = "_oauth2_proxy";

/// The secret of the configuration, and the next one, which has another length.
const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "Rm9vQmFyQmF6UXV4X18tLUZvb0JhckJhelF1eDAxMjM=";

/// A site with each store.
fn sites(options: &Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Site::new(all)
    })
}

fn set(app: &App<World>, secrets: &[&str]) {
    let secrets = secrets.iter().map(|secret| CookieSecret::new(secret.as_bytes()).unwrap());
    app.secrets().set_cookie(CookieSecrets::new(secrets).unwrap());
}

/// One more worker, with these secrets.
fn worker(site: &Site, secrets: &[&str]) -> Rc<App<World>> {
    let app = site.worker();
    set(&app, secrets);
    app
}

/// The same browser at another worker.
fn at(browser: &Browser, app: &Rc<App<World>>) -> Browser {
    let mut browser = browser.clone();
    browser.app = Rc::clone(app);
    browser
}

/// The `set-cookie` headers of an answer or of a response.
fn set_cookies(action: &Action) -> Vec<String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    match action {
        Action::Reply(reply) => {
            reply.headers().get_all("set-cookie").iter().map(|value| text(value.as_bytes())).collect()
        }
        Action::Forward(forward) => forward
            .response
            .iter()
            .filter(|(name, _)| *name == "set-cookie")
            .map(|(_, value)| text(value))
            .collect(),
        Action::ReadBody => Vec::new(),
    }
}

fn signed_at(browser: &Browser) -> i64 {
    cookie::signed_at(browser.cookies[COOKIE].as_bytes()).unwrap()
}

/// The browser gets the response to a request that was let through.
fn respond(app: &App<World>, browser: &mut Browser, forward: Forward) {
    let response = app.response_headers(forward.response, forward.renewed.as_deref());
    browser.keep_cookies(&Action::Forward(Forward { response, ..Forward::default() }));
}

#[test]
fn session_of_older_secret_goes_out_anew_once_with_its_time() {
    for site in sites(&json!({})) {
        for target in ["/", "/oauth2/userinfo", "/oauth2/auth"] {
            let mut browser = site.signed_in();
            let (time, before) = (signed_at(&browser), browser.cookies[COOKIE].clone());
            site.world.pass(60 * MINUTE);
            set(&site.app, &[NEW, OLD]);
            let counted = site.world.counted(Count::OlderSecret);

            let cookies = set_cookies(&browser.ask(target, &[]));
            assert_eq!(cookies.len(), 1, "{target} {cookies:?}");
            // `cookie_expire` is a week, and an hour has passed.
            assert!(cookies[0].contains("; Max-Age=601200;"), "{cookies:?}");
            assert_ne!(browser.cookies[COOKIE], before);
            assert_eq!(signed_at(&browser), time);

            assert!(set_cookies(&browser.ask(target, &[])).is_empty());
            assert_eq!(site.world.counted(Count::OlderSecret), counted + 1);
            set(&site.app, &[NEW]);
            assert_eq!(browser.who().unwrap(), "alice@example.com");
            set(&site.app, &[OLD]);
        }
    }
}

#[test]
fn second_secret_verifies_and_does_not_sign() {
    for site in sites(&json!({})) {
        let mut browser = at(&site.browser(), &worker(&site, &[NEW]));
        browser.sign_in(&site.provider, "/");
        let mut browser = at(&browser, &worker(&site, &[OLD, NEW]));
        let forward = browser.forward("/", &[]);
        assert_eq!(set_cookies(&Action::Forward(forward)).len(), 1);
        browser.app = worker(&site, &[OLD]);
        assert!(browser.who().is_some());
    }
}

#[test]
fn cookie_of_removed_secret_is_invalid_although_it_was_seen() {
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        for _ in 0..2 {
            assert!(browser.who().is_some());
        }
        set(&site.app, &[NEW]);
        assert_eq!(browser.clone().who(), None);
        // A secret may come back: nothing was forgotten.
        set(&site.app, &[NEW, OLD]);
        assert!(browser.who().is_some());
    }
}

#[test]
fn session_lasts_no_longer_with_the_new_secret() {
    for site in sites(&json!({ "cookie_expire": "2h" })) {
        let mut browser = site.signed_in();
        site.world.pass(60 * MINUTE);
        set(&site.app, &[NEW, OLD]);
        assert!(browser.who().is_some());
        site.world.pass(61 * MINUTE);
        assert_eq!(browser.who(), None);
    }
}

#[test]
fn skipped_route_gives_no_new_cookie() {
    for site in sites(&json!({ "skip_auth_routes": ["^/public"] })) {
        let mut browser = site.signed_in();
        set(&site.app, &[NEW, OLD]);
        let forward = browser.forward("/public", &[]);
        assert_eq!(super::browser::sent(&forward, "x-forwarded-email"), "alice@example.com");
        assert_eq!(forward.renewed, None);
        assert!(set_cookies(&Action::Forward(forward)).is_empty());
    }
}

#[test]
fn cookie_of_oauth2_proxy_stays_as_it_is() {
    for options in [json!({}), in_redis()] {
        let site = super::modes::site(json!({ "mode": "beside" }), options.clone());
        let signed_in = Site::new(options);
        let mut browser = site.browser();
        browser.cookies = signed_in.signed_in().cookies;
        site.world.fake_redis().restore(signed_in.world.fake_redis().snapshot());
        set(&site.app, &[NEW, OLD]);
        for count in 1..3 {
            assert!(set_cookies(&Action::Forward(browser.forward("/", &[]))).is_empty());
            assert_eq!(site.world.counted(Count::OlderSecret), count);
        }
    }
}

#[test]
fn sign_in_that_began_with_the_older_secret_completes() {
    for site in sites(&json!({})) {
        let mut browser = site.browser();
        let login = browser.start("/");
        browser.app = worker(&site, &[NEW, OLD]);
        assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
        assert_eq!(browser.cookies.len(), 1, "{:?}", browser.cookies);
        browser.app = worker(&site, &[NEW]);
        assert!(browser.who().is_some());
    }
}

#[test]
fn all_proxies_make_the_same_bytes_of_a_cookie() {
    for site in sites(&json!({})) {
        let browser = site.signed_in();
        let reissued = [(); 2].map(|()| {
            let mut browser = at(&browser, &worker(&site, &[NEW, OLD]));
            assert!(browser.who().is_some());
            browser.cookies
        });
        assert_eq!(reissued[0], reissued[1]);
    }
}

/// Both copies of a session are in flight, and the user signs out with one of them.
#[test]
fn sign_out_with_either_copy_brings_back_neither() {
    for has_new_cookie in [false, true] {
        let site = Site::new(json!({}));
        let mut browser = site.signed_in();
        set(&site.app, &[NEW, OLD]);
        let old = browser.clone();
        let slow = old.clone().forward("/slow", &[]);
        assert!(slow.renewed.is_some());
        if has_new_cookie {
            let quick = old.clone().forward("/quick", &[]);
            respond(&site.app, &mut browser, quick);
            assert_ne!(browser.cookies[COOKIE], old.cookies[COOKIE]);
        }
        let mut elsewhere = at(&browser, &worker(&site, &[NEW, OLD]));
        elsewhere.reply("/oauth2/sign_out", &[]);
        assert!(!elsewhere.has_session());

        browser.cookies.clear();
        respond(&site.app, &mut browser, slow);
        assert!(!browser.has_session(), "{has_new_cookie}");
        // A late request with the old cookie gives no new one either.
        for target in ["/", "/oauth2/userinfo"] {
            assert!(set_cookies(&old.clone().ask(target, &[])).is_empty(), "{target}");
        }
    }
}

#[test]
fn both_copies_have_one_refresh() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let old = site.signed_in();
    let mut new = at(&old, &worker(&site, &[NEW, OLD]));
    assert!(new.who().is_some());
    assert_ne!(new.cookies[COOKIE], old.cookies[COOKIE]);
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_millis(500));
    // One worker does not know the new secret yet, and one no longer knows the old one.
    let requests = [(&old, site.worker()), (&old, worker(&site, &[NEW, OLD])), (&new, worker(&site, &[NEW]))];
    let futures = requests.iter().map(|(browser, app)| match app.handle(browser.head("/", &[])) {
        Ready::Later(future) => future,
        Ready::Now(decision) => panic!("no refresh was due: {decision:?}"),
    });
    let decisions = site.world.run(futures.collect());
    assert!(decisions.iter().all(|decision| matches!(decision.action, Action::Forward(_))), "{decisions:?}");
    assert_eq!(site.provider.grants("refresh_token").len(), 1);
}

#[test]
fn sign_out_with_new_copy_ends_refresh_of_the_old_one() {
    let site = Site::new(json!({ "cookie_refresh": "30m", "skip_provider_button": false }));
    let old = site.signed_in();
    let rotated = worker(&site, &[NEW, OLD]);
    let mut new = at(&old, &rotated);
    assert!(new.who().is_some());
    site.world.pass(31 * MINUTE);
    site.provider.set_delay(Duration::from_millis(600));
    let Ready::Later(page) = rotated.handle(old.head("/", &[])) else { panic!("no refresh was due") };
    let (world, other, head) =
        (site.world.clone(), worker(&site, &[NEW, OLD]), new.head("/oauth2/sign_out", &[]));
    let sign_out = Box::pin(async move {
        world.sleep(Duration::from_millis(100)).await;
        other.handle(head).get().await
    });
    let decisions = site.world.run(vec![page, sign_out]);
    let Action::Reply(page) = &decisions[0].action else { panic!("let through: {:?}", decisions[0]) };
    assert_eq!(page.status(), 302);
    assert!(set_cookies(&decisions[0].action).is_empty());
}

/// The response of a slow upstream must not bring back a cookie whose refresh token is used up by then.
#[test]
fn slow_response_does_not_replace_a_refreshed_cookie() {
    let site = Site::new(json!({ "cookie_refresh": "30m" }));
    let mut browser = site.signed_in();
    set(&site.app, &[NEW, OLD]);
    let slow = browser.clone().forward("/slow", &[]);
    assert!(slow.renewed.is_some());
    site.world.pass(31 * MINUTE);
    assert!(browser.who().is_some());
    let refreshed = browser.cookies.clone();
    respond(&site.app, &mut browser, slow);
    assert_eq!(browser.cookies, refreshed);
}

#[test]
fn refresh_signs_with_the_first_secret() {
    for site in sites(&json!({ "cookie_refresh": "30m" })) {
        let mut browser = site.signed_in();
        set(&site.app, &[NEW, OLD]);
        site.world.pass(31 * MINUTE);
        assert_eq!(set_cookies(&Action::Forward(browser.forward("/", &[]))).len(), 1);
        set(&site.app, &[NEW]);
        assert!(browser.who().is_some());
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
    }
}

#[test]
fn valid_session_whose_refresh_fails_goes_out_anew_too() {
    for site in sites(&json!({ "cookie_refresh": "30m" })) {
        let mut browser = site.signed_in();
        site.world.pass(31 * MINUTE);
        set(&site.app, &[NEW, OLD]);
        site.world.network(|_| (Duration::ZERO, Err(crate::flow::io::CallFailed)));
        assert!(browser.who().is_some());
        set(&site.app, &[NEW]);
        assert!(browser.who().is_some());
    }
}

#[test]
fn cookies_of_both_secrets_in_two_scopes_become_one() {
    for site in sites(&json!({})) {
        let old = site.signed_in();
        let mut new = at(&site.browser(), &worker(&site, &[NEW]));
        site.world.pass(MINUTE);
        new.sign_in(&site.provider, "/");
        let mut browser = at(&new, &worker(&site, &[NEW, OLD]));
        let both = format!("{}; {COOKIE}={}", new.cookies[COOKIE], old.cookies[COOKIE]);
        browser.cookies.insert(COOKIE.to_owned(), both);
        let cookies = set_cookies(&browser.ask("/", &[]));
        let (cleared, kept): (Vec<_>, Vec<_>) =
            cookies.iter().partition(|cookie| cookie.contains("Max-Age=0"));
        assert!(!cleared.is_empty() && kept.len() == 1, "{cookies:?}");
        // The newest is kept, as it was.
        assert!(kept[0].starts_with(&format!("{COOKIE}={};", new.cookies[COOKIE])), "{kept:?}");
    }
}
