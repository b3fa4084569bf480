//! Maps of slots: what is taken, and what makes no sense.

use super::{slots, topology, world};
use crate::redis::ClientConfig;
use crate::redis::tests::script::config;
use crate::redis::tests::world::{World, bulk};

fn range(first: &str, last: &str, host: &str, port: &str) -> String {
    format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{host}:{port}\r\n")
}

/// Every slot is with one master.
fn whole(host: &str, port: &str) -> String {
    format!("*1\r\n{}", range("0", "16383", host, port))
}

/// Where a `GET` goes when a node, `n1`, tells this; nowhere where it is not taken.
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
fn a_node_is_where_it_is_said_to_be() {
    for (host, port, node) in [
        (bulk("10.0.0.1"), "6379", "10.0.0.1:6379"),
        (bulk("fd00::1"), "6379", "[fd00::1]:6379"),
        (bulk("re_dis-0.x"), "1", "re_dis-0.x:1"),
        // It does not know its host: it is the one that was asked.
        ("$-1\r\n".to_owned(), "7001", "n1:7001"),
        (bulk(""), "7001", "n1:7001"),
        (bulk("?"), "7001", "n1:7001"),
    ] {
        assert_eq!(goes_to(&whole(&host, port)).as_deref(), Some(node), "{host:?}");
    }
}

#[test]
fn the_form_of_redis_3_has_no_more_than_that() {
    assert_eq!(goes_to(&whole(&bulk("n2"), "7000")).as_deref(), Some("n2:7000"));
}

#[test]
fn a_map_that_makes_no_sense_is_not_taken() {
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
fn ranges_do_not_overlap() {
    assert_eq!(goes_to(&slots(&[(0, 9000, "n2"), (9000, 16383, "n1")])), None);
    let all = range("0", "16383", &bulk("n2"), "7000");
    assert_eq!(goes_to(&format!("*2000\r\n{}", all.repeat(2000))), None);
}

#[test]
fn there_are_not_too_many_masters() {
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
fn one_slot_for_each_range_is_a_map() {
    let ranges: String =
        (0..4000).map(|slot| range(&slot.to_string(), &slot.to_string(), &bulk("n1"), "7000")).collect();
    let rest = range("4000", "16383", &bulk("n2"), "7000");
    assert_eq!(goes_to(&format!("*4001\r\n{ranges}{rest}")).as_deref(), Some("n2:7000"));
}

/// Redirects to ever other nodes do not make ever more connections.
#[test]
fn nodes_that_are_named_are_bounded() {
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
