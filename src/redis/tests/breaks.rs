//! Connections that break with commands in flight.

use std::time::Duration;

use super::script::Script;
use crate::redis::Command;

#[test]
fn idempotent_commands_are_written_again_in_order() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.lock();
    redis.get("b");
    redis.outputs();
    redis.get("c");
    redis.closed(1);
    let expected = ["disconnected with 3 in flight: lost", "#3 failed: lost"];
    assert_eq!(redis.outputs(), expected);
    redis.pass(49);
    assert_eq!(redis.outputs(), [""; 0], "the backoff is at least 50 ms");
    redis.pass(51);
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
    redis.connects(2);
    let expected = ["2 write CLIENT SETNAME test", "connected", "2 write GET a; GET b; GET c"];
    assert_eq!(redis.outputs(), expected);
    redis.receives(2, "$1\r\nA\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(redis.outputs(), ["#2 A", "#4 B", "#5 C"]);
}

#[test]
fn reply_before_break_counts() {
    let mut redis = Script::connected();
    redis.lock();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "+OK\r\n$1\r\n");
    redis.closed(1);
    assert_eq!(redis.outputs(), ["#2 +OK", "disconnected with 1 in flight: lost"]);
}

#[test]
fn half_a_reply_is_dropped_with_its_stream() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "$10\r\nhalf");
    redis.closed(1);
    redis.pass(100);
    redis.connects(2);
    redis.outputs();
    redis.receives(2, "$5\r\nwhole\r\n");
    assert_eq!(redis.outputs(), ["#2 whole"]);
}

#[test]
fn unwritten_command_survives_failed_connection() {
    let mut redis = Script::new();
    redis.lock();
    redis.opened(1);
    redis.outputs();
    redis.not_connected(1, "connection refused");
    assert_eq!(redis.outputs(), ["not connected: unreachable (connection refused)"]);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write SET l me NX PX 5000");
}

#[test]
fn command_survives_three_breaks_and_fails_at_the_fourth() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    for stream in 1..4 {
        redis.closed(stream);
        redis.pass(100);
        redis.connects(stream + 1);
        assert_eq!(redis.outputs().last().unwrap(), &format!("{} write GET a", stream + 1));
    }
    redis.get("b");
    assert_eq!(redis.outputs(), ["4 write GET b"]);
    redis.closed(4);
    let expected = ["disconnected with 2 in flight: lost", "#2 failed: lost"];
    assert_eq!(redis.outputs(), expected);
    redis.pass(100);
    redis.connects(5);
    assert_eq!(redis.outputs().last().unwrap(), "5 write GET b");
}

#[test]
fn failed_attempts_do_not_count_as_writes() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.closed(1);
    for (stream, backoff) in [(2, 100), (3, 200)] {
        redis.pass(backoff);
        redis.closed(stream);
    }
    redis.pass(400);
    redis.connects(4);
    assert_eq!(redis.outputs().last().unwrap(), "4 write GET a");
}

#[test]
fn cancelled_command_is_not_written_again() {
    let mut redis = Script::connected();
    let cancelled = redis.get("a");
    redis.outputs();
    redis.client.cancel(cancelled);
    redis.closed(1);
    redis.pass(10_000);
    assert_eq!(redis.outputs(), ["disconnected with 1 in flight: lost"]);
}

#[test]
fn command_cancelled_after_break_is_not_written_again() {
    let mut redis = Script::connected();
    let cancelled = redis.get("a");
    redis.get("b");
    redis.outputs();
    redis.closed(1);
    redis.get("c");
    redis.client.cancel(cancelled);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET b; GET c");
}

#[test]
fn hung_connection_is_replaced() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.send(Command::del(b"x"));
    redis.outputs();
    redis.pass(1500);
    redis.get("b");
    redis.lock();
    redis.outputs();
    redis.pass(500);
    let expected = [
        "1 close",
        "disconnected with 4 in flight: timeout",
        "#2 failed: timeout",
        "#3 failed: timeout",
        "#5 failed: lost",
    ];
    assert_eq!(redis.outputs(), expected);
    // The replies arrive late, and the host reports the end of the stream.
    redis.receives(1, "$1\r\nA\r\n:1\r\n$1\r\nB\r\n");
    redis.closed(1);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET b");
    redis.receives(1, "$5\r\nstale\r\n");
    redis.receives(2, "$1\r\nB\r\n");
    assert_eq!(redis.outputs(), ["#4 B"]);
}

#[test]
fn deadline_counts_from_send_and_not_from_reconnect() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.pass(1000);
    redis.closed(1);
    redis.pass(500);
    redis.connects(2);
    redis.outputs();
    redis.pass(499);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    assert_eq!(redis.outputs().last().unwrap(), "#2 failed: timeout");
}

/// Otherwise the commands that waited longest for a server would end the new stream for all others.
#[test]
fn timeout_of_late_written_command_keeps_stream() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.pass(1800);
    redis.closed(1);
    redis.get("b");
    redis.get("c");
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET a; GET b; GET c");
    redis.pass(100);
    assert_eq!(redis.outputs(), ["#2 failed: timeout"]);
    redis.receives(2, "$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(redis.outputs(), ["#3 B"]);
    // A stream that stays silent still ends.
    redis.pass(1899);
    assert_eq!(redis.outputs(), ["#4 failed: timeout"]);
    redis.pass(100);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    assert_eq!(redis.outputs().first().unwrap(), "2 close");
}

#[test]
fn reply_at_deadline_counts() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    // The worker was busy: the reply and the deadline come at the same time.
    redis.now = redis.now.after(Duration::from_secs(3));
    redis.receives(1, "$1\r\nA\r\n");
    redis.client.wake(redis.now);
    assert_eq!(redis.outputs(), ["#2 A"]);
}

#[test]
fn invalid_bytes_end_stream() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.get("b");
    redis.lock();
    redis.outputs();
    redis.receives(1, "$1\r\nA\r\nHTTP/1.1 400 Bad Request\r\n$1\r\nB\r\n");
    let expected = ["#2 A", "1 close", "disconnected with 2 in flight: protocol (Type)", "#4 failed: lost"];
    assert_eq!(redis.outputs(), expected);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET b");
}

#[test]
fn reply_without_command_ends_stream() {
    let mut redis = Script::connected();
    redis.receives(1, "+PONG\r\n");
    assert_eq!(redis.outputs().first().unwrap(), "1 close");
    assert_eq!(redis.next_wake(), None);
}

/// Otherwise the client would reconnect as fast as such a server answers.
#[test]
fn extra_reply_with_handshake_leads_to_backoff() {
    let mut redis = Script::new();
    redis.get("a");
    redis.opened(1);
    redis.outputs();
    redis.receives(1, "+OK\r\n+OK\r\n");
    assert!(!redis.outputs().iter().any(|output| output.contains("open")));
    assert!((50..=100).contains(&redis.next_wake().unwrap()));
}
