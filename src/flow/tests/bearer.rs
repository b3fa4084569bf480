//! Bearer tokens instead of sessions.

use std::time::Duration;

use serde_json::{Value, json};

use super::browser::{Browser, sent};
use super::log::lines_of;
use super::{MINUTE, Site};
use crate::flow::io::Count;
use crate::flow::outcome::Unavailable;
use crate::flow::{Action, Decision, Ready};
use crate::oidc::tests::vectors::{ISSUED, claims, encode, jwks_document};

fn site(options: Value) -> Site {
    let mut all = json!({ "skip_jwt_bearer_tokens": true });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Site::new(all)
}

/// What happens to a request with a token: the user for the upstream, or the status of the answer.
fn ask(browser: &mut Browser, token: &str) -> Result<String, u16> {
    match browser.ask("/", &[("authorization", &format!("Bearer {token}"))]) {
        Action::Forward(forward) => Ok(sent(&forward, "x-forwarded-email")),
        Action::Reply(reply) => Err(reply.status().as_u16()),
        Action::ReadBody => panic!("it has no body"),
    }
}

#[test]
fn valid_bearer_token_needs_no_cookie() {
    let site = site(json!({ "set_xauthrequest": true }));
    let mut program = site.browser();
    let token = site.provider.token(json!({}));
    assert_eq!(ask(&mut program, &token).as_deref(), Ok("alice@example.com"));
    assert!(program.cookies.is_empty());
    assert_eq!(site.provider.calls("/userinfo"), 0);

    let authorization = format!("Bearer {token}");
    let forward = program.forward("/", &[("authorization", &authorization)]);
    assert_eq!(sent(&forward, "x-forwarded-user"), "248289761001");
    assert_eq!(sent(&forward, "x-forwarded-groups"), "staff");
    assert!(!forward.remove.contains(&b"authorization".to_vec()), "the upstream may look at it too");
    let answer = program.reply("/oauth2/auth", &[("authorization", &authorization)]);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-auth-request-email"]),
        (202, &"alice@example.com".parse().unwrap())
    );
    assert_eq!(program.reply("/oauth2/userinfo", &[("authorization", &authorization)]).status(), 200);
}

#[test]
fn bearer_token_is_ignored_without_the_option() {
    let site = Site::new(json!({}));
    let token = site.provider.token(json!({}));
    assert_eq!(ask(&mut site.browser(), &token), Err(302));
}

#[test]
fn bearer_token_needs_allowed_email_domain() {
    let site = site(json!({ "allowed_groups": ["staff"], "email_domains": ["example.com"] }));
    let mut program = site.browser();
    assert!(ask(&mut program, &site.provider.token(json!({}))).is_ok());
    for claims in [json!({ "groups": ["guests"] }), json!({ "email": "alice@elsewhere.example" })] {
        assert_eq!(ask(&mut program, &site.provider.token(claims)), Err(403));
    }
}

#[test]
fn invalid_bearer_token_is_not_signed_in() {
    let site = site(json!({ "oidc_extra_audiences": ["api"] }));
    let mut program = site.browser();
    for claims in [json!({ "aud": "api" }), json!({ "azp": "another", "aud": ["another", "api"] })] {
        assert!(ask(&mut program, &site.provider.token(claims.clone())).is_ok(), "{claims}");
    }
    let now = crate::oidc::tests::vectors::ISSUED;
    for claims in [
        json!({ "aud": "another" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "exp": now - 60 }),
        json!({ "exp": null }),
        json!({ "nbf": now + 3600 }),
        json!({ "email_verified": false }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        assert_eq!(ask(&mut program, &site.provider.token(claims.clone())), Err(302), "{claims}");
    }
    let token = site.provider.token(json!({}));
    let (signed, _) = token.rsplit_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());
    for forged in [format!("{signed}.AAAA"), unsigned.clone(), format!("{unsigned}AAAA"), "x".to_owned()] {
        assert_eq!(ask(&mut program, &forged), Err(302), "{forged}");
    }
    assert_eq!(
        program.reply("/", &[("authorization", "Bearer x"), ("accept", "application/json")]).status(),
        401
    );
}

