//! A master that comes back without its data, or takes over without the last of it, is not believed at once.

use super::{S, connected, fail_over, switch};

/// The Sentinels elect its successor already, and name it until they are done.
#[test]
fn a_master_that_comes_back_empty_in_a_failover_signs_nobody_out() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    world.pass(1000);
    world.server("a:6379").is_down = false;
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#2 failed: possibly stale"]);
    world.get("k");
    world.lock("l");
    assert_eq!(world.outcomes(), ["#3 failed: possibly stale", "#4 nil"], "a nil of another meaning");
    fail_over(&mut world, &S);
    let sentinel = world.connected().into_iter().find(|name| S.contains(name)).unwrap().to_owned();
    world.say(&sentinel, &switch("main", "b", "6379"));
    world.get("k");
    assert_eq!(world.outcomes(), ["#5 v"]);
    world.server("b:6379").answer = "$-1\r\n".to_owned();
    world.get("k");
    assert_eq!(world.outcomes(), ["#6 failed: possibly stale"], "it may not have got the last writes");
    world.pass(5000);
    world.get("k");
    assert_eq!(world.outcomes(), ["#7 nil"]);
}

#[test]
fn a_worker_that_never_saw_another_master_has_no_doubt() {
    let mut world = connected();
    world.pass(3_600_000);
    world.hang_up("a:6379");
    world.get("k");
    assert_eq!(world.outcomes(), ["#2 nil"]);
}

#[test]
fn a_master_that_stays_the_master_is_believed_after_a_moment() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    world.pass(3000);
    world.outcomes();
    world.server("a:6379").is_down = false;
    world.pass(1000);
    world.get("k");
    world.pass(4900);
    world.get("k");
    assert_eq!(world.outcomes(), ["#3 failed: possibly stale", "#4 failed: possibly stale"]);
    world.pass(100);
    world.get("k");
    assert_eq!(world.outcomes(), ["#5 nil"]);
}

#[test]
fn a_value_needs_no_belief() {
    let mut world = connected();
    world.server("a:6379").answer = "$1\r\nv\r\n".to_owned();
    world.kill("a:6379");
    world.get("k");
    world.server("a:6379").is_down = false;
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#2 v"]);
}

/// Servers close idle connections; nobody has to be in doubt for that.
#[test]
fn a_connection_that_ends_with_nothing_in_flight_is_no_outage() {
    let mut world = connected();
    world.hang_up("a:6379");
    world.get("k");
    assert_eq!(world.outcomes(), ["#2 nil"]);
}
