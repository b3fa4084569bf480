"""An identity that a client claims does not arrive, in any spelling, with any configuration that is shipped.

A service may read each byte of a header's name that is not a letter or a digit as `-`, as PHP and lighttpd's CGI do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.recorded import ENVOY_GATEWAY, TRAFFIC_EXTENSION, WASM_PLUGIN, recorded
from harness.render import ROOT
from harness.service import CLIENT_SECRET, COOKIE_SECRET, arrived, filter_config

CONFIG = ROOT / "envoy-config"
EXT_AUTHZ, BESIDE, ALONE = "ext-authz.yaml", "beside.yaml", "envoy.yaml"
MANIFESTS = (WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY)
SECRETS = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}

# The headers by which oauth2-proxy and the filter tell a service the user.
NAMES = [
    *(f"x-forwarded-{of}" for of in ("user", "email", "groups", "preferred-username", "access-token")),
    *(f"x-auth-request-{of}" for of in ("user", "email", "groups", "preferred-username", "access-token", "id-token")),
    "gap-auth",
]


def separated_by(byte: str) -> Callable[[str], str]:
    return lambda name: name.replace("-", byte)


SPELLINGS: dict[str, Callable[[str], str]] = {
    **{f"with {byte}": separated_by(byte) for byte in "-_.~!+"},
    "in mixed case": lambda name: name.title(),
    "in capitals": lambda name: name.upper(),
    "with different bytes": lambda name: name.replace("-", ".", 1).replace("-", "~", 1),
}


class OAuth2Proxy(ThreadingHTTPServer):
    """Answers yes to every question of ext_authz, for mallory, who is in no group."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("x-auth-request-user", "mallory")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def oauth2_proxy():
    server = OAuth2Proxy()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cookie(shared_provider, upstream) -> str:
    """A session of mallory, who is in no group: so the filter has no groups header that would replace a forged one."""
    envoy = Envoy(filter_config(shared_provider), upstream=upstream.address, environment=SECRETS)
    try:
        shared_provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
        with Browser(envoy.url) as browser:
            assert arrived(browser.sign_in("mallory", "/echo"))["x-forwarded-user"] == "mallory"
            return browser.cookie
    finally:
        envoy.stop()


@pytest.fixture(scope="module", params=[EXT_AUTHZ, BESIDE, ALONE, *MANIFESTS])
def envoy(request, shared_provider, upstream, oauth2_proxy):
    which = request.param
    if which == EXT_AUTHZ:
        envoy = Envoy(
            None, upstream=upstream.address, template=CONFIG / which, clusters={"oauth2_proxy": oauth2_proxy.address}
        )
    elif which == BESIDE:
        beside = json.loads((CONFIG / "filter-beside.json").read_text(encoding="utf-8"))
        envoy = Envoy(
            {**beside, **filter_config(shared_provider, provider_name=None)},
            upstream=upstream.address,
            environment=SECRETS,
            template=CONFIG / which,
            clusters={"oauth2_proxy": oauth2_proxy.address},
        )
    elif which == ALONE:
        envoy = Envoy(filter_config(shared_provider), upstream=upstream.address, environment=SECRETS)
    else:
        envoy = Envoy(
            filter_config(shared_provider),
            upstream=upstream.address,
            environment=SECRETS,
            render=recorded(which),
        )
    yield envoy
    crashes = envoy.crashes()
    envoy.stop()
    assert not crashes


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def get(request, envoy, cookie):
    """Requests /echo as mallory, with these headers."""
    is_2 = request.param == "HTTP/2"
    with httpx.Client(http1=not is_2, http2=is_2, trust_env=False) as client:

        def get(headers: dict[str, str]) -> dict[str, str]:
            response = client.get(f"{envoy.url}/echo", headers={"cookie": cookie, **headers})
            assert response.http_version == request.param
            return arrived(response)

        yield get


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_claimed_identity_does_not_arrive(get, spelling):
    forged = {SPELLINGS[spelling](name): "forged" for name in NAMES}
    headers = get(forged)
    assert headers["x-forwarded-user"] == "mallory"
    assert not [name for name, value in headers.items() if "forged" in value]


def test_header_with_an_underscore_is_removed(get):
    headers = get({"x_other": "1", "x-other": "2", "x.other": "3"})
    assert "x_other" not in headers
    assert (headers["x-other"], headers["x.other"]) == ("2", "3")
