//! `/ready` says whether users can sign in and stay signed in, not only whether Redis answers.

use std::time::Duration;

use serde_json::json;

use super::site;
use crate::flow::io::Io;
use crate::flow::tests::Site;

fn ready(site: &Site) -> u16 {
    site.world.pass(Duration::from_secs(2));
    site.browser().reply("/ready", &[]).status().as_u16()
}

#[test]
fn refused_session_command_makes_proxy_unready() {
    let site = site(json!({}));
    assert_eq!(ready(&site), 200);
    for verb in ["GET", "SETEX", "SET", "DEL", "EVAL"] {
        for error in ["NOPERM this user has no permissions", "ERR unknown command"] {
            site.world.fake_redis().refuse(verb, error);
            assert_eq!(ready(&site), 503, "{verb} {error}");
        }
        site.world.fake_redis().refuse_nothing();
        assert_eq!(ready(&site), 200, "{verb}");
    }
    site.world.pass(Duration::from_secs(10));
    let (redis, now) = (site.world.fake_redis(), site.world.now());
    let lives = |key: &String| redis.ttl(key, now).is_none_or(|left| !left.is_zero());
    assert!(!redis.keys().iter().any(lives), "no key is left");
}

#[test]
fn readiness_tries_psetex_if_sessions_use_it() {
    for (expire, needs_psetex) in [("1h", false), ("1h500ms", true)] {
        let site = site(json!({ "cookie_expire": expire }));
        site.world.fake_redis().refuse("PSETEX", "NOPERM this user has no permissions");
        assert_eq!(ready(&site), if needs_psetex { 503 } else { 200 }, "{expire}");
    }
}

/// Sessions can be read. An unready proxy would get no requests, and so sign all its users out.
#[test]
fn temporary_write_refusal_stays_ready() {
    let site = site(json!({}));
    for error in ["OOM x", "MISCONF x", "READONLY x", "NOREPLICAS x"] {
        site.world.fake_redis().refuse("SETEX", error);
        assert_eq!(ready(&site), 200, "{error}");
    }
}

/// The one server that is configured is a node of a Cluster: it lacks most of the sessions.
#[test]
fn redirecting_server_is_unready_for_a_minute() {
    let site = site(json!({}));
    site.world.fake_redis().refuse("DEL", "MOVED 3999 10.0.0.1:6379");
    assert_eq!(ready(&site), 503);
    // By chance, the next keys are on this server.
    site.world.fake_redis().refuse_nothing();
    assert_eq!(ready(&site), 503);
    site.world.pass(Duration::from_secs(60));
    assert_eq!(ready(&site), 200);
}

#[test]
fn positive_readiness_is_reused_for_a_second() {
    let site = site(json!({}));
    assert_eq!(ready(&site), 200);
    site.world.fake_redis().seen();
    for _ in 0..50 {
        assert_eq!(site.browser().reply("/ready", &[]).status(), 200);
    }
    assert!(site.world.fake_redis().seen().iter().all(|command| command == "ping"));
    // A negative result is not reused.
    site.world.fake_redis().set_down(true);
    assert_eq!(ready(&site), 503);
    site.world.fake_redis().set_down(false);
    assert_eq!(site.browser().reply("/ready", &[]).status(), 200);
}
