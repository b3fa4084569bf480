//! A missing key is not believed at once if the master has come back, perhaps without its data, or has taken over,
//! perhaps without the last writes.

use std::time::Duration;

use super::{S, connected, fail_over, switch};
use crate::redis::Command;

/// The Sentinels elect its successor already, but name this master until they are done.
#[test]
fn empty_master_during_failover_has_no_missing_keys() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    world.pass(1000);
    world.server("a:6379").is_down = false;
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#2 failed: possibly stale"]);
    world.get("k");
    world.lock("l");
    assert_eq!(world.outcomes(), ["#3 failed: possibly stale", "#4 nil"], "this nil has another meaning");
    fail_over(&mut world, &S);
    let sentinel = world.connected().into_iter().find(|name| S.contains(name)).unwrap().to_owned();
    world.say(&sentinel, &switch("main", "b", "6379"));
    world.get("k");
    world.pass(50);
    assert_eq!(world.outcomes(), ["#5 v"]);
    world.server("b:6379").answer = "$-1\r\n".to_owned();
    world.get("k");
    assert_eq!(world.outcomes(), ["#6 failed: possibly stale"], "it may lack the last writes");
    world.pass(5000);
    world.get("k");
    assert_eq!(world.outcomes(), ["#7 nil"]);
}

#[test]
fn reconnect_to_same_master_believes_missing_key() {
    let mut world = connected();
    world.pass(3_600_000);
    world.hang_up("a:6379");
    world.get("k");
    assert_eq!(world.outcomes(), ["#2 nil"]);
}

#[test]
fn restarted_master_is_believed_after_five_seconds() {
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
fn restarted_master_may_lack_what_is_replaced() {
    let mut world = connected();
    world.kill("a:6379");
    world.get("k");
    world.server("a:6379").is_down = false;
    world.pass(1000);
    world.outcomes();
    let second = Duration::from_secs(1);
    world.send(Command::replace(b"k", second, b"v"));
    world.send(Command::replace_value(b"k", b"v"));
    world.send(Command::restore(b"k", second, b"v"));
    let stale = |number| format!("#{number} failed: possibly stale");
    assert_eq!(
        world.outcomes(),
        [stale(3), stale(4), "#5 nil".to_owned()],
        "the last one has another meaning"
    );
}

#[test]
fn value_of_restarted_master_is_used_at_once() {
    let mut world = connected();
    world.server("a:6379").answer = "$1\r\nv\r\n".to_owned();
    world.kill("a:6379");
    world.get("k");
    world.server("a:6379").is_down = false;
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#2 v"]);
}

/// Servers close idle connections. That is no reason for doubt.
#[test]
fn connection_that_ends_idle_believes_missing_key() {
    let mut world = connected();
    world.hang_up("a:6379");
    world.get("k");
    assert_eq!(world.outcomes(), ["#2 nil"]);
}
