//! Redis, which keeps the sessions with `session_store_type` redis.

mod servers;
mod service;
mod url;

use std::time::Duration;

use self::servers::Servers;
pub(super) use self::servers::needs_password;
use super::choices::{ModeName, TrackingChoice};
use super::errors::ConfigErrors;
use super::options::Options;
use super::secrets::SecretsFrom;
use crate::redis;
use crate::session::ticket::TicketForm;

/// The default of oauth2-proxy (go-redis), if `redis_connection_idle_timeout` is not set.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What `CLIENT LIST` shows.
const CLIENT_NAME: &str = "oauth2-session-filter";

/// The options of Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The servers and how to talk to them.
    pub client: redis::ClientConfig,
    /// The ACL user of the servers with the data; empty for `default`.
    pub username: String,
    /// `redis_sentinel_username`.
    pub sentinel_username: String,
    /// `redis_session_cache`.
    pub session_cache: Duration,
    /// `redis_session_index`.
    pub session_index: bool,
    /// `redis_ticket_form`; none for the format that most versions of oauth2-proxy read.
    pub ticket_form: Option<TicketForm>,
}

/// The longest `redis_session_cache`.
const MAX_SESSION_CACHE: Duration = Duration::from_secs(60);

/// The default of `redis_tracking_silence`.
const TRACKING_SILENCE: Duration = Duration::from_secs(1);

/// The store in Redis; `None` if sessions are in cookies, or if there is a mistake.
pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Option<RedisConfig> {
    let has_service = !options.redis_service.is_empty();
    errors.check(
        service::IS_USED || !has_service,
        "redis_service",
        "is only in the module for Higress, whose gateway calls Redis itself; leave it out, or build that module with \
         make build HOST=higress",
    );
    match options.session_store_type.as_str() {
        "redis" => {}
        "cookie" => {
            let mistake = "is for session_store_type redis; set that, or leave this out";
            for (name, is_unused) in [
                ("redis_connection_url", options.redis_connection_url.is_empty()),
                ("redis_service", !service::IS_USED || !has_service),
                ("redis_use_sentinel", !options.redis_use_sentinel),
                ("redis_use_cluster", !options.redis_use_cluster),
                ("redis_session_cache", options.redis_session_cache.is_zero()),
                ("redis_tls_server_name", options.redis_tls_server_name.is_empty()),
                ("redis_session_index", !options.redis_session_index),
                ("redis_tracking", options.redis_tracking == TrackingChoice::Auto),
                ("redis_tracking_silence", options.redis_tracking_silence == TRACKING_SILENCE),
            ] {
                errors.check(is_unused, name, mistake);
            }
            servers::check_unused(options, errors);
            return None;
        }
        _ => {
            errors.add("session_store_type", "must be cookie or redis");
            return None;
        }
    }
    for (name, timeout) in [
        ("redis_connect_timeout", options.redis_connect_timeout),
        ("redis_command_timeout", options.redis_command_timeout),
    ] {
        errors.check(timeout.as_millis() > 0, name, "must be at least 1ms");
    }
    let is_short = options.redis_session_cache <= MAX_SESSION_CACHE;
    errors.check(
        is_short,
        "redis_session_cache",
        "must be at most 1m; a session that was ended is still valid for that time",
    );
    errors.check(
        !service::IS_USED || options.redis_tracking != TrackingChoice::On,
        "redis_tracking",
        "is not for the module for Higress, whose gateway passes on replies alone; leave it out",
    );
    errors.check(
        options.redis_tracking != TrackingChoice::On || remembers_sessions(options),
        "redis_tracking",
        "needs memory for sessions; set session_cache_bytes above 0, or leave this out",
    );
    errors.check(
        options.redis_tracking != TrackingChoice::Off || options.redis_tracking_silence == TRACKING_SILENCE,
        "redis_tracking_silence",
        "has no effect with redis_tracking off; leave it out",
    );
    let is_possible = options.redis_tracking_silence.as_millis() >= 100
        && options.redis_tracking_silence <= MAX_SESSION_CACHE;
    errors.check(is_possible, "redis_tracking_silence", "must be from 100ms to 1m");
    let owns_sessions = options.mode != ModeName::Beside;
    errors.check(
        owns_sessions || !options.redis_session_index,
        "redis_session_index",
        "is not for mode beside, because oauth2-proxy has the paths under proxy_prefix and signs users out; leave it out",
    );
    let build = if service::IS_USED { service::build } else { servers::build };
    let servers = build(options, errors)?;
    let username = match options.redis_username.as_str() {
        "" => servers.url.username.clone(),
        username => username.to_owned(),
    };
    Some(RedisConfig {
        username,
        sentinel_username: options.redis_sentinel_username.clone(),
        client: client(options, servers, errors),
        session_cache: options.redis_session_cache,
        session_index: options.redis_session_index,
        ticket_form: ticket_form(options, errors),
    })
}

/// If the name of the cookie has dots, only the format `v2` is unambiguous.
fn ticket_form(options: &Options, errors: &mut ConfigErrors) -> Option<TicketForm> {
    let is_ambiguous =
        options.redis_ticket_form == Some(TicketForm::Documented) && options.cookie_name.contains('.');
    errors.check(!is_ambiguous, "redis_ticket_form", "must be v2, because cookie_name has a dot");
    options.redis_ticket_form
}

/// Whether a worker has memory for sessions.
fn remembers_sessions(options: &Options) -> bool {
    options.session_cache_size.or(options.session_cache_bytes) != Some(0)
}

fn client(
    options: &Options,
    Servers { topology, url }: Servers,
    errors: &mut ConfigErrors,
) -> redis::ClientConfig {
    let or = |option: &str, url: String| if option.is_empty() { url } else { option.to_owned() };
    let username = or(&options.redis_username, url.username);
    let password = or(options.redis_password.expose(), url.password);
    let is_from_bridge = options.secrets_from == SecretsFrom::Bridge;
    let mistake = "comes over the bridge (secrets_from), but the URL has one too; leave it out of the URL";
    errors.check(!is_from_bridge || password.is_empty(), "redis_password", mistake);
    if password.is_empty() && servers::needs_password(&username) && !is_from_bridge {
        errors.add("redis_password", "is missing; the user of Redis needs one");
    }
    let idle = u64::try_from(options.redis_connection_idle_timeout).unwrap_or(u64::MAX);
    let server_name = if service::IS_USED {
        redis::ServerName::default()
    } else {
        servers::server_name(options, &url.host, url.is_tls, errors)
    };
    // The gateway of Higress shares its connections, and passes on replies alone. A worker that remembers no session would
    // ask Redis for each request all the same, and for more.
    let is_tracking =
        !service::IS_USED && remembers_sessions(options) && options.redis_tracking != TrackingChoice::Off;
    redis::ClientConfig {
        topology,
        credentials: servers::credentials(&username, &password),
        database: url.database,
        client_name: CLIENT_NAME.to_owned(),
        connect_timeout: options.redis_connect_timeout,
        command_timeout: options.redis_command_timeout,
        idle_timeout: if idle == 0 { IDLE_TIMEOUT } else { Duration::from_secs(idle) },
        allowed_hosts: servers::allowed_hosts(options, errors),
        server_name,
        tracking: is_tracking.then(|| redis::TrackingConfig {
            key_prefix: options.cookie_name.clone(),
            silence: options.redis_tracking_silence,
            is_wanted: options.redis_tracking == TrackingChoice::On,
        }),
    }
}
