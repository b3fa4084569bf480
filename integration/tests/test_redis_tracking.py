"""Tracked sessions: Redis tells of changes, and requests are served from memory until then."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from functools import partial

import httpx
import pytest

from harness.fake_redis import FakeRedis, Keeper
from harness.ports import HOST
from harness.relay import CHUNK, Relay
from harness.service import arrived
from harness.topologies import role
from harness.tracking import in_memory
from harness.waiting import until
from ticket import redis_key

TRACKED = "tells of sessions that change"
UNTRACKED = "does not tell of sessions that change"


@pytest.fixture
def tracked(with_redis):
    """Starts Envoys that no other test gets, with the default of `redis_tracking`."""

    def start(redis, **options):
        return with_redis(redis, **{"is_shared": False, **options})

    return start


def sign_in(running):
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    return browser


def is_signed_out(browser) -> bool:
    return browser.get("/echo").status_code == 302


def test_requests_are_served_from_memory(tracked, make_redis):
    running = tracked(make_redis())
    browser = sign_in(running)
    in_memory(running, browser)
    assert running.envoy.says(TRACKED)
    before = running.envoy.counters()["redis.commands"]
    assert all(browser.get("/echo").status_code == 200 for _ in range(1000))
    assert running.envoy.counters()["redis.commands"] - before < 10


def test_probe_leaves_no_key(tracked, make_redis):
    redis = make_redis()
    running = tracked(redis)
    in_memory(running, sign_in(running))
    assert not [key for key in redis.keys() if "-track-" in key]


@pytest.mark.parametrize("command", ["DEL", "UNLINK", "PEXPIRE", "RENAME", "FLUSHALL", "SET"])
def test_change_by_hand_is_noticed(command, tracked, make_redis):
    redis = make_redis()
    running = tracked(redis)
    browser = sign_in(running)
    (key,) = redis.keys()
    in_memory(running, browser)
    words = {"PEXPIRE": [key, 1], "RENAME": [key, "other"], "FLUSHALL": [], "SET": [key, "garbage"]}
    redis.command(command, *words.get(command, [key]))
    until(lambda: browser.get("/echo").status_code == 302, "the change is noticed")
    assert browser.get("/echo").status_code == 302


def test_key_that_expires_ends_the_session(tracked, make_redis):
    redis = make_redis()
    running = tracked(redis)
    browser = sign_in(running)
    (key,) = redis.keys()
    redis.command("PEXPIRE", key, 4000)
    in_memory(running, browser)
    until(lambda: browser.get("/echo").status_code == 302, "the key has expired")


def test_sign_out_at_another_envoy_is_noticed(tracked, make_redis):
    redis = make_redis()
    running, other = tracked(redis), tracked(redis)
    browser = sign_in(running)
    in_memory(running, browser)
    cookie = {"cookie": browser.cookie}
    signed_out = httpx.get(f"{other.browser().base_url}/oauth2/sign_out", headers=cookie, trust_env=False)
    assert signed_out.status_code in (200, 302)
    until(lambda: browser.get("/echo").status_code == 302, "the sign-out is noticed")
    assert browser.get("/echo").status_code == 302


def test_renewal_at_another_envoy_is_noticed(tracked, make_redis):
    redis = make_redis()
    running, other = tracked(redis, pass_access_token=True), tracked(redis, pass_access_token=True)
    browser = sign_in(running)
    in_memory(running, browser)
    token = arrived(browser.get("/echo"))["x-forwarded-access-token"]
    time.sleep(5.5)  # a session that has just been made is not renewed
    headers = {"cookie": browser.cookie, "sec-fetch-site": "same-origin"}
    assert httpx.post(f"{other.url}/oauth2/refresh", headers=headers, trust_env=False).status_code == 200
    until(
        lambda: arrived(browser.get("/echo"))["x-forwarded-access-token"] != token,
        "the other session is served",
        seconds=30,
    )


def test_hung_redis_is_an_outage_and_not_a_sign_out(tracked, make_redis):
    redis = make_redis()
    running = tracked(redis, redis_command_timeout="500ms")
    browser = sign_in(running)
    in_memory(running, browser)
    redis.pause()
    try:
        until(lambda: browser.get("/echo").status_code == 503, "the silence is over")
        assert browser.get("/echo").status_code == 503
    finally:
        redis.resume()
    until(lambda: browser.get("/echo").status_code == 200, "the outage is over")
    in_memory(running, browser)


class Delayed(Relay):
    """Passes the answers of Redis on, but from some moment on much later."""

    def __init__(self, target):
        self.is_slow = threading.Event()
        super().__init__(target)

    def pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(CHUNK):
                if self.is_slow.is_set():
                    time.sleep(10)
                client.sendall(chunk)
        for end in (server, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_proxy_that_delays_everything_serves_no_ended_session(tracked, make_redis):
    redis = make_redis()
    relay = Delayed((HOST, redis.port))
    running = tracked(redis, redis_connection_url=f"redis://{HOST}:{relay.port}", redis_command_timeout="1s")
    try:
        browser = sign_in(running)
        in_memory(running, browser)
        relay.is_slow.set()
        redis.command("DEL", *redis.keys())
        until(lambda: browser.get("/echo").status_code != 200, "the session is not served any more", seconds=30)
        assert browser.get("/echo").status_code in (302, 503)
    finally:
        relay.close()


@pytest.mark.parametrize("hello", [b"+OK\r\n", b"%1\r\n$5\r\nproto\r\n:3\r\n"], ids=["OK to everything", "RESP3"])
def test_server_that_never_pushes_is_asked_for_each_request(hello, tracked):
    keeper = Keeper()
    answers = {b"HELLO": hello, b"PTTL": b":-1\r\n"} if hello.startswith(b"%") else {b"HELLO": hello}
    server = FakeRedis(lambda words: answers.get(words[0].upper()) or keeper(words))
    running = tracked(server)
    try:
        browser = sign_in(running)
        assert running.envoy.says(UNTRACKED)
        before = running.envoy.counters()["redis.commands"]
        assert all(browser.get("/echo").status_code == 200 for _ in range(20))
        assert running.envoy.counters()["redis.commands"] - before == 20
        assert running.envoy.counters()["redis.untracked"] > 0
    finally:
        server.close()


@pytest.mark.parametrize("right", ["client|tracking", "pttl"])
def test_user_without_a_right_asks_for_each_request(right, tracked, make_redis):
    redis = make_redis()
    redis.command("ACL", "SETUSER", "default", f"-{right}")
    running = tracked(redis)
    browser = sign_in(running)
    assert running.envoy.says(UNTRACKED)
    before = running.envoy.counters()["redis.commands"]
    assert all(browser.get("/echo").status_code == 200 for _ in range(20))
    assert running.envoy.counters()["redis.commands"] - before == 20


def test_wanted_tracking_that_fails_is_a_warning(tracked, make_redis):
    redis = make_redis()
    redis.command("ACL", "SETUSER", "default", "-client|tracking")
    running = tracked(redis, redis_tracking="on")
    sign_in(running)
    assert "[warning]" in running.envoy.says(UNTRACKED)[0]


# ---- Sentinels and a Cluster ----


def test_deletion_is_noticed_before_and_after_a_failover_of_sentinels(service, sentinel):
    running = service(**sentinel.options, redis_tracking="on", redis_command_timeout="10s", is_shared=False)
    browser, other = sign_in(running), sign_in(running)
    in_memory(running, browser)
    in_memory(running, other)
    master = sentinel.master()
    master.command("DEL", redis_key(browser.cookie))
    until(lambda: browser.get("/echo").status_code == 302, "the deletion is noticed")
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
        until(lambda: browser.get("/echo").status_code == 302, "the deletion at the new owner is noticed")
    finally:
        cluster.move_slot(key, owner)
