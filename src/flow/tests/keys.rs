//! The provider's keys, as the operator sees them.

use serde_json::{Value, json};

use super::log::lines_of;
use super::{MINUTE, Site};
use crate::oidc::tests::vectors::{jwks_document, token};

/// The lines about keys that are not used.
fn reasons(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.contains("is not used")).collect()
}

/// The provider's keys with one that is not for signatures in front.
fn with_a_useless_key(id: &str) -> Value {
    let mut document = jwks_document();
    let keys = document["keys"].as_array_mut().unwrap();
    let mut useless = keys[0].clone();
    useless["use"] = json!("enc");
    useless["kid"] = json!(id);
    keys.insert(0, useless);
    document
}

#[test]
fn skipped_keys_are_logged_once() {
    let site = Site::new(json!({}));
    site.provider.set_keys(with_a_useless_key("first"));
    let lines = lines_of(|| {
        for _ in 0..5 {
            site.signed_in();
            // The keys are fetched again after an hour.
            site.world.pass(61 * MINUTE);
        }
    });
    assert!(site.provider.calls("/jwks") > 1);
    let line = r#"keys (jwks_uri): key 1 (kid "first") is not used: it is not for signatures (use)"#;
    assert_eq!(reasons(&lines), [line]);
    site.provider.set_keys(with_a_useless_key("second"));
    let lines = lines_of(|| {
        site.signed_in();
        site.world.pass(MINUTE);
        site.signed_in();
    });
    assert_eq!(reasons(&lines), [line.replace("first", "second")]);
}

/// Servers behind one address, not all of which have the new keys yet.
#[test]
fn alternating_key_documents_are_logged_once_each() {
    let site = Site::new(json!({}));
    let documents = [with_a_useless_key("first"), jwks_document(), with_a_useless_key("second")];
    let take_turns = |times: usize| {
        lines_of(|| {
            for document in documents.iter().cycle().take(times) {
                site.provider.set_keys(document.clone());
                site.signed_in();
                site.world.pass(61 * MINUTE);
                site.signed_in();
            }
        })
    };
    let lines = take_turns(9);
    assert!(site.provider.calls("/jwks") >= 9);
    let said: Vec<bool> = reasons(&lines).iter().map(|line| line.contains("first")).collect();
    assert_eq!(said, [true, false], "{lines:?}");
    // What is back long after it was mended is said again.
    site.provider.set_keys(jwks_document());
    site.world.pass(25 * 60 * MINUTE);
    assert_eq!(reasons(&take_turns(3)).len(), 2);
}

#[test]
fn unusable_key_document_logs_why_for_each_key() {
    let site = Site::new(json!({}));
    let small = crate::oidc::tests::vectors::vectors()["small_rsa"]["key"].clone();
    site.provider.set_keys(json!({ "keys": [small] }));
    let lines = lines_of(|| {
        for _ in 0..5 {
            site.browser().sign_in(&site.provider, "/");
            site.world.pass(MINUTE);
        }
    });
    let line = r#"keys (jwks_uri): key 1 (kid "small") is not used: RSA is taken with 2048 to 4096 bits"#;
    assert_eq!(reasons(&lines), [line]);
}

#[test]
fn p_521_signature_of_id_token_is_accepted() {
    let site = Site::new(json!({ "insecure_oidc_skip_nonce": true }));
    let mut browser = site.browser();
    let login = browser.start("/");
    site.provider.set_claim("email", Value::Null);
    let answer = json!({ "access_token": "a", "token_type": "Bearer", "id_token": token("ES512") });
    site.provider.set_token_answer(Some((200, answer)));
    site.provider.set_userinfo(json!({ "sub": "248289761001", "email": "bob@example.com" }));
    assert_eq!(browser.come_back(&site.provider, &login).status(), 302);
    assert_eq!(browser.who().as_deref(), Some("bob@example.com"));
}
