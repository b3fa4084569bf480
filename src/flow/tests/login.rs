//! Sign-in, from the first redirect to the session.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::sent;
use super::{MINUTE, Site};
use crate::flow::{Io, Reply};
use crate::oidc::tests::vectors::CLIENT;
use crate::time::Timestamp;

#[test]
fn sign_in_leads_back_to_requested_page() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let answer = browser.reply("/page?x=1", &[]);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"/oauth2/start?rd=%2Fpage%3Fx%3D1".parse().unwrap())
    );

    let login = browser.start("/page?x=1");
    assert_eq!(login["client_id"], CLIENT);
    assert_eq!(login["response_type"], "code");
    assert_eq!(login["redirect_uri"], "https://app.example.com/oauth2/callback");
    assert_eq!(login["code_challenge_method"], "S256");
    assert_eq!(login["scope"], "openid email profile");

    let answer = browser.come_back(&site.provider, &login);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (302, &"/page?x=1".parse().unwrap())
    );
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["_oauth2_proxy"], "the CSRF cookies are gone");

    let forward = browser.forward("/page?x=1", &[]);
    assert_eq!(sent(&forward, "x-forwarded-email"), "alice@example.com");
    assert_eq!(sent(&forward, "x-forwarded-groups"), "staff");
}

/// The address of the page goes through two URLs of ours and one of the provider.
#[test]
fn too_long_target_loses_its_query() {
    let site = Site::new(json!({}));
    let query = "x".repeat(60_000);
    let location = |answer: Reply| answer.headers()["location"].to_str().unwrap().to_owned();
    let mut browser = site.browser();
    assert_eq!(location(browser.reply(&format!("/page?{query}"), &[])), "/oauth2/start?rd=%2Fpage");
    assert_eq!(location(browser.reply(&format!("/{query}"), &[])), "/oauth2/start?rd=%2F");

    let login = browser.start(&format!("/page?{query}"));
    assert!(login["state"].ends_with(":/page"), "{:.100}", login["state"]);
    assert_eq!(location(browser.come_back(&site.provider, &login)), "/page");
    // A forged `state`.
    let login = browser.start("/");
    let state = login["state"].replace(":/", &format!(":/page?{query}"));
    let answer = browser.come_back(
        &site.provider,
        &[("state".into(), state), ("nonce".into(), login["nonce"].clone())].into(),
    );
    assert_eq!(location(answer), "/page");

    let asked = [("x-auth-request-redirect", format!("/page?{query}"))];
    let asked = asked.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(location(browser.reply("/oauth2/sign_out", &asked)), "/page");
    assert_eq!(location(browser.reply(&format!("/oauth2/sign_out?rd=/page?{query}"), &[])), "/page");
    let page = Site::new(json!({ "skip_provider_button": false }));
    let page = page.browser().reply(&format!("/oauth2/sign_in?rd=/page?{query}"), &[]).body().clone();
    assert!(String::from_utf8(page).unwrap().contains("/oauth2/start?rd=%2Fpage\""));
}

#[test]
fn code_is_redeemed_with_verifier_of_its_challenge() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    browser.come_back(&site.provider, &login);
    let [grant] = &site.provider.grants("authorization_code")[..] else { panic!("not one grant") };
    let form: std::collections::BTreeMap<String, String> =
        form_urlencoded::parse(grant.as_bytes()).into_owned().collect();
    assert_eq!(crate::oidc::code_challenge_s256(&form["code_verifier"]), login["code_challenge"]);
    assert_eq!(form["redirect_uri"], login["redirect_uri"]);
}

#[test]
fn two_tabs_that_sign_in_at_once_both_succeed() {
    for per_request in [false, true] {
        let site = Site::new(json!({ "cookie_csrf_per_request": per_request }));
        let mut browser = site.browser();
        let (first, second) = (browser.start("/first"), browser.start("/second"));
        let answer = browser.come_back(&site.provider, &first);
        assert_eq!(answer.headers()["location"], "/first");
        let answer = browser.come_back(&site.provider, &second);
        assert_eq!(answer.headers()["location"], "/second");
    }
}

