//! A sign-out goes on to the provider, with `provider_sign_out`.

use std::collections::BTreeMap;

use http::Uri;
use serde_json::{Value, json};

use super::browser::Browser;
use super::{Site, in_redis};
use crate::flow::Reply;
use crate::oidc::tests::vectors::CLIENT;

const END: &str = "https://login.example.com/end";
const HERE: &str = "https://app.example.com/bye?x=1&y";

/// A site whose provider has an end-session endpoint.
fn site(more: Value) -> Site {
    let mut options = json!({ "provider_sign_out": true });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let site = Site::new(options);
    site.provider.set_metadata("end_session_endpoint", json!(END));
    site
}

/// The endpoint of a URL, and its parameters.
fn parsed(url: &str) -> (String, BTreeMap<String, String>) {
    let uri: Uri = url.parse().unwrap();
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    (url.split('?').next().unwrap().to_owned(), query)
}

/// Where a redirect leads to.
fn location(answer: &Reply) -> (String, BTreeMap<String, String>) {
    assert_eq!(answer.status(), 302);
    parsed(answer.headers()["location"].to_str().unwrap())
}

fn names(query: &BTreeMap<String, String>) -> Vec<&str> {
    query.keys().map(String::as_str).collect()
}

fn body(answer: &Reply) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

fn signs_out(browser: &mut Browser, target: &str) -> Reply {
    let answer = browser.reply(target, &[]);
    assert!(!browser.has_session());
    assert_eq!(answer.details(), "sign_out");
    answer
}

/// RP-Initiated Logout 1.0 section 2: the ID token that the provider issued, and the client.
#[test]
fn sign_out_goes_on_with_id_token_and_client() {
    for (name, store) in [("cookie", json!({})), ("redis", in_redis())] {
        let site = site(store);
        let mut browser = site.signed_in();
        let (endpoint, query) = location(&signs_out(&mut browser, "/oauth2/sign_out"));
        assert_eq!((endpoint.as_str(), names(&query)), (END, vec!["client_id", "id_token_hint"]), "{name}");
        assert_eq!(query["client_id"], CLIENT);
        assert_eq!(query["id_token_hint"].split('.').count(), 3);
    }
}

#[test]
fn without_option_sign_out_ends_here() {
    let site = site(json!({ "provider_sign_out": false }));
    let answer = signs_out(&mut site.signed_in(), "/oauth2/sign_out");
    assert_eq!(answer.status(), 200);
    assert!(!body(&answer).contains("/oauth2/sign_out"));
}

#[test]
fn registered_address_comes_with_new_state() {
    let site = site(json!({ "post_logout_redirect_url": HERE }));
    let mut states = Vec::new();
    for _ in 0..2 {
        let (_, query) = location(&signs_out(&mut site.signed_in(), "/oauth2/sign_out"));
        assert_eq!(query["post_logout_redirect_uri"], HERE);
        states.push(query["state"].clone());
    }
    assert!(states[0].len() >= 22 && states[0] != states[1], "{states:?}");
    // The state is needed for nothing.
    let mut browser = site.signed_in();
    site.world.without_random();
    let (_, query) = location(&signs_out(&mut browser, "/oauth2/sign_out"));
    assert_eq!(names(&query), ["client_id", "id_token_hint", "post_logout_redirect_uri"]);
}

#[test]
fn allowed_rd_wins_over_provider() {
    let site = site(json!({ "whitelist_domains": [".example.org"] }));
    for target in ["/page", "https://a.example.org/?t={id_token}"] {
        let encoded: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let answer = signs_out(&mut site.signed_in(), &format!("/oauth2/sign_out?rd={encoded}"));
        assert_eq!(answer.headers()["location"], target.replace("{id_token}", ""));
    }
    let answer = signs_out(&mut site.signed_in(), "/oauth2/sign_out?rd=https%3A%2F%2Fevil.example%2F");
    assert_eq!(location(&answer).0, END);
}

#[test]
fn sign_out_without_id_token_names_the_client() {
    // The session has no ID token, or there is no session.
    let minimal = site(json!({ "session_cookie_minimal": true }));
    for mut browser in [minimal.signed_in(), minimal.browser()] {
        let (endpoint, query) = location(&signs_out(&mut browser, "/oauth2/sign_out"));
        assert_eq!((endpoint.as_str(), names(&query)), (END, vec!["client_id"]));
    }
}

#[test]
fn query_of_endpoint_stays() {
    let site = site(json!({ "oidc_end_session_url": "https://other.example.com/end?p=B2C_1" }));
    let answer = signs_out(&mut site.signed_in(), "/oauth2/sign_out");
    let (endpoint, query) = location(&answer);
    assert_eq!(endpoint, "https://other.example.com/end");
    assert_eq!(names(&query), ["client_id", "id_token_hint", "p"]);
}

/// RP-Initiated Logout 1.0 section 2: without the hint, the provider asks the user.
#[test]
fn too_long_id_token_is_left_out() {
    let site = site(json!({ "post_logout_redirect_url": HERE }));
    let mut lengths = Vec::new();
    for groups in [1, 20, 400] {
        site.provider.set_claim("groups", json!(vec!["a group with a long name"; groups]));
        let answer = signs_out(&mut site.signed_in(), "/oauth2/sign_out");
        let (endpoint, query) = location(&answer);
        assert_eq!(endpoint, END);
        assert_eq!(query["post_logout_redirect_uri"], HERE);
        lengths.push(query.get("id_token_hint").map_or(0, String::len));
        assert!(answer.headers()["location"].len() <= 3000);
    }
    assert!(lengths[0] > 0 && lengths[1] > lengths[0], "{lengths:?}");
    assert_eq!(lengths[2], 0);
}

#[test]
fn unreachable_provider_leaves_link_to_try_again() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    browser.app = site.worker();
    site.provider.set_down(true);
    let answer = signs_out(&mut browser, "/oauth2/sign_out");
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (200, None));
    assert!(body(&answer).contains("href=\"/oauth2/sign_out\""));
    // The link works when the provider answers again. There is no ID token any more.
    site.provider.set_down(false);
    site.world.pass(super::MINUTE);
    let (endpoint, query) = location(&signs_out(&mut browser, "/oauth2/sign_out"));
    assert_eq!((endpoint.as_str(), names(&query)), (END, vec!["client_id"]));
}

#[test]
fn provider_without_endpoint_ends_at_page() {
    for endpoint in [json!(null), json!("http://login.example.com/end"), json!("/end")] {
        let site = site(json!({}));
        site.provider.set_metadata("end_session_endpoint", endpoint);
        let answer = signs_out(&mut site.signed_in(), "/oauth2/sign_out");
        assert_eq!(answer.status(), 200);
        assert!(!body(&answer).contains("/oauth2/sign_out"), "a link that cannot work");
    }
}

#[test]
fn unconfirmed_sign_out_does_not_go_on() {
    let site = site(in_redis());
    let mut browser = site.signed_in();
    site.world.fake_redis().set_down(true);
    let answer = browser.reply("/oauth2/sign_out", &[]);
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (503, None));
    assert!(browser.has_session());
}
