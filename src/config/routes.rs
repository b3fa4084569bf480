//! What the paths mean: our own endpoints, those that need no session, those of programs.

use super::errors::{ConfigErrors, shown};
use super::options::Options;
use super::pattern::{self, Pattern};

/// The options of paths.
#[derive(Clone, Debug)]
pub struct Routes {
    /// `proxy_prefix`, without a slash at its end.
    pub proxy_prefix: String,
    /// `ping_path`; empty for none.
    pub ping_path: String,
    /// `ready_path`; empty for none.
    pub ready_path: String,
    /// `skip_auth_routes`.
    pub skip_auth: SkipAuth,
    /// `skip_auth_preflight`.
    pub skip_auth_preflight: bool,
    /// `force_json_errors`.
    pub force_json_errors: bool,
    api: Vec<Pattern>,
}

impl Routes {
    /// Whether `api_routes` has the path. Its patterns have no method.
    pub fn is_api(&self, path: &[u8]) -> bool {
        self.api.iter().any(|pattern| pattern.is_match(path))
    }
}

/// `skip_auth_routes`.
#[derive(Clone, Debug, Default)]
pub struct SkipAuth(Vec<Route>);

/// One of them: `^/public/`, `GET=^/public/`, or `GET!=^/private/`.
#[derive(Clone, Debug)]
struct Route {
    /// In capitals; empty for all.
    method: String,
    is_negated: bool,
    path: Pattern,
}

impl SkipAuth {
    /// A path and what is beneath it; nothing where it is no [`is_prefix`].
    pub(super) fn beneath(path: &str) -> Self {
        let path = pattern::compile(&format!("^{}(/|$)", regex_lite::escape(path)));
        let route = path.map(|path| Route { method: String::new(), is_negated: false, path });
        Self(route.into_iter().collect())
    }

    /// Whether a request needs no session. A stranger writes the path, so each way in which an
    /// upstream may read it has to be covered, not only the way that oauth2-proxy reads it.
    pub fn allows(&self, method: &[u8], path: &[u8]) -> bool {
        !self.0.is_empty()
            && readings(path).iter().all(|path| self.0.iter().any(|route| route.allows(method, path)))
    }
}

impl Route {
    /// The method is what stands before the first `=` or `!=` (oauth2-proxy, `buildRoutesAllowlist`).
    fn parse(text: &str) -> Result<Self, String> {
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
        Ok(Self { method: method.to_ascii_uppercase(), is_negated, path: pattern::compile(path)? })
    }

    fn allows(&self, method: &[u8], path: &[u8]) -> bool {
        let has_method = self.method.is_empty() || self.method.as_bytes() == method;
        has_method && self.path.is_match(path) != self.is_negated
    }
}

/// The ways to read a path. Most paths have but one.
fn readings(path: &[u8]) -> Vec<Vec<u8>> {
    let decoded = decode(path, |_| true);
    let tidied = tidy(&decoded);
    let mut readings = Vec::with_capacity(3);
    if path.contains(&b'%') {
        // Where an encoded delimiter is a letter like any other.
        readings.push(decode(path, |byte| !DELIMITERS.contains(&byte)));
    }
    if tidied != decoded {
        readings.push(tidied);
    }
    // oauth2-proxy's own reading.
    readings.push(decoded);
    readings
}

/// What has a meaning in a path.
const DELIMITERS: &[u8] = b"/\\?#;%";

/// Decodes percent-encoding (RFC 3986 section 2.1) of the bytes that are asked for.
fn decode(path: &[u8], is_decoded: impl Fn(u8) -> bool) -> Vec<u8> {
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

/// The path as a server reads it that tidies up: `\` is a slash, what follows `?` or `#` is cut off,
/// parameters (`;a=b`), empty segments and `.` are dropped.
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

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Routes {
    check_paths(options, errors);
    let skip_auth = compile("skip_auth_routes", &options.skip_auth_routes, Route::parse, errors);
    Routes {
        proxy_prefix: options.proxy_prefix.clone(),
        ping_path: options.ping_path.clone(),
        ready_path: options.ready_path.clone(),
        skip_auth: SkipAuth(skip_auth),
        skip_auth_preflight: options.skip_auth_preflight,
        force_json_errors: options.force_json_errors,
        api: compile("api_routes", &options.api_routes, pattern::compile, errors),
    }
}

fn check_paths(options: &Options, errors: &mut ConfigErrors) {
    if !is_prefix(&options.proxy_prefix) {
        errors.add(
            "proxy_prefix",
            "must be a path such as /oauth2, without a slash at its end; letters, digits and -._~ only",
        );
    }
    for (name, path) in [("ping_path", &options.ping_path), ("ready_path", &options.ready_path)] {
        let is_path = path.starts_with('/') && !path.contains(['?', '#']);
        if !path.is_empty() && !is_path {
            errors.add(name, "must be a path such as /ping, or empty");
        }
    }
}

/// A path that everybody reads alike, and that is no host (`//evil.example`) in a redirect.
pub(super) fn is_prefix(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// Compiles the entries of an option; each that cannot be is a mistake of its own.
fn compile<T>(
    option: &str,
    entries: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
    errors: &mut ConfigErrors,
) -> Vec<T> {
    let mut compiled = Vec::with_capacity(entries.len());
    for entry in entries {
        match parse(entry) {
            Ok(route) => compiled.push(route),
            Err(mistake) => errors.add(option, format!("in {}: {mistake}", shown(entry))),
        }
    }
    compiled
}
