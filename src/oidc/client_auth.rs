//! How the client says who it is at the token endpoint (RFC 6749 section 2.3.1, OpenID Connect Core 9).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;

use super::Metadata;

/// Where the secret goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMethod {
    /// `client_secret_basic`: in the `authorization` header.
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

impl ClientAuthMethod {
    /// What the provider takes. Basic is the default of Discovery 1.0 section 3, and what every server
    /// must know by RFC 6749; so the other one only where it is listed and Basic is not.
    pub fn choose(metadata: &Metadata) -> Self {
        let lists =
            |name: &str| metadata.token_endpoint_auth_methods_supported.iter().any(|listed| listed == name);
        if lists("client_secret_post") && !lists("client_secret_basic") { Self::Post } else { Self::Basic }
    }
}

/// The client and its secret. A client whose secret is empty is a public one: it has a name, and cannot
/// prove it (RFC 6749 section 2.1).
#[derive(Clone, Copy)]
pub struct ClientAuth<'a> {
    /// The client's name at the provider.
    pub client_id: &'a str,
    /// Its secret.
    pub client_secret: &'a str,
    /// Where the secret goes.
    pub method: ClientAuthMethod,
}

impl ClientAuth<'_> {
    /// Adds what belongs in the body, and returns what belongs in the `authorization` header.
    pub(super) fn apply(&self, form: &mut Serializer<'_, String>) -> Option<HeaderValue> {
        if !self.client_secret.is_empty() && self.method == ClientAuthMethod::Basic {
            return self.basic();
        }
        form.append_pair("client_id", self.client_id);
        if !self.client_secret.is_empty() {
            form.append_pair("client_secret", self.client_secret);
        }
        None
    }

    /// Form-encoded first, so that a colon in the name is no separator.
    fn basic(&self) -> Option<HeaderValue> {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = format!("{}:{}", encode(self.client_id), encode(self.client_secret));
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(methods: &[&str]) -> ClientAuthMethod {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        ClientAuthMethod::choose(&Metadata {
            token_endpoint_auth_methods_supported: methods,
            ..Metadata::default()
        })
    }

    #[test]
    fn the_secret_goes_in_the_header_unless_the_provider_takes_it_in_the_body_alone() {
        assert_eq!(chosen(&[]), ClientAuthMethod::Basic);
        assert_eq!(chosen(&["client_secret_basic"]), ClientAuthMethod::Basic);
        assert_eq!(chosen(&["client_secret_post", "client_secret_basic"]), ClientAuthMethod::Basic);
        assert_eq!(chosen(&["private_key_jwt"]), ClientAuthMethod::Basic);
        assert_eq!(chosen(&["private_key_jwt", "client_secret_post"]), ClientAuthMethod::Post);
    }
}
