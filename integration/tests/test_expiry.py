"""Sessions that end, with their tokens or with cookie_expire, and sessions that are refreshed."""

import time

import pytest

from harness.service import arrived

NAME = "_oauth2_proxy"
TOKEN_SECONDS = 3


@pytest.fixture
def brief_provider(make_provider):
    return make_provider(access_token_ttl=TOKEN_SECONDS)


def until_expired() -> None:
    time.sleep(TOKEN_SECONDS + 1.2)


def test_session_with_expired_tokens_is_refreshed(service, brief_provider):
    browser = service(provider=brief_provider).browser()
    browser.sign_in("alice")
    until_expired()
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
    assert len(brief_provider.seen("token", "refresh_token")) == 1


def test_expired_session_is_503_while_the_provider_is_down(service, brief_provider):
    browser = service(provider=brief_provider, provider_request_timeout="1s").browser()
    browser.sign_in("alice")
    until_expired()
    brief_provider.control("faults", token={"status": 503})
    answer = browser.get("/echo")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert NAME in browser.cookies, "the outage signed the user out"
    brief_provider.control("faults")
    deadline = time.monotonic() + 30
    while (answer := browser.get("/echo")).status_code != 200:
        assert time.monotonic() < deadline, f"the session does not come back: {answer.status_code}"
        time.sleep(0.5)
    assert arrived(answer)["x-forwarded-user"] == "alice"


def test_expired_session_without_refresh_token_goes_to_sign_in(service, make_provider):
    provider = make_provider({"grant_types": ["authorization_code"]}, access_token_ttl=TOKEN_SECONDS)
    strict = service(provider=provider).browser()
    lenient = service(provider=provider, enforce_expires_on=False).browser()
    for browser in (strict, lenient):
        browser.sign_in("alice")
    until_expired()
    assert strict.get("/echo").status_code == 302
    assert lenient.get("/echo").status_code == 200


def test_session_ends_after_cookie_expire(service):
    browser = service(cookie_expire="3s").browser()
    browser.sign_in("alice")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    assert browser.get("/echo", headers={"cookie": cookie}).status_code == 200
    time.sleep(4.2)
    browser._jar.clear()
    assert browser.get("/echo", headers={"cookie": cookie}).status_code == 302
