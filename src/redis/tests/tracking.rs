//! Servers that tell a connection of changed keys.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::script::{Script, config, tracking};
use crate::redis::connection::Connection;
use crate::redis::handshake::Handshake;
use crate::redis::output::Outputs;
use crate::redis::pending::PendingCommand;
use crate::redis::reply::ServerError;
use crate::redis::settings::Settings;
use crate::redis::{ClientConfig, Command, CommandId, Endpoint, Served, StreamId, Tls};
use crate::time::Timestamp;

const HANDSHAKE: &str = "+OK\r\n%1\r\n$5\r\nproto\r\n:3\r\n%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n";

/// What the server says about the connection, as often as it is asked.
const SERVER: &str = "%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n";

/// The answer to a question that keeps a connection fresh.
const FRESH: &str = "%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n$-1\r\n";

/// The same over a connection that a proxy has made anew: of another number, or of the same but with the protocol of the
/// beginning.
const ANOTHER: [&str; 2] = [
    "%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:8\r\n$-1\r\n",
    "*4\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n$-1\r\n",
];

/// What a server answers to a probe if it tells of nothing.
const SILENT: &str = "%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n+OK\r\n$1\r\n1\r\n:10000\r\n:1\r\n$-1\r\n";

fn tracked() -> ClientConfig {
    ClientConfig { tracking: Some(tracking()), ..config() }
}

/// The key of a probe on this stream. Redis decides on its slot by the part in braces.
fn key(stream: u64, number: u64) -> String {
    format!("cookie-track-{{0}}-1-{stream}-{number}")
}

fn push(key: &str) -> String {
    format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len())
}

/// What a server answers to a probe.
fn probed(key: &str) -> String {
    format!("{SERVER}+OK\r\n$1\r\n1\r\n:10000\r\n:1\r\n{}$-1\r\n", push(key))
}

/// A client whose handshake on stream 1 is done, and whose command 1 waits for its reply behind the probe.
fn greeted() -> Script {
    let mut redis = Script::with(&tracked());
    redis.get("a");
    redis.opened(1);
    assert_eq!(
        redis.outputs(),
        ["1 open redis:6379", "1 write CLIENT SETNAME test; HELLO 3; HELLO; CLIENT TRACKING ON"]
    );
    redis.receives(1, HANDSHAKE);
    let key = key(1, 1);
    let probe = format!("1 write HELLO; SETEX {key} 10 1; GET {key}; PTTL {key}; DEL {key}; GET {key}");
    assert_eq!(redis.outputs(), ["connected".to_owned(), probe, "1 write GET a".to_owned()]);
    redis
}

/// The same, and the probe has succeeded.
fn proven() -> Script {
    let mut redis = greeted();
    redis.receives(1, &probed(&key(1, 1)));
    redis.receives(1, "$1\r\nv\r\n");
    assert_eq!(redis.outputs(), ["tracks", "#1 v"]);
    redis
}

fn serves(redis: &mut Script, stream: u64) -> bool {
    redis.client.serves(b"a", StreamId(stream), redis.now) != Served::No
}

fn tracks(redis: &Script) -> Option<u64> {
    redis.client.tracks(b"a").map(|stream| stream.0)
}

#[test]
fn server_that_pushes_is_trusted() {
    let mut redis = proven();
    assert_eq!(tracks(&redis), Some(1));
    assert!(serves(&mut redis, 1));
    assert!(!serves(&mut redis, 2), "what came by another stream is not valid");
}

#[test]
fn push_before_the_reply_to_the_change_counts_too() {
    let mut redis = greeted();
    let key = key(1, 1);
    redis.receives(1, &format!("{SERVER}+OK\r\n$1\r\n1\r\n:10000\r\n{}:1\r\n$-1\r\n", push(&key)));
    assert_eq!(redis.outputs(), ["tracks"]);
}

