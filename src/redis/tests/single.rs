//! A single server that is not ready: it loads its data, or has become a replica.

use std::time::Duration;

use super::script::Script;
use crate::redis::Command;

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const READ_ONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

/// Time passes in which the server answers each `GET` with `LOADING`. Returns the outcomes.
fn load(redis: &mut Script, millis: u64) -> Vec<(u64, String)> {
    let mut outputs = redis.endure(millis, |redis, stream| {
        redis.connects(stream);
        let written = redis.outputs().concat();
        redis.receives(stream, &LOADING.repeat(written.matches("GET").count()));
    });
    outputs.retain(|(_, output)| output.starts_with('#'));
    outputs
}

#[test]
fn commands_wait_for_server_that_is_not_ready() {
    const BUSY: &str =
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
    const CLUSTER_DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
    const MASTER_DOWN: &str = "-MASTERDOWN Link with MASTER is down\r\n";
    for error in [LOADING, BUSY, CLUSTER_DOWN, MASTER_DOWN] {
        let mut redis = Script::connected();
        redis.get("a");
        redis.lock();
        redis.outputs();
        redis.receives(1, error);
        assert_eq!(redis.outputs(), [""; 0], "it waits for the reply to the other command");
        redis.get("b");
        redis.receives(1, error);
        let code = error.split(['-', ' ']).nth(1).unwrap();
        let left = format!("disconnected with 0 in flight: not ready ({code})");
        assert_eq!(redis.outputs(), ["1 close", left.as_str()]);
        redis.pass(100);
        redis.connects(2);
        assert_eq!(redis.outputs().last().unwrap(), "2 write GET a; SET l me NX PX 5000; GET b");
        redis.receives(2, "$1\r\nA\r\n+OK\r\n$1\r\nB\r\n");
        assert_eq!(redis.outputs(), ["#2 A", "#3 +OK", "#4 B"]);
    }
}

#[test]
fn long_loading_fails_commands_at_once_except_one_per_second() {
    let mut redis = Script::new();
    redis.get("a");
    let failed = |number: u64| format!("#{number} failed: not ready (LOADING)");
    assert_eq!(load(&mut redis, 2500), [(2000, failed(1))]);
    redis.pass(1000);
    redis.get("b");
    assert_eq!(load(&mut redis, 20), [(10, failed(2))], "it waits for one attempt only");
    redis.get("c");
    assert_eq!(redis.outputs(), [failed(3)]);
    redis.pass(1000);
    redis.get("d");
    let opened = redis.outputs();
    let stream = opened[0].strip_suffix(" open redis:6379").unwrap().parse().unwrap();
    redis.connects(stream);
    redis.outputs();
    redis.receives(stream, "$1\r\nD\r\n");
    assert_eq!(redis.outputs(), ["#4 D"]);
    // The next outage is a new one.
    redis.closed(stream);
    redis.get("e");
    redis.pass(100);
    assert_eq!(redis.outputs().last().unwrap(), &format!("{} open redis:6379", stream + 1));
}

#[test]
fn read_only_server_is_reconnected_at_most_once_a_second() {
    let mut redis = Script::connected();
    let write = |redis: &mut Script| redis.send(Command::setex(b"k", Duration::from_secs(60), b"v"));
    write(&mut redis);
    redis.get("a");
    redis.outputs();
    redis.receives(1, READ_ONLY);
    redis.get("b");
    let refused = |number: u64| format!("#{number} {}", READ_ONLY.trim_end());
    assert_eq!(redis.outputs(), [refused(2)], "it waits for the reply to the other command");
    redis.receives(1, "$1\r\nA\r\n");
    let left = "disconnected with 0 in flight: not master";
    assert_eq!(redis.outputs(), ["#3 A", "1 close", left, "2 open redis:6379"], "at once");
    redis.connects(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write GET b");
    redis.receives(2, "$1\r\nB\r\n");
    redis.outputs();
    // If the server stays read-only, writes do not delay reads for long.
    redis.pass(999);
    write(&mut redis);
    redis.outputs();
    redis.receives(2, READ_ONLY);
    assert_eq!(redis.outputs(), [refused(5)]);
    redis.pass(1);
    write(&mut redis);
    redis.outputs();
    redis.receives(2, READ_ONLY);
    assert_eq!(redis.outputs(), ["2 close", left, &refused(6)]);
}
