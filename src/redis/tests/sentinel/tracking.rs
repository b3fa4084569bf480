//! The master tells of changes, until another server is the master.

use std::time::Duration;

use super::{S, fail_over, switch, topology, world_with};
use crate::redis::health::CATCH_UP;
use crate::redis::tests::script::{config, tracking};
use crate::redis::{ClientConfig, Served};

#[test]
fn new_master_has_to_be_asked_for_each_key() {
    let mut world =
        world_with(&ClientConfig { topology: topology(false), tracking: Some(tracking()), ..config() });
    world.get("k");
    let old = world.client.tracks(b"k").unwrap();
    assert_ne!(world.client.serves(b"k", old, world.now), Served::No);
    fail_over(&mut world, &S);
    world.say(S[0], &switch("main", "b", "6379"));
    world.get("k");
    world.pass(50);
    let new = world.client.tracks(b"k").unwrap();
    assert_ne!(new, old);
    assert_eq!(world.client.serves(b"k", old, world.now), Served::No);
    // The new master may lack the last writes.
    assert_eq!(world.client.serves(b"k", new, world.now), Served::No);
    world.pass(u64::try_from((CATCH_UP + Duration::from_secs(1)).as_millis()).unwrap());
    world.get("k");
    assert_ne!(world.client.serves(b"k", new, world.now), Served::No);
}

#[test]
fn sentinel_is_pinged_although_no_request_sends_a_command() {
    let mut world =
        world_with(&ClientConfig { topology: topology(false), tracking: Some(tracking()), ..config() });
    world.get("k");
    let stream = world.client.tracks(b"k").unwrap();
    world.log();
    for _ in 0..200 {
        assert_ne!(world.client.serves(b"k", stream, world.now), Served::No);
        world.pass(500);
    }
    assert!(world.log().iter().any(|line| line.ends_with(":26379 PING")));
}
