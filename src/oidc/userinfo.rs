//! The userinfo endpoint (OpenID Connect Core 5.3): claims that the ID token does not have.

use std::fmt;

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Uri};
use serde_json::{Map, Value};

use super::json::object;

/// The answer is not a JSON object: it is broken, too large, or a JWT, which we did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserinfoError;

/// Asks with an access token (RFC 6750 section 2.1).
///
/// A token that no header can carry is left out; the provider then answers 401.
pub fn userinfo_request(endpoint: &str, token: &str) -> Request<Vec<u8>> {
    let mut request = Request::new(Vec::new());
    // Metadata that was checked has no other. `/` names no host, so such a request goes nowhere.
    *request.uri_mut() = endpoint.parse().unwrap_or_else(|_| Uri::from_static("/"));
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    request
}

/// Reads the answer. Whether it is about the person of the ID token is for the caller to compare (`sub`).
pub fn parse_userinfo(body: &[u8]) -> Result<Map<String, Value>, UserinfoError> {
    object(body).ok_or(UserinfoError)
}

impl fmt::Display for UserinfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not a JSON object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_is_asked_with_the_access_token() {
        let request = userinfo_request("https://server.example.com/userinfo", "SlAV32hkKG");
        assert_eq!(request.method(), "GET");
        assert_eq!(request.uri(), "https://server.example.com/userinfo");
        assert_eq!(request.headers()["authorization"], "Bearer SlAV32hkKG");
        assert!(request.headers()["authorization"].is_sensitive());
        assert_eq!(request.headers()["accept"], "application/json");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_left_out() {
        for token in ["a\r\nx-evil: 1", "a\0b", "\u{7f}"] {
            let request = userinfo_request("https://server.example.com/userinfo", token);
            assert!(!request.headers().contains_key("authorization"));
            assert_eq!(request.headers().len(), 1);
        }
    }

    #[test]
    fn only_a_json_object_is_an_answer() {
        let claims = parse_userinfo(br#"{"sub":"248289761001","groups":["a"]}"#).unwrap();
        assert_eq!(claims["sub"], "248289761001");
        for body in ["", "null", "[]", "\"x\"", "eyJhbGciOiJub25lIn0.e30.", "{\"sub\":\"a\"", "\u{feff}{}"] {
            assert_eq!(parse_userinfo(body.as_bytes()), Err(UserinfoError), "{body}");
        }
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(parse_userinfo(deep.as_bytes()), Err(UserinfoError));
    }
}
