//! What the provider's answer to a refresh token means for a session: whether it is about the token, about the client, or
//! about neither.

use std::time::Duration;

use serde_json::{Value, json};

use super::{MINUTE, Site, in_redis};
use crate::flow::io::Count;

/// Longer than a worker waits before it tries again.
const A_MOMENT: Duration = Duration::from_secs(6);

/// A site with each store, whose sessions are renewed after half an hour and expire after one.
fn sites(options: &Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        for options in [&json!({ "cookie_refresh": "30m" }), options] {
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        }
        Site::new(all)
    })
}

fn error(code: &str) -> Value {
    json!({ "error": code })
}

/// Not a JSON object.
fn page() -> Value {
    json!("<html>")
}

/// Answers about the refresh token (RFC 6749 section 5.2).
fn about_the_token() -> Vec<(u16, Value)> {
    vec![
        (400, error("interaction_required")),
        (400, error("invalid_request")),
        (400, error("unsupported_grant_type")),
        (400, page()),
        (403, page()),
        (403, error("access_denied")),
        (200, json!({})),
        (200, page()),
        (200, json!({ "access_token": "a", "token_type": "DPoP" })),
    ]
}

/// Answers about the client, or the address that it asks.
fn about_the_client() -> Vec<(u16, Value)> {
    vec![
        (401, error("invalid_client")),
        (400, error("invalid_client")),
        (401, page()),
        (400, error("unauthorized_client")),
        (404, page()),
        (302, page()),
    ]
}

/// Answers that say neither.
fn about_neither() -> Vec<(u16, Value)> {
    vec![
        (500, page()),
        (503, error("invalid_grant")),
        (429, error("invalid_client")),
        (408, page()),
        (400, error("temporarily_unavailable")),
    ]
}

#[test]
fn unexpired_session_survives_any_refused_refresh() {
    for answer in [about_the_token(), about_the_client(), about_neither()].concat() {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            site.provider.set_token_answer(Some(answer.clone()));
            for _ in 0..2 {
                site.world.pass(14 * MINUTE);
                assert!(browser.who().is_some(), "{answer:?}");
            }
            site.world.pass(3 * MINUTE);
            assert!(browser.who().is_some(), "{answer:?}");
            assert!(browser.has_session());
            site.provider.set_token_answer(None);
            site.world.pass(A_MOMENT);
            assert!(browser.who().is_some(), "{answer:?}");
            assert_eq!(site.world.counted(Count::Refresh), 1);
        }
    }
}

#[test]
fn expired_session_with_refused_refresh_goes_to_sign_in() {
    for answer in about_the_token() {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            site.provider.set_token_answer(Some(answer.clone()));
            site.world.pass(61 * MINUTE);
            assert_eq!(browser.reply("/", &[]).status(), 302, "{answer:?}");
            assert!(!browser.has_session(), "{answer:?}");
            assert!(site.world.fake_redis().keys().is_empty());
            assert_eq!(site.world.counted(Count::RefreshRefused), 1);
            site.provider.set_token_answer(None);
            assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
            assert!(browser.who().is_some());
        }
    }
}

#[test]
fn session_that_expires_after_refused_refresh_goes_to_sign_in() {
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        site.provider.set_token_answer(Some((403, page())));
        site.world.pass(60 * MINUTE - Duration::from_secs(1));
        assert!(browser.who().is_some());
        site.world.pass(Duration::from_secs(2));
        assert_eq!(browser.reply("/", &[]).status(), 302);
        assert!(!browser.has_session());
    }
}

#[test]
fn rejected_client_leads_to_sign_in_and_ends_no_session() {
    for answer in about_the_client() {
        // The page with the button would end the session.
        for site in sites(&json!({ "skip_provider_button": false })) {
            let mut browser = site.signed_in();
            let (cookies, keys) = (browser.cookies.clone(), site.world.fake_redis().keys());
            site.provider.set_token_answer(Some(answer.clone()));
            site.world.pass(61 * MINUTE);
            for _ in 0..2 {
                let reply = browser.reply("/page", &[]);
                assert_eq!(reply.status(), 302, "{answer:?}");
                assert_eq!(reply.headers()["location"], "/oauth2/start?rd=%2Fpage");
                assert!(!reply.headers().contains_key("set-cookie"));
            }
            assert_eq!(browser.reply("/", &[("accept", "application/json")]).status(), 401);
            assert_eq!(browser.reply("/oauth2/auth", &[]).status(), 401);
            assert_eq!((&browser.cookies, site.world.fake_redis().keys()), (&cookies, keys));
            // However many requests come, the provider is asked once in five seconds.
            assert_eq!(site.world.counted(Count::ClientRefused), 1);
            assert_eq!(site.world.counted(Count::RefreshFailed), 1);
            // The operator has set the right secret.
            site.provider.set_token_answer(None);
            site.world.pass(A_MOMENT);
            assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
            let grants = site.provider.grants("refresh_token");
            assert!(grants.iter().all(|grant| grant.contains("refresh_token=refresh-token-1")), "{grants:?}");
        }
    }
}

#[test]
fn rejected_client_is_known_to_every_worker() {
    let site = Site::new(json!({}));
    let mut browser = site.signed_in();
    site.provider.set_token_answer(Some((401, error("invalid_client"))));
    site.world.pass(61 * MINUTE);
    assert_eq!(browser.reply("/", &[]).status(), 302);
    let grants = site.provider.grants("refresh_token").len();
    browser.app = site.worker();
    assert_eq!(browser.reply("/", &[]).status(), 302);
    assert_eq!(site.provider.grants("refresh_token").len(), grants);
}

#[test]
fn sign_in_after_rejected_client_makes_new_session() {
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        let before = browser.cookies.clone();
        site.provider.set_token_answer(Some((400, error("unauthorized_client"))));
        site.world.pass(61 * MINUTE);
        assert_eq!(browser.reply("/", &[]).status(), 302);
        site.provider.set_token_answer(None);
        assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
        assert!(browser.who().is_some());
        assert_ne!(browser.cookies, before);
        assert!(site.world.fake_redis().keys().len() <= 1, "the old session is over");
    }
}

#[test]
fn expired_session_without_provider_answer_is_503() {
    for answer in about_neither() {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            site.provider.set_token_answer(Some(answer.clone()));
            site.world.pass(61 * MINUTE);
            let reply = browser.reply("/", &[]);
            assert_eq!(reply.status(), 503, "{answer:?}");
            assert!(reply.headers().contains_key("retry-after") && browser.has_session());
            site.provider.set_token_answer(None);
            site.world.pass(A_MOMENT);
            assert!(browser.who().is_some(), "{answer:?}");
        }
    }
}
