//! Which node gets a command, and which is asked for the map.

use super::{KEYS, N, asked, connected, count, topology, world, world_with};
use crate::redis::tests::script::{config, credentials};
use crate::redis::{ClientConfig, Command};

#[test]
fn first_command_asks_seed_and_goes_to_master() {
    let mut world = world();
    world.pass(10_000);
    assert!(world.log().is_empty() && world.client.next_wake().is_none(), "nothing before the first command");
    world.get("a");
    let expected = [
        "n1:7000 CLIENT SETNAME test",
        "n1:7000 CLUSTER SHARDS",
        "n1:7000 CLUSTER SLOTS",
        "3 masters",
        "n3:7000 CLIENT SETNAME test",
        "connected",
        "n3:7000 GET a",
        "#1 nil",
    ];
    assert_eq!(world.log(), expected);
    assert_eq!((world.connected(), world.client.next_wake()), (vec![N[2]], None));
}

#[test]
fn each_key_goes_to_master_of_its_slot() {
    let mut world = connected();
    for (key, node) in KEYS.into_iter().zip(N) {
        world.get(key);
        world.lock(&format!("{{{key}}}.lock"));
        let log = world.log();
        assert_eq!(count(&log, &format!("{node} GET")), 1, "{log:?}");
        assert_eq!(count(&log, &format!("{node} SET")), 1, "{log:?}");
    }
    assert_eq!(world.connected(), N);
}

#[test]
fn all_nodes_get_the_credentials() {
    let mut world = world_with(&ClientConfig {
        topology: topology(&["n1"]),
        credentials: credentials(Some("alice")),
        ..config()
    });
    world.get("a");
    let log = world.log();
    assert_eq!([count(&log, "n1:7000 AUTH alice"), count(&log, "n3:7000 AUTH alice")], [1, 1]);
    assert_eq!(count(&log, "SELECT"), 0);
}

#[test]
fn ping_goes_to_reachable_master() {
    let mut world = connected();
    world.server(N[1]).is_down = true;
    world.hang_up(N[1]);
    world.get(KEYS[1]);
    world.pass(3000);
    world.outcomes();
    for _ in 0..50 {
        world.send(Command::ping());
    }
    let log = world.log();
    assert_eq!(count(&log, "failed"), 0, "{log:?}");
    assert!(count(&log, "n1:7000 PING") > 5 && count(&log, "n3:7000 PING") > 5, "{log:?}");
}

#[test]
fn seeds_are_asked_in_turn() {
    for tells in ["-ERR This instance has cluster support disabled\r\n", "*0\r\n", "$-1\r\n", "!\r\n"] {
        let mut world = world();
        world.server(N[0]).is_down = true;
        world.server(N[1]).tells = tells.to_owned();
        world.get("b");
        world.server(N[0]).is_down = false;
        world.pass(100);
        let log = world.log();
        assert_eq!(asked(&log), [N[1], N[2]], "{tells:?}");
        assert_eq!(log.last().unwrap(), "#1 nil");
    }
}

#[test]
fn hung_seed_delays_command_little() {
    let mut world = world();
    world.server(N[0]).is_hung = true;
    world.get("a");
    world.pass(500);
    assert_eq!(world.outcomes(), ["#1 nil"]);
}

#[test]
fn rejected_credentials_fail_command_at_once() {
    let mut world = world_with(&ClientConfig { topology: topology(&["n1"]), ..config() });
    world.server(N[0]).is_hung = true;
    world.get("a");
    world.say(N[0], "-NOAUTH Authentication required.\r\n");
    let refused = "#1 failed: refused (CLIENT SETNAME: NOAUTH)";
    assert_eq!(world.outcomes(), [refused]);
}

#[test]
fn cancelled_commands_ask_no_seed() {
    let mut world = world();
    for node in N {
        world.server(node).is_hung = true;
    }
    let id = world.get("a");
    world.client.cancel(id);
    world.pass(10_000);
    assert_eq!((world.connected(), world.client.next_wake()), (vec![], None));
    assert_eq!(world.outcomes(), [""; 0]);
}
