"""An Envoy with the filter for tests: with browsers, and a check of its log after each test."""

from __future__ import annotations

import contextlib
import secrets
from collections import OrderedDict
from typing import Any

import httpx

from upstream import Upstream

from .browser import Browser
from .envoy import Envoy
from .fake_provider import FakeProvider
from .known_secrets import SECRETS
from .provider import Provider
from .vm import VmDied

CLIENT_ID = "e2e"
CLIENT_SECRET = secrets.token_urlsafe(32)
COOKIE_SECRET = secrets.token_urlsafe(32)

# The most Envoys that run at the same time.
MAX_ENVOYS = 8

# After so many connections, one of two workers without any is a fault and no chance.
MAX_CONNECTIONS = 200


class Service:
    """An Envoy with the filter, and its browsers."""

    def __init__(self, envoy: Envoy, provider: Provider | FakeProvider):
        self.envoy = envoy
        self.provider = provider
        self.url = envoy.url
        self._browsers: list[Browser] = []
        provider.add_redirect_uri(f"{self.url}/oauth2/callback")

    def browser(self, **options: Any) -> Browser:
        """A browser without cookies."""
        browser = Browser(self.url, **options)
        self._browsers.append(browser)
        return browser

    def answers_of_each_worker(self, path: str, **headers: str) -> list[httpx.Response]:
        """Answers on connections of their own, so many that each worker of Envoy has given one.

        The kernel chooses the worker of a connection, so no number of connections is enough by itself.
        """
        before = self.envoy.connections_of_workers()
        assert before, "Envoy tells no connections of its workers"
        answers: list[httpx.Response] = []
        while not all(self.envoy.connections_of_workers()[worker] > count for worker, count in before.items()):
            assert len(answers) < MAX_CONNECTIONS, f"a worker got none of {MAX_CONNECTIONS} connections: {before}"
            answers.append(httpx.get(self.url + path, headers=headers, trust_env=False, verify=False, timeout=30))
        return answers

    def check(self) -> None:
        """Fails if something crashed, or a secret is in the log."""
        assert self.envoy.process.exit_code is None, f"Envoy ended:\n{self.envoy.log()[-3000:]}"
        if signs := self.envoy.crashes():
            raise VmDied(signs)
        SECRETS.check("Envoy's log", self.envoy.log())
        for browser in self._browsers:
            SECRETS.check("a page or an error of the filter", "\n".join(browser.pages))
            browser.close()
        self._browsers.clear()


class Services:
    """The Envoys of a run, by their options; the least recently used one is stopped to make room."""

    def __init__(self, provider: Provider, upstream: Upstream):
        self._provider = provider
        self._upstream = upstream
        self._running: OrderedDict[str, Service] = OrderedDict()
        self.used: list[Service] = []

    def start(
        self,
        *,
        concurrency: int = 1,
        ca: str | None = None,
        provider: Provider | FakeProvider | None = None,
        cookie_secret: str = COOKIE_SECRET,
        redis_password: str | None = None,
        is_shared: bool = True,
        client_secret: str = CLIENT_SECRET,
        access_log: str | None = None,
        filters_before: str | None = None,
        **options: Any,
    ) -> Service:
        """An Envoy with these options of the filter.

        `redis_password` and `client_secret` reach it by the environment, as secrets do. If `is_shared` is false, no
        other test gets this Envoy. `access_log` and `filters_before` are YAML for its configuration."""
        provider = provider or self._provider
        key = repr(
            (
                concurrency,
                ca,
                provider.issuer,
                cookie_secret,
                redis_password,
                client_secret,
                access_log,
                filters_before,
                sorted(options.items()),
            )
        )
        if is_shared and key in self._running:
            self._running.move_to_end(key)
        else:
            self._make_room()
            envoy = Envoy(
                filter_config(provider, **options),
                upstream=self._upstream.address,
                environment={
                    # Without a client, a secret would be a mistake in the configuration.
                    **(
                        {"OAUTH2_PROXY_CLIENT_SECRET": client_secret}
                        if options.get("client_id", "") is not None
                        else {}
                    ),
                    "OAUTH2_PROXY_COOKIE_SECRET": cookie_secret,
                    **({"OAUTH2_PROXY_REDIS_PASSWORD": redis_password} if redis_password else {}),
                },
                concurrency=concurrency,
                ca=ca,
                wasm_log_level="debug",
                access_log=access_log,
                filters_before=filters_before,
            )
            key = key if is_shared else envoy.url
            self._running[key] = Service(envoy, provider)
        self.used.append(self._running[key])
        return self._running[key]

    def check(self, services: list[Service]) -> None:
        """Fails for the first that is not as it should be, and stops it: no other test gets it."""
        failures = []
        for service in services:
            try:
                service.check()
            except AssertionError as failure:
                failures.append(failure)
                self._running = OrderedDict(
                    (key, other) for key, other in self._running.items() if other is not service
                )
                with contextlib.suppress(VmDied):
                    service.envoy.stop()
        if failures:
            raise failures[0]

    def _make_room(self) -> None:
        while len(self._running) >= MAX_ENVOYS:
            # The Envoys of the running test stay.
            key = next((key for key, service in self._running.items() if service not in self.used), None)
            if key is None:
                return
            self._running.pop(key).envoy.stop()

    def stop(self) -> None:
        for service in self._running.values():
            service.envoy.stop()


def filter_config(provider: Provider | FakeProvider, provider_name: str | None = "oidc", **options: Any) -> dict:
    """The filter JSON of most tests; an option that is None is left out. `provider_name` is the option `provider`."""
    config = {
        "provider": provider_name,
        "oidc_issuer_url": provider.issuer,
        "client_id": CLIENT_ID,
        "email_domains": ["*"],
        "cookie_secure": False,  # the tests speak http
        **options,
    }
    return {name: value for name, value in config.items() if value is not None}


def client(**options: Any) -> dict:
    """The registration of the filter at a provider."""
    return {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [], **options}


def assert_unavailable(answer) -> None:
    """The session store is away: 503, and the browser keeps its cookies."""
    assert answer.status_code == 503, f"{answer.status_code}\n{answer.text[:500]}"
    assert int(answer.headers["retry-after"]) > 0
    assert "set-cookie" not in answer.headers, "the outage cleared a cookie"


def arrived(response) -> dict[str, str]:
    """The headers with which a request arrived at the upstream's /echo, those of one name joined."""
    assert response.status_code == 200, f"{response.url}: {response.status_code}\n{response.text[:2000]}"
    headers: dict[str, str] = {}
    for name, value in response.json()["headers"]:
        headers[name] = f"{headers[name]}; {value}" if name in headers else value
    return headers
