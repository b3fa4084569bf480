//! `redis_use_sentinel` and `redis_use_cluster`: the servers, and the options of one topology only.

use serde_json::{Value, json};

use super::{config, env, mistake, mistakes, with};
use crate::config::Config;
use crate::redis::{Credentials, Endpoint, Tls, Topology};

fn and(mut options: Value, more: Value) -> Value {
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn sentinel(more: Value) -> Value {
    let options = json!({
        "session_store_type": "redis",
        "redis_use_sentinel": true,
        "redis_sentinel_master_name": "main",
        "redis_sentinel_connection_urls": ["redis://s1", "redis://s2:26380"],
    });
    and(options, more)
}

fn cluster(more: Value) -> Value {
    let options = json!({
        "session_store_type": "redis",
        "redis_use_cluster": true,
        "redis_cluster_connection_urls": ["redis://n1", "redis://n2:6380"],
    });
    and(options, more)
}

fn client(options: Value) -> crate::redis::ClientConfig {
    config(options).redis.unwrap().client
}

fn endpoint(host: &str, port: u16, tls: Tls) -> Endpoint {
    Endpoint { host: host.to_owned(), port, tls }
}

fn credentials(username: Option<&str>, password: &str) -> Option<Credentials> {
    Some(Credentials { username: username.map(str::to_owned), password: password.to_owned() })
}

#[test]
fn sentinels_have_their_own_port_and_credentials() {
    let client = client(sentinel(json!({
        "redis_sentinel_username": "watcher", "redis_sentinel_password": "sesame",
        "redis_sentinel_connection_urls": ["redis://x:y@s1/9", "redis://u:p@s2:26380/3"],
    })));
    let topology = Topology::Sentinel {
        master_name: "main".to_owned(),
        sentinels: vec![endpoint("s1", 26379, Tls::Off), endpoint("s2", 26380, Tls::Off)],
        credentials: credentials(Some("watcher"), "sesame"),
    };
    assert_eq!(client.topology, topology);
    assert_eq!(client.credentials, credentials(Some("u"), "p"), "the servers', by the last URL");
    assert_eq!(client.database, 3);
}

#[test]
fn a_cluster_has_seeds() {
    let client = client(cluster(json!({ "redis_password": "p" })));
    let seeds = vec![endpoint("n1", 6379, Tls::Off), endpoint("n2", 6380, Tls::Off)];
    assert_eq!(client.topology, Topology::Cluster { seeds });
    assert_eq!((client.credentials, client.database), (credentials(None, "p"), 0));
}

#[test]
fn lists_may_be_in_the_environment() {
    let urls = env(&[("OAUTH2_PROXY_REDIS_CLUSTER_CONNECTION_URLS", "redis://a,redis://b/")]);
    let json = with(json!({ "session_store_type": "redis", "redis_use_cluster": true }));
    let client = Config::parse(json.to_string().as_bytes(), &urls).unwrap().redis.unwrap().client;
    let seeds = vec![endpoint("a", 6379, Tls::Off), endpoint("b", 6379, Tls::Off)];
    assert_eq!(client.topology, Topology::Cluster { seeds });
}

#[test]
fn tls_is_everywhere_or_nowhere() {
    let tls = |options| match client(options).topology {
        Topology::Cluster { seeds } => seeds.iter().map(|seed| seed.tls).collect::<Vec<_>>(),
        Topology::Sentinel { sentinels, .. } => sentinels.iter().map(|sentinel| sentinel.tls).collect(),
        Topology::Single(endpoint) => vec![endpoint.tls],
    };
    let urls = json!(["rediss://a", "rediss://b"]);
    assert_eq!(tls(cluster(json!({ "redis_cluster_connection_urls": urls }))), [Tls::Verified; 2]);
    assert_eq!(tls(sentinel(json!({ "redis_sentinel_connection_urls": urls }))), [Tls::Verified; 2]);
    let mixed = json!(["rediss://a", "redis://b"]);
    mistake("redis_cluster_connection_urls", cluster(json!({ "redis_cluster_connection_urls": mixed })));
    mistake("redis_sentinel_connection_urls", sentinel(json!({ "redis_sentinel_connection_urls": mixed })));
    let insecure = json!({ "redis_insecure_skip_tls_verify": true });
    assert_eq!(tls(cluster(insecure.clone())), [Tls::Insecure; 2]);
    assert_eq!(tls(sentinel(insecure)), [Tls::Insecure; 2]);
}

#[test]
fn missing_option_of_sentinel_or_cluster_is_named() {
    mistake("redis_sentinel_master_name", sentinel(json!({ "redis_sentinel_master_name": "" })));
    mistake("redis_sentinel_connection_urls", sentinel(json!({ "redis_sentinel_connection_urls": [] })));
    mistake("redis_sentinel_password", sentinel(json!({ "redis_sentinel_username": "watcher" })));
    mistake("redis_cluster_connection_urls", cluster(json!({ "redis_cluster_connection_urls": "," })));
    mistake("redis_connection_url", json!({ "session_store_type": "redis" }));
    let nothing = json!({ "session_store_type": "redis", "redis_use_sentinel": true });
    assert_eq!(mistakes(nothing).len(), 2);
}

#[test]
fn conflicting_redis_options_are_refused() {
    mistake("redis_use_cluster", sentinel(json!({ "redis_use_cluster": true })));
    let url = json!({ "redis_connection_url": "redis://h" });
    mistake("redis_connection_url", sentinel(url.clone()));
    mistake("redis_connection_url", cluster(url));
    mistake(
        "redis_cluster_connection_urls",
        cluster(json!({ "redis_cluster_connection_urls": "redis://h/1" })),
    );
}

#[test]
fn options_of_unused_topology_are_refused() {
    let single = || json!({ "session_store_type": "redis", "redis_connection_url": "redis://h" });
    for (name, value) in [
        ("redis_sentinel_master_name", json!("main")),
        ("redis_sentinel_connection_urls", json!(["redis://s1"])),
        ("redis_sentinel_username", json!("watcher")),
        ("redis_sentinel_password", json!("sesame")),
        ("redis_cluster_connection_urls", json!(["redis://n1"])),
    ] {
        let option = json!({ name: value });
        mistake(name, and(single(), option.clone()));
        mistake(name, option.clone());
        let other = if name.contains("cluster") { sentinel(option) } else { cluster(option) };
        mistake(name, other);
    }
    for name in ["redis_use_sentinel", "redis_use_cluster"] {
        mistake(name, json!({ name: true }));
        config(and(single(), json!({ name: false })));
    }
}

#[test]
fn invalid_urls_are_counted_but_not_printed() {
    let urls = json!(["redis://u:hunter2@h:x", "redis://ok", "unix:///x", "redis://a b"]);
    let mistakes = mistakes(cluster(json!({ "redis_cluster_connection_urls": urls })));
    assert_eq!(mistakes.len(), 3, "{mistakes:#?}");
    assert!(mistakes.iter().all(|line| line.starts_with("redis_cluster_connection_urls: entry ")));
    assert!(!mistakes.join("").contains("hunter2"));
}

#[test]
fn redis_allowed_hosts_are_patterns() {
    let list = ["redis-0.example.com", "*.example.com:6379", "10.0.0.0/8", "[fd00::/8]:6379"];
    let expected: Vec<_> = list.iter().map(|pattern| pattern.parse().unwrap()).collect();
    for of in [sentinel, cluster] {
        assert_eq!(client(of(json!({ "redis_allowed_hosts": list }))).allowed_hosts, expected);
        assert_eq!(client(of(json!({}))).allowed_hosts, [], "any host");
    }
}

#[test]
fn invalid_allowed_host_never_allows_any_host() {
    let list = json!(["10.0.0.0/33", "ok.example.com", "*", "redis://h"]);
    let mistakes = mistakes(cluster(json!({ "redis_allowed_hosts": list })));
    let entries: Vec<_> = mistakes.iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>()).collect();
    assert_eq!(
        entries,
        [1, 3, 4].map(|entry| vec!["redis_allowed_hosts".to_owned(), format!("entry {entry}")]),
        "{mistakes:#?}"
    );
    let single = json!({ "session_store_type": "redis", "redis_connection_url": "redis://h" });
    mistake("redis_allowed_hosts", and(single, json!({ "redis_allowed_hosts": ["h"] })));
    mistake("redis_allowed_hosts", json!({ "redis_allowed_hosts": ["h"] }));
}

