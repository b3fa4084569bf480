//! Providers that oauth2-proxy has names for. The claims are as in their documentation.

use http::StatusCode;
use serde_json::{Value, json};

use super::browser::sent;
use super::{MINUTE, Site};
use crate::oidc::tests::vectors::sign_claims;

fn keycloak(options: Value) -> Site {
    let mut all = json!({ "provider": "keycloak-oidc", "cookie_refresh": "1m" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let site = Site::new(all);
    site.provider.set_access_token(roles(&["offline_access", "staff"], "clerk"));
    site
}

/// Keycloak's access token.
fn roles(realm: &[&str], client: &str) -> String {
    sign_claims(&json!({
        "realm_access": { "roles": realm },
        "resource_access": { "shop": { "roles": [client] }, "account": { "roles": ["view-profile"] } },
    }))
}

#[test]
fn keycloak_roles_are_groups_and_follow_refresh() {
    let site = keycloak(json!({}));
    site.provider.set_claim("groups", json!(["/people"]));
    let mut browser = site.signed_in();
    let groups = sent(&browser.forward("/", &[]), "x-forwarded-groups");
    assert_eq!(groups, "/people,role:offline_access,role:staff,role:account:view-profile,role:shop:clerk");

    site.provider.set_access_token(roles(&["staff"], "admin"));
    site.world.pass(2 * MINUTE);
    let groups = sent(&browser.forward("/", &[]), "x-forwarded-groups");
    assert_eq!(groups, "/people,role:staff,role:account:view-profile,role:shop:admin");
}

#[test]
fn keycloak_role_in_allowed_groups_lets_in() {
    for (allowed, status) in [
        (json!({ "allowed_roles": ["staff"] }), 302),
        (json!({ "allowed_roles": ["shop:clerk"] }), 302),
        (json!({ "allowed_roles": ["boss"], "allowed_groups": ["/people"] }), 302),
        (json!({ "allowed_roles": ["boss", "clerk"] }), 403),
    ] {
        let site = keycloak(allowed.clone());
        site.provider.set_claim("groups", json!(["/people"]));
        assert_eq!(site.browser().sign_in(&site.provider, "/").status(), status, "{allowed}");
    }
}

#[test]
fn keycloak_sign_in_without_readable_roles_fails() {
    let site = keycloak(json!({}));
    site.provider.set_access_token("opaque".to_owned());
    let answer = site.browser().sign_in(&site.provider, "/");
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    // Another provider's access token is not read.
    let site = Site::new(json!({}));
    site.provider.set_access_token(roles(&["staff"], "clerk"));
    assert_eq!(sent(&site.signed_in().forward("/", &[]), "x-forwarded-groups"), "staff");
}

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn entra(allowed: Value, issuer: &str) -> Site {
    let site = Site::new(json!({
        "provider": "entra-id",
        "insecure_oidc_skip_issuer_verification": true,
        "entra_id_allowed_tenants": allowed,
    }));
    site.provider.set_claim("iss", issuer.into());
    site
}

#[test]
fn entra_tenant_must_be_allowed() {
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    for (allowed, issuer, status) in [
        (json!([]), issuer.as_str(), 302),
        (json!([TENANT]), issuer.as_str(), 302),
        (json!(["9188040d-6c67-4c5b-b112-36a304b66dad"]), issuer.as_str(), 403),
        (json!([]), "https://login.example.com", 403),
    ] {
        let site = entra(allowed, issuer);
        let mut browser = site.browser();
        assert_eq!(browser.sign_in(&site.provider, "/").status(), status, "{issuer}");
        assert_eq!(browser.has_session(), status == 302);
    }
}

#[test]
fn entra_groups_overage_means_no_groups() {
    let site = entra(json!([TENANT]), &format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    site.provider.set_claim("groups", Value::Null);
    site.provider.set_claim("_claim_names", json!({ "groups": "src1" }));
    assert_eq!(sent(&site.signed_in().forward("/", &[]), "x-forwarded-groups"), "");
}

#[test]
fn adfs_account_without_email_has_its_upn() {
    let site = Site::new(json!({ "provider": "adfs", "resource": "urn:microsoft:userinfo" }));
    site.provider.set_claim("upn", json!("alice@corp.example.com"));
    assert_eq!(site.signed_in().who().as_deref(), Some("alice@example.com"));
    site.provider.set_claim("email", Value::Null);
    site.provider.set_claim("email_verified", Value::Null);
    let mut browser = site.browser();
    let login = browser.start("/?a=1&b=2");
    assert_eq!(login["scope"], "urn:microsoft:userinfo/openid email profile");
    // Decoding it once more changes nothing.
    assert!(login["state"].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert_eq!(browser.come_back(&site.provider, &login).headers()["location"], "/?a=1&b=2");
    assert_eq!(browser.who().as_deref(), Some("alice@corp.example.com"));
    // No other provider's claim of that name is an address.
    let site = Site::new(json!({}));
    site.provider.set_claim("email", Value::Null);
    site.provider.set_claim("upn", json!("alice@corp.example.com"));
    assert_eq!(site.browser().sign_in(&site.provider, "/").status(), 403);
}

#[test]
fn google_sign_in_asks_for_refresh_token_not_groups() {
    let site = Site::new(json!({ "provider": "google" }));
    site.provider.set_claim("groups", Value::Null);
    let mut browser = site.browser();
    let login = browser.start("/");
    assert_eq!(login["access_type"], "offline");
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert_eq!(sent(&browser.forward("/", &[]), "x-forwarded-user"), "248289761001");
    assert_eq!(site.provider.calls("/userinfo"), 0);
    assert!(!Site::new(json!({})).browser().start("/").contains_key("access_type"));
}

#[test]
fn gitlab_user_is_the_nickname() {
    let site = Site::new(json!({ "provider": "gitlab" }));
    site.provider.set_claim("groups", Value::Null);
    // GitLab's ID token has the direct groups under another name; userinfo has all.
    site.provider.set_userinfo(json!({
        "sub": "248289761001", "nickname": "alice", "groups": ["team", "team/sub"],
    }));
    let forward = site.signed_in().forward("/", &[]);
    assert_eq!(sent(&forward, "x-forwarded-user"), "alice");
    assert_eq!(sent(&forward, "x-forwarded-groups"), "team,team/sub");
    site.provider.set_userinfo(json!({ "sub": "248289761001" }));
    assert_eq!(sent(&site.signed_in().forward("/", &[]), "x-forwarded-user"), "248289761001");
}
