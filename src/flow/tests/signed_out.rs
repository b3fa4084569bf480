//! In the cookie store, a sign-out is final, whatever is under way at two workers.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::refresh::spellings;
use super::world::World;
use super::{MINUTE, Site};
use crate::flow::{Action, App, Forward, Io, Ready, Reply};

const COOKIE: &str = "_oauth2_proxy";

/// A browser whose session is due for a refresh, and its site.
fn due() -> (Site, Browser) {
    let site = Site::new(json!({ "cookie_refresh": "30m", "skip_provider_button": false }));
    let browser = site.signed_in();
    site.world.pass(31 * MINUTE);
    (site, browser)
}

/// The browser gets the response to a request that was let through.
fn respond(app: &Rc<App<World>>, browser: &mut Browser, forward: Forward) {
    let response = app.response_headers(forward.response, forward.renewed.as_deref());
    browser.keep_cookies(&Action::Forward(Forward { response, ..Forward::default() }));
}

/// Ends the session of these cookies, on another worker.
fn end(site: &Site, browser: &Browser, target: &str) {
    let mut browser = browser.clone();
    browser.app = site.worker();
    assert_eq!(browser.reply(target, &[]).status(), 200);
    assert!(!browser.has_session());
}

fn set_cookies(reply: &Reply) -> usize {
    reply.headers().get_all("set-cookie").iter().count()
}

#[test]
fn refresh_under_way_at_sign_out_sets_no_cookie() {
    for target in ["/oauth2/sign_out", "/oauth2/sign_in"] {
        let (site, browser) = due();
        site.provider.set_delay(Duration::from_millis(600));
        let Ready::Later(page) = site.app.handle(browser.head("/", &[])) else {
            panic!("no refresh was due")
        };
        let (world, other, head) = (site.world.clone(), site.worker(), browser.head(target, &[]));
        let sign_out = Box::pin(async move {
            world.sleep(Duration::from_millis(100)).await;
            let Ready::Later(sign_out) = other.handle(head) else {
                panic!("an endpoint that waits for nothing")
            };
            sign_out.await
        });
        let decisions = site.world.run(vec![page, sign_out]);
        let Action::Reply(page) = &decisions[0].action else { panic!("let through: {:?}", decisions[0]) };
        assert_eq!((page.status().as_u16(), set_cookies(page)), (302, 0));
        assert!(matches!(&decisions[1].action, Action::Reply(reply) if reply.status() == 200));
        assert_eq!(site.provider.grants("refresh_token").len(), 1);

        // The old cookie, of which the refresh token is used up, becomes no new one either.
        let mut copy = browser.clone();
        let before = copy.cookies.clone();
        assert_eq!(copy.reply("/", &[]).status(), 302);
        assert_eq!(copy.cookies, before);
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
    }
}

#[test]
fn slow_response_after_sign_out_sets_no_cookie() {
    // Without a sign-out, the response carries the refreshed session.
    let (site, mut browser) = due();
    let old = browser.clone();
    let forward = browser.clone().forward("/", &[]);
    respond(&site.app, &mut browser, forward);
    assert_ne!(browser.cookies[COOKIE], old.cookies[COOKIE]);

    for has_new_cookie in [false, true] {
        let (site, mut browser) = due();
        let old = browser.clone();
        let slow = old.clone().forward("/slow", &[]);
        if has_new_cookie {
            let quick = old.clone().forward("/quick", &[]);
            respond(&site.app, &mut browser, quick);
            assert_ne!(browser.cookies[COOKIE], old.cookies[COOKIE]);
        }
        end(&site, &browser, "/oauth2/sign_out");
        browser.cookies.clear();
        respond(&site.app, &mut browser, slow);
        assert!(!browser.has_session(), "{has_new_cookie}");
    }
}

#[test]
fn sign_out_with_old_cookie_ends_refreshed_ones() {
    for signed_out_with in 0..3 {
        let site = Site::new(json!({ "cookie_refresh": "1m" }));
        let mut cookies = vec![site.signed_in()];
        let mut slow = Vec::new();
        for _ in 0..2 {
            site.world.pass(2 * MINUTE);
            let mut browser = cookies.last().unwrap().clone();
            slow.push(browser.clone().forward("/slow", &[]));
            assert!(browser.who().is_some());
            cookies.push(browser);
        }
        end(&site, &cookies[signed_out_with], "/oauth2/sign_out");
        for forward in slow {
            let mut browser = site.browser();
            assert!(forward.renewed.is_some());
            respond(&site.app, &mut browser, forward);
            assert!(!browser.has_session(), "{signed_out_with}");
        }
        site.world.pass(2 * MINUTE);
        for browser in cookies.get(signed_out_with..).unwrap() {
            let mut copy = browser.clone();
            assert_eq!(copy.who(), None, "{signed_out_with}");
            assert_eq!(copy.cookies, browser.cookies);
        }
    }
}

#[test]
fn new_sign_in_survives_refresh_of_old_session() {
    let (site, mut browser) = due();
    let slow = browser.clone().forward("/slow", &[]);
    site.provider.set_claim("email", json!("bob@example.com"));
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
    respond(&site.app, &mut browser, slow);
    assert_eq!(browser.who().as_deref(), Some("bob@example.com"));
}

#[test]
fn sign_out_keeps_other_sessions() {
    let (site, browser) = due();
    let mut other = site.signed_in();
    site.world.pass(31 * MINUTE);
    end(&site, &browser, "/oauth2/sign_out");
    let before = other.cookies.clone();
    assert!(other.who().is_some());
    assert_ne!(other.cookies, before);
}

#[test]
fn cookie_with_respelled_signature_is_ended() {
    let (site, mut browser) = due();
    let mut copy = browser.clone();
    let others = spellings(&browser.cookies[COOKIE]);
    let other = others.into_iter().find(|other| *other != browser.cookies[COOKIE]).unwrap();
    copy.cookies.insert(COOKIE.to_owned(), other);
    end(&site, &copy, "/oauth2/sign_out");
    assert_eq!(browser.who(), None);
    assert_eq!(site.provider.grants("refresh_token").len(), 0);
}