/// The name that the certificate of a server with this host has to be for.
fn certificate_of(options: Value, host: &str) -> String {
    client(options).server_name.of(&endpoint(host, 6379, Tls::Verified)).to_owned()
}

#[test]
fn server_named_by_address_uses_name_of_last_url() {
    let urls = json!(["rediss://r0.example.com", "rediss://r1.example.com:6380"]);
    for options in [
        sentinel(json!({ "redis_sentinel_connection_urls": urls })),
        cluster(json!({ "redis_cluster_connection_urls": urls })),
    ] {
        assert_eq!(certificate_of(options.clone(), "10.0.0.7"), "r1.example.com");
        assert_eq!(certificate_of(options.clone(), "r0.example.com"), "r0.example.com");
        let named = and(options, json!({ "redis_tls_server_name": "redis.example.com" }));
        for host in ["10.0.0.7", "r0.example.com"] {
            assert_eq!(certificate_of(named.clone(), host), "redis.example.com");
        }
    }
}

#[test]
fn tls_server_name_needs_verified_certificates() {
    let name = "redis_tls_server_name";
    let secure = |more| and(cluster(json!({ "redis_cluster_connection_urls": ["rediss://n1"] })), more);
    for good in ["redis.example.com", "10.0.0.1", "fd00::1"] {
        config(secure(json!({ name: good })));
    }
    for bad in ["rediss://h", "h:6379", "a b", "a\r\nx: y", "*.example.com", "[::1]"] {
        mistake(name, secure(json!({ name: bad })));
    }
    // Without a verified certificate, it would do nothing.
    mistake(name, cluster(json!({ name: "h" })));
    mistake(name, secure(json!({ name: "h", "redis_insecure_skip_tls_verify": true })));
    mistake(name, json!({ name: "h" }));
}

#[test]
fn service_of_a_gateway_is_refused_in_the_module_for_other_hosts() {
    for store in ["redis", "cookie"] {
        let mut options = json!({ "session_store_type": store, "redis_service": "redis.dns" });
        if store == "redis" {
            options["redis_connection_url"] = json!("redis://redis");
        }
        let refused = mistake("redis_service", options);
        assert!(refused.contains("make build HOST=higress"), "{refused}");
    }
}
