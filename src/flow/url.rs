//! Parts of a URL: a value for a query, and a path that can be trusted to be just one.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::config::MAX_PATH;

/// A query value.
pub(super) fn encode(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string()
}

/// Whether two absolute URLs have the same origin (RFC 6454 section 5): scheme, host and port.
pub(super) fn is_same_origin(one: &str, other: &str) -> bool {
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

fn origin(url: &str) -> Option<(String, String, u16)> {
    let url = url.parse::<Uri>().ok()?;
    let (scheme, authority) = (url.scheme_str()?.to_ascii_lowercase(), url.authority()?);
    let port = match (authority.port_u16(), scheme.as_str()) {
        (Some(port), "http" | "https") => port,
        (None, "http") if authority.as_str() == authority.host() => 80,
        (None, "https") if authority.as_str() == authority.host() => 443,
        _ => return None,
    };
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

/// Whether everybody reads the path alike. `/public/../admin`, also in percent-encoding, is under
/// `/public` for a pattern and under `/admin` for many an upstream: such a path skips nothing. Nor does one that
/// is too long to be read.
pub(super) fn is_unambiguous(path: &[u8]) -> bool {
    if path.len() > MAX_PATH {
        return false;
    }
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
    use super::{is_same_origin, is_unambiguous};

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let here = "https://login.example.com/end";
        for same in [
            "https://login.example.com",
            "https://LOGIN.example.com/other?x#y",
            "HTTPS://login.example.com:443/",
            "https://login.example.com?x={id_token}",
        ] {
            assert!(is_same_origin(same, here) && is_same_origin(here, same), "{same}");
        }
        for other in [
            "http://login.example.com/end",
            "https://login.example.com:8443/end",
            "http://login.example.com:443/end",
            "https://example.com/end",
            "https://login.example.com.evil.example/end",
            "https://evil.example/login.example.com",
            "https://login.example.com./end",
            "https://login.example.com:/end",
            "https://login.example.com:65979/end",
            "/end",
            "//login.example.com/end",
            "login.example.com:443",
            "",
        ] {
            assert!(!is_same_origin(other, here), "{other}");
            assert!(!is_same_origin(here, other), "{other}");
        }
        assert!(is_same_origin("http://login.example.com", "http://login.example.com:80/x"));
        assert!(!is_same_origin("ftp://a/", "ftp://a/") && !is_same_origin("/", "/"));
    }

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
        assert!(!is_unambiguous(&[b"/public/".as_slice(), &[b'a'; 2041]].concat()));
        for path in ["/public/", "/public/a..b", "/public/%C3%A4", "/public/a%20b", "/..."] {
            assert!(is_unambiguous(path.as_bytes()), "{path}");
        }
    }
}