#[test]
fn cookie_counts_beside_invalid_bearer_token() {
    let site = site(json!({}));
    let mut browser = site.signed_in();
    let expired = site.provider.token(json!({ "exp": 1 }));
    assert_eq!(ask(&mut browser, &expired).as_deref(), Ok("alice@example.com"));
    assert_eq!(ask(&mut browser, "opaque").as_deref(), Ok("alice@example.com"));
    // A valid token counts more than the cookie.
    let token = site.provider.token(json!({ "email": "bot@example.com" }));
    assert_eq!(ask(&mut browser, &token).as_deref(), Ok("bot@example.com"));
    assert!(browser.has_session());
}

#[test]
fn invalid_bearer_token_without_fallback_is_403_everywhere() {
    let site = site(json!({ "bearer_token_login_fallback": false, "skip_auth_routes": ["^/public$"] }));
    let mut browser = site.signed_in();
    let expired = format!("Bearer {}", site.provider.token(json!({ "exp": 1 })));
    for authorization in [expired.as_str(), "Bearer opaque", "Basic YTpi"] {
        for path in ["/", "/public", "/oauth2/auth", "/oauth2/userinfo"] {
            let answer = browser.reply(path, &[("authorization", authorization)]);
            assert_eq!(answer.status(), 403, "{path} {authorization}");
        }
    }
    assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    assert!(ask(&mut browser, &site.provider.token(json!({}))).is_ok());
}

#[test]
fn bearer_token_without_email_uses_subject() {
    let site = site(json!({}));
    let token = site.provider.token(json!({ "email": null, "email_verified": null }));
    assert_eq!(ask(&mut site.browser(), &token).as_deref(), Ok("248289761001"));
}

#[test]
fn remembered_bearer_token_ends_at_its_expiry() {
    let site = site(json!({}));
    let mut program = site.browser();
    let now = crate::oidc::tests::vectors::ISSUED;
    let token = site.provider.token(json!({ "exp": now + 90 }));
    assert!(ask(&mut program, &token).is_ok());
    site.world.pass(MINUTE);
    assert!(ask(&mut program, &token).is_ok());
    site.world.pass(MINUTE);
    assert_eq!(ask(&mut program, &token), Err(302));
    // What is remembered is the whole token, not its signature.
    let other = site.provider.token(json!({}));
    assert!(ask(&mut program, &other).is_ok());
    let (_, signature) = other.rsplit_once('.').unwrap();
    let forged = format!("{}.{signature}", token.rsplit_once('.').unwrap().0);
    assert_eq!(ask(&mut program, &forged), Err(302));
}

#[test]
fn provider_outage_allows_only_tokens_with_known_keys() {
    let site = site(json!({}));
    let mut program = site.browser();
    let token = site.provider.token(json!({}));
    site.provider.set_down(true);
    assert_eq!(ask(&mut program, &token), Err(503));
    site.provider.set_down(false);
    site.world.pass(Duration::from_secs(30));
    assert!(ask(&mut program, &token).is_ok());
    site.provider.set_down(true);
    assert!(ask(&mut program, &site.provider.token(json!({ "jti": "another" }))).is_ok());
    // Tokens of unknown issuers cause no request.
    assert_eq!(ask(&mut program, &site.provider.token(json!({ "iss": "https://evil.example" }))), Err(302));
}

#[test]
fn extra_jwt_issuer_has_own_audience_and_standard_claims() {
    let issuer = crate::oidc::tests::vectors::ISSUER;
    // The test's provider is this issuer; users sign in elsewhere.
    let site = site(json!({
        "oidc_issuer_url": "https://people.example.com",
        "oidc_email_claim": "mail",
        "extra_jwt_issuers": [format!("{issuer}=api")],
    }));
    let mut program = site.browser();
    let token = site.provider.token(json!({ "aud": "api", "mail": "nobody@example.com" }));
    assert_eq!(ask(&mut program, &token).as_deref(), Ok("alice@example.com"));
    assert_eq!(ask(&mut program, &site.provider.token(json!({}))), Err(302), "that is for the other client");
}

