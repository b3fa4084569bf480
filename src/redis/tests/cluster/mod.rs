//! A Cluster: which node gets a command, and what happens if slots or masters move.

mod failover;
mod map;
mod redirects;
mod routing;
mod shards;
mod tracking;

use crate::redis::tests::script::{config, credentials};
use crate::redis::tests::world::{World, bulk, endpoint};
use crate::redis::{ClientConfig, Topology};

pub(super) const N: [&str; 3] = ["n1:7000", "n2:7000", "n3:7000"];

/// Keys in the slots of the three masters: 3300, 7365, 15495.
const KEYS: [&str; 3] = ["b", "c", "a"];

fn topology(seeds: &[&str]) -> Topology {
    Topology::Cluster { seeds: seeds.iter().map(|host| endpoint(host, 7000)).collect() }
}

/// A reply to `CLUSTER SLOTS` with these ranges, each with a replica.
fn slots(ranges: &[(u16, u16, &str)]) -> String {
    let node = |host: &str, port: u16| format!("*4\r\n{}:{port}\r\n{}*0\r\n", bulk(host), bulk("id"));
    let range = |(first, last, host): &(u16, u16, &str)| {
        format!("*4\r\n:{first}\r\n:{last}\r\n{}{}", node(host, 7000), node("replica", 7001))
    };
    format!("*{}\r\n{}", ranges.len(), ranges.iter().map(range).collect::<String>())
}

fn thirds(masters: [&str; 3]) -> String {
    let [first, second, third] = masters;
    slots(&[(0, 5460, first), (5461, 10922, second), (10923, 16383, third)])
}

/// All nodes give this map.
fn tell(world: &mut World, map: &str) {
    for node in N.into_iter().chain(["n4:7000"]) {
        world.server(node).tells = map.to_owned();
    }
}

/// Three masters with a third of the slots each, and one more node.
pub(super) fn world() -> World {
    world_with(&ClientConfig { topology: topology(&["n1", "n2", "n3"]), ..config() })
}

/// The same with a password.
pub(super) fn world_with_password() -> World {
    world_with(&ClientConfig {
        topology: topology(&["n1", "n2", "n3"]),
        credentials: credentials(None),
        ..config()
    })
}

fn world_with(config: &ClientConfig) -> World {
    let mut world = World::with(config);
    tell(&mut world, &thirds(["n1", "n2", "n3"]));
    world
}

/// A world with a known map and connections to all masters; three commands are done.
pub(super) fn connected() -> World {
    let mut world = world();
    for key in KEYS {
        world.get(key);
    }
    assert_eq!(world.outcomes(), ["#1 nil", "#2 nil", "#3 nil"]);
    world
}

/// `n4` takes over from `n1` with the data.
pub(super) fn fail_over(world: &mut World) {
    world.server("n4:7000").answer = "$1\r\nv\r\n".to_owned();
    tell(world, &thirds(["n4", "n2", "n3"]));
}

fn asked(log: &[String]) -> Vec<&str> {
    log.iter().filter_map(|line| line.strip_suffix(" CLUSTER SLOTS")).collect()
}

fn count(log: &[String], what: &str) -> usize {
    log.iter().filter(|line| line.contains(what)).count()
}
