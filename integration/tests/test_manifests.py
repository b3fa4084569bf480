"""Users sign in with what the real control planes made of our manifests, on a real Envoy. The manifests of today
are those that were recorded."""

from __future__ import annotations

import copy
import json
import socket
from typing import Any

import pytest
import yaml

from harness import recorded
from harness.envoy import Envoy
from harness.manifests import bridge, manifest, plugin_of
from harness.mounted import Mounted
from harness.recorded import ALL, ENVOY_GATEWAY, ISTIO, MAIN, REDIRECTS, WASM_PLUGIN, Change, case, manager, plugins
from harness.render import TEMPLATE, named
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config

GUARD = "x-oauth2-session-guard"
RBAC = "envoy.filters.http.rbac"
PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"},
}
IN_THE_ENVIRONMENT = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}


@pytest.fixture
def start(provider, upstream):
    """Starts an Envoy with the xDS of a control plane."""
    started = []

    def start(
        which: str,
        name: str = "base",
        *,
        port: int = MAIN,
        change: Change = lambda text: text,
        secrets: dict[str, str] = IN_THE_ENVIRONMENT,
        **options: Any,
    ) -> Service:
        envoy = Envoy(
            filter_config(provider, **options),
            upstream=upstream.address,
            render=recorded.recorded(which, name, port=port, change=change),
            environment=secrets,
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


@pytest.mark.parametrize("which", ALL)
def test_manifests_read_secrets_from_mounted_files(start, tmp_path, which):
    mounted = Mounted(tmp_path, cookie_secret=COOKIE_SECRET, client_secret=CLIENT_SECRET)
    service = start(which, "secrets", change=mounted.in_place_of_the_volumes, secrets={}, secrets_refresh="500ms")
    browser = service.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert not service.envoy.counters().get("secrets_unusable")


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


@pytest.mark.parametrize("which", ALL)
def test_manifests_have_room_for_large_cookies(start, which):
    browser = start(which).browser()
    assert browser.get("/ping", headers={"x-large": "a" * 80_000}).status_code == 200
    assert browser.get("/ping", headers={"x-large": "a" * 110_000}).status_code == 431


@pytest.mark.parametrize("which", ALL)
def test_manifests_keep_the_filter_out_of_the_redirecting_listener(which):
    filters = manager(recorded.listener_at(case(which), REDIRECTS))["http_filters"]
    assert not [each["name"] for each in filters if "oauth2-session" in each["name"]]
    filters = manager(recorded.listener_at(case(which), MAIN))["http_filters"]
    assert len([each for each in filters if "oauth2-session" in each["name"]]) == 1


# ---- the guard, and what the control planes do by themselves ----


def test_envoy_gateway_without_the_oauth2_route_has_no_sign_in(start):
    """As if /oauth2 was no path of the services."""

    def only_app(text: str) -> str:
        found = json.loads(text)
        for route in (route for each in found["routes"] for host in each["virtual_hosts"] for route in host["routes"]):
            if "app/rule" in route["name"]:
                route["match"] = {"prefix": "/echo"}
        return json.dumps(found)

    browser = start(ENVOY_GATEWAY, "no-route", change=only_app).browser()
    assert browser.get("/echo").status_code == 302
    assert browser.get("/oauth2/sign_in").status_code == 404
    browser = start(ENVOY_GATEWAY, change=only_app).browser()
    assert browser.get("/oauth2/sign_in").status_code == 200


@pytest.mark.parametrize("which", ALL)
def test_guard_header_is_on_every_request_that_is_let_through(start, which):
    service = start(which, skip_auth_routes=["^/echo$"], skip_auth_preflight=True)
    browser = service.browser()
    assert arrived(browser.get("/echo"))[GUARD] == "change-me"
    assert browser.request("OPTIONS", "/x").status_code == 200
    for headers in ({}, {GUARD: "change-me"}, {"x_oauth2_session_guard": "change-me"}):
        assert browser.get("/x", headers=headers).status_code == 302
    headers = arrived(browser.get("/echo", headers={GUARD: "other", "x.oauth2.session.guard": "other"}))
    assert {name: value for name, value in headers.items() if "guard" in name} == {GUARD: "change-me"}


# On Envoy Gateway because of another policy.
WITHOUT_THE_FILTER = [
    *((which, "no-filter") for which in ISTIO),
    (ENVOY_GATEWAY, "conflict"),
    (ENVOY_GATEWAY, "overridden"),
]


@pytest.mark.parametrize(("which", "name"), WITHOUT_THE_FILTER)
def test_guard_closes_the_services_if_the_filter_is_not_there(start, which, name):
    service = start(which, name)
    browser = service.browser()
    for headers in ({}, {GUARD: "change-me"}, {GUARD.upper(): "change-me"}, {"x_oauth2_session_guard": "change-me"}):
        answer = browser.get("/echo", headers={"x-forwarded-user": "root", **headers})
        assert (answer.status_code, "x-upstream" in answer.headers) == (403, False), headers


@pytest.mark.parametrize("which", ALL)
def test_guard_lets_the_redirecting_listener_redirect(start, which):
    answer = start(which, port=REDIRECTS).browser().get("/echo")
    assert (answer.status_code, answer.headers["location"].partition(":")[0]) == (301, "https")


@pytest.mark.parametrize("which", ISTIO)
@pytest.mark.parametrize(("port", "status"), [(443, 403), (80, 200)])
def test_guard_of_istio_leaves_open_the_http_port_of_the_load_balancer(start, which, port, status):
    """With the PROXY protocol, Envoy takes it for the port of the request."""

    def behind_it(text: str) -> str:
        found = json.loads(text)
        recorded.listener_at(found, MAIN)["listener_filters"] = [PROXY_PROTOCOL]
        return json.dumps(found)

    host, _, own_port = start(which, "no-filter", change=behind_it).envoy.address.rpartition(":")
    with socket.create_connection((host, int(own_port)), timeout=30) as connection:
        connection.sendall(f"PROXY TCP4 192.0.2.1 192.0.2.2 40000 {port}\r\n".encode())
        connection.sendall(b"GET /echo HTTP/1.1\r\nhost: app.example.com\r\nconnection: close\r\n\r\n")
        assert connection.recv(1024).split()[1] == str(status).encode()


@pytest.mark.parametrize("which", ALL)
def test_guard_comes_after_the_filter(which):
    order = [each["name"] for each in manager(recorded.listener_at(case(which), MAIN))["http_filters"]]
    [filter] = [place for place, name in enumerate(order) if "oauth2-session" in name]
    assert filter < min(place for place, name in enumerate(order) if RBAC in name)


@pytest.mark.parametrize("which", ALL)
def test_guard_of_another_value_closes_the_services(start, which):
    """The filter and the policy have to have the same value."""
    browser = start(which, pass_guard_header="other", skip_auth_routes=["^/echo$"]).browser()
    assert browser.get("/echo").status_code == 403


# ---- the manifests of today ----


def route_of_envoy_yaml() -> dict:
    listener = named(yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["static_resources"]["listeners"], "main")
    return manager(listener)["route_config"]["virtual_hosts"][0]["routes"][0]


def test_manifests_have_the_route_of_envoy_yaml():
    [patch] = manifest("istio/backchannel-logout.yaml")["spec"]["configPatches"]
    [add, _] = manifest("envoy-gateway/backchannel-logout.yaml")["spec"]["jsonPatches"]
    for route in (patch["patch"]["value"], add["operation"]["value"]):
        assert {**route_of_envoy_yaml(), "name": route["name"]} == route


ISTIO_BRIDGE, ENVOY_GATEWAY_BRIDGE = "istio/envoyfilter.yaml", "envoy-gateway/envoypatchpolicy.yaml"


# beside.yaml has no lines for mounted secrets.
@pytest.mark.parametrize(
    ("of", "secrets"),
    [
        ("beside.yaml", False),
        *((of, secrets) for of in (ISTIO_BRIDGE, ENVOY_GATEWAY_BRIDGE) for secrets in (False, True)),
    ],
)
def test_manifests_have_the_bridge_of_envoy_yaml(of, secrets):
    listener, clusters = bridge(of, secrets=secrets)
    listener_wanted, clusters_wanted = bridge("envoy.yaml", secrets=secrets)
    # Only the source of the module differs, and where the files are that name the secrets.
    for each in (listener, listener_wanted):
        named(manager(each)["http_filters"], "oauth2_session_bridge").clear()
    text = json.dumps(listener, sort_keys=True).replace("/etc/oauth2-session-resources/", "envoy-config/secrets/")
    assert text == json.dumps(listener_wanted, sort_keys=True)
    assert clusters == clusters_wanted


@pytest.fixture
def running_bridge(provider, upstream, tmp_path):
    """The bridge of envoy.yaml, as a running Envoy writes it down: with its own form of numbers and times."""

    def bridge(secrets: bool) -> tuple[dict, list[dict]]:
        mounted = Mounted(tmp_path, cookie_secret=COOKIE_SECRET, client_secret=CLIENT_SECRET)
        started: dict[str, Any] = {"environment": IN_THE_ENVIRONMENT}
        options = {}
        if secrets:
            started, options = {"render": mounted.render}, {"secrets_from": "bridge"}
        envoy = Envoy(filter_config(provider, **options), upstream=upstream.address, **started)
        try:
            dump = mounted.as_volumes(envoy.admin("/config_dump"))
        finally:
            envoy.stop()
        parts = json.loads(dump)["configs"]
        listeners = [each["listener"] for part in parts for each in part.get("static_listeners", [])]
        clusters = [each["cluster"] for part in parts for each in part.get("static_clusters", [])]
        ours = [each for each in clusters if each["name"].startswith("oauth2_session_")]
        return named(listeners, "oauth2_session_bridge"), ours

    return bridge


@pytest.mark.parametrize("name", ["base", "secrets"])
def test_recorded_bridges_are_those_of_today(running_bridge, name):
    listener_wanted, clusters_wanted = running_bridge(name == "secrets")
    for which in ALL:
        found = case(which, name)
        assert in_short(named(found["listeners"], "oauth2_session_bridge")) == in_short(listener_wanted), which
        assert sorted(map(in_short, found["clusters"])) == sorted(map(in_short, clusters_wanted)), which


def in_short(resource: dict) -> str:
    """Without the module of the bridge and the authorities of the machine."""
    resource = {name: value for name, value in copy.deepcopy(resource).items() if name != "@type"}
    if "filter_chains" in resource:
        named(manager(resource)["http_filters"], "oauth2_session_bridge").clear()
    tls = resource.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
    if "trusted_ca" in tls.get("validation_context", {}):
        tls["validation_context"]["trusted_ca"].clear()
    return json.dumps(resource, sort_keys=True)


@pytest.mark.parametrize("name", ["base", "secrets"])
@pytest.mark.parametrize("which", ALL)
def test_recorded_filters_are_those_of_today(which, name):
    """But for the code and their names."""
    given = plugin_of(which, secrets=name == "secrets")
    found = plugins([*case(which, name)["listeners"], *case(which, name)["extensions"]])
    [filter] = [each for each in found if each["root_id"] == "oauth2_session"]
    [bridge] = [each for each in found if each["root_id"] == "oauth2_session_bridge"]
    assert json.loads(filter["configuration"]["value"]) == given.config
    assert filter["vm_config"]["environment_variables"] == {"host_env_keys": given.variables}
    assert filter.get("failure_policy", "FAIL_CLOSED") == ("FAIL_RELOAD" if which in ISTIO else "FAIL_CLOSED")
    assert bridge["configuration"]["value"] == "bridge"
    assert bridge["vm_config"]["vm_id"] != filter["vm_config"].get("vm_id", "")


def test_recorded_policies_of_envoy_gateway_are_those_of_today():
    text = json.dumps(case(ENVOY_GATEWAY))
    demanded = manifest("envoy-gateway/securitypolicy.yaml")["spec"]["authorization"]["rules"][0]["principal"]
    [header] = demanded["headers"]
    assert header["name"] == GUARD
    assert [plugin_of(ENVOY_GATEWAY).config["pass_guard_header"]] == header["values"] == ["change-me"]
    removed = manifest("envoy-gateway/clienttrafficpolicy.yaml")["spec"]["headers"]["earlyRequestHeaders"]["remove"]
    assert removed == [GUARD]
    assert f'"header_name": "{GUARD}"' in text
    assert f'"remove": "{GUARD}"' in text


def test_recorded_policies_of_istio_are_those_of_today():
    [rule] = manifest("istio/authorizationpolicy.yaml")["spec"]["rules"]
    [condition] = rule["when"]
    assert condition["key"] == f"request.headers[{GUARD}]"
    for which in ISTIO:
        assert [plugin_of(which).config["pass_guard_header"]] == condition["notValues"] == ["change-me"]
        text = json.dumps(manager(recorded.listener_at(case(which), MAIN)))
        assert f'"header": {{"name": "{GUARD}", "string_match": {{"exact": "change-me"}}}}' in text
        assert f'"remove": "{GUARD}"' in text


def test_istio_has_the_same_filter_by_both_ways():
    """But for its name."""
    first, second = (json.dumps(case(which), sort_keys=True) for which in ISTIO)
    assert first.replace("~istio-translated-wasmplugin", "") == second, WASM_PLUGIN
