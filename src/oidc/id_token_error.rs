//! Why a token is no ID token that holds.

use std::fmt;

/// Why an ID token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenError {
    /// It is too long.
    TooLarge,
    /// It is not a signed JWT whose payload is a JSON object, or a claim has the wrong type.
    Malformed,
    /// It is encrypted.
    Encrypted,
    /// It has an extension that must be understood.
    Critical,
    /// It says that it is neither an ID token nor an access token.
    Kind,
    /// Its algorithm is `none`, HMAC, or one that we do not know.
    Algorithm,
    /// The provider's keys have none of its name or type. A new look at them may help.
    UnknownKey,
    /// The key of its name is for another algorithm.
    WrongKey,
    /// The signature is wrong.
    BadSignature,
    /// The signature is of none of the keys that were tried, and there are more.
    TooManyKeys,
    /// It is another issuer's.
    Issuer,
    /// It is for others than this client.
    Audience,
    /// It was given to another client.
    AuthorizedParty,
    /// It has expired, or does not say when it will.
    Expired,
    /// It begins to hold in the future, or was made there.
    NotYetValid,
    /// It does not answer our authorization request.
    Nonce,
}

impl fmt::Display for IdTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is too large",
            Self::Malformed => "it is not a JWT of the right form",
            Self::Encrypted => "it is encrypted; the client must be registered for signed ID tokens",
            Self::Critical => "it has an extension that must be understood (crit)",
            Self::Kind => "it is a token of another kind (typ, or events), such as a logout token",
            Self::Algorithm => "it is not signed with RS, PS, ES256, ES384, ES512 or EdDSA",
            Self::UnknownKey => "no key of the provider (jwks_uri) fits it",
            Self::WrongKey => "the key that it names is for another algorithm",
            Self::BadSignature => "its signature does not hold",
            Self::TooManyKeys => {
                "its signature is of none of the first 3 keys that fit; the provider has to name the key (kid)"
            }
            Self::Issuer => "it is of another issuer (iss)",
            Self::Audience => "it is for another client (aud); see client_id and oidc_extra_audiences",
            Self::AuthorizedParty => "it was given to another client (azp)",
            Self::Expired => "it has expired (exp)",
            Self::NotYetValid => "it begins in the future (nbf or iat); the clocks may differ",
            Self::Nonce => "it does not belong to this sign-in (nonce)",
        })
    }
}