#[test]
fn unfinished_sign_ins_leave_a_bounded_number_of_cookies() {
    let site = Site::new(json!({ "cookie_csrf_per_request": true, "cookie_csrf_per_request_limit": 3 }));
    let mut browser = site.browser();
    let mut last = browser.start("/0");
    for number in 1..20 {
        site.world.pass(Duration::from_secs(1));
        last = browser.start(&format!("/{number}"));
        assert!(browser.cookies.len() <= 3, "{:?}", browser.cookies.keys());
    }
    assert_eq!(browser.come_back(&site.provider, &last).headers()["location"], "/19");
}

/// What looks like the cookie of a login that begins just now.
fn forged(site: &Site, number: usize) -> String {
    format!("{number:0>8}|{}|{}=", site.world.now().secs() + 1, "a".repeat(43))
}

#[test]
fn only_a_few_of_many_csrf_cookies_are_checked() {
    let site = Site::new(json!({ "cookie_csrf_per_request": true }));
    let answer = |others: usize| {
        let mut browser = site.browser();
        let login = browser.start("/there");
        let (name, good) = browser.cookies.pop_first().unwrap();
        let cookies: Vec<String> = (0..others).map(|number| forged(&site, number)).chain([good]).collect();
        browser.cookies.insert(name.clone(), cookies.join(&format!("; {name}=")));
        browser.come_back(&site.provider, &login).status().as_u16()
    };
    assert_eq!((answer(7), answer(8)), (302, 403));
    // What is longer than any of ours takes nothing from them.
    let mut browser = site.browser();
    let login = browser.start("/there");
    let (name, good) = browser.cookies.pop_first().unwrap();
    let long = format!("{}{}", "a".repeat(1000), forged(&site, 0));
    let cookies = [vec![long; 20], vec![good]].concat();
    browser.cookies.insert(name.clone(), cookies.join(&format!("; {name}=")));
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
}

/// Another app of the domain can set cookies of that name, but does not know the name of a login's own.
#[test]
fn invalid_cookies_of_shared_name_do_not_hide_a_sign_in() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/there");
    let others: Vec<String> = (0..100).map(|number| forged(&site, number)).collect();
    browser.cookies.insert("_oauth2_proxy_csrf".to_owned(), others.join("; _oauth2_proxy_csrf="));
    assert_eq!(browser.come_back(&site.provider, &login).headers()["location"], "/there");
}

#[test]
fn unsigned_csrf_cookies_are_cleared_before_signed_ones() {
    let site = Site::new(json!({ "cookie_csrf_per_request": true, "cookie_csrf_per_request_limit": 3 }));
    let mut browser = site.browser();
    let login = browser.start("/there");
    for number in 0..9 {
        browser.cookies.insert(format!("_oauth2_proxy_{number:08}_csrf"), forged(&site, number));
    }
    browser.start("/elsewhere");
    assert_eq!(browser.cookies.len(), 3);
    assert_eq!(browser.come_back(&site.provider, &login).headers()["location"], "/there");
}

#[test]
fn thousands_of_csrf_cookies_are_cleared_in_steps() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    browser.cookies =
        (0..3000).map(|number| (format!("_oauth2_proxy_{number:08}_csrf"), String::new())).collect();
    let answer = browser.reply("/oauth2/start", &[]);
    assert_eq!(answer.status(), 302);
    // proxy-wasm-cpp-host gives an answer with more than 1024 headers none at all.
    assert!(answer.headers().len() <= 100, "{}", answer.headers().len());
    assert!(browser.cookies.len() < 3000);
}

#[test]
fn thousands_of_chunk_cookies_do_not_block_sign_in_or_out() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    browser.cookies = (0..3900).map(|number| (format!("_oauth2_proxy_{number}"), "x".to_owned())).collect();
    let login = browser.start("/");
    let answer = browser.come_back(&site.provider, &login);
    assert_eq!(answer.status(), 302);
    assert!(answer.headers().len() <= 100, "{}", answer.headers().len());
    browser.forward("/", &[]);
    let answer = browser.reply("/oauth2/sign_out", &[]);
    assert!(answer.headers().len() <= 100, "{}", answer.headers().len());
    assert!(!browser.cookies.contains_key("_oauth2_proxy"));
    assert!(browser.cookies.len() < 3900);
}

