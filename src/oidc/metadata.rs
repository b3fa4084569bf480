//! The provider's metadata: OpenID Connect Discovery 1.0, sections 3 and 4.

use std::fmt;

use http::Uri;
use serde_json::Value;

use super::json::{object, text};

/// The longest endpoint. Envoy's default for all headers of a request together is 60 KiB.
const MAX_ENDPOINT: usize = 8 * 1024;

/// The part of the discovery document that the filter needs.
///
/// If discovery is off, it comes from the configuration; [`Metadata::check`] then validates the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The provider's identifier, which its ID tokens have as `iss`.
    pub issuer: String,
    /// `authorization_endpoint`: the address of the sign-in for the browser.
    pub authorization_endpoint: String,
    /// `token_endpoint`: exchanges codes and refresh tokens.
    pub token_endpoint: String,
    /// `jwks_uri`: the keys of ID tokens.
    pub jwks_uri: String,
    /// `userinfo_endpoint`: claims that the ID token does not have.
    pub userinfo_endpoint: Option<String>,
    /// `end_session_endpoint`: signs the browser out at the provider too (RP-Initiated Logout 1.0 section 2.1). The filter
    /// sends no request there, so an invalid one is ignored.
    pub end_session_endpoint: Option<String>,
    /// `token_endpoint_auth_methods_supported`; empty if the document does not list any.
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

