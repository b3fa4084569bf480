//! Masters that die, hang or run no commands, and replicas that take over.

use std::time::Duration;

use super::{N, asked, connected, count, fail_over, slots, tell, topology, world, world_with};
use crate::redis::tests::script::config;
use crate::redis::{ClientConfig, Command};

#[test]
fn without_a_map_commands_wait_and_later_fail_at_once() {
    let mut world = world();
    for node in N {
        world.server(node).is_down = true;
    }
    world.get("a");
    world.pass(2000);
    let log = world.log();
    assert_eq!(log.last().unwrap(), &"#1 failed: timeout");
    assert!((12..=21).contains(&count(&log, "lookup failed")), "{log:?}");
    assert_eq!(world.client.next_wake(), None, "no question without a command");
    world.pass(1000);
    world.get("a");
    world.get("b");
    assert_eq!(world.outcomes(), ["#2 failed: unreachable", "#3 failed: unreachable"]);
    world.pass(1000);
    world.server(N[2]).is_down = false;
    world.get("a");
    assert_eq!(world.outcomes(), ["#4 nil"]);
}

#[test]
fn refused_command_is_tried_again_after_pause() {
    for error in ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"] {
        let mut world = connected();
        world.pass(1000);
        for _ in 0..2 {
            world.server(N[0]).answers.push_back(format!("-{error} x\r\n"));
        }
        world.lock("b");
        let log = world.log();
        assert_eq!((count(&log, "SET b"), asked(&log).len()), (1, 1), "{error}: {log:?}");
        world.get("c");
        assert_eq!(world.outcomes(), ["#5 nil"], "other slots work");
        world.pass(300);
        let log = world.log();
        assert_eq!((count(&log, "SET b"), count(&log, "#4 nil")), (2, 1), "{error}: {log:?}");
    }
}

#[test]
fn cluster_down_fails_commands_at_deadline_and_later_at_once() {
    let mut world = connected();
    for node in N {
        world.server(node).answer = "-CLUSTERDOWN The cluster is down\r\n".to_owned();
    }
    world.get("b");
    world.pass(2000);
    let log = world.log();
    assert_eq!(log.last().unwrap(), &"#4 failed: not ready (CLUSTERDOWN)");
    assert!((4..12).contains(&count(&log, "GET b")), "{log:?}");
    world.pass(1000);
    world.get("b");
    world.get("c");
    assert_eq!(
        world.outcomes(),
        ["#5 failed: not ready (CLUSTERDOWN)", "#6 failed: not ready (CLUSTERDOWN)"]
    );
    assert_eq!(world.client.next_wake(), None);
    world.pass(1000);
    for node in N {
        world.server(node).answer = "$-1\r\n".to_owned();
    }
    world.get("b");
    assert_eq!(world.outcomes(), ["#7 nil"]);
}

#[test]
fn long_outage_of_one_shard_leaves_others_alone() {
    let mut world = connected();
    world.server(N[0]).answer = "-CLUSTERDOWN Hash slot not served\r\n".to_owned();
    for _ in 0..40 {
        world.get("b");
        world.pass(100);
    }
    world.outcomes();
    world.get("b");
    world.get("c");
    let down = "#44 failed: not ready (CLUSTERDOWN)";
    assert_eq!(world.outcomes(), [down, "#45 nil"]);
}

/// A node answers `PING` even if its cluster is down.
#[test]
fn answered_ping_does_not_end_outage() {
    let mut world = connected();
    for node in N {
        world.server(node).answer = "-CLUSTERDOWN The cluster is down\r\n".to_owned();
    }
    for _ in 0..30 {
        world.get("b");
        for node in N {
            world.server(node).answers.push_front("+PONG\r\n".to_owned());
        }
        world.client.send(Command::ping(), world.now);
        world.pass(0);
        for node in N {
            world.server(node).answers.clear();
        }
        world.pass(100);
    }
    world.log();
    world.get("b");
    world.get("b");
    let failed = world.outcomes();
    assert!(failed.last().unwrap().ends_with("failed: not ready (CLUSTERDOWN)"), "{failed:?}");
}

#[test]
fn slot_without_master_fails_only_its_commands() {
    let mut world = world();
    tell(&mut world, &slots(&[(0, 5460, "n1"), (10923, 16383, "n3")]));
    world.get("b");
    world.outcomes();
    for node in [N[0], N[2]] {
        world.server(node).answers.extend(vec!["-CLUSTERDOWN Hash slot not served\r\n".to_owned(); 99]);
    }
    world.get("c");
    for node in [N[0], N[2]] {
        world.server(node).answers.clear();
    }
    world.get("b");
    assert_eq!(world.outcomes(), ["#3 nil"]);
}

#[test]
fn dead_master_is_replaced_by_its_replica() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).is_hung = true;
    world.get("b");
    world.lock("b");
    world.kill(N[0]);
    assert_eq!(world.outcomes(), ["#5 failed: lost"]);
    // The failover takes a while.
    world.pass(700);
    fail_over(&mut world);
    world.pass(500);
    let log = world.log();
    assert_eq!(count(&log, "n4:7000 GET b"), 1, "{log:?}");
    assert_eq!(log.last().unwrap(), "#4 v");
    assert!((2..6).contains(&asked(&log).len()), "{log:?}");
    assert_eq!(world.connected(), [N[1], N[2], "n4:7000"]);
    world.get("c");
    assert_eq!(world.outcomes(), ["#6 nil"]);
}

