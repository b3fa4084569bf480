//! The health that the client reports after events.

use std::time::Duration;

use super::cluster;
use super::script::{Script, config};
use super::sentinel;
use crate::redis::{
    Client, ClientConfig, Endpoint, Event, FailoverEvent, Failure, Health, HealthMonitor, Tls,
};
use crate::time::Timestamp;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn endpoint() -> Endpoint {
    Endpoint { host: "redis".to_owned(), port: 6379, tls: Tls::Off }
}

/// How many milliseconds it takes until a refresh may begin.
fn settles_in(redis: &Script) -> u128 {
    redis.client.health(redis.now).settles_in().as_millis()
}

#[test]
fn first_connection_disturbs_nothing() {
    let redis = Script::new();
    assert_eq!(redis.client.health(redis.now), Health::default());
    assert_eq!(settles_in(&Script::connected()), 0);
}

#[test]
fn broken_connection_and_the_next_one_each_disturb_for_three_seconds() {
    let mut redis = Script::connected();
    redis.get("k");
    redis.closed(1);
    redis.outputs();
    assert_eq!(settles_in(&redis), 3000);
    redis.pass(100);
    redis.outputs();
    assert_eq!(settles_in(&redis), 2900);
    redis.connects(2);
    redis.outputs();
    assert_eq!(settles_in(&redis), 3000);
    redis.receives(2, "$-1\r\n");
    redis.outputs();
    redis.pass(2999);
    assert_eq!(settles_in(&redis), 1);
    redis.pass(1);
    assert_eq!(settles_in(&redis), 0);
}

#[test]
fn failed_connection_disturbs() {
    let mut redis = Script::new();
    redis.get("k");
    redis.outputs();
    redis.closed(1);
    redis.outputs();
    assert_eq!(settles_in(&redis), 3000);
}

#[test]
fn idle_connection_that_is_closed_and_made_again_disturbs_nothing() {
    let mut redis =
        Script::connected_with(&ClientConfig { idle_timeout: Duration::from_secs(30), ..config() });
    redis.pass(30_000);
    assert_eq!(redis.outputs(), ["1 close", "idle"]);
    assert_eq!(settles_in(&redis), 0);
    redis.get("k");
    redis.connects(2);
    redis.outputs();
    assert_eq!(settles_in(&redis), 0);
}

/// In a failover, the client connects to each node of a Cluster when it needs it.
#[test]
fn connection_within_a_minute_of_a_disturbance_belongs_to_it() {
    let connected = Event::Connected { endpoint: endpoint() };
    for (secs, expected) in [(59, 3), (60, 0)] {
        let mut monitor = HealthMonitor::default();
        let failure = Failure::Lost;
        monitor.note(&Event::Disconnected { endpoint: endpoint(), failure, in_flight: 0 }, START);
        monitor.note(&connected, START);
        let now = START.after(Duration::from_secs(secs));
        monitor.note(&connected, now);
        assert_eq!(monitor.health(now).settles_in(), Duration::from_secs(expected), "after {secs} s");
    }
    // The connection that replaces a broken one disturbs, however late it is.
    let mut monitor = HealthMonitor::default();
    monitor.note(&Event::ConnectFailed { endpoint: endpoint(), failure: Failure::Lost }, START);
    let now = START.after(Duration::from_secs(3600));
    monitor.note(&connected, now);
    assert_eq!(monitor.health(now).settles_in(), Duration::from_secs(3));
}

#[test]
fn failover_of_another_worker_counts_as_a_disturbance_and_for_missing_keys() {
    for (millis, settles_in, may_lack_data) in
        [(0, 3000, true), (2999, 1, true), (4999, 0, true), (5000, 0, false)]
    {
        let health = Health::default().with_failover(Some(Duration::from_millis(millis)));
        let expected = (Duration::from_millis(settles_in), may_lack_data);
        assert_eq!((health.settles_in(), health.may_lack_data()), expected, "after {millis} ms");
    }
    assert!(!Health::default().may_lack_data());
}

#[test]
fn each_new_master_is_one_failover() {
    let failovers = |client: &Client, now| client.health(now).failovers();
    let mut by_sentinels = sentinel::connected();
    sentinel::fail_over(&mut by_sentinels, &sentinel::S);
    by_sentinels.say(sentinel::S[0], &sentinel::switch("main", "b", "6379"));
    by_sentinels.get("k");
    by_sentinels.pass(50);
    assert_eq!(failovers(&by_sentinels.client, by_sentinels.now), 1);
    assert!(!by_sentinels.client.health(by_sentinels.now).settles_in().is_zero());
    let mut of_nodes = cluster::connected();
    of_nodes.pass(1000);
    cluster::fail_over(&mut of_nodes);
    of_nodes.kill(cluster::N[0]);
    of_nodes.get("b");
    of_nodes.pass(1000);
    assert_eq!(failovers(&of_nodes.client, of_nodes.now), 1);
}

#[test]
fn only_lost_connections_and_new_masters_may_lose_writes() {
    let failure = || Failure::Lost;
    for (event, expected) in [
        (
            Event::Disconnected { endpoint: endpoint(), failure: failure(), in_flight: 0 },
            Some(FailoverEvent::Disconnected),
        ),
        (Event::MasterChanged { endpoint: endpoint() }, Some(FailoverEvent::NewMaster)),
        (Event::ConnectFailed { endpoint: endpoint(), failure: failure() }, None),
        (Event::Connected { endpoint: endpoint() }, None),
        (Event::IdleClosed { endpoint: endpoint() }, None),
        (Event::SlotsChanged { masters: 3 }, None),
    ] {
        assert_eq!(FailoverEvent::of(&event), expected, "{event:?}");
    }
    assert!(FailoverEvent::NewMaster > FailoverEvent::Disconnected);
}
