//! `POST /oauth2/refresh`: a refresh that a page asks for.

use std::future::Future;
use std::pin::Pin;

use serde_json::{Value, json};

use super::browser::Browser;
use super::{MINUTE, Site, in_redis};
use crate::flow::io::Io;
use crate::flow::{Action, Decision, Reply};
use crate::time::Timestamp;

const PATH: &str = "/oauth2/refresh";
const POST: [(&str, &str); 2] = [(":method", "POST"), ("sec-fetch-site", "same-origin")];

fn in_both_stores(options: Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Site::new(all)
    })
}

fn body(answer: &Reply) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

fn grants(site: &Site) -> usize {
    site.provider.grants("refresh_token").len()
}

/// The access token for the upstream.
fn token(browser: &mut Browser) -> String {
    let forward = browser.forward("/", &[]);
    super::browser::sent(&forward, "x-forwarded-access-token")
}

#[test]
fn page_renews_its_session_before_it_is_due() {
    for site in in_both_stores(json!({ "pass_access_token": true, "session_max_lifetime": "12h" })) {
        let mut browser = site.signed_in();
        let signed_in = site.world.now();
        site.world.pass(30 * MINUTE);
        assert_eq!(token(&mut browser), "access-token-1");
        let answer = browser.reply(PATH, &POST);
        assert_eq!((answer.status().as_u16(), answer.details()), (200, "refresh"));
        let at = |time: Timestamp| Timestamp::from_secs(time.secs()).to_string();
        let body = body(&answer);
        assert_eq!(body["email"], "alice@example.com");
        // The new tokens last an hour again.
        assert_eq!(body["expiresAt"], at(site.world.now().after(60 * MINUTE)));
        assert_eq!(body["absoluteExpiresAt"], at(signed_in.after(12 * 60 * MINUTE)));
        assert_eq!(token(&mut browser), "access-token-2");
        assert_eq!(grants(&site), 1);
    }
}

#[test]
fn repeated_refresh_uses_the_result_of_the_last_one() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        let mut other = browser.clone();
        other.app = site.worker();
        site.world.pass(30 * MINUTE);
        for _ in 0..10 {
            assert_eq!(browser.reply(PATH, &POST).status(), 200);
        }
        // Another tab, with the cookie from before.
        assert_eq!(other.reply(PATH, &POST).status(), 200);
        assert_eq!(grants(&site), 1);
        assert_eq!(browser.cookies, other.cookies);
    }
}

#[test]
fn simultaneous_refreshes_make_one_grant() {
    for site in in_both_stores(json!({})) {
        let browser = site.signed_in();
        site.world.pass(30 * MINUTE);
        let workers = [site.worker(), site.worker()];
        let requests = (0..20).map(|number| -> Pin<Box<dyn Future<Output = Decision>>> {
            let decision = workers[number % 2].handle(browser.head(PATH, &POST));
            Box::pin(async move { decision.get().await })
        });
        for decision in site.world.run::<Decision>(requests.collect()) {
            assert!(matches!(decision.action, Action::Reply(reply) if reply.status() == 200));
        }
        assert_eq!(grants(&site), 1);
    }
}

#[test]
fn request_of_another_site_renews_nothing() {
    let site = Site::new(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(30 * MINUTE);
    for headers in [
        &[(":method", "POST")][..],
        &[(":method", "POST"), ("sec-fetch-site", "cross-site")],
        &[(":method", "POST"), ("origin", "https://evil.example")],
    ] {
        let answer = browser.reply(PATH, headers);
        assert_eq!((answer.status().as_u16(), answer.details()), (403, "csrf"));
    }
    let answer = browser.reply(PATH, &[]);
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(grants(&site), 0);
}

#[test]
fn refresh_without_session_is_401() {
    for site in in_both_stores(json!({ "session_max_lifetime": "20m" })) {
        assert_eq!(site.browser().reply(PATH, &POST).status(), 401);
        let mut browser = site.signed_in();
        site.world.pass(20 * MINUTE);
        assert_eq!(browser.reply(PATH, &POST).status(), 401);
        assert_eq!(grants(&site), 0);
    }
}

#[test]
fn refresh_that_the_provider_refuses_ends_the_session() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        site.world.pass(MINUTE);
        site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
        assert_eq!(browser.reply(PATH, &POST).status(), 401);
        assert!(!browser.has_session());
    }
}

#[test]
fn provider_outage_keeps_session_and_its_end() {
    for site in in_both_stores(json!({})) {
        let mut browser = site.signed_in();
        let signed_in = site.world.now();
        site.world.pass(MINUTE);
        site.provider.set_down(true);
        let answer = browser.reply(PATH, &POST);
        assert_eq!(answer.status(), 200);
        let end = Timestamp::from_secs(signed_in.after(60 * MINUTE).secs()).to_string();
        assert_eq!(body(&answer)["expiresAt"], end);
        assert!(browser.who().is_some());
    }
}

#[test]
fn refresh_is_a_use_of_the_session() {
    for site in in_both_stores(json!({ "session_idle_timeout": "20m" })) {
        let mut browser = site.signed_in();
        for _ in 0..4 {
            site.world.pass(15 * MINUTE);
            let answer = browser.reply(PATH, &POST);
            site.world.drain();
            let end = Timestamp::from_secs(site.world.now().after(20 * MINUTE).secs()).to_string();
            assert_eq!(body(&answer)["idleExpiresAt"], end);
        }
        site.world.pass(20 * MINUTE);
        assert_eq!(browser.reply(PATH, &POST).status(), 401);
    }
}
