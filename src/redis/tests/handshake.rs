//! The handshake before the first command, and what its replies cause.

use super::script::{Script, config, credentials};
use crate::redis::{ClientConfig, Command};

const MAX_CLIENTS: &str = "-ERR max number of clients reached\r\n";

fn private() -> ClientConfig {
    ClientConfig { credentials: credentials(None), database: 3, ..config() }
}

#[test]
fn client_without_commands_is_silent() {
    let mut redis = Script::with(&private());
    redis.pass(3_600_000);
    assert_eq!((redis.outputs(), redis.next_wake()), (vec![], None));
}

#[test]
fn handshake_has_configured_commands_only() {
    for (config, said) in [
        (config(), "CLIENT SETNAME test"),
        (ClientConfig { database: 3, ..config() }, "SELECT 3; CLIENT SETNAME test"),
        (ClientConfig { credentials: credentials(None), ..config() }, "AUTH hunter2; CLIENT SETNAME test"),
        (
            ClientConfig { credentials: credentials(Some("alice")), database: 7, ..config() },
            "AUTH alice hunter2; SELECT 7; CLIENT SETNAME test",
        ),
    ] {
        let mut redis = Script::with(&config);
        redis.get("k");
        assert_eq!(redis.outputs(), ["1 open redis:6379"]);
        redis.opened(1);
        assert_eq!(redis.outputs(), [format!("1 write {said}")]);
    }
}

#[test]
fn commands_wait_for_all_handshake_replies() {
    let mut redis = Script::with(&private());
    redis.get("a");
    redis.opened(1);
    redis.get("b");
    redis.outputs();
    redis.receives(1, "+OK\r\n");
    redis.receives(1, "+OK\r");
    redis.receives(1, "\n+O");
    assert_eq!(redis.outputs(), [""; 0]);
    redis.receives(1, "K\r\n");
    assert_eq!(redis.outputs(), ["connected", "1 write GET a; GET b"]);
}

#[test]
fn rejected_client_name_is_ignored() {
    let mut redis = Script::new();
    redis.get("k");
    redis.opened(1);
    redis.outputs();
    redis.receives(1, "-ERR unknown command 'CLIENT'\r\n");
    assert_eq!(redis.outputs(), ["connected", "1 write GET k"]);
}

/// twemproxy does so, because it does not know `CLIENT`.
#[test]
fn server_that_hangs_up_on_client_name_is_greeted_without() {
    let mut redis = Script::with(&private());
    redis.get("a");
    redis.opened(1);
    redis.receives(1, "+OK\r\n");
    redis.outputs();
    redis.closed(1);
    assert_eq!(redis.outputs(), ["2 open redis:6379"], "at once");
    redis.opened(2);
    assert_eq!(redis.outputs(), ["2 write AUTH hunter2; SELECT 3; PING"]);
    redis.receives(2, "+OK\r\n+OK\r\n+PONG\r\n");
    assert_eq!(redis.outputs(), ["connected", "2 write GET a"]);
    redis.closed(2);
    redis.pass(100);
    redis.opened(3);
    assert_eq!(redis.outputs().last().unwrap(), "3 write AUTH hunter2; SELECT 3; PING");
}

#[test]
fn server_that_hangs_up_on_every_handshake_is_an_outage() {
    let mut redis = Script::new();
    redis.get("a");
    for stream in [1, 3, 5] {
        redis.opened(stream);
        redis.closed(stream);
        redis.opened(stream + 1);
        redis.outputs();
        redis.closed(stream + 1);
        assert_eq!(redis.outputs(), ["not connected: unreachable"]);
        redis.pass(400);
    }
    assert_eq!(redis.outputs().first().unwrap(), "7 open redis:6379");
    redis.opened(7);
    assert_eq!(redis.outputs(), ["7 write CLIENT SETNAME test"], "the name is tried again");
}

#[test]
fn handshakes_with_and_without_name_share_one_timeout() {
    let mut redis = Script::new();
    redis.get("a");
    redis.opened(1);
    redis.pass(600);
    redis.closed(1);
    redis.opened(2);
    redis.outputs();
    redis.pass(400);
    assert_eq!(redis.outputs(), ["2 close", "not connected: unreachable"]);
}

