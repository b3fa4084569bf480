//! `Set-Cookie` headers (RFC 6265 section 4.1), written as Go's `net/http` writes them.
//!
//! ```text
//! name=value; Path=/; Domain=example.com; Max-Age=604800; HttpOnly; Secure; SameSite=Lax
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

/// The attributes of our cookies, from the `cookie_*` options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// `cookie_path`.
    pub path: String,
    /// `cookie_domains`, in any order.
    pub domains: Vec<String>,
    /// `cookie_httponly`.
    pub http_only: bool,
    /// `cookie_secure`.
    pub secure: bool,
    /// `cookie_samesite`.
    pub same_site: Option<SameSite>,
}

/// Which requests of other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Those that lead the browser here.
    Lax,
    /// None.
    Strict,
    /// All.
    None,
}

/// How long the browser keeps a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// Until the browser is closed.
    BrowserSession,
    /// So many seconds.
    Seconds(u64),
    /// No longer.
    Expired,
}

impl From<Duration> for MaxAge {
    /// oauth2-proxy's `cookie_expire`, where zero is the browser's session.
    fn from(expire: Duration) -> Self {
        match expire.as_secs() {
            0 => Self::BrowserSession,
            seconds => Self::Seconds(seconds),
        }
    }
}

impl Attributes {
    /// The header that sets a cookie.
    pub fn set_cookie(&self, name: &[u8], value: &[u8], max_age: MaxAge, host: &[u8]) -> Vec<u8> {
        [name, b"=", value, self.suffix(max_age, host).as_bytes()].concat()
    }

    /// The header that takes a cookie out of the browser.
    pub fn clear(&self, name: &[u8], host: &[u8]) -> Vec<u8> {
        self.set_cookie(name, b"", MaxAge::Expired, host)
    }

    /// What follows name and value.
    pub(super) fn suffix(&self, max_age: MaxAge, host: &[u8]) -> String {
        let mut suffix = String::new();
        let mut add = |name: &str, value: &str| {
            suffix.push_str("; ");
            suffix.push_str(name);
            suffix.push_str(value);
        };
        if !self.path.is_empty() {
            add("Path=", &self.path);
        }
        if let Some(domain) = self.domain(host) {
            add("Domain=", domain);
        }
        match max_age {
            MaxAge::BrowserSession => {}
            MaxAge::Seconds(seconds) => add("Max-Age=", &seconds.to_string()),
            MaxAge::Expired => add("Max-Age=", "0"),
        }
        if self.http_only {
            add("HttpOnly", "");
        }
        if self.secure {
            add("Secure", "");
        }
        match self.same_site {
            None => {}
            Some(SameSite::Lax) => add("SameSite=", "Lax"),
            Some(SameSite::Strict) => add("SameSite=", "Strict"),
            Some(SameSite::None) => add("SameSite=", "None"),
        }
        suffix
    }

    /// The longest domain that the host ends with, else the shortest of all. The host has its port, as
    /// in oauth2-proxy (v7.15.3, `GetCookieDomain`): with one, the shortest is taken.
    fn domain(&self, host: &[u8]) -> Option<&str> {
        let longest = self
            .domains
            .iter()
            .filter(|domain| host.ends_with(domain.as_bytes()))
            .max_by_key(|domain| domain.len());
        let domain = longest.or_else(|| self.domains.iter().min_by_key(|domain| domain.len()))?;
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        is_domain(domain).then_some(domain)
    }
}

/// Whether a browser would take it for a domain; Go leaves the attribute out otherwise.
fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    domain.parse::<Ipv4Addr>().is_ok() || (domain.len() <= 255 && domain.split('.').all(is_label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    fn attributes() -> Attributes {
        Attributes {
            path: "/".to_owned(),
            domains: Vec::new(),
            http_only: true,
            secure: true,
            same_site: None,
        }
    }

    const WEEK: Duration = Duration::from_secs(604_800);

    #[test]
    fn writes_what_the_original_writes() {
        let vectors = vectors::load();
        let suffix = |expire| attributes().suffix(MaxAge::from(expire), b"example.com");
        assert_eq!(suffix(Duration::from_secs(900)), vectors["csrf_attrs"]);
        assert_eq!(suffix(Duration::ZERO), vectors["session_cookie_expire0_attrs"]);
        for cleared in vectors["cookie_clear"].as_array().unwrap() {
            let cleared = cleared.as_str().unwrap();
            let name = cleared.split('=').next().unwrap();
            assert_eq!(attributes().clear(name.as_bytes(), b"example.com"), cleared.as_bytes());
        }
    }

    #[test]
    fn chooses_the_domain_that_the_original_chooses() {
        let attributes = Attributes {
            domains: vec!["example.com".to_owned(), "sub.example.com".to_owned()],
            same_site: Some(SameSite::Lax),
            ..attributes()
        };
        for case in vectors::load()["domain_variants"].as_array().unwrap() {
            let host = case["host"].as_str().unwrap();
            assert_eq!(attributes.suffix(MaxAge::from(WEEK), host.as_bytes()), case["attrs"], "{host}");
        }
    }

    #[test]
    fn a_leading_dot_is_not_sent_and_a_domain_that_is_none_neither() {
        let domain = |domain: &str| {
            let domains = vec![domain.to_owned()];
            Attributes { domains, ..attributes() }.suffix(MaxAge::Expired, b"a.example.com")
        };
        assert!(domain(".example.com").contains("; Domain=example.com;"));
        assert!(domain("10.0.0.1").contains("; Domain=10.0.0.1;"));
        for none in ["exa mple.com", "a..b", "-a.b", "[::1]", "a;b"] {
            assert!(!domain(none).contains("Domain"), "{none}");
        }
    }
}
