//! Answers of the token endpoint (RFC 6749 sections 5.1 and 5.2).

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::MAX_TOKEN;
use super::json::{object, text};

/// The longest lifetime: 68 years, as in Go's `oauth2`, which oauth2-proxy uses.
const MAX_LIFETIME: u32 = i32::MAX.cast_unsigned();

/// The tokens of a response. No `Debug`: all of it is secret.
pub struct TokenResponse {
    /// The access token.
    pub access_token: String,
    /// The ID token, not verified yet. A refresh may give none (OpenID Connect Core 12.2).
    pub id_token: Option<String>,
    /// The refresh token. If the response to a refresh has none, the old one stays valid.
    pub refresh_token: Option<String>,
    /// The lifetime of the access token. `None` if the provider does not say it, or says `0`.
    pub expires_in: Option<Duration>,
    /// Whether all members of the response can be used.
    pub is_whole: bool,
}

/// Why there are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// The code or the refresh token was used before, has expired or was revoked.
    InvalidGrant,
    /// The provider cannot answer now.
    Temporary,
    /// The provider does not accept the client's identifier or secret: `invalid_client`, or a 401 without another reason.
    InvalidClient,
    /// The client may not use this grant type: `unauthorized_client`.
    UnauthorizedClient,
    /// The provider refuses, with another error code.
    Refused,
    /// The provider answers with this status, without an error code.
    Status(StatusCode),
    /// The provider reports success, but the response has no usable tokens.
    Malformed,
}

/// What an error is about, which decides who can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorScope {
    /// The code or the refresh token. Repeating the request does not help; the user can sign in again.
    Token,
    /// The client, or the address of the endpoint. The operator has to act; then the same code or token works.
    Client,
    /// An outage: the provider may answer a moment later.
    Outage,
}

impl TokenResponse {
    /// Reads an answer.
    pub fn parse(status: StatusCode, body: &[u8]) -> Result<Self, GrantError> {
        // Before the body is read, so that an error page of a broken server ends no session.
        if is_temporary(status) {
            return Err(GrantError::Temporary);
        }
        let answer = object(body).unwrap_or_default();
        if let Some(code) = text(&answer, "error") {
            return Err(GrantError::from_code(code, status));
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(GrantError::InvalidClient);
        }
        if !status.is_success() {
            return Err(GrantError::Status(status));
        }
        // RFC 6749 section 7.1: a token of an unknown type must not be used.
        if !text(&answer, "token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(GrantError::Malformed);
        }
        let token = |name: &str| text(&answer, name).filter(|token| is_token(token)).map(str::to_owned);
        let is_readable = |name: &str| text(&answer, name).is_none_or(is_token);
        let expires_in = answer.get("expires_in").map_or(Ok(None), lifetime);
        Ok(Self {
            access_token: token("access_token").ok_or(GrantError::Malformed)?,
            id_token: token("id_token"),
            refresh_token: token("refresh_token"),
            is_whole: is_readable("id_token") && is_readable("refresh_token") && expires_in.is_ok(),
            expires_in: expires_in.unwrap_or_default(),
        })
    }

    /// The tokens, if all members of the response can be used. A refresh keeps what can be used, since the old refresh token
    /// is used up by then; a sign-in can be repeated.
    pub fn whole(self) -> Result<Self, GrantError> {
        if self.is_whole { Ok(self) } else { Err(GrantError::Malformed) }
    }
}

impl GrantError {
    fn from_code(code: &str, status: StatusCode) -> Self {
        match code {
            "invalid_grant" => Self::InvalidGrant,
            "invalid_client" => Self::InvalidClient,
            "unauthorized_client" => Self::UnauthorizedClient,
            "server_error" | "temporarily_unavailable" => Self::Temporary,
            // RFC 9110 section 15.5.2: the credentials are wrong.
            _ if status == StatusCode::UNAUTHORIZED => Self::InvalidClient,
            _ => Self::Refused,
        }
    }

    /// What the error is about.
    pub fn about(self) -> ErrorScope {
        match self {
            Self::InvalidGrant | Self::Refused | Self::Malformed => ErrorScope::Token,
            // The statuses that refuse a grant (RFC 6749 section 5.2, RFC 9110 section 15.5.4).
            Self::Status(StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) => ErrorScope::Token,
            // A token endpoint does not answer with a redirect, a 404 or a 405.
            Self::InvalidClient | Self::UnauthorizedClient | Self::Status(_) => ErrorScope::Client,
            Self::Temporary => ErrorScope::Outage,
        }
    }
}

/// Whether the error code is `invalid_client`. Then the code or refresh token is still good, and the client can
/// authenticate by another method (RFC 6749 section 5.2).
pub fn is_invalid_client(status: StatusCode, body: &[u8]) -> bool {
    let says_so = || object(body).is_some_and(|answer| text(&answer, "error") == Some("invalid_client"));
    !status.is_success() && !is_temporary(status) && says_so()
}

/// Whether a later request may have another outcome, by the status.
pub fn is_temporary(status: StatusCode) -> bool {
    let is_busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    is_busy || status.is_server_error()
}

