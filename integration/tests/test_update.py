"""A new configuration of the listener, while a refresh is under way: its tokens are not lost."""

from __future__ import annotations

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.fake_provider import Answer, FakeProvider
from harness.lds import Listeners
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config
from harness.waiting import until

# The harness starts Envoy with a drain time of one second.
REFRESH = "2s"
DUE_SECONDS = 2.1


@pytest.fixture
def start(tmp_path, upstream, fake):
    """Starts an Envoy whose listener can be updated, and its service."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> tuple[Service, Listeners]:
            listeners = Listeners(tmp_path)
            envoy = Envoy(
                filter_config(
                    fake, cookie_refresh=REFRESH, provider_request_timeout="60s", pass_access_token=True, **options
                ),
                upstream=upstream.address,
                environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
                render=listeners.render,
                concurrency=2,
            )
            stack.callback(envoy.stop)
            service = Service(envoy, fake)
            stack.callback(service.check)
            return service, listeners

        yield start


def with_another_json(listeners: Listeners) -> None:
    """Only the filter chain differs: Envoy updates the listener in its place."""
    value = listeners.plugin()["configuration"]
    value["value"] = json.dumps({**json.loads(value["value"]), "ping_path": "/new"})


def with_another_listener(listeners: Listeners) -> None:
    """Envoy makes a new listener beside the old one."""
    with_another_json(listeners)
    listeners.main["per_connection_buffer_limit_bytes"] = 1 << 20


def is_new(service: Service) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{service.url}/new", trust_env=False).text == "OK"
    return False


def is_drained(service: Service) -> bool:
    lines = service.envoy.admin("/stats?filter=draining&type=Gauges").splitlines()
    return all(line.endswith(": 0") for line in lines if line.startswith("listener_manager."))


@contextlib.contextmanager
def refresh_under_way(service: Service, browser: Browser):
    """A request of a browser whose session is due; the provider answers at the end."""
    gate = Event()
    assert isinstance(service.provider, FakeProvider)
    service.provider.answers["token:refresh_token"] = [Answer(gate=gate)]
    time.sleep(DUE_SECONDS)
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(
            httpx.get, f"{service.url}/echo", headers={"cookie": browser.cookie}, timeout=30, trust_env=False
        )
        until(lambda: service.provider.seen("token", "refresh_token"), "the refresh has begun", seconds=10)
        try:
            yield
            # It goes on with the old session, or ends with the old listener.
            request.exception()
            until(lambda: is_drained(service), "the old listener is gone", seconds=20)
        finally:
            gate.set()


@pytest.mark.parametrize("change", [with_another_json, with_another_listener])
@pytest.mark.parametrize("store", ["cookie", "redis"])
def test_refresh_survives_an_update_of_the_listener(start, store, change, redis):
    options = {"session_store_type": "redis", "redis_connection_url": redis.url} if store == "redis" else {}
    service, listeners = start(**options)
    browser = service.browser()
    token = arrived(browser.sign_in("alice", "/echo"))["x-forwarded-access-token"]
    with refresh_under_way(service, browser):
        listeners.update(lambda: change(listeners))
        until(lambda: is_new(service), "the new listener answers", seconds=20)
    # The old refresh token is used up: only with the new one does the session go on.
    for _ in range(2):
        headers = arrived(browser.get("/echo"))
        assert headers["x-forwarded-user"] == "alice"
        assert headers["x-forwarded-access-token"] != token
        token = headers["x-forwarded-access-token"]
        time.sleep(DUE_SECONDS)
    assert service.envoy.counters()["refreshes_refused"] == 0


def test_refresh_in_redis_survives_the_removal_of_the_listener(start, make_redis):
    """Its VM lives on, because the bridge has the same `vm_id` and code."""
    # Other Envoys of this run are connected to the shared Redis.
    redis = make_redis()
    service, listeners = start(session_store_type="redis", redis_connection_url=redis.url)
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    (key,) = redis.keys()
    saved = redis.command("GET", key)
    with refresh_under_way(service, browser):
        listeners.remove()
    until(lambda: redis.command("GET", key) != saved, "the new session is in Redis", seconds=20)
    until(lambda: not redis.clients(), "then it is gone for good")
