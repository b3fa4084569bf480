//! What the access log says, and what is counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::browser::Browser;
use super::{MINUTE, Site};
use crate::flow::io::Count;
use crate::flow::{Decision, Unavailable};

fn site(changes: Value) -> Site {
    let mut options = json!({ "access_log_fields": ["user", "state", "reason"] });
    options.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Site::new(options)
}

/// State, reason and user of a request; each is empty if the log has none.
fn noted(browser: &mut Browser, target: &str) -> [String; 3] {
    fields(browser.decision(target, &[]))
}

fn fields(decision: Decision) -> [String; 3] {
    assert!(!decision.log.is_empty(), "nothing is noted: {decision:?}");
    let fields: BTreeMap<_, _> = decision.log.into_iter().collect();
    ["state", "reason", "user"].map(|name| fields.get(name).cloned().unwrap_or_default())
}

#[test]
fn access_log_has_state_reason_and_user() {
    let site = site(json!({ "skip_auth_routes": ["^/public$"], "email_domains": ["example.com"] }));
    let mut browser = site.browser();
    assert_eq!(noted(&mut browser, "/"), ["anonymous", "no_cookie", ""]);
    assert_eq!(noted(&mut browser, "/public"), ["skipped", "no_cookie", ""]);
    browser.cookies.insert("_oauth2_proxy".to_owned(), "a|b|c".to_owned());
    assert_eq!(noted(&mut browser, "/"), ["anonymous", "bad_cookie", ""]);
    assert_eq!(noted(&mut browser, "/ping"), ["endpoint", "", ""]);
    assert_eq!(noted(&mut browser, "/oauth2/start"), ["endpoint", "", ""]);

    let mut browser = site.signed_in();
    let sub = crate::oidc::tests::vectors::claims()["sub"].as_str().unwrap().to_owned();
    for target in ["/", "/public", "/oauth2/userinfo", "/oauth2/auth?allowed_groups=staff"] {
        assert_eq!(noted(&mut browser, target), ["authenticated", "", &sub], "{target}");
    }
    assert_eq!(noted(&mut browser, "/oauth2/auth?allowed_groups=x"), ["authenticated", "forbidden", &sub]);
    assert_eq!(noted(&mut browser, "/oauth2/sign_out"), ["endpoint", "", ""]);
    assert_eq!(site.world.counted(Count::SignOut), 1);
}

#[test]
fn access_log_names_rejected_client() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.provider.set_token_answer(Some((401, json!({ "error": "invalid_client" }))));
    site.world.pass(61 * MINUTE);
    assert_eq!(noted(&mut browser, "/"), ["anonymous", "client_refused", ""]);
}

#[test]
fn access_log_has_outcome_of_callback() {
    let site = site(json!({ "prefer_email_to_user": true }));
    let mut browser = site.browser();
    let login = browser.start("/");
    site.provider.set_nonce(&login["nonce"]);
    let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
    let callback = format!("/oauth2/callback?code=code&state={state}");
    assert_eq!(noted(&mut browser, &callback), ["endpoint", "signed_in", "alice@example.com"]);
    assert_eq!(noted(&mut browser, &callback), ["endpoint", "signed_in_already", "alice@example.com"]);
    assert_eq!(noted(&mut site.browser(), &callback), ["endpoint", "no_login", ""]);
    assert_eq!(noted(&mut browser, "/oauth2/callback"), ["endpoint", "bad_callback", ""]);
    assert_eq!(noted(&mut browser, "/oauth2/callback?error=x"), ["endpoint", "provider_error", ""]);
    assert_eq!((site.world.counted(Count::SignIn), site.world.counted(Count::SignInFailed)), (1, 3));
}

