//! The provider's metadata and keys: redirects, outages and misconfiguration.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::browser::Browser;
use super::log::lines_of;
use super::{MINUTE, Site};
use crate::flow::Reply;
use crate::flow::io::Count;

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn body(reply: &Reply) -> String {
    String::from_utf8_lossy(reply.body()).into_owned()
}

fn start(site: &Site) -> Reply {
    site.browser().reply("/oauth2/start?rd=%2Fpage", &[])
}

/// The page of an outage, which may be over a moment later.
fn assert_outage(answer: &Reply) {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(body(answer).contains("wait a few seconds"));
}

/// The page about something that the operator has to set.
fn assert_mistake(answer: &Reply) {
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(!answer.headers().contains_key("retry-after"));
    assert!(!body(answer).contains("often passes"));
    assert!(body(answer).contains("operator has to fix this"), "{}", body(answer));
}

#[test]
fn redirects_of_provider_documents_are_followed() {
    for status in [301, 302, 303, 307, 308] {
        let site = Site::new(json!({}));
        site.provider.set_instead(DISCOVERY, status, "/moved/.well-known/openid-configuration", "");
        site.provider.set_instead("/jwks", status, "https://keys.example.com/moved/jwks?v=1#part", "");
        assert_eq!(site.browser().sign_in(&site.provider, "/").status(), StatusCode::FOUND, "{status}");
        let urls = site.provider.urls();
        assert!(urls.contains(&"https://keys.example.com/moved/jwks?v=1".to_owned()), "{urls:?}");
    }
}

#[test]
fn redirect_of_document_from_https_to_http_is_refused() {
    for (path, location) in
        [(DISCOVERY, "http://login.example.com/moved/x"), ("/jwks", "http://10.0.0.1/moved/jwks")]
    {
        let site = Site::new(json!({}));
        site.provider.set_instead(path, 302, location, "");
        let lines = lines_of(|| {
            let mut browser = site.browser();
            let answer = browser.reply("/oauth2/start", &[]);
            if answer.status() == StatusCode::FOUND {
                assert_mistake_of_callback(&site);
            } else {
                assert_mistake(&answer);
            }
        });
        assert!(site.provider.urls().iter().all(|url| url.starts_with("https://login.example.com/")));
        assert!(lines.iter().any(|line| line.contains(location) && line.contains("302")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("insecure_oidc_allow_http_endpoints")), "{lines:?}");
    }
    let site = Site::new(json!({ "insecure_oidc_allow_http_endpoints": true }));
    site.provider.set_instead("/jwks", 302, "http://login.example.com/moved/jwks", "");
    site.signed_in();
}

fn assert_mistake_of_callback(site: &Site) {
    let answer = site.browser().sign_in(&site.provider, "/page");
    assert_mistake(&answer);
    assert!(body(&answer).contains("/oauth2/start?rd=%2Fpage"));
}

