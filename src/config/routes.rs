//! The options of paths: the filter's own endpoints, paths that need no session, paths of programs.

use http::Uri;
use http::uri::Scheme;

use super::errors::{ConfigErrors, shown};
use super::options::Options;
use crate::path_match::{MAX_PATH, Route, SkipAuth, is_prefix};
use crate::pattern::{Pattern, PatternSet, TooComplex};

/// The default port of https.
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
    api: PatternSet,
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

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Routes {
    check_paths(options, errors);
    let skip_auth =
        compile("skip_auth_routes", &options.skip_auth_routes, Route::parse, SkipAuth::new, errors);
    let api = compile(
        "api_routes",
        &options.api_routes,
        Pattern::parse,
        |patterns| PatternSet::new(&patterns),
        errors,
    );
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

/// The port of https: that of `redirect_url`, if it is an https URL.
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

/// Compiles the entries of an option. Each invalid entry is a mistake of its own.
pub(super) fn compile<T, S: Default>(
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

/// How to make a pattern smaller: with `^` it can begin in one place only.
const HELP: &str = "begin with ^, write * instead of {1,100}, and [^/]* instead of .*";
