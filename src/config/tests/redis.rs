//! `redis_*`: the URL, the other options, and conflicts between them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{config, mistake, mistakes};
use crate::redis::{Credentials, Endpoint, Tls, Topology};
use crate::session::ticket::TicketForm;

fn with(options: Value) -> Value {
    let mut all =
        json!({ "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    all
}

fn client(options: Value) -> crate::redis::ClientConfig {
    config(with(options)).redis.unwrap().client
}

/// The endpoint of a single server.
fn endpoint(client: &crate::redis::ClientConfig) -> Endpoint {
    let Topology::Single(endpoint) = &client.topology else { panic!() };
    endpoint.clone()
}

#[test]
fn cookie_store_needs_no_redis_option() {
    assert!(config(json!({})).redis.is_none());
}

#[test]
fn a_url_has_host_port_and_database() {
    for (url, host, port, database, tls) in [
        ("redis://redis.example.com", "redis.example.com", 6379, 0, Tls::Off),
        ("redis://127.0.0.1:6380/3", "127.0.0.1", 6380, 3, Tls::Off),
        ("rediss://redis.example.com:6380/", "redis.example.com", 6380, 0, Tls::Verified),
        ("REDIS://[::1]:7000/15", "::1", 7000, 15, Tls::Off),
        ("redis://[fe80::1]", "fe80::1", 6379, 0, Tls::Off),
        ("redis://:secret@/2", "localhost", 6379, 2, Tls::Off),
    ] {
        let client = client(json!({ "redis_connection_url": url }));
        let endpoint = endpoint(&client);
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, client.database, endpoint.tls),
            (host, port, database, tls),
            "{url}"
        );
    }
}

#[test]
fn credentials_are_in_the_url_or_beside_it() {
    let credentials = |username: Option<&str>, password: &str| {
        Some(Credentials { username: username.map(str::to_owned), password: password.to_owned() })
    };
    let of = |options| client(options).credentials;
    assert_eq!(of(json!({})), None);
    assert_eq!(of(json!({ "redis_password": "p" })), credentials(None, "p"));
    assert_eq!(of(json!({ "redis_username": "u", "redis_password": "p" })), credentials(Some("u"), "p"));
    let url = |url: &str| of(json!({ "redis_connection_url": url }));
    assert_eq!(url("redis://u:p%40%3A%2f@h"), credentials(Some("u"), "p@:/"));
    assert_eq!(url("redis://:p@h"), credentials(None, "p"));
    assert_eq!(url("redis://default:p@h"), credentials(Some("default"), "p"));
    // Redis knows a connection that sends no password as this user.
    assert_eq!(url("redis://default@h"), None);
    assert_eq!(url("redis://default:@h"), None);
    assert_eq!(of(json!({ "redis_username": "default" })), None);
    let beside = json!({ "redis_connection_url": "redis://default@h", "redis_password": "p" });
    assert_eq!(of(beside), credentials(Some("default"), "p"));
    // The options win, each for itself, as in oauth2-proxy.
    let both = json!({ "redis_connection_url": "redis://u:p@h", "redis_password": "other" });
    assert_eq!(of(both), credentials(Some("u"), "other"));
}

#[test]
fn skip_tls_verify_still_uses_tls() {
    for url in ["redis://h", "rediss://h"] {
        let options = json!({ "redis_connection_url": url, "redis_insecure_skip_tls_verify": true });
        assert_eq!(endpoint(&client(options)).tls, Tls::Insecure);
    }
}

#[test]
fn redis_session_cache_is_at_most_a_minute() {
    let period = |options| config(with(options)).redis.unwrap().session_cache;
    assert_eq!(period(json!({})), Duration::ZERO);
    assert_eq!(period(json!({ "redis_session_cache": "1m" })), Duration::from_secs(60));
    mistake("redis_session_cache", with(json!({ "redis_session_cache": "61s" })));
    mistake("redis_session_cache", json!({ "redis_session_cache": "1s" }));
}

#[test]
fn tracking_is_automatic_for_all_topologies() {
    let silence = |options| client(options).tracking.map(|tracking| (tracking.silence, tracking.is_wanted));
    let second = Duration::from_secs(1);
    assert_eq!(silence(json!({})), Some((second, false)));
    assert_eq!(silence(json!({ "redis_tracking": "on" })), Some((second, true)));
    assert_eq!(silence(json!({ "redis_tracking": "off" })), None);
    let sentinel = json!({
        "redis_connection_url": "", "redis_use_sentinel": true, "redis_sentinel_master_name": "m",
        "redis_sentinel_connection_urls": ["redis://s"],
    });
    let cluster = json!({
        "redis_connection_url": "", "redis_use_cluster": true, "redis_cluster_connection_urls": ["redis://c"],
    });
    for topology in [sentinel, cluster] {
        assert_eq!(silence(topology), Some((second, false)));
    }
    assert_eq!(client(json!({ "cookie_name": "a" })).tracking.unwrap().key_prefix, "a");
}

#[test]
fn mistake_about_tracking_is_named() {
    for silence in ["0s", "99ms", "61s"] {
        mistake("redis_tracking_silence", with(json!({ "redis_tracking_silence": silence })));
    }
    mistake("redis_tracking", with(json!({ "redis_tracking": "always" })));
    // Sessions in cookies.
    mistake("redis_tracking", json!({ "redis_tracking": "on" }));
    mistake("redis_tracking_silence", json!({ "redis_tracking_silence": "2s" }));
}