/// Printable ASCII (RFC 6749 appendix A), so that no token can break out of a header.
fn is_token(token: &str) -> bool {
    token.len() <= MAX_TOKEN && token.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// `expires_in`: a number, or a number in a string as some providers write it.
fn lifetime(value: &Value) -> Result<Option<Duration>, GrantError> {
    let secs = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    };
    let secs: f64 = secs.filter(|secs: &f64| secs.is_finite()).ok_or(GrantError::Malformed)?;
    if secs == 0.0 {
        // As read by Go's `oauth2`: a token cannot have expired when it is issued.
        return Ok(None);
    }
    let secs = secs.clamp(0.0, f64::from(MAX_LIFETIME));
    Duration::try_from_secs_f64(secs).map(Some).map_err(|_| GrantError::Malformed)
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidGrant => "the code or refresh token is used, expired or revoked (invalid_grant)",
            Self::Temporary => "the provider cannot answer now",
            Self::InvalidClient => {
                "the provider does not take this client (invalid_client); see client_id, client_secret and \
                 token_endpoint_auth_method"
            }
            Self::UnauthorizedClient => {
                "the provider does not let this client do that (unauthorized_client); allow it there"
            }
            Self::Refused => "the provider refuses this grant",
            Self::Status(status) => return write!(f, "the provider answered {}", status.as_u16()),
            Self::Malformed => "the answer has no tokens that can be used",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(status: u16, body: &Value) -> Result<TokenResponse, GrantError> {
        TokenResponse::parse(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes())?.whole()
    }

    fn error(status: u16, body: &str) -> Option<GrantError> {
        TokenResponse::parse(StatusCode::from_u16(status).unwrap(), body.as_bytes()).err()
    }

    #[test]
    fn token_response_of_openid_connect_core_is_read() {
        // OpenID Connect Core 3.1.3.3.
        let tokens = parse(
            200,
            &json!({
                "access_token": "SlAV32hkKG",
                "token_type": "Bearer",
                "refresh_token": "8xLOxBtZp8",
                "expires_in": 3600,
                "id_token": "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
            }),
        )
        .ok()
        .unwrap();
        assert_eq!(tokens.access_token, "SlAV32hkKG");
        assert_eq!(tokens.refresh_token.as_deref(), Some("8xLOxBtZp8"));
        assert_eq!(tokens.id_token.as_deref(), Some("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"));
        assert_eq!(tokens.expires_in, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn only_access_token_is_required() {
        let empty = json!({
            "access_token": "a", "id_token": "", "refresh_token": null, "expires_in": "", "token_type": ""
        });
        for body in [json!({ "access_token": "a" }), empty] {
            let tokens = parse(200, &body).ok().unwrap();
            assert_eq!((tokens.id_token, tokens.refresh_token, tokens.expires_in), (None, None, None));
        }
        for body in [json!({}), json!({ "access_token": "" }), json!({ "access_token": 7, "id_token": "x" })]
        {
            assert_eq!(parse(200, &body).err(), Some(GrantError::Malformed), "{body}");
        }
    }

    #[test]
    fn lifetime_is_a_bounded_number_or_numeric_string() {
        let secs = Duration::from_secs;
        for (value, expected) in [
            (json!(3599), Some(secs(3599))),
            (json!(3599.0), Some(secs(3599))),
            (json!("3599"), Some(secs(3599))),
            (json!(-1), Some(secs(0))),
            (json!("-9223372036854775809"), Some(secs(0))),
            (json!(u64::MAX), Some(secs(2_147_483_647))),
            (json!(1e300), Some(secs(2_147_483_647))),
            (json!("1e300"), Some(secs(2_147_483_647))),
            (json!(0), None),
            (json!("0"), None),
            (json!(null), None),
        ] {
            let tokens = parse(200, &json!({ "access_token": "a", "expires_in": value })).ok().unwrap();
            assert_eq!(tokens.expires_in, expected, "{value}");
        }
        for value in [json!("soon"), json!("nan"), json!("inf"), json!(true), json!([1]), json!({})] {
            let tokens = parse(200, &json!({ "access_token": "a", "expires_in": value }));
            assert_eq!(tokens.err(), Some(GrantError::Malformed), "{value}");
        }
    }

    #[test]
    fn unusable_token_type_is_refused() {
        for kind in ["bearer", "Bearer", "BEARER"] {
            assert!(parse(200, &json!({ "access_token": "a", "token_type": kind })).is_ok());
        }
        for kind in ["DPoP", "mac", "bearer "] {
            let tokens = parse(200, &json!({ "access_token": "a", "token_type": kind }));
            assert_eq!(tokens.err(), Some(GrantError::Malformed));
        }
    }

    #[test]
    fn unprintable_or_too_long_token_is_refused() {
        let long = "a".repeat(MAX_TOKEN + 1);
        for bad in ["a\r\nx-evil: 1", "a\0", "\u{fc}", "a\u{7f}", &long] {
            for name in ["access_token", "id_token", "refresh_token"] {
                let mut body = json!({ "access_token": "a" });
                body[name] = bad.into();
                assert_eq!(parse(200, &body).err(), Some(GrantError::Malformed), "{name}");
            }
        }
    }

    #[test]
    fn usable_tokens_of_a_flawed_response_are_kept() {
        for (name, value) in
            [("id_token", json!("a\r\nb")), ("refresh_token", json!("\u{fc}")), ("expires_in", json!("soon"))]
        {
            let mut body =
                json!({ "access_token": "a", "id_token": "i", "refresh_token": "r", "expires_in": 60 });
            body[name] = value;
            let tokens = TokenResponse::parse(StatusCode::OK, body.to_string().as_bytes()).ok().unwrap();
            assert_eq!(tokens.access_token, "a");
            assert_eq!(tokens.id_token.is_some(), name != "id_token");
            assert_eq!(tokens.refresh_token.is_some(), name != "refresh_token");
            assert_eq!(tokens.expires_in.is_some(), name != "expires_in");
        }
    }

    #[test]
    fn error_codes_are_distinguished() {
        for (status, code, expected) in [
            (400, "invalid_grant", GrantError::InvalidGrant),
            (401, "invalid_grant", GrantError::InvalidGrant),
            (401, "invalid_client", GrantError::InvalidClient),
            (400, "invalid_client", GrantError::InvalidClient),
            (400, "unauthorized_client", GrantError::UnauthorizedClient),
            (401, "invalid_token", GrantError::InvalidClient),
            (400, "invalid_request", GrantError::Refused),
            (403, "access_denied", GrantError::Refused),
            (400, "invalid_grant ", GrantError::Refused),
            (400, "temporarily_unavailable", GrantError::Temporary),
            (400, "server_error", GrantError::Temporary),
            (200, "invalid_grant", GrantError::InvalidGrant),
        ] {
            let body = json!({ "error": code, "error_description": "x", "access_token": "a" });
            assert_eq!(parse(status, &body).err(), Some(expected), "{status} {code}");
        }
    }

    #[test]
    fn only_the_error_code_means_invalid_client() {
        let says =
            |status, body: &str| is_invalid_client(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        for status in [400, 401, 403] {
            assert!(says(status, r#"{"error":"invalid_client","error_description":"x"}"#));
            for other in
                ["", "<html>", "{}", r#"{"error":"invalid_grant"}"#, r#"{"error":"unauthorized_client"}"#]
            {
                assert!(!says(status, other), "{status} {other}");
            }
        }
        for status in [200, 429, 500, 503] {
            assert!(!says(status, r#"{"error":"invalid_client"}"#), "{status}");
        }
    }

    #[test]
    fn overload_or_server_error_is_temporary() {
        for status in [500, 502, 503, 504, 429, 408] {
            for body in [r#"{"error":"invalid_grant"}"#, r#"{"access_token":"a"}"#, "<html>", ""] {
                assert_eq!(error(status, body), Some(GrantError::Temporary), "{status} {body}");
            }
        }
    }

    #[test]
    fn other_body_is_malformed() {
        for body in ["", "null", "[]", "{", "<html>", "access_token=a", r#"{"error":{"code":1}}"#] {
            for status in [200, 204] {
                assert_eq!(error(status, body), Some(GrantError::Malformed), "{status} {body}");
            }
            for status in
                [StatusCode::FOUND, StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND]
            {
                assert_eq!(error(status.as_u16(), body), Some(GrantError::Status(status)), "{body}");
            }
            assert_eq!(error(401, body), Some(GrantError::InvalidClient), "{body}");
        }
        assert_eq!(error(302, r#"{"access_token":"a"}"#), Some(GrantError::Status(StatusCode::FOUND)));
        let large = format!(r#"{{"access_token":"a"}}{}"#, " ".repeat(super::super::MAX_BODY));
        assert_eq!(error(200, &large), Some(GrantError::Malformed));
    }

    #[test]
    fn errors_are_about_the_grant_the_client_or_an_outage() {
        let about = |status, body: &str| error(status, body).unwrap().about();
        let page = "<html>";
        // RFC 6749 section 5.2: what a code means; RFC 9110: what a status means.
        for (status, body) in [
            (400, r#"{"error":"invalid_grant"}"#),
            (400, r#"{"error":"interaction_required"}"#),
            (400, r#"{"error":"unsupported_grant_type"}"#),
            (400, page),
            (403, page),
            (200, page),
            (200, r#"{"token_type":"Bearer"}"#),
        ] {
            assert_eq!(about(status, body), ErrorScope::Token, "{status} {body}");
        }
        for (status, body) in [
            (401, r#"{"error":"invalid_client"}"#),
            (400, r#"{"error":"invalid_client"}"#),
            (403, r#"{"error":"unauthorized_client"}"#),
            (401, page),
            (302, page),
            (404, page),
            (405, page),
        ] {
            assert_eq!(about(status, body), ErrorScope::Client, "{status} {body}");
        }
        for (status, body) in [
            (500, r#"{"error":"invalid_client"}"#),
            (503, page),
            (429, r#"{"error":"invalid_grant"}"#),
            (408, page),
            (400, r#"{"error":"temporarily_unavailable"}"#),
        ] {
            assert_eq!(about(status, body), ErrorScope::Outage, "{status} {body}");
        }
    }
}
