"""Strangers cannot take the provider away from signed-in users, nor from users who want to sign in."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import time
from collections import Counter
from urllib.parse import urlsplit

import httpx
import pytest

from harness.render import RATE_LIMIT
from harness.service import arrived
from harness.strangers import Strangers
from harness.waiting import until

STRANGERS = 400
# The limits of src/flow/util/gate.rs and src/flow/endpoints/callback/attempts.rs, for each worker.
GRANTS = 8
CODES = 5
WORKERS = 2
REFRESH = "3s"
DUE_SECONDS = 3.2


def code_grants(provider) -> int:
    return len(provider.seen("token", "authorization_code"))


def hold_code_grants(provider) -> None:
    """The provider answers codes only after the filter's time limit; all else works."""
    provider.control("faults", **{"token:authorization_code": {"delay": 60_000}})


def test_one_sign_in_may_try_only_a_few_codes(service, make_provider):
    provider = make_provider()
    running = service(provider=provider, concurrency=WORKERS, is_shared=False)
    with Strangers(running.url, STRANGERS, sign_ins=1) as strangers:
        assert strangers.statuses() == {403: STRANGERS}
    asked = code_grants(provider)
    assert 0 < asked <= CODES * WORKERS
    assert running.envoy.counters()["callbacks_refused"] == STRANGERS - asked
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("store", ["cookie", "redis"])
def test_hanging_code_grants_block_no_refresh_and_no_sign_in(store, service, make_provider, make_redis):
    provider = make_provider()
    options = {"session_store_type": "redis", "redis_connection_url": make_redis().url} if store == "redis" else {}
    running = service(provider=provider, concurrency=WORKERS, is_shared=False, cookie_refresh=REFRESH, **options)
    alice = running.browser()
    alice.sign_in("alice", "/echo")
    carol = running.browser()
    callback = carol.callback_url("carol", "/echo")
    time.sleep(DUE_SECONDS)
    hold_code_grants(provider)
    provider.control("forget")
    with Strangers(running.url, STRANGERS) as strangers:
        until(lambda: code_grants(provider) >= GRANTS, "strangers ask the provider", seconds=20)
        # Her session is due, and is refreshed as usual.
        assert arrived(alice.get("/echo"))["x-forwarded-user"] == "alice"
        assert len(provider.seen("token", "refresh_token")) == 1
        assert running.envoy.counters()["refreshes"] == 1
        assert running.envoy.counters()["refreshes_failed"] == 0
        # A user who wants to sign in now gets in, or is told to come back.
        answer = carol.get(callback)
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")
        assert strangers.statuses() == {503: STRANGERS}
    provider.control("faults")
    # If her callback was refused, her code is not used up; otherwise she signs in again.
    answer = until(
        lambda: (got := carol.get(callback)).status_code != 503 and got, "the provider is free again", seconds=20
    )
    assert answer.status_code == 302, answer.text
    assert arrived(carol.get("/echo"))["x-forwarded-user"] == "carol"
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_reloaded_callback_uses_its_code_once(service, make_provider):
    provider = make_provider()
    running = service(provider=provider, is_shared=False)
    browser = running.browser()
    callback = browser.callback_url("alice", "/echo")
    provider.control("faults", **{"token:authorization_code": {"delay": 2000}})
    target = urlsplit(callback)
    gone = socket.create_connection((target.hostname, target.port))
    head = f"GET {target.path}?{target.query} HTTP/1.1\r\nhost: {target.netloc}\r\ncookie: {browser.cookie}\r\n\r\n"
    gone.sendall(head.encode())
    until(lambda: code_grants(provider) == 1, "the code is being redeemed", seconds=20)
    gone.close()
    assert browser.get(callback).status_code == 302
    assert code_grants(provider) == 1
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def forged(token: str, number: int, **header: str) -> str:
    """The token with another user or another header, and the old signature."""

    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    own_header, payload, signature = token.split(".")
    read = lambda text: json.loads(base64.urlsafe_b64decode(text + "=="))  # noqa: E731
    return f"{part({**read(own_header), **header})}.{part({**read(payload), 'sub': f'm{number}'})}.{signature}"


def test_forged_tokens_cause_bounded_checks_fetches_and_log_lines(service, make_provider):
    provider = make_provider()
    signing_in = service(provider=provider, pass_authorization_header=True)
    token = arrived(signing_in.browser().sign_in("alice", "/echo"))["authorization"].removeprefix("Bearer ")
    running = service(provider=provider, skip_jwt_bearer_tokens=True, is_shared=False)

    def status(client: httpx.Client, token: str) -> int:
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        return client.get(f"{running.url}/echo", headers=headers).status_code

    with contextlib.closing(httpx.Client(trust_env=False, timeout=30)) as client:
        assert status(client, token) == 200
        provider.control("forget")
        began = time.monotonic()
        answers = {status(client, forged(token, number)) for number in range(1500)}
        answers |= {status(client, forged(token, number, kid=f"key-{number}")) for number in range(500)}
        seconds = time.monotonic() - began
        assert answers <= {401, 503}
        assert status(client, token) == 200
    # One at once, then one in ten seconds.
    assert len(provider.seen("jwks")) <= 1 + seconds / 10
    # Ten lines about tokens at once, then one a second.
    lines = [line for line in running.envoy.log().splitlines() if "bearer token: " in line]
    assert 10 <= len(lines) <= 11 + seconds


def asked_from(address: str, running, path: str) -> int:
    """The status of an answer to this client. All of 127.0.0.0/8 is this machine."""
    connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=30, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def test_shipped_rate_limit_counts_sign_ins_of_one_client(service):
    running = service(filters_before=RATE_LIMIT.read_text(encoding="utf-8"))
    paths = ("/oauth2/start?rd=/", "/oauth2/sign_in", "/oauth2/callback?code=guess&state=a:b")
    stranger = Counter(asked_from("127.0.0.2", running, paths[number % 3]) for number in range(300))
    # A minute's worth at once, and one a second.
    assert 60 <= 300 - stranger[429] < 120, stranger
    assert asked_from("127.0.0.2", running, "/ping") == 200
    assert {asked_from("127.0.0.3", running, path) for path in paths} == {302, 200, 403}
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