#[test]
fn tracking_needs_memory_for_sessions() {
    for cache in ["session_cache_bytes", "session_cache_size"] {
        assert!(client(json!({ cache: 0 })).tracking.is_none(), "{cache}");
        assert!(client(json!({ cache: 0, "redis_tracking": "off" })).tracking.is_none(), "{cache}");
        mistake("redis_tracking", with(json!({ cache: 0, "redis_tracking": "on" })));
    }
    assert!(client(json!({ "session_cache_size": 1 })).tracking.is_some());
    mistake(
        "redis_tracking_silence",
        with(json!({ "redis_tracking": "off", "redis_tracking_silence": "2s" })),
    );
}

#[test]
fn times_have_defaults() {
    let default = client(json!({}));
    assert_eq!(default.idle_timeout, Duration::from_secs(1800));
    assert_eq!(default.connect_timeout, Duration::from_secs(1));
    assert_eq!(default.command_timeout, Duration::from_secs(2));
    let given = client(json!({
        "redis_connection_idle_timeout": 90, "redis_connect_timeout": "300ms", "redis_command_timeout": "5s",
    }));
    assert_eq!(given.idle_timeout, Duration::from_secs(90));
    assert_eq!(given.connect_timeout, Duration::from_millis(300));
    assert_eq!(given.command_timeout, Duration::from_secs(5));
}

#[test]
fn the_form_of_tickets_can_be_chosen() {
    let form = |options| config(with(options)).redis.unwrap().ticket_form;
    assert_eq!(form(json!({})), None);
    assert_eq!(form(json!({ "redis_ticket_form": "v2" })), Some(TicketForm::V2));
    assert_eq!(form(json!({ "redis_ticket_form": "documented" })), Some(TicketForm::Documented));
    mistake("redis_ticket_form", with(json!({ "redis_ticket_form": "v3" })));
    mistake("redis_ticket_form", with(json!({ "redis_ticket_form": "documented", "cookie_name": "a.b" })));
}

#[test]
fn invalid_redis_url_is_refused_but_not_printed() {
    for url in [
        "",
        "redis.example.com:6379",
        "http://redis.example.com",
        "unix:///run/redis.sock",
        "redis://h:port",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:+1",
        "redis://u:hunter2@h:x/1",
        "redis://h/one",
        "redis://h/-1",
        "redis://h/1/2",
        "redis://h/99999999999",
        "redis://h/2147483648",
        "redis://h?db=1",
        "redis://h#x",
        "redis://a b",
        "redis://[::1",
        "redis://[::1]x",
        "redis://[zz]:1",
        "redis://h\r\nx",
        "redis://u:%ff@h",
    ] {
        let mistake = mistake("redis_connection_url", with(json!({ "redis_connection_url": url })));
        assert!(!mistake.contains("hunter2"));
    }
}

#[test]
fn all_redis_mistakes_are_reported_at_once() {
    let mistakes = mistakes(with(json!({
        "redis_connection_url": "unix:///x", "redis_connect_timeout": "0s", "redis_command_timeout": "999us",
    })));
    assert_eq!(mistakes.len(), 3, "{mistakes:#?}");
    mistake("redis_password", with(json!({ "redis_username": "u" })));
    for url in ["redis://u@h", "redis://Default@h", "redis://u:@h"] {
        mistake("redis_password", with(json!({ "redis_connection_url": url })));
    }
}

#[test]
fn redis_url_with_cookie_store_is_refused() {
    mistake("redis_connection_url", json!({ "redis_connection_url": "redis://h" }));
    for store in ["memcached", ""] {
        mistake("session_store_type", json!({ "session_store_type": store }));
    }
}

#[test]
fn session_index_is_for_redis_and_for_a_filter_that_ends_sessions() {
    assert!(config(with(json!({ "redis_session_index": true }))).redis.unwrap().session_index);
    assert!(!config(with(json!({}))).redis.unwrap().session_index);
    let option = "redis_session_index";
    assert!(mistake(option, json!({ option: true })).contains("session_store_type redis"));
    // With `cookie_refresh`, the filter needs the provider in this mode too.
    let beside = json!({ option: true, "mode": "beside", "cookie_refresh": "5m" });
    assert!(mistake(option, with(beside)).contains("mode beside"));
}

#[test]
fn backchannel_logout_is_for_a_filter_that_signs_users_in_and_finds_their_sessions() {
    let option = "backchannel_logout";
    let all = json!({ option: true, "redis_session_index": true });
    assert!(config(with(all)).login.backchannel_logout);
    assert!(!config(with(json!({}))).login.backchannel_logout);
    assert!(mistake(option, json!({ option: true })).contains("session_store_type redis"));
    assert!(mistake(option, with(json!({ option: true }))).contains("needs redis_session_index"));
    let beside = json!({ option: true, "mode": "beside", "cookie_refresh": "5m" });
    assert!(mistake(option, with(beside)).contains("mode beside"));
    let app = json!({
        option: true, "redis_session_index": true, "mode": "app", "login_app_path": "/login",
        "login_app_clusters": ["app"], "cookie_refresh": "5m",
    });
    assert!(mistake(option, with(app)).contains("mode login"));
}
