//! Protection of an endpoint that changes something by `POST` against requests that another site makes a browser send
//! (cross-site request forgery).
//!
//! ```text
//! POST ── Sec-Fetch-Site ─┬─ same-origin ───────────────────────────► allowed
//!                         ├─ any other value, or several ───────────► 403
//!                         └─ none: Origin ─┬─ of this host ─────────► allowed
//!                                          ├─ another, or several ──► 403
//!                                          └─ none or `null`: csrf ─┬─ valid ► allowed
//!                                                                   └─ else ─► 403
//! ```
//!
//! Browsers set the two headers themselves, and no script can. They leave `Sec-Fetch-Site` out if the site has no TLS, and
//! before 2023 some did not have it (Fetch Metadata, W3C). `Origin` is `null` if the page has the policy `no-referrer`
//! (Fetch, "append a request `Origin` header"), which the filter's own pages have. So each form of such a page has a token:
//!
//! ```text
//! action="/oauth2/…?csrf=<time>.<mac>"          time in Unix seconds
//! mac = base64url(fingerprint of "csrf", the session's id and the time, by the cookie secret)
//! ```
//!
//! It is in the query, because a filter that waits gets no body from Envoy. An access log may have it there. So it is
//! short-lived, is of no use without the session, and never replaces a header that names another site.

use std::str;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use subtle::ConstantTimeEq;

use super::reply::{self, Reply};
use super::request::RequestHead;
use super::url::is_origin_of;
use crate::cookie::{CookieSecret, CookieSecrets};
use crate::time::Timestamp;

/// The query parameter with the token.
const PARAMETER: &str = "csrf";

/// How long a token is valid. A user who reads a page for longer loads it again.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How far in the future a token may be: the clocks of two Envoys differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The word for the access log.
const REFUSED: &str = "csrf";

/// What the browser says about the page that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// A page of this origin.
    ThisSite,
    /// A page of another origin, or the headers contradict each other.
    AnotherSite,
    /// The browser does not say.
    Unknown,
}

/// The answer to a request that is not a `POST` from a page of this site; none if it is one. `is_token` checks the token of
/// the filter's own page. It is asked only if the browser does not say which site the page is from.
pub(in crate::flow) fn refuse(head: &RequestHead, is_token: impl FnOnce(&str) -> bool) -> Option<Reply> {
    if head.method() != b"POST" {
        return Some(reply::because(reply::method_not_allowed(&[b"POST"]), "method_not_allowed"));
    }
    let is_safe = match sender(head) {
        Sender::ThisSite => true,
        Sender::AnotherSite => false,
        Sender::Unknown => head.query(PARAMETER).is_some_and(|token| is_token(&token)),
    };
    (!is_safe).then(forbidden)
}

/// The answer to a request of another site, if the browser says so; for a `POST` that has a token of its own.
pub(in crate::flow) fn refuse_other_site(head: &RequestHead) -> Option<Reply> {
    (sender(head) == Sender::AnotherSite).then(forbidden)
}

fn forbidden() -> Reply {
    reply::because(reply::text(StatusCode::FORBIDDEN, "Forbidden"), REFUSED)
}

/// The query of a form's action: the parameter with a token for this session. `session` is what stays the same when the
/// session is refreshed, such as the id of its ticket.
pub(in crate::flow) fn query(secrets: &CookieSecrets, session: &[u8], now: Timestamp) -> String {
    format!("{PARAMETER}={}", token(secrets.current(), session, now.secs()))
}

/// Whether a token is for this session, and not too old.
pub(in crate::flow) fn is_token(secrets: &CookieSecrets, session: &[u8], text: &str, now: Timestamp) -> bool {
    let Some(Ok(secs)) = text.split_once('.').map(|(secs, _)| secs.parse::<i64>()) else {
        return false;
    };
    let made_at = Timestamp::from_secs(secs);
    let is_current = made_at.was_within(LIFETIME, now) || now.was_within(CLOCK_SKEW, made_at);
    // The whole text is compared, so a time has only one spelling.
    let is_of = |secret| text.as_bytes().ct_eq(token(secret, session, secs).as_bytes()).into();
    is_current && secrets.all().any(|secret| is_of(secret))
}