#[test]
fn server_that_never_pushes_is_not_trusted() {
    for told in [String::new(), push("cookie-other"), push(&key(1, 2)), push(&key(2, 1))] {
        let mut redis = greeted();
        redis.receives(1, &format!("{SERVER}+OK\r\n$1\r\n1\r\n:10000\r\n:1\r\n{told}$-1\r\n$1\r\nv\r\n"));
        let mut outputs = redis.outputs();
        outputs.retain(|output| !output.starts_with("changed"));
        assert_eq!(outputs, ["does not track: NoPush", "#1 v"]);
        assert_eq!((tracks(&redis), redis.next_wake()), (None, None));
        redis.receives(1, &push(&key(1, 1)));
        assert_eq!(redis.outputs(), Vec::<String>::new(), "it is too late");
        assert_eq!(tracks(&redis), None);
    }
}

/// Dragonfly speaks RESP2 again after a `HELLO` without a version. It would tell of changes as an array, which looks like a
/// reply.
#[test]
fn server_that_goes_back_to_resp2_is_not_asked_to_track() {
    let mut redis = Script::with(&tracked());
    let (mut protocol, mut is_tracking) = (2, false);
    let mut log = Vec::new();
    redis.get("a");
    for _ in 0..100 {
        redis.pass(100);
        for output in redis.outputs() {
            if let Some((stream, _)) = output.split_once(" open ") {
                (protocol, is_tracking) = (2, false);
                redis.opened(stream.parse().unwrap());
            } else if let Some((stream, commands)) = output.split_once(" write ") {
                let mut replies = String::new();
                for command in commands.split("; ") {
                    let head = if protocol == 3 { '>' } else { '*' };
                    let key = command.split(' ').nth(1).unwrap_or_default();
                    let told = format!("{head}2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len());
                    replies += &match command.split(' ').next().unwrap() {
                        "HELLO" => {
                            protocol = if command == "HELLO 3" { 3 } else { 2 };
                            let head = if protocol == 3 { "%2" } else { "*4" };
                            format!("{head}\r\n$5\r\nproto\r\n:{protocol}\r\n$2\r\nid\r\n:3\r\n")
                        }
                        "CLIENT" if command == "CLIENT TRACKING ON" && protocol == 2 => {
                            "-ERR Client tracking is currently not supported for RESP2.\r\n".to_owned()
                        }
                        "CLIENT" => {
                            is_tracking |= command == "CLIENT TRACKING ON";
                            "+OK\r\n".to_owned()
                        }
                        "GET" => "$1\r\nv\r\n".to_owned(),
                        "PTTL" => ":10000\r\n".to_owned(),
                        "DEL" if is_tracking => format!(":1\r\n{told}"),
                        "DEL" => ":1\r\n".to_owned(),
                        _ => "+OK\r\n".to_owned(),
                    };
                }
                redis.receives(stream.parse().unwrap(), &replies);
            }
            log.push(output);
        }
    }
    assert_eq!(log.iter().filter(|line| line.contains(" open ")).count(), 1, "{log:#?}");
    assert!(log.contains(&"does not track: Resp2".to_owned()) && log.contains(&"#1 v".to_owned()));
}

/// Redis before 6.2.
#[test]
fn server_that_needs_a_version_for_hello_is_probed() {
    let mut redis = Script::with(&tracked());
    redis.get("a");
    redis.opened(1);
    redis.outputs();
    let refusal = "-ERR wrong number of arguments for 'hello' command\r\n";
    redis.receives(1, &format!("+OK\r\n%1\r\n$5\r\nproto\r\n:3\r\n{refusal}+OK\r\n"));
    let outputs = redis.outputs();
    assert!(outputs[0] == "connected" && outputs[1].starts_with("1 write HELLO; SETEX"), "{outputs:?}");
}

#[test]
fn refused_command_leaves_the_connection_as_it_was() {
    for (replies, error) in [
        (
            "-ERR unknown command 'HELLO'\r\n-ERR unknown command 'HELLO'\r\n-ERR unknown subcommand\r\n",
            "ERR unknown command",
        ),
        ("-NOPERM no\r\n-NOPERM no\r\n-NOPERM no\r\n", "NOPERM"),
        ("%0\r\n%0\r\n-NOPERM User a has no permissions to run the 'client|tracking' command\r\n", "NOPERM"),
        ("-NOPROTO unsupported protocol version\r\n*0\r\n+OK\r\n", "NOPROTO"),
        ("+OK\r\n+OK\r\n+OK\r\n", "NoPush"),
    ] {
        let mut redis = Script::with(&tracked());
        redis.get("a");
        redis.opened(1);
        redis.outputs();
        redis.receives(1, &format!("+OK\r\n{replies}"));
        let outputs = redis.outputs();
        assert_eq!(outputs.first().unwrap(), "connected");
        assert!(outputs[1].starts_with("does not track: ") && outputs[1].contains(error), "{outputs:?}");
        assert_eq!(outputs[2], "1 write GET a");
        redis.receives(1, "$1\r\nv\r\n");
        assert_eq!((redis.outputs(), tracks(&redis)), (vec!["#1 v".to_owned()], None));
    }
}

#[test]
fn probe_with_a_refused_command_is_no_proof() {
    for (number, name) in ["SETEX", "GET", "PTTL", "DEL", "GET"].into_iter().enumerate() {
        let mut redis = greeted();
        let mut replies = ["+OK\r\n", "$1\r\n1\r\n", ":10000\r\n", ":1\r\n", "$-1\r\n"];
        replies[number] = "-NOPERM no\r\n";
        redis.receives(1, &format!("{SERVER}{}{}", push(&key(1, 1)), replies.concat()));
        let outputs = redis.outputs();
        assert!(outputs[0].starts_with("does not track: Refused"), "{name}: {outputs:?}");
        assert_eq!(tracks(&redis), None);
    }
}

#[test]
fn server_that_hangs_up_is_greeted_without_it() {
    let mut redis = Script::with(&tracked());
    redis.get("a");
    redis.opened(1);
    redis.closed(1);
    redis.opened(2);
    assert_eq!(redis.outputs().last().unwrap(), "2 write PING; PING; PING; PING");
    redis.receives(2, "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n$1\r\nv\r\n");
    let outputs = redis.outputs();
    assert_eq!(outputs[..2], ["connected", "does not track: HangsUp"]);
    assert_eq!(tracks(&redis), None);
}

/// A proxy or a server that restarts may hang up once.
#[test]
fn server_that_hung_up_once_is_asked_to_track_again() {
    let mut redis = Script::with(&tracked());
    redis.get("a");
    redis.opened(1);
    redis.closed(1);
    redis.opened(2);
    redis.outputs();
    redis.receives(2, "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n");
    redis.outputs();
    redis.receives(2, "$1\r\nv\r\n");
    redis.pass(60_000);
    assert_eq!(redis.outputs(), ["#1 v", "2 close", "idle"]);
    assert_eq!(redis.next_wake(), None);
    redis.get("a");
    redis.opened(3);
    assert_eq!(
        redis.outputs().last().unwrap(),
        "3 write CLIENT SETNAME test; HELLO 3; HELLO; CLIENT TRACKING ON"
    );
    redis.receives(3, HANDSHAKE);
    redis.outputs();
    redis.receives(3, &probed(&key(3, 1)));
    assert_eq!(tracks(&redis), Some(3));
}

#[test]
fn server_that_hung_up_twice_is_not_asked_any_more() {
    let mut redis = Script::with(&tracked());
    for stream in [1, 3] {
        redis.get("a");
        redis.opened(stream);
        redis.closed(stream);
        redis.opened(stream + 1);
        redis.outputs();
        redis.receives(stream + 1, "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n");
        redis.outputs();
        redis.receives(stream + 1, "$1\r\nv\r\n");
        redis.pass(60_000);
    }
    assert_eq!(
        (redis.outputs().last().unwrap().as_str(), redis.next_wake()),
        ("#2 v", None),
        "it stays open"
    );
    redis.closed(4);
    redis.get("a");
    redis.opened(5);
    assert_eq!(redis.outputs().last().unwrap(), "5 write PING; PING; PING; PING");
}

#[test]
fn push_names_the_keys_that_changed() {
    let mut redis = proven();
    redis.receives(1, &push("b"));
    redis.receives(1, ">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
    redis.receives(1, ">2\r\n+invalidate\r\n_\r\n");
    redis.receives(1, ">2\r\n$10\r\ninvalidate\r\n*-1\r\n");
    assert_eq!(redis.outputs(), ["changed: b", "changed: b c", "changed: all", "changed: all"]);
    assert!(serves(&mut redis, 1));
}

#[test]
fn push_between_replies_shifts_none_of_them() {
    let mut redis = proven();
    for key in ["a", "b", "c"] {
        redis.get(key);
    }
    assert_eq!(redis.outputs(), ["1 write GET a; GET b; GET c"]);
    let strange = [
        ">0\r\n",
        ">1\r\n+x\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nv\r\n",
        ">2\r\n$10\r\ninvalidate\r\n*0\r\n",
        ">1\r\n*2\r\n%1\r\n+a\r\n(123\r\n!3\r\nERR\r\n",
        "|1\r\n+ttl\r\n:3600\r\n",
    ]
    .concat();
    redis.receives(1, &format!("{strange}$1\r\na\r\n{strange}{}$1\r\nb\r\n{strange}$1\r\nc\r\n", push("b")));
    assert_eq!(redis.outputs(), ["#2 a", "changed: b", "#3 b", "#4 c"]);
}

#[test]
fn invalid_list_of_keys_means_all_keys() {
    for push in [
        ">1\r\n$10\r\ninvalidate\r\n",
        ">2\r\n$10\r\ninvalidate\r\n:1\r\n",
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n",
    ] {
        let mut redis = proven();
        redis.receives(1, push);
        assert_eq!(redis.outputs(), ["changed: all"], "{push}");
    }
}

#[test]
fn push_of_a_server_that_was_not_asked_ends_the_stream() {
    let mut redis = Script::connected();
    redis.get("a");
    redis.outputs();
    redis.receives(1, &push("a"));
    assert_eq!(redis.outputs()[0], "1 close");
}

#[test]
fn stream_that_broke_or_drains_serves_nothing() {
    let mut redis = proven();
    redis.closed(1);
    assert!(!serves(&mut redis, 1) && tracks(&redis).is_none());
    redis.get("a");
    redis.pass(100);
    redis.opened(2);
    redis.receives(2, HANDSHAKE);
    assert!(!serves(&mut redis, 1) && !serves(&mut redis, 2));
    redis.receives(2, &probed(&key(2, 1)));
    assert!(!serves(&mut redis, 1) && serves(&mut redis, 2));
}

/// A server before 6.2, which does not say which connection this is. So any reply proves that it is there.
fn proven_by_an_old_server() -> Script {
    let mut redis = greeted();
    let replies =
        probed(&key(1, 1)).replace(SERVER, "-ERR wrong number of arguments for 'hello' command\r\n");
    redis.receives(1, &format!("{replies}$1\r\nv\r\n"));
    assert_eq!(redis.outputs(), ["tracks", "#1 v"]);
    redis
}

#[test]
fn answer_counts_from_the_time_its_command_was_written() {
    let mut redis = proven_by_an_old_server();
    redis.pass(999);
    redis.get("a");
    redis.outputs();
    redis.pass(900);
    assert!(!serves(&mut redis, 1), "the last answered command is too old");
    redis.receives(1, "$1\r\nv\r\n");
    assert!(serves(&mut redis, 1));
    redis.pass(99);
    assert!(serves(&mut redis, 1));
    redis.pass(1);
    assert!(!serves(&mut redis, 1), "a second after it was written");
}

#[test]
fn bytes_pushes_and_replies_without_a_key_prove_nothing() {
    let mut redis = proven_by_an_old_server();
    redis.pass(900);
    redis.get("b");
    redis.send(Command::ping());
    redis.outputs();
    redis.pass(100);
    redis.receives(1, &push("b"));
    redis.receives(1, "$1");
    assert!(!serves(&mut redis, 1));
    redis.receives(1, "0\r\n0123456789\r\n");
    assert!(serves(&mut redis, 1));
    redis.pass(900);
    redis.receives(1, "+PONG\r\n");
    assert!(!serves(&mut redis, 1));
}

#[test]
fn error_proves_nothing() {
    let mut redis = proven_by_an_old_server();
    redis.pass(900);
    redis.get("b");
    redis.outputs();
    redis.pass(150);
    redis.receives(1, "-WRONGTYPE x\r\n");
    assert!(!serves(&mut redis, 1));
}

#[test]
fn clock_that_was_set_back_serves_nothing() {
    let mut redis = proven();
    assert!(serves(&mut redis, 1));
    assert!(
        !(redis.client.serves(b"a", StreamId(1), crate::time::Timestamp::from_secs(1_699_999_999))
            != Served::No)
    );
}

#[test]
fn connection_that_is_used_is_kept_fresh() {
    let mut redis = proven();
    assert_eq!(redis.next_wake(), None, "it is not used");
    for _ in 0..5 {
        redis.pass(100);
        assert!(serves(&mut redis, 1));
    }
    redis.pass(1);
    assert_eq!(redis.outputs(), [format!("1 write HELLO; GET {}", key(1, 1))]);
    assert!(serves(&mut redis, 1));
    redis.pass(200);
    assert_eq!(redis.outputs(), Vec::<String>::new(), "one question at a time");
    redis.receives(1, FRESH);
    redis.pass(298);
    assert!(serves(&mut redis, 1));
    assert_eq!(redis.outputs(), Vec::<String>::new());
    redis.pass(2);
    assert_eq!(redis.outputs().len(), 1, "half a second after the last question");
    redis.receives(1, FRESH);
    redis.pass(10_000);
    assert_eq!(redis.outputs(), Vec::<String>::new(), "no request used it since");
}

#[test]
fn old_server_is_asked_by_a_key_alone() {
    let mut redis = proven_by_an_old_server();
    assert!(serves(&mut redis, 1));
    redis.pass(500);
    assert_eq!(redis.outputs(), [format!("1 write GET {}", key(1, 1))]);
    redis.receives(1, "$-1\r\n");
    redis.pass(900);
    assert!(serves(&mut redis, 1));
}

/// Replies alone do not say whether the server tells this connection of changes.
#[test]
fn connection_is_not_fresh_because_of_other_replies() {
    let mut redis = proven();
    assert!(serves(&mut redis, 1));
    redis.pass(500);
    redis.get("b");
    redis.outputs();
    redis.pass(499);
    redis.receives(1, FRESH);
    redis.receives(1, "$1\r\nv\r\n");
    redis.pass(500);
    assert!(serves(&mut redis, 1));
    redis.pass(1);
    assert!(!serves(&mut redis, 1), "the question was written a second ago");
}

#[test]
fn command_over_a_connection_that_is_not_fresh_makes_it_fresh() {
    let mut redis = proven();
    redis.pass(10_000);
    assert!(!serves(&mut redis, 1));
    redis.get("a");
    redis.get("b");
    assert_eq!(
        redis.outputs(),
        [format!("1 write HELLO; GET {}", key(1, 1)), "1 write GET a; GET b".to_owned()]
    );
    redis.receives(1, FRESH);
    assert!(serves(&mut redis, 1));
}

/// A proxy that connects to the server anew, and keeps our connection: the server tells nothing more.
#[test]
fn connection_that_a_proxy_made_anew_is_not_trusted() {
    for another in ANOTHER {
        let mut redis = proven();
        assert!(serves(&mut redis, 1));
        redis.pass(500);
        redis.outputs();
        redis.receives(1, another);
        assert_eq!(redis.outputs(), ["changed: all", "does not track: Replaced"]);
        assert!(!serves(&mut redis, 1) && tracks(&redis).is_none());
        // The next probe is no proof either, but by then a new stream is worth it.
        redis.pass(59_500);
        redis.get("a");
        assert!(redis.outputs()[0].starts_with("1 write HELLO; SETEX"));
        redis.receives(1, &another.replace("$-1\r\n", ""));
        assert_eq!(redis.outputs(), ["does not track: Replaced"]);
        redis.receives(1, "+OK\r\n$1\r\n1\r\n:10000\r\n:1\r\n$-1\r\n$1\r\nv\r\n");
        assert_eq!(redis.outputs(), ["#2 v", "1 close", "disconnected with 0 in flight: lost"]);
    }
}

#[test]
fn old_connection_that_a_proxy_made_anew_ends_after_its_replies() {
    let mut redis = proven();
    redis.pass(60_000);
    redis.get("a");
    redis.outputs();
    redis.receives(1, &format!("{}$1\r\nv\r\n", probed(&key(1, 2))));
    redis.outputs();
    assert!(serves(&mut redis, 1));
    redis.pass(500);
    redis.lock();
    redis.outputs();
    redis.receives(1, &ANOTHER[0].replace("$-1\r\n", ""));
    assert_eq!(redis.outputs(), ["changed: all", "does not track: Replaced"]);
    redis.get("b");
    redis.receives(1, "$-1\r\n+OK\r\n");
    assert_eq!(
        redis.outputs(),
        ["#3 +OK", "1 close", "disconnected with 0 in flight: lost", "2 open redis:6379"]
    );
}

/// It may be a proxy that has another connection for each command.
#[test]
fn connection_that_changes_all_the_time_ends_no_stream_within_a_minute() {
    let mut redis = proven();
    for number in 0..59 {
        serves(&mut redis, 1);
        redis.get("a");
        redis.pass(1000);
        let questions = redis.outputs().iter().filter(|output| output.contains("HELLO")).count();
        let another = format!("%1\r\n$2\r\nid\r\n:{number}\r\n$-1\r\n").repeat(questions);
        redis.receives(1, &format!("{another}$1\r\nv\r\n"));
        assert!(redis.outputs().iter().all(|output| !output.contains("close")), "{number}");
    }
}

#[test]
fn question_without_an_answer_is_an_outage() {
    let mut redis = proven();
    assert!(serves(&mut redis, 1));
    redis.pass(500);
    assert_eq!(redis.outputs().len(), 1);
    redis.pass(500);
    assert!(!serves(&mut redis, 1));
    redis.pass(1500);
    assert_eq!(redis.outputs(), ["1 close", "disconnected with 2 in flight: timeout"]);
}

/// A proxy that delays all bytes: replies come all the time, but they are old.
#[test]
fn delayed_replies_keep_nothing_fresh() {
    let mut redis = proven_by_an_old_server();
    for _ in 0..20 {
        redis.get("b");
        redis.pass(100);
    }
    for _ in 0..10 {
        redis.receives(1, "$1\r\nv\r\n");
        assert!(!serves(&mut redis, 1));
        redis.get("b");
        redis.pass(100);
        redis.outputs();
    }
}

#[test]
fn connection_is_probed_again_after_a_minute() {
    for pushes in [true, false] {
        let mut redis = proven();
        for number in 0.. {
            assert!(number < 100 && serves(&mut redis, 1));
            redis.pass(500);
            let written = redis.outputs().concat();
            if written.contains(&format!("SETEX {}", key(1, 2))) {
                assert!((58..62).contains(&number));
                break;
            }
            redis.receives(1, FRESH);
            redis.pass(490);
        }
        let probe = if pushes { probed(&key(1, 2)) } else { SILENT.to_owned() };
        redis.receives(1, &probe);
        let expected: &[&str] = if pushes { &[] } else { &["changed: all", "does not track: NoPush"] };
        assert_eq!(redis.outputs(), expected);
        assert_eq!(serves(&mut redis, 1), pushes);
    }
}

/// In a Cluster, a node may lose all its slots.
#[test]
fn node_without_a_key_for_probes_has_no_timer() {
    let mut out = Outputs::default();
    let handshake = Handshake::new(None, "test").with_tracking(true);
    let settings = Settings::new(&tracked(), handshake, ServerError::is_unready);
    let endpoint = Endpoint { host: "redis".to_owned(), port: 6379, tls: Tls::Off };
    let mut node = Connection::new(Some(endpoint), &Rc::new(settings), 1);
    let now = Timestamp::from_secs(1_700_000_000);
    node.push(PendingCommand::new(CommandId(1), Command::get(b"a"), now), now, &mut out);
    node.opened(StreamId(1), &mut out);
    node.received(StreamId(1), HANDSHAKE.as_bytes(), now, &mut out);
    node.flush(&mut out);
    let replies = format!("{}$1\r\nv\r\n", probed(&key(1, 1)));
    node.received(StreamId(1), replies.as_bytes(), now, &mut out);
    assert_eq!(node.serves(StreamId(1), now), Served::First);
    assert!(node.next_wake().is_some());
    node.set_probe_tag(None, now, &mut out);
    assert_eq!(node.next_wake(), None);
    // A key of its new slots is asked for at once: it would redirect every question about the old one.
    node.set_probe_tag(Some(5), now, &mut out);
    while out.take().is_some() {}
    node.wake(now, &mut out);
    let question = std::iter::from_fn(|| out.take()).map(super::script::text).collect::<Vec<_>>();
    assert!(question[0].starts_with("1 write HELLO; SETEX cookie-track-{5}"), "{question:?}");
}

/// The replies to a probe of a server that is full, and still tells of changes.
const FULL: &str = "%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n-OOM command not allowed when used memory > 'maxmemory'.\r\n$-1\r\n:-2\r\n:0\r\n$-1\r\n";

#[test]
fn server_that_is_full_at_first_is_probed_again() {
    for (replies, told) in [(FULL, None), (SILENT, Some("does not track: NoPush"))] {
        let mut redis = greeted();
        redis.receives(1, &format!("{replies}$1\r\nv\r\n"));
        let outputs = redis.outputs();
        assert_eq!(outputs[..outputs.len() - 1], told.into_iter().collect::<Vec<_>>());
        redis.pass(59_000);
        redis.get("a");
        assert_eq!(redis.outputs(), ["1 write GET a"]);
        redis.receives(1, "$1\r\nv\r\n");
        redis.outputs();
        redis.pass(1000);
        assert_eq!(
            (redis.outputs(), redis.next_wake()),
            (vec![], None),
            "without a command there is no probe"
        );
        redis.get("a");
        assert!(redis.outputs()[0].contains(&format!("SETEX {}", key(1, 2))));
        redis.receives(1, &probed(&key(1, 2)));
        assert_eq!((redis.outputs(), tracks(&redis)), (vec!["tracks".to_owned()], Some(1)));
    }
}

#[test]
fn server_that_becomes_full_stays_trusted() {
    let mut redis = proven();
    redis.pass(60_000);
    redis.get("a");
    assert!(redis.outputs().concat().contains("SETEX"));
    redis.receives(1, &format!("{FULL}$1\r\nv\r\n"));
    assert!(serves(&mut redis, 1));
    assert_eq!(redis.outputs(), ["#2 v"]);
}

#[test]
fn repeated_failure_is_told_once_and_a_new_proof_again() {
    let mut redis = greeted();
    for (number, pushes, expected) in [
        (1, false, vec!["does not track: NoPush"]),
        (2, false, vec![]),
        (3, true, vec!["tracks"]),
        (4, false, vec!["changed: all", "does not track: NoPush"]),
    ] {
        let probe = if pushes { probed(&key(1, number)) } else { SILENT.to_owned() };
        redis.receives(1, &probe);
        assert_eq!(redis.outputs(), expected, "{number}");
        redis.receives(1, "$1\r\nv\r\n");
        redis.pass(60_000);
        redis.outputs();
        redis.get("a");
        redis.outputs();
    }
}

#[test]
fn reply_says_by_which_stream_it_came() {
    let mut redis = proven();
    let (command, came_by) = Command::get(b"a").tracked();
    redis.send(command);
    redis.outputs();
    redis.receives(1, "$1\r\nv\r\n");
    assert_eq!(came_by.get(), Some(StreamId(1)));

    let (command, came_by) = Command::get(b"a").tracked();
    redis.send(command);
    redis.outputs();
    redis.closed(1);
    redis.pass(100);
    redis.opened(2);
    redis.receives(2, HANDSHAKE);
    redis.outputs();
    redis.receives(2, &format!("{SILENT}$1\r\nv\r\n"));
    assert_eq!(redis.outputs().last().unwrap(), "#3 v");
    assert_eq!(came_by.get(), None, "the second stream does not track");
}

/// What may happen on a connection, with a server that is right or not.
#[derive(Clone, Debug)]
enum Step {
    Get,
    Serve,
    Answer,
    Change,
    Reconnect,
    Strange(&'static str),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let strange =
        prop::sample::select(vec![">1\r\n+x\r\n", "|1\r\n+a\r\n#t\r\n", ">2\r\n+message\r\n%0\r\n"]);
    prop_oneof![
        3 => Just(Step::Get),
        3 => Just(Step::Serve),
        4 => Just(Step::Answer),
        2 => Just(Step::Change),
        1 => Just(Step::Reconnect),
        1 => strange.prop_map(Step::Strange),
        3 => (0_u64..400).prop_map(Step::Pass),
    ]
}

proptest! {
    /// A server with one key, whose value is a number that grows. What the client may use without a question is never older
    /// than the value at the time of the last answered command, and never differs from what the pushes say. This is so if a
    /// proxy connects to the server anew too: then there are no more pushes.
    #[test]
    fn what_is_served_is_at_most_a_silence_old(steps in prop::collection::vec(any_step(), 0..80)) {
        let mut redis = proven();
        let start = redis.now;
        // The server: the times of the changes, whose number is the value; and what it has sent that the client has not received.
        let mut values = vec![start];
        let mut wire: std::collections::VecDeque<String> = std::collections::VecDeque::new();
        let mut read: Option<usize> = None;
        let mut id = 7;
        for step in steps {
            match step {
                Step::Get => { redis.get("k"); }
                Step::Change => {
                    values.push(redis.now);
                    if id == 7 {
                        wire.push_back(push("k"));
                    }
                }
                Step::Reconnect => id += 1,
                Step::Strange(bytes) => wire.push_back(bytes.to_owned()),
                Step::Pass(millis) => redis.pass(millis),
                Step::Answer => {
                    if let Some(bytes) = wire.pop_front() {
                        redis.receives(1, &bytes);
                    }
                }
                Step::Serve => {
                    if let Some(known) = read
                        && redis.client.serves(b"k", StreamId(1), redis.now) != Served::No
                    {
                        let next = values.get(known + 1);
                        // The value was replaced less than a second ago, or not at all.
                        prop_assert!(next.is_none_or(|at| at.was_within(Duration::from_secs(1), redis.now)));
                    }
                }
            }
            for output in redis.outputs() {
                if let Some(commands) = output.strip_prefix("1 write ") {
                    for command in commands.split("; ") {
                        let value = (values.len() - 1).to_string();
                        wire.push_back(match command {
                            "HELLO" => SERVER.replace('7', &id.to_string()),
                            "GET k" => format!("${}\r\n{value}\r\n", value.len()),
                            other if other.starts_with("GET ") => "$-1\r\n".to_owned(),
                            other if other.starts_with("PTTL ") => ":-2\r\n".to_owned(),
                            other if other.starts_with("SETEX ") => "+OK\r\n".to_owned(),
                            _ if id > 7 => ":1\r\n".to_owned(),
                            other => format!(":1\r\n{}", push(other.split(' ').nth(1).unwrap())),
                        });
                    }
                } else if output == "changed: k" || output == "changed: all" {
                    read = None;
                } else if let Some(value) = output.strip_prefix('#').and_then(|text| text.split(' ').nth(1)) {
                    match value.parse() {
                        Ok(value) => read = Some(value),
                        Err(_) => prop_assert!(output.contains("failed: timeout"), "{}", output),
                    }
                } else if output == "1 close" {
                    return Ok(());
                }
            }
        }
    }
}
