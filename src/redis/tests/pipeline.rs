//! Commands and replies on a connection that works.

use std::time::Duration;

use super::script::{Script, config, failed};
use crate::redis::load::{MAX_BYTES, MAX_COMMANDS};
use crate::redis::{Client, Command, Failure, Output};
use crate::time::Timestamp;

#[test]
fn commands_are_joined_and_replies_are_in_order() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.get("b");
    redis.send(Command::del(b"c"));
    assert_eq!(redis.outputs(), ["1 write GET a; GET b; DEL c"]);
    redis.get("d");
    assert_eq!(redis.outputs(), ["1 write GET d"]);
    redis.receives(1, "$1\r\nA\r\n$-1\r\n:1\r\n$1\r\nD\r\n");
    assert_eq!(redis.outputs(), ["#2 A", "#3 nil", "#4 1", "#5 D"]);
}

#[test]
fn replies_may_be_split_anywhere() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.get("b");
    redis.outputs();
    let replies = "$5\r\nhello\r\n-ERR x\r\n";
    for byte in replies.chars() {
        redis.receives(1, &byte.to_string());
    }
    assert_eq!(redis.outputs(), ["#2 hello", "#3 -ERR x"]);
}

#[test]
fn too_large_value_leaves_other_replies_alone() {
    let mut redis = Script::connected();
    redis.get("foreign");
    redis.get("ours");
    redis.outputs();
    redis.receives(1, "$9000000\r\n");
    for _ in 0..9 {
        redis.receives(1, &"x".repeat(1_000_000));
    }
    redis.receives(1, "\r\n$1\r\nA\r\n");
    assert_eq!(redis.outputs(), ["#2 too large", "#3 A"]);
}

#[test]
fn command_cancelled_before_write_is_not_written() {
    let mut redis = Script::connected();
    redis.get("a");
    let cancelled = redis.get("b");
    redis.get("c");
    redis.client.cancel(cancelled);
    assert_eq!(redis.outputs(), ["1 write GET a; GET c"]);
    redis.receives(1, "$1\r\nA\r\n$1\r\nC\r\n");
    assert_eq!(redis.outputs(), ["#2 A", "#4 C"]);
}

#[test]
fn reply_to_cancelled_command_is_dropped() {
    let mut redis = Script::connected();
    redis.get("a");
    let cancelled = redis.get("b");
    redis.get("c");
    redis.outputs();
    redis.client.cancel(cancelled);
    redis.receives(1, "$1\r\nA\r\n$1\r\nB\r\n$1\r\nC\r\n");
    assert_eq!(redis.outputs(), ["#2 A", "#4 C"]);
    // A command that is done or unknown cannot be cancelled.
    redis.client.cancel(cancelled);
    assert_eq!(redis.outputs(), [""; 0]);
}

#[test]
fn cancelled_command_opens_no_connection() {
    let mut redis = Script::new();
    let cancelled = redis.get("k");
    assert_eq!(redis.outputs(), ["1 open redis:6379"]);
    redis.client.cancel(cancelled);
    redis.closed(1);
    redis.pass(10_000);
    assert_eq!(redis.outputs(), ["not connected: unreachable"]);
    assert_eq!(redis.next_wake(), None);
}

#[test]
fn cancelled_command_without_reply_still_ends_hung_connection() {
    let mut redis = Script::connected();
    let cancelled = redis.get("k");
    redis.outputs();
    redis.client.cancel(cancelled);
    redis.pass(2000);
    let expected = ["1 close", "disconnected with 1 in flight: timeout"];
    assert_eq!(redis.outputs(), expected);
}

#[test]
fn too_many_commands_fail_at_once() {
    let mut redis = Script::new();
    for _ in 0..MAX_COMMANDS {
        redis.get("k");
    }
    assert_eq!(redis.outputs(), ["1 open redis:6379"]);
    let one_more = redis.get("k");
    assert_eq!(redis.outputs(), [failed(one_more.0, &Failure::Overloaded)]);
    // A place that becomes free is used.
    redis.client.cancel(crate::redis::CommandId(77));
    redis.get("k");
    assert_eq!(redis.outputs(), [""; 0]);
    // Commands in flight take as many places.
    redis.connects(1);
    redis.outputs();
    let one_more = redis.get("k");
    assert_eq!(redis.outputs(), [failed(one_more.0, &Failure::Overloaded)]);
    redis.receives(1, "$-1\r\n");
    redis.get("k");
    assert_eq!(redis.outputs(), ["#1 nil", "1 write GET k"]);
}

#[test]
fn too_many_bytes_fail_at_once() {
    let mut redis = Script::connected();
    let value = vec![b'x'; 1 << 20];
    let set = || Command::setex(b"k", Duration::ZERO, &value);
    let fit = MAX_BYTES / (value.len() + 64);
    for _ in 0..fit {
        redis.send(set());
    }
    let one_more = redis.send(set());
    assert_eq!(redis.outputs().first().unwrap(), &failed(one_more.0, &Failure::Overloaded));
    redis.receives(1, "+OK\r\n");
    redis.send(set());
    let outputs = redis.outputs();
    assert!(outputs.iter().all(|output| !output.contains("failed")), "there is room for one more command");
}

#[test]
fn many_commands_are_split_into_several_writes() {
    let now = Timestamp::from_secs(0);
    let mut client = Client::new(&config(), 0);
    for _ in 0..10_000 {
        client.send(Command::get(&[b'k'; 100]), now);
    }
    let Some(Output::Open { stream, .. }) = client.next_output() else { panic!() };
    client.opened(stream);
    client.received(stream, b"+OK\r\n", now);
    let mut total = 0;
    while let Some(output) = client.next_output() {
        if let Output::Write { bytes, .. } = output {
            assert!(bytes.len() < (256 << 10) + 200);
            total += bytes.len();
        }
    }
    assert!(total > 1_000_000);
}
