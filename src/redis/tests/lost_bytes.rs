//! Bytes are lost on the way, so that the replies after them would be taken for those to other commands.

use std::time::Duration;

use super::script::Script;
use crate::redis::Command;

/// A `GET` whose value has to begin with its key.
fn checked(key: &'static str) -> Command {
    Command::get(key.as_bytes()).checked(move |value| value.starts_with(key.as_bytes()))
}

#[test]
fn misplaced_value_ends_stream_and_repeats_commands_in_flight() {
    let mut redis = Script::connected();
    for key in ["a", "b", "c"] {
        redis.send(checked(key));
    }
    redis.get("d");
    redis.outputs();
    // The reply to `b` was lost.
    redis.receives(1, "$2\r\na1\r\n$2\r\nc1\r\n$2\r\nd1\r\n");
    let expected = ["#2 a1", "1 close", "disconnected with 3 in flight: protocol (Misplaced)"];
    assert_eq!(redis.outputs(), expected);
    redis.pass(100);
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET b; GET c; GET d");
    redis.receives(2, "$2\r\nb1\r\n$2\r\nc1\r\n$2\r\nd1\r\n");
    assert_eq!(redis.outputs(), ["#3 b1", "#4 c1", "#5 d1"]);
}

#[test]
fn reply_of_wrong_type_ends_stream() {
    let commands = || {
        [
            (Command::get(b"a"), ["+OK", ":1", "*0"].as_slice()),
            (Command::setex(b"a", Duration::from_secs(1), b"x"), &[":1", "$-1", "$1\r\nx", "*0"]),
            (Command::replace(b"a", Duration::from_secs(1), b"x"), &[":1", "$1\r\nx"]),
            (Command::del(b"a"), &["+OK", "$-1", "$1\r\nx"]),
            (Command::renew_lock(b"a", b"me", Duration::from_secs(1)), &["+OK", "$-1", "$1\r\nx"]),
            (Command::read_index(b"a"), &["+OK", "$-1", ":1", "$1\r\nx"]),
            (Command::time_to_live(b"a"), &["+OK", "$-1", "*0"]),
            (Command::release_lock(b"a", b"me"), &["+OK", "$-1", "$1\r\nx"]),
            (Command::echo(b"a"), &["$-1", "$1\r\nx"]),
            (Command::ping(), &[":1", "$-1"]),
        ]
    };
    for (command, replies) in commands() {
        for reply in replies {
            let mut redis = Script::connected();
            redis.send(command.clone());
            redis.outputs();
            redis.receives(1, &format!("{reply}\r\n"));
            let outputs = redis.outputs();
            assert_eq!(outputs.first().unwrap(), "1 close", "{command:?} {reply:?}");
            redis.pass(100);
            assert_eq!(redis.outputs(), ["2 open redis:6379"], "{command:?} {reply:?}");
        }
    }
}

#[test]
fn error_fits_every_command() {
    let mut redis = Script::connected();
    redis.send(checked("a"));
    redis.outputs();
    redis.receives(1, "-WRONGTYPE x\r\n");
    assert_eq!(redis.outputs(), ["#2 -WRONGTYPE x"]);
}

#[test]
fn lock_behind_misplaced_reply_is_not_repeated() {
    let mut redis = Script::connected();
    redis.send(checked("a"));
    redis.lock();
    redis.outputs();
    redis.receives(1, "+OK\r\n");
    assert_eq!(redis.outputs().last().unwrap(), "#3 failed: lost");
}

/// Otherwise a server whose replies never fit would be asked forever.
#[test]
fn command_with_misplaced_replies_is_written_four_times() {
    let mut redis = Script::connected();
    redis.send(checked("a"));
    redis.outputs();
    for stream in 1..4 {
        redis.receives(stream, ":1\r\n");
        redis.pass(100);
        redis.connects(stream + 1);
        assert_eq!(redis.outputs().last().unwrap(), &format!("{} write GET a", stream + 1));
    }
    redis.receives(4, ":1\r\n");
    assert!(redis.outputs().contains(&"#2 failed: lost".to_owned()));
}
