//! Why a grant did not end in a session, and who can act on it.

use std::fmt;

use crate::flow::outcome::Unavailable;
use crate::oidc;
use crate::oidc::{ErrorScope, GrantError, IdTokenError};

/// Why a grant did not end in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum SignInError {
    /// The provider, or something else that a sign-in needs, is unavailable now.
    Unavailable(Unavailable),
    /// The same, after the code was redeemed: the code cannot be used again.
    CodeUsed(Unavailable),
    /// The code or the refresh token is used, expired or revoked (RFC 6749 section 5.2).
    InvalidGrant,
    /// The provider rejects this client, or its answer breaks the protocol.
    Grant(GrantError),
    /// A code grant without an ID token.
    NoIdToken,
    /// The ID token is invalid.
    IdToken(IdTokenError),
    /// Userinfo is a JWT that is invalid.
    Userinfo(IdTokenError),
    /// The refreshed ID token, or userinfo, is about another person.
    OtherSubject,
    /// Neither the ID token nor userinfo has the claim that `oidc_email_claim` names.
    NoEmail,
    /// Userinfo has no subject.
    NoSubject,
    /// `email_verified` is false.
    UnverifiedEmail,
    /// The account has no tenant, or one that is not in `entra_id_allowed_tenants`.
    Tenant,
    /// The access token is not a JWT, so it has no roles.
    NoRoles,
}

impl SignInError {
    /// What the provider's answer is about. If it is about the user, it counts as about the token: the same request
    /// would get the same answer, and a new sign-in may not.
    pub(in crate::flow) fn about(&self) -> ErrorScope {
        match self {
            Self::InvalidGrant | Self::OtherSubject | Self::UnverifiedEmail | Self::Tenant => {
                ErrorScope::Token
            }
            Self::Grant(error) => error.about(),
            Self::Unavailable(_) | Self::NoIdToken | Self::IdToken(_) => ErrorScope::Outage,
            // The session keeps what the answer does not say.
            Self::Userinfo(_) | Self::NoSubject | Self::NoEmail | Self::NoRoles | Self::CodeUsed(_) => {
                ErrorScope::Outage
            }
        }
    }

    /// How many signature checks an invalid token has cost; at least.
    pub(in crate::flow) fn forged_signatures(&self) -> u32 {
        match self {
            Self::IdToken(IdTokenError::BadSignature) => 1,
            Self::IdToken(IdTokenError::TooManyKeys) => oidc::MAX_TRIED,
            _ => 0,
        }
    }
}

impl From<Unavailable> for SignInError {
    fn from(reason: Unavailable) -> Self {
        Self::Unavailable(reason)
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) | Self::CodeUsed(reason) => f.write_str(reason.explain()),
            Self::InvalidGrant => f.write_str("the provider answered invalid_grant"),
            Self::Grant(error) => write!(f, "token endpoint: {error}"),
            Self::NoIdToken => f.write_str("the token endpoint gave no ID token"),
            Self::IdToken(error) => write!(f, "ID token: {error}"),
            Self::Userinfo(IdTokenError::Encrypted) => f.write_str(
                "userinfo: it is encrypted; the client must be registered for userinfo that is signed or plain \
                 (without userinfo_encrypted_response_alg), or see skip_claims_from_profile_url",
            ),
            Self::Userinfo(error) => write!(f, "userinfo: {error}"),
            Self::OtherSubject => f.write_str("the provider's answer is about another user"),
            Self::NoSubject => f.write_str(
                "userinfo has no sub, so it may be about another user; see skip_claims_from_profile_url",
            ),
            Self::NoEmail => f.write_str("no claim has the email address; see oidc_email_claim"),
            Self::Tenant => f.write_str("the tenant is not allowed; see entra_id_allowed_tenants"),
            Self::NoRoles => f.write_str("the access token is not a JWT, so it has no roles for keycloak-oidc"),
            Self::UnverifiedEmail => {
                f.write_str("the email address is not verified; see insecure_oidc_allow_unverified_email")
            }
        }
    }
}
