"""The filter and a real oauth2-proxy, side by side, in each store."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness import oauth2_proxy
from harness.oauth2_proxy import OAuth2Proxy
from harness.redis import Redis
from harness.service import Service
from harness.steps import Steps
from harness.topologies import ClusterTopology, SentinelTopology
from harness.visitor import SITE, Visitor

# oauth2-proxy counts whole seconds.
REFRESH, DUE_SECONDS = "3s", 4.2

# What ends sessions at the filter, and oauth2-proxy does not know. Nothing ends within a test.
ENDS: dict[str, Any] = {"session_idle_timeout": "1h", "session_max_lifetime": "24h"}
INDEX: dict[str, Any] = {"redis_session_index": True, "backchannel_logout": True}

# What both get, for each store, and under `ours` what the filter gets. A Redis is started if its name stands here.
STORES: dict[str, dict[str, Any]] = {
    "cookie": {},
    "redis": {"server": "redis"},
    "redis, a dot in the name": {"server": "redis", "cookie_name": "my.app"},
    "sentinel": {"server": "sentinel"},
    "cluster": {"server": "cluster"},
    "cookie, with ends": {"ours": ENDS},
    "redis, with ends and index": {"server": "redis", "ours": {**ENDS, **INDEX}},
}
TICKETS = [name for name, options in STORES.items() if "server" in options]
# The topologies of a store behave like the store.
ONE_OF_EACH = ["cookie", "redis"]


def pytest_configure():
    if not os.environ.get("OAUTH2_PROXY"):
        pytest.exit("no program named: make interop OAUTH2_PROXY=/path/to/oauth2-proxy", returncode=2)


def pytest_report_header() -> str:
    return f"oauth2-proxy: {oauth2_proxy.version()}"


@dataclass
class Pair:
    """Two proxies in front of one upstream, which take each other's sessions."""

    service: Service
    oauth2_proxy: OAuth2Proxy
    cookie_name: str
    server: object = None  # the Redis, of whatever topology
    visitors: list[Visitor] = field(default_factory=list)

    @property
    def ours(self) -> str:
        return self.service.url

    @property
    def theirs(self) -> str:
        return self.oauth2_proxy.url

    @property
    def ways(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The ways from one proxy to the other."""
        return (self.ours, self.theirs), (self.theirs, self.ours)

    def name(self, url: str) -> str:
        return "the filter" if url == self.ours else "oauth2-proxy"

    def visitor(self, where: str, routes: dict[str, str] | None = None) -> Visitor:
        self.visitors.append(Visitor(where, routes))
        return self.visitors[-1]

    def sign_in(self, where: str, user: str) -> Visitor:
        visitor = self.visitor(where)
        answer = visitor.sign_in(user, "/echo")
        assert answer.status_code == 200, f"{self.name(where)}: {answer.status_code}\n{answer.text[:2000]}"
        return visitor

    def session(self, visitor: Visitor) -> dict[str, str]:
        return visitor.session(self.cookie_name)


def redis_options(server) -> dict[str, object]:
    single = isinstance(server, Redis)
    return {"session_store_type": "redis", "redis_connection_url": server.url} if single else server.options


def every_key(server) -> set[str]:
    """The keys of all sessions: no ticket has a dot after the name of the cookie."""
    return {name for name in server.keys() if "." not in name.rpartition("-")[2]}


@pytest.fixture(scope="session")
def servers():
    """The Redis of each topology, started when it is asked for."""
    kinds = {"redis": Redis, "sentinel": SentinelTopology, "cluster": ClusterTopology}
    started = {}

    def get(kind: str):
        if kind not in started:
            started[kind] = kinds[kind]()
        return started[kind]

    yield get
    for server in started.values():
        server.close()


@pytest.fixture(scope="session")
def start_pair(services, servers, shared_provider, upstream):
    """Starts a pair as a context manager: `start_pair(store, **options)`; `ours` and `theirs` are for one alone."""
    shared_provider.control("redirect_uri", uri=f"{SITE}/oauth2/callback")

    @contextlib.contextmanager
    def start(store: str, *, ours: dict | None = None, theirs: dict | None = None, **options: Any) -> Iterator[Pair]:
        options = {"cookie_refresh": REFRESH, "pass_access_token": True, **STORES[store], **options}
        ours = {**options.pop("ours", {}), **(ours or {})}
        server = None
        if kind := options.pop("server", None):
            server = servers(kind)
            options |= redis_options(server)
        secret = secrets.token_urlsafe(32)
        service = services.start(cookie_secret=secret, concurrency=2, is_shared=False, **{**options, **ours})
        proxy = None
        try:
            upstreams = [f"http://{upstream.address}"]
            proxy = OAuth2Proxy(shared_provider, upstreams, secret, **{**options, **(theirs or {})})
            pair = Pair(service, proxy, str(options.get("cookie_name", "_oauth2_proxy")), server)
            yield pair
            for visitor in pair.visitors:
                visitor.close()
            service.check()
        finally:
            if proxy:
                proxy.close()
            service.envoy.stop()

    return start


@pytest.fixture(scope="module")
def pair(request, start_pair):
    """One for each store that `pytest.mark.parametrize("pair", …, indirect=True)` names."""
    with start_pair(request.param) as pair:
        yield pair


@pytest.fixture
def start_steps(servers, shared_provider, provider, upstream):
    """Starts the first step of docs/migration.md: `start_steps(store, **options)`, see harness/steps.py."""
    started = []

    def start(store: str, **options: Any) -> Steps:
        options = {"cookie_refresh": REFRESH, **options}
        if kind := STORES[store].get("server"):
            server = servers(kind)
            server.command("FLUSHALL")
            options |= redis_options(server)
        started.append(Steps(shared_provider, upstream, secrets.token_urlsafe(32), **options))
        return started[-1]

    yield start
    for steps in started:
        steps.close()
