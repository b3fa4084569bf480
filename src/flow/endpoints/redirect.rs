//! The target of the redirect after a sign-in or a sign-out, and the protection against open redirects.
//!
//! ```text
//! endpoint: rd ──┐
//! page ──────────┴─ X-Auth-Request-Redirect ─ address ─ / ──► allowed? ──► the callback is on another host?
//!                                                                           └─ a URL, if its host is listed
//! ```
//!
//! The order is that of oauth2-proxy (`GetRedirect`), with one exception: oauth2-proxy also takes an `rd` in a page's own
//! query.

use std::borrow::Cow;
use std::str;

use percent_encoding::{AsciiSet, percent_encode};

use crate::config::{Config, Mode};
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::{Absolute, is_same_authority};

/// Percent-encodes only what is not ASCII: the encoder always does that.
const NOT_ASCII: AsciiSet = AsciiSet::EMPTY;

/// The longest target, in bytes. It goes to the provider and back in a URL, where it can be three times as long. Not
/// every server accepts a URL of more than 8,000 bytes (RFC 9110 section 4.1).
const MAX_TARGET: usize = 2048;

/// The target of a sign-in that an endpoint begins: the query's `rd`, or else the same as for a page.
pub(in crate::flow) fn target(config: &Config, head: &RequestHead) -> String {
    after_sign_in(config, head, by_query(config, head))
}

/// The target of a sign-in that a page begins. The page's query belongs to the page, including an `rd`.
pub(in crate::flow) fn back(config: &Config, head: &RequestHead) -> String {
    after_sign_in(config, head, None)
}

/// The target that the request asks for, if it is allowed.
pub(in crate::flow) fn requested(config: &Config, head: &RequestHead) -> Option<String> {
    by_query(config, head).or_else(|| by_header(config, head))
}

/// The first that is allowed of these: what was asked for, `X-Auth-Request-Redirect`, the address of the request, `/`.
fn after_sign_in(config: &Config, head: &RequestHead, asked: Option<String>) -> String {
    let target = asked
        .or_else(|| by_header(config, head))
        .or_else(|| checked(config, head.address()))
        .or_else(|| checked(config, head.target()))
        .filter(|target| !begins_a_sign_in(config, target))
        .unwrap_or_else(|| "/".to_owned());
    on_its_host(config, head, &target).unwrap_or(target)
}

fn by_query(config: &Config, head: &RequestHead) -> Option<String> {
    head.query("rd").and_then(|target| checked(config, target.as_bytes()))
}

fn by_header(config: &Config, head: &RequestHead) -> Option<String> {
    checked(config, head.header("x-auth-request-redirect"))
}

/// Whether the target is an endpoint that begins another sign-in, and so on without end.
fn begins_a_sign_in(config: &Config, target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or(target);
    let endpoint = path.strip_prefix(config.routes.proxy_prefix.as_str());
    endpoint.is_some_and(|endpoint| matches!(endpoint, "/sign_in" | "/start" | "/callback"))
}

/// A path as a URL with the host that the browser asked for, if the callback is on another host: there the path would
/// be another page. Any DNS name can point to an Envoy, so the host has to be in `whitelist_domains`.
fn on_its_host(config: &Config, head: &RequestHead, target: &str) -> Option<String> {
    let callback = config.login.redirect_url.as_deref().filter(|_| !matches!(config.mode, Mode::App(_)))?;
    if !target.starts_with('/') {
        return None;
    }
    let host = str::from_utf8(head.host()).ok()?;
    let origin = Absolute::parse(&format!("{}://{host}", head.scheme()))?.origin();
    let whole = format!("{origin}{target}");
    let url = if whole.len() <= MAX_TARGET { whole } else { format!("{origin}/") };
    let is_elsewhere = !is_same_authority(&url, callback);
    checked(config, url.as_bytes()).filter(|_| is_elsewhere)
}

/// The target in the form for a redirect, if it is allowed.
pub(in crate::flow) fn checked(config: &Config, target: &[u8]) -> Option<String> {
    // The target goes through URLs and a `state` as text. Bytes that are not UTF-8 are percent-encoded.
    let text = match str::from_utf8(target) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => percent_encode(target, &NOT_ASCII).into(),
    };
    let target = shortened(&text);
    is_allowed(target, &config.login.whitelist_domains).then(|| target.to_owned())
}

