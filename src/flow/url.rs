//! Parts of a URL: a value for a query, and a path that can be trusted to be just one.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// A query value.
pub(super) fn encode(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string()
}

/// Whether everybody reads the path alike. `/public/../admin`, also in percent-encoding, is under
/// `/public` for a pattern and under `/admin` for many an upstream: such a path skips nothing.
pub(super) fn is_unambiguous(path: &[u8]) -> bool {
    let decoded: Vec<u8> = percent_decode(path).collect();
    // Whoever reads the decoded path once more cuts it off at a `?` or `#`, and a segment at a `;`.
    let has_parent = decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(segment, [b'.', b'.'] | [b'.', b'.', b';' | b'?' | b'#', ..]));
    // A percent sign that survives decoding hides another layer from us.
    !has_parent && !decoded.contains(&b'%') && !decoded.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::is_unambiguous;

    #[test]
    fn a_path_that_can_be_read_in_two_ways_skips_nothing() {
        for path in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/.%2E/admin",
            "/public/..%2fadmin",
            "/public/..\\admin",
            "/public/..;/admin",
            "/public/..%3fx",
            "/public/..%23",
            "/public/%252e%252e/admin",
            "/public/%00",
        ] {
            assert!(!is_unambiguous(path.as_bytes()), "{path}");
        }
        for path in ["/public/", "/public/a..b", "/public/%C3%A4", "/public/a%20b", "/..."] {
            assert!(is_unambiguous(path.as_bytes()), "{path}");
        }
    }
}
