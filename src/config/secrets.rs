//! Where the secrets come from: the configuration and the environment, or the bridge, which reads them from files.
//!
//! ```text
//! secrets_from     cookie_secret, client_secret, redis_password, redis_sentinel_password
//! environment      in the environment or in the filter JSON, for as long as the filter runs
//! bridge           over the bridge, at the start and then every `secrets_refresh`
//! ```

use std::time::Duration;

use super::errors::ConfigErrors;
use super::options::Options;
use super::redis::{RedisConfig, needs_password};
use super::value::{InvalidValue, Read, Value};

/// The shortest `secrets_refresh`.
const MIN_REFRESH: Duration = Duration::from_millis(100);

/// `secrets_from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SecretsFrom {
    #[default]
    Environment,
    Bridge,
}

/// A secret that can come over the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretName {
    /// `cookie_secret`.
    Cookie,
    /// `client_secret`.
    Client,
    /// `redis_password`.
    Redis,
    /// `redis_sentinel_password`.
    Sentinel,
}

/// The secrets that come over the bridge.
#[derive(Clone, Debug)]
pub struct BridgeSecrets {
    /// `secrets_refresh`.
    pub refresh: Duration,
    /// The secrets that this configuration uses.
    pub wanted: Vec<WantedSecret>,
}

/// A secret that a configuration uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedSecret {
    /// Which one.
    pub name: SecretName,
    /// Whether the filter cannot work without it. If it can, as a public client or with a Redis without a password, the
    /// secret is needed if the bridge has a route for it.
    pub is_required: bool,
}

impl SecretName {
    /// The name of the option, and the end of the path at the bridge.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Cookie => "cookie_secret",
            Self::Client => "client_secret",
            Self::Redis => "redis_password",
            Self::Sentinel => "redis_sentinel_password",
        }
    }
}

/// The secrets that come over the bridge; `None` if all are in the configuration.
pub(super) fn build(
    options: &Options,
    has_provider: bool,
    redis: Option<&RedisConfig>,
    errors: &mut ConfigErrors,
) -> Option<BridgeSecrets> {
    if options.secrets_from == SecretsFrom::Environment {
        return None;
    }
    errors.check(options.secrets_refresh >= MIN_REFRESH, "secrets_refresh", "must be at least 100ms");
    let (has_redis, username) = redis.map_or((false, ""), |redis| (true, redis.username.as_str()));
    let secrets = [
        (SecretName::Cookie, true, true, options.cookie_secret.is_empty()),
        (
            SecretName::Client,
            has_provider,
            options.code_challenge_method.is_none(),
            options.client_secret.is_empty(),
        ),
        (SecretName::Redis, has_redis, needs_password(username), options.redis_password.is_empty()),
        (
            SecretName::Sentinel,
            has_redis && options.redis_use_sentinel,
            needs_password(&options.redis_sentinel_username),
            options.redis_sentinel_password.is_empty(),
        ),
    ];
    for (name, _, _, is_absent) in secrets {
        errors.check(
            is_absent,
            name.option(),
            "cannot be set together with secrets_from bridge, which brings it; leave one of them out",
        );
    }
    let wanted = secrets.into_iter().filter(|(_, is_used, ..)| *is_used);
    Some(BridgeSecrets {
        refresh: options.secrets_refresh,
        wanted: wanted.map(|(name, _, is_required, _)| WantedSecret { name, is_required }).collect(),
    })
}

impl Value for SecretsFrom {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"environment\" or \"bridge\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "environment" => Ok(Self::Environment),
            "bridge" => Ok(Self::Bridge),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "enum": ["environment", "bridge"] })
    }
}
