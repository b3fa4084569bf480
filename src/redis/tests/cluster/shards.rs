//! Which replies to `CLUSTER SHARDS` are used, and which lead to `CLUSTER SLOTS`.

use super::{N, asked, count, thirds, topology, world};
use crate::redis::tests::script::config;
use crate::redis::tests::world::{World, bulk, endpoint};
use crate::redis::{ClientConfig, Endpoint, Tls, Topology};

/// Alternating names and values, the values as on the wire.
fn fields(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}{value}", bulk(name))).collect();
    format!("*{}\r\n{}", 2 * fields.len(), fields.concat())
}

fn array(items: &[String]) -> String {
    format!("*{}\r\n{}", items.len(), items.concat())
}

fn shard(slots: &[u16], nodes: &[String]) -> String {
    let slots: Vec<_> = slots.iter().map(|slot| format!(":{slot}\r\n")).collect();
    fields(&[("slots", &array(&slots)), ("nodes", &array(nodes))])
}

/// A node as Redis 7.0 lists it.
fn node(host: &str, role: &str, health: &str) -> String {
    fields(&[
        ("id", &bulk("0123")),
        ("port", ":7000\r\n"),
        ("ip", &bulk("10.9.9.9")),
        ("endpoint", &bulk(host)),
        ("role", &bulk(role)),
        ("replication-offset", ":12\r\n"),
        ("health", &bulk(health)),
    ])
}

/// One shard with all slots and these nodes.
fn whole(nodes: &[String]) -> String {
    array(&[shard(&[0, 16383], nodes)])
}

/// The node that gets a `GET` if `n1` gives these shards. In its reply to `CLUSTER SLOTS` that is `n9`.
fn goes_to(shards: &str) -> String {
    goes_to_as(shards, Tls::Off)
}

fn goes_to_as(shards: &str, tls: Tls) -> String {
    let seeds = vec![Endpoint { tls, ..endpoint("n1", 7000) }];
    let mut world = World::with(&ClientConfig { topology: Topology::Cluster { seeds }, ..config() });
    for node in ["n1:7000", "n2:7000", "n3:7000", "n9:7000", "10.0.0.1:7001", "10.0.0.1:7002", "n1:7001"] {
        world.server(node);
    }
    world.server("n1:7000").shards = shards.to_owned();
    world.server("n1:7000").tells = thirds(["n9"; 3]);
    world.get("a");
    let log = world.log();
    log.iter().find_map(|line| line.strip_suffix(" GET a")).unwrap_or("nowhere").to_owned()
}

#[test]
fn master_of_shard_has_its_slots() {
    let mut world = world();
    let replica = |health| node("replica", "replica", health);
    world.server(N[0]).shards = array(&[
        shard(&[0, 5460], &[replica("online"), node("n1", "master", "online")]),
        shard(&[5461, 5461, 5470, 10922], &[node("n2", "master", "online"), replica("fail")]),
        // A master without slots.
        shard(&[], &[node("n4", "master", "online")]),
        shard(&[10923, 16383, 5462, 5469], &[node("n3", "master", "loading"), replica("loading")]),
    ]);
    for key in ["b", "c", "a"] {
        world.get(key);
    }
    let log = world.log();
    assert_eq!(asked(&log), [""; 0], "CLUSTER SLOTS is not needed");
    assert_eq!(count(&log, "CLUSTER SHARDS"), 1);
    for command in ["n1:7000 GET b", "n2:7000 GET c", "n3:7000 GET a"] {
        assert_eq!(count(&log, command), 1, "{log:?}");
    }
}

#[test]
fn healthy_master_is_preferred_to_failed_one() {
    for (nodes, to) in [
        ([node("n2", "master", "fail"), node("n3", "master", "online")], "n3:7000"),
        ([node("n2", "master", "online"), node("n3", "master", "failed")], "n2:7000"),
        ([node("n2", "master", "loading"), node("n3", "master", "fail")], "n2:7000"),
        // No replica took over yet: `CLUSTER SLOTS` would have the same master.
        ([node("n2", "master", "fail"), node("n3", "replica", "online")], "n2:7000"),
    ] {
        assert_eq!(goes_to(&whole(&nodes)), to, "{nodes:?}");
    }
}

