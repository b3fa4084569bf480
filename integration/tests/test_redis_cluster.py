"""Redis as a Cluster: every key is at the master of its slot, also after the slot has moved."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from harness.authority import Authority
from harness.failover import Failover
from harness.ports import HOST, free_port
from harness.redis import Redis, has_tls, is_6
from harness.service import arrived
from harness.topologies import NODE_TIMEOUT, SLOTS, ClusterTopology, free_cluster_port, node_id, role
from harness.tracking import ASKED, both_ways
from harness.waiting import attempt, until
from ticket import redis_key

HAS_SHARDS = not is_6()


@pytest.fixture
def failover(service, cluster, request, redis_tracking):
    until(cluster.is_whole, "the replicas have the data")
    return Failover(service, cluster, request.node.user_properties, redis_tracking=redis_tracking)


def key_of(failover: Failover, person: str) -> str:
    key = redis_key(failover.browsers[person].cookie)
    assert key, "the cookie has no ticket"
    return key


def connected_to(running) -> set[str]:
    lines = running.envoy.says("Redis: connected to ")
    return {line.rpartition("Redis: connected to ")[2].split()[0] for line in lines}


def test_sessions_are_spread_over_the_masters(service, cluster):
    running = service(**cluster.options)
    owners = set()
    for _ in range(12):
        browser = running.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        key = redis_key(browser.cookie)
        owner = cluster.owner(key)
        assert owner.command("EXISTS", key) == 1
        owners.add(owner.port)
        browser.get("/oauth2/sign_out")
        assert owner.command("EXISTS", key) == 0
    assert len(owners) > 1
    assert running.browser().get("/ready").status_code == 200


def test_every_command_goes_to_the_owner_of_its_key(service, cluster):
    """The whole life of a session, including refresh and lock; no command has two keys.

    Each request asks Redis, because the test looks at single commands."""
    masters = [node for node in cluster.nodes if role(node) == "master"]
    running = service(**cluster.options, cookie_refresh="2s", redis_tracking=ASKED, is_shared=False)
    browser = running.browser()
    with contextlib.ExitStack() as stack:
        monitors = {node: stack.enter_context(node.monitor()) for node in masters}
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        key = redis_key(browser.cookie)
        time.sleep(2.2)
        assert browser.get("/echo").status_code == 200
        assert browser.get("/oauth2/sign_out").status_code == 200
        commands = {node: monitor.commands() for node, monitor in monitors.items()}
    seen, maps = set(), set()
    for node, words in ((node, words) for node, several in commands.items() for words in several):
        name = words[0].upper()
        seen.add(name)
        if name == "CLUSTER":
            maps.add(words[1].upper())
        if name in ("CLIENT", "CLUSTER", "PING", "LUA"):
            continue
        about = words[3] if name == "EVAL" else words[1]
        assert about in (key, f"{key}.lock"), words[:2]
        assert cluster.owner(about) is node, f"{name} {about} at a node without its slot"
    hidden = set() if HAS_SHARDS else {"CLIENT", "CLUSTER"}  # by the MONITOR of 6.2
    assert seen == {"CLIENT", "CLUSTER", "PING", "SETEX", "GET", "SET", "EVAL", "DEL", "LUA"} - hidden
    assert maps == ({"SHARDS"} if HAS_SHARDS else set())


def test_node_that_refuses_shards_is_asked_for_slots(service):
    """An ACL makes it refuse. A Redis before 7.0 needs none: it does not know the command."""
    acl: dict[str, Any] = {"user": "default on nopass ~* &* +@all -cluster|shards"} if HAS_SHARDS else {}
    node = Redis(port=free_cluster_port(), cluster_enabled="yes", **acl)
    try:
        node.command("CLUSTER", "ADDSLOTS", *range(SLOTS))
        until(lambda: b"cluster_state:ok" in node.command("CLUSTER", "INFO"), "the cluster is ok")
        running = service(
            session_store_type="redis",
            redis_use_cluster=True,
            is_shared=False,
            redis_cluster_connection_urls=[node.url],
        )
        with node.monitor() as monitor:
            assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
            asked = [words[1].upper() for words in monitor.commands() if words[0].upper() == "CLUSTER"]
        # MONITOR does not show commands that an ACL denies; in 6.2 it shows no administrative ones.
        assert asked == (["SLOTS"] if HAS_SHARDS else [])
        statistics = node.command("INFO", "commandstats").decode()
        assert (
            not HAS_SHARDS or "cmdstat_cluster|shards:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1" in statistics
        )
    finally:
        node.close()


def test_announced_addresses_of_nodes_are_used(service):
    """Under a name and other ports, as with address translation, in the map and in redirects."""
    names: dict[str, Any] = {"cluster_announce_hostname": "localhost", "cluster_preferred_endpoint_type": "hostname"}
    host = "localhost" if HAS_SHARDS else HOST  # 6.2 has no names yet
    topology = ClusterTopology(has_replicas=False, are_relayed=True, **(names if HAS_SHARDS else {}))
    try:
        running = service(**topology.options, is_shared=False)
        browsers = [running.browser() for _ in range(24)]
        for browser in browsers:
            assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        announced = {f"{host}:{node.announced_port}" for node in topology.nodes}
        assert connected_to(running) == announced
        key = redis_key(browsers[0].cookie)
        assert key, "the cookie has no ticket"
        source = topology.owner(key)
        target = next(node for node in topology.nodes if node is not source)
        topology.move_slot(key, target)
        assert browsers[0].get("/echo").status_code == 200
        assert target.command("EXISTS", key) == 1
        assert connected_to(running) == announced
    finally:
        topology.close()


@pytest.mark.skipif(not has_tls(), reason="this redis-server is built without TLS, and a relay is no node of a cluster")
def test_cluster_with_tls_keeps_sessions(service, tmp_path):
    authority, stranger = Authority.make(tmp_path / "right"), Authority.make(tmp_path / "wrong")
    topology = ClusterTopology(certificate=authority.issue(HOST), ca=authority.file)
    try:
        urls = [f"rediss://{HOST}:{node.tls_port}" for node in topology.nodes[:3]]
        options = {**topology.options, "redis_cluster_connection_urls": urls}
        running = service(**options, ca=authority.file, is_shared=False)
        for _ in range(6):
            assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        other = service(**options, ca=stranger.file, is_shared=False, redis_command_timeout="500ms")
        assert other.browser().get("/ready").status_code == 503
    finally:
        topology.close()


def test_worker_has_at_most_one_connection_to_a_master(service, cluster):
    before = [len(node.clients()) for node in cluster.nodes]
    running = service(**cluster.options, is_shared=False)
    for _ in range(24):
        running.browser().sign_in("alice")
    ours = [len(node.clients()) - others for node, others in zip(cluster.nodes, before)]
    assert sum(ours) == 3 and max(ours) == 1, ours


def test_missing_seeds_are_skipped(service, cluster):
    urls = [f"redis://{HOST}:{free_port()}", cluster.nodes[-1].url]
    browser = service(**{**cluster.options, "redis_cluster_connection_urls": urls}).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_node_as_single_server_is_unready_and_logs_the_option(service, cluster):
    """Otherwise two of three sessions would be a 503."""
    running = service(session_store_type="redis", redis_connection_url=cluster.nodes[0].url)
    browser = running.browser()
    # By chance, all keys that it tries may belong to this node.
    until(lambda: browser.get("/ready").status_code == 503, "it is not ready")
    assert running.envoy.says("with MOVED: the server is a node of a Cluster, set redis_use_cluster")


# ---- faults ----


@both_ways
def test_killed_master_is_replaced(failover, cluster):
    key = key_of(failover, "alice")
    master = cluster.owner(key)
    with failover.load(("alice",)) as load:
        master.kill()
        failover.recovered(load, cluster.wait_for_another_owner(key, master))
        time.sleep(1)
        master.start(wait=False)
        until(lambda: attempt(lambda: role(master)) == "slave", "the old master is a replica")
        load.wait_for_answers(100)
    until(cluster.is_ok, "the cluster is ok")


def test_hanging_master_is_replaced(failover, cluster):
    key = key_of(failover, "alice")
    master = cluster.owner(key)
    with failover.load(("alice",)) as load:
        master.pause()
        try:
            failover.recovered(load, cluster.wait_for_another_owner(key, master))
            load.wait_for_answers(100)
        finally:
            master.resume()
        until(lambda: attempt(lambda: role(master)) == "slave", "the old master is a replica")
        load.wait_for_answers(100)
    until(cluster.is_ok, "the cluster is ok")


def test_planned_failover_is_followed(failover, cluster):
    key = key_of(failover, "alice")
    master = cluster.owner(key)
    with failover.load(("alice",)) as load:
        cluster.replica_of(master).command("CLUSTER", "FAILOVER")
        failover.recovered(load, cluster.wait_for_another_owner(key, master))
        load.wait_for_answers(100)


@both_ways
def test_slot_moves_while_in_use_without_a_failed_request(failover, cluster):
    key = key_of(failover, "alice")
    source = cluster.owner(key)
    target = next(node for node in cluster.nodes if role(node) == "master" and node is not source)
    with failover.load(("alice",)) as load:
        cluster.move_slot(key, target)
        load.wait_for_answers(100)
        assert set(load.statuses()) == {200}, "a request failed while the slot moved"
    assert cluster.owner(key) is target
    assert target.command("EXISTS", key) == 1


def test_node_is_added_and_removed_without_a_failed_request(failover, cluster):
    key = key_of(failover, "alice")
    source = cluster.owner(key)
    node = Redis(port=free_cluster_port(), keep=True, cluster_enabled="yes", cluster_node_timeout=NODE_TIMEOUT)
    try:
        node.command("CLUSTER", "MEET", HOST, cluster.nodes[0].port)
        cluster.nodes.append(node)
        until(
            lambda: all(len(one.command("CLUSTER", "NODES").splitlines()) == 7 for one in cluster.nodes), "it is known"
        )
        until(cluster.is_ok, "the cluster is ok")
        with failover.load(("alice",)) as load:
            cluster.move_slot(key, node)
            load.wait_for_answers(100)
            cluster.move_slot(key, source)
            load.wait_for_answers(100)
            cluster.nodes.remove(node)
            for other in cluster.nodes:
                other.command("CLUSTER", "FORGET", node_id(node))
            node.kill()
            load.wait_for_answers(100)
            assert set(load.statuses()) == {200}
    finally:
        if node in cluster.nodes:
            cluster.nodes.remove(node)
        node.close()


def test_cluster_without_quorum_is_503_and_recovers(failover, cluster):
    masters = [node for node in cluster.nodes if role(node) == "master"]
    with failover.load() as load:
        for node in cluster.nodes:
            if node is not masters[0]:
                node.pause()
        try:
            time.sleep(4 * NODE_TIMEOUT / 1000)
        finally:
            for node in cluster.nodes:
                node.resume()
        until(cluster.is_ok, "the cluster is ok")
        failover.recovered(load, time.monotonic())
    assert load.statuses()[503] > 0
