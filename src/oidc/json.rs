//! What the parsers of the provider's JSON have in common.

use serde_json::{Map, Value};

use super::MAX_BODY;

/// The JSON object that `body` is; nothing where it is something else, or too large.
pub(super) fn object(body: &[u8]) -> Option<Map<String, Value>> {
    if body.len() > MAX_BODY {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The member `name` where it is a string with something in it. RFC 6749 and the OpenID documents know no
/// difference between an empty member and none.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}
