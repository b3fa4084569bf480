//! The filter JSON, checked: oauth2-proxy option names in, a `Config` out, every error with its key.
//!
//! ```text
//! JSON ──┐
//!        ├─ Given ── Options ──┬─ provider, cookie, redis, routes, login, headers, … ── Config
//! env  ──┘  (names) (types)    └─ ConfigErrors: all of them, not only the first
//! ```
//!
//! `options.rs` has one row for each option. The reader, the known names, the environment, `docs/options.md`
//! and the JSON Schema come from it. What depends on several options is checked by the five sections.

mod access_log;
mod bearer;
mod callback;
mod choices;
mod cookie;
mod duration;
mod errors;
mod given;
mod headers;
mod login;
mod markdown;
mod mode;
mod options;
mod provider;
mod provider_name;
mod redis;
mod reference;
mod refused;
mod routes;
mod schema;
mod secret;
#[cfg(test)]
mod tests;
mod url;
mod value;

pub use self::access_log::AccessLog;
pub use self::bearer::Bearer;
pub use self::choices::CodeChallengeMethod;
pub use self::cookie::{Cookie, MAX_SESSION};
pub use self::errors::ConfigErrors;
pub use self::headers::Headers;
pub use self::login::Login;
pub use self::markdown::{options_markdown, providers_markdown, refused_markdown};
pub use self::mode::{LoginApp, Mode};
pub use self::provider::Provider;
pub use self::provider_name::Kind;
pub use self::redis::Redis;
pub use self::reference::{Known, known};
pub use self::routes::{HTTPS, Routes};
pub use self::schema::options_schema;
pub use self::secret::Secret;

use self::given::Given;
use self::options::Options;

/// A configuration that was checked as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// `bridge_cluster`.
    pub bridge_cluster: String,
    /// Who signs people in.
    pub mode: Mode,
    /// The provider; none where the filter has nothing to ask of it.
    pub provider: Option<Provider>,
    /// Whose bearer tokens stand for a session, where they do.
    pub bearer: Option<Bearer>,
    /// Where their sessions are kept.
    pub cookie: Cookie,
    /// Where sessions are kept; in the cookie where there is no Redis.
    pub redis: Option<Redis>,
    /// What the paths mean.
    pub routes: Routes,
    /// Who may come in, and by which pages.
    pub login: Login,
    /// What the upstream and the response get to know.
    pub headers: Headers,
    /// What the access log gets to know.
    pub access_log: AccessLog,
    /// What is a mistake unless something in front of Envoy makes it right: a line for each, with its option.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the filter JSON and the variables `OAUTH2_PROXY_*`, which win over it.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(json: &[u8], env: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let Some(given) = Given::new(json, env, &mut errors) else {
            return Err(errors);
        };
        let options = Options::read(&given, &mut errors);
        errors.check(!options.bridge_cluster.is_empty(), "bridge_cluster", "must not be empty");
        let mode = mode::build(&options, &mut errors);
        let provider = mode::needs_provider(&options).then(|| provider::build(&options, &mut errors));
        if provider.is_none() {
            mode::refuse_provider(&options, &mut errors);
        }
        let bearer = bearer::build(&options, provider.as_ref(), &mut errors);
        let cookie = cookie::build(&options, &mut errors);
        let redis = redis::build(&options, &mut errors);
        let routes = routes::build(&options, &mut errors);
        let login = login::build(&options, &mode, &mut errors);
        let headers = headers::build(&options, &mut errors);
        let access_log = access_log::build(&options, &mut errors);
        match cookie {
            Some(cookie) if errors.is_empty() => {
                let bridge_cluster = options.bridge_cluster;
                Ok(Self {
                    bridge_cluster,
                    mode,
                    provider,
                    bearer,
                    cookie,
                    redis,
                    routes,
                    login,
                    headers,
                    access_log,
                    warnings: errors.into_warnings(),
                })
            }
            _ => Err(errors),
        }
    }
}

impl Config {
    /// Whether sessions are written or ended, and not only read.
    pub fn writes(&self) -> bool {
        self.mode.owns_sessions() || self.renews()
    }

    /// Whether sessions are renewed: those of our own sign-ins, and others where `cookie_refresh` says so.
    pub fn renews(&self) -> bool {
        matches!(self.mode, Mode::Login) || !self.cookie.refresh.is_zero()
    }
}

#[cfg(test)]
impl Config {
    /// A configuration for tests of other modules: what `json` says, and what it has to say otherwise.
    pub(crate) fn for_tests(json: impl std::fmt::Display) -> Self {
        let mut options = serde_json::json!({
            "oidc_issuer_url": "https://login.example.com",
            "client_id": "filter",
            "client_secret": "client-secret",
            "cookie_secret": "0123456789abcdef0123456789abcdef",
            "email_domains": ["*"],
        });
        let given: serde_json::Map<_, _> = serde_json::from_str(&json.to_string()).unwrap();
        options.as_object_mut().unwrap().extend(given);
        Self::parse(options.to_string().as_bytes(), &[]).unwrap()
    }
}
