//! A slow network is not a silent one. Commands have 2 s.

use super::script::Script;

/// This many pieces of a value, one each 100 ms.
fn trickle(redis: &mut Script, pieces: usize) {
    for _ in 0..pieces {
        redis.pass(100);
        redis.receives(1, &"x".repeat(2000));
        assert_eq!(redis.outputs(), [""; 0]);
    }
}

#[test]
fn large_value_over_slow_network_arrives() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "$100000\r\n");
    trickle(&mut redis, 49);
    redis.pass(100);
    redis.receives(1, &format!("{}\r\n", "x".repeat(2000)));
    assert_eq!(redis.outputs(), [format!("#2 {}", "x".repeat(100_000))]);
    redis.get("b");
    assert_eq!(redis.outputs(), ["1 write GET b"]);
}

#[test]
fn commands_behind_slow_value_time_out_and_stream_stays() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.get("b");
    redis.outputs();
    redis.receives(1, "$100000\r\n");
    trickle(&mut redis, 19);
    redis.pass(100);
    assert_eq!(redis.outputs(), ["#3 failed: timeout"]);
    redis.receives(1, &"x".repeat(100_000 - 19 * 2000));
    redis.receives(1, "\r\n$1\r\nB\r\n");
    assert_eq!(redis.outputs(), [format!("#2 {}", "x".repeat(100_000))]);
}

#[test]
fn stream_that_falls_silent_within_value_ends() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "$100000\r\n");
    trickle(&mut redis, 30);
    redis.pass(1999);
    assert_eq!(redis.outputs(), [""; 0]);
    redis.pass(1);
    let expected = ["1 close", "disconnected with 1 in flight: timeout", "#2 failed: timeout"];
    assert_eq!(redis.outputs(), expected);
}

/// The end of a value may have been lost, so that the replies to other commands seem to be part of it.
#[test]
fn endless_reply_ends_stream() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.receives(1, "$999999\r\n");
    trickle(&mut redis, 99);
    redis.pass(100);
    assert_eq!(redis.outputs().first().unwrap(), "1 close");
}
