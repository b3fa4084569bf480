//! Which paths need no session. The client chooses the path, and each upstream normalises it in its own way. A path is
//! exempt only if a route covers every such reading of it.

use percent_encoding::percent_decode;

use crate::pattern::{Pattern, PatternSet, TooComplex};

/// The longest path that is matched against patterns, in bytes and without its query: every byte costs time. A longer path
/// needs a session, and no pattern of `api_routes` matches it.
pub(crate) const MAX_PATH: usize = 2048;

/// `skip_auth_routes`.
#[derive(Clone, Debug, Default)]
pub struct SkipAuth {
    routes: Vec<Route>,
    /// The pattern of each route.
    patterns: PatternSet,
}

/// One of them: `^/public/`, `GET=^/public/`, or `GET!=^/private/`.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// In upper case; empty for all methods.
    method: String,
    is_negated: bool,
}

impl SkipAuth {
    /// A path and everything beneath it; no path at all unless [`is_prefix`] accepts it.
    pub(crate) fn beneath(path: &str) -> Self {
        let pattern = Pattern::parse(&format!("^{}(/|$)", path.replace('.', "\\.")));
        let route = Route { method: String::new(), is_negated: false };
        let skip_auth =
            pattern.ok().filter(|_| is_prefix(path)).map(|pattern| Self::new(vec![(route, pattern)]));
        skip_auth.and_then(Result::ok).unwrap_or_default()
    }

    pub(crate) fn new(routes: Vec<(Route, Pattern)>) -> Result<Self, TooComplex> {
        let (routes, patterns): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        Ok(Self { routes, patterns: PatternSet::new(&patterns)? })
    }

    /// Whether a request needs no session. Every way in which an upstream may read the path has to be covered, not only
    /// the way of oauth2-proxy.
    pub fn allows(&self, method: &[u8], path: &[u8]) -> bool {
        if self.routes.is_empty() || path.len() > MAX_PATH {
            return false;
        }
        // The reading of oauth2-proxy.
        let decoded = decode(path, |_| true);
        if !self.covers(method, &decoded) {
            return false;
        }
        let tidied = tidy(&decoded);
        // To some upstreams, an encoded delimiter is an ordinary character.
        let kept = || decode(path, |byte| !DELIMITERS.contains(&byte));
        (tidied == decoded || self.covers(method, &tidied))
            && (!path.contains(&b'%') || self.covers(method, &kept()))
    }

    /// Whether a route is for this method and this reading of a path.
    fn covers(&self, method: &[u8], path: &[u8]) -> bool {
        let matches = self.patterns.matches(path);
        let mut routes = self.routes.iter().enumerate();
        routes.any(|(number, route)| {
            let has_method = route.method.is_empty() || route.method.as_bytes() == method;
            has_method && matches.has(number) != route.is_negated
        })
    }
}

impl Route {
    /// The method precedes the first `=` or `!=` (oauth2-proxy, `buildRoutesAllowlist`).
    pub(crate) fn parse(text: &str) -> Result<(Self, Pattern), String> {
        let (method, is_negated, path) = match text.split_once('=') {
            None => ("", false, text),
            Some((method, path)) => match method.strip_suffix('!') {
                Some(method) => (method, true, path),
                None => (method, false, path),
            },
        };
        if !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(
                "what stands before = is no method; a path with = needs another = in front".to_owned()
            );
        }
        Ok((Self { method: method.to_ascii_uppercase(), is_negated }, Pattern::parse(path)?))
    }
}

/// Bytes with a meaning in a path.
const DELIMITERS: &[u8] = b"/\\?#;%";

/// Decodes the percent-encoding (RFC 3986 section 2.1) of the bytes that `is_decoded` accepts.
fn decode(path: &[u8], is_decoded: impl Fn(u8) -> bool) -> Vec<u8> {
    if !path.contains(&b'%') {
        return path.to_vec();
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = match rest {
            [b'%', high, low, after @ ..] => match hex_byte(*high, *low).filter(|byte| is_decoded(*byte)) {
                Some(byte) => {
                    decoded.push(byte);
                    after
                }
                None => {
                    decoded.extend_from_slice(&[b'%', *high, *low]);
                    after
                }
            },
            _ => {
                decoded.push(*first);
                after
            }
        };
    }
    decoded
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// The path as read by a server that normalises it: `\` is a slash; everything after `?` or `#` is cut off; parameters
/// (`;a=b`), empty segments and `.` are dropped.
fn tidy(decoded: &[u8]) -> Vec<u8> {
    let path = decoded.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let segments: Vec<&[u8]> = path
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default())
        .collect();
    let mut tidied = Vec::with_capacity(path.len());
    for segment in segments.iter().filter(|segment| !matches!(**segment, b"" | b".")) {
        tidied.push(b'/');
        tidied.extend_from_slice(segment);
    }
    if segments.last().is_some_and(|segment| matches!(*segment, b"" | b".")) {
        tidied.push(b'/');
    }
    tidied
}

/// Whether every server reads the path alike, and no browser takes it for a host (`//evil.example`) in a redirect.
pub(crate) fn is_prefix(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// Whether every server reads the path alike. `/public/../admin`, also percent-encoded, is under `/public` for a pattern
/// and under `/admin` for many upstreams. Such a path is exempt from nothing, and neither is one that is too long.
pub(crate) fn is_unambiguous(path: &[u8]) -> bool {
    if path.len() > MAX_PATH {
        return false;
    }
    let decoded: Vec<u8> = percent_decode(path).collect();
    // A server that parses the decoded path again cuts it off at `?` or `#`, and a segment at `;`.
    let has_parent = decoded
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| matches!(segment, [b'.', b'.'] | [b'.', b'.', b';' | b'?' | b'#', ..]));
    // A percent sign that survives decoding hides another layer of encoding.
    !has_parent && !decoded.contains(&b'%') && !decoded.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::is_unambiguous;

    #[test]
    fn ambiguous_path_is_recognised() {
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
