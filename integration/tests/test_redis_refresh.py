"""Refresh in Redis: one grant over all workers and Envoys, and no outage of any part loses a session.

A refresh token works once: the provider takes its second use for a theft, and ends the session. So every test here
checks at its end whether the session can be refreshed again.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.service import arrived
from harness.tracking import both_ways

NAME = "_oauth2_proxy"
# Long enough for a slow machine to sign in and to answer a burst before the session is due again.
REFRESH = "5s"
DUE_SECONDS = 5.2
REQUESTS = 200
LEASE_SECONDS = 6
EXPIRE_SECONDS = 4


@pytest.fixture
def own_redis(make_redis):
    """A Redis that the test may stop."""
    return make_redis()


@pytest.fixture
def pair(with_redis, own_redis):
    """Two Envoys with two workers each, and one Redis for both."""
    return two_envoys(with_redis, own_redis, cookie_refresh=REFRESH)


def two_envoys(with_redis, redis, **options):
    options = {"pass_access_token": True, "concurrency": 2, "is_shared": False, **options}
    return [with_redis(redis, **options) for _ in range(2)]


def sign_in(running):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    return browser, arrived(browser.get("/echo"))["x-forwarded-access-token"]


def until_due(seconds: float = DUE_SECONDS) -> None:
    time.sleep(seconds)


def get(running, browser, path: str = "/echo", seconds: float = 30) -> httpx.Response:
    """A request on a connection of its own, with the browser's cookie."""
    # Without `verify=False`, each client reads all certificate authorities, for a connection without TLS.
    return httpx.get(
        running.url + path, headers={"cookie": browser.cookie}, timeout=seconds, trust_env=False, verify=False
    )


def until(holds, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def burst(services, browser, count: int = REQUESTS) -> list[httpx.Response]:
    """Requests at the same time, over all the services in turns."""
    together = threading.Barrier(count)

    def request(number: int) -> httpx.Response:
        together.wait()
        return get(services[number % len(services)], browser)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(request, range(count)))


def token_of(response) -> str:
    return arrived(response)["x-forwarded-access-token"]


def the_token(services, browser) -> str:
    """The access token that all Envoys have; read twice, because the session may become due in between."""
    for _ in range(2):
        tokens = {token_of(get(running, browser)) for running in services}
        if len(tokens) == 1:
            return tokens.pop()
    raise AssertionError(f"the Envoys have {len(tokens)} sessions")


def grants(provider) -> int:
    return len(provider.seen("token", "refresh_token"))


def assert_renewable(services, browser, provider) -> None:
    """The session goes on in all Envoys, with a refresh token that was not used: its next refresh works."""
    until_due()
    before, token = grants(provider), token_of(get(services[0], browser))
    assert grants(provider) == before + 1, "the session was not refreshed"
    assert the_token(services, browser) == token
    statuses = [entry["status"] for entry in provider.seen("token", "refresh_token")]
    assert statuses[-1] == 200


# ---- one grant ----


@pytest.fixture
def expired(with_redis, own_redis, make_provider):
    """Two Envoys, a browser whose session has expired, its token, and a provider of their own.

    A request with an expired session has to wait for the refresh, however slow the machine is. A session that is only
    due goes on without it after two seconds.
    """
    own_provider = make_provider(access_token_ttl=EXPIRE_SECONDS)
    pair = two_envoys(with_redis, own_redis, provider=own_provider)
    browser, old = sign_in(pair[0])
    own_provider.control("options", access_token_ttl=600)
    time.sleep(EXPIRE_SECONDS + 0.2)
    return pair, browser, old, own_provider


@both_ways
@pytest.mark.parametrize("delay", [0, 1000], ids=["a fast provider", "a slow one"])
def test_burst_over_two_envoys_makes_one_grant(delay, expired):
    pair, browser, old, own_provider = expired
    own_provider.control("faults", token={"delay": delay})
    tokens = {token_of(answer) for answer in burst(pair, browser)}
    assert len(tokens) == 1
    assert tokens != {old}
    assert grants(own_provider) == 1


def test_burst_does_not_wait_for_a_very_slow_grant(pair, provider):
    """The session is still valid: after two seconds requests use it as it is, and the grant goes on."""
    browser, old = sign_in(pair[0])
    until_due()
    provider.control("faults", token={"delay": 4000, "times": 1})
    assert {token_of(answer) for answer in burst(pair, browser, 20)} == {old}
    time.sleep(3)
    assert token_of(get(pair[1], browser)) != old
    assert grants(provider) == 1


