//! The answer to a refresh grant: its tokens are always kept, and claims that it lacks stay as they were.

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::{MINUTE, Site, in_redis};
use crate::oidc::tests::vectors::{claims, encode, sign_claims};

/// A site with each store, which refreshes sessions after half an hour.
fn sites(options: &Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        let more = json!({ "cookie_refresh": "30m", "pass_access_token": true, "set_xauthrequest": true });
        for options in [&more, options] {
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        }
        Site::new(all)
    })
}

/// What the upstream is told: user, email address, name and groups.
fn person(browser: &mut Browser) -> [String; 4] {
    let forward = browser.forward("/", &[]);
    ["user", "email", "preferred-username", "groups"]
        .map(|name| sent(&forward, &format!("x-forwarded-{name}")))
}

/// Each of the next refreshes uses the token of the previous one.
fn assert_no_token_is_lost(site: &Site, browser: &mut Browser) {
    for _ in 0..2 {
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some());
    }
    for (number, grant) in site.provider.grants("refresh_token").iter().enumerate() {
        assert!(grant.contains(&format!("refresh_token=refresh-token-{}", number + 1)), "{number} {grant}");
    }
}

/// Invalid ID tokens.
fn broken() -> Vec<(&'static str, String)> {
    let with = |more: Value| {
        let mut all = claims();
        all["exp"] = json!(4_000_000_000_u32);
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let good = with(json!({}));
    let header = json!({ "alg": "ES256", "kid": "of tomorrow" });
    vec![
        ("key", format!("{}.{}.AAAA", encode(&header), encode(&good))),
        (
            "signature",
            format!("{}.{}.AAAA", encode(&json!({ "alg": "ES256", "kid": "p256" })), encode(&good)),
        ),
        ("audience", sign_claims(&with(json!({ "aud": "another" })))),
        ("issuer", sign_claims(&with(json!({ "iss": "https://other.example.com" })))),
        ("expired", sign_claims(&with(json!({ "exp": 1_000_000_000 })))),
        ("sub", sign_claims(&with(json!({ "sub": null })))),
        ("opaque", "opaque".to_owned()),
        ("no header can carry it", "\u{fc}".to_owned()),
    ]
}

#[test]
fn claims_missing_from_refreshed_id_token_are_kept() {
    for site in sites(&json!({ "additional_claims": ["dept"] })) {
        site.provider.set_claim("preferred_username", json!("ann"));
        site.provider.set_claim("dept", json!("sales"));
        let mut browser = site.signed_in();
        let before = person(&mut browser);
        assert_eq!(before, ["248289761001", "alice@example.com", "ann", "staff"]);
        for name in ["email", "email_verified", "preferred_username", "groups", "dept"] {
            site.provider.set_claim(name, Value::Null);
        }
        site.world.pass(31 * MINUTE);
        assert_eq!(person(&mut browser), before);
        let userinfo: Value = serde_json::from_slice(browser.reply("/oauth2/userinfo", &[]).body()).unwrap();
        assert_eq!(userinfo["additionalClaims"]["dept"], "sales");
        assert_no_token_is_lost(&site, &mut browser);
        // What is said is taken: a new value, and also that there is none.
        site.provider.set_claim("email", json!("ann@example.com"));
        site.provider.set_claim("preferred_username", json!(""));
        site.provider.set_claim("groups", json!([]));
        site.world.pass(31 * MINUTE);
        assert_eq!(person(&mut browser), ["248289761001", "ann@example.com", "", ""]);
    }
}

#[test]
fn id_token_claims_are_used_if_userinfo_fails() {
    for failure in [Some("/userinfo"), None] {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            site.provider.set_claim("email", Value::Null);
            site.provider.set_claim("groups", json!(["guests"]));
            site.provider.set_failing(failure);
            site.provider.set_userinfo(json!({ "email": "of@nobody.example.com" }));
            site.world.pass(31 * MINUTE);
            assert_eq!(person(&mut browser), ["248289761001", "alice@example.com", "", "guests"]);
            assert_no_token_is_lost(&site, &mut browser);
        }
    }
}