#[test]
fn bearer_token_is_checked_for_tenant_and_roles() {
    let site = site(json!({ "provider": "keycloak-oidc", "allowed_roles": ["staff"] }));
    let token = |roles: &[&str]| site.provider.token(json!({ "realm_access": { "roles": roles } }));
    assert!(ask(&mut site.browser(), &token(&["staff"])).is_ok());
    assert_eq!(ask(&mut site.browser(), &token(&["guest"])), Err(403));
    let site = self::site(json!({
        "provider": "entra-id", "insecure_oidc_skip_issuer_verification": true, "entra_id_allowed_tenants": ["a"],
    }));
    let token = |tenant: &str| {
        site.provider.token(json!({ "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0") }))
    };
    assert!(ask(&mut site.browser(), &token("a")).is_ok());
    assert_eq!(ask(&mut site.browser(), &token("b")), Err(302));
}

#[test]
fn forbidden_bearer_token_keeps_cookie_session() {
    for store in [
        json!({}),
        json!({ "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com" }),
    ] {
        let mut options = json!({ "email_domains": ["example.com"] });
        options.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
        let site = site(options);
        let mut browser = site.signed_in();
        let token = site.provider.token(json!({ "email": "robot@elsewhere.example" }));
        assert_eq!(ask(&mut browser, &token), Err(403));
        site.world.drain();
        assert_eq!(browser.who().as_deref(), Some("alice@example.com"));
    }
}

/// A token with this algorithm and key, or without a key, that the provider has not signed.
fn forged(key: Option<&str>, id: usize) -> String {
    let mut header = json!({ "alg": "ES256" });
    if let Some(key) = key {
        header["kid"] = key.into();
    }
    let mut claims = claims();
    claims["jti"] = id.into();
    format!("{}.{}.{}", encode(&header), encode(&claims), "A".repeat(86))
}

#[test]
fn invalid_bearer_token_is_not_checked_again_at_once() {
    let site = site(json!({}));
    let mut program = site.browser();
    // A token of the future is valid from 5 minutes before its time.
    let token = site.provider.token(json!({ "nbf": ISSUED + 5 * 60 + 3 }));
    assert_eq!(ask(&mut program, &token), Err(302));
    site.world.pass(Duration::from_secs(9));
    assert_eq!(ask(&mut program, &token), Err(302));
    site.world.pass(Duration::from_secs(1));
    assert!(ask(&mut program, &token).is_ok());
}

#[test]
fn uncheckable_bearer_token_is_checked_again() {
    let site = site(json!({}));
    let mut program = site.browser();
    let token = site.provider.token(json!({}));
    site.provider.set_down(true);
    assert_eq!(ask(&mut program, &token), Err(503));
    site.provider.set_down(false);
    site.world.pass(Duration::from_secs(2));
    assert!(ask(&mut program, &token).is_ok());
}

#[test]
fn bearer_token_with_new_key_works_once_key_is_known() {
    let site = site(json!({}));
    let mut program = site.browser();
    let without_it: Vec<Value> = jwks_document()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["kid"] != "p256")
        .cloned()
        .collect();
    site.provider.set_keys(json!({ "keys": without_it }));
    assert_eq!(ask(&mut program, &site.provider.token(json!({ "jti": "another" }))), Err(302));
    site.provider.set_keys(jwks_document());
    site.world.pass(Duration::from_secs(9));
    let token = site.provider.token(json!({}));
    assert_eq!(ask(&mut program, &token), Err(302), "the provider was asked a moment ago");
    site.world.pass(Duration::from_secs(1));
    assert!(ask(&mut program, &token).is_ok());
}

#[test]
fn unknown_keys_are_fetched_once_in_ten_seconds() {
    let site = site(json!({}));
    assert!(ask(&mut site.browser(), &site.provider.token(json!({}))).is_ok());
    assert_eq!(site.provider.calls("/jwks"), 1);
    for number in 0..1000 {
        assert_eq!(ask(&mut site.browser(), &forged(Some(&format!("key-{number}")), 0)), Err(302));
        site.world.pass(Duration::from_millis(100));
    }
    // At the beginning, after 10 seconds, and so on until 90.
    assert_eq!(site.provider.calls("/jwks"), 10);
}

