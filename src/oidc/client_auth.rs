//! Client authentication at the token endpoint (RFC 6749 section 2.3.1, OpenID Connect Core 9).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;

use super::Metadata;

/// How the client sends its secret, by the names of OpenID Connect Core 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMethod {
    /// `client_secret_basic`: in the `authorization` header, form-encoded first (RFC 6749 section 2.3.1).
    Basic,
    /// `client_secret_post`: in the body.
    Post,
    /// In the header, not form-encoded (RFC 7617), for servers that do not decode it.
    BasicUnencoded,
}

impl fmt::Display for ClientAuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::BasicUnencoded => "client_secret_basic, without form-encoding",
        })
    }
}

/// The client and its secret. A client with an empty secret is a public one: it cannot authenticate (RFC 6749 section
/// 2.1).
#[derive(Clone, Copy)]
pub struct ClientAuth<'a> {
    /// The client's identifier.
    pub client_id: &'a str,
    /// Its secret.
    pub client_secret: &'a str,
    /// How the secret is sent.
    pub method: ClientAuthMethod,
}

impl ClientAuth<'_> {
    /// The methods to try, the likeliest first; only `wanted`, if the operator configured it. The metadata lists the methods
    /// for all clients, but a client may be registered for only one of them. Basic is the default of Discovery 1.0 section
    /// 3, and every server must support it by RFC 6749.
    pub fn methods(&self, metadata: &Metadata, wanted: Option<ClientAuthMethod>) -> Vec<ClientAuthMethod> {
        use ClientAuthMethod::{Basic, BasicUnencoded, Post};

        let lists =
            |name: &str| metadata.token_endpoint_auth_methods_supported.iter().any(|listed| listed == name);
        let mut methods = match wanted {
            _ if self.client_secret.is_empty() => vec![Post],
            Some(Post) => vec![Post],
            Some(_) => vec![Basic, BasicUnencoded],
            None if lists("client_secret_post") && !lists("client_secret_basic") => {
                vec![Post, Basic, BasicUnencoded]
            }
            None => vec![Basic, Post, BasicUnencoded],
        };
        if self.credentials() == self.encoded_credentials() {
            methods.retain(|method| *method != BasicUnencoded);
        }
        methods
    }

    /// Adds the parameters of the body, and returns the value of the `authorization` header.
    pub(super) fn apply(&self, form: &mut Serializer<'_, String>) -> Option<HeaderValue> {
        if !self.client_secret.is_empty() {
            match self.method {
                ClientAuthMethod::Basic => return basic(&self.encoded_credentials()),
                ClientAuthMethod::BasicUnencoded => return basic(&self.credentials()),
                ClientAuthMethod::Post => {}
            }
        }
        form.append_pair("client_id", self.client_id);
        if !self.client_secret.is_empty() {
            form.append_pair("client_secret", self.client_secret);
        }
        None
    }

    fn credentials(&self) -> String {
        format!("{}:{}", self.client_id, self.client_secret)
    }

    /// Encodes a colon in the identifier, which would be taken for the separator.
    fn encoded_credentials(&self) -> String {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        format!("{}:{}", encode(self.client_id), encode(self.client_secret))
    }
}

fn basic(credentials: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::ClientAuthMethod::{Basic, BasicUnencoded, Post};
    use super::*;

    fn methods(listed: &[&str], secret: &str, wanted: Option<ClientAuthMethod>) -> Vec<ClientAuthMethod> {
        let listed = listed.iter().map(|method| (*method).to_owned()).collect();
        let client = ClientAuth { client_id: "filter", client_secret: secret, method: Basic };
        let metadata = Metadata { token_endpoint_auth_methods_supported: listed, ..Metadata::default() };
        client.methods(&metadata, wanted)
    }

    #[test]
    fn basic_comes_first_unless_only_post_is_listed() {
        for listed in [
            &[][..],
            &["client_secret_basic"],
            &["client_secret_post", "client_secret_basic"],
            &["private_key_jwt"],
        ] {
            assert_eq!(methods(listed, "secret", None), [Basic, Post], "{listed:?}");
        }
        assert_eq!(methods(&["private_key_jwt", "client_secret_post"], "secret", None), [Post, Basic]);
    }

    #[test]
    fn configured_method_is_the_only_one() {
        assert_eq!(methods(&["client_secret_basic"], "secret", Some(Post)), [Post]);
        assert_eq!(methods(&["client_secret_post"], "secret", Some(Basic)), [Basic]);
        assert_eq!(methods(&["client_secret_basic"], "a+b", Some(Post)), [Post]);
    }

    #[test]
    fn secret_changed_by_form_encoding_is_also_sent_raw() {
        for secret in ["a+b", "100%", "a:b", "a/b", "a b", "\u{fc}"] {
            assert_eq!(methods(&[], secret, None), [Basic, Post, BasicUnencoded], "{secret}");
            assert_eq!(methods(&[], secret, Some(Basic)), [Basic, BasicUnencoded], "{secret}");
        }
        // Characters that form-encoding does not change; base64url consists of them.
        assert_eq!(methods(&[], "aZ09-._*", None), [Basic, Post]);
    }

    #[test]
    fn public_client_has_one_method() {
        for wanted in [None, Some(Basic), Some(Post)] {
            assert_eq!(methods(&[], "", wanted), [Post]);
        }
    }
}
