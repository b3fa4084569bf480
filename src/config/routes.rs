//! What the paths mean: our own endpoints, those that need no session, those of programs.

use http::Uri;
use http::uri::Scheme;

use super::errors::{ConfigErrors, shown};
use super::options::Options;
use crate::pattern::{Pattern, Set, TooComplex};

/// The longest path that patterns are for, in bytes, without its query. A longer one needs a session, and whether a
/// program asks for it is known by other signs: a stranger writes it, and every byte costs time.
pub const MAX_PATH: usize = 2048;

/// The port of https that no URL has to name.
pub const HTTPS: u16 = 443;

/// The options of paths.
#[derive(Clone, Debug)]
pub struct Routes {
    /// `proxy_prefix`, without a slash at its end.
    pub proxy_prefix: String,
    /// `reverse_proxy`.
    pub reverse_proxy: bool,
    /// `ping_path`; empty for none.
    pub ping_path: String,
    /// `ready_path`; empty for none.
    pub ready_path: String,
    /// `force_https`, and the port to which it redirects.
    pub force_https: Option<u16>,
    /// `skip_auth_routes`.
    pub skip_auth: SkipAuth,
    /// `skip_auth_preflight`.
    pub skip_auth_preflight: bool,
    /// `force_json_errors`.
    pub force_json_errors: bool,
    api: Set,
}

impl Routes {
    /// Whether `api_routes` has the path. Its patterns have no method.
    pub fn is_api(&self, path: &[u8]) -> bool {
        path.len() <= MAX_PATH && self.api.is_match(path)
    }

    /// Whether the path is below `proxy_prefix`, where the filter's own endpoints are.
    pub fn is_below_prefix(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.proxy_prefix.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    }
}

/// `skip_auth_routes`.
#[derive(Clone, Debug, Default)]
pub struct SkipAuth {
    routes: Vec<Route>,
    /// The pattern of each.
    patterns: Set,
}

/// One of them: `^/public/`, `GET=^/public/`, or `GET!=^/private/`.
#[derive(Clone, Debug)]
struct Route {
    /// In capitals; empty for all.
    method: String,
    is_negated: bool,
}

impl SkipAuth {
    /// A path and what is beneath it; nothing where it is no [`is_prefix`].
    pub(super) fn beneath(path: &str) -> Self {
        let pattern = Pattern::parse(&format!("^{}(/|$)", path.replace('.', "\\.")));
        let route = Route { method: String::new(), is_negated: false };
        let skip_auth =
            pattern.ok().filter(|_| is_prefix(path)).map(|pattern| Self::new(vec![(route, pattern)]));
        skip_auth.and_then(Result::ok).unwrap_or_default()
    }

    fn new(routes: Vec<(Route, Pattern)>) -> Result<Self, TooComplex> {
        let (routes, patterns): (Vec<_>, Vec<_>) = routes.into_iter().unzip();
        Ok(Self { routes, patterns: Set::new(&patterns)? })
    }

    /// Whether a request needs no session. A stranger writes the path, so each way in which an
    /// upstream may read it has to be covered, not only the way that oauth2-proxy reads it.
    pub fn allows(&self, method: &[u8], path: &[u8]) -> bool {
        if self.routes.is_empty() || path.len() > MAX_PATH {
            return false;
        }
        // oauth2-proxy's own reading.
        let decoded = decode(path, |_| true);
        if !self.covers(method, &decoded) {
            return false;
        }
        let tidied = tidy(&decoded);
        // An encoded delimiter is a letter like any other for some.
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
    /// The method is what stands before the first `=` or `!=` (oauth2-proxy, `buildRoutesAllowlist`).
    fn parse(text: &str) -> Result<(Self, Pattern), String> {
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

/// What has a meaning in a path.
const DELIMITERS: &[u8] = b"/\\?#;%";

/// Decodes percent-encoding (RFC 3986 section 2.1) of the bytes that are asked for.
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
    let skip_auth =
        compile("skip_auth_routes", &options.skip_auth_routes, Route::parse, SkipAuth::new, errors);
    let api =
        compile("api_routes", &options.api_routes, Pattern::parse, |patterns| Set::new(&patterns), errors);
    Routes {
        proxy_prefix: options.proxy_prefix.clone(),
        reverse_proxy: options.reverse_proxy,
        ping_path: options.ping_path.clone(),
        ready_path: options.ready_path.clone(),
        force_https: options.force_https.then(|| https_port(options)),
        skip_auth,
        skip_auth_preflight: options.skip_auth_preflight,
        force_json_errors: options.force_json_errors,
        api,
    }
}

/// The port where https is, as far as `redirect_url` says it.
fn https_port(options: &Options) -> u16 {
    let url = options.redirect_url.as_ref().and_then(|url| url.as_str().parse::<Uri>().ok());
    let url = url.filter(|url| url.scheme() == Some(&Scheme::HTTPS));
    url.and_then(|url| url.port_u16()).unwrap_or(HTTPS)
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
fn compile<T, S: Default>(
    option: &str,
    entries: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
    together: impl FnOnce(Vec<T>) -> Result<S, TooComplex>,
    errors: &mut ConfigErrors,
) -> S {
    let mut parsed = Vec::with_capacity(entries.len());
    for entry in entries {
        match parse(entry) {
            Ok(route) => parsed.push(route),
            Err(mistake) => errors.add(option, format!("in {}: {mistake}", shown(entry))),
        }
    }
    if errors.has(option) {
        return S::default();
    }
    together(parsed).unwrap_or_else(|too_complex| {
        let what = match too_complex {
            TooComplex::One(number) => {
                format!("in {}: it", entries.get(number).map(|entry| shown(entry)).unwrap_or_default())
            }
            TooComplex::Together => "the patterns together".to_owned(),
        };
        errors.add(option, format!("{what} would take too much memory; {HELP}"));
        S::default()
    })
}

/// What makes a pattern smaller: with `^` it can begin in one place alone.
const HELP: &str = "begin with ^, and write * in the place of {1,100}, and [^/]* in the place of .*";
