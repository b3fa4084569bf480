"""What `make soak WHAT=tracking` finds: each mistake of a filter, and none of a filter without mistakes."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.fake_redis import FakeRedis, default_answer
from harness.ports import HOST
from soaking.sessions import Session
from soaking.verdict import Life, Step, is_beside, mistakes, spread
from soaking.visits import IDENTITY, Browser, Redis

LIMIT = 2


def life(*answers: tuple[float, str, str | None], ended: Step | None = None) -> Life:
    """A session that was written at 1 and ended at 10. `answers` have when a request began, its status and its user."""
    seen = Life("alice", "DEL", Step(1, 1.1), ended or Step(10, 10.1))
    for began, status, user in answers:
        seen.add(began, began + 0.01, status, user)
    return seen


def found(seen: Life, *flushes: Step) -> str:
    return "\n".join(mistakes(seen, flushes, LIMIT))


def test_session_that_ends_in_time_is_no_mistake():
    seen = life((2, "200", "alice"), (10.05, "401", None), (12, "200", "alice"), (12.2, "401", None))
    assert not found(seen)
    assert seen.lag == pytest.approx(1.9)


def test_request_after_the_limit_is_found():
    assert "2.400 s after the end by DEL" in found(life((12.5, "200", "alice")))


def test_outage_is_no_mistake_but_a_sign_out_is():
    assert not found(life((5, "503", None), (20, "503", None)))
    assert "signed out" in found(life((5, "401", None)))
    assert "although never" in found(life((5, "302", None), ended=Step(math.inf)))


def test_refused_answer_beside_the_end_is_no_mistake():
    assert not found(life((9.995, "401", None)))


def test_identity_of_another_user_is_found():
    assert "the identity of carol" in found(life((5, "200", "carol")))


@pytest.mark.parametrize("answer", ["VmDied", "ConnectionResetError", "500", "200"])
def test_answer_of_another_kind_is_found(answer):
    assert answer in found(life((5, answer, None)))


def test_flush_ends_what_was_written_before_it():
    flush = Step(4, 4.1)
    assert not found(life((3, "200", "alice"), (5, "401", None)), flush)
    assert "by FLUSHALL" in found(life((6.5, "200", "alice")), flush)
    assert "signed out" in found(life((3, "401", None)), flush)
    # Written meanwhile or later.
    assert not found(life((8, "200", "alice"), (9, "401", None)), Step(0.5, 1.05))
    assert "signed out" in found(life((9, "401", None)), Step(0.5, 0.9))


def test_end_beside_a_disturbance_is_counted_apart():
    seen = life((10.3, "200", "alice"))
    assert is_beside(seen, [Step(10.2, 11)], rest=3)
    assert is_beside(seen, [Step(5, 8)], rest=3)
    assert not is_beside(seen, [Step(5, 6.9), Step(10.4, 11)], rest=3)


def test_spread_is_by_the_nearest_rank():
    assert spread([number / 1000 for number in range(1, 1001)]) == (
        "p50 500.0, p99 990.0, p99.9 999.0, max 1000.0 ms of 1,000"
    )
    assert spread([]) == "none"


# ---- a browser, and a proxy that keeps sessions or not ----


class Proxy(ThreadingHTTPServer):
    """Knows the session of alice, and signs her out. `keeps` says what it keeps serving nevertheless."""

    daemon_threads = True

    def __init__(self, keeps: str):
        super().__init__((HOST, 0), ProxyHandler)
        self.keeps = keeps
        self.has_session = False
        self.redis = FakeRedis(self._answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def _answer(self, words: list[bytes]) -> bytes:
        if words[0] in (b"SET", b"DEL"):
            self.has_session = words[0] == b"SET"
        return default_answer(words)

    def close(self) -> None:
        self.redis.close()
        self.shutdown()
        self.server_close()


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/oauth2/sign_out":
            self.server.has_session = False
            self._answer(200, None)
        elif self.server.has_session or self.server.keeps == "the session":
            self._answer(200, "carol" if self.server.keeps == "another user" else "alice")
        else:
            self._answer(401, None)

    def _answer(self, status: int, user: str | None) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        if user:
            self.send_header(IDENTITY, user)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("way", ["DEL", "sign-out"])
@pytest.mark.parametrize(
    "keeps, what",
    [("nothing", ""), ("the session", "after the end by"), ("another user", "the identity of carol")],
    ids=["nothing", "the session", "another user"],
)
def test_browser_finds_what_a_proxy_keeps(keeps, what, way):
    proxy, limit = Proxy(keeps), 0.3
    lives: list[Life] = []
    session = Session("alice", "_oauth2_proxy=ticket", b"key", b"value")

    async def live() -> None:
        browser = Browser(
            [f"http://{HOST}:{proxy.server_address[1]}"], session, way, Redis(proxy.redis.port), random.Random(1)
        )
        await browser.begin()
        while not browser.life.answers:
            await asyncio.sleep(0.01)
        await browser.end()
        await browser.rest(limit, lives.append)

    try:
        asyncio.run(live())
    finally:
        proxy.close()
    [seen] = lives
    assert seen.is_ended
    assert what in "\n".join(mistakes(seen, [], limit))
    assert bool(what) is bool(mistakes(seen, [], limit))
