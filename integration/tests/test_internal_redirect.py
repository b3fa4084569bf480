"""`strip_session_cookie` where Envoy follows a redirect of the upstream: the request goes through the filter once more."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.known_secrets import SECRETS
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, arrived, filter_config

NAME = "_oauth2_proxy"
# The token in the filter state, as an access log may show it.
ACCESS_LOG = """
access_log:
- name: envoy.access_loggers.stdout
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
    log_format:
      text_format_source: { inline_string: "state %FILTER_STATE(wasm.oauth2_session.state:PLAIN)%\\n" }
"""


def with_redirects(*arguments: Any, **options: Any) -> str:
    """Envoy's configuration, with an `internal_redirect_policy`."""
    config = json.loads(render(*arguments, **options))
    main = named(config["static_resources"]["listeners"], "main")
    manager = main["filter_chains"][0]["filters"][0]["typed_config"]
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            route["route"]["internal_redirect_policy"] = {"max_internal_redirects": 2}
    return json.dumps(config)


def to(browser: Browser, path: str) -> str:
    """A path at which the upstream answers with a redirect to this one. Envoy follows those with a host."""
    return "/respond?" + urlencode({"status": 302, "header": f"location:{browser.base_url}{path}"})


@pytest.fixture
def start(provider, upstream):
    """Starts Envoys that follow redirects: `start(**options)` is a browser."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Browser:
            envoy = Envoy(
                filter_config(provider, strip_session_cookie=True, access_log_fields=["state"], **options),
                upstream=upstream.address,
                render=with_redirects,
                access_log=ACCESS_LOG,
                environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
            )
            stack.callback(envoy.stop)
            provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
            browser = stack.enter_context(Browser(envoy.url))
            browser.envoy = envoy
            return browser

        yield start


@pytest.fixture(params=["cookie", "redis"])
def store(request, redis):
    return {} if request.param == "cookie" else {"session_store_type": "redis", "redis_connection_url": redis.url}


def test_a_person_is_signed_in_where_the_redirect_leads(start, store, upstream):
    browser = start(**store)
    browser.sign_in("alice")
    upstream.seen.clear()
    headers = arrived(browser.get(to(browser, "/echo"), headers={"cookie": f"theme=dark; {browser.cookie}"}))
    assert headers["x-forwarded-user"] == "alice"
    assert "theme=dark" in headers["cookie"] and NAME not in headers["cookie"]
    assert [line.partition("?")[0] for line in upstream.seen] == ["GET /respond", "GET /echo"]
    # Once more than once.
    twice = to(browser, to(browser, "/echo"))
    assert arrived(browser.get(twice))["x-forwarded-user"] == "alice"


def test_a_large_session_too(start):
    browser = start()
    browser.sign_in("carol")
    assert len([name for name in browser.cookies if name.startswith(NAME)]) > 1
    headers = arrived(browser.get(to(browser, "/echo")))
    assert headers["x-forwarded-groups"].count(",") == 400
    assert NAME not in headers.get("cookie", "")


def test_a_cookie_that_was_renewed_on_the_way_reaches_the_browser(start, store):
    browser = start(cookie_refresh="1s", **store)
    browser.sign_in("alice")
    before = browser.cookies[NAME]
    time.sleep(2.1)
    response = browser.get(to(browser, "/echo"))
    assert arrived(response)["x-forwarded-user"] == "alice"
    assert browser.cookies[NAME] != before
    assert "private" in response.headers["cache-control"]


def test_a_request_that_needed_no_session_has_it_where_one_is_needed(start):
    browser = start(skip_auth_routes=["^/respond"])
    browser.sign_in("alice")
    assert arrived(browser.get(to(browser, "/echo")))["x-forwarded-user"] == "alice"


def test_nobody_else_is_signed_in_by_it(start):
    """Neither the next request of the same connection, nor one that says to be the same."""
    browser = start(skip_auth_routes=["^/respond"])
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
        # Followed, and then without a session there.
        assert browser.get(to(browser, "/echo"), headers=headers).headers["location"].startswith("/oauth2/")


def test_the_filter_state_is_no_cookie(start):
    browser = start()
    browser.sign_in("alice")
    browser.get(to(browser, "/echo"))
    assert browser.envoy.says("state authenticated")
    SECRETS.check("Envoy's log", browser.envoy.log())
