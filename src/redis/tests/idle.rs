//! Idle connections, and streams that have ended.

use std::time::Duration;

use super::script::{Script, config};
use crate::redis::ClientConfig;

fn idle_for_a_minute() -> ClientConfig {
    ClientConfig { idle_timeout: Duration::from_secs(60), ..config() }
}

#[test]
fn idle_connection_is_closed() {
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
    assert_eq!(redis.outputs(), ["2 open redis:6379"], "without a backoff");
}

#[test]
fn connection_with_command_in_flight_is_not_idle() {
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
fn connection_without_idle_timeout_stays() {
    let mut redis = Script::connected();
    assert_eq!(redis.next_wake(), None);
    redis.pass(1_000_000_000);
    redis.get("a");
    assert_eq!(redis.outputs(), ["1 write GET a"]);
}

/// The host may wake the client late, when the server is about to close the connection too.
#[test]
fn command_after_idle_timeout_uses_new_connection() {
    let mut redis = Script::connected_with(&idle_for_a_minute());
    redis.now = redis.now.after(Duration::from_secs(61));
    redis.get("a");
    assert_eq!(redis.outputs(), ["1 close", "idle", "2 open redis:6379"]);
}

#[test]
fn idle_connection_closed_by_server_is_no_outage() {
    let mut redis = Script::connected();
    redis.pass(5000);
    redis.closed(1);
    assert_eq!(redis.outputs(), ["disconnected with 0 in flight: lost"]);
    assert_eq!(redis.next_wake(), None);
    redis.get("a");
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
}

#[test]
fn events_of_old_streams_are_ignored() {
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
    // A second event changes nothing.
    redis.opened(2);
    redis.connects(2);
    redis.opened(2);
    assert_eq!(redis.outputs(), ["2 write CLIENT SETNAME test", "connected", "2 write GET a"]);
}
