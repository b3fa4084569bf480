"""The cookie secret of a fleet changes: two Envoys, of which one is a step behind the other."""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit

import pytest

from harness.service import arrived
from harness.waiting import until

NAME = "_oauth2_proxy"
OLD, NEW = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
MAX_AGE = re.compile(r"max-age=(\d+)", re.IGNORECASE)


@pytest.fixture(params=["cookie", "redis"])
def envoy(request, service):
    """Starts an Envoy with these cookie secrets, the first of which signs."""
    options = {}
    if request.param == "redis":
        redis = request.getfixturevalue("redis")
        options = {"session_store_type": "redis", "redis_connection_url": redis.url}

    def start(*cookie_secrets: str):
        return service(cookie_secret=",".join(cookie_secrets), **options)

    return start


def sent(response) -> list[str]:
    """The session cookies that a response sets."""
    return [header for header in response.headers.get_list("set-cookie") if header.startswith(f"{NAME}=")]


def test_sessions_go_on_through_a_change_of_the_secret(envoy):
    before, changing, changed, after = envoy(OLD), envoy(OLD, NEW), envoy(NEW, OLD), envoy(NEW)
    counter = lambda: changed.envoy.counters()["cookies_of_older_secret"]  # noqa: E731
    counted = counter()
    browser = before.browser()
    browser.sign_in("alice")
    old = browser.cookie

    browser.base_url = changing.url
    answer = browser.get("/echo")
    assert arrived(answer)["x-forwarded-user"] == "alice"
    assert sent(answer) == []

    browser.base_url = changed.url
    answer = browser.get("/echo")
    assert arrived(answer)["x-forwarded-user"] == "alice"
    (cookie,) = sent(answer)
    # `cookie_expire` is a week, some of which has passed.
    (max_age,) = MAX_AGE.findall(cookie)
    assert int(max_age) <= 604800
    assert browser.cookie != old
    # The time in the signature is that of the sign-in.
    assert browser.cookie.split("|")[1] == old.split("|")[1]
    assert sent(browser.get("/echo")) == []
    assert counter() == counted + 1

    # Other Envoys of the fleet have the secrets in the other order, or no longer have the old one.
    browser.base_url = after.url
    answer = browser.get("/echo")
    assert arrived(answer)["x-forwarded-user"] == "alice"
    assert sent(answer) == []
    assert after.browser().get("/echo", headers={"cookie": old}).status_code == 302
    browser.base_url = changing.url
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def test_sign_in_begins_and_ends_at_envoys_with_other_orders(envoy):
    changing, changed = envoy(OLD, NEW), envoy(NEW, OLD)
    for first, second in ((changing, changed), (changed, changing)):
        browser = first.browser()
        callback = urlsplit(browser.callback_url("alice", "/echo"))
        # One load balancer is in front of both, so the host stays the same.
        host = urlsplit(first.url).netloc
        browser.base_url = second.url
        answer = browser.get(f"{callback.path}?{callback.query}", headers={"host": host})
        assert (answer.status_code, answer.headers["location"]) == (302, "/echo")
        assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def test_no_response_brings_a_signed_out_session_back(envoy, request):
    changing, changed = envoy(OLD, NEW), envoy(NEW, OLD)
    browser = changing.browser()
    browser.sign_in("alice")
    old = browser.cookie
    browser.base_url = changed.url
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
    reissued = browser.cookie
    assert browser.get("/oauth2/sign_out").status_code == 200
    for cookie in (old, reissued):
        late = changed.browser().get("/echo", headers={"cookie": cookie})
        assert sent(late) == []
        if request.node.callspec.params["envoy"] == "redis":
            assert late.status_code == 302
            elsewhere = changing.browser()
            until(
                lambda: elsewhere.get("/echo", headers={"cookie": cookie}).status_code == 302,
                "Redis has told the other Envoy",
            )
