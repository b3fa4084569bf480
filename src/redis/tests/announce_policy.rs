//! Servers that announce others, with a list of the allowed hosts: the client sends nothing to another host, above
//! all no password.

use super::script::{config, credentials};
use super::world::{World, bulk, endpoint};
use crate::redis::{ClientConfig, Topology};

const NOT_ALLOWED: &str = "not allowed (evil:7000)";

/// The servers of these tests are `*.example:7000`, and the forbidden one is `evil:7000`. It answers each command.
fn world(topology: Topology, allowed: &[&str]) -> World {
    let allowed_hosts = allowed.iter().map(|pattern| pattern.parse().unwrap()).collect();
    let mut world =
        World::with(&ClientConfig { topology, credentials: credentials(None), allowed_hosts, ..config() });
    world.server("evil:7000").answer = "$4\r\nevil\r\n".to_owned();
    world
}

fn sentinels() -> Topology {
    Topology::Sentinel {
        master_name: "main".to_owned(),
        sentinels: ["s1", "s2"].map(|host| endpoint(host, 26379)).to_vec(),
        credentials: None,
    }
}

fn cluster() -> Topology {
    Topology::Cluster { seeds: ["n1.example", "n2.example"].map(|host| endpoint(host, 7000)).to_vec() }
}

fn address(host: &str) -> String {
    format!("*2\r\n{}{}", bulk(host), bulk("7000"))
}

/// A reply to `CLUSTER SLOTS` in which these two nodes have half of the slots each.
fn slots(low: &str, high: &str) -> String {
    let half = |first, last, host| format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{}:7000\r\n", bulk(host));
    format!("*2\r\n{}{}", half(0, 8191, low), half(8192, 16383, high))
}

/// The same map as a reply to `CLUSTER SHARDS`.
fn shards(low: &str, high: &str) -> String {
    let text = |words: &[&str]| words.iter().map(|word| bulk(word)).collect::<String>();
    let half = |first, last, host| {
        let node =
            format!("*6\r\n{}:7000\r\n{}", text(&["endpoint", host, "port"]), text(&["role", "master"]));
        format!("*4\r\n{}*2\r\n:{first}\r\n:{last}\r\n{}*1\r\n{node}", bulk("slots"), bulk("nodes"))
    };
    format!("*2\r\n{}{}", half(0, 8191, low), half(8192, 16383, high))
}

/// Keys in the lower and the upper half of the slots.
const LOW: &str = "b";
const HIGH: &str = "a";

/// Whether the forbidden server received anything.
fn is_reached(log: &[String]) -> bool {
    log.iter().any(|line| line.starts_with("evil:7000 "))
}

fn refusals(log: &[String]) -> usize {
    log.iter().filter(|line| line.ends_with(NOT_ALLOWED)).count()
}

/// Whether this command failed because of the forbidden server.
fn has_failed(log: &[String], command: u64) -> bool {
    log.contains(&format!("#{command} failed: {NOT_ALLOWED}"))
}

/// Both nodes give this map.
fn tell(world: &mut World, map: &str) {
    for node in ["n1.example:7000", "n2.example:7000"] {
        world.server(node).tells = map.to_owned();
    }
}

#[test]
fn without_a_list_any_server_may_be_announced() {
    let mut by_sentinel = world(sentinels(), &[]);
    by_sentinel.server("s1:26379").tells = address("evil");
    by_sentinel.get(LOW);
    assert_eq!(by_sentinel.log().last().unwrap(), "#1 evil");
    let mut by_node = world(cluster(), &[]);
    tell(&mut by_node, &slots("evil", "n2.example"));
    by_node.get(LOW);
    assert_eq!(by_node.log().last().unwrap(), "#1 evil");
}

#[test]
fn sentinel_with_forbidden_master_is_skipped() {
    let mut world = world(sentinels(), &["*.example"]);
    world.server("s1:26379").tells = address("evil");
    world.server("s2:26379").tells = address("m.example");
    world.server("m.example:7000");
    world.get(LOW);
    let log = world.log();
    assert_eq!((is_reached(&log), refusals(&log), log.last().unwrap().as_str()), (false, 1, "#1 nil"));
}

