//! Reads and checks the filter JSON: oauth2-proxy's options in, a `Config` out, each error with its option.
//!
//! ```text
//! JSON ──┐
//!        ├─ RawOptions ── Options ──┬─ provider, cookie, redis, routes, login, headers, … ── Config
//! env  ──┘  (names) (types)    └─ ConfigErrors: all of them, not only the first
//! ```
//!
//! `options.rs` has one row for each option. The reader, the known names, the environment, `docs/options.md`
//! and the JSON Schema come from it. The modules of the sections check what depends on several options.

mod access_log;
mod backchannel_logout;
mod bearer;
mod callback;
mod choices;
mod cookie;
mod cookie_secrets;
mod duration;
mod errors;
mod headers;
mod lifetimes;
mod login;
mod markdown;
mod mode;
mod options;
mod pages;
mod provider;
mod provider_name;
mod raw_options;
mod redis;
mod reference;
mod refused;
mod routes;
mod schema;
mod secret;
mod secrets;
#[cfg(test)]
mod tests;
mod url;
mod value;

pub use self::access_log::AccessLog;
pub use self::bearer::BearerConfig;
pub use self::choices::CodeChallengeMethod;
pub use self::cookie::{Cookie, MAX_SESSION, SessionCache};
pub use self::cookie_secrets::{SecretList, cookie_secrets};
pub use self::errors::ConfigErrors;
pub use self::headers::Headers;
pub use self::lifetimes::Lifetimes;
pub use self::login::{Login, ProviderSignOut};
pub use self::markdown::{options_markdown, providers_markdown, refused_markdown};
pub use self::mode::{LoginApp, Mode};
pub use self::pages::{Language, Logo, Pages};
pub use self::provider::ProviderConfig;
pub use self::provider_name::ProviderKind;
pub use self::redis::RedisConfig;
pub use self::reference::{Known, known};
pub use self::routes::{HTTPS, Routes};
pub use self::schema::options_schema;
pub use self::secret::Secret;
pub use self::secrets::{BridgeSecrets, SecretName, WantedSecret};

use self::options::Options;
use self::raw_options::RawOptions;

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Config {
    /// `bridge_cluster`.
    pub bridge_cluster: String,
    /// Who signs users in.
    pub mode: Mode,
    /// The provider; none if the filter does not need it.
    pub provider: Option<ProviderConfig>,
    /// The bearer tokens that are accepted instead of a session; none if the filter accepts none.
    pub bearer: Option<BearerConfig>,
    /// The secrets that come over the bridge; none if all are in the configuration.
    pub bridge_secrets: Option<BridgeSecrets>,
    /// The cookies.
    pub cookie: Cookie,
    /// When sessions end.
    pub lifetimes: Lifetimes,
    /// The store in Redis; none if sessions are in the cookie.
    pub redis: Option<RedisConfig>,
    /// The options of paths.
    pub routes: Routes,
    /// Which users are allowed, and the options of the sign-in page.
    pub login: Login,
    /// How the pages look.
    pub pages: Pages,
    /// The identity headers for the upstream and the response.
    pub headers: Headers,
    /// The fields for the access log.
    pub access_log: AccessLog,
    /// Values that are mistakes unless a proxy in front of Envoy makes them right: a line for each, with its
    /// option.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the filter JSON and the variables `OAUTH2_PROXY_*`, which win over it.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(json: &[u8], env: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let Some(raw) = RawOptions::new(json, env, &mut errors) else {
            return Err(errors);
        };
        let options = Options::read(&raw, &mut errors);
        errors.check(!options.bridge_cluster.is_empty(), "bridge_cluster", "must not be empty");
        let mode = mode::build(&options, &mut errors);
        let provider = mode::needs_provider(&options).then(|| provider::build(&options, &mut errors));
        if provider.is_none() {
            mode::refuse_provider(&options, &mut errors);
        }
        let bearer = bearer::build(&options, provider.as_ref(), &mut errors);
        let cookie = cookie::build(&options, &mut errors);
        let lifetimes = lifetimes::build(&options, &mut errors);
        let redis = redis::build(&options, &mut errors);
        let bridge_secrets = secrets::build(&options, provider.is_some(), redis.as_ref(), &mut errors);
        let routes = routes::build(&options, &mut errors);
        let login = login::build(&options, &mode, &mut errors);
        let pages = pages::build(&options, &mut errors);
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
                    bridge_secrets,
                    cookie,
                    lifetimes,
                    redis,
                    routes,
                    login,
                    pages,
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
    /// Whether the filter writes or ends sessions, and does not only read them.
    pub fn writes(&self) -> bool {
        self.mode.owns_sessions() || self.renews()
    }

    /// Whether the filter renews sessions: those of its own sign-ins, and others if `cookie_refresh` is set.
    pub fn renews(&self) -> bool {
        matches!(self.mode, Mode::Login) || !self.cookie.refresh.is_zero()
    }
}

#[cfg(test)]
impl Config {
    /// A configuration for tests of other modules: the options of `json`, and defaults for the required ones.
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