#[test]
fn clock_set_back_does_not_block_sign_in() {
    let site = Site::new(json!({}));
    site.provider.set_down(true);
    assert_eq!(site.browser().reply("/oauth2/start", &[]).status(), 503);
    site.provider.set_down(false);
    site.world.set_now(Timestamp::from_secs(site.world.now().secs() - 3600));
    assert_eq!(site.browser().reply("/oauth2/start", &[]).status(), 302);
}

#[test]
fn callback_cannot_be_replayed() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    let cookies = browser.cookies.clone();
    assert_eq!(browser.come_back(&site.provider, &login).status(), 200, "it is signed in already");
    assert_eq!(browser.cookies, cookies);
    browser.cookies.clear();
    assert_eq!(browser.come_back(&site.provider, &login).status(), 403);
    assert_eq!(site.provider.grants("authorization_code").len(), 1);
}

#[test]
fn callback_of_another_browser_is_refused() {
    let site = Site::new(json!({}));
    let mut attacker = site.browser();
    let login = attacker.start("/");
    let mut victim = site.browser();
    victim.start("/");
    assert_eq!(victim.come_back(&site.provider, &login).status(), 403);
    assert!(!victim.has_session());
    assert!(site.provider.grants("authorization_code").is_empty(), "the code was not even tried");
}

#[test]
fn sign_in_that_took_too_long_is_refused() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    site.world.pass(16 * MINUTE);
    assert_eq!(browser.come_back(&site.provider, &login).status(), 403);
}

#[test]
fn malformed_callback_is_an_error_page_with_link_back() {
    let site = Site::new(json!({}));
    for query in
        ["", "?code=x", "?state=x&code=x", "?state=a:b", "?error=access_denied", "?state=%ff&code=%ff"]
    {
        let mut browser = site.browser();
        browser.start("/");
        let answer = browser.reply(&format!("/oauth2/callback{query}"), &[]);
        assert_eq!(answer.status(), 403, "{query}");
        let page = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(page.contains("/oauth2/start?rd="), "{query}");
        assert!(!browser.has_session());
    }
}

#[test]
fn invalid_claims_of_id_token_fail_sign_in() {
    let cases: [(&str, Value, u16); 7] = [
        ("iss", json!("https://evil.example.com"), 502),
        ("aud", json!("another-client"), 502),
        ("azp", json!("another-client"), 502),
        ("exp", json!(1), 302), // the provider of the tests sets it anew
        ("email", json!(null), 403),
        ("email", json!(""), 403),
        ("email_verified", json!(false), 403),
    ];
    for (claim, value, status) in cases {
        let site = Site::new(json!({}));
        site.provider.set_claim(claim, value.clone());
        let answer = site.browser().sign_in(&site.provider, "/");
        assert_eq!(answer.status(), status, "{claim} = {value}");
    }
}

#[test]
fn id_token_with_other_nonce_is_refused() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let mut login = browser.start("/");
    login.insert("nonce".to_owned(), "another".to_owned());
    assert_eq!(browser.come_back(&site.provider, &login).status(), 502);
    assert!(!browser.has_session());
}

#[test]
fn authorization_is_checked_at_sign_in_and_every_request() {
    for options in [json!({ "email_domains": ["example.org"] }), json!({ "allowed_groups": ["admins"] })] {
        let site = Site::new(options);
        let mut browser = site.browser();
        assert_eq!(browser.sign_in(&site.provider, "/").status(), 403);
        assert!(!browser.has_session());
        // A session that another proxy let in, of the same secret and with other rules.
        let open = Site::new(json!({}));
        browser.cookies = open.signed_in().cookies;
        let before = browser.cookies.clone();
        assert_eq!(browser.reply("/", &[]).status(), 403);
        assert_eq!(browser.cookies, before);
    }
}

