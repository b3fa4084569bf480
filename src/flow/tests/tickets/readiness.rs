//! `/ready` says whether people can sign in and stay signed in, not only whether somebody answers.

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
fn every_command_that_sessions_need_has_to_be_taken() {
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
    assert!(!redis.keys().iter().any(lives), "nothing is left behind");
}

#[test]
fn sessions_are_tried_as_they_are_written() {
    for (expire, needs_psetex) in [("1h", false), ("1h500ms", true)] {
        let site = site(json!({ "cookie_expire": expire }));
        site.world.fake_redis().refuse("PSETEX", "NOPERM this user has no permissions");
        assert_eq!(ready(&site), if needs_psetex { 503 } else { 200 }, "{expire}");
    }
}

/// Sessions can be read: to take the requests elsewhere would sign everybody out of everything.
#[test]
fn what_passes_by_itself_is_no_reason() {
    let site = site(json!({}));
    for error in ["OOM x", "MISCONF x", "READONLY x", "NOREPLICAS x"] {
        site.world.fake_redis().refuse("SETEX", error);
        assert_eq!(ready(&site), 200, "{error}");
    }
}

/// One server is configured, and it is a node of a Cluster: most sessions are elsewhere.
#[test]
fn a_server_that_names_another_one_is_not_ready_for_a_minute() {
    let site = site(json!({}));
    site.world.fake_redis().refuse("DEL", "MOVED 3999 10.0.0.1:6379");
    assert_eq!(ready(&site), 503);
    // The next keys are its own by chance.
    site.world.fake_redis().refuse_nothing();
    assert_eq!(ready(&site), 503);
    site.world.pass(Duration::from_secs(60));
    assert_eq!(ready(&site), 200);
}

#[test]
fn who_asks_often_is_told_what_was_found_a_moment_ago() {
    let site = site(json!({}));
    assert_eq!(ready(&site), 200);
    site.world.fake_redis().seen();
    for _ in 0..50 {
        assert_eq!(site.browser().reply("/ready", &[]).status(), 200);
    }
    assert!(site.world.fake_redis().seen().iter().all(|command| command == "ping"));
    // But not what was wrong.
    site.world.fake_redis().set_down(true);
    assert_eq!(ready(&site), 503);
    site.world.fake_redis().set_down(false);
    assert_eq!(site.browser().reply("/ready", &[]).status(), 200);
}
