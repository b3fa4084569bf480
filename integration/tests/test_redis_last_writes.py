"""Sign-ins, refreshes and sign-outs while another master takes over: Redis loses such writes, and the filter repeats
them."""

from __future__ import annotations

import time
from typing import Any

from harness.load import ask
from harness.service import arrived
from harness.topologies import SentinelTopology
from harness.tracking import both_ways
from harness.users import Users
from harness.waiting import until
from ticket import redis_key

# Seconds after a failover in which a missing session is not treated as gone.
DOUBT = 5


def two(service, topology, **options: Any) -> list:
    return [service(**{**topology.options, "concurrency": 2, "is_shared": False, **options}) for _ in range(2)]


def come_and_go(services, request, fail_over) -> None:
    with Users(services) as users:
        users.wait_for(10)
        fail_over()
        users.wait_for(30)
        time.sleep(3)
    # So that every worker knows of the failover before the wait below begins.
    users.answers(users.present)
    time.sleep(DOUBT)
    record = request.node.user_properties.append
    record(("signed in", len(users.present)))
    record(("signed out", len(users.gone)))
    record(("refused meanwhile", dict(+users.refused)))
    assert users.refused[200] == 0
    assert set(users.answers(users.present)) == {200}
    assert set(users.answers(users.gone)) == {302}


@both_ways
def test_planned_sentinel_failover_keeps_sign_ins_and_sign_outs(service, sentinel, request, redis_tracking):
    """The old master accepts writes for a second or two after the promotion, and these are lost."""
    until(sentinel.is_prepared, "a failover can come")
    master = sentinel.master()

    def fail_over() -> None:
        sentinel.fail_over()
        sentinel.wait_for_another_master(master)

    come_and_go(two(service, sentinel, redis_tracking=redis_tracking), request, fail_over)


def test_forced_cluster_takeover_keeps_sign_ins_and_sign_outs(service, cluster, request):
    """Without the agreement of the others: Redis loses what the old master is told until it knows of the new one."""
    replica = cluster.replica_of(cluster.nodes[0])

    def fail_over() -> None:
        replica.command("CLUSTER", "FAILOVER", "TAKEOVER")

    come_and_go(two(service, cluster), request, fail_over)


def test_refresh_before_a_failover_survives_without_further_requests(service):
    """Its refresh token is used up: with the older session of a replica, the next refresh would fail and end it."""
    topology = SentinelTopology()
    try:
        one, other = two(service, topology, cookie_refresh="2s")
        browser = one.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        cookie, key = browser.cookie, redis_key(browser.cookie)
        until(topology.is_prepared, "the replicas have the session")
        master, *replicas = topology.nodes
        until(lambda: topology.master() is master, "it is the master")
        before = master.command("GET", key)
        # From now on the replicas get no more writes, and the Sentinels still accept them.
        for replica in replicas:
            replica.command("REPLICAOF", "NO", "ONE")
        time.sleep(2.1)
        assert ask(f"{one.url}/echo", cookie) == 200
        until(lambda: master.command("GET", key) != before, "the session was refreshed", seconds=30)
        assert all(replica.command("GET", key) == before for replica in replicas), (
            "a replica has the refreshed session, so this tests nothing"
        )
        master.kill()
        topology.wait_for_another_master(master)
        time.sleep(DOUBT)
        assert ask(f"{other.url}/echo", cookie) == 200
    finally:
        topology.close()
