//! Another master: how the client notices, and what becomes of the commands.

use std::time::Duration;

use super::{S, asked, connected, fail_over, promoted, switch, world};
use crate::redis::Command;

#[test]
fn outdated_sentinel_is_refuted_by_role() {
    let mut world = world();
    fail_over(&mut world, &S[1..]);
    world.get("k");
    assert_eq!(world.log().last().unwrap(), "not connected: not master");
    world.pass(100);
    let log = world.log();
    assert_eq!(asked(&log), [S[1]]);
    assert_eq!(log.last().unwrap(), "#1 v");
    assert_eq!(world.connected(), ["b:6379", S[1]]);
    assert!(!log.contains(&"the master is b:6379".to_owned()), "it had no master before");
}

#[test]
fn switch_is_followed_within_50_ms() {
    let mut world = connected();
    world.server("a:6379").is_hung = true;
    world.get("k");
    world.lock("l");
    world.log();
    fail_over(&mut world, &S);
    world.say(S[0], &switch("main", "b", "6379"));
    world.pass(50);
    let expected = [
        "disconnected with 2 in flight: not master",
        "#3 failed: lost",
        "b:6379 CLIENT SETNAME test",
        "b:6379 ROLE",
        "connected",
        "the master is b:6379",
        "b:6379 GET k",
        "#2 v",
    ];
    assert_eq!(world.log(), expected);
    assert_eq!(world.connected(), ["b:6379", S[0]]);
}

#[test]
fn switch_ends_backoff() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    for _ in 0..4 {
        world.pass(100);
    }
    fail_over(&mut world, &S);
    let sentinel = world.connected().into_iter().next().unwrap().to_owned();
    world.log();
    world.say(&sentinel, &switch("main", "b", "6379"));
    world.pass(50);
    assert_eq!(world.outcomes(), ["#2 v"]);
}

/// In a planned failover the old master accepts writes until all replicas follow the new one.
#[test]
fn promotion_is_followed_before_switch() {
    let mut world = connected();
    fail_over(&mut world, &S[..1]);
    world.server("a:6379").role = "master";
    world.say(S[0], &promoted("main", "b", "6379"));
    world.get("k");
    world.pass(50);
    let log = world.log();
    assert!(log.contains(&"the master is b:6379".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "#2 v");
    assert_eq!(world.connected(), ["b:6379", S[0]]);
    world.say(S[0], &switch("main", "b", "6379"));
    assert_eq!(world.log(), [""; 0], "known already");
}

#[test]
fn commands_that_replica_refused_go_to_master() {
    for error in [
        "-READONLY You can't write against a read only replica.\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-LOADING Redis is loading\r\n",
        "-ERR Error running script (call to f_4): @user_script:1: @user_script: 1: -READONLY You can't\r\n",
    ] {
        let mut world = connected();
        fail_over(&mut world, &S);
        world.server("a:6379").answer = error.to_owned();
        world.server("b:6379").answer = "+OK\r\n".to_owned();
        // Even commands that must not run twice, and those behind them in the same write.
        world.client.send(Command::lock(b"l", b"me", Duration::from_secs(5)), world.now);
        world.client.send(Command::lock(b"m", b"me", Duration::from_secs(5)), world.now);
        world.lock("k");
        assert_eq!(world.outcomes(), [""; 0]);
        world.pass(100);
        let log = world.log();
        assert_eq!(asked(&log), [S[1]]);
        let ends: Vec<_> = log.iter().filter(|line| line.starts_with('#')).collect();
        assert_eq!(ends, ["#2 +OK", "#3 +OK", "#4 +OK"], "{error}");
    }
}

#[test]
fn replies_behind_readonly_are_awaited() {
    let mut world = connected();
    world.server("a:6379").is_hung = true;
    world.lock("l");
    world.lock("m");
    fail_over(&mut world, &S);
    world.log();
    world.say("a:6379", "-READONLY x\r\n");
    world.server("b:6379").answers.push_back("+OK\r\n".to_owned());
    world.get("k");
    assert_eq!(world.log(), [""; 0], "nothing more is written to the old master");
    world.say("a:6379", "$-1\r\n");
    assert_eq!(world.log(), ["#3 nil", "disconnected with 0 in flight: not ready (READONLY)"]);
    world.pass(100);
    assert_eq!(world.outcomes(), ["#2 +OK", "#4 v"]);
}

#[test]
fn lasting_readonly_fails_command_at_deadline() {
    let mut world = connected();
    world.server("a:6379").answer = "-READONLY x\r\n".to_owned();
    world.lock("l");
    world.pass(2000);
    let log = world.log();
    assert_eq!(log.last().unwrap(), "#2 failed: not ready (READONLY)");
    let writes = log.iter().filter(|line| line.contains("SET l")).count();
    assert!((2..45).contains(&writes), "{writes}");
}

#[test]
fn lost_connection_asks_next_sentinel() {
    let mut world = connected();
    world.server("a:6379").is_hung = true;
    world.get("k");
    world.lock("l");
    fail_over(&mut world, &S);
    world.kill("a:6379");
    assert_eq!(world.outcomes(), ["#3 failed: lost"]);
    world.pass(100);
    let log = world.log();
    assert_eq!((asked(&log), log.last().unwrap().as_str()), (vec![S[1]], "#2 v"));
}

#[test]
fn command_waits_for_end_of_failover() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    // The Sentinels name the old master until they agree.
    world.pass(900);
    let log = world.log();
    assert!(asked(&log).len() >= 3, "{log:#?}");
    fail_over(&mut world, &S);
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#2 v"]);
}

#[test]
fn hung_master_leads_to_next_sentinel() {
    let mut world = connected();
    world.server("a:6379").is_hung = true;
    world.get("k");
    world.pass(1500);
    world.get("l");
    fail_over(&mut world, &S);
    world.pass(500);
    assert_eq!(world.outcomes(), ["#2 failed: timeout"]);
    world.pass(100);
    assert_eq!(world.outcomes(), ["#3 v"]);
}

#[test]
fn unreachable_master_fails_commands_as_a_single_server() {
    let mut world = world();
    world.server("a:6379").is_down = true;
    world.get("k");
    world.pass(2500);
    assert_eq!(world.outcomes(), ["#1 failed: timeout"]);
    world.pass(1000);
    world.get("l");
    world.get("m");
    assert_eq!(world.outcomes(), ["#2 failed: unreachable", "#3 failed: unreachable"]);
}
