"""The recipes of the documentation: each block is taken from its page, and users sign in with it."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from harness.authority import Authority
from harness.ports import HOST
from harness.recipes import Change, blocks, manager, piece, rendering
from harness.redis import has_tls
from harness.relay import Relay
from harness.render import WASM, named
from harness.service import Service, arrived

IN_ADMINS = {"groups": ["staff", "admins"]}


@pytest.fixture
def authority(tmp_path):
    return Authority.make(tmp_path / "authority")


@pytest.fixture
def run(make_service):
    """Starts an Envoy with a piece of the documentation: `run(piece, provider, change, **options of the filter)`."""

    def start(content: dict, provider, change: Change = lambda config: None, **options: Any) -> Service:
        return make_service(provider, render=rendering(content, change), **options)

    return start


# ---- groups, hosts and paths ----


def test_recipe_groups_by_path(run, fake):
    service = run(
        piece("configuration.md", "### Groups by path, with Envoy's RBAC"),
        fake,
        skip_auth_routes=["^/admin/public$", "^/public$"],
    )
    forged = {"x-forwarded-groups": "admins"}
    staff = service.browser()
    assert arrived(staff.sign_in("alice", "/echo"))["x-forwarded-groups"] == "staff"
    for path in ("/admin", "/admin/x", "/ADMIN/x", "/x/../admin"):
        for headers in ({}, forged):
            assert staff.get(path, headers=headers).status_code == 403, path
    fake.claims = IN_ADMINS
    admin = service.browser()
    assert arrived(admin.sign_in("bob", "/admin/x"))["x-forwarded-groups"] == "staff,admins"
    fake.claims = {"groups": ["administrators", "no-admins"]}
    other = service.browser()
    assert other.sign_in("carol", "/admin/x").status_code == 403
    stranger = service.browser()
    assert stranger.get("/admin/public", headers=forged).status_code == 403
    assert stranger.get("/public").status_code == 200
    assert stranger.get("/admin/x", headers=forged).status_code == 302


def test_recipe_filter_for_each_host(run, fake):
    content = piece("configuration.md", "### A filter for each host or route")

    def ours(config: dict) -> None:
        first, second = (
            named(manager(config)["http_filters"], name)["typed_config"]["config"]
            for name in ("oauth2_session", "oauth2_session_admin")
        )
        says = json.loads(second["configuration"]["value"])
        of_the_test = {**json.loads(first["configuration"]["value"]), "allowed_groups": says["allowed_groups"]}
        second["configuration"]["value"] = json.dumps(of_the_test)
        second["vm_config"]["code"]["local"]["filename"] = str(WASM)
        assert second["vm_config"]["vm_id"] == first["vm_config"]["vm_id"]

    service = run(content, fake, ours)
    at_the_other = {"host": "admin.example.com"}
    staff = service.browser()
    arrived(staff.sign_in("alice", "/echo"))
    assert staff.get("/echo", headers=at_the_other).status_code == 403
    arrived(staff.get("/echo"))
    fake.claims = IN_ADMINS
    admin = service.browser()
    arrived(admin.sign_in("bob", "/echo"))
    assert arrived(admin.get("/echo", headers=at_the_other))["x-forwarded-user"] == "bob"
    assert service.browser().get("/echo", headers=at_the_other).status_code == 302


def test_recipe_upstream_that_needs_escaped_slashes(run, fake):
    service = run(
        piece("configuration.md", "### An upstream that needs `%2F`"),
        fake,
        skip_auth_routes=["^/public/", "^/one/[^/]+$"],
    )
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    for path in ("/projects/group%2Fname", "/a%2fb?x=%2F"):
        assert browser.get(path).json()["path"] == path
    stranger = service.browser()
    assert stranger.get("/public/group%2Fname").json()["path"] == "/public/group%2Fname"
    assert stranger.get("/one/a").status_code == 200
    for path in ("/public/..%2Fadmin", "/public%2F..%2Fadmin", "/one/a%2Fb", "/one%2Fa", "/private%2Fx"):
        assert stranger.get(path).status_code == 302, path


# ---- other ways to the provider ----


def at(config: dict, cluster: str, port: int) -> None:
    """The address of a cluster, on this machine."""
    endpoints = named(config["static_resources"]["clusters"], cluster)["load_assignment"]["endpoints"]
    endpoints[0]["lb_endpoints"][0]["endpoint"]["address"] = {"socket_address": {"address": HOST, "port_value": port}}


def trust(config: dict, cluster: str, authority: Authority) -> None:
    tls = named(config["static_resources"]["clusters"], cluster)["transport_socket"]["typed_config"][
        "common_tls_context"
    ]
    tls["validation_context"]["trusted_ca"]["filename"] = authority.file


def port_of(provider) -> int:
    return urlsplit(provider.issuer).port


@pytest.mark.parametrize("host", ["localhost", "elsewhere.example"])
def test_recipe_without_the_bridge(host, run, make_fake_provider, authority):
    heading = "### Without the bridge"
    provider = make_fake_provider(host="localhost", **authority.issue(host))

    def ours(config: dict) -> None:
        resources = config["static_resources"]
        for kind, others in resources.items():
            resources[kind] = [other for other in others if not other["name"].startswith("oauth2_session_")]
        manager(config)["route_config"]["virtual_hosts"][0]["routes"].pop(0)  # of the back-channel logout
        del config["bootstrap_extensions"]
        at(config, "login", port_of(provider))
        trust(config, "login", authority)

    [text] = blocks("configuration.md", heading, "json")
    service = run(piece("configuration.md", heading), provider, ours, bridge_cluster=json.loads(text)["bridge_cluster"])
    if host != "localhost":
        assert service.browser().get("/oauth2/start").status_code == 503, "the certificate is for another host"
        assert provider.requests == []
        return
    assert arrived(service.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


class EgressProxy(Relay):
    """An HTTP proxy that accepts only CONNECT."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__()

    def greet(self, accepted: socket.socket) -> socket.socket:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += accepted.recv(1)
        method, authority, _ = head.split(b" ", 2)
        assert method == b"CONNECT"
        self.asked.append(authority.decode())
        self.target = (HOST, int(authority.rpartition(b":")[2]))
        accepted.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        return accepted


