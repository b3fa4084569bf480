//! What a refresh grant gives: its tokens are kept in any case, and what is not said of the person stays as it was.

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::{MINUTE, Site, in_redis};
use crate::oidc::tests::vectors::{claims, encode, sign_claims};

/// A site with each store, whose sessions are renewed after half an hour.
fn sites(options: &Value) -> [Site; 2] {
    [json!({}), in_redis()].map(|mut all| {
        let more = json!({ "cookie_refresh": "30m", "pass_access_token": true, "set_xauthrequest": true });
        for options in [&more, options] {
            all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        }
        Site::new(all)
    })
}

/// What the upstream gets to know: user, email address, name and groups.
fn person(browser: &mut Browser) -> [String; 4] {
    let forward = browser.forward("/", &[]);
    ["user", "email", "preferred-username", "groups"]
        .map(|name| sent(&forward, &format!("x-forwarded-{name}")))
}

/// Each of the next refreshes uses the token of the one before.
fn assert_no_token_is_lost(site: &Site, browser: &mut Browser) {
    for _ in 0..2 {
        site.world.pass(31 * MINUTE);
        assert!(browser.who().is_some());
    }
    for (number, grant) in site.provider.grants("refresh_token").iter().enumerate() {
        assert!(grant.contains(&format!("refresh_token=refresh-token-{}", number + 1)), "{number} {grant}");
    }
}

/// ID tokens that say nothing that holds.
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
fn what_a_refreshed_id_token_does_not_say_stays_as_it_was() {
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
fn what_is_said_is_taken_also_if_userinfo_does_not_say_the_rest() {
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
fn an_id_token_that_does_not_hold_loses_no_refresh_token() {
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
fn a_lifetime_that_cannot_be_read_loses_no_refresh_token() {
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
fn a_refresh_token_that_turns_out_to_be_of_another_person_ends_the_session() {
    let mallory = |header: Value| {
        let mut all = claims();
        all["sub"] = json!("mallory");
        all["exp"] = json!(4_000_000_000_u32);
        match header {
            Value::Null => sign_claims(&all),
            header => format!("{}.{}.AAAA", encode(&header), encode(&all)),
        }
    };
    // That its signature cannot be checked makes it no better.
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
    // Nor may the access token be of another person.
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
fn a_subject_that_is_a_number_is_compared_too() {
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
fn an_account_that_may_not_sign_in_any_more_has_its_session_until_that_expires() {
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
fn keys_that_cannot_be_fetched_use_up_no_refresh_token() {
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
fn roles_of_keycloak_that_are_not_there_any_more_are_gone() {
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

/// A site with each store, at whose sign-in userinfo alone said that the email address is verified. By the next refresh
/// the person has entered another one at the provider, and is in another group.
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
fn an_email_address_is_not_taken_if_userinfo_cannot_say_that_it_is_verified() {
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
                // Now it is said.
                site.provider.set_failing(None);
                site.provider.set_userinfo(json!({ "sub": claims()["sub"], "email_verified": true }));
                site.world.pass(31 * MINUTE);
                assert_eq!(browser.who().as_deref(), Some("boss@example.com"), "{options}");
            }
        }
    }
}

#[test]
fn an_email_address_that_userinfo_need_not_verify_is_taken_without_it() {
    // No provider says anything about what another claim has.
    for options in [
        json!({ "insecure_oidc_allow_unverified_email": true }),
        json!({ "oidc_email_claim": "upn", "additional_claims": ["x"] }),
    ] {
        for (site, mut browser) in with_another_email(&options) {
            site.provider.set_failing(Some("/userinfo"));
            assert_eq!(browser.who().as_deref(), Some("boss@example.com"), "{options}");
        }
    }
    // The ID token says it, and lacks something else.
    for (site, mut browser) in with_another_email(&json!({})) {
        site.provider.set_failing(Some("/userinfo"));
        site.provider.set_claim("email_verified", json!(true));
        site.provider.set_claim("groups", Value::Null);
        assert_eq!(person(&mut browser), ["248289761001", "boss@example.com", "", "staff"]);
    }
}

#[test]
fn an_account_that_may_not_sign_in_any_more_has_no_session_that_nothing_else_ends() {
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
