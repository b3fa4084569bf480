//! Which Sentinel is asked for the master, and which replies are used.

use super::{S, address, asked, topology, world, world_with};
use crate::redis::ClientConfig;
use crate::redis::tests::script::{config, credentials};

#[test]
fn master_of_sentinel_is_confirmed_by_its_role() {
    let mut world = world();
    world.pass(10_000);
    assert!(world.log().is_empty() && world.client.next_wake().is_none(), "nothing before the first command");
    world.get("k");
    let expected = [
        "s1:26379 CLIENT SETNAME test",
        "s1:26379 SENTINEL get-master-addr-by-name main",
        "s1:26379 SUBSCRIBE +switch-master",
        "s1:26379 SUBSCRIBE +promoted-slave",
        "a:6379 CLIENT SETNAME test",
        "a:6379 ROLE",
        "connected",
        "a:6379 GET k",
        "#1 nil",
    ];
    assert_eq!(world.log(), expected);
    assert_eq!(world.connected(), ["a:6379", "s1:26379"]);
    assert_eq!(world.client.next_wake(), None);
}

#[test]
fn sentinel_and_master_have_their_own_credentials() {
    let config =
        ClientConfig { topology: topology(true), credentials: credentials(None), database: 3, ..config() };
    let mut world = world_with(&config);
    world.get("k");
    let log = world.log();
    let said: Vec<_> = log.iter().filter(|line| line.contains("AUTH") || line.contains("SELECT")).collect();
    assert_eq!(said, ["s1:26379 AUTH watcher hunter2", "a:6379 AUTH hunter2", "a:6379 SELECT 3"]);
}

#[test]
fn sentinel_without_master_is_skipped() {
    for tells in [
        "*-1\r\n",
        "$-1\r\n",
        "-ERR unknown command\r\n",
        "*0\r\n",
        "*1\r\n$1\r\na\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "+a:6379\r\n",
        "!",
    ] {
        let mut world = world();
        world.server(S[0]).tells = tells.to_owned();
        world.get("k");
        let log = world.log();
        assert_eq!((asked(&log), log.last().unwrap().as_str()), (vec![S[0], S[1]], "#1 nil"), "{tells:?}");
        assert!(log.iter().any(|line| line.starts_with("s1:26379 lookup failed: ")));
    }
}

#[test]
fn invalid_master_name_is_skipped() {
    for (host, port) in [
        ("a\r\nx-evil: 1", "6379"),
        ("a b", "6379"),
        ("a:1", "6379"),
        ("", "6379"),
        ("a", "0"),
        ("a", "65536"),
        ("a", "-1"),
        ("a", "63 79"),
        ("a", ""),
    ] {
        let mut world = world();
        world.server(S[0]).tells = address(host, port);
        world.get("k");
        let log = world.log();
        assert_eq!(asked(&log), [S[0], S[1]], "{host:?} {port:?}");
    }
}

#[test]
fn valid_master_names_and_addresses_are_used() {
    for (host, name) in [("redis-0.redis.svc", "redis-0.redis.svc:6379"), ("fd00::7", "[fd00::7]:6379")] {
        let mut world = world();
        world.server(S[0]).tells = address(host, "6379");
        world.server(name);
        world.get("k");
        assert_eq!(world.connected(), [name, S[0]]);
    }
}

#[test]
fn unreachable_sentinel_delays_command_little() {
    let mut world = world();
    world.server(S[0]).is_down = true;
    world.server(S[1]).is_hung = true;
    world.get("k");
    world.pass(499);
    assert_eq!(world.outcomes(), [""; 0]);
    world.pass(1);
    assert_eq!(world.outcomes(), ["#1 nil"]);
    assert_eq!(world.connected(), ["a:6379", S[2]]);
}

#[test]
fn sentinel_that_wants_password_is_skipped() {
    let mut world = world();
    world.server(S[0]).is_hung = true;
    world.get("k");
    world.say(S[0], "-NOAUTH Authentication required.\r\n");
    let log = world.log();
    assert!(log.iter().any(|line| line.starts_with("s1:26379 lookup failed: refused")));
    assert_eq!(log.last().unwrap(), "#1 nil");
}

#[test]
fn unknown_master_fails_commands_after_wait_and_later_at_once() {
    let mut world = world();
    for sentinel in S {
        world.server(sentinel).tells = "*-1\r\n".to_owned();
    }
    world.get("a");
    world.pass(1900);
    let log = world.log();
    let rounds = asked(&log).len();
    assert!(rounds.is_multiple_of(3) && (12..=21).contains(&rounds), "{rounds}");
    world.pass(100);
    assert_eq!(world.outcomes(), ["#1 failed: timeout"]);
    assert_eq!(world.client.next_wake(), None, "no question without a command");
    world.pass(1000);
    world.get("b");
    assert_eq!(world.outcomes(), ["#2 failed: unknown master"], "it waits for one round");
    world.get("c");
    assert_eq!(world.log(), ["#3 failed: unknown master"]);
    world.pass(1000);
    world.server(S[2]).tells = address("a", "6379");
    world.get("d");
    assert_eq!(world.outcomes(), ["#4 nil"]);
}

#[test]
fn other_role_is_not_a_master() {
    for role in ["", "sentinel", "slave", "MASTER"] {
        let mut world = world();
        world.server("a:6379").role = role;
        world.get("k");
        assert_eq!(world.log().last().unwrap(), "not connected: not master", "{role}");
    }
}

#[test]
fn cancelled_command_asks_no_sentinel() {
    let mut world = world();
    world.server(S[0]).is_hung = true;
    let id = world.get("k");
    world.client.cancel(id);
    world.pass(10_000);
    assert_eq!((world.connected(), world.client.next_wake()), (vec![], None));
    assert_eq!(world.outcomes(), [""; 0]);
}
