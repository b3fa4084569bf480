//! Errors that redirect a command to another node.

use super::{N, asked, connected, count, slots, tell};
use crate::redis::Command;
use crate::redis::tests::world::bulk;

#[test]
fn moved_slot_is_followed_and_remembered() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).answers.push_back("-MOVED 3300 n4:7000\r\n".to_owned());
    let moved = slots(&[(0, 3299, "n1"), (3300, 3300, "n4"), (3301, 10922, "n2"), (10923, 16383, "n3")]);
    tell(&mut world, &moved);
    world.server("n4:7000").answer = "+OK\r\n".to_owned();
    world.lock("b");
    let log = world.log();
    let writes: Vec<_> = log.iter().filter(|line| line.contains("SET b")).collect();
    assert_eq!(writes, ["n1:7000 SET b me NX PX 5000", "n4:7000 SET b me NX PX 5000"]);
    assert_eq!((asked(&log).len(), count(&log, "4 masters")), (1, 1), "one new map");
    world.server("n4:7000").answer = bulk("v");
    world.get("b");
    assert_eq!(world.log(), ["n4:7000 GET b", "#5 v"]);
}

#[test]
fn many_moved_slots_cause_one_map_refresh() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).answer = "-MOVED 3300 n2:7000\r\n".to_owned();
    for _ in 0..100 {
        world.client.send(Command::get(b"b"), world.now);
    }
    world.get("b");
    let log = world.log();
    assert_eq!((asked(&log).len(), count(&log, "nil")), (1, 101));
    // That map was still the old one. The next is not asked for within a quarter of a second.
    world.get("b");
    world.pass(200);
    assert_eq!(asked(&world.log()), [""; 0]);
    world.pass(50);
    world.get("b");
    assert_eq!(asked(&world.log()).len(), 1);
}

#[test]
fn ask_redirect_is_followed_only_once() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).answers.push_back("-ASK 3300 n2:7000\r\n".to_owned());
    world.client.send(Command::get(b"b"), world.now);
    world.get("c");
    let log = world.log();
    let at = log.iter().position(|line| line == "n2:7000 ASKING").unwrap();
    assert_eq!(log[at + 1], "n2:7000 GET b");
    assert_eq!((count(&log, "#4 nil"), count(&log, "#5 nil"), asked(&log).len()), (1, 1, 0));
    world.get("b");
    assert_eq!(world.log(), ["n1:7000 GET b", "#6 nil"], "the slot has not moved");
}

#[test]
fn asking_is_repeated_after_break() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[1]).is_hung = true;
    world.server(N[0]).answers.push_back("-ASK 3300 n2:7000\r\n".to_owned());
    world.get("b");
    world.server(N[1]).is_hung = false;
    world.log();
    world.hang_up(N[1]);
    world.server(N[1]).answer = "$1\r\nv\r\n".to_owned();
    world.pass(100);
    let log = world.log();
    let at = log.iter().position(|line| line == "n2:7000 ASKING").unwrap();
    assert_eq!(log[at + 1..=at + 2], ["n2:7000 GET b", "#4 v"]);
}

/// Otherwise the log would say that the node belongs to a Cluster, which is known.
#[test]
fn denied_asking_is_the_reply() {
    let mut world = connected();
    world.pass(1000);
    world.server(N[0]).answers.push_back("-ASK 3300 n2:7000\r\n".to_owned());
    world.server(N[1]).asking =
        "-NOPERM User u has no permissions to run the 'asking' command\r\n".to_owned();
    world.server(N[1]).answers.push_back("-MOVED 3300 n1:7000\r\n".to_owned());
    world.get("b");
    assert_eq!(world.outcomes(), ["#4 -NOPERM User u has no permissions to run the 'asking' command"]);
    // A node that loads its data says so to both, and the command waits.
    world.server(N[0]).answers.push_back("-ASK 3300 n2:7000\r\n".to_owned());
    world.server(N[1]).asking = "-LOADING x\r\n".to_owned();
    world.server(N[1]).answers.push_back("-LOADING x\r\n".to_owned());
    world.get("b");
    world.pass(1000);
    assert_eq!(world.outcomes(), ["#5 nil"]);
}

#[test]
fn endless_redirects_end_with_an_error() {
    for kind in ["MOVED", "ASK"] {
        let mut world = connected();
        world.server(N[0]).answer = format!("-{kind} 3300 n2:7000\r\n");
        world.server(N[1]).answer = format!("-{kind} 3300 n1:7000\r\n");
        world.get("b");
        let log = world.log();
        assert_eq!(count(&log, "GET b"), 6, "{log:?}");
        assert_eq!(count(&log, &format!("#4 -{kind} 3300 n")), 1);
        // A node that redirects to itself.
        world.server(N[2]).answer = format!("-{kind} 15495 n3:7000\r\n");
        world.get("a");
        let log = world.log();
        assert_eq!((count(&log, "GET a"), count(&log, &format!("#5 -{kind}"))), (6, 1));
    }
}

#[test]
fn invalid_redirect_is_a_reply() {
    for error in ["MOVED 3300 n2\r\n", "MOVED x n2:7000\r\n", "ASK 3300 a b:1\r\n", "MOVED 99999 n2:7000\r\n"]
    {
        let mut world = connected();
        world.server(N[0]).answer = format!("-{error}");
        world.get("b");
        assert_eq!(world.outcomes(), [format!("#4 -{}", error.trim_end())]);
    }
}

#[test]
fn other_errors_are_replies() {
    let mut world = connected();
    for error in ["ERR x", "WRONGTYPE x", "NOAUTH x", "NOPERM x", "CROSSSLOT x"] {
        world.server(N[0]).answers.push_back(format!("-{error}\r\n"));
        let id = world.get("b").0;
        assert_eq!(world.outcomes(), [format!("#{id} -{error}")]);
    }
}

#[test]
fn cancelled_command_is_not_redirected() {
    let mut world = connected();
    world.server(N[0]).is_hung = true;
    let id = world.get("b");
    world.client.cancel(id);
    world.log();
    world.say(N[0], "-MOVED 3300 n2:7000\r\n");
    assert_eq!(world.log(), [""; 0]);
}
