"""The demo's page about a session in Redis: its key and its remaining time; never the secret."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from harness.redis import Redis, RedisError

COOKIE = "_oauth2_proxy"


def rows(server_of: Callable[[str], Redis], cookies: str) -> dict[str, str]:
    """Labels and values for the page; `server_of` gives the server that has a key."""
    key = redis_key(cookies)
    if key is None:
        return {}
    try:
        seconds = server_of(key).command("TTL", key)
    except (OSError, RedisError, AssertionError):
        return {"Redis key": key, "Time to live": "Redis does not answer"}
    return {"Redis key": key, "Time to live": f"{seconds} s" if seconds >= 0 else "none"}


def redis_key(cookies: str) -> str | None:
    """The key in the cookie's ticket. The signature is not checked here: the filter has checked it.

    base64url(<key> "." <secret>) "|" time "|" signature
    """
    try:
        value = SimpleCookie(cookies)[COOKIE].value
        ticket = base64.urlsafe_b64decode(value.split("|")[0]).decode()
    except (CookieError, KeyError, binascii.Error, UnicodeDecodeError):
        return None
    return ticket.split(".")[0]
