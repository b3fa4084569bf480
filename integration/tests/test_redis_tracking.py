"""Tracked sessions: Redis tells of changes, and requests are served from memory until then."""

from __future__ import annotations

import time

import httpx
import pytest

from harness.fake_redis import FakeRedis, Keeper
from harness.redis import is_6
from harness.service import arrived
from harness.tracking import DOES_NOT_TELL, TELLS, asks_for_each_request, in_memory, sign_in
from harness.waiting import until


@pytest.fixture
def tracked(with_redis):
    """Starts Envoys that no other test gets, with the default of `redis_tracking`."""

    def start(redis, **options):
        return with_redis(redis, **{"is_shared": False, **options})

    return start


def without(right: str) -> list[str]:
    """The rules of an ACL that take this right away. Redis 6 cannot take one subcommand of several away."""
    return ["-client", "+client|setname"] if is_6() and right == "client|tracking" else [f"-{right}"]


def test_requests_are_served_from_memory(tracked, make_redis):
    running = tracked(make_redis())
    browser = sign_in(running)
    in_memory(running, browser)
    assert running.envoy.says(TELLS)
    before = running.envoy.counters()["redis.commands"]
    assert all(browser.get("/echo").status_code == 200 for _ in range(1000))
    assert running.envoy.counters()["redis.commands"] - before < 100


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


UNKNOWN = b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n", b"PTTL": b":-1\r\n"},
        {b"HELLO": UNKNOWN, b"CLIENT": b"-ERR Unknown subcommand or wrong number of arguments for 'TRACKING'.\r\n"},
    ],
    ids=["OK to everything", "RESP3", "Redis 5"],
)
def test_server_that_never_pushes_is_asked_for_each_request(answers, tracked):
    keeper = Keeper()
    server = FakeRedis(lambda words: answers.get(words[0].upper()) or keeper(words))
    running = tracked(server)
    try:
        browser = sign_in(running)
        assert running.envoy.says(DOES_NOT_TELL)
        asks_for_each_request(running, browser)
        assert running.envoy.counters()["redis.untracked"] > 0
    finally:
        server.close()


@pytest.mark.parametrize("right", ["client|tracking", "pttl"])
def test_user_without_a_right_asks_for_each_request(right, tracked, make_redis):
    redis = make_redis()
    redis.command("ACL", "SETUSER", "default", *without(right))
    running = tracked(redis)
    browser = sign_in(running)
    assert running.envoy.says(DOES_NOT_TELL)
    asks_for_each_request(running, browser)


def test_wanted_tracking_that_fails_is_a_warning(tracked, make_redis):
    redis = make_redis()
    redis.command("ACL", "SETUSER", "default", *without("client|tracking"))
    running = tracked(redis, redis_tracking="on")
    sign_in(running)
    assert "[warning]" in running.envoy.says(DOES_NOT_TELL)[0]
