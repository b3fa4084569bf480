//! Secrets that come over the bridge: which are expected, and which ways exclude each other.

use super::*;
use crate::config::{SecretName, WantedSecret};

/// A configuration without secrets of its own.
fn from_bridge(changes: Value) -> Result<Config, ConfigErrors> {
    let mut json = with(json!({ "secrets_from": "bridge" }));
    let members = json.as_object_mut().unwrap();
    members.remove("client_secret");
    members.remove("cookie_secret");
    members.extend(changes.as_object().unwrap().clone());
    parse(&json)
}

fn redis(changes: Value) -> Value {
    let mut json =
        json!({ "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com" });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

#[test]
fn secret_that_comes_in_both_ways_is_a_mistake() {
    for (option, changes) in [
        ("cookie_secret", json!({ "cookie_secret": "0123456789abcdef" })),
        ("client_secret", json!({ "client_secret": "hush-hush" })),
        ("redis_password", redis(json!({ "redis_password": "hush-hush" }))),
        ("redis_password", redis(json!({ "redis_connection_url": "redis://filter:hush@redis.example.com" }))),
        (
            "redis_sentinel_password",
            json!({
                "session_store_type": "redis",
                "redis_use_sentinel": true,
                "redis_sentinel_master_name": "main",
                "redis_sentinel_connection_urls": ["redis://s1.example.com"],
                "redis_sentinel_password": "hush-hush",
            }),
        ),
    ] {
        let lines = lines(from_bridge(changes));
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.starts_with(&format!("{option}: "))),
            "{lines:#?}"
        );
        assert!(lines.iter().all(|line| !line.contains("hush")), "{lines:#?}");
    }
}

#[test]
fn configuration_tells_which_secrets_are_expected() {
    let wanted = |changes: Value| -> Vec<(SecretName, bool)> {
        let secrets = from_bridge(changes).unwrap().bridge_secrets.unwrap();
        secrets.wanted.iter().map(|WantedSecret { name, is_required }| (*name, *is_required)).collect()
    };
    let (cookie, client) = ((SecretName::Cookie, true), (SecretName::Client, false));
    assert_eq!(wanted(json!({})), [cookie, client]);
    assert_eq!(wanted(json!({ "code_challenge_method": "" })), [cookie, (SecretName::Client, true)]);
    assert_eq!(wanted(redis(json!({}))), [cookie, client, (SecretName::Redis, false)]);
    assert_eq!(
        wanted(redis(json!({ "redis_username": "filter" }))),
        [cookie, client, (SecretName::Redis, true)]
    );
    let url = json!({ "redis_connection_url": "redis://filter@redis.example.com" });
    assert_eq!(wanted(redis(url)), [cookie, client, (SecretName::Redis, true)]);
}

#[test]
fn secrets_of_the_environment_come_not_over_the_bridge() {
    assert!(config(json!({})).bridge_secrets.is_none());
    assert!(mistake("cookie_secret", json!({ "cookie_secret": "" })).contains("is missing"));
}

#[test]
fn secrets_refresh_below_100_milliseconds_is_a_mistake() {
    let lines = lines(from_bridge(json!({ "secrets_refresh": "99ms" })));
    assert_eq!(lines, ["secrets_refresh: must be at least 100ms"]);
    assert!(from_bridge(json!({ "secrets_refresh": "100ms" })).is_ok());
}
