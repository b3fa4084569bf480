"""Proxies of one site, some with the module of the version before, some with this one."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from harness.envoy import Envoy
from harness.mounted import Mounted
from harness.ports import free_port
from harness.provider import Provider
from harness.redis import Redis
from harness.render import WASM, render
from harness.service import CLIENT_SECRET, Service, filter_config
from harness.visitor import SITE, Visitor
from rollout import previous

BEFORE, NOW = "the version before", "this version"
MODULES = {BEFORE: previous.WASM, NOW: WASM}

REFRESH, DUE_SECONDS = "2s", 2.2

# What only this version has, by store. A fleet may set it as soon as its first proxy has this version.
NEW_OPTIONS: dict[str, dict[str, Any]] = {
    "cookie": {"session_idle_timeout": "1h", "session_max_lifetime": "24h", "secrets_from": "bridge"},
    "redis": {
        "session_idle_timeout": "1h",
        "session_max_lifetime": "24h",
        "secrets_from": "bridge",
        "redis_username": "default",  # of a Redis without a password, which takes any
        "redis_session_index": True,
        "backchannel_logout": True,
    },
}

# The store, and whether the proxies of this version have the options that only this version knows.
FLEETS = {
    "cookie": ("cookie", False),
    "redis": ("redis", False),
    "cookie, new": ("cookie", True),
    "redis, new": ("redis", True),
}


class Fleet:
    """Two proxies that share the cookie secret and, with `redis`, a Redis. A proxy keeps its address when its version
    changes. With `uses_new`, the proxies of this version have `NEW_OPTIONS`, a second cookie secret, and their secrets
    in `folder`."""

    def __init__(
        self,
        provider: Provider,
        upstream: str,
        redis: Redis | None,
        *,
        folder: Path,
        uses_new: bool = False,
        **options: Any,
    ):
        self._provider, self._upstream = provider, upstream
        store = {"session_store_type": "redis", "redis_connection_url": redis.url} if redis else {}
        new = NEW_OPTIONS["redis" if redis else "cookie"] if uses_new else {}
        secret = secrets.token_urlsafe(32)
        # Both versions verify what the first one signs.
        both = f"{secret},{secrets.token_urlsafe(32)}" if uses_new else secret
        self._filters, self._secrets = (
            {
                version: filter_config(
                    provider,
                    redirect_url=f"{SITE}/oauth2/callback",
                    pass_access_token=True,
                    cookie_refresh=REFRESH,
                    **store,
                    **options,
                    **more,
                )
                for version, more in ((BEFORE, {}), (NOW, new))
            },
            {BEFORE: secret, NOW: both},
        )
        self._mounted = [
            Mounted(
                folder / str(place),
                cookie_secret=both,
                client_secret=CLIENT_SECRET,
                redis_password=secrets.token_urlsafe(24),
            )
            for place in range(2)
            if uses_new
        ]
        self._addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self._running: list[tuple[str, Service] | None] = [None, None]
        self.redis = redis
        provider.control("redirect_uri", uri=f"{SITE}/oauth2/callback")

    def runs(self, *versions: str) -> None:
        """Sets the versions at the two addresses; replaces a proxy of another version."""
        for place, version in enumerate(versions):
            running = self._running[place]
            if running and running[0] == version:
                continue
            self._stop(place)
            mounted = self._mounted[place] if self._mounted and version == NOW else None
            in_environment = {
                "OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET,
                "OAUTH2_PROXY_COOKIE_SECRET": self._secrets[version],
            }
            envoy = Envoy(
                self._filters[version],
                upstream=self._upstream,
                environment={} if mounted else in_environment,
                render=mounted.render if mounted else render,
                concurrency=2,
                listen=self._addresses[place],
                wasm=MODULES[version],
            )
            self._running[place] = version, Service(envoy, self._provider)
        # A Service has told the provider its own redirect URI.
        self._provider.control("redirect_uri", uri=f"{SITE}/oauth2/callback")

    @property
    def urls(self) -> list[str]:
        return [f"http://{address}" for address in self._addresses]

    def url(self, version: str) -> str:
        """The URL of a proxy with this version."""
        return next(url for url, running in zip(self.urls, self._running) if running and running[0] == version)

    def sign_in(self, where: str, user: str) -> Visitor:
        visitor = Visitor(where)
        answer = visitor.sign_in(user, "/echo")
        assert answer.status_code == 200, f"{answer.status_code}\n{answer.text[:2000]}"
        return visitor

    def close(self) -> None:
        for place in range(len(self._running)):
            self._stop(place)

    def _stop(self, place: int) -> None:
        if running := self._running[place]:
            _, service = running
            self._running[place] = None
            try:
                service.check()
            finally:
                service.envoy.stop()