#[test]
fn invalid_id_token_keeps_new_refresh_token() {
    for (what, id_token) in broken() {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            let before = person(&mut browser);
            let tokens = json!({
                "access_token": "renewed", "refresh_token": "refresh-token-2", "expires_in": 3600, "id_token": id_token,
            });
            site.provider.set_token_answer(Some((200, tokens)));
            // Past its expiry: there is nothing else to go on with.
            site.world.pass(61 * MINUTE);
            assert_eq!(person(&mut browser), before, "{what}");
            assert_eq!(sent(&browser.forward("/", &[]), "x-forwarded-access-token"), "renewed", "{what}");
            site.provider.set_token_answer(None);
            assert_no_token_is_lost(&site, &mut browser);
        }
    }
}

#[test]
fn unreadable_lifetime_keeps_new_refresh_token() {
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        let tokens = json!({ "access_token": "a", "refresh_token": "refresh-token-2", "expires_in": "soon" });
        site.provider.set_token_answer(Some((200, tokens)));
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some());
        site.provider.set_token_answer(None);
        assert_no_token_is_lost(&site, &mut browser);
    }
}

#[test]
fn refresh_for_another_subject_ends_session() {
    let mallory = |header: Value| {
        let mut all = claims();
        all["sub"] = json!("mallory");
        all["exp"] = json!(4_000_000_000_u32);
        match header {
            Value::Null => sign_claims(&all),
            header => format!("{}.{}.AAAA", encode(&header), encode(&all)),
        }
    };
    // A signature that cannot be verified does not change that.
    for header in [Value::Null, json!({ "alg": "ES256", "kid": "of tomorrow" })] {
        for site in sites(&json!({})) {
            let mut browser = site.signed_in();
            let tokens =
                json!({ "access_token": "a", "refresh_token": "r", "id_token": mallory(header.clone()) });
            site.provider.set_token_answer(Some((200, tokens)));
            site.world.pass(31 * MINUTE);
            assert_eq!(browser.reply("/", &[]).status(), 302);
            assert!(!browser.has_session());
            assert!(site.world.fake_redis().keys().is_empty());
        }
    }
    // The access token must not be another user's either.
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        site.provider.set_claim("email", Value::Null);
        site.provider.set_userinfo(json!({ "sub": "mallory", "email": "mallory@example.com" }));
        site.world.pass(31 * MINUTE);
        assert_eq!(browser.reply("/", &[]).status(), 302);
        assert!(!browser.has_session());
    }
}

#[test]
fn numeric_subject_is_compared_at_refresh() {
    for (before, after, stays) in [(json!(42), json!(42), true), (json!(42), json!(43), false)] {
        for site in sites(&json!({})) {
            site.provider.set_claim("sub", before.clone());
            let mut browser = site.signed_in();
            site.provider.set_claim("sub", after.clone());
            site.world.pass(31 * MINUTE);
            assert_eq!(browser.who().is_some(), stays, "{after}");
        }
    }
}

#[test]
fn disallowed_account_keeps_session_until_expiry() {
    for site in sites(&json!({ "cookie_refresh": "20m" })) {
        let mut browser = site.signed_in();
        site.provider.set_claim("email_verified", json!(false));
        for _ in 0..2 {
            site.world.pass(21 * MINUTE);
            assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
        }
        let grants = site.provider.grants("refresh_token");
        assert!(grants[1].contains("refresh_token=refresh-token-2"), "{grants:?}");
        site.world.pass(21 * MINUTE);
        assert_eq!(browser.reply("/", &[]).status(), 302);
        assert!(!browser.has_session());
    }
}

#[test]
fn unavailable_keys_use_no_refresh_token() {
    for site in sites(&json!({})) {
        let mut browser = site.signed_in();
        browser.app = site.worker();
        site.provider.set_failing(Some("/jwks"));
        site.world.pass(61 * MINUTE);
        assert_eq!(browser.reply("/", &[]).status(), 503);
        assert!(site.provider.grants("refresh_token").is_empty());
        site.provider.set_failing(None);
        site.world.pass(MINUTE);
        assert!(browser.who().is_some());
    }
}