@both_ways
def test_refresh_extends_the_cookie_with_the_session(pair):
    """The ticket stays the same; the first proxy that sees a refresh sets its cookie again."""
    browser, _ = sign_in(pair[0])
    before = browser.cookies[NAME]
    until_due()
    answers = burst(pair, browser, 8)
    assert all(NAME in answer.headers["set-cookie"] for answer in answers)
    browser.get("/echo")
    assert browser.cookies[NAME] != before
    assert browser.cookies[NAME].split("|")[0] == before.split("|")[0]
    assert "set-cookie" not in browser.get("/echo").headers


def test_expired_session_is_refreshed_by_one_grant(with_redis, own_redis, make_provider):
    """Without cookie_refresh, the session is due when its access token expires, and every request waits."""
    provider = make_provider(access_token_ttl=3)
    pair = two_envoys(with_redis, own_redis, provider=provider)
    browser, old = sign_in(pair[0])
    until_due(4.1)
    # The new tokens have a long lifetime.
    provider.control("options", access_token_ttl=3600)
    tokens = {token_of(answer) for answer in burst(pair, browser)}
    assert len(tokens) == 1
    assert tokens != {old}
    assert grants(provider) == 1


def test_sessions_of_two_browsers_make_two_grants(pair, provider):
    first, _ = sign_in(pair[0])
    second, _ = sign_in(pair[1])
    until_due()
    answers = burst(pair, first, 20) + burst(pair, second, 20)
    assert {answer.status_code for answer in answers} == {200}
    assert len({token_of(answer) for answer in answers}) == 2
    assert grants(provider) == 2


# ---- the provider ----


def test_provider_that_is_down_ends_no_session(pair, provider):
    browser, old = sign_in(pair[0])
    until_due()
    provider.control("down")
    try:
        assert {token_of(answer) for answer in burst(pair, browser, 40)} == {old}
    finally:
        provider.control("up")
    deadline = time.monotonic() + 20
    while token_of(get(pair[0], browser)) == old:
        assert time.monotonic() < deadline, "never tried again"
        time.sleep(0.5)
    assert_renewable(pair, browser, provider)


def test_expired_session_with_provider_down_is_503(with_redis, own_redis, make_provider):
    """The provider may or may not refresh it: the request does not get through, and the user is not signed out."""
    provider = make_provider(access_token_ttl=3)
    pair = two_envoys(with_redis, own_redis, provider=provider)
    browser, _ = sign_in(pair[0])
    provider.control("down")
    until_due(4.1)
    answers = burst(pair, browser, 20)
    assert {answer.status_code for answer in answers} == {503}
    assert all("retry-after" in answer.headers and "set-cookie" not in answer.headers for answer in answers)
    provider.control("options", access_token_ttl=3600)
    provider.control("up")
    deadline = time.monotonic() + 20
    while (answer := get(pair[0], browser)).status_code == 503:
        assert time.monotonic() < deadline, "never tried again"
        time.sleep(0.5)
    assert answer.status_code == 200


@both_ways
def test_session_ended_by_the_provider_is_gone_everywhere(pair, own_redis, provider):
    browser, _ = sign_in(pair[0])
    provider.control("revoke")
    until_due()
    answers = burst(pair, browser, 40)
    assert {answer.status_code for answer in answers} == {302}
    assert any(answer.headers.get("set-cookie", "").startswith(f"{NAME}=;") for answer in answers), (
        "the cookie was not cleared"
    )
    assert grants(provider) == 1
    # A released lock leaves no key either.
    assert own_redis.keys() == []
    assert browser.get("/echo").status_code == 302


def test_browser_that_leaves_does_not_cancel_the_grant(pair, provider):
    browser, old = sign_in(pair[0])
    until_due()
    provider.control("faults", token={"delay": 1000, "times": 1})
    with pytest.raises(httpx.TimeoutException):
        get(pair[0], browser, seconds=0.5)
    assert token_of(get(pair[1], browser)) != old
    assert grants(provider) == 1
    assert_renewable(pair, browser, provider)


# ---- the lock ----


def lock_of(redis) -> str:
    (key,) = redis.keys()
    return f"{key}.lock"


def test_foreign_lock_delays_only_until_it_ends(pair, own_redis, provider):
    browser, old = sign_in(pair[0])
    until_due()
    own_redis.command("SET", lock_of(own_redis), "another proxy", "PX", 1200)
    assert {token_of(answer) for answer in burst(pair, browser, 10)} != {old}
    assert grants(provider) == 1


