//! What a client says under names that are the filter's to fill in: none of it may arrive, however it is spelt.
//!
//! A reader may change a name. CGI and its heirs (PHP, WSGI, lighttpd) make `HTTP_X_FORWARDED_USER` of it, and each
//! byte that is no letter or digit may become the `_` there. So each of them counts as `-` here.

use super::{Forward, RequestHead};
use crate::config::Headers;

/// Names that only the filter may fill in, whichever of them it does: an upstream trusts them all. `GAP-Auth` is what
/// an oauth2-proxy with `signature_key` puts the email address in.
const IDENTITY: [&[u8]; 13] = [
    b"gap-auth",
    b"x-auth-request-access-token",
    b"x-auth-request-email",
    b"x-auth-request-groups",
    b"x-auth-request-id-token",
    b"x-auth-request-preferred-username",
    b"x-auth-request-user",
    b"x-forwarded-access-token",
    b"x-forwarded-email",
    b"x-forwarded-groups",
    b"x-forwarded-preferred-username",
    b"x-forwarded-user",
    super::SESSION_HEADER.as_bytes(),
];

const AUTHORIZATION: &[u8] = b"authorization";

/// Which names are the filter's.
#[derive(Clone, Copy)]
pub(super) enum Names {
    /// Those that say who somebody is.
    Identity,
    /// These, and `Authorization`, which is the filter's where an option sets it.
    WithAuthorization,
}

impl Names {
    /// By the options.
    pub(super) fn of(options: &Headers) -> Self {
        if options.sets_authorization() { Self::WithAuthorization } else { Self::Identity }
    }

    /// A request that goes on without what its client says under these names.
    pub(super) fn kept_from(self, head: &RequestHead) -> Forward {
        Forward { remove: self.found(head), connection: self.not_nominated(head), ..Forward::default() }
    }

    /// Those of a head, or of trailers, as they are spelt there.
    pub(super) fn found(self, fields: &RequestHead) -> Vec<Vec<u8>> {
        fields.headers().map(|(name, _)| name).filter(|name| self.has(name)).map(<[u8]>::to_vec).collect()
    }

    /// The `connection` header without them, where the client's has one: a proxy behind this one would drop the header
    /// of that name as meant for itself alone (RFC 9110 section 7.6.1). The rest stays, an upgrade needs it.
    fn not_nominated(self, head: &RequestHead) -> Option<Vec<u8>> {
        let options = || head.all("connection").flat_map(|value| value.split(|byte| *byte == b','));
        let is_ours = |option: &[u8]| option.split(|byte| !is_token(*byte)).any(|word| self.has(word));
        if !options().any(is_ours) {
            return None;
        }
        let others: Vec<&[u8]> =
            options().filter(|option| !is_ours(option)).map(<[u8]>::trim_ascii).collect();
        Some(others.join(b", ".as_slice()))
    }

    fn has(self, name: &[u8]) -> bool {
        match name {
            // Few names begin like this; all others are told by these bytes.
            [b'x' | b'X', separator, b'a' | b'A' | b'f' | b'F' | b'o' | b'O', ..] => {
                !separator.is_ascii_alphanumeric() && is_identity(name)
            }
            [b'g' | b'G', _, _, separator, ..] => !separator.is_ascii_alphanumeric() && is_identity(name),
            [b'a' | b'A', ..] => matches!(self, Self::WithAuthorization) && is_same(name, AUTHORIZATION),
            _ => false,
        }
    }
}

fn is_identity(name: &[u8]) -> bool {
    IDENTITY.iter().any(|ours| is_same(name, ours))
}

/// Whether a reader could take a name for ours, which is in lower case and has `-`.
pub(super) fn is_same(name: &[u8], ours: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == ours.len() && name.iter().map(plain).eq(ours.iter().copied())
}

/// Whether a byte may stand in a name (RFC 9110 section 5.6.2). Some proxies also end a name in `connection` at a blank
/// or at `;`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
