"""The filter beside a real oauth2-proxy, as in envoy-config/beside.yaml: oauth2-proxy signs in, the filter reads."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml

from harness.service import arrived
from harness.steps import BESIDE, CONFIG
from harness.visitor import Visitor

from .conftest import DUE_SECONDS, ONE_OF_EACH, every_key

every_store = pytest.mark.parametrize("store", ONE_OF_EACH)


@pytest.fixture
def beside(start_steps):
    def start(store: str, **options: Any):
        steps = start_steps(store, **options)
        steps.go_to(BESIDE)
        return steps

    return start


def sign_in(steps, user: str = "alice") -> Visitor:
    visitor = Visitor(steps.url)
    assert arrived(visitor.sign_in(user, "/echo?page=1"))["x-forwarded-user"] == user
    return visitor


@every_store
@pytest.mark.parametrize("user", ["alice", "carol"])
def test_oauth2_proxy_gets_only_the_requests_of_a_sign_in(beside, store, user):
    steps = beside(store)
    visitor = Visitor(steps.url)
    answer = visitor.sign_in(user, "/echo?page=1")
    assert arrived(answer)["x-forwarded-user"] == user
    assert answer.json()["path"] == "/echo?page=1", "the browser is at the page that it asked for"
    asked = steps.oauth2_proxy.requests()
    assert [request.split("?")[0] for request in asked] == ["GET /oauth2/start", "GET /oauth2/callback"]
    for _ in range(20):
        assert arrived(visitor.get("/echo"))["x-forwarded-user"] == user
    assert steps.oauth2_proxy.requests() == asked


@every_store
def test_signed_in_users_need_no_oauth2_proxy(beside, store):
    steps = beside(store)
    visitor = sign_in(steps)
    steps.oauth2_proxy.stop()
    assert arrived(visitor.get("/echo"))["x-forwarded-email"] == "alice@example.com"
    # Renewed by the filter, because filter-beside.json has cookie_refresh.
    time.sleep(DUE_SECONDS)
    assert arrived(visitor.get("/echo"))["x-forwarded-email"] == "alice@example.com"
    stranger = Visitor(steps.url)
    answer = stranger.get("/echo")
    assert answer.headers["location"] == "/oauth2/start?rd=%2Fecho"
    assert stranger.get(answer.headers["location"]).status_code == 503, "a sign-in began while oauth2-proxy was down"
    steps.oauth2_proxy.start()
    assert arrived(stranger.sign_in("mallory", "/echo"))["x-forwarded-user"] == "mallory"


@every_store
def test_refreshed_sessions_are_valid_at_both_proxies(beside, store, provider):
    steps = beside(store, pass_access_token=True)
    visitor = sign_in(steps)
    tokens = [arrived(visitor.get("/echo"))["x-forwarded-access-token"]]
    for path in ("/echo", "/oauth2/auth"):  # due at the filter, then at oauth2-proxy
        time.sleep(DUE_SECONDS)
        provider.control("forget")
        assert visitor.get(path).status_code in (200, 202)
        assert len(provider.seen("token", "refresh_token")) == 1
        tokens.append(arrived(visitor.get("/echo"))["x-forwarded-access-token"])
        assert visitor.get("/oauth2/userinfo").json()["user"] == "alice"
    assert len(set(tokens)) == 3


@every_store
def test_sign_out_at_oauth2_proxy_ends_the_session_at_the_filter(beside, store, servers):
    steps = beside(store)
    visitor = sign_in(steps)
    copy = visitor.copy()
    assert visitor.get("/oauth2/sign_out?rd=/echo").headers["location"] == "/echo"
    assert "GET /oauth2/sign_out?rd=/echo" in steps.oauth2_proxy.requests()
    assert visitor.get("/echo").status_code == 302
    if store == "redis":
        assert not every_key(servers("redis"))
        # The old ticket is worth nothing.
        copy.wait_for_end(steps.url)


@every_store
def test_filter_without_credentials_of_the_provider_only_reads(beside, store, provider):
    """oauth2-proxy refreshes each session of a request; the filter accepts a session until its tokens expire."""
    options = {"oidc_issuer_url": None, "client_id": None, "redirect_url": None, "cookie_refresh": None}
    steps = beside(store, ours=options)
    visitor = sign_in(steps)
    time.sleep(DUE_SECONDS)
    provider.control("forget")
    assert arrived(visitor.get("/echo"))["x-forwarded-user"] == "alice"
    assert not provider.seen("token")
    assert visitor.get("/oauth2/auth").status_code == 202
    assert len(provider.seen("token", "refresh_token")) == 1
    assert arrived(visitor.get("/echo"))["x-forwarded-user"] == "alice"


def test_sign_in_page_and_its_files_come_from_oauth2_proxy(beside):
    steps = beside("cookie", skip_provider_button=False)
    stranger = Visitor(steps.url)
    answer = stranger.get("/echo")
    assert answer.headers["location"] == "/oauth2/sign_in?rd=%2Fecho"
    page = stranger.get(answer.headers["location"])
    assert page.status_code == 200 and "/oauth2/static/" in page.text
    assert stranger.get("/oauth2/static/css/bulma.min.css").status_code == 200
    for path in ("/oauth2/", "/oauth2/unknown", "/oauth2/static/../auth/x"):
        assert stranger.get(path).status_code in (302, 400), path


def test_beside_yaml_has_the_filter_json_of_filter_beside_json():
    config = yaml.safe_load((CONFIG / "beside.yaml").read_text(encoding="utf-8"))
    (main,) = (listener for listener in config["static_resources"]["listeners"] if listener["name"] == "main")
    plugin = main["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]["config"]
    assert json.loads(plugin["configuration"]["value"]) == json.loads((CONFIG / "filter-beside.json").read_text())
