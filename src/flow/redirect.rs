//! Where the browser goes after a login or a sign-out: `rd`, and the protection against open redirects.

use std::str;

use http::Uri;

use super::RequestHead;
use crate::config::Config;

/// The longest target, in bytes. It goes to the provider and back in a URL, up to three times as long there, and not
/// every server takes one of more than 8,000 bytes (RFC 9110 section 4.1).
const MAX_TARGET: usize = 2048;

/// The target that the request asks for, or `/`: the query's `rd`, else the header
/// `X-Auth-Request-Redirect`; the first that is allowed.
pub(super) fn target(config: &Config, head: &RequestHead) -> String {
    requested(config, head).unwrap_or_else(|| "/".to_owned())
}

/// The target that the request asks for, where it asks for one that is allowed.
pub(super) fn requested(config: &Config, head: &RequestHead) -> Option<String> {
    let query = || head.query("rd").and_then(|target| checked(config, target.as_bytes()).map(str::to_owned));
    let header = || checked(config, head.header("x-auth-request-redirect")).map(str::to_owned);
    query().or_else(header)
}

/// Back to the page that was asked for, after a login.
pub(super) fn back(head: &RequestHead) -> &[u8] {
    shortened(head.target())
}

/// A target as a browser may be sent there; none where it may not.
pub(super) fn checked<'a>(config: &Config, target: &'a [u8]) -> Option<&'a str> {
    let target = str::from_utf8(shortened(target)).ok()?;
    is_allowed(target, &config.login.whitelist_domains).then_some(target)
}

/// A target that is too long without its query, and `/` where that is too long as well.
fn shortened(target: &[u8]) -> &[u8] {
    let path = || target.split(|byte| matches!(byte, b'?' | b'#')).next();
    let fits = |target: &&[u8]| target.len() <= MAX_TARGET;
    Some(target).filter(fits).or_else(|| path().filter(fits)).unwrap_or(b"/")
}

/// Whether a browser may be sent there: a path of this host, or a URL on a whitelisted domain.
fn is_allowed(target: &str, whitelist: &[String]) -> bool {
    if target.chars().any(|c| c.is_control()) {
        return false;
    }
    if target.starts_with('/') {
        return is_local_path(target);
    }
    // A browser reads `\` as `/`, and whatever stands before `@` as a user name: both hide the host.
    let authority_is_plain = !target.contains('\\');
    authority_is_plain && is_whitelisted(target, whitelist)
}

/// A path that stays on this host. `//host`, `/\host`, and whatever a browser folds into them
/// (blanks, `.` and `..` between slashes) would leave it. What stands in the query is no matter.
fn is_local_path(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or(target);
    // The parts between two slashes; the first is before the leading slash, the last may be anything.
    let mut parts: Vec<&str> = path.split(['/', '\\']).skip(1).collect();
    parts.pop();
    parts.iter().all(|part| !part.trim().is_empty() && !matches!(*part, "." | ".."))
}

/// An http(s) URL whose host is on the list: `example.com` itself, `.example.com` or
/// `*.example.com` with its subdomains; a port has to be named (`:8443`), or any (`:*`).
fn is_whitelisted(target: &str, whitelist: &[String]) -> bool {
    let Ok(uri) = target.parse::<Uri>() else {
        return false;
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port().map(|port| port.as_str().to_owned());
    whitelist.iter().any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let (domain, allowed_port) = match entry.rsplit_once(':') {
            Some((domain, port)) if !port.contains(']') => (domain, Some(port)),
            _ => (entry.as_str(), None),
        };
        let port_fits = match allowed_port {
            Some("*") => true,
            allowed => allowed == port.as_deref(),
        };
        port_fits && is_in_domain(&host, domain)
    })
}

