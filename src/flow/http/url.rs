//! Parts of a URL: a value for a query, an origin, an authority.

use http::uri::Authority;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A query value.
pub(in crate::flow) fn encode(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string()
}

/// Whether two absolute URLs have the same origin (RFC 6454 section 5): scheme, host and port.
pub(in crate::flow) fn is_same_origin(one: &str, other: &str) -> bool {
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

/// Whether a text is the origin of a URL, as an `Origin` header has it: nothing follows host and port.
pub(in crate::flow) fn is_origin_of(origin: &str, url: &str) -> bool {
    let is_bare = origin.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#']));
    is_bare && is_same_origin(origin, url)
}

/// Whether two absolute URLs have the same host and port, whatever their schemes.
pub(in crate::flow) fn is_same_authority(one: &str, other: &str) -> bool {
    let authority =
        |url| Absolute::parse(url).map(|url| (url.host(), url.port().filter(|_| !url.is_at_default_port())));
    authority(one).is_some_and(|one| authority(other) == Some(one))
}

fn origin(url: &str) -> Option<(&'static str, String, u16)> {
    let url = Absolute::parse(url)?;
    Some((url.scheme, url.host(), url.port().unwrap_or(url.default_port())))
}

/// An http(s) URL with a host that all clients read alike. What follows the authority is not checked.
pub(in crate::flow) struct Absolute {
    scheme: &'static str,
    authority: Authority,
}

impl Absolute {
    pub(in crate::flow) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = ["https", "http"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Some(Self { scheme, authority: authority(rest.get(..end)?)? })
    }

    /// In lower case, an IPv6 address in its brackets.
    pub(in crate::flow) fn host(&self) -> String {
        self.authority.host().to_ascii_lowercase()
    }

    pub(in crate::flow) fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// The scheme and the authority, without the scheme's default port.
    pub(in crate::flow) fn origin(&self) -> String {
        let port = self.port().filter(|_| !self.is_at_default_port());
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{}{port}", self.scheme, self.host())
    }

    fn default_port(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }

    fn is_at_default_port(&self) -> bool {
        self.port() == Some(self.default_port())
    }
}

/// Host and port, and nothing that hides the host: no user name before an `@`, no `\`, which browsers read as `/`, and
/// no percent sign, which they decode.
pub(in crate::flow) fn authority(text: &str) -> Option<Authority> {
    let authority = text.parse::<Authority>().ok()?;
    let host = authority.host();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_plain = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.bytes().all(is_address),
        None => host.bytes().all(is_name),
    };
    let port = text.strip_prefix(host)?.strip_prefix(':');
    let is_whole = match port {
        Some(port) => authority.port_u16().is_some() && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => text == host,
    };
    (!host.is_empty() && is_plain && is_whole).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::{authority, is_same_authority, is_same_origin};

    #[test]
    fn authority_is_host_with_optional_port() {
        for text in
            ["app.example.com", "APP.example.com:8443", "a_b", "127.0.0.1:80", "[::1]", "[fd00::1]:443"]
        {
            assert!(authority(text).is_some(), "{text}");
        }
        for text in [
            "", ":80", "a@b", "a:b@c", "b:1@b:80", "a:+80", "a:", "a:65536", "a:port", "a,b", "a b", "a\\b",
            "a/b", "a?b", "a#b", "a%2eb", "\u{e4}", "[::1", "[::1]x", "[a@b]", "[]x", "a, b", "a:80:80",
        ] {
            assert!(authority(text).is_none(), "{text}");
        }
    }

    #[test]
    fn authority_equals_itself_with_default_port() {
        let here = "https://auth.example.com/oauth2/callback";
        for same in
            ["http://AUTH.example.com/x", "https://auth.example.com:443/", "http://auth.example.com:80"]
        {
            assert!(is_same_authority(same, here) && is_same_authority(here, same), "{same}");
        }
        for other in
            ["http://auth.example.com:443/", "https://auth.example.com:8443", "https://example.com/", "/x"]
        {
            assert!(!is_same_authority(other, here) && !is_same_authority(here, other), "{other}");
        }
    }

    #[test]
    fn origin_is_scheme_host_and_port() {
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
}