#[test]
fn endless_redirects_of_documents_fail() {
    let site = Site::new(json!({}));
    site.provider.set_instead(DISCOVERY, 302, "/.well-known/openid-configuration?token=secret", "");
    let lines = lines_of(|| assert_mistake(&start(&site)));
    assert_eq!(site.provider.calls(DISCOVERY), 6);
    assert!(lines.iter().any(|line| line.contains("more than 5 redirects")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:?}");
}

#[test]
fn all_redirects_share_one_request_timeout() {
    let site = Site::new(json!({}));
    site.provider.set_instead(DISCOVERY, 302, DISCOVERY, "");
    site.provider.set_delay(Duration::from_secs(2));
    assert_outage(&start(&site));
    // 5 s by default.
    assert_eq!(site.provider.calls(DISCOVERY), 3);
}

/// Envoy's timeouts are whole milliseconds, and 0 means no timeout.
#[test]
fn used_up_timeout_sends_no_request() {
    // Two answers take the 5 s, or all but half a millisecond of them.
    for delay in [2_500_000, 2_499_750] {
        let site = Site::new(json!({}));
        site.provider.set_instead(DISCOVERY, 302, DISCOVERY, "");
        site.provider.set_delay(Duration::from_micros(delay));
        let lines = lines_of(|| assert_outage(&start(&site)));
        assert_eq!(site.provider.calls(DISCOVERY), 2, "{delay}");
        assert!(lines.iter().any(|line| line.starts_with("discovery: no answer from ")), "{lines:?}");
    }
}

#[test]
fn log_hides_secrets_of_redirect_targets() {
    for (location, says) in [
        ("https://user:secret@keys.example.com/jwks", "https://keys.example.com/jwks"),
        ("//secret@keys.example.com/a@b?secret", "//keys.example.com/a@b"),
        ("https://user:secret@secret@keys.example.com#secret", "https://keys.example.com"),
        (r"https:\\user:secret@keys.example.com\x", "keys.example.com"),
        ("ftp://user:secret@keys.example.com", "ftp://keys.example.com"),
        ("http://keys.example.com/@jwks", "http://keys.example.com/@jwks"),
    ] {
        let site = Site::new(json!({}));
        site.provider.set_instead(DISCOVERY, 302, location, "");
        let lines = lines_of(|| assert_mistake(&start(&site)));
        assert!(lines.iter().any(|line| line.contains(says)), "{location} {lines:?}");
        assert!(lines.iter().all(|line| !line.contains("secret")), "{location} {lines:?}");
    }
}

#[test]
fn token_and_userinfo_requests_follow_no_redirect() {
    let site = Site::new(json!({ "backend_logout_url": "https://login.example.com/logout?hint={id_token}" }));
    for path in ["/token", "/userinfo", "/logout"] {
        site.provider.set_instead(path, 307, "https://evil.example.com/", "");
    }
    assert_eq!(site.browser().sign_in(&site.provider, "/").status(), StatusCode::BAD_GATEWAY);
    site.provider.set_in_order();
    let mut browser = site.signed_in();
    site.provider.set_claim("groups", Value::Null);
    site.provider.set_instead("/userinfo", 302, "https://evil.example.com/", "");
    assert_mistake(&site.browser().sign_in(&site.provider, "/"));
    site.provider.set_instead("/logout", 302, "https://evil.example.com/", "");
    browser.reply("/oauth2/sign_out", &[]);
    site.world.drain();
    assert!(site.provider.urls().iter().all(|url| !url.contains("evil")), "{:?}", site.provider.urls());
}

#[test]
fn discovery_outage_is_503_and_unusable_discovery_is_502() {
    for (status, text) in [(500, ""), (502, "<html>"), (503, ""), (429, ""), (408, "")] {
        let site = Site::new(json!({}));
        site.provider.set_instead(DISCOVERY, status, "", text);
        assert_outage(&start(&site));
        assert_eq!(site.world.counted(Count::Misconfigured), 0);
    }
    let another = r#"{"issuer":"https://another.example.com"}"#;
    for (status, text, says) in [
        (404, "", "the provider answered 404; see oidc_issuer_url"),
        (401, "", "the provider answered 401; see oidc_issuer_url"),
        (302, "", "the provider answered 302; see oidc_issuer_url"),
        (200, "<html>", "see oidc_issuer_url"),
        (200, another, "which is not oidc_issuer_url"),
    ] {
        let site = Site::new(json!({}));
        site.provider.set_instead(DISCOVERY, status, "", text);
        let lines = lines_of(|| {
            assert_mistake(&start(&site));
            // The same for a browser that comes while the provider is not asked again.
            assert_mistake(&start(&site));
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("discovery: ") && lines[0].contains(says), "{lines:?}");
        assert_eq!(site.world.counted(Count::Misconfigured), 1);
        // It works again as soon as the operator has acted.
        site.provider.set_in_order();
        site.world.pass(MINUTE);
        assert_eq!(start(&site).status(), StatusCode::FOUND);
    }
}

/// A sign-in whose code was redeemed, when something else was missing.
fn come_back(site: &Site, browser: &mut Browser) -> Reply {
    let login = browser.start("/page");
    browser.come_back(&site.provider, &login)
}

#[test]
fn used_code_is_not_offered_again() {
    for (path, groups) in [("/jwks", json!(["staff"])), ("/userinfo", Value::Null)] {
        for (status, text, is_outage) in [
            (500, "", true),
            (429, "", true),
            (401, "", false),
            (404, "", false),
            (200, "<html>", false),
            (200, r#"{"keys":[]}"#, false),
        ] {
            let site = Site::new(json!({}));
            site.provider.set_claim("groups", groups.clone());
            site.provider.set_instead(path, status, "", text);
            let mut browser = site.browser();
            let answer = come_back(&site, &mut browser);
            if status == 200 && path == "/userinfo" && text.starts_with('{') {
                // It is userinfo, and says nothing about whom.
                assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
            } else if is_outage {
                assert_outage(&answer);
            } else {
                assert_mistake(&answer);
                assert_eq!(site.world.counted(Count::Misconfigured), 1, "{path} {status}");
            }
            assert!(body(&answer).contains("href=\"/oauth2/start?rd=%2Fpage\""), "{}", body(&answer));
            assert!(browser.cookies.is_empty(), "that sign-in is over: {:?}", browser.cookies);
            // The page's link works as soon as the outage is over.
            site.provider.set_in_order();
            site.world.pass(MINUTE);
            assert_eq!(browser.sign_in(&site.provider, "/page").status(), StatusCode::FOUND);
        }
    }
}

#[test]
fn unused_code_is_offered_again() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/page");
    site.provider.set_instead("/token", 503, "", "");
    let answer = browser.come_back(&site.provider, &login);
    assert_outage(&answer);
    assert!(body(&answer).contains("href=\"\""));
    site.provider.set_in_order();
    assert_eq!(browser.come_back(&site.provider, &login).status(), StatusCode::FOUND);
}

#[test]
fn access_log_has_reason_of_failed_sign_in() {
    let reason = |site: &Site, browser: &mut Browser, target: &str| {
        let decision = browser.decision(target, &[]);
        assert!(!decision.log.is_empty(), "{decision:?} {}", site.provider.urls().len());
        decision.log.into_iter().find(|(name, _)| *name == "reason").map(|(_, value)| value)
    };
    let options = json!({ "access_log_fields": ["reason"] });
    for (status, word) in [(404, "provider_misconfigured"), (503, "provider_unavailable")] {
        let site = Site::new(options.clone());
        site.provider.set_instead(DISCOVERY, status, "", "");
        let mut browser = site.browser();
        assert_eq!(reason(&site, &mut browser, "/oauth2/start").as_deref(), Some(word));
        let site = Site::new(options.clone());
        site.provider.set_instead("/jwks", status, "", "");
        let mut browser = site.browser();
        let login = browser.start("/");
        let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
        let target = format!("/oauth2/callback?code=code&state={state}");
        assert_eq!(reason(&site, &mut browser, &target).as_deref(), Some(word));
    }
    let site = Site::new(options);
    site.provider.set_instead("/token", 401, "", r#"{"error":"invalid_client"}"#);
    let mut browser = site.browser();
    let login = browser.start("/");
    let state: String = form_urlencoded::byte_serialize(login["state"].as_bytes()).collect();
    let answer = reason(&site, &mut browser, &format!("/oauth2/callback?code=code&state={state}"));
    assert_eq!(answer.as_deref(), Some("client_refused"));
    assert_eq!(site.world.counted(Count::ClientRefused), 1);
    assert_eq!(site.world.counted(Count::Misconfigured), 0);
}

#[test]
fn unusable_keys_are_misconfiguration_for_bearer_tokens() {
    let site = Site::new(json!({ "skip_jwt_bearer_tokens": true }));
    let authorization = format!("Bearer {}", site.provider.token(json!({})));
    let headers = [("authorization", authorization.as_str())];
    site.provider.set_instead("/jwks", 404, "", "");
    assert_mistake(&site.browser().reply("/", &headers));
    let program = [headers[0], ("accept", "application/json")];
    assert_eq!(site.browser().reply("/", &program).status(), StatusCode::SERVICE_UNAVAILABLE);
    site.provider.set_in_order();
    site.world.pass(MINUTE);
    site.browser().forward("/", &headers);
}
