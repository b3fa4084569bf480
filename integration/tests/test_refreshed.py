"""The provider's answers to a refresh token, and the session after them: RFC 6749, OpenID Connect Core 12.2."""

from __future__ import annotations

import time

import pytest

from harness.fake_provider import Answer, FakeProvider, Key
from harness.service import CLIENT_ID, CLIENT_SECRET, arrived
from harness.waiting import until

NAME = "_oauth2_proxy"
# How long a session lasts here, and until it has expired.
LIFETIME = 2
EXPIRED_SECONDS = LIFETIME + 1.1
# A worker tries again after five seconds.
AGAIN_SECONDS = 30
SILENT = {"email": None, "email_verified": None, "preferred_username": None, "groups": None}


@pytest.fixture(scope="module")
def one_fake():
    provider = FakeProvider(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    provider.lifetime = LIFETIME
    yield provider
    provider.stop()


@pytest.fixture
def fake(one_fake):
    """The provider of all tests here, reset at the end of each."""
    keys = one_fake.keys
    yield one_fake
    one_fake.keys, one_fake.client_secret, one_fake.answers = keys, CLIENT_SECRET, {}


@pytest.fixture(params=["cookie", "redis"])
def running(request, service, fake, redis):
    """An Envoy with each store, which refreshes expired sessions."""
    store = {"session_store_type": "redis", "redis_connection_url": redis.url} if request.param == "redis" else {}
    return service(provider=fake, pass_access_token=True, **store)


def identity(answer) -> dict[str, str]:
    headers = arrived(answer)
    return {
        name: value
        for name, value in headers.items()
        if name in {"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username"}
    }


def is_unavailable(answer) -> bool:
    return answer.status_code == 503 and "retry-after" in answer.headers


@pytest.mark.parametrize(
    "refreshed",
    [
        {"answer": Answer(claims=SILENT), "userinfo": Answer(500)},
        {"answer": Answer(), "keys": [Key(is_published=False)]},
    ],
)
def test_refresh_keeps_claims_and_tokens_that_the_answer_omits(running, fake, refreshed):
    browser, before = running.browser(), len(fake.seen("token", "refresh_token"))
    first = browser.sign_in("alice", "/echo")
    fake.answers["token:refresh_token"] = [refreshed["answer"]]
    fake.answers["userinfo"] = refreshed.get("userinfo", Answer(claims=SILENT))
    fake.keys = refreshed.get("keys", fake.keys)
    time.sleep(EXPIRED_SECONDS)
    second = browser.get("/echo")
    assert identity(second) == identity(first)
    assert arrived(second)["x-forwarded-access-token"] != arrived(first)["x-forwarded-access-token"]
    # The provider accepts each refresh token once.
    time.sleep(EXPIRED_SECONDS)
    assert identity(browser.get("/echo")) == identity(first)
    assert len(fake.seen("token", "refresh_token")) == before + 2


def test_refresh_with_another_user_s_tokens_ends_the_session(running, fake):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    fake.answers["token:refresh_token"] = [Answer(claims={"sub": "mallory", "email": "mallory@example.com"})]
    time.sleep(EXPIRED_SECONDS)
    assert browser.get("/echo").status_code == 302
    assert NAME not in browser.cookies


def test_refused_refresh_ends_an_expired_session(running, fake):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    fake.answers["token:refresh_token"] = Answer(403, "<html>Request blocked</html>")
    time.sleep(EXPIRED_SECONDS)
    assert browser.get("/echo").status_code == 302
    assert NAME not in browser.cookies
    assert running.envoy.says("refresh: the provider ended a session: token endpoint: ")
    del fake.answers["token:refresh_token"]
    assert identity(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_refresh_with_a_wrong_client_secret_keeps_the_session(running, fake):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    cookies, before = browser.cookie, running.envoy.counters()["client_refused"]
    fake.client_secret = "another"
    time.sleep(EXPIRED_SECONDS)
    answer = browser.get("/echo")
    assert (answer.status_code, answer.headers["location"]) == (302, "/oauth2/start?rd=%2Fecho")
    assert browser.get("/echo", headers={"accept": "application/json"}).status_code == 401
    assert browser.cookie == cookies
    assert running.envoy.says("refresh: token endpoint: the provider does not take this client (invalid_client)")
    assert running.envoy.counters()["client_refused"] == before + 1
    fake.client_secret = CLIENT_SECRET
    until(lambda: browser.get("/echo").status_code == 200, "the session goes on", seconds=AGAIN_SECONDS, pause=1)


@pytest.mark.parametrize("answer", [Answer(0), Answer(429, {"error": "invalid_grant"})])
def test_expired_session_waits_for_the_provider(running, fake, answer):
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    cookies = browser.cookie
    fake.answers["token:refresh_token"] = answer
    time.sleep(EXPIRED_SECONDS)
    assert is_unavailable(browser.get("/echo"))
    assert browser.cookie == cookies
    del fake.answers["token:refresh_token"]
    until(lambda: browser.get("/echo").status_code == 200, "the session goes on", seconds=AGAIN_SECONDS, pause=1)