#[test]
fn removed_keycloak_roles_leave_session() {
    for site in sites(&json!({ "provider": "keycloak-oidc" })) {
        let roles = |roles: &[&str]| sign_claims(&json!({ "realm_access": { "roles": roles } }));
        site.provider.set_claim("groups", json!(["/people"]));
        site.provider.set_access_token(roles(&["staff", "boss"]));
        let mut browser = site.signed_in();
        assert_eq!(person(&mut browser)[3], "/people,role:staff,role:boss");
        site.provider.set_claim("groups", Value::Null);
        site.provider.set_access_token(roles(&["staff"]));
        site.world.pass(31 * MINUTE);
        assert_eq!(person(&mut browser)[3], "/people,role:staff");
        site.provider.set_access_token("opaque".to_owned());
        site.world.pass(31 * MINUTE);
        assert_eq!(person(&mut browser)[3], "/people,role:staff");
        assert_no_token_is_lost(&site, &mut browser);
    }
}

/// A site with each store. At the sign-in only userinfo said that the email address is verified. Before the next refresh
/// the user enters another address at the provider, and changes the group.
fn with_another_email(options: &Value) -> Vec<(Site, Browser)> {
    let sites = sites(options).into_iter().map(|site| {
        site.provider.set_claim("email_verified", Value::Null);
        site.provider.set_claim("upn", json!("alice@example.com"));
        site.provider.set_userinfo(json!({ "sub": claims()["sub"], "email_verified": true }));
        let browser = site.signed_in();
        for name in ["email", "upn"] {
            site.provider.set_claim(name, json!("boss@example.com"));
        }
        site.provider.set_claim("groups", json!(["guests"]));
        site.world.pass(31 * MINUTE);
        (site, browser)
    });
    sites.collect()
}

#[test]
fn new_email_without_verification_is_not_taken() {
    for (failure, userinfo) in [(Some("/userinfo"), json!({})), (None, json!({ "email_verified": false }))] {
        for options in [json!({}), json!({ "additional_claims": ["email"] })] {
            for (site, mut browser) in with_another_email(&options) {
                site.provider.set_failing(failure);
                site.provider.set_userinfo(userinfo.clone());
                assert_eq!(
                    person(&mut browser),
                    ["248289761001", "alice@example.com", "", "guests"],
                    "{options}"
                );
                let answer = browser.reply("/oauth2/userinfo", &[]);
                assert!(!String::from_utf8_lossy(answer.body()).contains("boss"), "{options}");
                assert_no_token_is_lost(&site, &mut browser);
                // Now userinfo says that it is verified.
                site.provider.set_failing(None);
                site.provider.set_userinfo(json!({ "sub": claims()["sub"], "email_verified": true }));
                site.world.pass(31 * MINUTE);
                assert_eq!(browser.who().as_deref(), Some("boss@example.com"), "{options}");
            }
        }
    }
}

#[test]
fn new_email_without_need_of_userinfo_is_taken() {
    // `email_verified` says nothing about another claim.
    for options in [
        json!({ "insecure_oidc_allow_unverified_email": true }),
        json!({ "oidc_email_claim": "upn", "additional_claims": ["x"] }),
    ] {
        for (site, mut browser) in with_another_email(&options) {
            site.provider.set_failing(Some("/userinfo"));
            assert_eq!(browser.who().as_deref(), Some("boss@example.com"), "{options}");
        }
    }
    // The ID token says that it is verified, but lacks another claim.
    for (site, mut browser) in with_another_email(&json!({})) {
        site.provider.set_failing(Some("/userinfo"));
        site.provider.set_claim("email_verified", json!(true));
        site.provider.set_claim("groups", Value::Null);
        assert_eq!(person(&mut browser), ["248289761001", "boss@example.com", "", "staff"]);
    }
}

#[test]
fn disallowed_account_loses_session_without_expiry() {
    for (options, expires_in) in
        [(json!({}), Value::Null), (json!({ "enforce_expires_on": false }), json!(3600))]
    {
        for site in sites(&options) {
            site.provider.set_expires_in(expires_in.clone());
            let mut browser = site.signed_in();
            site.world.pass(31 * MINUTE);
            assert!(browser.who().is_some(), "{options}");
            site.provider.set_claim("email_verified", json!(false));
            site.world.pass(31 * MINUTE);
            assert_eq!(browser.reply("/", &[]).status(), 302, "{options}");
            assert!(!browser.has_session(), "{options}");
            assert!(site.world.fake_redis().keys().is_empty(), "{options}");
        }
    }
}
