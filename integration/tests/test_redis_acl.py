"""The Redis users of docs/stores.md have exactly the rights that they need: one right less, and something fails."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from harness.ports import HOST
from harness.redis import is_6
from harness.service import arrived
from harness.topologies import ClusterTopology, node_id
from harness.tracking import in_memory
from harness.waiting import until
from ticket import redis_key

USER, PASSWORD = "filter", "correct-horse-battery-staple"
SENTINEL_PASSWORD = "staple-battery-horse-correct"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "stores.md"
# Commands that only people need, or that have a substitute. The page names them after the users.
OPTIONAL = ("client|setname", "cluster|shards", "+promoted-slave", "ping", "client|tracking")

pytestmark = pytest.mark.skipif(is_6(), reason="the rules are those of Redis 7")


def rules(who: str) -> list[str]:
    """The rights of this user in the documentation."""
    [line] = re.findall(rf"^{who} +(\S.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return line.split()


def without(who: str) -> list[str]:
    """Each of its commands, so that one after the other can be missing."""
    return [rule[1:] for rule in rules(who) if rule.startswith("+")]


def set_user(server, *changes: str) -> None:
    server.command("ACL", "SETUSER", USER, *changes)


def make_user(server, who: str, password: str = PASSWORD) -> None:
    set_user(server, "reset", "on", f">{password}", *rules(who))


def refused(server) -> set[str]:
    """The commands that were refused, without the optional ones."""
    entries = [dict(zip(entry[::2], entry[1::2])) for entry in server.command("ACL", "LOG")]
    return {entry[b"object"].decode().lower() for entry in entries if entry[b"username"].decode() == USER} - set(
        OPTIONAL
    )


def use(running) -> None:
    """A sign-in, a refresh, a sign-out."""
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    refreshes = running.envoy.counters()["refreshes"]
    # Not at once: after a connection that failed, a refresh waits for a few seconds.
    until(
        lambda: browser.get("/echo").status_code == 200 and running.envoy.counters()["refreshes"] > refreshes,
        "it is refreshed",
    )
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert browser.get("/echo").status_code == 302
    assert running.browser().get("/ready").status_code == 200


def is_missed(running, servers, right: str, take: str, give: str) -> None:
    """Without the right, `/ready` fails and the log says why; with it, `/ready` succeeds."""
    time.sleep(0.3)  # earlier lines are in the log by then
    before = len(running.envoy.log().splitlines())
    for server in servers:
        set_user(server, take)
        server.command("CLIENT", "KILL", "USER", USER)
    browser = running.browser()

    def told() -> bool:
        browser.get("/ready")
        return any(
            "NOPERM" in line or "can't run this command" in line for line in running.envoy.log().splitlines()[before:]
        )

    until(told, f"{right} is missed", report=lambda: "\n".join(running.envoy.log().splitlines()[before:]))
    for server in servers:
        set_user(server, give)
    until(lambda: browser.get("/ready").status_code == 200, f"{right} is there again")


@pytest.fixture
def options():
    return {"redis_username": USER, "redis_password": PASSWORD, "cookie_refresh": "1s", "is_shared": False}


# ---- one server ----


def test_documented_user_of_a_server_has_exactly_the_needed_rights(with_redis, make_redis, options):
    redis = make_redis()
    make_user(redis, "a server")
    running = with_redis(redis, **options)
    use(running)
    assert refused(redis) == set()
    browser = running.browser()
    for command in without("a server"):
        is_missed(running, [redis], command, f"-{command}", f"+{command}")
        set_user(redis, f"-{command}")
        until(lambda: browser.get("/ready").status_code == 503, f"it is not ready without {command}")
        set_user(redis, f"+{command}")
        until(lambda: browser.get("/ready").status_code == 200, f"it is ready with {command}")
    [keys] = [rule for rule in rules("a server") if rule.startswith("~")]
    is_missed(running, [redis], "the keys", "resetkeys", keys)


@pytest.mark.parametrize(
    "right, option",
    [
        ("select", {"path": "/3"}),
        ("psetex", {"cookie_expire": "1h500ms"}),
    ],
)
def test_option_that_needs_another_right_works_with_it(right, option, with_redis, make_redis, options):
    redis = make_redis()
    make_user(redis, "a server")
    url = redis.url + option.pop("path", "")
    running = with_redis(redis, **options, **option, redis_connection_url=url)
    assert running.browser().get("/ready").status_code == 503
    assert running.envoy.says("NOPERM no permissions to run the command")
    set_user(redis, f"+{right}")
    until(lambda: running.browser().get("/ready").status_code == 200, "it is ready")
    use(running)
    assert right in PAGE.read_text(encoding="utf-8")


def test_documented_rights_of_tracked_sessions_are_enough(with_redis, make_redis, options):
    [more] = re.findall(r"^- `([^`]+)`, for \[tracked", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    redis = make_redis()
    make_user(redis, "a server")
    set_user(redis, *more.split())
    running = with_redis(redis, **options | {"cookie_refresh": "1h"})
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    in_memory(running, browser)
    assert refused(redis) == set()


# ---- Sentinel ----


@pytest.fixture(scope="module")
def sentinel(sentinel):
    for node in sentinel.nodes:
        make_user(node, "its master")
    for one in sentinel.sentinels:
        make_user(one, "a Sentinel", SENTINEL_PASSWORD)
    return sentinel


def test_documented_users_of_sentinels_have_exactly_the_needed_rights(service, sentinel, options):
    running = service(
        **sentinel.options, **options, redis_sentinel_username=USER, redis_sentinel_password=SENTINEL_PASSWORD
    )
    use(running)
    before = sentinel.master()
    sentinel.fail_over()
    sentinel.wait_for_another_master(before)
    browser = running.browser()
    until(lambda: browser.get("/ready").status_code == 200, "the new master is followed", seconds=30)
    use(running)
    assert [refused(one) for one in [*sentinel.nodes, *sentinel.sentinels]] == [set()] * 6
    for command in without("its master"):
        is_missed(running, sentinel.nodes, command, f"-{command}", f"+{command}")
    for command in without("a Sentinel"):
        is_missed(running, sentinel.sentinels, command, f"-{command}", f"+{command}")
    [channel] = [rule for rule in rules("a Sentinel") if rule.startswith("&")]
    is_missed(running, sentinel.sentinels, "the channel", "resetchannels", channel)


# ---- Cluster ----


@pytest.fixture(scope="module")
def cluster():
    topology = ClusterTopology(has_replicas=False)
    for node in topology.nodes:
        make_user(node, "a node")
    yield topology
    topology.close()


def test_documented_user_of_a_cluster_has_exactly_the_needed_rights(service, cluster, options):
    running = service(**cluster.options, **options)
    for _ in range(3):
        use(running)
    assert [refused(node) for node in cluster.nodes] == [set()] * 3
    for command in without("a node"):
        if command != "asking":
            is_missed(running, cluster.nodes, command, f"-{command}", f"+{command}")


def test_moving_slot_needs_exactly_the_documented_rights(service, cluster, options):
    running = service(**cluster.options, **{**options, "cookie_refresh": "1h"})
    browser = running.browser()
    browser.sign_in("alice")
    key = redis_key(browser.cookie)
    source = cluster.owner(key)
    target = next(node for node in cluster.nodes if node is not source)
    slot = source.command("CLUSTER", "KEYSLOT", key)
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
    source.command("MIGRATE", HOST, target.port, key, 0, 5000)
    assert browser.get("/echo").status_code == 200
    set_user(target, "-asking")
    assert browser.get("/echo").status_code == 503
    assert running.envoy.says("it answered GET with NOPERM no permissions to run ASKING")
    set_user(target, "+asking")
    assert browser.get("/echo").status_code == 200
    assert "asking" in without("a node")
