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
            endpoints.iter().any(|name| name.as_bytes() == endpoint) || is_beneath(endpoint, b"/static/")
        },
    },
    Rules {
        options: || json!({ "mode": "app", "login_app_path": "/login", "login_app_clusters": ["login-app"] }),
        is_open: |_, path| path == b"/login" || is_beneath(path, b"/login/"),
    },
    Rules {
        options: || {
            json!({
                "skip_jwt_bearer_tokens": true, "bearer_token_login_fallback": false, "session_cache_size": 0,
                "session_cookie_minimal": true, "skip_auth_preflight": true, "basic_auth_password": "secret-client",
                "force_https": true,
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
    is_beneath(path, b"/public/")
}

/// Whether every reader takes a path for one beneath `folder`: also one that decodes it twice, or cuts a segment off.
fn is_beneath(path: &[u8], folder: &[u8]) -> bool {
    let once = decoded(path);
    let twice = decoded(&once);
    let is_parent = |segment: &[u8]| segment.split(|byte| b";?#".contains(byte)).next() == Some(b"..");
    let leaves = |path: &[u8]| path.split(|byte| b"/\\".contains(byte)).any(is_parent);
    path.starts_with(folder) && ![path, &once, &twice].into_iter().any(leaves)
}

/// A path without percent-encoding.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    bytes
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