def test_recipe_egress_proxy(run, make_fake_provider, authority):
    provider = make_fake_provider(host="localhost", **authority.issue("localhost"))
    proxy = EgressProxy()

    def ours(config: dict) -> None:
        at(config, "egress_proxy", proxy.port)
        trust(config, "oauth2_session_https", authority)
        listener = named(config["static_resources"]["listeners"], "egress")
        tunnel = listener["filter_chains"][0]["filters"][0]["typed_config"]["tunneling_config"]
        tunnel["hostname"] = tunnel["hostname"].replace(":443", f":{port_of(provider)}")

    service = run(piece("configuration.md", "### Through an egress proxy"), provider, ours)
    assert arrived(service.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert set(proxy.asked) == {f"localhost:{port_of(provider)}"}
    proxy.close()


def test_recipe_sign_out_at_the_provider(run, fake):
    [text] = blocks("concepts.md", "## A sign-out at the provider too", "text")
    service = run({}, fake, whitelist_domains=[urlsplit(fake.issuer).netloc])
    browser = service.browser()
    arrived(browser.sign_in("alice", "/echo"))
    once, twice = (lambda url: quote(url, safe="")), (lambda url: quote(quote(url, safe=""), safe=""))
    url = (
        text.strip()
        .replace(once("https://login.example.com"), once(fake.issuer))
        .replace(twice("https://app.example.com/"), twice(f"{service.url}/"))
    )
    answer = browser.get(url)
    assert answer.headers["location"].startswith(f"{fake.issuer}/logout?id_token_hint=ey")
    assert browser.get(answer.headers["location"]).headers["location"] == f"{service.url}/"
    assert browser.get("/echo").status_code == 302


# ---- Redis ----


@pytest.mark.skipif(not has_tls(), reason="this Redis was built without TLS")
@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "not shown"])
def test_recipe_client_certificate_for_redis(is_shown, run, fake, make_redis, authority):
    redis = make_redis(
        certificate=authority.issue("localhost"), tls_auth_clients="yes", tls_ca_cert_file=authority.file
    )
    content = piece("stores.md", "### A client certificate")
    [certificate] = content["common_tls_context"]["tls_certificates"]
    client = authority.issue("envoy")
    certificate["certificate_chain"]["filename"], certificate["private_key"]["filename"] = (
        client["tls_cert"],
        client["tls_key"],
    )
    service = run(
        content if is_shown else {},
        fake,
        ca=authority.file,
        session_store_type="redis",
        redis_connection_url=f"rediss://localhost:{redis.tls_port}",
    )
    answer = service.browser().sign_in("alice", "/echo") if is_shown else service.browser().get("/ready")
    assert answer.status_code == (200 if is_shown else 503)
    assert len(redis.keys()) == is_shown
