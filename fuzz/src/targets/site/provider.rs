//! A provider. It signs in the user that the code names, and gives the answers that the input chooses.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use oauth2_session_filter::flow::io::CallFailed;
use oauth2_session_filter::time::Timestamp;
use serde_json::{Value, json};

use super::super::vectors;

pub(crate) const ISSUER: &str = "https://login.example.com";
const CLIENT: &str = "filter";

/// What a call is answered with, and how long that takes.
pub(super) type Answer = (Duration, Result<Response<Vec<u8>>, CallFailed>);

/// The provider, and what it was told.
#[derive(Default)]
pub(crate) struct Provider {
    /// Answers to paths in the place of the right ones.
    pub(crate) answers: HashMap<String, (u16, Vec<u8>)>,
    pub(crate) is_down: bool,
    pub(crate) delay: Duration,
    /// The nonce of the login that began last.
    pub(crate) nonce: String,
    /// Who has which refresh token; each is good once.
    refresh_tokens: HashMap<String, String>,
    grants: usize,
}

impl Provider {
    pub(super) fn answer(&mut self, request: &Request<Vec<u8>>, now: Timestamp) -> Answer {
        if self.is_down || request.uri().host() != Some("login.example.com") {
            return (self.delay, Err(CallFailed));
        }
        let path = request.uri().path();
        let (status, body) = match (self.answers.get(path), path) {
            (Some(answer), _) => answer.clone(),
            (_, "/.well-known/openid-configuration") => (200, metadata()),
            (_, "/jwks") => (200, jwks()),
            (_, "/userinfo") => (200, b"{}".to_vec()),
            (_, "/token") => self.grant(request.body(), now),
            _ => (404, Vec::new()),
        };
        let answer = Response::builder().status(status).body(body);
        (self.delay, answer.map_err(|_| CallFailed))
    }

    /// A code is the name of a person.
    fn grant(&mut self, body: &[u8], now: Timestamp) -> (u16, Vec<u8>) {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let person = match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => form.get("code").cloned(),
            _ => form.get("refresh_token").and_then(|token| self.refresh_tokens.remove(token)),
        };
        let Some(person) = person.filter(|person| person.len() < 16) else {
            return (400, br#"{"error":"invalid_grant"}"#.to_vec());
        };
        let refresh_token = self.refresh_token(&person);
        let answer = json!({
            "token_type": "Bearer",
            "access_token": format!("secret-access-{}", self.grants),
            "refresh_token": refresh_token,
            "id_token": id_token(&person, &self.nonce, now),
            "expires_in": 3600,
        });
        (200, answer.to_string().into_bytes())
    }

    /// A new refresh token of this person.
    pub(crate) fn refresh_token(&mut self, person: &str) -> String {
        self.grants += 1;
        let token = format!("secret-refresh-{}", self.grants);
        self.refresh_tokens.insert(token.clone(), person.to_owned());
        token
    }
}

/// An ID token of this person, for an hour.
pub(crate) fn id_token(person: &str, nonce: &str, now: Timestamp) -> String {
    thread_local! {
        // To sign takes longer than all the rest of most inputs, and they sign the same.
        static SIGNED: RefCell<HashMap<String, String>> = RefCell::default();
    }
    // One is of another house.
    let domain = if person == "mallory" { "evil.example" } else { "example.com" };
    let claims = json!({
        "iss": ISSUER, "aud": CLIENT, "sub": person, "email": format!("{person}@{domain}"),
        "email_verified": true, "groups": ["staff"], "nonce": nonce, "iat": now.secs(), "exp": now.secs() + 3600,
    });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(&json!({ "alg": "EdDSA", "kid": "ed25519" })), encode(&claims));
    SIGNED.with_borrow_mut(|signed| {
        if signed.len() > 10_000 {
            signed.clear();
        }
        let sign = || {
            let der = vectors::oidc()["private"]["ed25519"].as_str().unwrap().to_owned();
            let key = EncodingKey::from_ed_der(&URL_SAFE_NO_PAD.decode(der).unwrap());
            let signature = crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
            format!("{message}.{signature}")
        };
        signed.entry(message.clone()).or_insert_with(sign).clone()
    })
}

fn jwks() -> Vec<u8> {
    thread_local! {
        static KEYS: Vec<u8> = {
            let keys = vectors::oidc()["keys"].clone();
            let key = keys.as_array().unwrap().iter().find(|key| key["kid"] == "ed25519").unwrap().clone();
            json!({ "keys": [key] }).to_string().into_bytes()
        };
    }
    KEYS.with(Vec::clone)
}

fn metadata() -> Vec<u8> {
    let document = json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "end_session_endpoint": format!("{ISSUER}/end"),
    });
    document.to_string().into_bytes()
}
