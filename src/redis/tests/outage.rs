//! Outages of Redis: which commands wait, and which fail at once.

use super::script::{Script, config, failed};
use crate::redis::{ClientConfig, Failure};

/// Time passes in which each stream fails at once. Returns how many were asked for.
fn refuse(redis: &mut Script, millis: u64) -> u64 {
    let outputs = redis.endure(millis, Script::closed);
    outputs.iter().map(|(_, output)| u64::from(output.contains("open"))).sum()
}

/// A client in a long outage, and the number of its next stream.
fn long_outage() -> (Script, u64) {
    let mut redis = Script::new();
    redis.get("k");
    let tried = refuse(&mut redis, 2500);
    redis.outputs();
    (redis, tried + 1)
}

#[test]
fn command_waits_for_reconnect() {
    let mut redis = Script::new();
    redis.get("a");
    let tried = refuse(&mut redis, 1200);
    assert!((3..=6).contains(&tried), "{tried} attempts");
    redis.pass(700);
    redis.get("b");
    redis.connects(tried + 1);
    assert_eq!(redis.outputs().last().unwrap(), &format!("{} write GET a; GET b", tried + 1));
}

#[test]
fn command_in_outage_waits_until_its_deadline() {
    let mut redis = Script::new();
    redis.get("a");
    refuse(&mut redis, 1900);
    // The outage is younger than the timeout, so this command has its whole time.
    redis.get("b");
    let mut done = redis.endure(3000, Script::closed);
    done.retain(|(_, output)| output.starts_with('#'));
    assert_eq!(done, [(100, failed(1, &Failure::Timeout)), (2000, failed(2, &Failure::Timeout))]);
}

#[test]
fn silent_stream_ends_after_connect_timeout() {
    let mut redis = Script::new();
    redis.get("a");
    redis.opened(1);
    redis.outputs();
    redis.pass(999);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    assert_eq!(redis.outputs(), ["1 close", "not connected: unreachable"]);
    redis.pass(100);
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
    // A stream that never opens ends too.
    redis.pass(900);
    assert_eq!(redis.outputs(), ["#1 failed: timeout"]);
    redis.pass(100);
    assert_eq!(redis.outputs(), ["2 close", "not connected: unreachable"]);
    assert_eq!(redis.next_wake(), None, "no command needs a third stream");
    // The outage began with the start of the first attempt, not with its end.
    redis.get("b");
    assert_eq!(redis.outputs(), ["#2 failed: unreachable"]);
}

#[test]
fn unfinished_handshake_ends_after_connect_timeout() {
    let mut redis = Script::with(&ClientConfig { database: 1, ..config() });
    redis.get("a");
    redis.opened(1);
    redis.outputs();
    redis.pass(900);
    redis.receives(1, "+OK\r\n");
    redis.pass(100);
    assert_eq!(redis.outputs().first().unwrap(), "1 close");
}

#[test]
fn commands_in_long_outage_fail_at_once() {
    let (mut redis, stream) = long_outage();
    redis.pass(1000);
    redis.get("a");
    assert_eq!(redis.outputs(), [format!("{stream} open redis:6379")]);
    redis.closed(stream);
    let expected = ["not connected: unreachable", "#2 failed: unreachable"];
    assert_eq!(redis.outputs(), expected, "it waits for one attempt only");
    redis.get("b");
    assert_eq!(redis.outputs(), ["#3 failed: unreachable"]);
    assert_eq!(redis.next_wake(), None, "no attempt without a command");
    redis.pass(499);
    redis.get("c");
    assert_eq!(redis.outputs(), ["#4 failed: unreachable"], "half a second at least");
    redis.pass(501);
    redis.get("d");
    assert_eq!(redis.outputs(), [format!("{} open redis:6379", stream + 1)], "a second at most");
}

#[test]
fn successful_attempt_ends_long_outage() {
    let (mut redis, stream) = long_outage();
    redis.pass(1000);
    redis.get("a");
    // Other commands wait for the same attempt.
    redis.get("b");
    redis.connects(stream);
    let expected = [
        format!("{stream} open redis:6379"),
        format!("{stream} write CLIENT SETNAME test"),
        "connected".to_owned(),
        format!("{stream} write GET a; GET b"),
    ];
    assert_eq!(redis.outputs(), expected);
    // The next outage is a new one.
    redis.closed(stream);
    redis.outputs();
    redis.get("c");
    assert_eq!(redis.outputs(), [""; 0]);
    assert!((50..=100).contains(&redis.next_wake().unwrap()));
}

#[test]
fn commands_in_outage_fail_with_last_failure() {
    let (mut redis, stream) = long_outage();
    redis.pass(1000);
    redis.get("a");
    redis.opened(stream);
    redis.receives(stream, "-LOADING Redis is loading the dataset in memory\r\n");
    redis.outputs();
    redis.get("b");
    assert_eq!(redis.outputs(), ["#3 failed: not ready (LOADING)"]);
}

/// No other server could have the data.
#[test]
fn single_server_that_comes_back_empty_is_believed() {
    let mut redis = Script::connected();
    redis.get("k");
    redis.outputs();
    redis.closed(1);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET k");
    redis.receives(2, "$-1\r\n");
    assert_eq!(redis.outputs(), ["#2 nil"]);
}
