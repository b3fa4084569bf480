//! Identity headers, and the guard header, that a client forged. None of them may reach the upstream, in any spelling.
//!
//! An upstream may read a name as another one: CGI, PHP, WSGI and lighttpd make `HTTP_X_FORWARDED_USER` of it, and any
//! byte that is not an ASCII letter or digit can become a `_` there. So each such byte counts as `-` here.

use super::request::RequestHead;
use crate::config::Headers;
use session_codec::header_block::HeaderBlock;

/// The response header by which a login app hands a session over.
const SESSION_HEADER: &str = "x-oauth2-session";

/// The request header of `pass_guard_header`: it says that the filter let the request through.
pub const GUARD_HEADER: &str = "x-oauth2-session-guard";

/// Names that only the filter may set. The list has also those that it does not set, because upstreams trust them.
/// oauth2-proxy sets `GAP-Auth` to the email address, with `signature_key`.
const IDENTITY: [&[u8]; 14] = [
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
    SESSION_HEADER.as_bytes(),
    GUARD_HEADER.as_bytes(),
];

const AUTHORIZATION: &[u8] = b"authorization";

/// Which names only the filter may set.
#[derive(Clone, Copy)]
pub(in crate::flow) enum ProtectedNames {
    /// The identity headers.
    Identity,
    /// These, and `Authorization`, if an option sets it.
    WithAuthorization,
}

impl ProtectedNames {
    /// By the options.
    pub(in crate::flow) fn of(options: &Headers) -> Self {
        if options.sets_authorization() { Self::WithAuthorization } else { Self::Identity }
    }

    /// These names in a head or in trailers, in the client's spelling.
    pub(in crate::flow) fn found(self, fields: &HeaderBlock) -> Vec<Vec<u8>> {
        fields.headers().map(|(name, _)| name).filter(|name| self.has(name)).map(<[u8]>::to_vec).collect()
    }

    /// The client's `connection` header without these names; none if it has none of them. The next proxy would drop the
    /// headers that are named there (RFC 9110 section 7.6.1). The rest stays, because an upgrade needs it.
    pub(in crate::flow) fn not_nominated(self, head: &RequestHead) -> Option<Vec<u8>> {
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
            // These bytes rule out almost every other name, which matters on the hot path.
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

/// Whether a response header hands a session over, in any spelling. It has tokens, so the browser must not get it.
pub fn is_session_header(name: &[u8]) -> bool {
    is_same(name, SESSION_HEADER.as_bytes())
}

/// Whether an upstream could read a name as `ours`, which is in lower case with `-`.
fn is_same(name: &[u8], ours: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    name.len() == ours.len() && name.iter().map(plain).eq(ours.iter().copied())
}

/// Whether a byte may be part of a name (RFC 9110 section 5.6.2). At any other byte a name in `connection` may end for the
/// next proxy: for Apache's httpd it does at a blank and at `;`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
