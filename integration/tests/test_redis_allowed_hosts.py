"""`redis_allowed_hosts`: a lying Sentinel or node cannot redirect the password, and an outage signs no user out."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from harness.envoy import ConfigurationError
from harness.fake_redis import FakeRedis, Keeper, all_slots, default_answer, master, message, subscribed
from harness.ports import HOST
from harness.service import arrived
from harness.waiting import until

PASSWORD = "the-password-of-the-servers"
REFUSED = "which redis_allowed_hosts does not allow"


class Servers:
    """A server for sessions, a server that Sentinels and nodes may not name, and two that name one of them."""

    def __init__(self) -> None:
        self.right, self.thief = FakeRedis(Keeper()), FakeRedis(Keeper())
        self.first, self.second = FakeRedis(), FakeRedis()

    @property
    def all(self) -> list[FakeRedis]:
        return [self.right, self.thief, self.first, self.second]

    @property
    def allowed(self) -> list[str]:
        return [f"{HOST}:{self.right.port}"]

    def close(self) -> None:
        for server in self.all:
            server.close()


@pytest.fixture
def servers():
    servers = Servers()
    yield servers
    servers.close()


def sentinel(named: FakeRedis, pushed: FakeRedis | None = None, when: threading.Event | None = None):
    """A Sentinel that names a master and, once `when` is set, announces a switch to another one."""

    def answer(words: list[bytes]):
        name = words[0].upper()
        if name == b"SENTINEL":
            return master(HOST, named.port)
        if name == b"SUBSCRIBE" and pushed and when and words[1] == b"+switch-master":
            return tell(words[1], pushed, when)
        if name == b"SUBSCRIBE":
            return subscribed(words[1])
        return default_answer(words)

    def tell(channel: bytes, pushed: FakeRedis, when: threading.Event):
        yield subscribed(channel)
        when.wait(20)
        yield message(channel, f"main {HOST} {named.port} {HOST} {pushed.port}")

    return answer


def by_sentinels(service, servers: Servers, **options: Any):
    urls = [f"redis://{HOST}:{one.port}" for one in (servers.first, servers.second)]
    return service(
        session_store_type="redis",
        redis_use_sentinel=True,
        redis_sentinel_master_name="main",
        redis_sentinel_connection_urls=urls,
        redis_password=PASSWORD,
        is_shared=False,
        redis_command_timeout="1s",
        **options,
    )


def test_lying_sentinel_is_skipped(service, servers):
    servers.first.answer, servers.second.answer = sentinel(servers.thief), sentinel(servers.right)
    running = by_sentinels(service, servers, redis_allowed_hosts=servers.allowed)
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert servers.thief.commands == []
    assert running.envoy.says(
        f"{HOST}:{servers.first.port} announces the server {HOST}:{servers.thief.port}, {REFUSED}"
    )


def test_switch_to_a_forbidden_server_is_not_followed(service, servers):
    lie = threading.Event()
    servers.first.answer, servers.second.answer = sentinel(servers.right, servers.thief, lie), sentinel(servers.right)
    running = by_sentinels(service, servers, redis_allowed_hosts=servers.allowed)
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    lie.set()
    assert running.envoy.says(
        f"{HOST}:{servers.first.port} announces the server {HOST}:{servers.thief.port}, {REFUSED}"
    )
    assert browser.get("/echo").status_code == 200
    assert servers.thief.commands == []


def test_only_lying_sentinels_are_503_and_sign_no_user_out(service, servers):
    servers.first.answer = servers.second.answer = sentinel(servers.right)
    running = by_sentinels(service, servers, redis_allowed_hosts=servers.allowed)
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    cookie = browser.cookie
    other = by_sentinels(service, servers, redis_allowed_hosts=servers.allowed, ping_path="/other").browser()
    servers.first.answer = servers.second.answer = sentinel(servers.thief)
    response = other.get("/echo", headers={"cookie": cookie})
    assert (response.status_code, "set-cookie" in response.headers) == (503, False)
    assert int(response.headers["retry-after"]) > 0
    assert servers.thief.commands == []
    servers.first.answer = servers.second.answer = sentinel(servers.right)
    until(lambda: other.get("/echo", headers={"cookie": cookie}).status_code == 200, "an outage ends")


def test_without_the_option_every_named_server_gets_the_password(service, servers):
    """As with oauth2-proxy. It shows that the other tests would notice a leak."""
    servers.first.answer = servers.second.answer = sentinel(servers.thief)
    running = by_sentinels(service, servers)
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert servers.thief.commands[0] == "AUTH"


def by_cluster(service, servers: Servers, **options: Any):
    return service(
        session_store_type="redis",
        redis_use_cluster=True,
        redis_password=PASSWORD,
        is_shared=False,
        redis_cluster_connection_urls=[f"redis://{HOST}:{servers.first.port}"],
        redis_command_timeout="1s",
        **options,
    )


def node(itself: FakeRedis, keeper: Keeper, *, map_names: FakeRedis | None = None, moved: FakeRedis | None = None):
    """A node with all slots that keeps sessions, or whose map or redirects name another server."""

    def answer(words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"CLUSTER":
            is_slots = words[1].upper() == b"SLOTS"
            return all_slots(HOST, (map_names or itself).port) if is_slots else b"-ERR unknown subcommand\r\n"
        if moved and name in (b"GET", b"SETEX", b"PING"):
            return b"-MOVED 1 %s:%d\r\n" % (HOST.encode(), moved.port)
        return keeper(words)

    return answer


@pytest.mark.parametrize("lie", ["map_names", "moved"])
def test_lying_node_is_503_and_signs_no_user_out(service, servers, lie):
    keeper = Keeper()
    honest = node(servers.first, keeper)
    servers.first.answer = honest
    # The node of the URL is always allowed.
    running = by_cluster(service, servers, redis_allowed_hosts=["redis.example.com"])
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    cookie = browser.cookie
    servers.first.answer = node(servers.first, keeper, **{lie: servers.thief})
    # An Envoy without a map.
    other = by_cluster(service, servers, redis_allowed_hosts=["redis.example.com"], ping_path="/other")
    for asked in (running, other) if lie == "moved" else (other,):
        response = asked.browser().get("/echo", headers={"cookie": cookie})
        assert (response.status_code, "set-cookie" in response.headers) == (503, False)
        assert asked.envoy.says(
            f"{HOST}:{servers.first.port} announces the server {HOST}:{servers.thief.port}, {REFUSED}"
        )
    assert servers.thief.commands == []
    servers.first.answer = honest
    fresh = other.browser()
    until(lambda: fresh.get("/echo", headers={"cookie": cookie}).status_code == 200, "an outage ends")


@pytest.mark.parametrize("lie", ["map_names", "moved"])
def test_constantly_lying_server_does_not_fill_the_log(service, servers, lie):
    servers.first.answer = node(servers.first, Keeper(), **{lie: servers.thief})
    running = by_cluster(service, servers, redis_allowed_hosts=["redis.example.com"])
    browser = running.browser()
    since = time.monotonic()
    statuses = {browser.get("/ready").status_code for _ in range(200)}
    assert statuses == {503}
    lines = running.envoy.says(REFUSED)
    # Ten at once and then one a second, for failed commands and for nodes that are asked for their slots.
    assert 0 < len(lines) <= 2 * (10 + time.monotonic() - since + 1)


def test_invalid_list_of_hosts_stops_envoy(service, servers):
    with pytest.raises(ConfigurationError) as refused:
        by_cluster(service, servers, redis_allowed_hosts=["10.0.0.0/8", "10.0.0.1/8"])
    [line] = refused.value.lines
    assert line.startswith("redis_allowed_hosts: entry 2: has bits after the prefix")
