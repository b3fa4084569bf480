//! Connections that break with commands in flight.

use std::time::Duration;

use super::script::Script;
use crate::redis::Command;

#[test]
fn what_may_run_twice_is_written_again_in_order() {
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
    assert_eq!(redis.outputs(), [""; 0], "the backoff is 50 ms at least");
    redis.pass(51);
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
    redis.connects(2);
    let expected = ["2 write CLIENT SETNAME test", "connected", "2 write GET a; GET b; GET c"];
    assert_eq!(redis.outputs(), expected);
    redis.receives(2, "$1\r\nA\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(redis.outputs(), ["#2 A", "#4 B", "#5 C"]);
}

#[test]
fn a_reply_before_the_break_counts() {
    let mut redis = Script::connected();
    redis.lock();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "+OK\r\n$1\r\n");
    redis.closed(1);
    assert_eq!(redis.outputs(), ["#2 +OK", "disconnected with 1 in flight: lost"]);
}

#[test]
fn half_a_reply_is_not_continued_by_the_next_stream() {
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
fn a_command_that_was_not_written_survives_whatever_it_is() {
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
fn a_command_outlives_three_crashes_in_a_row_and_no_fourth() {
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
fn attempts_that_fail_are_no_writes() {
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
fn a_cancelled_command_is_not_written_again() {
    let mut redis = Script::connected();
    let cancelled = redis.get("a");
    redis.outputs();
    redis.client.cancel(cancelled);
    redis.closed(1);
    redis.pass(10_000);
    assert_eq!(redis.outputs(), ["disconnected with 1 in flight: lost"]);
}

#[test]
fn a_command_may_be_cancelled_between_two_writes() {
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
fn a_hung_connection_is_replaced() {
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
    // The replies come after all, and the host says that it closed the stream.
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
fn the_deadline_counts_from_the_first_moment() {
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

/// Otherwise those who waited longest for a server would take it away from all others when it is back.
#[test]
fn a_command_that_is_written_late_takes_nobodys_stream() {
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
    // A server that says nothing more is left all the same.
    redis.pass(1899);
    assert_eq!(redis.outputs(), ["#4 failed: timeout"]);
    redis.pass(100);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    assert_eq!(redis.outputs().first().unwrap(), "2 close");
}

#[test]
fn a_reply_that_is_just_in_time_counts() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    // The worker was busy: the reply and the deadline are there at the same moment.
    redis.now = redis.now.after(Duration::from_secs(3));
    redis.receives(1, "$1\r\nA\r\n");
    redis.client.wake(redis.now);
    assert_eq!(redis.outputs(), ["#2 A"]);
}

#[test]
fn bytes_that_are_no_reply_end_the_stream() {
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
fn a_reply_that_nobody_asked_for_ends_the_stream() {
    let mut redis = Script::connected();
    redis.receives(1, "+PONG\r\n");
    assert_eq!(redis.outputs().first().unwrap(), "1 close");
    assert_eq!(redis.next_wake(), None);
}

/// Otherwise a server with one reply too many would be reconnected to as fast as it answers.
#[test]
fn a_reply_too_many_with_the_handshake_is_backed_off_from() {
    let mut redis = Script::new();
    redis.get("a");
    redis.opened(1);
    redis.outputs();
    redis.receives(1, "+OK\r\n+OK\r\n");
    assert!(!redis.outputs().iter().any(|output| output.contains("open")));
    assert!((50..=100).contains(&redis.next_wake().unwrap()));
}