/// Shortens a target that is too long: first without its fragment, then without its query, and `/` if that is still too
/// long.
fn shortened(target: &str) -> &str {
    let up_to = |end: &[char]| target.split(end).next().unwrap_or(target);
    let shorter = [target, up_to(&['#']), up_to(&['?', '#'])];
    shorter.into_iter().find(|target| target.len() <= MAX_TARGET).unwrap_or("/")
}

/// Whether the target is a path of this host, or a URL in `whitelist_domains`.
fn is_allowed(target: &str, whitelist: &[String]) -> bool {
    // Browsers drop tabs and line ends before they read a URL.
    let is_plain = !target.chars().any(char::is_control);
    is_plain
        && if target.starts_with('/') { is_local_path(target) } else { is_whitelisted(target, whitelist) }
}

/// Whether a path stays on this host. `//host` and `/\host` leave it. So does a path that becomes one of these when a
/// client drops blanks, or resolves `.` and `..` (RFC 3986 section 5.2.4). Later in the path, two slashes do no harm.
fn is_local_path(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or(target);
    let mut folded: Vec<&str> = Vec::new();
    let mut segments = path.split(['/', '\\']).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment.trim().to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." => {}
            ".." => _ = folded.pop(),
            // Only an empty segment with a slash after it can be read as `//`.
            "" if folded.is_empty() && !is_last => return false,
            _ => folded.push(segment),
        }
    }
    true
}

