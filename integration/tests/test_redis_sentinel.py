"""Redis with Sentinel: the filter follows the master, and no user is signed out on the way."""

from __future__ import annotations

import time

import pytest

from harness.authority import Authority
from harness.failover import Failover
from harness.ports import HOST, free_port
from harness.redis import Redis, has_tls, is_6
from harness.sentinel import DOWN_AFTER, MASTER_NAME, Sentinel
from harness.service import arrived
from harness.topologies import SentinelTopology, is_synchronized, named_port, role
from harness.tracking import ASKED, both_ways
from harness.waiting import attempt, until


@pytest.fixture
def failover(service, sentinel, request, redis_tracking):
    return Failover(service, sentinel, request.node.user_properties, redis_tracking=redis_tracking)


def until_whole(sentinel: SentinelTopology) -> None:
    """Waits until there is one master with two replicas again, also for the sentinels."""
    master = sentinel.master()
    until(
        lambda: all(node is master or attempt(lambda: is_synchronized(node)) for node in sentinel.nodes),
        "the others are replicas",
    )
    until(lambda: all(flags(one) == b"master" for one in sentinel.sentinels), "the failover is over")
    until(sentinel.is_prepared, "another one can come")


def connected_to(running) -> set[str]:
    lines = running.envoy.says("Redis: connected to ")
    return {line.rpartition("Redis: connected to ")[2].split()[0] for line in lines}


def connections(sentinel: SentinelTopology) -> int:
    """Connections of all Envoys to nodes and sentinels."""
    servers: list[Redis | Sentinel] = [*sentinel.nodes, *sentinel.sentinels]
    listed = [one.command("CLIENT", "LIST").decode() for one in servers]
    return sum(text.count(" name=oauth2-session-filter ") for text in listed)


def flags(sentinel) -> bytes | None:
    words = attempt(lambda: sentinel.command("SENTINEL", "master", MASTER_NAME))
    return dict(zip(words[::2], words[1::2]))[b"flags"] if words else None


def test_session_is_stored_at_the_master(service, sentinel):
    running = service(**sentinel.options)
    browser = running.browser()
    with sentinel.master().monitor() as monitor:
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        commands = [words[0].upper() for words in monitor.commands()]
    assert "SETEX" in commands and "GET" in commands
    assert browser.get("/ready").status_code == 200
    browser.get("/oauth2/sign_out")
    assert browser.get("/echo").status_code == 302


def test_master_gets_only_the_expected_commands(service, sentinel):
    """The commands of a session with a refresh and a sign-out, without those of sentinels and replicas.

    Each request asks Redis, because the test looks at single commands."""
    running = service(**sentinel.options, cookie_refresh="2s", redis_tracking=ASKED, is_shared=False)
    browser = running.browser()
    with sentinel.master().monitor() as monitor:
        browser.sign_in("alice", "/echo")
        time.sleep(2.2)
        assert browser.get("/echo").status_code == 200
        assert browser.get("/oauth2/sign_out").status_code == 200
        names = [words[0].upper() for words in monitor.commands()]
    theirs = ("PING", "INFO", "PUBLISH", "REPLCONF", "LUA")
    assert [name for name in names if name not in theirs] == [
        *([] if is_6() else ["CLIENT"]),
        "ROLE",
        "SETEX",
        "GET",  # the sign-in, and the page that it led to
        "GET",
        "SET",
        "GET",
        "SET",  # if the session is still there
        "EVAL",  # the refresh, under its lock
        "SET",
        "GET",
        "DEL",
        "SETEX",  # the sign-out; its lock tells others that the session has ended
    ]


