//! How the provider takes the client's secret: in one way alone, whatever its metadata says of all clients.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::provider::TakesClient;
use super::{MINUTE, Site};
use crate::flow::io::Count;

const SECRET: &str = "a+b/c%20:d=";

fn site(options: Value) -> Site {
    let mut all = json!({ "client_secret": SECRET, "cookie_refresh": "10m" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let site = Site::new(all);
    site.provider.set_metadata(
        "token_endpoint_auth_methods_supported",
        json!(["client_secret_basic", "client_secret_post"]),
    );
    site
}

fn posts(request: &Request<Vec<u8>>) -> bool {
    let mut form = form_urlencoded::parse(request.body());
    form.any(|(name, value)| name == "client_secret" && value == SECRET)
}

/// The user and the password of `Basic`, by RFC 7617 alone.
fn is_basic(request: &Request<Vec<u8>>) -> bool {
    let Some(header) = request.headers().get("authorization") else { return false };
    let credentials = STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
    credentials.splitn(2, |byte| *byte == b':').nth(1) == Some(SECRET.as_bytes())
}

fn codes(site: &Site) -> usize {
    site.provider.grants("authorization_code").len()
}

fn refreshes(site: &Site) -> usize {
    site.provider.grants("refresh_token").len()
}

#[test]
fn right_client_auth_method_is_found_with_same_code() {
    let ways: [(TakesClient, usize); 2] = [(posts, 2), (is_basic, 3)];
    for (takes_client, tries) in ways {
        let site = site(json!({}));
        site.provider.set_client(takes_client);
        let mut browser = site.signed_in();
        let grants = site.provider.grants("authorization_code");
        assert_eq!(grants.len(), tries);
        assert!(grants.iter().all(|body| body.contains("&code=code&")), "{grants:?}");
        site.signed_in();
        assert_eq!(codes(&site), tries + 1);
        site.world.pass(11 * MINUTE);
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert_eq!(refreshes(&site), 1);
    }
}

#[test]
fn refresh_finds_right_client_auth_method() {
    let ways: [TakesClient; 2] = [posts, is_basic];
    for takes_client in ways {
        let site = site(json!({}));
        let mut browser = site.signed_in();
        // Another worker, or the client is registered anew.
        site.provider.set_client(takes_client);
        site.world.pass(11 * MINUTE);
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        assert!(refreshes(&site) > 1);
        let (codes_before, refreshes_before) = (codes(&site), refreshes(&site));
        site.signed_in();
        site.world.pass(11 * MINUTE);
        browser.who();
        assert_eq!((codes(&site), refreshes(&site)), (codes_before + 1, refreshes_before + 1));
    }
}

#[test]
fn only_invalid_client_sends_a_code_twice() {
    for (status, body) in [
        (400, json!({ "error": "invalid_grant" })),
        (400, json!({ "error": "invalid_request" })),
        (400, json!({ "error": "unauthorized_client" })),
        (401, json!({ "error": "access_denied" })),
        (401, json!({})),
        (403, json!({})),
        (404, json!({})),
        (429, json!({ "error": "invalid_client" })),
        (500, json!({ "error": "invalid_client" })),
        (200, json!({})),
    ] {
        let site = site(json!({}));
        site.provider.set_token_answer(Some((status, body.clone())));
        assert_ne!(site.browser().sign_in(&site.provider, "/").status(), StatusCode::FOUND);
        assert_eq!(codes(&site), 1, "{status} {body}");
    }
    let site = site(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    site.provider.set_down(true);
    browser.come_back(&site.provider, &login);
    assert_eq!(codes(&site), 0);
    assert_eq!(site.provider.calls("/token"), 1);
}

#[test]
fn wrong_secret_tries_other_methods_once_a_minute() {
    let site = site(json!({}));
    site.provider.set_client(|_| false);
    for _ in 0..20 {
        let page = site.browser().sign_in(&site.provider, "/");
        assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
    }
    assert_eq!(codes(&site), 20 + 2);
    // Users who try all the time do not extend the pause.
    for _ in 0..11 {
        site.world.pass(MINUTE / 6);
        site.browser().sign_in(&site.provider, "/");
    }
    assert_eq!(codes(&site), 31 + 2 + 2);
    // The client is registered for the form.
    site.provider.set_client(posts);
    site.world.pass(2 * MINUTE);
    site.signed_in();
}

/// Any client can send a code that the provider rejects, for whatever reason.
#[test]
fn inconclusive_client_auth_method_is_tried_again_by_next_sign_in() {
    for (status, body) in [(400, json!({ "error": "invalid_request" })), (400, json!({})), (404, json!({}))] {
        let site = site(json!({}));
        site.provider.set_client(posts);
        site.provider.set_token_answer(Some((status, body.clone())));
        let page = site.browser().sign_in(&site.provider, "/");
        assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(site.world.counted(Count::ClientRefused), 1);
        site.provider.set_token_answer(None);
        assert_eq!(
            site.browser().sign_in(&site.provider, "/").status(),
            StatusCode::FOUND,
            "{status} {body}"
        );
        assert_eq!(codes(&site), 4);
    }
}

#[test]
fn token_endpoint_auth_method_option_is_obeyed() {
    let site = site(json!({ "token_endpoint_auth_method": "client_secret_post" }));
    site.provider.set_client(posts);
    site.signed_in();
    assert_eq!(codes(&site), 1);
    site.provider.set_client(|_| false);
    site.browser().sign_in(&site.provider, "/");
    assert_eq!(codes(&site), 2);

    let site = self::site(json!({ "token_endpoint_auth_method": "client_secret_basic" }));
    site.provider.set_client(is_basic);
    site.signed_in();
    assert!(site.provider.grants("authorization_code").iter().all(|body| !body.contains("client_secret")));
}

#[test]
fn code_used_up_by_refusal_fails_and_next_sign_in_works() {
    // The provider forgets a code when it refuses the client, and would have taken the form.
    let site = site(json!({}));
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    site.provider.set_client(posts);
    let page = site.browser().sign_in(&site.provider, "/");
    assert_eq!(page.status(), StatusCode::FORBIDDEN);
    site.provider.set_token_answer(None);
    site.signed_in();
    assert_eq!(codes(&site), 3);
}

#[test]
fn rejected_client_auth_method_reports_first_reason() {
    let site = site(json!({}));
    site.provider
        .set_client(|request| !is_basic(request) && !request.headers().contains_key("authorization"));
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_request" }))));
    let lines = super::log::lines_of(|| {
        let page = site.browser().sign_in(&site.provider, "/");
        assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
    });
    assert!(lines.iter().any(|line| line.contains("invalid_client")), "{lines:?}");
    assert_eq!(codes(&site), 2, "only invalid_client leads to the next method");
}
