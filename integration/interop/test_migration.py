"""docs/migration.md, step by step and back, with the configurations that it names: no user has to sign in again."""

from __future__ import annotations

import time

import pytest
import yaml

from harness.service import arrived
from harness.steps import ALONE, BESIDE, CONFIG, EXT_AUTHZ
from harness.visitor import Visitor

from .conftest import DUE_SECONDS, ONE_OF_EACH, every_key

FORGED = {
    "x-forwarded-user": "root",
    "x-forwarded-groups": "admins",
    "x-auth-request-user": "root",
    "x-auth-request-groups": "admins",
}
every_store = pytest.mark.parametrize("store", ONE_OF_EACH)
STEPS = (EXT_AUTHZ, BESIDE, ALONE)


def identity(answer) -> dict[str, str | None]:
    names = ("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-preferred-username")
    headers = arrived(answer)
    return {name: headers.get(name) for name in names}


def sign_in(steps, user: str) -> Visitor:
    visitor = Visitor(steps.url)
    assert arrived(visitor.sign_in(user, "/echo"))["x-forwarded-user"] == user
    return visitor


# carol's session is in several cookies.
@every_store
@pytest.mark.parametrize("user", ["alice", "carol"])
@pytest.mark.parametrize(
    "way",
    [(EXT_AUTHZ, ALONE, EXT_AUTHZ), (EXT_AUTHZ, BESIDE, ALONE, BESIDE, EXT_AUTHZ)],
    ids=["without step 2", "all steps"],
)
def test_browser_stays_signed_in_at_every_step_and_back(start_steps, store, user, way):
    steps = start_steps(store)
    first, *others = way
    steps.go_to(first)
    visitor = sign_in(steps, user)
    was = identity(visitor.get("/echo", headers=FORGED))
    assert was["x-forwarded-user"] == user and was["x-forwarded-email"] == f"{user}@example.com"
    for step in others:
        steps.go_to(step)
        assert identity(visitor.get("/echo", headers=FORGED)) == was, step
        # Refreshed by the proxy that does so at this step, and still valid at the next.
        time.sleep(DUE_SECONDS)
        assert identity(visitor.get("/echo")) == was, step


@every_store
@pytest.mark.parametrize(("began", "ended"), [(EXT_AUTHZ, ALONE), (ALONE, EXT_AUTHZ), (BESIDE, ALONE), (ALONE, BESIDE)])
def test_sign_in_under_way_survives_a_step(start_steps, store, began, ended):
    steps = start_steps(store)
    steps.go_to(began)
    visitor = Visitor(steps.url)
    back = visitor.callback_url("alice", "/echo?from=before")
    steps.go_to(ended)
    answer = visitor.follow(visitor.get(back))
    assert arrived(answer)["x-forwarded-user"] == "alice"
    assert answer.json()["path"] == "/echo?from=before"


@every_store
@pytest.mark.parametrize("step", STEPS)
def test_sign_in_works_at_each_step(start_steps, store, step, servers):
    steps = start_steps(store)
    steps.go_to(step)
    stranger = Visitor(steps.url)
    answer = stranger.get("/echo", headers=FORGED)
    assert answer.status_code == 302, "a signed-out user is let through"
    for path in ("/ping/x", "/oauth2/unknown", "/robots.txt/x"):
        assert stranger.get(path).status_code in (302, 401, 403, 404), path
    visitor = sign_in(steps, "alice")
    assert visitor.get("/oauth2/userinfo").json()["email"] == "alice@example.com"
    assert visitor.get("/oauth2/auth").status_code == 202
    kept = visitor.copy()
    visitor.get("/oauth2/sign_out?rd=/echo")
    assert not visitor.session("_oauth2_proxy")
    assert visitor.get("/echo").status_code == 302
    if store == "redis":
        assert not every_key(servers("redis")), "the session is gone"
        kept.wait_for_end(steps.url)


def test_health_check_paths_belong_to_the_service_beside_oauth2_proxy(start_steps):
    steps = start_steps("cookie")
    steps.go_to(EXT_AUTHZ)
    stranger = Visitor(steps.url)
    assert [stranger.get(path).status_code for path in ("/ping", "/ready")] == [302, 302]


def test_only_ext_authz_asks_oauth2_proxy_for_every_request(start_steps):
    steps = start_steps("cookie", cookie_refresh="0s")
    steps.go_to(EXT_AUTHZ)
    visitor = sign_in(steps, "alice")
    before = len(steps.oauth2_proxy.requests())
    for _ in range(10):
        visitor.get("/echo")
    assert len(steps.oauth2_proxy.requests()) == before + 10
    steps.go_to(ALONE)
    steps.oauth2_proxy.stop()
    assert arrived(visitor.get("/echo"))["x-forwarded-user"] == "alice"


def test_beside_yaml_differs_from_envoy_yaml_by_one_cluster():
    names = ("beside.yaml", "envoy.yaml")
    beside, alone = (yaml.safe_load((CONFIG / name).read_text(encoding="utf-8")) for name in names)
    for config in (beside, alone):
        resources = config["static_resources"]
        (main,) = (listener for listener in resources["listeners"] if listener["name"] == "main")
        manager = main["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        routes[:] = [route for route in routes if route["route"]["cluster"] != "oauth2_proxy"]
        resources["clusters"] = [cluster for cluster in resources["clusters"] if cluster["name"] != "oauth2_proxy"]
        manager["http_filters"][0]["typed_config"]["config"]["configuration"]["value"] = "the filter JSON"
    assert beside == alone
