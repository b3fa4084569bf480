"""A cache in front of Envoy must not keep a response for one user."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import pytest

NAME = "_oauth2_proxy"
REFRESH = "3s"
DUE_SECONDS = 3.2
CACHEABLE = "public, max-age=600"


def respond(status: int = 200, *headers: str, path: str = "/respond") -> str:
    return f"{path}?" + urlencode([("status", status), *(("header", header) for header in headers)])


def directives(response) -> list[str]:
    """The directives of all `cache-control` headers (RFC 9111 section 5.2); several headers count as one."""
    values = response.headers.get_list("cache-control", split_commas=True)
    return sorted(value.strip() for value in values)


def sets_session(response) -> bool:
    return any(header.startswith(f"{NAME}=") for header in response.headers.get_list("set-cookie"))


@pytest.mark.parametrize("status", [200, 206, 304])
@pytest.mark.parametrize("cache_control", [CACHEABLE, None], ids=["cacheable", "nothing said"])
def test_response_with_a_refreshed_session_is_private(status, cache_control, service):
    browser = service(cookie_refresh=REFRESH).browser()
    browser.sign_in("alice")
    said = [f"cache-control:{cache_control}"] if cache_control else []
    path = respond(status, 'etag:"one"', "vary:accept", *said)
    expected = ["max-age=600", "public"] if cache_control else []
    plain = browser.get(path)
    assert (plain.status_code, sets_session(plain), directives(plain)) == (status, False, expected)
    time.sleep(DUE_SECONDS)
    renewed = browser.get(path)
    assert (renewed.status_code, sets_session(renewed)) == (status, True)
    # Added to the directives of the upstream, which stay unchanged.
    assert directives(renewed) == sorted([*expected, "private"])
    assert (renewed.headers["etag"], renewed.headers["vary"]) == ('"one"', "accept")


def test_response_with_an_identity_is_private(service):
    browser = service(set_xauthrequest=True, skip_auth_routes=["^/respond"]).browser()
    path = respond(200, f"cache-control:{CACHEABLE}")
    assert directives(browser.get(path)) == ["max-age=600", "public"]
    browser.sign_in("alice")
    answer = browser.get(path)
    assert answer.headers["x-auth-request-user"] == "alice"
    assert directives(answer) == ["max-age=600", "private", "public"]


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_skipped_route_neither_sets_nor_clears_cookies(method, service):
    skipping = {"GET": {"skip_auth_routes": ["^/respond"]}, "OPTIONS": {"skip_auth_preflight": True}}[method]
    browser = service(cookie_refresh=REFRESH, **skipping).browser()
    path = respond(200, f"cache-control:{CACHEABLE}")
    browser.sign_in("alice")
    time.sleep(DUE_SECONDS)
    for headers in ({}, {"cookie": f"{NAME}=junk"}, {"cookie": f"{NAME}=YQ==|17|YQ==; {NAME}_0=a"}):
        answer = browser.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers.get_list("set-cookie")) == (200, []), headers
        assert directives(answer) == ["max-age=600", "public"]
    # The next request that needs a session refreshes it.
    assert sets_session(browser.get("/echo"))


def test_answers_of_the_filter_are_kept_by_no_cache(service):
    running = service(allowed_groups=["admins"])
    stranger, alice = running.browser(), running.browser()
    alice.sign_in("alice")
    answers = [
        stranger.get("/"),
        stranger.get("/", headers={"accept": "application/json"}),
        stranger.get("/", headers={"cookie": f"{NAME}=junk"}),
        stranger.request("POST", "/oauth2/start"),
        stranger.get("/oauth2/sign_out", headers={"purpose": "prefetch"}),
        *(
            stranger.get(path)
            for path in (
                "/ping",
                "/ready",
                "/oauth2/start",
                "/oauth2/callback",
                "/oauth2/userinfo",
                "/oauth2/auth",
                "/oauth2/sign_in",
            )
        ),
        *(
            alice.get(path)
            for path in (
                "/oauth2/userinfo",
                "/oauth2/auth",
                "/oauth2/auth?allowed_groups=x",
                "/oauth2/sign_out?rd=/",
                "/oauth2/sign_out",
            )
        ),
    ]
    assert {answer.status_code for answer in answers} == {200, 202, 302, 401, 403, 405}
    for answer in answers:
        assert "no-store" in directives(answer), answer.url
