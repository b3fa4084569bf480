"""The two ways in which a worker knows that a session in Redis has not changed (docs/stores.md, tracked sessions).

- *tracked*: Redis tells of each change, and until then requests are served from memory. This is the default, so
  `with_redis` starts Envoys in this way.
- *asked*: each request asks Redis, as with a server that cannot tell.
"""

from __future__ import annotations

import pytest

from .browser import Browser
from .service import Service, arrived
from .waiting import until

# The values of `redis_tracking` for `with_redis`; None is the default of the filter.
TRACKED, ASKED = None, "off"

# For a test whose statement holds in both ways.
both_ways = pytest.mark.parametrize("redis_tracking", [TRACKED, ASKED], ids=["tracked", "asked"])
# For a test that looks at the commands of single requests.
asked = pytest.mark.parametrize("redis_tracking", [ASKED], ids=["asked"])


# What the log says of a connection.
TELLS, DOES_NOT_TELL = "tells of sessions that change", "does not tell of sessions that change"


def sign_in(running: Service, user: str = "alice") -> Browser:
    browser = running.browser()
    assert arrived(browser.sign_in(user, "/echo"))["x-forwarded-user"] == user
    return browser


def is_signed_out(browser: Browser) -> bool:
    return browser.get("/echo").status_code == 302


def in_memory(running: Service, browser: Browser) -> None:
    """Requests until some of them are served without a command: by then their worker has the session."""

    def asks_nothing() -> bool:
        before = running.envoy.counters()["redis.commands"]
        assert all(browser.get("/echo").status_code == 200 for _ in range(20))
        return running.envoy.counters()["redis.commands"] == before

    until(asks_nothing, "requests are served from memory")


def asks_for_each_request(running: Service, browser: Browser) -> None:
    """Fails unless each of some requests is one command."""
    before = running.envoy.counters()["redis.commands"]
    assert all(browser.get("/echo").status_code == 200 for _ in range(20))
    assert running.envoy.counters()["redis.commands"] - before == 20


def of_sessions(commands: list[list[str]]) -> list[list[str]]:
    """These commands without those by which a worker finds out whether Redis tells its connection of changes."""
    return [
        words
        for words in commands
        if words[0] != "HELLO" and words[:2] != ["CLIENT", "TRACKING"] and not any("-track-" in word for word in words)
    ]
