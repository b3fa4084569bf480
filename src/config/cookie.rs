//! The session cookie and the cookies of a sign-in.

use std::time::Duration;

use super::errors::ConfigErrors;
use super::options::{MAKE_SECRET, Options};
use super::secrets::SecretsFrom;
use super::value::Value;
use crate::cookie::{Attributes, CookieSecret, CookieSecrets, SameSite, is_domain, without_dot};

/// The longest value of a session cookie, with its chunks joined, that the filter reads.
pub const MAX_SESSION: usize = 128 << 10;

/// The minimum of `cookie_max_bytes`: the largest cookie that every browser accepts.
const MIN_BYTES: usize = 4096;

/// `session_cache_bytes` if it is not set, and the most that it may be: the memory of a worker's VM ends at 4 GiB.
const DEFAULT_CACHE: usize = 32 << 20;
const MAX_CACHE: usize = 512 << 20;

/// oauth2-proxy's limit. A browser allows 4096 bytes for the name and the value together.
const MAX_NAME: usize = 256;

/// Stands for the cookie secret until the bridge brings it. No request is answered before that.
const PLACEHOLDER: &[u8] = &[0; 32];

/// The options of the cookies.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// `cookie_name`.
    pub name: String,
    /// `cookie_secret`: those that are valid at the start.
    pub secrets: CookieSecrets,
    /// The attributes of the session cookie.
    pub attributes: Attributes,
    /// The attributes of the cookies of a sign-in.
    pub csrf_attributes: Attributes,
    /// `cookie_expire`; zero means until the browser is closed.
    pub expire: Duration,
    /// `cookie_refresh`; zero means when the session has expired.
    pub refresh: Duration,
    /// `session_cookie_minimal`.
    pub minimal: bool,
    /// `cookie_max_bytes`.
    pub max_bytes: usize,
    /// `session_cache_bytes`, or `session_cache_size`.
    pub session_cache: SessionCache,
    /// `enforce_expires_on`.
    pub enforce_expires_on: bool,
    /// `cookie_csrf_per_request`.
    pub csrf_per_request: bool,
    /// `cookie_csrf_per_request_limit`, if it is not zero.
    pub csrf_per_request_limit: Option<usize>,
    /// `cookie_csrf_expire`.
    pub csrf_expire: Duration,
}

/// How much a worker remembers of the sessions that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCache {
    /// So many bytes of memory.
    Bytes(usize),
    /// So many sessions.
    Entries(usize),
}

/// Less than a session takes of `session_cache_bytes`.
const SESSION_BYTES: usize = 512;

/// How many sessions a worker knows something of that it does not remember.
const SESSIONS: usize = 32_768;

impl SessionCache {
    /// At least as many sessions as a worker remembers. What is written once for each session must not be forgotten
    /// earlier than the session: otherwise sessions that are used in turn are written with each request.
    pub fn most_sessions(self) -> usize {
        let most = match self {
            Self::Bytes(bytes) => bytes / SESSION_BYTES,
            Self::Entries(entries) => entries,
        };
        most.max(SESSIONS)
    }
}

/// The options of the cookies; `None` without a valid secret.
pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Option<Cookie> {
    check_name(options, errors);
    check_attributes(options, errors);
    check_session(options, errors);
    let attributes = Attributes {
        path: options.cookie_path.clone(),
        domains: options.cookie_domains.clone(),
        http_only: options.cookie_httponly,
        secure: options.cookie_secure,
        same_site: options.cookie_samesite,
    };
    Some(Cookie {
        name: options.cookie_name.clone(),
        secrets: secrets(options, errors)?,
        csrf_attributes: Attributes {
            same_site: options.cookie_csrf_samesite.or(options.cookie_samesite),
            ..attributes.clone()
        },
        attributes,
        expire: options.cookie_expire,
        refresh: options.cookie_refresh,
        minimal: options.session_cookie_minimal,
        max_bytes: options.cookie_max_bytes,
        session_cache: session_cache(options, errors),
        enforce_expires_on: options.enforce_expires_on,
        csrf_per_request: options.cookie_csrf_per_request,
        csrf_per_request_limit: Some(options.cookie_csrf_per_request_limit).filter(|limit| *limit > 0),
        csrf_expire: options.cookie_csrf_expire,
    })
}

