"""A custom sign-in app hands sessions over in a response header; no other response and no client can."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import httpx
import pytest

from harness.service import arrived

NAME = "_oauth2_proxy"
ALICE = {
    "user": "alice",
    "email": "alice@example.com",
    "groups": ["staff"],
    "access_token": "an-access-token-of-the-app",
    "expires_in": 3600,
}
# The only cluster of envoy.yaml that does not belong to the bridge.
APP = {"mode": "app", "login_app_path": "/login", "login_app_clusters": ["upstream"]}
NO_PROVIDER = {"provider": None, "oidc_issuer_url": None, "client_id": None}


@pytest.fixture(params=["cookie", "redis"])
def running(request, service, with_redis, redis):
    options = {**APP, **NO_PROVIDER, "pass_access_token": True}
    return service(**options) if request.param == "cookie" else with_redis(redis, **options)


@pytest.fixture
def of_cookie(service):
    def start(**options):
        return service(**{**APP, **NO_PROVIDER, **options})

    return start


def hand_over(browser, *sessions: dict | str, path: str = "/login") -> httpx.Response:
    """A response of the upstream with these sessions."""
    texts = [session if isinstance(session, str) else json.dumps(session) for session in sessions]
    answer = browser.request("POST", f"{path}?" + "&".join(f"hand-over={quote(text)}" for text in texts), content=b"x")
    assert "x-oauth2-session" not in answer.headers, "the session header reached the browser"
    return answer


def test_session_of_the_app_signs_the_browser_in(running):
    browser = running.browser()
    assert browser.get("/echo").headers["location"] == "/login?rd=%2Fecho"
    answer = hand_over(browser, ALICE)
    assert answer.status_code == 200
    assert answer.json()["body"]["length"] == 1, "the app's response was changed"
    headers = arrived(browser.get("/echo"))
    assert headers["x-forwarded-user"] == "alice"
    assert headers["x-forwarded-email"] == "alice@example.com"
    assert headers["x-forwarded-groups"] == "staff"
    assert headers["x-forwarded-access-token"] == "an-access-token-of-the-app"
    assert browser.get("/oauth2/userinfo").json()["user"] == "alice"


def test_app_gets_the_identity_of_a_signed_in_user(running):
    browser = running.browser()
    assert "x-forwarded-user" not in arrived(browser.get("/login", headers={"x-forwarded-user": "root"}))
    hand_over(browser, ALICE)
    assert arrived(browser.get("/login"))["x-forwarded-user"] == "alice"


def test_session_in_base64_is_accepted(running):
    browser = running.browser()
    session = {**ALICE, "user": "zoë>>>???"}
    hand_over(browser, base64.b64encode(json.dumps(session, ensure_ascii=False).encode()).decode())
    assert browser.get("/oauth2/userinfo").json()["user"] == "zoë>>>???"


def test_sign_out_ends_the_session_of_the_app(running, redis):
    browser = running.browser()
    hand_over(browser, ALICE)
    assert browser.get("/oauth2/sign_out?rd=/login").headers["location"] == "/login"
    assert NAME not in browser.cookies
    assert browser.get("/echo").status_code == 302
    assert redis.keys() == []


def test_large_session_of_the_app_is_split(of_cookie):
    browser = of_cookie().browser()
    token = base64.b64encode(bytes(range(256)) * 40).decode()
    hand_over(browser, {**ALICE, "id_token": token[:9000]})
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("path", ["/echo", "/loginx", "/public/login"])
def test_response_on_another_path_makes_no_session(of_cookie, path):
    running = of_cookie(skip_auth_routes=["^/"])
    before = running.envoy.counters()["handed_over_dropped"]
    browser = running.browser()
    assert "set-cookie" not in hand_over(browser, ALICE, path=path).headers
    assert running.envoy.counters()["handed_over_dropped"] == before + 1


def test_untrusted_upstream_makes_no_session(of_cookie):
    running = of_cookie(login_app_clusters=["another"])
    before = running.envoy.counters()["handed_over_dropped"]
    browser = running.browser()
    assert "set-cookie" not in hand_over(browser, ALICE).headers
    assert browser.get("/echo").status_code == 302
    assert running.envoy.counters()["handed_over_dropped"] == before + 1


def test_header_is_untouched_in_other_modes(browser):
    # It has no meaning there, so it stays as the upstream's header.
    browser.sign_in()
    answer = browser.get("/echo?hand-over=%7B%7D")
    assert answer.headers["x-oauth2-session"] == "{}"


@pytest.mark.parametrize(
    "session",
    [
        "{}",
        "not json",
        "[]",
        "=",
        {"user": ""},
        {**ALICE, "expires_in": 0},
        {**ALICE, "expires_in": -5},
        {**ALICE, "role": "no such member"},
        {**ALICE, "access_token": "a" * 33_000},
        {**ALICE, "email": "eve@elsewhere.org"},
    ],
)
def test_invalid_session_is_refused_and_the_response_arrives(of_cookie, session):
    running = of_cookie(email_domains=["example.com"])
    before = running.envoy.counters()["handed_over_refused"]
    browser = running.browser()
    answer = hand_over(browser, session)
    assert answer.status_code == 200
    assert answer.json()["path"].startswith("/login")
    assert "set-cookie" not in answer.headers
    assert running.envoy.counters()["handed_over_refused"] == before + 1
    assert running.envoy.says("login app: the session that it handed over is refused")


def test_two_sessions_in_one_response_are_refused(of_cookie):
    running = of_cookie()
    browser = running.browser()
    assert "set-cookie" not in hand_over(browser, ALICE, {**ALICE, "user": "bob"}).headers
    assert running.envoy.says("there is more than one")


def test_hand_over_in_an_outage_of_redis_is_503(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis, **APP, **NO_PROVIDER, redis_command_timeout="1s")
    browser = running.browser()
    hand_over(browser, ALICE)
    redis.stop()
    answer = hand_over(running.browser(), ALICE)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    redis.start()


def test_request_may_end_while_its_session_is_stored(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis, **APP, **NO_PROVIDER)
    browser = running.browser()
    hand_over(browser, ALICE)
    redis.pause()
    with pytest.raises(httpx.ReadTimeout):
        hand_over_impatiently(running.browser())
    redis.resume()
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def hand_over_impatiently(browser) -> None:
    browser.service.timeout = 0.5
    hand_over(browser, ALICE)