#[test]
fn requests_with_unknown_keys_share_one_fetch() {
    let site = site(json!({}));
    assert!(ask(&mut site.browser(), &site.provider.token(json!({}))).is_ok());
    site.world.pass(MINUTE);
    site.provider.set_delay(Duration::from_secs(4));
    let asked = (0..5000).map(|number| {
        let authorization = format!("Bearer {}", forged(Some(&format!("key-{number}")), 0));
        let head = site.browser().head("/", &[("authorization", &authorization)]);
        let Ready::Later(flow) = site.app.handle(head) else { panic!("nothing to wait for") };
        flow
    });
    let decisions = site.world.run(asked.collect());
    let is_sent_to_sign_in =
        |decision: &Decision| matches!(&decision.action, Action::Reply(reply) if reply.status() == 302);
    assert!(decisions.iter().all(is_sent_to_sign_in));
    assert_eq!(site.provider.calls("/jwks"), 2);
    // Meanwhile a token with a known key waits for nothing.
    assert!(ask(&mut site.browser(), &site.provider.token(json!({}))).is_ok());
}

#[test]
fn forged_tokens_do_not_fill_the_log() {
    let site = site(json!({}));
    let mut program = site.browser();
    assert!(ask(&mut program, &site.provider.token(json!({}))).is_ok());
    let lines = lines_of(|| {
        for number in 0..1000 {
            site.world.pass(Duration::from_millis(10));
            assert_eq!(ask(&mut program, &forged(None, number)), Err(302));
        }
    });
    assert!((10..30).contains(&lines.len()), "{lines:?}");
    let lines = lines_of(|| {
        site.world.pass(Duration::from_secs(4));
        assert_eq!(ask(&mut program, &forged(None, 999)), Err(302));
    });
    assert!(lines.is_empty(), "a token that was refused a moment ago is not looked at: {lines:?}");
    let lines = lines_of(|| {
        assert_eq!(ask(&mut program, &forged(None, 1000)), Err(302));
    });
    assert!(lines[0].contains(" similar lines were left out before)"), "{lines:?}");
}

#[test]
fn forged_tokens_waiting_for_keys_are_limited_too() {
    let site = site(json!({}));
    site.provider.set_delay(Duration::from_secs(1));
    let asked = (0..100).map(|number| {
        let authorization = format!("Bearer {}", forged(Some("p256"), number));
        let head = site.browser().head("/", &[("authorization", &authorization)]);
        let Ready::Later(flow) = site.app.handle(head) else { panic!("nothing to wait for") };
        flow
    });
    let statuses = site.world.run(asked.collect()).into_iter().map(|decision| match decision.action {
        Action::Reply(reply) => reply.status().as_u16(),
        other => panic!("let through: {other:?}"),
    });
    let (looked_at, others): (Vec<u16>, Vec<u16>) = statuses.partition(|status| *status == 302);
    assert_eq!((looked_at.len(), others), (20, vec![503; 80]));
}

#[test]
fn checks_of_forged_tokens_are_limited() {
    let site = site(json!({}));
    let mut program = site.browser();
    let known = site.provider.token(json!({}));
    assert!(ask(&mut program, &known).is_ok());
    site.world.pass(6 * MINUTE);
    let statuses: Vec<_> =
        (0..1000).map(|number| ask(&mut program, &forged(Some("p256"), number)).unwrap_err()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 302).count(), 20);
    assert!(statuses[20..].iter().all(|status| *status == 503), "these are not checked");
    assert_eq!(site.world.counted(Count::Unavailable(Unavailable::Busy)), 980);
    // A token that was verified before is checked again, as after every 5 minutes.
    assert!(ask(&mut program, &known).is_ok());
    // A token that is invalid for another reason than its signature costs no check of a signature.
    assert_eq!(ask(&mut program, &site.provider.token(json!({ "jti": "new", "exp": 1 }))), Err(503));
    site.world.pass(Duration::from_micros(2500));
    assert!(ask(&mut program, &site.provider.token(json!({ "jti": "new" }))).is_ok());
    for _ in 0..10 {
        assert_eq!(ask(&mut program, &site.provider.token(json!({ "jti": "old", "exp": 1 }))), Err(302));
    }
    assert_eq!(ask(&mut program, &forged(Some("p256"), 1000)), Err(302));
    assert_eq!(ask(&mut program, &forged(Some("p256"), 1001)), Err(503));
}