#[test]
fn forbidden_masters_of_all_sentinels_are_an_outage() {
    let mut world = world(sentinels(), &["*.example"]);
    for sentinel in ["s1:26379", "s2:26379"] {
        world.server(sentinel).tells = address("evil");
    }
    world.get(LOW);
    world.pass(10_000);
    world.get(LOW);
    let log = world.log();
    assert!(!is_reached(&log) && refusals(&log) > 1, "{log:?}");
    assert!(has_failed(&log, 2), "{log:?}");
    world.server("s2:26379").tells = address("m.example");
    world.server("m.example:7000");
    world.pass(1000);
    world.get(LOW);
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#3 nil"], "an outage ends");
}

#[test]
fn switch_to_forbidden_server_is_not_followed() {
    for message in [
        ["+switch-master", "main m.example 7000 evil 7000"],
        ["+promoted-slave", "slave evil:7000 evil 7000 @ main m.example 7000"],
    ] {
        let mut world = world(sentinels(), &["*.example"]);
        for sentinel in ["s1:26379", "s2:26379"] {
            world.server(sentinel).tells = address("m.example");
        }
        world.server("m.example:7000");
        world.get(LOW);
        world.log();
        let [channel, text] = message.map(bulk);
        world.say("s1:26379", &format!("*3\r\n{}{channel}{text}", bulk("message")));
        world.get(LOW);
        let log = world.log();
        assert_eq!((is_reached(&log), refusals(&log)), (false, 1), "{log:?}");
        assert_eq!(log.last().unwrap(), "#2 nil", "by the master before");
    }
}

#[test]
fn map_with_forbidden_server_leads_to_next_node() {
    for by_shards in [false, true] {
        let mut world = world(cluster(), &["*.example"]);
        tell(&mut world, &slots("n1.example", "n2.example"));
        let liar = world.server("n1.example:7000");
        liar.tells = slots("evil", "n2.example");
        if by_shards {
            liar.shards = shards("evil", "n2.example");
        }
        world.get(LOW);
        let log = world.log();
        assert_eq!((is_reached(&log), refusals(&log)), (false, 1), "{log:?}");
        assert_eq!(log.last().unwrap(), "#1 nil");
    }
}

#[test]
fn maps_of_all_nodes_with_forbidden_server_are_an_outage() {
    let mut world = world(cluster(), &["*.example"]);
    tell(&mut world, &slots("evil", "n2.example"));
    world.get(HIGH);
    world.pass(10_000);
    world.get(HIGH);
    let log = world.log();
    assert!(!is_reached(&log) && refusals(&log) > 1, "{log:?}");
    assert!(has_failed(&log, 2), "{log:?}");
}

#[test]
fn redirect_to_forbidden_server_is_not_followed() {
    for kind in ["MOVED", "ASK"] {
        let mut world = world(cluster(), &["*.example"]);
        tell(&mut world, &slots("n1.example", "n2.example"));
        world.server("n1.example:7000").answer = format!("-{kind} 3300 evil:7000\r\n");
        world.get(LOW);
        world.lock(LOW);
        world.get(HIGH);
        world.pass(1000);
        let log = world.log();
        assert!(!is_reached(&log) && has_failed(&log, 1) && has_failed(&log, 2), "{log:?}");
        assert!(log.contains(&"#3 nil".to_owned()), "other slots work: {log:?}");
    }
}

#[test]
fn node_without_host_is_allowed_only_with_configured_port() {
    let mut world = world(cluster(), &["10.0.0.0/8"]);
    tell(&mut world, &slots("", "n2.example"));
    world.get(LOW);
    assert_eq!(world.log().last().unwrap(), "#1 nil", "with the configured port");
    world.server("n1.example:7000").answer = "-MOVED 3300 :22\r\n".to_owned();
    world.server("n1.example:22");
    world.get(LOW);
    assert_eq!(world.streams_to("n1.example:22"), []);
}