fn token(secret: &CookieSecret, session: &[u8], secs: i64) -> String {
    let secs = secs.to_string();
    let mac = secret.fingerprint([PARAMETER.as_bytes(), session, secs.as_bytes()].into_iter());
    format!("{secs}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn sender(head: &RequestHead) -> Sender {
    let known = |is_this_site| if is_this_site { Sender::ThisSite } else { Sender::AnotherSite };
    let mut sites = head.all("sec-fetch-site");
    if let Some(site) = sites.next() {
        return known(site == b"same-origin" && sites.next().is_none());
    }
    let mut origins = head.all("origin");
    match (origins.next(), origins.next()) {
        (None, _) | (Some(b"null"), None) => Sender::Unknown,
        (Some(origin), None) => known(is_of_host(head, origin)),
        (Some(_), Some(_)) => Sender::AnotherSite,
    }
}

/// Whether this is the origin that the browser asked for. Behind another proxy that is what `X-Forwarded-Host` says, with
/// `reverse_proxy` ([`RequestHead::host`]), and `X-Forwarded-Proto`, as Envoy has checked it ([`RequestHead::scheme`]).
fn is_of_host(head: &RequestHead, origin: &[u8]) -> bool {
    let (Ok(origin), Ok(host)) = (str::from_utf8(origin), str::from_utf8(head.host())) else {
        return false;
    };
    is_origin_of(origin, &format!("{}://{host}", head.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const HERE: [(&str, &str); 3] =
        [(":method", "POST"), (":scheme", "https"), (":authority", "app.example.com")];

    fn secret() -> CookieSecret {
        CookieSecret::new(b"0123456789abcdef0123456789abcdef").unwrap()
    }

    fn secrets() -> CookieSecrets {
        secret().into()
    }

    fn head(headers: &[(&str, &str)]) -> RequestHead {
        // What comes later replaces a pseudo-header.
        let is_replaced =
            |name: &str| name.starts_with(':') && headers.iter().any(|(other, _)| *other == name);
        let here = HERE.iter().filter(|(name, _)| !is_replaced(name));
        RequestHead::from_pairs(here.chain(headers).map(|(name, value)| (*name, value.as_bytes())))
    }

    /// Whether the request is allowed with a valid token in its query, and without it.
    fn with_and_without_token(headers: &[(&str, &str)]) -> (bool, bool) {
        let allowed = |path| {
            let headers: Vec<_> = headers.iter().copied().chain([(":path", path)]).collect();
            refuse(&head(&headers), |token| token == "valid").is_none()
        };
        (allowed("/oauth2/x?csrf=valid"), allowed("/oauth2/x?csrf=invalid"))
    }

    fn sent_by(headers: &[(&str, &str)]) -> Sender {
        match with_and_without_token(headers) {
            (true, true) => Sender::ThisSite,
            (true, false) => Sender::Unknown,
            (false, false) => Sender::AnotherSite,
            (false, true) => panic!("a valid token is worse than none: {headers:?}"),
        }
    }

    #[test]
    fn fetch_metadata_decides_before_origin() {
        let (ours, theirs) = (("origin", "https://app.example.com"), ("origin", "https://evil.example"));
        for origin in [ours, theirs, ("origin", "null"), ("x-other", "")] {
            assert_eq!(sent_by(&[("sec-fetch-site", "same-origin"), origin]), Sender::ThisSite, "{origin:?}");
            for site in ["cross-site", "same-site", "none", "", "Same-Origin", "same-origin, same-origin"] {
                assert_eq!(
                    sent_by(&[("sec-fetch-site", site), origin]),
                    Sender::AnotherSite,
                    "{site} {origin:?}"
                );
            }
        }
        for (first, second) in [("same-origin", "cross-site"), ("cross-site", "same-origin")] {
            let both = [("sec-fetch-site", first), ("sec-fetch-site", second), ours];
            assert_eq!(sent_by(&both), Sender::AnotherSite, "{first} {second}");
        }
    }

    #[test]
    fn origin_matches_scheme_host_and_port() {
        for origin in ["https://app.example.com", "https://app.example.com:443", "HTTPS://APP.example.com"] {
            assert_eq!(sent_by(&[("origin", origin)]), Sender::ThisSite, "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "http://app.example.com:443",
            "https://app.example.com:8443",
            "https://example.com",
            "https://app.example.com.evil.example",
            "https://app.example.com.",
            "https://evil.example",
            "https://user@app.example.com",
            "https://app.example.com@evil.example",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?https://app.example.com",
            "https://app.example.com/,https://evil.example",
            "https://app.example.com,https://evil.example",
            "https://app.example.com https://app.example.com",
            "app.example.com",
            "//app.example.com",
            "file://",
            "chrome-extension://app.example.com",
            "",
            "NULL",
            "null, null",
        ] {
            assert_eq!(sent_by(&[("origin", origin)]), Sender::AnotherSite, "{origin}");
        }
        let invalid = RequestHead::from_pairs([(":method", b"POST".as_slice()), ("origin", b"https://\xff")]);
        assert!(refuse(&invalid, |_| true).is_some());
    }

    #[test]
    fn several_origins_are_refused() {
        let (ours, theirs) = (("origin", "https://app.example.com"), ("origin", "https://evil.example"));
        for pair in [
            [ours, theirs],
            [theirs, ours],
            [ours, ours],
            [("origin", "null"), ours],
            [ours, ("origin", "null")],
        ] {
            assert_eq!(sent_by(&pair), Sender::AnotherSite, "{pair:?}");
        }
    }

    #[test]
    fn without_headers_token_decides() {
        assert_eq!(sent_by(&[]), Sender::Unknown);
        assert_eq!(sent_by(&[("origin", "null")]), Sender::Unknown);
        // `Referer` says nothing: browsers and proxies leave it out.
        assert_eq!(sent_by(&[("referer", "https://app.example.com/oauth2/sessions")]), Sender::Unknown);
        assert!(refuse(&head(&[(":path", "/oauth2/x")]), |_| true).is_some(), "a request without a token");
    }

    #[test]
    fn origin_is_compared_with_what_browser_asked_for() {
        let forwarded = [
            (":scheme", "http"),
            (":authority", "envoy.internal:10000"),
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-proto", "https"),
            ("origin", "https://app.example.com"),
        ];
        assert!(refuse(&head(&forwarded).forwarded(), |_| false).is_none());
        assert!(refuse(&head(&forwarded), |_| false).is_some(), "X-Forwarded-Host without reverse_proxy");
        let port =
            [(":scheme", "http"), (":authority", "localhost:10000"), ("origin", "http://localhost:10000")];
        assert_eq!(sent_by(&port), Sender::ThisSite);
        let [scheme, host, _] = port;
        assert_eq!(sent_by(&[scheme, host, ("origin", "http://localhost")]), Sender::AnotherSite);
        let address = [(":authority", "[fd00::1]:8443"), ("origin", "https://[fd00::1]:8443")];
        assert_eq!(sent_by(&address), Sender::ThisSite);
        // A host that is no authority has no origin.
        assert_eq!(sent_by(&[(":authority", "a b"), ("origin", "https://a b")]), Sender::AnotherSite);
        assert_eq!(sent_by(&[(":authority", ""), ("origin", "https://")]), Sender::AnotherSite);
    }

    #[test]
    fn other_methods_are_not_allowed() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", ""] {
            let head = head(&[(":method", method), ("sec-fetch-site", "same-origin")]);
            let answer = refuse(&head, |_| true).unwrap();
            assert_eq!(answer.status(), 405, "{method}");
            assert_eq!(answer.headers()["allow"], "POST");
        }
        let answer = refuse(&head(&[]), |_| false).unwrap();
        assert_eq!((answer.status().as_u16(), answer.details()), (403, "csrf"));
    }

    #[test]
    fn token_is_valid_for_its_session_and_time() {
        let (secret, made) = (secrets(), query(&secrets(), b"session", NOW));
        let token = made.strip_prefix("csrf=").unwrap();
        let is_valid = |text: &str, session: &[u8], now| is_token(&secret, session, text, now);
        assert!(is_valid(token, b"session", NOW));
        assert!(is_valid(token, b"session", Timestamp::from_secs(NOW.secs() + 599)));
        assert!(!is_valid(token, b"session", Timestamp::from_secs(NOW.secs() + 600)));
        assert!(is_valid(token, b"session", Timestamp::from_secs(NOW.secs() - 59)));
        assert!(!is_valid(token, b"session", Timestamp::from_secs(NOW.secs() - 60)));
        assert!(!is_valid(token, b"session1", NOW) && !is_valid(token, b"", NOW));
        let other = CookieSecret::new(b"another secret, another secret..").unwrap();
        assert!(!is_token(&other.clone().into(), b"session", token, NOW));
        let changed = CookieSecrets::new([other, self::secret()]).unwrap();
        assert!(is_token(&changed, b"session", token, NOW), "the secret of the token is an older one");
    }

    #[test]
    fn changed_token_is_refused() {
        let secret = secrets();
        let token = token(secret.current(), b"session", NOW.secs());
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(!is_token(&secret, b"session", &changed, NOW), "{changed}");
            assert!(!is_token(&secret, b"session", token.get(..position).unwrap(), NOW), "{position}");
        }
        for changed in [
            format!("+{token}"),
            format!("0{token}"),
            format!("{token}="),
            format!("{token}."),
            format!(" {token}"),
        ] {
            assert!(!is_token(&secret, b"session", &changed, NOW), "{changed}");
        }
        for text in [
            "",
            ".",
            "..",
            "-1.",
            "9223372036854775807.x",
            "-9223372036854775808.x",
            "99999999999999999999.x",
        ] {
            assert!(!is_token(&secret, b"session", text, NOW), "{text}");
        }
    }
}