#[test]
fn userinfo_completes_the_id_token() {
    let site = Site::new(json!({}));
    site.provider.set_claim("email", json!(null));
    let sub = crate::oidc::tests::vectors::claims()["sub"].clone();
    site.provider.set_userinfo(json!({ "sub": sub, "email": "bob@example.com" }));
    let mut browser = site.signed_in();
    assert_eq!(browser.who().as_deref(), Some("bob@example.com"));
    // Userinfo of another user, or without a subject, is refused (OpenID Connect Core 5.3.2).
    for userinfo in [
        json!({ "sub": "mallory", "email": "bob@example.com" }),
        json!({ "sub": null, "email": "bob@example.com" }),
        json!({ "email": "bob@example.com" }),
    ] {
        site.provider.set_userinfo(userinfo.clone());
        assert_eq!(site.browser().sign_in(&site.provider, "/").status(), 502, "{userinfo}");
    }
}

#[test]
fn http_endpoint_of_https_issuer_is_not_used() {
    for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        let plain = json!("http://login.example.com/token");
        let site = Site::new(json!({}));
        site.provider.set_metadata(endpoint, plain.clone());
        assert_eq!(site.browser().reply("/oauth2/start", &[]).status(), 502, "{endpoint}");
        let site = Site::new(json!({ "insecure_oidc_allow_http_endpoints": true }));
        site.provider.set_metadata(endpoint, plain);
        assert_eq!(site.browser().reply("/oauth2/start", &[]).status(), 302, "{endpoint}");
    }
}

#[test]
fn sign_in_works_once_provider_is_back() {
    let site = Site::new(json!({}));
    site.provider.set_down(true);
    let mut browser = site.browser();
    let answer = browser.reply("/oauth2/start", &[]);
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    site.provider.set_down(false);
    site.world.pass(Duration::from_secs(2));
    assert_eq!(browser.sign_in(&site.provider, "/").status(), 302);
}

#[test]
fn callback_during_provider_outage_can_be_repeated() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    let login = browser.start("/");
    site.provider.set_down(true);
    let answer = browser.come_back(&site.provider, &login);
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    site.provider.set_down(false);
    site.world.pass(Duration::from_secs(2));
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
}

#[test]
fn concurrent_requests_share_one_metadata_fetch() {
    let site = Site::new(json!({}));
    site.provider.set_delay(Duration::from_millis(300));
    let starts = (0..20).map(|_| {
        let head = site.browser().head("/oauth2/start", &[]);
        match site.app.handle(head) {
            crate::flow::Ready::Later(future) => future,
            crate::flow::Ready::Now(_) => panic!("nothing to wait for"),
        }
    });
    let answers = site.world.run(starts.collect());
    assert_eq!(answers.len(), 20);
    assert_eq!(site.provider.calls("/.well-known/openid-configuration"), 1);
}

#[test]
fn sign_in_without_random_numbers_is_503() {
    let site = Site::new(json!({}));
    let mut browser = site.browser();
    site.world.without_random();
    assert_eq!(browser.reply("/oauth2/start", &[]).status(), 503);
    assert!(browser.cookies.is_empty());
}

#[test]
fn target_on_another_host_is_not_followed() {
    let site = Site::new(json!({ "whitelist_domains": [".example.org"] }));
    for (target, location) in [
        ("https://evil.com/", "/"),
        ("//evil.com", "/"),
        ("https://a.example.org/x", "https://a.example.org/x"),
    ] {
        assert_eq!(site.browser().sign_in(&site.provider, target).headers()["location"], location);
    }
}

#[test]
fn base64_encoded_state_is_read_back() {
    let site = Site::new(json!({ "encode_state": true }));
    let mut browser = site.browser();
    let login = browser.start("/page");
    assert!(!login["state"].contains(':'));
    assert_eq!(browser.come_back(&site.provider, &login).headers()["location"], "/page");
}
