"""Waiting until something has happened elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from .redis import RedisError

# Seconds for events in Redis. A sentinel that did not run for 2 seconds, as on a busy machine, no longer trusts its
# clock and does nothing for 30 seconds: "TILT mode" in Redis' documentation of Sentinel.
PATIENCE = 120


def attempt(ask: Callable[[], object]):
    """The answer; None if the server is gone or answers with an error."""
    try:
        return ask()
    except (OSError, RedisError):
        return None


def answers(ask: Callable[[], object]) -> bool:
    return attempt(ask) is not None


def until(
    holds: Callable[[], object],
    what: str,
    *,
    seconds: float = PATIENCE,
    pause: float = 0.05,
    report: Callable[[], str] = str,
):
    """Waits until `holds()` is true, and returns its value. `report` says more if it never is."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}\n{report()}"
        time.sleep(pause)
    return result
