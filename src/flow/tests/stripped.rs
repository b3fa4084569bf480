//! `strip_session_cookie`, and a request that Envoy sends once more because of `internal_redirect_policy`.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::{MINUTE, Site, in_redis};
use crate::flow::{Action, Forward, Ready, RequestHead};

fn with(more: Value) -> Value {
    let mut options = json!({ "strip_session_cookie": true, "cookie_refresh": "30m" });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

/// What happens to a request with these headers, and with this token in its filter state.
fn ask(site: &Site, target: &str, cookie: &[u8], state: &[u8]) -> Action {
    let pairs = [
        (":method", b"GET".as_slice()),
        (":scheme", b"https"),
        (":authority", b"app.example.com"),
        (":path", target.as_bytes()),
        ("cookie", cookie),
    ];
    let head = RequestHead::from_pairs(pairs);
    let head = match site.app.cookies_again(&head, state) {
        Some(cookies) => head.with_cookies(&cookies),
        None => head,
    };
    let decision = match site.app.handle(head) {
        Ready::Now(decision) => decision,
        Ready::Later(future) => site.world.run(vec![future]).remove(0),
    };
    decision.action
}

/// The upstream redirects, and Envoy follows: the cookies that are left, and what the filter state has.
fn redirect(site: &Site, forward: Forward) -> (Vec<u8>, Vec<u8>) {
    let stripped = forward.stripped.unwrap();
    let token = stripped.token().as_bytes().to_vec();
    site.app.ended(stripped);
    (forward.cookie.unwrap(), token)
}

fn is_let_in(action: &Action) -> bool {
    matches!(action, Action::Forward(forward) if sent(forward, "x-forwarded-email") == "alice@example.com")
}

fn first(site: &Site, browser: &mut Browser, target: &str) -> (Vec<u8>, Vec<u8>) {
    browser.cookies.insert("theme".to_owned(), "dark".to_owned());
    let Action::Forward(forward) = browser.clone().ask(target, &[]) else { panic!("not let through") };
    redirect(site, forward)
}

#[test]
fn internally_redirected_request_keeps_its_session() {
    for store in [json!({}), in_redis()] {
        let site = Site::new(with(store));
        let mut browser = site.signed_in();
        let (mut cookie, mut token) = first(&site, &mut browser, "/a");
        // Twice, as with `max_internal_redirects: 2`.
        for target in ["/b", "/c"] {
            assert_eq!(cookie, b"theme=dark");
            let decision = ask(&site, target, &cookie, &token);
            assert!(is_let_in(&decision), "{target}");
            if let Action::Forward(forward) = decision {
                (cookie, token) = redirect(&site, forward);
            }
        }
    }
}

#[test]
fn refreshed_cookie_of_redirected_request_reaches_browser() {
    for store in [json!({}), in_redis()] {
        let site = Site::new(with(store));
        let mut browser = site.signed_in();
        site.world.pass(31 * MINUTE);
        let (cookie, token) = first(&site, &mut browser, "/a");
        let Action::Forward(forward) = ask(&site, "/b", &cookie, &token) else { panic!("not let through") };
        let headers = site.app.response_headers(forward.response, forward.renewed.as_deref());
        browser.keep_cookies(&Action::Forward(Forward { response: headers.clone(), ..Forward::default() }));
        assert!(headers.iter().any(|(name, _)| *name == "set-cookie"));
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
        assert!(matches!(ask(&site, "/", browser.head("/", &[]).header("cookie"), b""), Action::Forward(_)));
        assert_eq!(site.provider.grants("refresh_token").len(), 1);
    }
}

#[test]
fn redirect_from_skipped_route_has_session_if_needed() {
    let site = Site::new(with(json!({ "skip_auth_routes": ["^/public$"] })));
    let (cookie, token) = first(&site, &mut site.signed_in(), "/public");
    assert!(is_let_in(&ask(&site, "/private", &cookie, &token)));
}

#[test]
fn stripped_cookies_come_back_only_by_their_token() {
    let site = Site::new(with(json!({})));
    let (cookie, token) = first(&site, &mut site.signed_in(), "/a");
    for state in [b"".as_slice(), b"AAAAAAAAAAAAAAAAAAAAAA", &token[1..]] {
        assert!(matches!(ask(&site, "/b", &cookie, state), Action::Reply(_)));
    }
    // Another worker, or the same one a second time or later.
    let other = Site::new(with(json!({})));
    assert!(matches!(ask(&other, "/b", &cookie, &token), Action::Reply(_)));
    assert!(is_let_in(&ask(&site, "/b", &cookie, &token)));
    assert!(matches!(ask(&site, "/b", &cookie, &token), Action::Reply(_)));
    let (cookie, token) = first(&site, &mut site.signed_in(), "/a");
    site.world.pass(MINUTE);
    assert!(matches!(ask(&site, "/b", &cookie, &token), Action::Reply(_)));
}

#[test]
fn redirected_request_after_sign_out_is_anonymous() {
    let site = Site::new(with(in_redis()));
    let mut browser = site.signed_in();
    let (cookie, token) = first(&site, &mut browser, "/a");
    assert_eq!(browser.reply("/oauth2/sign_out", &[]).status(), 200);
    assert!(matches!(ask(&site, "/b", &cookie, &token), Action::Reply(_)));
}

#[test]
fn stripped_cookies_of_ended_requests_are_bounded() {
    let site = Site::new(with(json!({ "skip_auth_routes": ["^/public$"] })));
    let mut tokens = Vec::new();
    for _ in 0..300 {
        let cookie = [b"_oauth2_proxy=".as_slice(), &[b'x'; 90_000]].concat();
        let Action::Forward(forward) = ask(&site, "/public", &cookie, b"") else { panic!("it is public") };
        tokens.push(redirect(&site, forward).1);
    }
    let back = |token: &Vec<u8>| site.app.cookies_again(&RequestHead::default(), token);
    let bytes: usize = tokens.iter().flat_map(back).map(|cookies| cookies.len()).sum();
    assert!((1..=2 << 20).contains(&bytes), "{bytes}");
    assert!(!site.app.may_come_again());
}

#[test]
fn stripped_cookies_are_forgotten_in_time() {
    let site = Site::new(with(json!({})));
    first(&site, &mut site.signed_in(), "/a");
    assert!(site.app.may_come_again());
    site.world.pass(Duration::from_secs(9));
    assert!(site.app.may_come_again());
    site.world.pass(Duration::from_secs(2));
    assert!(!site.app.may_come_again());
}

#[test]
fn nothing_is_stripped_without_the_option() {
    let site = Site::new(json!({}));
    assert_eq!(site.app.stripped_state(), None);
    assert!(site.signed_in().forward("/", &[]).stripped.is_none());
}