/// Even without `access_log_fields`: `%RESPONSE_CODE_DETAILS%` is one of Envoy's own fields.
#[test]
fn every_reply_has_response_code_details() {
    let site = Site::new(json!({ "skip_provider_button": false }));
    let details = |browser: &mut Browser, target: &str, headers: &[(&str, &str)]| {
        let reply = browser.reply(target, headers);
        reply.details()
    };
    let mut browser = site.browser();
    let unasked = ("sec-purpose", "prefetch");
    for (target, headers, word) in [
        ("/", [].as_slice(), "no_cookie"),
        ("/", &[("content-type", "application/grpc")], "no_cookie"),
        ("/ping", &[], "ping"),
        ("/ready", &[], "ready"),
        ("/oauth2/start", &[], "start"),
        ("/oauth2/sign_in", &[], "sign_in"),
        ("/oauth2/sign_out", &[], "sign_out"),
        ("/oauth2/userinfo", &[], "no_cookie"),
        ("/oauth2/auth", &[], "no_cookie"),
        ("/oauth2/callback", &[], "bad_callback"),
        ("/oauth2/callback?error=x", &[], "provider_error"),
        ("/oauth2/start", &[(":method", "DELETE")], "method_not_allowed"),
        ("/oauth2/start", &[unasked], "unasked"),
    ] {
        assert_eq!(details(&mut browser, target, headers), word, "{target}");
    }
    browser.cookies.insert("_oauth2_proxy".to_owned(), "a|b|c".to_owned());
    assert_eq!(details(&mut browser, "/", &[]), "bad_cookie");

    let login = browser.start("/");
    site.provider.set_nonce(&login["nonce"]);
    let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
    assert_eq!(details(&mut browser, &format!("/oauth2/callback?code=code&state={state}"), &[]), "signed_in");
    assert_eq!(details(&mut browser, "/oauth2/userinfo", &[]), "userinfo");
    assert_eq!(details(&mut browser, "/oauth2/auth", &[]), "auth");
    assert_eq!(details(&mut browser, "/oauth2/auth?allowed_groups=x", &[]), "forbidden");
    site.world.pass(61 * MINUTE);
    site.provider.set_down(true);
    assert_eq!(details(&mut browser, "/", &[]), "provider_unavailable");
}

#[test]
fn access_log_tells_outage_from_ended_session() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    site.world.pass(61 * MINUTE);
    site.provider.set_down(true);
    assert_eq!(noted(&mut browser, "/"), ["unavailable", "provider_unavailable", ""]);
    assert_eq!(site.world.counted(Count::Unavailable(Unavailable::Provider)), 1);
    site.provider.set_down(false);
    site.world.pass(MINUTE);
    site.provider.set_token_answer(Some((400, json!({ "error": "invalid_grant" }))));
    assert_eq!(noted(&mut browser, "/"), ["anonymous", "refused", ""]);
}

#[test]
fn user_name_cannot_forge_log_lines_or_columns() {
    let site = site(json!({}));
    site.provider.set_claim("sub", json!("a\r\nb \"c\" 'd' \\e %f \u{e4}\u{202e}\u{85}\u{1b}[0m"));
    let [_, _, user] = noted(&mut site.signed_in(), "/");
    let expected = "a%0D%0Ab%20%22c%22%20%27d%27%20%5Ce%20%25f%20%C3%A4%E2%80%AE%C2%85%1B[0m";
    assert_eq!(user, expected);
    site.provider.set_claim("sub", json!("x".repeat(1000)));
    let [_, _, user] = noted(&mut site.signed_in(), "/");
    assert_eq!(user, "x".repeat(256));
}

#[test]
fn access_log_has_only_requested_fields() {
    let mut browser = site(json!({ "access_log_fields": "state" })).signed_in();
    assert_eq!(noted(&mut browser, "/"), ["authenticated", "", ""]);
    let mut browser = site(json!({ "access_log_fields": ["user"] })).signed_in();
    let [state, reason, user] = noted(&mut browser, "/");
    assert_eq!((state.as_str(), reason.as_str(), user.is_empty()), ("", "", false));
    let mut browser = Site::new(json!({})).signed_in();
    for target in ["/", "/ping", "/oauth2/userinfo", "/oauth2/callback"] {
        assert!(browser.decision(target, &[]).log.is_empty(), "{target}");
    }
}
