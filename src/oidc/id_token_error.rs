//! Why a token is not a valid ID token, or not a valid logout token.

use std::fmt;

/// Why an ID token, signed userinfo or a logout token is invalid.
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
    /// Its type is neither that of an ID token nor that of an access token.
    Kind,
    /// Its algorithm is `none`, HMAC, or an unknown one.
    Algorithm,
    /// The provider has no key of that identifier or type. Fetching the keys again may help.
    UnknownKey,
    /// The key that it names is for another algorithm.
    WrongKey,
    /// The signature is wrong.
    BadSignature,
    /// No key that was tried made the signature, and there are more keys.
    TooManyKeys,
    /// Its issuer is another one.
    Issuer,
    /// Its audience does not have this client.
    Audience,
    /// It was issued to another client.
    AuthorizedParty,
    /// It has expired, or has no expiry.
    Expired,
    /// It is valid only in the future, or was issued in the future.
    NotYetValid,
    /// It does not belong to the authorization request.
    Nonce,
    /// It is not a logout token.
    NoLogout,
    /// It is a logout token, and has a nonce, as an ID token has.
    HasNonce,
    /// It is a logout token without an identifier, so that it could be used again.
    NoTokenId,
    /// It is a logout token that names neither a session nor a user.
    NoSubject,
    /// It is a logout token that was issued too long ago, or does not say when.
    TooOld,
}

impl fmt::Display for IdTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is too large",
            Self::Malformed => "it is not a well-formed JWT",
            Self::Encrypted => "it is encrypted; the client must be registered for signed ID tokens",
            Self::Critical => "it has an extension that must be understood (crit)",
            Self::Kind => "it is a token of another kind (typ, or events)",
            Self::Algorithm => "it is not signed with RS, PS, ES256, ES384, ES512 or EdDSA",
            Self::UnknownKey => "the provider has no key for it (jwks_uri)",
            Self::WrongKey => "the key that it names is for another algorithm",
            Self::BadSignature => "its signature is invalid",
            Self::TooManyKeys => {
                "none of the first 3 suitable keys made its signature; the provider has to name the key (kid)"
            }
            Self::Issuer => "its issuer is another one (iss)",
            Self::Audience => "it is for another client (aud); see client_id and oidc_extra_audiences",
            Self::AuthorizedParty => "it was issued to another client (azp)",
            Self::Expired => "it has expired (exp)",
            Self::NotYetValid => "it is valid only in the future (nbf or iat); the clocks may differ",
            Self::Nonce => "it does not belong to this sign-in (nonce)",
            Self::NoLogout => "it is no logout token (events)",
            Self::HasNonce => "it has a nonce, so it is no logout token",
            Self::NoTokenId => "it has no identifier (jti)",
            Self::NoSubject => "it names neither a session (sid) nor a user (sub)",
            Self::TooOld => "it was issued too long ago, or does not say when (iat)",
        })
    }
}
