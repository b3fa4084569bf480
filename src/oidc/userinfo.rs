//! The userinfo endpoint (OpenID Connect Core 5.3): claims that the ID token does not have.
//!
//! The answer is a JSON object, or a JWT if the client is registered for that (`userinfo_signed_response_alg`).
//! [`super::verify_userinfo`] checks the JWT.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Uri};
use serde_json::{Map, Value};

use super::MAX_BODY;
use super::json::object;

/// What the provider answered.
#[derive(Debug, PartialEq)]
pub enum Userinfo<'a> {
    /// Unsigned claims: only the connection authenticates them.
    Plain(Map<String, Value>),
    /// A JWT, not verified yet.
    Jwt(&'a str),
}

/// The answer is neither a JSON object nor a JWT, or is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserinfoError;

/// The request, with an access token (RFC 6750 section 2.1).
///
/// A token that is not valid in a header is left out; the provider then answers 401.
pub fn userinfo_request(endpoint: &str, token: &str) -> Request<Vec<u8>> {
    let mut request = Request::new(Vec::new());
    // Checked metadata has valid URLs only. `/` has no host, so the request would go nowhere.
    *request.uri_mut() = endpoint.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    // If the request can choose the form, JSON saves the check of a signature.
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/jwt;q=0.9"));
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    request
}

/// Reads the answer by its form, since not every provider labels a JWT as `application/jwt`. The caller has to compare its
/// `sub` with that of the ID token.
pub fn parse_userinfo(body: &[u8]) -> Result<Userinfo<'_>, UserinfoError> {
    if let Some(claims) = object(body) {
        return Ok(Userinfo::Plain(claims));
    }
    let jwt = std::str::from_utf8(body.trim_ascii()).ok().filter(|text| is_jwt(text));
    jwt.map(Userinfo::Jwt).ok_or(UserinfoError)
}

/// Three parts in base64url, or five parts of an encrypted JWT (RFC 7516 section 3.1).
fn is_jwt(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let dots = text.bytes().filter(|byte| *byte == b'.').count();
    text.len() <= MAX_BODY && text.bytes().all(is_token) && matches!(dots, 2 | 4)
}

impl fmt::Display for UserinfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is neither a JSON object nor a JWT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_request_has_the_access_token() {
        let request = userinfo_request("https://server.example.com/userinfo", "SlAV32hkKG");
        assert_eq!(request.method(), "GET");
        assert_eq!(request.uri(), "https://server.example.com/userinfo");
        assert_eq!(request.headers()["authorization"], "Bearer SlAV32hkKG");
        assert!(request.headers()["authorization"].is_sensitive());
        assert_eq!(request.headers()["accept"], "application/json, application/jwt;q=0.9");
    }

    #[test]
    fn token_invalid_in_a_header_is_left_out() {
        for token in ["a\r\nx-evil: 1", "a\0b", "\u{7f}"] {
            let request = userinfo_request("https://server.example.com/userinfo", token);
            assert!(!request.headers().contains_key("authorization"));
            assert_eq!(request.headers().len(), 1);
        }
    }

    #[test]
    fn userinfo_is_a_json_object_or_a_jwt() {
        let Ok(Userinfo::Plain(claims)) = parse_userinfo(br#"{"sub":"248289761001","groups":["a"]}"#) else {
            panic!("an object is none");
        };
        assert_eq!(claims["sub"], "248289761001");
        for jwt in ["eyJhbGciOiJub25lIn0.e30.", "a.b.c", "a.b.c.d.e", "e30.e30.c2ln\r\n"] {
            assert_eq!(parse_userinfo(jwt.as_bytes()), Ok(Userinfo::Jwt(jwt.trim())), "{jwt}");
        }
        for body in [
            "",
            "null",
            "[]",
            "\"x\"",
            "\"a.b.c\"",
            "a.b",
            "a.b.c.d",
            "<a>.b.c",
            "{\"sub\":\"a\"",
            "\u{feff}{}",
        ] {
            assert_eq!(parse_userinfo(body.as_bytes()), Err(UserinfoError), "{body}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(parse_userinfo(deep.as_bytes()), Err(UserinfoError));
        let long = format!("e30.{}.c2ln", "a".repeat(MAX_BODY));
        assert_eq!(parse_userinfo(long.as_bytes()), Err(UserinfoError));
    }
}
