//! What the parsers of the provider's JSON have in common.

use serde_json::{Map, Value};

use super::MAX_BODY;

/// The JSON object in `body`; `None` if it is something else, or too large.
pub(super) fn object(body: &[u8]) -> Option<Map<String, Value>> {
    if body.len() > MAX_BODY {
        return None;
    }
    serde_json::from_slice(body).ok()
}

/// The member `name`, if it is a string that is not empty. To RFC 6749 and OpenID Connect, an empty member is a missing one.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}