#[test]
fn ambiguous_shards_lead_to_cluster_slots() {
    let master = |host| node(host, "master", "online");
    let port = |value: &str| fields(&[("port", value), ("ip", &bulk("n2")), ("role", &bulk("master"))]);
    for shards in [
        // Two masters, no master, or one with missing fields.
        whole(&[master("n2"), master("n3")]),
        whole(&[node("n2", "master", "fail"), node("n3", "master", "fail")]),
        whole(&[node("n2", "replica", "online")]),
        whole(&[fields(&[("role", &bulk("master"))])]),
        whole(&[fields(&[("role", &bulk("master")), ("port", ":7000\r\n")])]),
        whole(&[":1\r\n".to_owned()]),
        whole(&[]),
        // Slots without a master, as in 7.2 after a failover, or with two.
        array(&[shard(&[], &[node("n2", "master", "fail"), master("n3")])]),
        array(&[shard(&[0, 16382], &[master("n2")])]),
        array(&[shard(&[0, 9000], &[master("n2")]), shard(&[9000, 16383], &[master("n3")])]),
        array(&[shard(&[0, 16383, 0, 16383], &[master("n2")])]),
        array(&[shard(&[0, 16383, 5], &[master("n2")])]),
        array(&[shard(&[16383, 0], &[master("n2")])]),
        array(&[shard(&[0, 16384], &[master("n2")])]),
        // Redis 7.2.0 gives strings.
        array(&[fields(&[
            ("slots", &array(&[bulk("0"), bulk("16383")])),
            ("nodes", &array(&[master("n2")])),
        ])]),
        whole(&[port(":0\r\n")]),
        whole(&[port(":65536\r\n")]),
        whole(&[port(":-1\r\n")]),
        whole(&[port(&bulk("7000"))]),
        whole(&[master("n2 x: y")]),
        // No shards at all.
        array(&[fields(&[("slots", "*2\r\n:0\r\n:16383\r\n")])]),
        array(&["*1\r\n$5\r\nslots\r\n".to_owned()]),
        array(&[":1\r\n".to_owned()]),
        "*0\r\n".to_owned(),
        "*-1\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        "-NOPERM this user has no permissions\r\n".to_owned(),
        "-LOADING Redis is loading the dataset in memory\r\n".to_owned(),
    ] {
        assert_eq!(goes_to(&shards), "n9:7000", "{shards:?}");
    }
}

#[test]
fn node_is_reached_at_announced_address() {
    let at = |more: &[(&str, &str)]| whole(&[fields(&[&[("role", bulk("master").as_str())], more].concat())]);
    let (ip, name) = (bulk("10.0.0.1"), bulk("n2"));
    let ports = [("port", ":7001\r\n"), ("tls-port", ":7002\r\n")];
    for (host, to) in [
        (vec![("ip", ip.as_str())], "10.0.0.1:7001"),
        (vec![("ip", "$-1\r\n"), ("endpoint", ip.as_str())], "10.0.0.1:7001"),
        // A node that does not know its host has the host that was asked.
        (vec![("ip", ip.as_str()), ("endpoint", "$-1\r\n")], "n1:7001"),
        (vec![("endpoint", "$1\r\n?\r\n")], "n1:7001"),
        (vec![("endpoint", "$0\r\n\r\n")], "n1:7001"),
    ] {
        assert_eq!(goes_to(&at(&[ports.as_slice(), &host].concat())), to, "{host:?}");
    }
    let both = at(&[ports.as_slice(), &[("endpoint", &ip)]].concat());
    assert_eq!(goes_to_as(&both, Tls::Verified), "10.0.0.1:7002");
    let plain = at(&[("port", ":7000\r\n"), ("endpoint", &name)]);
    assert_eq!(goes_to_as(&plain, Tls::Verified), "n2:7000", "as in CLUSTER SLOTS");
    let tls = at(&[("tls-port", ":7000\r\n"), ("endpoint", &name)]);
    assert_eq!(goes_to(&tls), "n9:7000");
}

/// A node that does not know `SHARDS` is not asked for them again. A node that was not ready is.
#[test]
fn node_without_shards_is_remembered() {
    let unknown = "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'\r\n";
    let denied = "-NOPERM this user has no permissions to run the 'cluster|shards' command\r\n";
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    for (error, expected) in [(unknown, 1), (denied, 1), (loading, 3), ("*0\r\n", 3)] {
        let mut world = World::with(&ClientConfig { topology: topology(&["n1"]), ..config() });
        world.server(N[0]).tells = thirds(["n1"; 3]);
        world.server(N[0]).shards = error.to_owned();
        for _ in 0..3 {
            world.get("a");
            world.pass(61_000);
        }
        let log = world.log();
        assert_eq!((count(&log, "CLUSTER SHARDS"), asked(&log).len()), (expected, 3), "{log:?}");
    }
}

#[test]
fn shards_with_too_many_masters_are_not_used() {
    let shards = |count: u16| {
        let shard = |slot: u16| {
            let (last, host) =
                if slot == count - 1 { (16383, "n3".to_owned()) } else { (slot, format!("x{slot}")) };
            shard(&[slot, last], &[node(&host, "master", "online")])
        };
        array(&(0..count).map(shard).collect::<Vec<_>>())
    };
    assert_eq!(goes_to(&shards(256)), "n3:7000");
    assert_eq!(goes_to(&shards(257)), "n9:7000");
}

#[test]
fn extra_reply_does_not_answer_next_question() {
    let mut world = world();
    world.server(N[0]).shards = format!("-ERR x\r\n{}", thirds(["n4"; 3]));
    world.get("a");
    let log = world.log();
    assert_eq!((asked(&log), log.last().unwrap().as_str()), (vec![N[1]], "#1 nil"));
}
