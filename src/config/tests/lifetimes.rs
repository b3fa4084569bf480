//! The options of the ends of a session.

use std::time::Duration;

use super::*;

#[test]
fn limits_are_whole_seconds() {
    let lifetimes = config(json!({"session_max_lifetime": "0s", "session_idle_timeout": "0"})).lifetimes;
    assert_eq!((lifetimes.max, lifetimes.idle), (None, None));
    let lifetimes = config(json!({"session_max_lifetime": "12h", "session_idle_timeout": "15m"})).lifetimes;
    let secs = Duration::from_secs;
    assert_eq!((lifetimes.max, lifetimes.idle), (Some(secs(12 * 3600)), Some(secs(900))));
    for name in ["session_max_lifetime", "session_idle_timeout"] {
        for limit in ["999ms", "1.5s"] {
            let line = mistake(name, json!({name: limit}));
            assert!(line.contains("must be whole seconds, at least 1s"), "{line}");
        }
    }
}

#[test]
fn idle_timeout_ends_before_the_other_ends() {
    let mistake = |options| mistake("session_idle_timeout", options);
    let line = mistake(json!({"session_idle_timeout": "1h", "cookie_expire": "1h"}));
    assert!(line.contains("less than cookie_expire"), "{line}");
    let line = mistake(json!({"session_idle_timeout": "1h", "session_max_lifetime": "1h"}));
    assert!(line.contains("less than session_max_lifetime"), "{line}");
    config(json!({"session_idle_timeout": "1h", "cookie_expire": "0"}));
}

#[test]
fn session_in_memory_is_shorter_than_the_idle_timeout() {
    let options = |cache| {
        json!({
            "session_store_type": "redis", "redis_connection_url": "redis://redis.example.com",
            "session_idle_timeout": "30s", "redis_session_cache": cache,
        })
    };
    config(options("29s"));
    let line = mistake("redis_session_cache", options("30s"));
    assert!(line.contains("less than session_idle_timeout"), "{line}");
}

#[test]
fn ignored_routes_need_an_idle_timeout() {
    let lifetimes =
        config(json!({"session_idle_timeout": "1h", "idle_ignore_routes": ["GET=^/poll$"]})).lifetimes;
    assert!(lifetimes.is_ignored(b"GET", b"/poll") && !lifetimes.is_ignored(b"POST", b"/poll"));
    let line = mistake("idle_ignore_routes", json!({"idle_ignore_routes": ["^/poll$"]}));
    assert!(line.contains("without session_idle_timeout"), "{line}");
    mistake("idle_ignore_routes", json!({"session_idle_timeout": "1h", "idle_ignore_routes": ["("]}));
}
