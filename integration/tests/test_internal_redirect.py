"""`strip_session_cookie` with an upstream's redirect that Envoy follows: the request passes the filter twice."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.browser import Browser
from harness.known_secrets import SECRETS
from harness.recipes import manager, rendering
from harness.render import text_access_log
from harness.service import Service, arrived

NAME = "_oauth2_proxy"
# The token in the filter state, as an access log may show it.
ACCESS_LOG = text_access_log("state %FILTER_STATE(wasm.oauth2_session.state:PLAIN)%")


def with_redirects(config: dict) -> None:
    """Gives every route of Envoy's configuration an `internal_redirect_policy`."""
    for host in manager(config)["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            route["route"]["internal_redirect_policy"] = {"max_internal_redirects": 2}


def to(browser: Browser, path: str) -> str:
    """A path at which the upstream redirects to this one. Envoy follows only redirects with a host."""
    return "/respond?" + urlencode({"status": 302, "header": f"location:{browser.base_url}{path}"})


@pytest.fixture
def start(make_service, provider):
    """Starts Envoys that follow redirects: `start(**options)`."""

    def start(**options: Any) -> Service:
        return make_service(
            provider,
            render=rendering({}, with_redirects),
            access_log=ACCESS_LOG,
            strip_session_cookie=True,
            access_log_fields=["state"],
            **options,
        )

    return start


@pytest.fixture(params=["cookie", "redis"])
def store(request, redis):
    return {} if request.param == "cookie" else {"session_store_type": "redis", "redis_connection_url": redis.url}


def test_user_is_signed_in_at_the_target_of_the_redirect(start, store, upstream):
    browser = start(**store).browser()
    browser.sign_in("alice")
    upstream.seen.clear()
    headers = arrived(browser.get(to(browser, "/echo"), headers={"cookie": f"theme=dark; {browser.cookie}"}))
    assert headers["x-forwarded-user"] == "alice"
    assert "theme=dark" in headers["cookie"] and NAME not in headers["cookie"]
    assert [line.partition("?")[0] for line in upstream.seen] == ["GET /respond", "GET /echo"]
    # Two redirects in a row.
    twice = to(browser, to(browser, "/echo"))
    assert arrived(browser.get(twice))["x-forwarded-user"] == "alice"


def test_large_session_survives_the_redirect(start):
    browser = start().browser()
    browser.sign_in("carol")
    assert len([name for name in browser.cookies if name.startswith(NAME)]) > 1
    headers = arrived(browser.get(to(browser, "/echo")))
    assert headers["x-forwarded-groups"].count(",") == 400
    assert NAME not in headers.get("cookie", "")


def test_refreshed_cookie_reaches_the_browser_after_the_redirect(start, store):
    browser = start(cookie_refresh="1s", **store).browser()
    browser.sign_in("alice")
    before = browser.cookies[NAME]
    time.sleep(2.1)
    response = browser.get(to(browser, "/echo"))
    assert arrived(response)["x-forwarded-user"] == "alice"
    assert browser.cookies[NAME] != before
    assert "private" in response.headers["cache-control"]


def test_skipped_route_redirects_to_a_page_with_the_session(start):
    browser = start(skip_auth_routes=["^/respond"]).browser()
    browser.sign_in("alice")
    assert arrived(browser.get(to(browser, "/echo")))["x-forwarded-user"] == "alice"


def test_redirect_signs_no_other_request_in(start):
    """Neither the next request of the connection, nor one that claims to be the redirected one."""
    browser = start(skip_auth_routes=["^/respond"]).browser()
    browser.sign_in("alice")
    arrived(browser.get(to(browser, "/echo")))
    forged = {
        "cookie": "x=1",
        "x-envoy-original-url": f"{browser.base_url}/respond",
        "x-envoy-internal": "true",
        "wasm.oauth2_session.stripped": "1",
        "oauth2_session.stripped": "1",
    }
    for headers in ({"cookie": "x=1"}, forged):
        assert browser.get("/echo", headers=headers).status_code == 302
        # Envoy follows the redirect, and the request has no session there.
        assert browser.get(to(browser, "/echo"), headers=headers).headers["location"].startswith("/oauth2/")


def test_filter_state_contains_no_cookie(start):
    service = start()
    browser = service.browser()
    browser.sign_in("alice")
    browser.get(to(browser, "/echo"))
    assert service.envoy.says("state authenticated")
    SECRETS.check("Envoy's log", service.envoy.log())