/// Whether the host of an http(s) URL is on the list: `example.com` matches itself, `.example.com` or `*.example.com`
/// also its subdomains. A port has to be listed (`:8443`), or any port (`:*`). What follows the host does not matter:
/// characters that no URL can have are percent-encoded.
fn is_whitelisted(target: &str, whitelist: &[String]) -> bool {
    let Some(url) = Absolute::parse(target) else {
        return false;
    };
    let (host, port) = (url.host(), url.port().map(|port| port.to_string()));
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
    use proptest::prelude::*;
    use proptest::sample::select;
    use url::Url;

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
    fn redirect_target_that_oauth2_proxy_allows_is_allowed() {
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
    fn redirect_target_that_oauth2_proxy_refuses_is_refused() {
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
    fn redirect_target_with_hidden_host_is_refused() {
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
    fn too_long_redirect_target_loses_query_then_path() {
        let long = "x".repeat(MAX_TARGET);
        for (target, expected) in [
            (format!("/page?{}", "x".repeat(MAX_TARGET - 6)), None),
            (format!("/page?{}", "x".repeat(MAX_TARGET - 5)), Some("/page")),
            (format!("/page?a=b#{long}"), Some("/page?a=b")),
            (format!("/page?{long}#part"), Some("/page")),
            (format!("/page#{long}?a=b"), Some("/page")),
            (format!("https://foo.bar/page?{long}"), Some("https://foo.bar/page")),
            (format!("/{long}?a=b"), Some("/")),
            (format!("/{}?a=b", "x".repeat(MAX_TARGET - 1)), Some(&long.replacen('x', "/", 1))),
        ] {
            assert_eq!(shortened(&target), expected.unwrap_or(&target));
        }
    }

    /// What stands behind the host cannot change it. The encoding is `reply::redirect`'s.
    #[test]
    fn invalid_url_characters_after_host_do_no_harm() {
        for target in [
            "https://foo.bar/a b",
            "https://foo.bar/?q=\"a b\"",
            "https://foo.bar?q=<a>",
            "https://foo.bar/{id}|^`",
            "https://foo.bar/b\u{fc}cher?q=\u{1f600}",
            "https://foo.bar/a\\b",
            "https://foo.bar/?to=https://evil.corp/@x",
            "https://foo.bar#/route with blanks",
            "HTTPS://FOO.bar/x",
            "/a b/\"c\"?q=\u{fc} \\",
        ] {
            assert!(allowed(target), "{target:?}");
        }
        for target in [
            "https://foo.bar evil.corp/",
            "https://foo.bar\"/",
            "https://foo.bar\\/x",
            "https://foo.bar\\.evil.corp/x",
            "https://evil.corp\\.bar.foo/x",
            "https://evil.corp%2f.bar.foo/",
            "https://evil.corp%23.bar.foo/",
            "https://evil.corp,.bar.foo/",
            "https://evil.corp?.bar.foo/",
            "https://evil.corp#.bar.foo/",
            "https:///foo.bar/",
            "https:/foo.bar/",
            "https:\\\\foo.bar/",
            "https://foo.bar:/",
            "https://foo.bar:443x/",
            "https://foo.bar/\u{85}",
            "https://foo.bar/\r\nx",
            " https://foo.bar/",
        ] {
            assert!(!allowed(target), "{target:?}");
        }
    }

    #[test]
    fn two_slashes_are_a_host_only_at_the_beginning() {
        for target in [
            "/a//b",
            "/a///",
            "/a/ /b",
            "/a\\\\b",
            "/a/./b",
            "/a/../b",
            "/a/b/..//c",
            "/..",
            "/.",
            "/ ",
            "/a/%2e%2e/b",
            "/?//",
            "/#//",
            "/a/..",
            "/./a",
            "/../a",
            "/%20/a",
        ] {
            assert!(allowed(target), "{target:?}");
        }
        for target in [
            "//a",
            "/\\a",
            "/.//a",
            "/..//a",
            "/a/..//b",
            "/a/../\\b",
            "/a/b/../..//c",
            "/%2e//a",
            "/%2E%2e//a",
            "/.%2e//a",
            "/ //a",
            "/./ /a",
            "/a/.. //b",
        ] {
            assert!(!allowed(target), "{target:?}");
        }
    }

    #[test]
    fn non_utf8_target_is_percent_encoded() {
        let config = Config::for_tests(serde_json::json!({}));
        assert_eq!(checked(&config, b"/caf\xe9?x=\xff y").as_deref(), Some("/caf%E9?x=%FF y"));
        assert_eq!(checked(&config, "/caf\u{e9}".as_bytes()).as_deref(), Some("/caf\u{e9}"));
        assert_eq!(checked(&config, b"/\xff\r\n"), None);
    }

    #[test]
    fn url_in_query_of_target_does_no_harm() {
        assert!(allowed("/page?next=https://evil.corp//x"));
    }

    /// Whether a browser at `https://here.example` stays on its host, or goes to a host and port of [`WHITELIST`].
    fn stays_or_is_listed(url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let is_in = |domain: &str| {
            host == domain || host.strip_suffix(domain).is_some_and(|above| above.ends_with('.'))
        };
        let is_listed = match url.port() {
            None => {
                ["foo.bar", "www.whitelisteddomain.tld"].contains(&host)
                    || is_in("bar.foo")
                    || is_in("wildcard.bar")
            }
            Some(8080) => host == "port.bar" || is_in("sub.port.bar") || is_in("wildcard.sub.port.bar"),
            Some(_) => false,
        };
        let has_any_port =
            host == "anyport.bar" || is_in("sub.anyport.bar") || is_in("wildcard.sub.anyport.bar");
        let is_here = url.scheme() == "https" && host == "here.example" && url.port().is_none();
        is_here || (matches!(url.scheme(), "http" | "https") && (is_listed || has_any_port))
    }

    /// A target that is allowed by its beginning, if what follows does not change its meaning.
    fn targets() -> impl Strategy<Value = String> {
        const BEGINNINGS: [&str; 8] = [
            "",
            "/",
            "/page",
            "https://foo.bar",
            "HTTP://a.bar.foo",
            "https://port.bar:8080",
            "http://anyport.bar:1",
            "https://wildcard.bar",
        ];
        const PIECES: [&str; 30] = [
            "/",
            "//",
            "\\",
            ".",
            "..",
            "%2e",
            "%2f",
            "%5c",
            "@",
            ":",
            "?",
            "#",
            ";",
            " ",
            "\t",
            "\u{85}",
            "\u{a0}",
            "a",
            "80",
            "evil.corp",
            ".evil.corp",
            "foo.bar",
            "http:",
            "https://",
            "javascript:",
            "[::1]",
            "\u{ff0e}",
            "\u{3002}",
            "\u{ad}",
            "\u{fc}",
        ];
        let piece = prop_oneof![4 => select(&PIECES).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
        (select(&BEGINNINGS), prop::collection::vec(piece, 0..8))
            .prop_map(|(beginning, pieces)| beginning.to_owned() + &pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// `url` reads a URL as a browser does (WHATWG). A browser stays where it is if it cannot read a URL.
        #[test]
        fn allowed_target_leads_to_this_host_or_a_listed_one(target in targets()) {
            let here = Url::parse("https://here.example/oauth2/callback").unwrap();
            if let Some(url) = allowed(&target).then(|| here.join(&target).ok()).flatten() {
                prop_assert!(stays_or_is_listed(&url), "{target:?} leads to {url}");
                prop_assert!(url.username().is_empty() && url.password().is_none(), "{target:?} hides its host");
            }
        }
    }
}