#[test]
fn hung_master_is_replaced_by_its_replica() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).is_hung = true;
    world.get("b");
    world.lock("b");
    world.pass(499);
    assert_eq!(asked(&world.log()), [""; 0]);
    world.pass(500);
    assert!(!asked(&world.log()).is_empty());
    fail_over(&mut world);
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#5 failed: lost", "#4 v"]);
    assert_eq!(world.connected(), [N[1], N[2], "n4:7000"]);
}

#[test]
fn hung_master_without_replacement_is_waited_for() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).is_hung = true;
    world.get("b");
    world.pass(1900);
    let log = world.log();
    assert!((2..8).contains(&asked(&log).len()), "{log:?}");
    world.say(N[0], "$-1\r\n");
    assert_eq!(world.outcomes(), ["#4 nil"]);
    world.server(N[0]).is_hung = false;
    world.pass(10_000);
    assert_eq!(world.client.next_wake(), None);
}

#[test]
fn unreachable_master_fails_only_its_commands() {
    let mut world = connected();
    world.kill(N[0]);
    world.get("b");
    world.pass(2500);
    assert_eq!(world.outcomes(), ["#4 failed: timeout"]);
    world.pass(1000);
    world.get("b");
    world.get("b");
    world.get("c");
    let expected = ["#5 failed: unreachable", "#6 failed: unreachable", "#7 nil"];
    assert_eq!(world.outcomes(), expected);
}

/// By then the client tries the old master once a second. That must not delay the question for a new map.
#[test]
fn late_takeover_is_found_by_next_commands() {
    let mut world = connected();
    world.kill(N[0]);
    world.get("b");
    world.pass(6000);
    world.get("b");
    world.pass(400);
    fail_over(&mut world);
    world.log();
    world.get("b");
    world.get("b");
    let log = world.log();
    assert!(asked(&log).len() <= 1, "{log:?}");
    assert_eq!(log.last().unwrap(), "#7 v", "{log:?}");
}

#[test]
fn map_is_refreshed_after_a_minute_with_commands() {
    let mut world = connected();
    world.pass(3_600_000);
    assert_eq!(world.log(), [""; 0], "no question without a command");
    fail_over(&mut world);
    world.get("c");
    let log = world.log();
    assert_eq!((asked(&log).len(), log.last().unwrap().as_str()), (1, "#4 nil"));
    world.get("b");
    assert_eq!(world.log().last().unwrap(), "#5 v");
    assert_eq!(world.connected(), [N[1], N[2], "n4:7000"], "a removed node has no connection");
    world.pass(59_000);
    world.get("c");
    assert_eq!(asked(&world.log()), [""; 0]);
    world.pass(1000);
    world.get("c");
    assert_eq!(asked(&world.log()).len(), 1);
}

#[test]
fn removed_node_keeps_connection_while_commands_are_in_flight() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).answers.push_back(String::new());
    world.get("b");
    fail_over(&mut world);
    world.server(N[1]).answers.push_back("-MOVED 7365 n3:7000\r\n".to_owned());
    world.get("c");
    let log = world.log();
    assert_eq!((count(&log, "3 masters"), count(&log, "#5 nil")), (1, 1));
    assert_eq!(world.streams_to(N[0]).len(), 1);
    world.say(N[0], "$-1\r\n");
    assert_eq!((world.outcomes(), world.streams_to(N[0]).len()), (vec!["#4 nil".to_owned()], 0));
}

#[test]
fn failed_map_refresh_keeps_old_map() {
    let mut world = connected();
    world.pass(61_000);
    tell(&mut world, "-ERR x\r\n");
    world.get("b");
    world.get("c");
    assert_eq!(world.outcomes(), ["#4 nil", "#5 nil"]);
    assert_eq!(world.client.next_wake(), None);
}

#[test]
fn restarted_master_is_believed_after_five_seconds() {
    let mut world = connected();
    world.kill(N[0]);
    world.get("b");
    world.server(N[0]).is_down = false;
    world.pass(1000);
    world.get("c");
    assert_eq!(world.outcomes(), ["#4 failed: possibly stale", "#5 nil"], "other nodes are believed");
    world.pass(5000);
    world.get("b");
    assert_eq!(world.outcomes(), ["#6 nil"]);
}

#[test]
fn promoted_node_is_believed_after_five_seconds() {
    let mut world = connected();
    world.pass(1000);
    fail_over(&mut world);
    world.server("n4:7000").answer = "$-1\r\n".to_owned();
    world.kill(N[0]);
    world.get("b");
    world.get("c");
    world.pass(1000);
    let log = world.log();
    assert_eq!(count(&log, "the master is n4:7000"), 1, "{log:?}");
    assert_eq!(count(&log, "#4 failed: possibly stale"), 1, "{log:?}");
    assert_eq!(count(&log, "#5 nil"), 1, "other nodes are believed");
    world.pass(5000);
    world.get("b");
    assert_eq!(world.outcomes(), ["#6 nil"]);
}

#[test]
fn idle_connections_to_nodes_are_closed() {
    let idle_timeout = Duration::from_secs(60);
    let mut world = world_with(&ClientConfig { topology: topology(&["n1"]), idle_timeout, ..config() });
    world.get("b");
    world.get("c");
    world.pass(30_000);
    world.get("c");
    world.pass(30_000);
    assert_eq!(world.connected(), [N[1]]);
    world.pass(30_000);
    assert_eq!((world.connected(), world.client.next_wake()), (vec![], None));
    world.get("b");
    assert_eq!(world.outcomes().last().unwrap(), "#4 nil");
}