fn is_in_domain(host: &str, domain: &str) -> bool {
    match domain.strip_prefix("*.").or_else(|| domain.strip_prefix('.')) {
        Some(parent) => host == parent || host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
        None => host == domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// oauth2-proxy's own table (v7.15.3, `pkg/app/redirect/validator_test.go`) has this whitelist.
    const WHITELIST: [&str; 10] = [
        "foo.bar",
        ".bar.foo",
        "port.bar:8080",
        ".sub.port.bar:8080",
        "anyport.bar:*",
        ".sub.anyport.bar:*",
        "www.whitelisteddomain.tld",
        "*.wildcard.bar",
        "*.wildcard.sub.port.bar:8080",
        "*.wildcard.sub.anyport.bar:*",
    ];

    fn allowed(target: &str) -> bool {
        is_allowed(target, &WHITELIST.map(str::to_owned))
    }

    #[test]
    fn allows_what_the_original_allows() {
        for target in [
            "/redirect",
            "http://foo.bar/redirect",
            "https://foo.bar/redirect",
            "http://baz.bar.foo/redirect",
            "http://bar.foo/redirect",
            "http://port.bar:8080/redirect",
            "http://foo.sub.port.bar:8080/redirect",
            "http://anyport.bar:8080/redirect",
            "http://anyport.bar:8081/redirect",
            "http://a.sub.anyport.bar:8080/redirect",
            "https://foo.wildcard.bar/redirect",
            "https://wildcard.bar/redirect",
            "https://foo.wildcard.sub.anyport.bar:4242/redirect",
            "http://wildcard.sub.port.bar:8080/redirect",
        ] {
            assert!(allowed(target), "{target:?}");
        }
    }

    #[test]
    fn refuses_what_the_original_refuses() {
        for target in [
            "",
            "//redirect",
            "http://baz.foo.bar/redirect",
            "http://foo.bar.evil.corp/redirect",
            "http://evil.corp/redirect?rd=foo.bar",
            "https://evil.corp:3838/redirect",
            "http://foo.bar:3838/redirect",
            "http://baz.bar.foo:3838/redirect",
            "http://port.bar:3838/redirect",
            "http://foo.subport.bar:3838/redirect",
            "/\\evil.com",
            "/ /evil.com",
            "/ \\evil.com",
            "/\t/evil.com",
            "/\x0b\\evil.com",
            "/\n/evil.com",
            "/\r\\evil.com",
            "/\t/\t\\evil.com",
            "/\t\t\\\t\t/evil.com",
            "/./\\evil.com",
            "/./../../\\evil.com",
            "foo.bar/redirect",
            "proxy.wildcard.bar/redirect",
        ] {
            assert!(!allowed(target), "{target:?}");
        }
    }

    #[test]
    fn refuses_other_ways_to_hide_a_host() {
        for target in [
            "javascript:alert(1)",
            "http://foo.bar@evil.corp/",
            "http://foo.bar\\@evil.corp/",
            "https:evil.corp",
            "///evil.corp",
            "ftp://foo.bar/",
            "http://evil.corp#@foo.bar/",
        ] {
            assert!(!allowed(target), "{target:?}");
        }
    }

    #[test]
    fn a_target_that_is_too_long_loses_its_query_and_then_its_path() {
        let long = "x".repeat(MAX_TARGET);
        for (target, expected) in [
            (format!("/page?{}", "x".repeat(MAX_TARGET - 6)), None),
            (format!("/page?{}", "x".repeat(MAX_TARGET - 5)), Some("/page")),
            (format!("/page?a=b#{long}"), Some("/page")),
            (format!("/page#{long}?a=b"), Some("/page")),
            (format!("https://foo.bar/page?{long}"), Some("https://foo.bar/page")),
            (format!("/{long}?a=b"), Some("/")),
            (format!("/{}?a=b", "x".repeat(MAX_TARGET - 1)), Some(&long.replacen('x', "/", 1))),
        ] {
            let shortened = shortened(target.as_bytes());
            assert_eq!(str::from_utf8(shortened), Ok(expected.unwrap_or(&target)));
        }
    }

    #[test]
    fn a_url_in_the_query_of_a_path_is_no_matter() {
        assert!(allowed("/page?next=https://evil.corp//x"));
    }
}
