"""The network to Redis loses bytes, or is slow: no user gets another's session, and none is signed out."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from harness.load import ask
from harness.ports import HOST
from harness.relay import LossyRelay, SlowRelay
from harness.service import arrived

USERS = ["alice", "carol", "dave"]
SECONDS = 8
GONE = "gone"


@pytest.fixture
def lossy(redis):
    relay = LossyRelay((HOST, redis.port))
    yield relay
    relay.close()


def sign_in(running, user: str):
    browser = running.browser()
    assert arrived(browser.sign_in(user, "/echo"))["x-forwarded-user"] == user
    return browser


class Visitors:
    """A thread for each browser, which asks for its identity without a pause."""

    def __init__(self, browsers: list[tuple]):
        self._over = threading.Event()
        self.answers: list[tuple[str, int, str]] = []
        self._threads = [threading.Thread(target=self._ask, args=item) for item in browsers]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, user: str, browser) -> None:
        while not self._over.is_set():
            answer = browser.get("/echo")
            who = arrived(answer)["x-forwarded-user"] if answer.status_code == 200 else ""
            self.answers.append((user, answer.status_code, who))


class Stale:
    """A browser with the cookie of an ended session."""

    def __init__(self, url: str, cookie: str):
        self._url, self._cookie = url, cookie

    def get(self, path: str):
        return SimpleNamespace(status_code=ask(self._url + path, self._cookie))


def test_shifted_stream_of_replies_recovers(service, lossy, record_property):
    running = service(
        session_store_type="redis",
        redis_connection_url=f"redis://{HOST}:{lossy.port}",
        is_shared=False,
    )
    browsers = [(user, sign_in(running, user)) for user in USERS * 2]
    # Redis' answer to these, that there is no session, must not be taken for the answer about another session.
    gone = [sign_in(running, "alice") for _ in range(3)]
    browsers += [(GONE, Stale(running.url, browser.cookie)) for browser in gone]
    for browser in gone:
        browser.get("/oauth2/sign_out")
    with Visitors(browsers) as visitors:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            lossy.swallow()
            time.sleep(0.3)
    answers = [answer for answer in visitors.answers if answer[0] != GONE]
    record_property("answers", f"{len(answers)}, {lossy.swallowed} replies swallowed")
    assert lossy.swallowed > 5
    assert {who for _, status, who in answers if status == 200} == set(USERS)
    assert [answer for answer in answers if answer[1] == 200 and answer[0] != answer[2]] == []
    assert [answer for answer in answers if answer[1] != 200] == []
    assert {status for user, status, _ in visitors.answers if user == GONE} == {302}
    assert running.envoy.says("a reply that belongs to another command")


def test_slow_network_is_not_an_outage(service, redis, make_provider):
    """At 20 kB a second, a session of more than 60 kB takes longer than the time limit of a command."""
    provider = make_provider(access_token_claims={"filler": "x" * 45_000})
    relay = SlowRelay((HOST, redis.port), rate=20_000)
    try:
        running = service(
            session_store_type="redis",
            redis_connection_url=f"redis://{HOST}:{relay.port}",
            is_shared=False,
            provider=provider,
        )
        browser = sign_in(running, "alice")
        [key] = redis.keys()
        assert redis.command("STRLEN", key) > 50_000
        assert browser.get("/echo").status_code == 200
        assert [line for line in running.envoy.log().splitlines() if "Redis: disconnected" in line] == []
    finally:
        relay.close()
