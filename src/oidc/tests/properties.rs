//! No bytes make a parser panic, and no change makes a token hold.

use http::StatusCode;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::vectors::{check, jwks_document, sign_claims, token};
use crate::oidc::{
    AuthorizationRequest, ClaimNames, ClientAuth, ClientAuthMethod, Identity, Jwks, Metadata, TokenResponse,
    authorization_url, code_grant, parse_userinfo, redirect_target, refresh_grant, unverified_subject,
    userinfo_request,
};

/// JSON of any shape, with the names that the parsers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[A-Za-z0-9_-]{0,90}".prop_map(Value::from),
        prop_oneof!["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "sig", "AQAB", "RS256", "EdDSA"]
            .prop_map(Value::from),
    ];
    let name = prop_oneof![
        "[a-z]{1,3}",
        "kty|crv|use|alg|kid|n|e|x|y|k|keys|iss|aud|azp|exp|nbf|iat|nonce|sub|email|groups|expires_in|error\
         |access_token|id_token|issuer|token_endpoint",
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((name.clone(), inner), 0..8).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

fn parse_all(body: &[u8], status: u16) {
    let _ = Metadata::parse(body, "https://login.example.com", true);
    let _ = Jwks::parse(body);
    let _ = parse_userinfo(body);
    let _ = unverified_subject(body);
    if let Ok(status) = StatusCode::from_u16(status) {
        let _ = TokenResponse::parse(status, body);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(body in vec(any::<u8>(), 0..300), status in 100_u16..1000) {
        parse_all(&body, status);
    }

    #[test]
    fn any_json_is_parsed_without_panic(body in any_json(), status in 100_u16..1000) {
        parse_all(body.to_string().as_bytes(), status);
    }

    #[test]
    fn any_keys_are_parsed_without_panic(
        key in any_json(),
        name in "kty|crv|use|alg|kid|n|e|x|y",
        index in 0_usize..6,
    ) {
        let mut document = jwks_document();
        document["keys"][index][name] = key;
        if let Ok(keys) = Jwks::parse(document.to_string().as_bytes()) {
            for algorithm in ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"] {
                let _ = super::vectors::check_with(&token(algorithm), &keys);
            }
        }
    }

    #[test]
    fn arbitrary_text_is_no_valid_token(text in ".{0,80}", parts in vec("[A-Za-z0-9_-]{0,60}", 0..6)) {
        prop_assert!(check(&text).is_err());
        prop_assert!(check(&parts.join(".")).is_err());
        let header = super::vectors::encode(&json!({ "alg": "ES256" }));
        let headed = format!("{header}.{}", parts.join("."));
        prop_assert!(check(&headed).is_err());
    }

    #[test]
    fn any_signed_claims_are_checked_without_panic(claims in any_json()) {
        let _ = check(&sign_claims(&claims));
    }

    #[test]
    fn any_claims_become_an_identity(claims in any_json(), more in any_json(), name in "[a-z.]{0,6}") {
        let (claims, more) = (to_object(claims), to_object(more));
        let additional = [name.clone(), "aud".to_owned()];
        let names = ClaimNames { user: "sub", email: "email", groups: &name, additional: &additional };
        let signed = Identity::from_claims(&claims, &names);
        let mut completed = signed.clone();
        completed.complete(&more, &names);
        for (before, after) in [(&signed.user, &completed.user), (&signed.email, &completed.email)] {
            prop_assert!(before.is_empty() || before == after);
        }
        for (name, value) in &signed.additional_claims {
            prop_assert_eq!(completed.additional_claims.get(name), Some(value));
        }
    }

    #[test]
    fn redirect_is_resolved_as_by_the_url_crate(location in "[a-z./?;=]{0,20}#?", any in ".{0,40}") {
        let from = "https://login.example.com/a/b;c/d?e=f";
        if !location.starts_with("//") {
            let mut expected = url::Url::parse(from).unwrap().join(&location).unwrap();
            expected.set_fragment(None);
            prop_assert_eq!(redirect_target(from, &location), Some(expected.to_string()));
        }
        if let Some(target) = redirect_target(from, &any) {
            prop_assert!(matches!(target.parse::<http::Uri>().unwrap().scheme_str(), Some("http" | "https")));
        }
    }

    #[test]
    fn requests_carry_any_text_unchanged(text in ".{1,40}", more in ".{1,40}") {
        let _ = userinfo_request(&text, &more);
        let client = ClientAuth { client_id: &text, client_secret: &more, method: ClientAuthMethod::Post };
        for request in [
            code_grant("https://a.example/token", &client, &more, &text, Some(&more)),
            refresh_grant("https://a.example/token", &client, &more),
        ] {
            let form: Vec<_> = form_urlencoded::parse(request.body()).into_owned().collect();
            prop_assert!(form.contains(&("client_id".to_owned(), text.clone())));
            prop_assert!(form.contains(&("client_secret".to_owned(), more.clone())));
        }
        let url = authorization_url("https://a.example/auth?x=1", &AuthorizationRequest {
            client_id: &text, redirect_uri: &more, scope: "openid", state: &text, nonce: None,
            code_challenge: None, prompt: &more, acr_values: "", access_type: "",
        });
        let (_, query) = url.split_once('?').unwrap();
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        prop_assert_eq!(query.len(), 7);
        prop_assert!(query.contains(&("state".to_owned(), text.clone())));
        prop_assert!(query.contains(&("prompt".to_owned(), more.clone())));
    }
}

fn to_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        value => Map::from_iter([("groups".to_owned(), value)]),
    }
}
