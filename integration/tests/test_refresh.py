"""Refresh: one grant for all, and no outage signs a user out."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.service import arrived
from harness.waiting import until

NAME = "_oauth2_proxy"
# Long enough for a slow machine to sign in and to answer a burst before the session is due again.
REFRESH = "3s"
DUE_SECONDS = 3.2
REQUESTS = 20


@pytest.fixture
def refreshing(service):
    """An Envoy with two workers that refreshes sessions, and passes the access token to the upstream."""
    return service(cookie_refresh=REFRESH, pass_access_token=True, concurrency=2)


def sign_in(running):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    return browser, arrived(browser.get("/echo"))["x-forwarded-access-token"]


def until_due() -> None:
    time.sleep(DUE_SECONDS)


def session_of(response) -> str | None:
    headers = response.headers.get_list("set-cookie")
    return next((header.split(";")[0] for header in headers if header.startswith(f"{NAME}=")), None)


def burst(running, browser, path="/echo", count=REQUESTS) -> list[httpx.Response]:
    """Requests at the same time with the same cookie, each on a connection of its own."""
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    together = threading.Barrier(count)

    def request(_: int) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30, verify=False) as client:
            together.wait()
            return client.get(running.url + path, headers={"cookie": cookie})

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(request, range(count)))


def grants(provider) -> int:
    return len(provider.seen("token", "refresh_token"))


def test_due_session_is_refreshed(refreshing, provider):
    browser, token = sign_in(refreshing)
    assert grants(provider) == 0
    until_due()
    answer = browser.get("/echo")
    assert arrived(answer)["x-forwarded-access-token"] != token
    assert arrived(answer)["x-forwarded-user"] == "alice"
    assert session_of(answer)
    assert grants(provider) == 1
    again = browser.get("/echo")
    assert arrived(again)["x-forwarded-access-token"] == arrived(answer)["x-forwarded-access-token"]
    assert session_of(again) is None
    assert grants(provider) == 1


def test_session_is_refreshed_repeatedly(refreshing, provider):
    browser, _ = sign_in(refreshing)
    for number in (1, 2):
        until_due()
        assert browser.get("/echo").status_code == 200
        assert grants(provider) == number


def test_burst_with_the_old_cookie_makes_one_grant(refreshing, provider):
    browser, token = sign_in(refreshing)
    until_due()
    answers = burst(refreshing, browser)
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    tokens = {arrived(answer)["x-forwarded-access-token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {token}
    assert len({session_of(answer) for answer in answers} - {None}) == 1
    assert all(session_of(answer) for answer in answers)
    assert grants(provider) == 1


def test_burst_waits_for_a_slow_grant(refreshing, provider):
    browser, token = sign_in(refreshing)
    until_due()
    provider.control("faults", token={"delay": 500})
    answers = burst(refreshing, browser)
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    tokens = {arrived(answer)["x-forwarded-access-token"] for answer in answers}
    assert len(tokens) == 1
    assert tokens != {token}
    assert grants(provider) == 1


def test_refreshed_cookie_is_valid_at_every_worker(refreshing, provider):
    browser, _ = sign_in(refreshing)
    until_due()
    new = session_of(browser.get("/echo"))
    assert new
    answers = refreshing.answers_of_each_worker("/echo", cookie=new)
    assert {answer.status_code for answer in answers} == {200}
    assert grants(provider) == 1


def test_browser_that_leaves_does_not_cancel_the_grant(refreshing, provider):
    browser, token = sign_in(refreshing)
    old = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    until_due()
    provider.control("faults", token={"delay": 1000})
    with pytest.raises(httpx.TimeoutException):
        httpx.get(refreshing.url + "/echo", headers=old, timeout=0.5, trust_env=False)
    answer = httpx.get(refreshing.url + "/echo", headers=old, timeout=30, trust_env=False)
    assert arrived(answer)["x-forwarded-access-token"] != token
    assert grants(provider) == 1


def test_body_arrives_whole_after_a_refresh(refreshing, provider):
    browser, _ = sign_in(refreshing)
    until_due()
    provider.control("faults", token={"delay": 500})
    body = b"0123456789" * 200_000
    answer = browser.request("POST", "/echo", content=body)
    assert answer.status_code == 200
    assert answer.json()["body"] == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert grants(provider) == 1


@pytest.mark.parametrize("path, status", [("/oauth2/auth", 202), ("/oauth2/userinfo", 200)])
def test_endpoint_refreshes_a_due_session(path, status, refreshing, provider):
    browser, _ = sign_in(refreshing)
    until_due()
    answer = browser.get(path)
    assert answer.status_code == status
    assert session_of(answer)
    assert grants(provider) == 1


def test_user_whose_session_the_provider_ended_is_signed_out(refreshing, provider):
    browser, _ = sign_in(refreshing)
    provider.control("revoke")
    until_due()
    answer = browser.get("/echo")
    assert answer.status_code == 302
    assert NAME not in browser.cookies
    assert grants(provider) == 1


def test_burst_with_an_ended_session_makes_one_grant(refreshing, provider):
    browser, _ = sign_in(refreshing)
    provider.control("revoke")
    until_due()
    answers = burst(refreshing, browser)
    assert [answer.status_code for answer in answers] == [302] * REQUESTS
    assert grants(provider) == 1


# ---- a sign-out meanwhile ----


def headers_of(browser) -> dict[str, str]:
    return {"cookie": browser.cookie}


def sign_out(running, headers: dict[str, str]) -> None:
    """Signs out on many connections, so that every worker gets a sign-out."""
    for _ in range(6):
        answer = httpx.get(running.url + "/oauth2/sign_out", headers=headers, trust_env=False)
        assert answer.status_code == 200


def test_refresh_under_way_does_not_undo_a_sign_out(refreshing, provider):
    browser, _ = sign_in(refreshing)
    until_due()
    provider.control("faults", token={"delay": 1000})
    old = headers_of(browser)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(burst, refreshing, browser)
        until(lambda: grants(provider), "the refresh has begun", seconds=10)
        sign_out(refreshing, old)
        answers = waiting.result()
    # A request that did not wait for it went on with the old session.
    assert {answer.status_code for answer in answers} <= {200, 302}
    assert not [answer for answer in answers if answer.headers.get_list("set-cookie")]
    # Nor does the old cookie become a new one.
    for answer in burst(refreshing, browser, count=8):
        assert (answer.status_code, answer.headers.get_list("set-cookie")) == (302, [])
    assert grants(provider) == 1


@pytest.mark.parametrize("cookie", ["old", "new"])
def test_late_response_does_not_undo_a_sign_out(cookie, refreshing, upstream):
    browser, _ = sign_in(refreshing)
    old = headers_of(browser)
    until_due()
    upstream.gate = threading.Event()
    upstream.seen.clear()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(httpx.get, refreshing.url + "/respond?gate", headers=old, timeout=30, trust_env=False)
            until(lambda: upstream.seen, "the request is at the upstream", seconds=10)
            if cookie == "new":
                assert session_of(browser.get("/echo"))
                assert headers_of(browser) != old
            sign_out(refreshing, headers_of(browser))
            upstream.gate.set()
            late = waiting.result()
    finally:
        upstream.gate.set()
    assert (late.status_code, late.headers.get_list("set-cookie")) == (200, [])


# ---- one cookie in several spellings ----

BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_cookie_with_another_spelling_of_its_signature_refreshes_once(refreshing, provider):
    browser, _ = sign_in(refreshing)
    until_due()
    provider.control("faults", token={"delay": 500})
    cookie = browser.cookies[NAME].removesuffix("=")
    # The last two bits of 43 letters have no meaning for 32 bytes.
    first = BASE64URL.index(cookie[-1]) & ~3
    spellings = [f"{cookie[:-1]}{letter}=" for letter in BASE64URL[first : first + 4]]
    assert browser.cookies[NAME] in spellings
    together = threading.Barrier(12)

    def request(number: int) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30) as client:
            together.wait()
            return client.get(refreshing.url + "/echo", headers={"cookie": f"{NAME}={spellings[number % 4]}"})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(request, range(12)))
    assert len({arrived(answer)["x-forwarded-access-token"] for answer in answers}) == 1
    assert grants(provider) == 1


# ---- the provider does not answer ----


def test_provider_that_is_down_ends_no_session(refreshing, provider):
    browser, token = sign_in(refreshing)
    until_due()
    provider.control("down")
    try:
        answers = burst(refreshing, browser)
        assert {answer.status_code for answer in answers} == {200}
        assert {arrived(answer)["x-forwarded-access-token"] for answer in answers} == {token}
    finally:
        provider.control("up")


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"status": 429},
        {"status": 400, "body": {"error": "temporarily_unavailable"}},
        {"status": 401, "body": {"error": "invalid_client"}},
        {"status": 200, "body": {"no": "token"}},
    ],
    ids=["500", "503", "429", "temporarily_unavailable", "invalid_client", "no token"],
)
def test_error_other_than_invalid_grant_ends_no_session(fault, refreshing, provider):
    browser, token = sign_in(refreshing)
    until_due()
    provider.control("faults", token=fault)
    assert arrived(browser.get("/echo"))["x-forwarded-access-token"] == token
    assert grants(provider) >= 1
    assert NAME in browser.cookies


def test_session_is_refreshed_once_the_provider_is_back(refreshing, provider):
    browser, token = sign_in(refreshing)
    until_due()
    provider.control("faults", token={"status": 500})
    assert arrived(browser.get("/echo"))["x-forwarded-access-token"] == token
    provider.control("faults")
    deadline = time.monotonic() + 30
    while arrived(browser.get("/echo"))["x-forwarded-access-token"] == token:
        assert time.monotonic() < deadline, "never tried again"
        time.sleep(0.5)
