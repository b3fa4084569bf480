//! Each node of a Cluster tells of the changes of its own keys.

use super::{KEYS, N, slots, tell, thirds, topology, world_with};
use crate::redis::tests::script::{config, tracking};
use crate::redis::tests::world::World;
use crate::redis::{ClientConfig, Served, StreamId};

fn connected() -> World {
    let mut world =
        world_with(&ClientConfig { topology: topology(&["n1"]), tracking: Some(tracking()), ..config() });
    for key in KEYS {
        world.get(key);
    }
    world
}

fn stream(world: &World, key: &str) -> Option<StreamId> {
    world.client.tracks(key.as_bytes())
}

fn serves(world: &mut World, key: &str, stream: StreamId) -> bool {
    world.client.serves(key.as_bytes(), stream, world.now) != Served::No
}

#[test]
fn each_node_is_probed_with_a_key_of_its_own_slots() {
    let mut world = connected();
    let log = world.log();
    for node in N {
        let probe = log.iter().find(|line| line.starts_with(&format!("{node} SETEX cookie-track-"))).unwrap();
        let key = probe.split(' ').nth(2).unwrap();
        // A command for the same key goes to the same node.
        world.get(key);
        assert!(world.log().iter().any(|line| line.starts_with(node)), "{key}");
    }
    assert!(KEYS.iter().all(|key| stream(&world, key).is_some()));
}

#[test]
fn key_whose_slot_has_moved_is_asked_for() {
    let mut world = connected();
    let old = stream(&world, "b").unwrap();
    assert!(serves(&mut world, "b", old));
    tell(&mut world, &thirds(["n2", "n2", "n3"]));
    world.server("n1:7000").answer = "-MOVED 3300 n2:7000\r\n".to_owned();
    world.get("b");
    world.pass(1000);
    assert_ne!(stream(&world, "b"), Some(old));
    assert!(!serves(&mut world, "b", old));
}

/// A node that moves a slot at once tells of its keys only when it removes them, and then it may have other slots still.
#[test]
fn slot_that_moves_without_a_push_is_noticed_by_a_question() {
    let mut world = connected();
    let old = stream(&world, "b").unwrap();
    assert!(serves(&mut world, "b", old));
    tell(
        &mut world,
        &slots(&[
            (0, 3299, "n1"),
            (3300, 3300, "n2"),
            (3301, 5460, "n1"),
            (5461, 10922, "n2"),
            (10923, 16383, "n3"),
        ]),
    );
    world.server("n1:7000").answer = "-MOVED 3300 n2:7000\r\n".to_owned();
    for _ in 0..20 {
        world.pass(100);
        serves(&mut world, "b", old);
    }
    assert!(!serves(&mut world, "b", old));
    // A request for a session of another node: only the answer to the question says that the map is old.
    world.get("a");
    world.pass(1000);
    assert_ne!(stream(&world, "b"), Some(old));
    world.get("b");
    world.pass(1000);
    // The other nodes are trusted again.
    for key in ["c", "a"] {
        world.get(key);
        let stream = stream(&world, key).unwrap();
        assert!(serves(&mut world, key, stream), "{key}");
    }
}

#[test]
fn node_that_dies_takes_its_own_keys_only() {
    let mut world = connected();
    let streams = KEYS.map(|key| stream(&world, key).unwrap());
    world.kill("n1:7000");
    assert!(!serves(&mut world, "b", streams[0]));
    // A node that broke makes the map old: the others are asked once, until there is a new one.
    world.get("c");
    world.get("a");
    world.pass(500);
    world.get("c");
    world.get("a");
    assert!(serves(&mut world, "c", streams[1]) && serves(&mut world, "a", streams[2]));
    assert!(!serves(&mut world, "b", streams[0]));
}

#[test]
fn map_that_is_a_minute_old_is_asked_for_first() {
    let mut world = connected();
    let old = stream(&world, "a").unwrap();
    for _ in 0..59 {
        world.pass(1000);
        world.get("a");
    }
    assert!(serves(&mut world, "a", old));
    for _ in 0..100 {
        world.pass(300);
        if !serves(&mut world, "a", old) {
            world.log();
            world.get("a");
            assert!(world.log().iter().any(|line| line.contains(" CLUSTER ")));
            return;
        }
    }
    panic!("the map is never asked for");
}

/// The map that is fetched after `MOVED` says nothing that `MOVED` did not say.
#[test]
fn node_that_moved_names_first_tracks_its_keys() {
    let mut world = connected();
    let map =
        [(0, 3299, "n1"), (3301, 5460, "n1"), (5461, 10922, "n2"), (10923, 16383, "n3"), (3300, 3300, "n4")];
    tell(&mut world, &slots(&map));
    world.server("n1:7000").answers.push_back("-MOVED 3300 n4:7000\r\n".to_owned());
    world.get("b");
    world.pass(1000);
    world.get("b");
    assert_eq!(stream(&world, "b"), world.streams_to("n4:7000").pop());
    assert!(stream(&world, "b").is_some());
}
