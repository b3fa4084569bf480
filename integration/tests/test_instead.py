"""The replacements that docs/options.md names for refused options, with a real Envoy.

Other tests have the rest: secrets in the environment, trusted CAs, statistics, WebSockets.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import ssl
import threading
from typing import Any

import httpx
import pytest

from harness.authority import Authority
from harness.envoy import ConfigurationError
from harness.recipes import Change, manager, rendering
from harness.render import named
from harness.service import Service, arrived

TYPES = "type.googleapis.com/envoy"


@pytest.fixture
def changed(make_service, provider):
    """Starts the shipped configuration with a change in it: `changed(change, **options)`."""

    def start(change: Change, **options: Any) -> Service:
        return make_service(provider, render=rendering({}, change), **options)

    return start


def listener(config: dict) -> dict:
    return named(config["static_resources"]["listeners"], "main")


def test_envoy_s_basic_auth_replaces_htpasswd_file(changed):
    hashed = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()

    def change(config: dict) -> None:
        manager(config)["http_filters"].insert(
            0,
            {
                "name": "passwords",
                "disabled": True,
                "typed_config": {
                    "@type": f"{TYPES}.extensions.filters.http.basic_auth.v3.BasicAuth",
                    "users": {"inline_string": f"machine:{{SHA}}{hashed}"},
                },
            },
        )
        manager(config)["route_config"]["virtual_hosts"][0]["routes"].insert(
            0,
            {
                "match": {"prefix": "/echo/machine"},
                "route": {"cluster": "upstream"},
                "typed_per_filter_config": {
                    "passwords": {"@type": f"{TYPES}.config.route.v3.FilterConfig", "config": {}}
                },
            },
        )

    at = changed(change, skip_auth_routes=["^/echo/machine"])
    browser = at.browser()
    assert browser.get("/echo/machine").status_code == 401
    assert browser.get("/echo/machine", auth=("machine", "wrong")).status_code == 401
    headers = arrived(browser.get("/echo/machine", auth=("machine", "secret"), headers={"x-forwarded-user": "root"}))
    assert "x-forwarded-user" not in headers
    assert browser.get("/echo", auth=("machine", "secret")).status_code == 302


def test_envoy_s_rbac_replaces_authenticated_emails_file(changed):
    def change(config: dict) -> None:
        filters = manager(config)["http_filters"]
        place = [each["name"] for each in filters].index("oauth2_session") + 1
        alice = {"header": {"name": "x-forwarded-email", "string_match": {"exact": "alice@example.com"}}}
        filters.insert(
            place,
            {
                "name": "people",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.filters.http.rbac.v3.RBAC",
                    "rules": {
                        "action": "ALLOW",
                        "policies": {"people": {"permissions": [{"any": True}], "principals": [alice]}},
                    },
                },
            },
        )

    at = changed(change)
    assert arrived(at.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert at.browser().sign_in("bob", "/echo").status_code == 403
    assert at.browser().get("/echo", headers={"x-forwarded-email": "alice@example.com"}).status_code == 302


def test_filter_chain_without_the_filter_replaces_trusted_ips(changed):
    def change(config: dict) -> None:
        chains = listener(config)["filter_chains"]
        trusted = json.loads(json.dumps(chains[0]))
        chains[0]["name"] = "all"
        trusted |= {
            "name": "trusted",
            "filter_chain_match": {"source_prefix_ranges": [{"address_prefix": "127.0.0.2", "prefix_len": 32}]},
        }
        plain = trusted["filters"][0]["typed_config"]
        plain["http_filters"] = [each for each in plain["http_filters"] if each["name"] != "oauth2_session"]
        plain["route_config"]["virtual_hosts"][0]["request_headers_to_remove"] = ["x-forwarded-user"]
        chains.append(trusted)

    at = changed(change)
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as trusted:
        headers = arrived(trusted.get(f"{at.url}/echo", headers={"x-forwarded-user": "root"}))
    assert "x-forwarded-user" not in headers
    assert at.browser().get("/echo").status_code == 302


def test_envoy_s_client_address_and_access_log_replace_options(changed):
    """real_client_ip_header, silence_ping_logging, request_id_header."""

    def change(config: dict) -> None:
        main = manager(config)
        del main["use_remote_address"]
        main["original_ip_detection_extensions"] = [
            {
                "name": "by_header",
                "typed_config": {
                    "@type": f"{TYPES}.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
                    "header_name": "x-real-ip",
                },
            }
        ]
        line = "REQUEST %REQ(:PATH)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(X-MY-ID)%\n"
        not_ping = {"name": ":path", "string_match": {"exact": "/ping"}, "invert_match": True}
        main["access_log"] = [
            {
                "name": "log",
                "filter": {"header_filter": {"header": not_ping}},
                "typed_config": {
                    "@type": f"{TYPES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": {"text_format_source": {"inline_string": line}},
                },
            }
        ]

    at = changed(change)
    for path in ("/ping", "/echo"):
        at.browser().get(path, headers={"x-real-ip": "192.0.2.7", "x-my-id": "42"})
    assert at.envoy.says("REQUEST ") == ["REQUEST /echo 192.0.2.7 42"]


def test_routes_and_clusters_replace_upstream_options(changed, tmp_path):
    """pass_host_header, disable_keep_alives, ssl_upstream_insecure_skip_verify; signature_key: a client certificate."""
    authority = Authority.make(tmp_path / "authority")
    of_upstream, of_envoy = authority.issue("elsewhere.example"), authority.issue("envoy.example")
    seen: list[tuple] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            [[[_, name]]] = self.connection.getpeercert()["subject"]
            seen.append((self.headers["host"], name, self.client_address))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(of_upstream["tls_cert"], of_upstream["tls_key"])
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def change(config: dict) -> None:
        cluster = named(config["static_resources"]["clusters"], "upstream")
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = server.server_address[1]
        certificate = {
            "certificate_chain": {"filename": str(of_envoy["tls_cert"])},
            "private_key": {"filename": str(of_envoy["tls_key"])},
        }
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"tls_certificates": [certificate]},
            },
        }
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"max_requests_per_connection": 1},
            }
        }
        for route in manager(config)["route_config"]["virtual_hosts"][0]["routes"]:
            route["route"]["host_rewrite_literal"] = "inside.example"

    at = changed(change, skip_auth_routes=["^/public"])
    assert [at.browser().get("/public").status_code for _ in range(2)] == [204, 204]
    server.shutdown()
    assert {(host, name) for host, name, _ in seen} == {("inside.example", "envoy.example")}
    assert len({address for _, _, address in seen}) == 2


def test_what_is_left_out(service):
    """allow_query_semicolons; gcp_healthchecks, by its paths."""
    browser = service(skip_auth_routes=["^/echo"], ping_path="/liveness_check", ready_path="/readiness_check").browser()
    assert browser.get("/echo?a=1;b=2").json()["path"] == "/echo?a=1;b=2"
    assert [browser.get(path).status_code for path in ("/liveness_check", "/readiness_check")] == [200, 200]


def test_jwks_url_without_discovery_replaces_oidc_public_key_files(service, provider):
    keys = {"oidc_jwks_url": f"{provider.issuer}/jwks"}
    at = service(
        skip_oidc_discovery=True, login_url=f"{provider.issuer}/auth", redeem_url=f"{provider.issuer}/token", **keys
    )
    assert arrived(at.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    with pytest.raises(ConfigurationError, match="skip_oidc_discovery"):
        service(**keys)
