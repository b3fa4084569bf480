//! Maps of slots: which are used, and which are invalid.

use super::{slots, topology, world};
use crate::redis::ClientConfig;
use crate::redis::tests::script::config;
use crate::redis::tests::world::{World, bulk};

fn range(first: &str, last: &str, host: &str, port: &str) -> String {
    format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{host}:{port}\r\n")
}

/// One master has all slots.
fn whole(host: &str, port: &str) -> String {
    format!("*1\r\n{}", range("0", "16383", host, port))
}

/// The node that gets a `GET` if `n1` gives this map; `None` if the map is not used.
fn goes_to(tells: &str) -> Option<String> {
    let mut world = World::with(&ClientConfig { topology: topology(&["n1"]), ..config() });
    for node in ["n1:7000", "n1:7001", "n2:7000", "10.0.0.1:6379", "[fd00::1]:6379", "re_dis-0.x:1"] {
        world.server(node);
    }
    world.server("n1:7000").tells = tells.to_owned();
    world.get("a");
    let log = world.log();
    log.iter().find_map(|line| line.strip_suffix(" GET a")).map(str::to_owned)
}

#[test]
fn node_is_reached_at_announced_address() {
    for (host, port, node) in [
        (bulk("10.0.0.1"), "6379", "10.0.0.1:6379"),
        (bulk("fd00::1"), "6379", "[fd00::1]:6379"),
        (bulk("re_dis-0.x"), "1", "re_dis-0.x:1"),
        // A node that does not know its host has the host that was asked.
        ("$-1\r\n".to_owned(), "7001", "n1:7001"),
        (bulk(""), "7001", "n1:7001"),
        (bulk("?"), "7001", "n1:7001"),
    ] {
        assert_eq!(goes_to(&whole(&host, port)).as_deref(), Some(node), "{host:?}");
    }
}

#[test]
fn reply_of_redis_3_is_a_map() {
    assert_eq!(goes_to(&whole(&bulk("n2"), "7000")).as_deref(), Some("n2:7000"));
}

#[test]
fn invalid_map_is_not_used() {
    let host = bulk("n2");
    for tells in [
        "*-1\r\n".to_owned(),
        "*0\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        ":1\r\n".to_owned(),
        "*1\r\n*0\r\n".to_owned(),
        "*1\r\n:1\r\n".to_owned(),
        format!("*1\r\n*2\r\n:0\r\n:16383\r\n{host}"),
        "*1\r\n*3\r\n:0\r\n:16383\r\n*0\r\n".to_owned(),
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*1\r\n{host}"),
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:1\r\n:1\r\n".to_owned(),
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{host}{host}"),
        format!("*1\r\n*3\r\n{host}:16383\r\n*2\r\n{host}:1\r\n"),
    ] {
        assert_eq!(goes_to(&tells), None, "{tells:?}");
    }
    for (first, last, port) in [
        ("0", "16384", "7000"),
        ("-1", "16383", "7000"),
        ("2", "1", "7000"),
        ("5", "3", "7000"),
        ("0", "9223372036854775807", "7000"),
        ("-9223372036854775808", "16383", "7000"),
        ("0", "16383", "0"),
        ("0", "16383", "-1"),
        ("0", "16383", "65536"),
        ("0", "16383", "9223372036854775807"),
    ] {
        let tells = format!("*1\r\n{}", range(first, last, &host, port));
        assert_eq!(goes_to(&tells), None, "{tells:?}");
    }
    for host in ["n2 ", "n2\r\nx: y", "n2:7000", "[::1]", "n2/", "n2?", "ä", "\0", &"a".repeat(300)] {
        assert_eq!(goes_to(&whole(&bulk(host), "7000")), None, "{host:?}");
    }
}

#[test]
fn map_with_overlapping_ranges_is_not_used() {
    assert_eq!(goes_to(&slots(&[(0, 9000, "n2"), (9000, 16383, "n1")])), None);
    let all = range("0", "16383", &bulk("n2"), "7000");
    assert_eq!(goes_to(&format!("*2000\r\n{}", all.repeat(2000))), None);
}

#[test]
fn map_with_too_many_masters_is_not_used() {
    let map = |count: usize| {
        let ranges = (0..count).map(|slot| {
            let host = if slot == 0 { "n2".to_owned() } else { format!("x{slot}") };
            let (first, last) = if slot == 0 { (16383 - 1000, 16383) } else { (slot, slot) };
            range(&first.to_string(), &last.to_string(), &bulk(&host), "7000")
        });
        format!("*{count}\r\n{}", ranges.collect::<String>())
    };
    assert_eq!(goes_to(&map(256)).as_deref(), Some("n2:7000"));
    assert_eq!(goes_to(&map(257)), None);
    assert_eq!(goes_to(&map(5000)), None);
    assert_eq!(goes_to(&format!("*100000\r\n{}", "*0\r\n".repeat(100_000))), None);
}

#[test]
fn map_of_single_slots_is_used() {
    let ranges: String =
        (0..4000).map(|slot| range(&slot.to_string(), &slot.to_string(), &bulk("n1"), "7000")).collect();
    let rest = range("4000", "16383", &bulk("n2"), "7000");
    assert_eq!(goes_to(&format!("*4001\r\n{ranges}{rest}")).as_deref(), Some("n2:7000"));
}

/// Redirects to more and more nodes do not open more and more connections.
#[test]
fn number_of_announced_nodes_is_limited() {
    let mut world = world();
    for number in 0..2000 {
        let name = format!("x{number}:7000");
        world.server(&name).answer = bulk("v");
        world.server("n1:7000").answers.push_back(format!("-MOVED 3300 {name}\r\n"));
        world.server("n2:7000").answers.push_back(format!("-ASK 7365 {name}\r\n"));
        world.get("b");
        world.get("c");
        world.pass(100);
        assert!(world.connected().len() <= 257);
    }
    let outcomes = world.outcomes();
    assert_eq!(outcomes.len(), 4000);
    assert!(outcomes.iter().all(|outcome| outcome.ends_with(" v")));
}