@pytest.mark.skipif(not has_tls(), reason="this redis-server is built without TLS, and so are its sentinels")
def test_sentinels_and_servers_with_tls_keep_sessions(service, tmp_path):
    authority, stranger = Authority.make(tmp_path / "right"), Authority.make(tmp_path / "wrong")
    topology = SentinelTopology(certificate=authority.issue(HOST), ca=authority.file)
    try:
        running = service(**topology.options, ca=authority.file, is_shared=False)
        browser = running.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        master = topology.master()
        topology.fail_over()
        topology.wait_for_another_master(master)
        until(lambda: browser.get("/echo").status_code == 200, "the new master is followed", seconds=30)
        other = service(**topology.options, ca=stranger.file, is_shared=False, redis_command_timeout="500ms")
        assert other.browser().get("/ready").status_code == 503
    finally:
        topology.close()


def test_worker_has_one_connection_each_to_master_and_sentinel(service, sentinel):
    before = connections(sentinel)
    browser = service(**sentinel.options, is_shared=False).browser()
    browser.sign_in("alice")
    for _ in range(20):
        assert browser.get("/echo").status_code == 200
    assert connections(sentinel) - before == 2


def test_database_of_the_url_is_used(service, sentinel):
    urls = [f"{url}/3" for url in sentinel.options["redis_sentinel_connection_urls"]]
    running = service(**{**sentinel.options, "redis_sentinel_connection_urls": urls})
    before = set(sentinel.master().keys(database=3))
    running.browser().sign_in("alice")
    assert len(set(sentinel.master().keys(database=3)) - before) == 1


# ---- faults ----


@both_ways
def test_killed_master_is_replaced_and_returns_as_a_replica(failover, sentinel):
    master = sentinel.master()
    with failover.load() as load:
        master.kill()
        failover.recovered(load, sentinel.wait_for_another_master(master))
        time.sleep(1)
        master.start(wait=False)
        until(lambda: attempt(lambda: role(master)) == "slave", "the old master is a replica")
        load.wait_for_answers(100)
    until_whole(sentinel)


def test_hanging_master_is_replaced(failover, sentinel):
    master = sentinel.master()
    with failover.load() as load:
        master.pause()
        try:
            failover.recovered(load, sentinel.wait_for_another_master(master))
            load.wait_for_answers(100)
        finally:
            master.resume()
        # It takes itself for the master until a sentinel demotes it.
        load.wait_for_answers(100)
    until_whole(sentinel)


def test_planned_failover_is_followed(failover, sentinel):
    until_whole(sentinel)
    master = sentinel.master()
    with failover.load() as load:
        sentinel.fail_over()
        failover.recovered(load, sentinel.wait_for_another_master(master))
        load.wait_for_answers(100)
    until_whole(sentinel)


def test_failover_after_restarts_of_all_sentinels_is_followed(failover, sentinel):
    until_whole(sentinel)
    master = sentinel.master()
    with failover.load() as load:
        for one in sentinel.sentinels:
            one.restart()
            load.wait_for_answers(50)
        assert set(load.statuses()) == {200}, "a request failed without a failover"
        until_whole(sentinel)
        sentinel.fail_over()
        failover.recovered(load, sentinel.wait_for_another_master(master))
    until_whole(sentinel)


def test_sentinels_that_are_all_away_fail_no_request(failover, sentinel):
    until_whole(sentinel)
    with failover.load() as load:
        load.wait_for_answers(100)  # all workers have their connection
        for one in sentinel.sentinels:
            one.pause()
        try:
            load.wait_for_answers(300)
        finally:
            for one in sentinel.sentinels:
                one.resume()
    assert set(load.statuses()) == {200}


