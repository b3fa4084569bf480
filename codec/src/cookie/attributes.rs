//! `Set-Cookie` headers (RFC 6265 section 4.1), written as Go's `net/http` writes them.
//!
//! ```text
//! name=value; Path=/; Domain=example.com; Max-Age=604800; HttpOnly; Secure; SameSite=Lax
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

/// The longest host name, as text (RFC 1035 section 2.3.4 counts two bytes more on the wire).
const MAX_DOMAIN: usize = 253;

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

/// Which requests from other sites carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only links that lead the browser here.
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
    /// This many seconds.
    Seconds(u64),
    /// The browser deletes it.
    Expired,
}

impl From<Duration> for MaxAge {
    /// oauth2-proxy's `cookie_expire`: zero means until the browser is closed.
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

    /// The header that deletes a cookie in the browser.
    pub fn clear(&self, name: &[u8], host: &[u8]) -> Vec<u8> {
        self.set_cookie(name, b"", MaxAge::Expired, host)
    }

    /// The headers that delete it in every other scope that this host can set. A browser keeps one cookie for each name,
    /// domain and path (RFC 6265 section 5.3), so earlier values of `cookie_domains` or `cookie_path` left others.
    pub fn clear_others<'a>(&'a self, name: &'a [u8], host: &'a [u8]) -> impl Iterator<Item = Vec<u8>> {
        let scopes = (!is_of_host(name)).then(|| self.other_scopes(host));
        scopes.into_iter().flatten().map(move |(domain, path)| {
            let suffix = self.suffix_of(MaxAge::Expired, domain, path);
            [name, b"=", suffix.as_bytes()].concat()
        })
    }

    /// Domains and paths: no domain (the host alone), the host, and each parent domain; at `cookie_path` and at `/`.
    fn other_scopes<'a>(&'a self, host: &'a [u8]) -> impl Iterator<Item = (Option<&'a str>, &'a str)> {
        let own = self.domain(host);
        let is_own = move |domain: &str| own.is_some_and(|own| own.eq_ignore_ascii_case(domain));
        let above = domains(host).filter(move |domain| !is_own(domain)).map(Some);
        let of_host = own.is_some().then_some(None);
        let domains = std::iter::once(own).chain(of_host).chain(above);
        let root = (self.path != "/").then_some("/");
        let scopes = domains.flat_map(move |domain| {
            std::iter::once(self.path.as_str()).chain(root).map(move |path| (domain, path))
        });
        // The first is the configured scope.
        scopes.skip(1)
    }

    /// The attributes, as they follow name and value.
    pub(super) fn suffix(&self, max_age: MaxAge, host: &[u8]) -> String {
        self.suffix_of(max_age, self.domain(host), &self.path)
    }

    fn suffix_of(&self, max_age: MaxAge, domain: Option<&str>, path: &str) -> String {
        let mut suffix = String::new();
        let mut add = |name: &str, value: &str| {
            suffix.push_str("; ");
            suffix.push_str(name);
            suffix.push_str(value);
        };
        if !path.is_empty() {
            add("Path=", path);
        }
        if let Some(domain) = domain {
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

    /// The domain that oauth2-proxy chooses, so that each of the two can delete the other's cookies. oauth2-proxy compares
    /// bytes (v7.15.3, `GetCookieDomain`), port included, and takes the shortest domain if none matches. A browser may
    /// reject that domain at this host, and no user could sign in. Then the longest domain that the browser accepts is
    /// used, or no domain at all.
    fn domain(&self, host: &[u8]) -> Option<&str> {
        let fitting = self.domains.iter().filter(|domain| host.ends_with(domain.as_bytes()));
        let theirs = fitting
            .max_by_key(|domain| domain.len())
            .or_else(|| self.domains.iter().min_by_key(|domain| domain.len()));
        let mut accepted: Vec<&str> = self.domains.iter().map(|domain| without_dot(domain)).collect();
        accepted.retain(|domain| is_domain(domain) && matches_domain(without_port(host), domain));
        let theirs = theirs.map(|domain| without_dot(domain)).filter(|domain| accepted.contains(domain));
        theirs.or_else(|| accepted.into_iter().max_by_key(|domain| domain.len()))
    }
}

/// Whether the name restricts a cookie to its host at `/` (RFC 6265bis section 4.1.3.2).
fn is_of_host(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"__Host-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The host, and each parent domain of two labels or more. A browser ignores public suffixes such as `co.uk`.
fn domains(host: &[u8]) -> impl Iterator<Item = &str> {
    let host = std::str::from_utf8(without_port(host)).ok();
    let host = host.filter(|host| is_domain(host) && host.parse::<Ipv4Addr>().is_err());
    std::iter::successors(host, |domain| domain.split_once('.').map(|(_, above)| above))
        .take_while(|domain| domain.contains('.'))
}

/// RFC 6265 section 5.2.3 ignores a dot at the beginning.
pub fn without_dot(domain: &str) -> &str {
    domain.strip_prefix('.').unwrap_or(domain)
}

/// The host of an authority. An IPv6 address keeps its brackets; no domain matches it.
fn without_port(authority: &[u8]) -> &[u8] {
    let port = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let host = authority.len().checked_sub(port).and_then(|length| authority.get(..length));
    host.and_then(|host| host.strip_suffix(b":")).unwrap_or(authority)
}

/// RFC 6265 section 5.1.3: equal, or a suffix that begins at a label. An IP address has no labels.
fn matches_domain(host: &[u8], domain: &str) -> bool {
    let Some(labels) = host.len().checked_sub(domain.len()).and_then(|length| host.split_at_checked(length))
    else {
        return false;
    };
    let (before, end) = labels;
    let is_address = std::str::from_utf8(host).is_ok_and(|host| host.parse::<Ipv4Addr>().is_ok());
    end.eq_ignore_ascii_case(domain.as_bytes())
        && (before.is_empty() || (before.ends_with(b".") && !is_address))
}

/// Whether a browser accepts this as a domain: a host name (RFC 1123 section 2.1), with `_` allowed in its labels. An IPv4
/// address looks like one.
pub fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    domain.len() <= MAX_DOMAIN && domain.split('.').all(is_label)
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
    fn attributes_are_written_as_by_oauth2_proxy() {
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
    fn domain_is_chosen_as_by_oauth2_proxy() {
        let attributes = Attributes {
            domains: vec!["example.com".to_owned(), "sub.example.com".to_owned()],
            same_site: Some(SameSite::Lax),
            ..attributes()
        };
        let cases = vectors::load()["domain_variants"].clone();
        // No domain matches this host, but oauth2-proxy sends one.
        let fits = |case: &&serde_json::Value| case["host"] != "other.org";
        for case in cases.as_array().unwrap().iter().filter(fits) {
            let host = case["host"].as_str().unwrap();
            assert_eq!(attributes.suffix(MaxAge::from(WEEK), host.as_bytes()), case["attrs"], "{host}");
        }
    }

    /// The domain for a cookie at that host.
    fn chosen(domains: &[&str], host: &str) -> Option<String> {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Attributes { domains, ..attributes() }.domain(host.as_bytes()).map(str::to_owned)
    }

    #[test]
    fn domain_matches_host_as_in_rfc_6265() {
        let cases: [(&[&str], &str, Option<&str>); 16] = [
            (&["abcdef.com", "xyz.com"], "abcdef.com:8080", Some("abcdef.com")),
            (&[".abc.com", ".o.com"], "abc.com", Some("abc.com")),
            (&["example.com"], "EXAMPLE.COM", Some("example.com")),
            (&["Example.com"], "www.example.com", Some("Example.com")),
            (&["example.com"], "notexample.com", None),
            (&["example.com", "sub.example.com"], "a.sub.example.com", Some("sub.example.com")),
            // The browser accepts oauth2-proxy's choice for these.
            (&["example.com", "sub.example.com"], "a.sub.example.com:443", Some("example.com")),
            (&[".sub.example.com", ".example.com"], "sub.example.com", Some("example.com")),
            (&["example.com"], "other.org", None),
            (&["example.com"], "com", None),
            (&["10.0.0.1"], "10.0.0.1:8080", Some("10.0.0.1")),
            (&["0.0.1"], "10.0.0.1", None),
            (&["example.com"], "[::1]:8080", None),
            (&["example.com"], "", None),
            (&["example.com"], "example.com.", None),
            (&["localhost"], "localhost:8080", Some("localhost")),
        ];
        for (domains, host, expected) in cases {
            assert_eq!(chosen(domains, host).as_deref(), expected, "{domains:?} at {host}");
        }
    }

    /// Domain and path of each scope in which a cookie is deleted, without the configured scope.
    fn others(domains: &[&str], path: &str, name: &str, host: &str) -> Vec<(String, String)> {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let attributes = Attributes { domains, path: path.to_owned(), ..attributes() };
        let headers = attributes.clear_others(name.as_bytes(), host.as_bytes());
        let scope = |header: Vec<u8>| {
            let header = String::from_utf8(header).unwrap();
            let value = |attribute: &str| {
                let mut parts = header.split("; ").skip(1);
                parts.find_map(|part| part.strip_prefix(attribute)).unwrap_or_default().to_owned()
            };
            assert!(
                header.starts_with(&format!("{name}=; ")) && header.contains("; Max-Age=0; HttpOnly; Secure")
            );
            (value("Domain="), value("Path="))
        };
        headers.map(scope).collect()
    }

    #[test]
    fn cookie_is_cleared_at_host_and_parent_domains() {
        let at = |domains: &[&str], host: &str| -> Vec<String> {
            others(domains, "/", "n", host).into_iter().map(|(domain, _)| domain).collect()
        };
        assert_eq!(at(&[], "a.b.example.com:8443"), ["a.b.example.com", "b.example.com", "example.com"]);
        assert_eq!(at(&[".B.example.com"], "a.b.example.com"), ["", "a.b.example.com", "example.com"]);
        assert_eq!(at(&["other.org"], "a.b.c"), ["a.b.c", "b.c"]);
        // A single label, an address and an invalid name have no parent domain.
        for host in
            ["localhost:8080", "10.0.0.1:8080", "[::1]:8080", "", "a..b", "example.com.", "a;b.example.com"]
        {
            assert!(at(&[], host).is_empty(), "{host}");
        }
        assert_eq!(at(&["localhost"], "localhost"), [""]);
    }

    #[test]
    fn cookie_is_cleared_at_configured_path_and_root() {
        let expected = [("", "/"), ("a.example.com", "/app"), ("a.example.com", "/")];
        let found = others(&[], "/app", "n", "a.example.com");
        assert_eq!(
            found.iter().map(|(domain, path)| (&**domain, &**path)).take(3).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn host_prefixed_cookie_has_no_other_scope() {
        assert!(others(&[], "/", "__Host-n", "a.example.com").is_empty());
        assert!(others(&[], "/", "__host-n", "a.example.com").is_empty());
        assert!(!others(&[], "/", "__Hostn", "a.example.com").is_empty());
    }

    #[test]
    fn leading_dot_and_invalid_domain_are_not_sent() {
        let suffix = |domain: &str, host: &str| {
            let domains = vec![domain.to_owned()];
            Attributes { domains, ..attributes() }.suffix(MaxAge::Expired, host.as_bytes())
        };
        assert!(suffix(".example.com", "a.example.com").contains("; Domain=example.com;"));
        for none in ["exa mple.com", "a..b", "-a.b", "[::1]", "a;b"] {
            assert!(!suffix(none, none).contains("Domain"), "{none}");
        }
    }
}