fn session_cache(options: &Options, errors: &mut ConfigErrors) -> SessionCache {
    let name = "session_cache_bytes";
    let bytes = options.session_cache_bytes;
    let is_small = bytes.is_none_or(|bytes| bytes <= MAX_CACHE);
    errors.check(is_small, name, format!("must be at most {MAX_CACHE} (512 MiB)"));
    let Some(entries) = options.session_cache_size else {
        return SessionCache::Bytes(bytes.unwrap_or(DEFAULT_CACHE));
    };
    let mistake = "cannot be set together with session_cache_size; leave out session_cache_size";
    errors.check(bytes.is_none(), name, mistake);
    SessionCache::Entries(entries)
}

fn secrets(options: &Options, errors: &mut ConfigErrors) -> Option<CookieSecrets> {
    if errors.has("cookie_secret") {
        return None;
    }
    if options.secrets_from == SecretsFrom::Bridge {
        return CookieSecret::new(PLACEHOLDER).ok().map(CookieSecrets::from);
    }
    if options.cookie_secret.is_empty() {
        errors.add("cookie_secret", format!("is missing; {MAKE_SECRET}"));
        return None;
    }
    let secrets = options.cookie_secret.secrets();
    secrets.map_err(|mistake| errors.add("cookie_secret", format!("{mistake}; {MAKE_SECRET}"))).ok()
}

/// The name is a token (RFC 6265 section 4.1.1), and the cookie follows the rule of its prefix (RFC 6265bis
/// section 4.1.3). Otherwise browsers drop the cookie, and no user can sign in.
fn check_name(options: &Options, errors: &mut ConfigErrors) {
    let name = options.cookie_name.as_str();
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_token) {
        errors.add(
            "cookie_name",
            format!("must be 1 to {MAX_NAME} letters, digits, or any of !#$%&'*+-.^_`|~"),
        );
    }
    let has_prefix =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if has_prefix("__Secure-") && !options.cookie_secure {
        errors.add("cookie_name", "with __Secure- needs cookie_secure");
    }
    let is_of_host = options.cookie_secure && options.cookie_path == "/" && options.cookie_domains.is_empty();
    if has_prefix("__Host-") && !is_of_host {
        errors.add("cookie_name", "with __Host- needs cookie_secure, cookie_path / and no cookie_domains");
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn check_attributes(options: &Options, errors: &mut ConfigErrors) {
    let is_path_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b';';
    let path = &options.cookie_path;
    if !path.starts_with('/') || !path.bytes().all(is_path_value) {
        errors.add("cookie_path", "must be a path such as /, without a semicolon");
    }
    if !options.cookie_domains.iter().all(|domain| is_domain(without_dot(domain))) {
        errors.add("cookie_domains", "must be domains such as example.com, without a port");
    }
    for (name, same_site) in
        [("cookie_samesite", options.cookie_samesite), ("cookie_csrf_samesite", options.cookie_csrf_samesite)]
    {
        if same_site == Some(SameSite::None) && !options.cookie_secure {
            errors.add(name, "none needs cookie_secure");
        }
    }
}

fn check_session(options: &Options, errors: &mut ConfigErrors) {
    if !options.cookie_expire.is_zero() && options.cookie_refresh >= options.cookie_expire {
        errors.add("cookie_refresh", "must be less than cookie_expire");
    }
    if !(MIN_BYTES..=MAX_SESSION).contains(&options.cookie_max_bytes) {
        errors.add(
            "cookie_max_bytes",
            format!("must be {MIN_BYTES} to {MAX_SESSION}; the filter does not read larger sessions"),
        );
    }
    if options.session_cookie_minimal {
        for (name, needs_tokens) in [
            ("cookie_refresh", !options.cookie_refresh.is_zero()),
            ("pass_access_token", options.pass_access_token),
            ("pass_authorization_header", options.pass_authorization_header),
            ("set_authorization_header", options.set_authorization_header),
        ] {
            if needs_tokens {
                errors.add(name, "needs the tokens, but session_cookie_minimal does not keep them");
            }
        }
    }
}