#[test]
fn rejected_credentials_fail_waiting_commands() {
    let refused = "refused (AUTH: WRONGPASS)";
    let mut redis = Script::with(&private());
    redis.get("a");
    redis.get("b");
    redis.opened(1);
    redis.outputs();
    redis.receives(1, "-WRONGPASS invalid password hunter2\r\n-NOAUTH Authentication required.\r\n");
    let expected = [
        "1 close".to_owned(),
        format!("not connected: {refused}"),
        format!("#1 failed: {refused}"),
        format!("#2 failed: {refused}"),
    ];
    assert_eq!(redis.outputs(), expected);
    // Commands never wait for the end of such an outage.
    redis.get("c");
    assert_eq!(redis.outputs(), [format!("#3 failed: {refused}")]);
    assert_eq!(redis.next_wake(), None);
    // After the backoff, a command tries again.
    redis.pass(100);
    redis.get("d");
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
    redis.opened(2);
    redis.receives(2, "+OK\r\n+OK\r\n+OK\r\n");
    let expected = ["2 write AUTH hunter2; SELECT 3; CLIENT SETNAME test", "connected", "2 write GET d"];
    assert_eq!(redis.outputs(), expected);
}

#[test]
fn rejected_database_fails_waiting_commands() {
    let mut redis = Script::with(&private());
    redis.get("k");
    redis.opened(1);
    redis.receives(1, "+OK\r\n");
    redis.outputs();
    redis.receives(1, "-ERR DB index is out of range\r\n+OK\r\n");
    let refused = "refused (SELECT: ERR)";
    let expected =
        ["1 close".to_owned(), format!("not connected: {refused}"), format!("#1 failed: {refused}")];
    assert_eq!(redis.outputs(), expected);
}

#[test]
fn missing_credentials_fail_waiting_commands() {
    for code in ["NOAUTH", "DENIED"] {
        let mut redis = Script::new();
        redis.get("k");
        redis.opened(1);
        redis.outputs();
        redis.receives(1, &format!("-{code} Authentication required.\r\n"));
        assert_eq!(redis.outputs().last().unwrap(), &format!("#1 failed: refused (CLIENT SETNAME: {code})"));
    }
}

#[test]
fn handshake_with_unready_server_is_retried() {
    for (answer, code) in [
        ("-LOADING Redis is loading the dataset in memory\r\n", "LOADING"),
        ("-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"),
        (MAX_CLIENTS, "ERR"),
    ] {
        let mut redis = Script::with(&private());
        redis.get("k");
        redis.opened(1);
        redis.outputs();
        redis.receives(1, answer);
        redis.closed(1);
        let not_ready = format!("not connected: not ready ({code})");
        assert_eq!(redis.outputs(), ["1 close", not_ready.as_str()]);
        redis.pass(100);
        assert_eq!(redis.outputs(), ["2 open redis:6379"]);
        redis.opened(2);
        redis.receives(2, "+OK\r\n+OK\r\n+OK\r\n");
        assert_eq!(redis.outputs().last().unwrap(), "2 write GET k");
    }
}

#[test]
fn handshake_with_unready_server_is_retried_until_deadline() {
    let mut redis = Script::new();
    redis.get("k");
    let outputs = redis.endure(3000, |redis, stream| {
        redis.opened(stream);
        redis.receives(stream, MAX_CLIENTS);
    });
    let expected = (2000, "#1 failed: timeout".to_owned());
    assert_eq!(outputs.last(), Some(&expected));
}

#[test]
fn errors_of_commands_are_replies() {
    let mut redis = Script::connected();
    for error in ["ERR x", "WRONGTYPE x", "OOM x", "NOPERM x", "NOAUTH x", "MOVED 1 a:1"] {
        let id = redis.send(Command::ping()).0;
        redis.outputs();
        redis.receives(1, &format!("-{error}\r\n"));
        assert_eq!(redis.outputs(), [format!("#{id} -{error}")]);
    }
}

#[test]
fn server_that_speaks_first_is_not_redis() {
    let mut redis = Script::new();
    redis.get("k");
    redis.outputs();
    redis.receives(1, "+hello\r\n");
    let expected = ["1 close", "not connected: protocol (Unasked)"];
    assert_eq!(redis.outputs(), expected);
}
