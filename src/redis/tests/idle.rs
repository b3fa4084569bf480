//! Connections that nobody uses, and streams that are no more.

use std::time::Duration;

use super::script::{Script, config};
use crate::redis::ClientConfig;

fn idle_for_a_minute() -> ClientConfig {
    ClientConfig { idle_timeout: Duration::from_secs(60), ..config() }
}

#[test]
fn an_idle_connection_is_closed() {
    let mut redis = Script::connected_with(&idle_for_a_minute());
    assert_eq!(redis.next_wake(), Some(60_000));
    redis.pass(30_000);
    redis.get("a");
    redis.outputs();
    assert_eq!(redis.next_wake(), Some(2000), "it is not idle while a command is in flight");
    redis.receives(1, "$-1\r\n");
    redis.outputs();
    redis.pass(59_999);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    assert_eq!(redis.outputs(), ["1 close", "idle"]);
    assert_eq!(redis.next_wake(), None);
    redis.get("b");
    assert_eq!(redis.outputs(), ["2 open redis:6379"], "without any backoff");
}

#[test]
fn a_connection_that_waits_for_a_reply_is_not_idle() {
    let mut redis =
        Script::connected_with(&ClientConfig { idle_timeout: Duration::from_secs(1), ..config() });
    redis.get("a");
    redis.outputs();
    redis.pass(1900);
    redis.receives(1, "$-1\r\n");
    assert_eq!(redis.outputs(), ["#2 nil"]);
    assert_eq!(redis.next_wake(), Some(1000));
}

#[test]
fn without_an_idle_timeout_it_stays() {
    let mut redis = Script::connected();
    assert_eq!(redis.next_wake(), None);
    redis.pass(1_000_000_000);
    redis.get("a");
    assert_eq!(redis.outputs(), ["1 write GET a"]);
}

/// The host may be late with waking us, and the server's patience is over too.
#[test]
fn a_command_does_not_use_a_connection_that_is_overdue() {
    let mut redis = Script::connected_with(&idle_for_a_minute());
    redis.now = redis.now.after(Duration::from_secs(61));
    redis.get("a");
    assert_eq!(redis.outputs(), ["1 close", "idle", "2 open redis:6379"]);
}

#[test]
fn a_server_that_closes_an_idle_connection_is_not_away() {
    let mut redis = Script::connected();
    redis.pass(5000);
    redis.closed(1);
    assert_eq!(redis.outputs(), ["disconnected with 0 in flight: lost"]);
    assert_eq!(redis.next_wake(), None);
    redis.get("a");
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
}

#[test]
fn events_of_other_streams_are_ignored() {
    let mut redis = Script::connected_with(&idle_for_a_minute());
    redis.pass(60_000);
    redis.get("a");
    redis.outputs();
    for stream in [0, 1, 3, u64::MAX] {
        redis.opened(stream);
        redis.receives(stream, "+OK\r\n+OK\r\n!");
        redis.closed(stream);
    }
    assert_eq!(redis.outputs(), [""; 0]);
    // Once is enough.
    redis.opened(2);
    redis.connects(2);
    redis.opened(2);
    assert_eq!(redis.outputs(), ["2 write CLIENT SETNAME test", "connected", "2 write GET a"]);
}