def test_master_that_returns_empty_signs_no_user_out(service, assert_outage):
    """It calls itself master, and the sentinels name it until another one is promoted; only that one has the data."""
    topology = SentinelTopology()
    try:
        browser = service(**topology.options, is_shared=False).browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        cookie = browser.cookie
        until(topology.is_prepared, "the replicas have the session")
        master, *replicas = topology.nodes
        # Holds the moment before the promotion, to look at it.
        topology.set_patience(60_000)
        for replica in replicas:
            replica.pause()
        try:
            master.kill()
            assert_outage(browser)
            master.forget()
            master.start()
            statuses = set()
            with master.monitor() as monitor:

                def has_asked() -> bool:
                    statuses.add(browser.get("/echo").status_code)
                    return any(words[0].upper() == "GET" for words in monitor.commands())

                until(has_asked, "it is asked for the session")
            assert master.keys() == [], "the restarted master has sessions, so this tests nothing"
            assert statuses == {503} and browser.cookie == cookie
            master.kill()
        finally:
            for replica in replicas:
                replica.resume()
        topology.set_patience(DOWN_AFTER)
        topology.wait_for_another_master(master)
        until(lambda: browser.get("/echo").status_code == 200, "the new master is followed", seconds=30)
        assert browser.cookie == cookie
    finally:
        topology.close()


def test_sentinel_that_names_the_old_master_is_skipped(service, sentinel):
    until_whole(sentinel)
    master = sentinel.master()
    for node in sentinel.nodes:
        # Without the channel on which sentinels tell each other of a failover, and without the command by which this
        # sentinel would make the new master a replica of the old one again, after 8 seconds.
        node.command(
            "ACL", "SETUSER", "stray", "on", ">stray", "~*", "+@all", "-slaveof", "-replicaof", "resetchannels"
        )
    stray = Sentinel(named_port(master), quorum=4, user="stray")
    try:
        sentinel.fail_over()
        sentinel.wait_for_another_master(master)
        until_whole(sentinel)
        urls = [f"redis://{HOST}:{stray.port}", *sentinel.options["redis_sentinel_connection_urls"]]
        running = service(**{**sentinel.options, "redis_sentinel_connection_urls": urls}, is_shared=False)
        assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        assert stray.master_port() == named_port(master), "the sentinel that was cut off names the new master"
        refuted = running.envoy.says(f"no connection to {HOST}:{named_port(master)}: the server is not the master")
        assert refuted, "the sentinel that was cut off was not asked"
    finally:
        stray.close()


def test_announced_addresses_of_servers_are_used(service):
    """Under a name and other ports, as with address translation, before and after a failover."""
    topology = SentinelTopology(host="localhost", are_relayed=True)
    try:
        running = service(**topology.options, is_shared=False)
        browser = running.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        masters = [topology.master()]
        assert connected_to(running) == {f"localhost:{masters[0].announced_port}"}
        until(topology.is_prepared, "the replicas have the session")
        topology.fail_over()
        topology.wait_for_another_master(masters[0])
        masters.append(topology.master())
        announced = {f"localhost:{master.announced_port}" for master in masters}
        until(
            lambda: browser.get("/echo").status_code == 200 and connected_to(running) == announced,
            "the new master is followed",
            seconds=30,
        )
    finally:
        topology.close()


def test_missing_sentinels_are_skipped(service, sentinel):
    urls = [f"redis://{HOST}:{free_port()}", *sentinel.options["redis_sentinel_connection_urls"]]
    browser = service(**{**sentinel.options, "redis_sentinel_connection_urls": urls}).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_unknown_master_name_is_503(service, sentinel):
    running = service(
        **{**sentinel.options, "redis_sentinel_master_name": "no-such-master"}, redis_command_timeout="500ms"
    )
    assert running.browser().get("/ready").status_code == 503


def test_host_names_instead_of_addresses_are_accepted(service, sentinel):
    urls = [url.replace(HOST, "localhost") for url in sentinel.options["redis_sentinel_connection_urls"]]
    browser = service(**{**sentinel.options, "redis_sentinel_connection_urls": urls}).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_sentinels_and_nodes_have_separate_passwords(service):
    topology = SentinelTopology(sentinel_password="of-the-sentinels")
    try:
        right = {**topology.options, "redis_sentinel_password": "of-the-sentinels"}
        browser = service(**right, is_shared=False).browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        wrong = {**topology.options, "redis_sentinel_password": "not-of-the-sentinels"}
        assert service(**wrong, is_shared=False).browser().get("/ready").status_code == 503
    finally:
        topology.close()
