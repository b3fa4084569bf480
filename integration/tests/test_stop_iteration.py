"""A pause that holds only the headers (`allow_on_headers_stop_iteration` of Envoy's PluginConfig): a body that follows
must not carry them past the filter before it has decided."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from urllib.parse import quote, urlsplit

import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, arrived, filter_config


def with_stop_iteration(filter_json, **options):
    config = json.loads(render(filter_json, **options))
    manager = named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
    plugin = named(manager["http_filters"], "oauth2_session")["typed_config"]["config"]
    plugin["allow_on_headers_stop_iteration"] = True
    return json.dumps(config)


@contextlib.contextmanager
def envoy_with(options, upstream, how=with_stop_iteration):
    secrets = {"OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}
    if options.get("client_id"):
        secrets["OAUTH2_PROXY_CLIENT_SECRET"] = CLIENT_SECRET
    envoy = Envoy(options, upstream=upstream.address, render=how, environment=secrets)
    try:
        yield envoy
    finally:
        envoy.stop()


def part(claims: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("how", [render, with_stop_iteration], ids=["default", "stop_iteration"])
def test_body_does_not_bypass_the_filter(upstream, provider, how):
    # A provider that accepts a connection and never answers, so the check of a token waits.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        issuer = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = filter_config(provider, skip_jwt_bearer_tokens=True)
        with envoy_with({**options, "oidc_issuer_url": issuer}, upstream, how) as envoy:
            parts = urlsplit(envoy.url)
            token = ".".join([part({"alg": "RS256"}), part({"iss": issuer}), "c2ln"])
            with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
                client.sendall(
                    b"POST /echo HTTP/1.1\r\nhost: x\r\nx-forwarded-user: root\r\ncontent-length: 5\r\n"
                    b"authorization: Bearer " + token.encode() + b"\r\n\r\n"
                )
                time.sleep(0.5)
                client.sendall(b"hello")
                assert client.recv(65536).startswith(b"HTTP/1.1 503 ")


def test_body_arrives_after_the_decision(upstream, provider, redis):
    options = filter_config(provider, session_store_type="redis", redis_connection_url=redis.url)
    with envoy_with(options, upstream) as envoy:
        provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
        browser = Browser(envoy.url)
        browser.sign_in("alice")
        answer = browser.request("POST", "/echo", content=b"x" * 100_000)
        assert arrived(answer)["x-forwarded-user"] == "alice"
        assert answer.json()["body"]["length"] == 100_000


def test_response_waits_until_its_session_is_stored(upstream, provider, redis):
    options = filter_config(
        provider,
        session_store_type="redis",
        redis_connection_url=redis.url,
        mode="app",
        login_app_path="/login",
        login_app_clusters=["upstream"],
    )
    options = {
        name: value for name, value in options.items() if name not in ("provider", "oidc_issuer_url", "client_id")
    }
    with envoy_with(options, upstream) as envoy:
        browser = Browser(envoy.url)
        session = quote(json.dumps({"user": "alice", "email": "alice@example.com", "expires_in": 3600}))
        answer = browser.request("POST", f"/login?hand-over={session}", content=b"x" * 1000)
        assert answer.status_code == 200 and answer.json()["body"]["length"] == 1000
        assert "x-oauth2-session" not in answer.headers
        assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
