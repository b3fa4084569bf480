"""Tracked sessions with Sentinels and in a Cluster, while servers replace each other and slots move."""

from __future__ import annotations

import time
from functools import partial

from harness.failover import Failover
from harness.load import Load, ask
from harness.topologies import Topology, role
from harness.tracking import in_memory, is_signed_out, sign_in
from harness.waiting import until
from ticket import redis_key


def key_of(browser) -> str:
    key = redis_key(browser.cookie)
    assert key, "the cookie has no ticket"
    return key


class Disturbed(Failover):
    """Two Envoys with two workers each that track the sessions of a few users."""

    def __init__(self, service, topology: Topology, figures: list):
        super().__init__(service, topology, figures, redis_tracking="on", redis_command_timeout="10s")

    def check_calm(self) -> None:
        """After the disturbance, requests hardly ask Redis. A worker does not trust a new master for a moment."""
        until(lambda: self._commands_for_each_request() < 0.25, "requests are served from memory")
        self.note("commands for each request in calm", round(self._commands_for_each_request(), 3))

    def _commands_for_each_request(self) -> float:
        before = self._commands()
        with Load(self.services, [browser.cookie for browser in self.browsers.values()]) as load:
            load.wait_for_answers(300)
        return (self._commands() - before) / sum(load.statuses().values())

    def check_sign_outs(self) -> None:
        """One user signs out, and the session of another is deleted. Both Envoys notice it. The third user stays."""
        signed_out, deleted, stays = self.browsers.values()
        assert ask(f"{self.services[1].url}/oauth2/sign_out", signed_out.cookie) == 200
        key = key_of(deleted)
        assert self.topology.server_of(key).command("DEL", key) == 1
        for running in self.services:
            for browser in (signed_out, deleted):
                with Load([running], [browser.cookie]) as load:
                    # The answers of each worker: from some moment on, all of them are that there is no session.
                    until(lambda: self._are_last(load, 302), "the end of the session is noticed")
            assert ask(f"{running.url}/echo", stays.cookie) == 200

    def _are_last(self, load: Load, status: int, count: int = 40) -> bool:
        began = time.monotonic()
        load.wait_for_answers(count)
        return set(load.statuses(began)) == {status}

    def _commands(self) -> int:
        return sum(running.envoy.counters()["redis.commands"] for running in self.services)


def test_sentinels_replace_the_master_under_load_of_tracked_sessions(service, sentinel, request):
    disturbed = Disturbed(service, sentinel, request.node.user_properties)
    until(sentinel.is_prepared, "a failover can come")
    master = sentinel.master()
    with disturbed.load() as load:
        sentinel.fail_over()
        disturbed.recovered(load, sentinel.wait_for_another_master(master))
        load.wait_for_answers(100)
    disturbed.check_calm()
    disturbed.check_sign_outs()


def test_killed_master_is_replaced_under_load_of_tracked_sessions(service, sentinel, request):
    disturbed = Disturbed(service, sentinel, request.node.user_properties)
    until(sentinel.is_prepared, "a failover can come")
    master = sentinel.master()
    with disturbed.load() as load:
        master.kill()
        disturbed.recovered(load, sentinel.wait_for_another_master(master))
        load.wait_for_answers(100)
    master.start(wait=False)
    disturbed.check_calm()
    disturbed.check_sign_outs()


def test_replica_of_a_cluster_takes_over_under_load_of_tracked_sessions(service, cluster, request):
    until(cluster.is_whole, "the replicas have the data")
    disturbed = Disturbed(service, cluster, request.node.user_properties)
    key = key_of(disturbed.browsers["alice"])
    master = cluster.owner(key)
    with disturbed.load() as load:
        cluster.replica_of(master).command("CLUSTER", "FAILOVER")
        disturbed.recovered(load, cluster.wait_for_another_owner(key, master))
        load.wait_for_answers(100)
    disturbed.check_calm()
    disturbed.check_sign_outs()


def test_slots_move_under_load_of_tracked_sessions(service, cluster, request):
    until(cluster.is_whole, "the replicas have the data")
    disturbed = Disturbed(service, cluster, request.node.user_properties)
    with disturbed.load() as load:
        for browser in disturbed.browsers.values():
            key = key_of(browser)
            source = cluster.owner(key)
            masters = [node for node in cluster.nodes if role(node) == "master"]
            cluster.move_slot(key, next(node for node in masters if node is not source))
            load.wait_for_answers(50)
        assert set(load.statuses()) == {200}, "a request failed while a slot moved"
    disturbed.check_calm()
    disturbed.check_sign_outs()


# ---- in calm ----


def test_deletion_is_noticed_before_and_after_a_failover_of_sentinels(service, sentinel):
    running = service(**sentinel.options, redis_tracking="on", redis_command_timeout="10s", is_shared=False)
    browser, other = sign_in(running), sign_in(running)
    in_memory(running, browser)
    in_memory(running, other)
    master = sentinel.master()
    master.command("DEL", redis_key(browser.cookie))
    until(lambda: is_signed_out(browser), "the deletion is noticed")
    until(sentinel.is_prepared, "a failover can come")
    sentinel.fail_over()
    sentinel.wait_for_another_master(master)
    # A new master is not trusted for a moment.
    in_memory(running, other)
    sentinel.master().command("DEL", redis_key(other.cookie))
    until(lambda: other.get("/echo").status_code != 200, "the deletion is noticed at the new master")


def test_session_of_a_cluster_is_served_from_memory_until_its_node_tells(service, cluster):
    running = service(**cluster.options, redis_tracking="on", is_shared=False)
    browsers = [sign_in(running) for _ in range(6)]
    for browser in browsers:
        in_memory(running, browser)
    assert len({cluster.owner(redis_key(browser.cookie)).port for browser in browsers}) > 1
    for browser in browsers:
        key = redis_key(browser.cookie)
        cluster.owner(key).command("DEL", key)
        until(partial(is_signed_out, browser), "the deletion is noticed")


def test_deletion_after_a_slot_has_moved_is_noticed(service, cluster):
    running = service(**cluster.options, redis_tracking="on", is_shared=False)
    browser = sign_in(running)
    in_memory(running, browser)
    key = redis_key(browser.cookie)
    owner = cluster.owner(key)
    target = next(node for node in cluster.nodes if role(node) == "master" and node is not owner)
    cluster.move_slot(key, target)
    try:
        in_memory(running, browser)
        target.command("DEL", key)
        until(lambda: is_signed_out(browser), "the deletion at the new owner is noticed")
    finally:
        cluster.move_slot(key, owner)


def test_deletion_is_noticed_after_a_slot_was_handed_over_at_once(service, cluster):
    running = service(**cluster.options, redis_tracking="on", is_shared=False)
    browser = sign_in(running)
    in_memory(running, browser)
    key = key_of(browser)
    owner = cluster.owner(key)
    target = next(node for node in cluster.nodes if role(node) == "master" and node is not owner)
    cluster.hand_slot_over(key, target)
    assert target.command("DEL", key) == 1
    until(lambda: is_signed_out(browser), "the deletion at the new owner is noticed")
    assert is_signed_out(browser)
