"""The fields of the filter in Envoy's access log: envoy-config/access-log.yaml, as JSON and as text."""

from __future__ import annotations

import itertools
import json

import pytest

from harness.render import ACCESS_LOG, text_access_log
from harness.service import arrived
from harness.waiting import until

EXAMPLE = ACCESS_LOG.read_text(encoding="utf-8")
FIELDS = ["user", "state", "reason"]

TEXT = text_access_log(
    "ACCESS %REQ(X-MARK)% %RESPONSE_CODE% %FILTER_STATE(wasm.oauth2_session.user:PLAIN)%"
    " %FILTER_STATE(wasm.oauth2_session.state:PLAIN)% %FILTER_STATE(wasm.oauth2_session.reason:PLAIN)%"
)
# Envoy's own field, which distinguishes the answers of the filter from those of the upstream ("via_upstream").
DETAILS = text_access_log("DETAILS %REQ(X-MARK)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")


def logged(service, path: str) -> tuple:
    """The log's fields of the last request to a path: user, state, reason."""
    line = json.loads(service.envoy.says(f'"path":"{path}"')[-1])
    return line["user"], line["session"], line["reason"]


def test_example_log_has_user_state_and_reason(service):
    at = service(access_log=EXAMPLE, access_log_fields=FIELDS, skip_auth_routes=["^/public"])
    browser = at.browser()
    browser.get("/first")
    assert logged(at, "/first") == (None, "anonymous", "no_cookie")
    browser.sign_in("alice")
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
    assert logged(at, "/oauth2/callback") == ("alice", "endpoint", "signed_in")
    assert logged(at, "/echo") == ("alice", "authenticated", None)
    browser.get("/ping")
    assert logged(at, "/ping") == (None, "endpoint", None)
    stranger = at.browser()
    stranger.get("/public/page")
    assert logged(at, "/public/page") == (None, "skipped", "no_cookie")
    stranger.get("/second", headers={"cookie": "_oauth2_proxy=a|1|b"})
    assert logged(at, "/second") == (None, "anonymous", "bad_cookie")


def test_request_that_waited_has_its_fields(make_redis, service):
    redis = make_redis()
    at = service(
        access_log=EXAMPLE,
        access_log_fields=FIELDS,
        is_shared=False,
        redis_command_timeout="500ms",
        session_store_type="redis",
        redis_connection_url=redis.url,
    )
    browser = at.browser()
    browser.sign_in("alice")
    arrived(browser.get("/echo"))
    assert logged(at, "/echo") == ("alice", "authenticated", None)
    redis.command("FLUSHALL")
    kept = browser.cookie
    until(lambda: browser.get("/echo").status_code == 302, "Redis has told of it")
    browser.get("/gone")
    assert logged(at, "/gone") == (None, "anonymous", "gone")
    redis.stop()
    assert at.browser().get("/away", headers={"cookie": kept}).status_code == 503
    assert logged(at, "/away") == (None, "unavailable", "redis_unavailable")


@pytest.mark.parametrize("fields", [["state"], []])
def test_fields_that_are_not_configured_are_missing(fields, service):
    at = service(access_log=EXAMPLE, access_log_fields=fields)
    browser = at.browser()
    browser.sign_in("alice")
    arrived(browser.get("/echo"))
    assert logged(at, "/echo") == (None, "authenticated" if fields else None, None)


def test_client_cannot_set_the_fields(service):
    at = service(access_log=EXAMPLE, access_log_fields=FIELDS)
    at.browser().get("/forged", headers={"wasm.oauth2_session.user": "root", "x-forwarded-user": "root"})
    assert logged(at, "/forged") == (None, "anonymous", "no_cookie")


def test_text_log_has_a_dash_for_a_missing_field(service):
    at = service(access_log=TEXT, access_log_fields=FIELDS)
    browser = at.browser()
    browser.get("/", headers={"x-mark": "before"})
    browser.sign_in("alice")
    browser.get("/echo", headers={"x-mark": "after"})
    (before,), (after,) = at.envoy.says("ACCESS before"), at.envoy.says("ACCESS after")
    assert before.split() == ["ACCESS", "before", "302", "-", "anonymous", "no_cookie"]
    assert after.split() == ["ACCESS", "after", "200", "alice", "authenticated", "-"]


def test_response_code_details_name_the_reason(make_redis, service):
    redis = make_redis()
    at = service(
        access_log=DETAILS,
        is_shared=False,
        redis_command_timeout="500ms",
        skip_jwt_bearer_tokens=True,
        bearer_token_login_fallback=False,
        session_store_type="redis",
        redis_connection_url=redis.url,
    )
    stranger, browser = at.browser(), at.browser()
    browser.sign_in("alice")

    numbers = itertools.count(1)

    def details(browser, path: str, **headers: str) -> str:
        mark = f"m{next(numbers)}"
        browser.get(
            path,
            headers={
                "x-mark": mark,
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        (line,) = at.envoy.says(f"DETAILS {mark} ")
        return line.split(" ", 2)[2]

    assert details(stranger, "/echo") == "302 oauth2_session_no_cookie"
    assert details(stranger, "/echo", cookie="_oauth2_proxy=a|1|b") == "302 oauth2_session_bad_cookie"
    assert details(stranger, "/echo", authorization="Bearer eyJhbGciOiJub25lIn0.e30.") == "403 oauth2_session_bad_token"
    assert details(stranger, "/echo", content_type="application/grpc") == "200 oauth2_session_no_cookie"
    assert details(stranger, "/oauth2/auth", content_type="application/grpc") == "401 oauth2_session_no_cookie"
    assert details(stranger, "/oauth2/callback") == "403 oauth2_session_bad_callback"
    assert details(stranger, "/oauth2/start") == "302 oauth2_session_start"
    assert details(stranger, "/ping") == "200 oauth2_session_ping"
    assert details(browser, "/echo") == "200 via_upstream"
    assert details(browser, "/oauth2/auth?allowed_groups=x") == "403 oauth2_session_forbidden"
    redis.stop()
    # The session may be served from memory until the worker knows of the outage.
    until(lambda: details(browser, "/echo") != "200 via_upstream", "the worker knows of the outage")
    assert details(browser, "/echo") == "503 oauth2_session_redis_unavailable"
