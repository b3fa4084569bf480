//! The subscription: which messages are followed, and how it is renewed.

use std::time::Duration;

use super::{S, asked, connected, fail_over, promoted, switch, topology, world_with};
use crate::redis::ClientConfig;
use crate::redis::tests::script::config;
use crate::redis::tests::world::bulk;

#[test]
fn messages_about_other_masters_are_ignored() {
    let mut world = connected();
    for bytes in [
        switch("other", "b", "6379"),
        switch("main", "b\r\nx", "6379"),
        switch("main", "b:1", "6379"),
        switch("main", "b", "0"),
        switch("main", "a", "6379"),
        promoted("other", "b", "6379"),
        promoted("main", "b:1", "6379"),
        promoted("main", "a", "6379"),
        format!("*3\r\n{}{}{}", bulk("message"), bulk("+promoted-slave"), bulk("slave b:6379 b 6379 @")),
        "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n".to_owned(),
        format!("*3\r\n{}{}{}", bulk("message"), bulk("+sdown"), bulk("main a 6379 b 6379")),
        format!("*3\r\n{}{}{}", bulk("message"), bulk("+switch-master"), bulk("main")),
        "+PONG\r\n*-1\r\n$-1\r\n*0\r\n".to_owned(),
    ] {
        world.say(S[0], &bytes);
        assert_eq!(world.log(), [""; 0], "{bytes:?}");
    }
    assert_eq!(world.connected(), ["a:6379", S[0]]);
}

#[test]
fn new_subscription_finds_missed_switch() {
    let mut world = connected();
    world.pass(60_000);
    fail_over(&mut world, &S);
    world.kill(S[0]);
    let log = world.log();
    assert_eq!(asked(&log), [S[1]]);
    world.get("k");
    let log = world.log();
    assert!(log.contains(&"the master is b:6379".to_owned()));
    assert_eq!(log.last().unwrap(), "#2 v");
    assert_eq!(world.connected(), ["b:6379", S[1]]);
}

#[test]
fn short_subscriptions_are_made_again_with_pauses() {
    let mut world = connected();
    world.log();
    let mut questions = 0;
    for _ in 0..200 {
        let sentinels: Vec<_> = world.connected().iter().map(ToString::to_string).collect();
        for name in sentinels.iter().filter(|name| name.starts_with('s')) {
            world.hang_up(name);
        }
        world.pass(10);
        world.get("k");
        questions += asked(&world.log()).len();
    }
    assert!((3..10).contains(&questions), "{questions} in two seconds");
}

#[test]
fn master_is_used_while_sentinels_are_down() {
    let mut world = connected();
    for sentinel in S {
        world.kill(sentinel);
    }
    assert_eq!(world.client.next_wake(), None, "no question without a command");
    for id in 2..20 {
        world.get("k");
        assert_eq!(world.outcomes(), [format!("#{id} nil")]);
        world.pass(100);
    }
    world.server(S[2]).is_down = false;
    for _ in 0..20 {
        world.get("k");
        world.pass(300);
    }
    assert_eq!(world.connected(), ["a:6379", S[2]]);
}

#[test]
fn silent_sentinel_is_pinged_with_next_command() {
    let mut world = connected();
    world.server(S[0]).is_hung = true;
    world.pass(3_600_000);
    assert_eq!(world.log(), [""; 0], "no ping without a command");
    world.get("k");
    assert_eq!(world.log(), ["s1:26379 PING", "a:6379 GET k", "#2 nil"]);
    world.pass(500);
    let log = world.log();
    assert_eq!((log[0].as_str(), asked(&log)), ("s1:26379 lookup failed: unreachable", vec![S[1]]));
    // A Sentinel that answers stays.
    world.server(S[1]).answer = format!("*2\r\n{}{}", bulk("pong"), bulk(""));
    world.pass(10_000);
    world.get("k");
    assert_eq!(world.log(), ["s2:26379 PING", "a:6379 GET k", "#3 nil"].map(str::to_owned));
    world.pass(1000);
    world.get("k");
    assert_eq!(world.log(), ["a:6379 GET k", "#4 nil"]);
}

#[test]
fn without_commands_all_streams_close() {
    let idle_timeout = Duration::from_secs(60);
    let mut world = world_with(&ClientConfig { topology: topology(false), idle_timeout, ..config() });
    world.get("k");
    world.log();
    world.pass(60_000);
    assert_eq!(world.log(), ["idle"]);
    assert_eq!((world.connected(), world.client.next_wake()), (vec![], None));
    fail_over(&mut world, &S);
    world.get("k");
    let log = world.log();
    assert_eq!(
        (asked(&log), log.last().unwrap().as_str()),
        (vec![S[0]], "#2 v"),
        "the same Sentinel as before"
    );
}
