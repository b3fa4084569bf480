//! The names of the CSRF cookies, which follow from the name of the session cookie.
//!
//! ```text
//! _oauth2_proxy_csrf              one for all sign-ins of a browser
//! _oauth2_proxy_1a2b3c4d_csrf     one for each: 8 characters of the hash of its state
//! ```

/// How many characters of the hash a name has.
const HASH: usize = 8;

/// The name of the CSRF cookie: of all sign-ins of a browser, or of the one with this hash of the state.
pub fn csrf_cookie_name(cookie_name: &str, state_hash: Option<&str>) -> String {
    match state_hash {
        None => format!("{cookie_name}_csrf"),
        Some(hash) => format!("{cookie_name}_{}_csrf", hash.get(..HASH).unwrap_or(hash)),
    }
}

/// Whether a cookie is a CSRF cookie of the session cookie of this name.
pub fn is_csrf_name(cookie_name: &[u8], candidate: &[u8]) -> bool {
    let middle = candidate.strip_prefix(cookie_name).and_then(|rest| rest.strip_suffix(b"_csrf"));
    match middle {
        Some([]) => true,
        Some([b'_', hash @ ..]) => hash.len() == HASH,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{csrf_cookie_name, is_csrf_name};
    use crate::vectors;

    const NAME: &str = "_oauth2_proxy";

    #[test]
    fn csrf_cookie_names_are_those_of_oauth2_proxy() {
        let vectors = vectors::load();
        let state_hash = vectors["csrf_hash_state"].as_str().unwrap();
        let name = csrf_cookie_name(NAME, Some(state_hash));
        assert_eq!(name, vectors["csrf_per_request_name"].as_str().unwrap());
        for name in [&name, "_oauth2_proxy_csrf"] {
            assert!(is_csrf_name(NAME.as_bytes(), name.as_bytes()), "{name}");
        }
        for name in ["_oauth2_proxy", "_oauth2_proxy_x_csrf", "_oauth2_proxy2_csrf", "other_csrf"] {
            assert!(!is_csrf_name(NAME.as_bytes(), name.as_bytes()), "{name}");
        }
    }
}
