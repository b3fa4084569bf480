//! A password that changes while connections are open.

use super::cluster;
use super::script::{Script, config, credentials};
use super::sentinel;
use crate::redis::{ClientConfig, Credentials, Servers};

fn new_password() -> Credentials {
    Credentials { username: Some("alice".to_owned()), password: "new".to_owned() }
}

fn change(redis: &mut Script) {
    let now = redis.now;
    redis.client.set_credentials(Servers::Data, &new_password(), now);
}

#[test]
fn open_connection_authenticates_before_the_next_command() {
    let mut redis = Script::connected();
    change(&mut redis);
    redis.get("k");
    assert_eq!(redis.outputs(), ["1 write AUTH alice new", "1 write GET k"]);
    redis.receives(1, "+OK\r\n$1\r\nv\r\n");
    assert_eq!(redis.outputs(), ["#2 v"]);
}

#[test]
fn refused_password_leaves_the_connection_as_it_is() {
    let mut redis = Script::connected();
    redis.get("before");
    redis.outputs();
    change(&mut redis);
    redis.get("k");
    redis.outputs();
    redis.receives(1, "$1\r\na\r\n-WRONGPASS invalid\r\n$1\r\nb\r\n");
    assert_eq!(redis.outputs(), ["#2 a", "password refused: WRONGPASS", "#3 b"]);
}

#[test]
fn next_connection_begins_with_the_new_password() {
    let mut redis = Script::with(&ClientConfig { credentials: credentials(None), database: 3, ..config() });
    change(&mut redis);
    redis.get("k");
    redis.opened(1);
    assert_eq!(
        redis.outputs(),
        ["1 open redis:6379", "1 write AUTH alice new; SELECT 3; CLIENT SETNAME test"]
    );
}

#[test]
fn stream_that_breaks_before_the_reply_does_not_authenticate_twice() {
    let mut redis = Script::connected();
    change(&mut redis);
    redis.get("k");
    redis.outputs();
    redis.closed(1);
    redis.pass(100);
    redis.opened(2);
    let outputs = redis.outputs();
    assert_eq!(outputs.last().unwrap(), "2 write AUTH alice new; CLIENT SETNAME test", "{outputs:?}");
    redis.receives(2, "+OK\r\n+OK\r\n");
    assert_eq!(redis.outputs(), ["connected", "2 write GET k"]);
}

#[test]
fn handshake_under_way_ends_with_the_password_it_began_with() {
    let mut redis = Script::with(&ClientConfig { database: 3, ..config() });
    redis.get("k");
    redis.opened(1);
    redis.outputs();
    change(&mut redis);
    redis.receives(1, "+OK\r\n+OK\r\n");
    assert_eq!(redis.outputs(), ["connected", "1 write GET k"]);
}

#[test]
fn refused_connection_is_tried_again_at_once_with_the_new_password() {
    let mut redis = Script::with(&config());
    change(&mut redis);
    redis.get("k");
    redis.opened(1);
    redis.outputs();
    redis.receives(1, "-WRONGPASS invalid\r\n");
    assert_eq!(redis.outputs(), ["1 close", "not connected: refused (AUTH: WRONGPASS)"], "the command waits");
    change(&mut redis);
    assert_eq!(redis.outputs(), ["2 open redis:6379"]);
    redis.opened(2);
    assert_eq!(redis.outputs(), ["2 write AUTH alice new; CLIENT SETNAME test"]);
}

#[test]
fn subscription_to_a_sentinel_begins_anew_with_the_new_password() {
    let mut world = sentinel::connected_with_passwords();
    world.set_credentials(Servers::Sentinels, &new_password());
    world.get("k");
    let expected = [
        "s1:26379 AUTH alice new",
        "s1:26379 CLIENT SETNAME test",
        "s1:26379 SENTINEL get-master-addr-by-name main",
        "s1:26379 SUBSCRIBE +switch-master",
        "s1:26379 SUBSCRIBE +promoted-slave",
        "a:6379 GET k",
        "#2 nil",
    ];
    let mut log = world.log();
    log.sort_by_key(|line| !line.starts_with('s'));
    assert_eq!(log, expected);
    assert_eq!(world.connected(), ["a:6379", sentinel::S[0]]);
}

#[test]
fn refused_password_of_sentinels_leaves_the_master_as_it_is() {
    let mut world = sentinel::connected_with_passwords();
    for name in sentinel::S {
        world.server(name).password = Some("hunter2");
    }
    world.set_credentials(Servers::Sentinels, &new_password());
    for id in 2..30 {
        world.get("k");
        assert_eq!(world.outcomes(), [format!("#{id} nil")]);
        world.pass(100);
    }
    for name in sentinel::S {
        world.server(name).password = Some("new");
    }
    world.pass(1_000);
    world.get("k");
    assert_eq!(world.connected().len(), 2, "there is a subscription again: {:?}", world.connected());
}

#[test]
fn commands_wait_for_a_new_password_if_the_lookup_is_refused() {
    let sentinels = (sentinel::world(), sentinel::S, Servers::Sentinels);
    let nodes = (cluster::world(), cluster::N, Servers::Data);
    for (mut world, asked, servers) in [sentinels, nodes] {
        for name in asked {
            world.server(name).password = Some("new");
        }
        world.set_credentials(servers, &credentials(None).unwrap());
        world.get("k");
        world.pass(200);
        let log = world.log();
        assert!(log.iter().any(|line| line.contains("lookup failed: refused (AUTH: WRONGPASS")), "{log:?}");
        assert!(!log.iter().any(|line| line.starts_with('#')), "the command waits: {log:?}");
        world.set_credentials(servers, &new_password());
        world.pass(0);
        assert_eq!(world.outcomes(), ["#1 nil"]);
    }
}

#[test]
fn lookup_that_is_refused_for_a_fixed_password_fails_commands_at_once() {
    let sentinels = sentinel::world_with_passwords();
    let nodes = cluster::world_with_password();
    for (mut world, asked) in [(sentinels, sentinel::S), (nodes, cluster::N)] {
        for name in asked {
            world.server(name).password = Some("new");
        }
        world.get("k");
        let outcomes = world.outcomes();
        assert!(matches!(outcomes.as_slice(), [failed] if failed.starts_with("#1 failed")), "{outcomes:?}");
    }
}

#[test]
fn master_of_sentinels_and_nodes_of_a_cluster_authenticate_anew() {
    for (mut world, connections) in [(sentinel::connected(), 1), (cluster::connected(), 3)] {
        let now = world.now;
        world.client.set_credentials(Servers::Data, &new_password(), now);
        world.get("a");
        let log = world.log();
        assert!(log.iter().any(|line| line.starts_with('#') && line.ends_with("nil")), "{log:?}");
        let said = log.iter().filter(|line| line.ends_with("AUTH alice new")).count();
        assert_eq!(said, connections, "{log:?}");
    }
}