/// Why a discovery document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Not a JSON object, or too large.
    Malformed,
    /// The document is about this issuer, not about the one that was asked for.
    Issuer(String),
    /// The endpoint of this name is missing or invalid.
    Endpoint(&'static str),
    /// The endpoint of this name is `http`, and the issuer is `https`.
    Unencrypted(&'static str),
}

/// Whether the connection to a URL is not encrypted.
pub fn is_unencrypted(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
}

/// The URL of the discovery document of `issuer` (Discovery 1.0 section 4).
pub fn metadata_url(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

impl Metadata {
    /// Reads the discovery document of `issuer`.
    ///
    /// Its issuer must be equal to `issuer`, including a slash at the end (Discovery 1.0 section 4.3), unless
    /// `skip_issuer` is set (`insecure_oidc_skip_issuer_verification`).
    pub fn parse(body: &[u8], issuer: &str, skip_issuer: bool) -> Result<Self, MetadataError> {
        let document = object(body).ok_or(MetadataError::Malformed)?;
        let member = |name| text(&document, name).map(str::to_owned);
        let found = member("issuer").unwrap_or_default();
        if !skip_issuer && found != issuer {
            return Err(MetadataError::Issuer(found));
        }
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let metadata = Self {
            issuer: if found.is_empty() { issuer.to_owned() } else { found },
            authorization_endpoint: member("authorization_endpoint").unwrap_or_default(),
            token_endpoint: member("token_endpoint").unwrap_or_default(),
            jwks_uri: member("jwks_uri").unwrap_or_default(),
            userinfo_endpoint: member("userinfo_endpoint"),
            end_session_endpoint: member("end_session_endpoint").filter(|url| is_endpoint(url)),
            token_endpoint_auth_methods_supported: methods
                .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// Whether every endpoint is an absolute http or https URL.
    pub fn check(&self) -> Result<(), MetadataError> {
        let mistaken = self.endpoints().find(|(_, url)| !is_endpoint(url));
        mistaken.map_or(Ok(()), |(name, _)| Err(MetadataError::Endpoint(name)))
    }

    /// Requires https for every endpoint if the issuer has it: a document must not send codes, tokens and keys over an
    /// unencrypted connection. An unencrypted `end_session_endpoint` is dropped; it does not prevent a sign-in.
    pub fn require_encryption(mut self, issuer: &str) -> Result<Self, MetadataError> {
        if is_unencrypted(issuer) {
            return Ok(self);
        }
        self.end_session_endpoint = self.end_session_endpoint.filter(|url| !is_unencrypted(url));
        let unencrypted = self.endpoints().find(|(_, url)| is_unencrypted(url)).map(|(name, _)| name);
        unencrypted.map_or(Ok(self), |name| Err(MetadataError::Unencrypted(name)))
    }

    fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let required = [
            ("authorization_endpoint", self.authorization_endpoint.as_str()),
            ("token_endpoint", self.token_endpoint.as_str()),
            ("jwks_uri", self.jwks_uri.as_str()),
        ];
        let userinfo = self.userinfo_endpoint.as_deref().map(|url| ("userinfo_endpoint", url));
        required.into_iter().chain(userinfo)
    }
}

/// An absolute URL with a host, without credentials and fragment (RFC 6749 sections 3.1 and 3.2).
pub(super) fn is_endpoint(url: &str) -> bool {
    // `Uri` silently drops a fragment, and accepts more than ASCII.
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if url.len() > MAX_ENDPOINT || !is_plain {
        return false;
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    let after_host = authority.as_str().strip_prefix(authority.host());
    matches!(scheme, "http" | "https")
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && (after_host == Some("") || authority.port_u16().is_some_and(|port| port != 0))
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("the document is not a JSON object, or too large; see oidc_issuer_url")
            }
            Self::Issuer(found) => {
                // Quoted and truncated: it is the provider's text, and goes to the log.
                let found: String = found.chars().take(200).collect();
                write!(f, "the document is about the issuer {found:?}, which is not oidc_issuer_url")
            }
            Self::Endpoint(name) => write!(
                f,
                "{name} is missing, or no http or https URL; with skip_oidc_discovery, options name the endpoints"
            ),
            Self::Unencrypted(name) => write!(
                f,
                "{name} is an http URL, and the issuer an https one; see insecure_oidc_allow_http_endpoints"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://login.example.com";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://login.example.com/auth?tenant=1",
            "token_endpoint": "https://login.example.com:8443/token",
            "jwks_uri": "http://[::1]:9000/keys",
            "userinfo_endpoint": "https://login.example.com/me",
            "token_endpoint_auth_methods_supported": ["client_secret_post", 7],
            "scopes_supported": ["openid"],
        })
    }

    fn parse(document: &Value) -> Result<Metadata, MetadataError> {
        Metadata::parse(document.to_string().as_bytes(), ISSUER, false)
    }

    #[test]
    fn discovery_document_is_read() {
        let metadata = parse(&document()).unwrap();
        assert_eq!(metadata.issuer, ISSUER);
        assert_eq!(metadata.authorization_endpoint, "https://login.example.com/auth?tenant=1");
        assert_eq!(metadata.token_endpoint, "https://login.example.com:8443/token");
        assert_eq!(metadata.jwks_uri, "http://[::1]:9000/keys");
        assert_eq!(metadata.userinfo_endpoint.as_deref(), Some("https://login.example.com/me"));
        assert_eq!(metadata.token_endpoint_auth_methods_supported, ["client_secret_post"]);
    }

    #[test]
    fn discovery_url_is_below_the_issuer() {
        let url = "https://example.com/tenant/.well-known/openid-configuration";
        assert_eq!(metadata_url("https://example.com/tenant"), url);
        assert_eq!(metadata_url("https://example.com/tenant/"), url);
    }

    #[test]
    fn issuer_with_another_slash_at_the_end_is_refused() {
        for other in ["https://login.example.com/", "https://LOGIN.example.com", "https://evil.example", ""] {
            let mut document = document();
            document["issuer"] = other.into();
            assert_eq!(parse(&document), Err(MetadataError::Issuer(other.to_owned())));
        }
        let mut document = document();
        document.as_object_mut().unwrap().remove("issuer");
        assert_eq!(parse(&document), Err(MetadataError::Issuer(String::new())));
    }

    #[test]
    fn another_issuer_is_accepted_if_the_check_is_off() {
        let mut document = document();
        document["issuer"] = "https://other.example".into();
        let metadata = Metadata::parse(document.to_string().as_bytes(), ISSUER, true).unwrap();
        assert_eq!(metadata.issuer, "https://other.example");
    }

    #[test]
    fn login_endpoints_are_required_and_userinfo_is_optional() {
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let mut without = document();
            without.as_object_mut().unwrap().remove(name);
            assert_eq!(parse(&without), Err(MetadataError::Endpoint(name)));
        }
        let mut without = document();
        without["userinfo_endpoint"] = Value::Null;
        assert_eq!(parse(&without).unwrap().userinfo_endpoint, None);
    }

    #[test]
    fn endpoint_other_than_http_is_refused() {
        let no_endpoints = [
            "/token",
            "login.example.com/token",
            "//login.example.com/token",
            "ftp://login.example.com/token",
            "javascript:alert(1)",
            "https://",
            "https:///token",
            "https://user:secret@login.example.com/token",
            "https://user@login.example.com/token",
            "https://user:secret@login.example.com:8443/token",
            "https://login.example.com/token#part",
            "https://login.example.com:/token",
            "https://login.example.com:0/token",
            "https://login.example.com:65536/token",
            "https://login.example.com:http/token",
            "https://login.example.com/to ken",
            "https://login.example.com/token\r\nx-evil: 1",
            "https://login.example.com/t\u{f6}ken",
            "https://log\u{131}n.example.com/token",
        ];
        for url in no_endpoints {
            let mut document = document();
            document["token_endpoint"] = url.into();
            assert_eq!(parse(&document), Err(MetadataError::Endpoint("token_endpoint")), "{url}");
            let mut document = self::document();
            document["userinfo_endpoint"] = url.into();
            assert_eq!(parse(&document), Err(MetadataError::Endpoint("userinfo_endpoint")), "{url}");
        }
        let mut long = document();
        long["jwks_uri"] = format!("https://login.example.com/{}", "a".repeat(MAX_ENDPOINT)).into();
        assert_eq!(parse(&long), Err(MetadataError::Endpoint("jwks_uri")));
    }

    #[test]
    fn invalid_end_session_endpoint_does_not_prevent_sign_in() {
        let end = |url: Value| {
            let mut document = document();
            document["jwks_uri"] = "https://login.example.com/keys".into();
            document["end_session_endpoint"] = url;
            parse(&document).unwrap().require_encryption(ISSUER).unwrap().end_session_endpoint
        };
        let url = "https://login.example.com/end";
        assert_eq!(end(url.into()).as_deref(), Some(url));
        for none in [Value::Null, 7.into(), "".into(), "/end".into(), "http://login.example.com/end".into()] {
            assert_eq!(end(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn https_issuer_requires_https_endpoints() {
        let encrypted = || json!({ "jwks_uri": "https://[::1]:9000/keys" });
        let with = |changes: Value| {
            let mut document = document();
            for changes in [encrypted(), changes] {
                document.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            }
            parse(&document).unwrap()
        };
        assert_eq!(with(json!({})).require_encryption(ISSUER).as_ref(), Ok(&with(json!({}))));
        for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            for url in ["http://login.example.com/x", "HTTP://login.example.com:443/x"] {
                let metadata = with(json!({ name: url }));
                for issuer in [ISSUER, "HTTPS://login.example.com"] {
                    let refused = metadata.clone().require_encryption(issuer);
                    assert_eq!(refused, Err(MetadataError::Unencrypted(name)), "{url} {issuer}");
                }
                assert!(metadata.require_encryption("http://login.example.com").is_ok());
            }
        }
    }

    #[test]
    fn malformed_or_too_large_document_is_refused() {
        for body in ["", "null", "[]", "\"x\"", "{", "{}x", "<html>"] {
            assert_eq!(Metadata::parse(body.as_bytes(), ISSUER, true), Err(MetadataError::Malformed));
        }
        let large = format!("{}{}", document(), " ".repeat(super::super::MAX_BODY));
        assert_eq!(Metadata::parse(large.as_bytes(), ISSUER, false), Err(MetadataError::Malformed));
    }

    #[test]
    fn wrong_issuer_cannot_forge_a_log_line() {
        let error = MetadataError::Issuer(format!("x\n[error] forged {}", "y".repeat(10_000)));
        let line = error.to_string();
        assert!(!line.contains('\n'));
        assert!(line.len() < 400);
    }
}
