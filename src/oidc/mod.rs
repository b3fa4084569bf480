//! OpenID Connect without I/O: requests and answers as values.
//!
//! | file | what it is about |
//! |---|---|
//! | `metadata` | the provider's discovery document (OpenID Connect Discovery 1.0) |
//! | `location` | the target of a redirect of that document, or of the keys |
//! | `authorization` | the authorization request (RFC 6749 section 4.1.1) |
//! | `end_session` | the logout request (RP-Initiated Logout 1.0) |
//! | `query` | an endpoint with a request in its query, for both |
//! | `pkce` | the proof that a code is redeemed by the client that asked for it (RFC 7636) |
//! | `client_auth` | client authentication at the token endpoint (RFC 6749 section 2.3.1) |
//! | `grant` | requests to the token endpoint (RFC 6749 sections 4.1.3 and 6) |
//! | `token_response` | responses of the token endpoint (RFC 6749 sections 5.1 and 5.2) |
//! | `jwks` | the provider's keys (RFC 7517) |
//! | `jws` | a signed token and its signature (RFC 7515) |
//! | `id_token`, `id_token_error` | the validation of an ID token, and of signed userinfo (OpenID Connect Core 3.1.3.7, 5.3.2), and its errors |
//! | `logout_token` | the validation of a logout token (OpenID Connect Back-Channel Logout 1.0) |
//! | `userinfo` | the userinfo endpoint (OpenID Connect Core 5.3) |
//! | `identity` | from claims to an identity, by oauth2-proxy's rules |
//! | `keycloak`, `entra` | what these two providers add to the standards |
//!
//! Every byte that is read here may come from an attacker. Time is a parameter.

mod authorization;
mod client_auth;
mod end_session;
mod entra;
mod grant;
mod id_token;
mod id_token_error;
mod identity;
mod json;
mod jwks;
mod jws;
mod keycloak;
mod location;
mod logout_token;
mod metadata;
mod pkce;
mod public_key;
mod query;
#[cfg(test)]
pub(crate) mod tests;
mod token_response;
mod userinfo;

pub use authorization::{AuthorizationRequest, authorization_url};
pub use client_auth::{ClientAuth, ClientAuthMethod};
pub use end_session::EndSessionRequest;
pub use entra::{entra_tenant, has_entra_overage};
pub use grant::{code_grant, refresh_grant};
pub use id_token::{
    Expected, TokenUser, expiry, subject, unverified_issuer, unverified_subject, unverified_user, verify,
    verify_userinfo,
};
pub use id_token_error::IdTokenError;
pub use identity::{ClaimNames, Identity, claim_text};
pub use jwks::{Jwks, JwksError, SkippedKey};
pub(crate) use jws::MAX_TRIED;
pub use keycloak::{KEYCLOAK_ROLE, keycloak_roles};
pub use location::redirect_target;
pub use logout_token::{LogoutScope, LogoutToken, REMEMBERED, verify_logout};
pub use metadata::{Metadata, is_unencrypted, metadata_url};
pub use pkce::{code_challenge_s256, code_verifier};
pub use token_response::{ErrorScope, GrantError, TokenResponse, is_invalid_client, is_temporary};
pub use userinfo::{Userinfo, parse_userinfo, userinfo_request};

/// The largest response of the provider that is read. A discovery document has about 5 kB, a hundred keys with their
/// certificates less than 400 kB.
const MAX_BODY: usize = 512 * 1024;

/// The largest token that is read. It has room for hundreds of groups.
const MAX_TOKEN: usize = 128 * 1024;
