//! Commands as bytes.

use std::time::Duration;

use super::script::{config, credentials};
use crate::redis::{ClientConfig, Command, Output, StreamId};

const LEASE: Duration = Duration::from_millis(2500);

fn all() -> [Command; 7] {
    [
        Command::get(b"k"),
        Command::setex(b"k", LEASE, b"v"),
        Command::del(b"k"),
        Command::lock(b"k", b"t", LEASE),
        Command::renew_lock(b"k", b"t", LEASE),
        Command::release_lock(b"k", b"t"),
        Command::ping(),
    ]
}

#[test]
fn verb_is_the_name_in_redis() {
    let verbs = all().map(|command| command.verb().to_owned());
    assert_eq!(verbs, ["GET", "PSETEX", "DEL", "SET", "EVAL", "EVAL", "PING"]);
}

fn wire(command: &Command) -> String {
    String::from_utf8(command.bytes().to_vec()).unwrap()
}

/// The arguments, without their lengths.
fn arguments(command: &Command) -> String {
    wire(command).split("\r\n").filter(|part| !part.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
}

#[test]
fn command_is_an_array_of_bulks() {
    assert_eq!(wire(&Command::get(b"key")), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    assert_eq!(Command::get(b"\r\n\xff").bytes(), b"*2\r\n$3\r\nGET\r\n$3\r\n\r\n\xff\r\n");
}

#[test]
fn commands_have_their_arguments() {
    let texts = all().map(|command| arguments(&command).trim_end().to_owned());
    let [get, setex, del, lock, renew, release, ping] = texts;
    assert_eq!([get, del, ping], ["GET k", "DEL k", "PING"]);
    assert_eq!([setex, lock], ["PSETEX k 2500 v", "SET k t NX PX 2500"]);
    assert!(renew.starts_with("EVAL if") && renew.ends_with("end 1 k t 2500"), "{renew}");
    assert!(renew.contains("== ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2])"), "{renew}");
    assert!(release.starts_with("EVAL if") && release.ends_with("end 1 k t"), "{release}");
    assert!(release.contains("== ARGV[1] then return redis.call('DEL', KEYS[1])"), "{release}");
}

#[test]
fn time_to_live_is_never_rounded_to_zero() {
    for (ttl, expected) in [
        (Duration::ZERO, "SET k v"),
        (Duration::from_nanos(1), "PSETEX k 1 v"),
        (Duration::from_millis(999), "PSETEX k 999 v"),
        (Duration::from_secs(1), "SETEX k 1 v"),
        (Duration::from_millis(1500), "PSETEX k 1500 v"),
        (Duration::from_secs(604_800), "SETEX k 604800 v"),
    ] {
        assert_eq!(arguments(&Command::setex(b"k", ttl, b"v")).trim_end(), expected);
    }
    assert!(arguments(&Command::lock(b"k", b"t", Duration::ZERO)).ends_with("PX 1 "));
}

#[test]
fn every_command_but_a_lock_is_idempotent() {
    for command in all() {
        assert_eq!(command.is_idempotent(), command.name() != "lock", "{command:?}");
    }
}

#[test]
fn commands_know_their_key() {
    for command in all() {
        assert_eq!(command.key(), (command.name() != "ping").then_some(b"k".as_slice()), "{command:?}");
    }
    assert_eq!(Command::get(b"").key(), Some(b"".as_slice()));
}

#[test]
fn debug_output_has_no_key_and_no_password() {
    assert_eq!(format!("{:?}", Command::get(b"hunter2")), "Command(get)");
    let config = ClientConfig { credentials: credentials(Some("alice")), ..config() };
    let written = Output::Write { stream: StreamId(1), bytes: b"hunter2".to_vec() };
    for printed in [format!("{config:?}"), format!("{written:?}")] {
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
