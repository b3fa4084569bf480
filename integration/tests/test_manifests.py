"""A sign-in with the configuration that the manifests for Istio and Envoy Gateway result in, on a real Envoy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.envoy import Envoy
from harness.manifests import ENVOY_GATEWAY, TRAFFIC_EXTENSION, WASM_PLUGIN, manager, manifest, shipped
from harness.render import TEMPLATE, named
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config

ALL = (WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY)


@pytest.fixture
def start(provider, upstream, tmp_path):
    """Starts an Envoy with the configuration that the manifests result in."""
    started = []

    def start(which: str, *more: str, **options: Any) -> Service:
        envoy = Envoy(
            filter_config(provider, **options),
            upstream=upstream.address,
            render=shipped(which, tmp_path, *more),
            environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
        )
        started.append(Service(envoy, provider))
        return started[-1]

    yield start
    for service in started:
        try:
            service.check()
        finally:
            service.envoy.stop()


@pytest.mark.parametrize("which", ALL)
def test_manifests_sign_in_with_sessions_in_cookies(start, which):
    browser = start(which).browser()
    assert browser.get("/echo").status_code == 302
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("which", ALL)
def test_manifests_sign_in_with_sessions_in_redis(start, redis, which):
    browser = start(which, session_store_type="redis", redis_connection_url=redis.url).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert redis.command("DBSIZE") == 1


def route_of_envoy_yaml() -> dict:
    listener = named(yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["static_resources"]["listeners"], "main")
    return manager(listener)["route_config"]["virtual_hosts"][0]["routes"][0]


@pytest.mark.parametrize("which", ALL)
def test_manifests_let_the_provider_end_sessions(start, redis, which):
    options = {
        "session_store_type": "redis",
        "redis_connection_url": redis.url,
        "redis_session_index": True,
        "backchannel_logout": True,
    }
    running = start(which, "backchannel-logout", **options)
    answer = running.browser().request("POST", "/oauth2/backchannel_logout", data={"logout_token": "a.b.c"})
    assert answer.json() == {
        "error": "invalid_request",
        "error_description": "logout token: it is not a well-formed JWT",
    }
    # Without the route, the filter reads no body, and nothing gets through.
    answer = start(which, **options).browser().request("POST", "/oauth2/backchannel_logout", data={"logout_token": "x"})
    assert (answer.status_code, "x-upstream" in answer.headers) == (501, False)


def test_manifests_have_the_route_of_envoy_yaml():
    [patch] = manifest("istio/backchannel-logout.yaml")["spec"]["configPatches"]
    [add, _] = manifest("envoy-gateway/backchannel-logout.yaml")["spec"]["jsonPatches"]
    for route in (patch["patch"]["value"], add["operation"]["value"]):
        assert {**route_of_envoy_yaml(), "name": route["name"]} == route


def bridge_of_envoy_yaml(path: Path = TEMPLATE) -> tuple[dict, list[dict]]:
    resources = yaml.safe_load(path.read_text(encoding="utf-8"))["static_resources"]
    return (
        named(resources["listeners"], "oauth2_session_bridge"),
        [cluster for cluster in resources["clusters"] if cluster["name"].startswith("oauth2_session_")],
    )


def bridge_of_beside_yaml() -> tuple[dict, list[dict]]:
    return bridge_of_envoy_yaml(TEMPLATE.with_name("beside.yaml"))


def bridge_of_istio() -> tuple[dict, list[dict]]:
    patches = manifest("istio/envoyfilter.yaml")["spec"]["configPatches"]

    def of(kind):
        return [patch["patch"]["value"] for patch in patches if patch["applyTo"] == kind]

    [listener] = of("LISTENER")
    return listener, of("CLUSTER")


def bridge_of_envoy_gateway() -> tuple[dict, list[dict]]:
    values = [
        patch["operation"]["value"] for patch in manifest("envoy-gateway/envoypatchpolicy.yaml")["spec"]["jsonPatches"]
    ]
    listener, *clusters = values
    return listener, clusters


@pytest.mark.parametrize("of_manifest", [bridge_of_beside_yaml, bridge_of_istio, bridge_of_envoy_gateway])
def test_manifests_have_the_bridge_of_envoy_yaml(of_manifest):
    listener, clusters = of_manifest()
    listener_wanted, clusters_wanted = bridge_of_envoy_yaml()
    # Only the source of the module differs.
    for each in (listener, listener_wanted):
        named(manager(each)["http_filters"], "oauth2_session_bridge").clear()
    assert json.dumps(listener, sort_keys=True) == json.dumps(listener_wanted, sort_keys=True)
    assert clusters == clusters_wanted
