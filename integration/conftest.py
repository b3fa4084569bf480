"""A provider, an upstream and Envoys with the filter, for the end-to-end tests.

    def test_something(service):
        browser = service(cookie_refresh="1s").browser()

`service(**options)` is an Envoy with these filter options. All tests share the Envoys with the same options, so a
test looks only at its own browser. A test fails if the VM of an Envoy that it used died (harness/vm.py). No Envoy may
log a secret, and no page of the filter may show one: harness/known_secrets.py collects the secrets of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import envoy
from harness import redis as redis_server
from harness.browser import Browser
from harness.envoy import Envoy
from harness.fake_provider import FakeProvider
from harness.known_secrets import SECRETS
from harness.provider import Provider
from harness.redis import Redis
from harness.render import render
from harness.service import (
    CLIENT_ID,
    CLIENT_SECRET,
    COOKIE_SECRET,
    Service,
    Services,
    assert_unavailable,
    client,
    filter_config,
)
from harness.topologies import ClusterTopology, SentinelTopology
from harness.tracking import TRACKED, in_memory
from harness.waiting import PATIENCE, until
from upstream import Upstream


def pytest_configure() -> None:
    Envoy.at_its_end = staticmethod(lambda log: SECRETS.check("Envoy's log", log))


def pytest_report_header() -> list[str]:
    tls = "TLS of its own" if redis_server.has_tls() else "no TLS of its own, so a relay speaks it"
    return [f"Envoy {envoy.version()}", f"Redis {redis_server.version()}: {redis_server.server()}, {tls}"]


def pytest_terminal_summary(terminalreporter):
    """Prints what tests measured; nothing depends on it."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    measured = [report for report in reports if getattr(report, "when", "") == "call" and report.user_properties]
    if measured:
        terminalreporter.section("figures")
    for report in measured:
        figures = "; ".join(f"{what}: {value}" for what, value in report.user_properties)
        terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {figures}")


@pytest.fixture(scope="session")
def shared_provider():
    provider = Provider([client()])
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def upstream():
    upstream = Upstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="session")
def services(shared_provider, upstream):
    services = Services(shared_provider, upstream)
    yield services
    services.stop()


@pytest.fixture
def provider(shared_provider):
    """The provider, reset: without faults, and with no request seen."""
    shared_provider.reset()
    yield shared_provider
    shared_provider.reset()


@pytest.fixture
def service(services, provider):
    """Starts Envoys: `service(**options)`. Options of the harness: see Services.start."""
    yield services.start
    used, services.used = services.used, []
    services.check(list(dict.fromkeys(used)))


@pytest.fixture
def make_service(upstream):
    """Starts Envoys of the test's own: `make_service(provider, render=…, **options)`. Options of the harness are those
    of Envoy in harness/envoy.py; all others are the filter's."""
    running: list[Service] = []

    def make(
        provider: Provider | FakeProvider,
        *,
        render: Callable[..., str] = render,
        ca: str | None = None,
        access_log: str | None = None,
        concurrency: int = 1,
        **options: Any,
    ) -> Service:
        environment = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}
        envoy = Envoy(
            filter_config(provider, **options),
            upstream=upstream.address,
            environment=environment,
            render=render,
            ca=ca,
            access_log=access_log,
            concurrency=concurrency,
        )
        running.append(Service(envoy, provider))
        return running[-1]

    yield make
    for service in running:
        try:
            service.check()
        finally:
            service.envoy.stop()


@pytest.fixture
def browser(service):
    """A browser without cookies, at an Envoy with the options of `filter_config`."""
    return service().browser()


@pytest.fixture
def make_provider():
    """Starts a provider of the test's own: `make_provider(**options)`, see DEFAULTS in provider.mjs."""
    providers = []

    def make(client_options: dict | None = None, **options: Any) -> Provider:
        providers.append(Provider([client(**(client_options or {}))], **options))
        return providers[-1]

    yield make
    for provider in providers:
        provider.stop()


@pytest.fixture
def make_fake_provider():
    """Starts a provider that can answer wrongly: `make_fake_provider(**options)`, see harness/fake_provider.py."""
    providers = []

    def make(**options: Any) -> FakeProvider:
        providers.append(FakeProvider(**{"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **options}))
        return providers[-1]

    yield make
    for provider in providers:
        provider.stop()


@pytest.fixture
def fake(make_fake_provider):
    """A fake provider without faults."""
    return make_fake_provider()


@pytest.fixture(scope="session")
def shared_redis():
    redis = Redis()
    yield redis
    redis.close()


@pytest.fixture
def redis(shared_redis):
    """An empty Redis without a password. All tests share it: a test that stops it makes one of its own."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def make_redis():
    """Starts a Redis of the test's own: `make_redis(**options)`, see harness/redis.py."""
    servers = []

    def make(**options: Any) -> Redis:
        servers.append(Redis(**options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def sentinel():
    """A master, two replicas and three Sentinels. The tests of a file share them."""
    topology = SentinelTopology()
    yield topology
    topology.close()


@pytest.fixture(scope="module")
def cluster():
    """Three masters, each with a replica. The tests of a file share them."""
    topology = ClusterTopology()
    yield topology
    topology.close()


@pytest.fixture
def redis_tracking() -> str | None:
    """The option `redis_tracking` of Envoys that `with_redis` starts: None, so its default. The marks of
    harness/tracking.py replace it."""
    return TRACKED


@pytest.fixture
def with_redis(service, redis_tracking):
    """Starts Envoys that keep their sessions in this Redis: `with_redis(redis, **options)`."""

    def start(redis, **options: Any):
        store = {"session_store_type": "redis", "redis_connection_url": redis.url, "redis_tracking": redis_tracking}
        return service(**store | options)

    return start


@pytest.fixture
def remember(redis_tracking):
    """Requests with a browser's session until its worker serves it from memory, if Redis tells of changes."""

    def make(running: Service, browser: Browser) -> None:
        if redis_tracking is TRACKED:
            in_memory(running, browser)

    return make


@pytest.fixture
def assert_ended(redis_tracking):
    """Asserts that a browser's session, which has ended in Redis, is not served: if each request asks Redis, from the
    next request on, and otherwise as soon as Redis has told the worker. `url` is that of another Envoy."""

    def is_signed_in(browser: Browser, url: str) -> bool:
        answer = browser.get(f"{url}/echo", headers={"cookie": browser.cookie} if url else {})
        assert answer.status_code in (200, 302), answer.text
        return answer.status_code == 200

    def check(browser: Browser, url: str = "") -> None:
        if redis_tracking is TRACKED:
            until(lambda: not is_signed_in(browser, url), "Redis has told of the end")
        assert not is_signed_in(browser, url)

    return check


@pytest.fixture
def assert_outage(redis_tracking):
    """Asserts that a request with a session gets a 503: from the first request on if each one asks Redis, and otherwise
    as soon as the worker has noticed the outage."""

    def check(browser: Browser, path: str = "/echo") -> None:
        answer = browser.get(path)
        deadline = time.monotonic() + PATIENCE
        while redis_tracking is TRACKED and answer.is_success:
            assert time.monotonic() < deadline, f"{path} is served although Redis is away"
            answer = browser.get(path)
        assert_unavailable(answer)

    return check
