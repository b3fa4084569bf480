"""Sessions that Redis tells of (`redis_tracking`): what the log says, and whether requests ask Redis."""

from __future__ import annotations

from .service import arrived
from .tracking import in_memory

TRACKED = "tells of sessions that change"
UNTRACKED = "does not tell of sessions that change"

__all__ = ["TRACKED", "UNTRACKED", "asks_for_each_request", "in_memory", "is_signed_out", "sign_in"]


def sign_in(running, user: str = "alice"):
    browser = running.browser()
    assert arrived(browser.sign_in(user, "/echo"))["x-forwarded-user"] == user
    return browser


def is_signed_out(browser) -> bool:
    return browser.get("/echo").status_code == 302


def asks_for_each_request(running, browser) -> None:
    """Fails unless each of some requests is one command."""
    before = running.envoy.counters()["redis.commands"]
    assert all(browser.get("/echo").status_code == 200 for _ in range(20))
    assert running.envoy.counters()["redis.commands"] - before == 20
