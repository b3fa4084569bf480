//! The configurations that the flow is fuzzed with.

use oauth2_session_filter::config::Config;
use serde_json::{Value, json};

use super::COOKIE_SECRET;
use crate::targets::site::ISSUER;

/// A configuration, and which requests it lets through without a session.
pub(super) struct Rules {
    options: fn() -> Value,
    pub(super) is_open: fn(method: &[u8], path: &[u8]) -> bool,
}

pub(super) const CONFIGURATIONS: [Rules; 8] = [
    Rules { options: || json!({ "skip_auth_routes": ["^/public/"] }), is_open: is_public },
    Rules {
        options: || {
            merge(redis(), json!({ "skip_auth_routes": ["GET=^/public/"], "redis_session_cache": "5s" }))
        },
        is_open: |method, path| method == b"GET" && is_public(method, path),
    },
    Rules {
        options: || {
            json!({
                "skip_provider_button": true, "encode_state": true, "cookie_refresh": "30m", "api_routes": ["^/api/"],
                "set_xauthrequest": true, "strip_session_cookie": true, "cookie_csrf_per_request": true,
                "access_log_fields": ["user", "state", "reason"], "cookie_domains": ["example.com"],
            })
        },
        is_open: |_, _| false,
    },
    Rules {
        options: || {
            merge(
                redis(),
                json!({
                    "skip_jwt_bearer_tokens": true, "pass_authorization_header": true, "force_json_errors": true,
                    "backend_logout_url": format!("{ISSUER}/logout?hint={{id_token}}"),
                }),
            )
        },
        is_open: |_, _| false,
    },
    Rules {
        options: || json!({ "mode": "beside" }),
        is_open: |_, path| {
            let endpoint = path.strip_prefix(b"/oauth2").unwrap_or_default();
            let endpoints = ["/sign_in", "/sign_out", "/start", "/callback", "/auth", "/userinfo"];
            endpoints.iter().any(|name| name.as_bytes() == endpoint) || endpoint.starts_with(b"/static/")
        },
    },
    Rules {
        options: || json!({ "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"] }),
        is_open: |_, path| path == b"/login" || path.starts_with(b"/login/"),
    },
    Rules {
        options: || {
            json!({
                "skip_jwt_bearer_tokens": true, "bearer_token_login_fallback": false, "session_cache_size": 0,
                "session_cookie_minimal": true, "skip_auth_preflight": true, "basic_auth_password": "secret-client",
            })
        },
        is_open: |method, _| method == b"OPTIONS",
    },
    Rules {
        options: || {
            merge(
                redis(),
                json!({
                    "redis_connection_url": "", "redis_use_sentinel": true, "redis_sentinel_master_name": "main",
                    "redis_sentinel_connection_urls": ["redis://10.0.0.1:6379"], "cookie_refresh": "30m",
                }),
            )
        },
        is_open: |_, _| false,
    },
];

fn is_public(_: &[u8], path: &[u8]) -> bool {
    path.starts_with(b"/public/")
}

fn redis() -> Value {
    json!({
        "session_store_type": "redis", "redis_connection_url": "redis://10.0.0.1:6379",
        "redis_password": "secret-redis",
    })
}

fn merge(mut options: Value, more: Value) -> Value {
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

pub(super) fn configuration(number: usize) -> Config {
    thread_local! {
        static ALL: Vec<Config> = CONFIGURATIONS.iter().map(|rules| parse((rules.options)())).collect();
    }
    ALL.with(|all| all[number].clone())
}

fn parse(options: Value) -> Config {
    let mut all = json!({
        "cookie_secret": COOKIE_SECRET, "email_domains": ["example.com"], "whitelist_domains": [".example.net"],
    });
    if options.get("mode").is_none() {
        all = merge(
            all,
            json!({
                "oidc_issuer_url": ISSUER, "client_id": "filter", "client_secret": "secret-client",
            }),
        );
    }
    Config::parse(merge(all, options).to_string().as_bytes(), &[]).unwrap()
}