def test_long_foreign_lock_delays_a_valid_session_two_seconds(pair, own_redis, provider):
    browser, old = sign_in(pair[0])
    until_due()
    own_redis.command("SET", lock_of(own_redis), "another proxy", "PX", 3000)
    assert token_of(get(pair[0], browser)) == old
    time.sleep(1.5)
    assert token_of(get(pair[0], browser)) != old
    assert grants(provider) == 1


def test_foreign_lock_is_not_released(pair, own_redis):
    browser, _ = sign_in(pair[0])
    until_due()
    lock = lock_of(own_redis)
    own_redis.command("SET", lock, "another proxy", "PX", 20_000)
    get(pair[0], browser)
    assert own_redis.command("GET", lock) == b"another proxy"


def test_lock_is_held_until_the_grant_ends(with_redis, own_redis, provider):
    """The grant takes longer than the lease: the lock is renewed, so that the other Envoy makes no second grant."""
    pair = two_envoys(with_redis, own_redis, cookie_refresh=REFRESH, provider_request_timeout="20s")
    browser, old = sign_in(pair[0])
    until_due()
    delay = LEASE_SECONDS + 4
    provider.control("faults", token={"delay": delay * 1000, "times": 1})
    until = time.monotonic() + delay + 2
    get(pair[0], browser)
    (key,) = (name for name in own_redis.keys() if not name.endswith(".lock"))
    seen = set()
    while time.monotonic() < until:
        seen.add(token_of(get(pair[1], browser)))
        if len(seen) == 1 and time.monotonic() < until - 3:
            assert own_redis.command("PTTL", f"{key}.lock") > 0, "the lock is not held"
    assert len(seen - {old}) == 1
    assert grants(provider) == 1
    assert_renewable(pair, browser, provider)


def test_killed_envoy_delays_others_only_by_its_lease(pair, own_redis, provider):
    browser, old = sign_in(pair[1])
    until_due()
    own_redis.command("SET", lock_of(own_redis), "an Envoy that is no more", "PX", LEASE_SECONDS * 1000)
    until = time.monotonic() + LEASE_SECONDS + 1
    while token_of(get(pair[1], browser)) == old:
        assert time.monotonic() < until + 2
    assert grants(provider) == 1


# ---- Redis goes away between the grant and the new session ----


@pytest.mark.parametrize("away", [3, LEASE_SECONDS + 3], ids=["3 s", "longer than the lease"])
def test_redis_that_hangs_during_the_save_loses_no_session(away, pair, own_redis, provider):
    browser, old = sign_in(pair[0])
    until_due()
    provider.control("faults", token={"delay": 1000, "times": 1})
    with ThreadPoolExecutor(1) as pool:
        pool.submit(get, pair[0], browser)
        time.sleep(0.5)
        own_redis.pause()
        # Meanwhile, other requests need the session, at both proxies.
        end = time.monotonic() + away
        while time.monotonic() < end:
            assert {get(running, browser).status_code for running in pair} <= {200, 503}
        own_redis.resume()
    end = time.monotonic() + 5
    statuses = set()
    while time.monotonic() < end:
        statuses |= {get(running, browser).status_code for running in pair}
    assert statuses <= {200, 503}
    assert the_token(pair, browser) != old
    assert_renewable(pair, browser, provider)
    assert {entry["status"] for entry in provider.seen("token", "refresh_token")} == {200}


@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "busy"])
def test_redis_that_crashes_during_the_save_loses_no_session(is_busy, with_redis, make_redis, provider):
    """With `appendfsync always`, Redis comes back with the old session: the new one is not saved yet.

    Workers notice the outage by their connections, so all of them have one before it.
    """
    redis = make_redis(keep=True)
    pair = two_envoys(with_redis, redis, cookie_refresh=REFRESH)
    browser, old = sign_in(pair[0])
    until(
        lambda: (
            get(pair[0], browser).status_code == get(pair[1], browser).status_code == 200 and len(redis.clients()) == 4
        )
    )
    until_due()
    provider.control("faults", token={"delay": 1000, "times": 1})
    with ThreadPoolExecutor(1) as pool:
        pool.submit(get, pair[0], browser)
        time.sleep(0.5)
        redis.kill()
        end = time.monotonic() + LEASE_SECONDS + 1
        while time.monotonic() < end:
            if is_busy:
                assert {get(running, browser).status_code for running in pair} <= {200, 503}
            time.sleep(0.1)
        redis.start()
    end = time.monotonic() + 6
    statuses = set()
    while time.monotonic() < end:
        statuses |= {get(running, browser).status_code for running in pair}
    assert statuses <= {200, 503}, "a user was signed out"
    assert the_token(pair, browser) != old
    assert_renewable(pair, browser, provider)
    assert {entry["status"] for entry in provider.seen("token", "refresh_token")} == {200}
