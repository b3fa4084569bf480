"""What else could stand in the filter's place: Envoy's own `oauth2` filter, and an oauth2-proxy that ext_authz asks."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from harness.oauth2_proxy import OAuth2Proxy, read_toml
from harness.provider import Provider
from harness.redis import Redis
from harness.render import ROOT, render, socket_address
from harness.service import CLIENT_ID, CLIENT_SECRET, client
from harness.visitor import SITE, Visitor
from variants import Variant, replace_filter, shipped

CALLBACK = "/callback"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"
CONFIG = ROOT / "envoy-config"
A_DAY = 24 * 3600


def start_provider(stack: ExitStack) -> Provider:
    """A provider whose tokens are valid for as long as any run takes."""
    provider = Provider([client()], access_token_ttl=A_DAY)
    stack.callback(provider.stop)
    provider.add_redirect_uri(f"{SITE}{CALLBACK}")
    return provider


def native_variant(provider: Provider, cookies: Path) -> Variant:
    """Envoy's native filter, with a session of its own: a user has signed in at the provider."""

    def sign_in(port: int) -> str:
        visitor = Visitor(f"http://127.0.0.1:{port}")
        try:
            answer = visitor.sign_in()
            assert answer.status_code == 200, f"Envoy's oauth2 filter: {answer.status_code}\n{answer.text[:500]}"
            return visitor.cookie
        finally:
            visitor.close()

    return Variant(
        "native", "Envoy's native oauth2 filter, signed in", None, cookies, config=native(provider), sign_in=sign_in
    )


def native(provider: Provider) -> Callable[[Variant, Path], dict]:
    """Its options are the ones that come closest to our defaults: the tokens are in encrypted cookies, and a refresh
    token is used. It gives the upstream the access token; it has no headers about the user."""
    server = urlsplit(provider.issuer)
    with urllib.request.urlopen(f"{provider.issuer}/.well-known/openid-configuration", timeout=10) as answer:
        endpoints = json.load(answer)
    settings = {
        "token_endpoint": {"cluster": "provider", "uri": endpoints["token_endpoint"], "timeout": "10s"},
        "authorization_endpoint": endpoints["authorization_endpoint"],
        "redirect_uri": f"{SITE}{CALLBACK}",
        "redirect_path_matcher": {"path": {"exact": CALLBACK}},
        "signout_path": {"path": {"exact": "/signout"}},
        "forward_bearer_token": True,
        "use_refresh_token": True,
        "auth_scopes": ["openid", "email", "profile"],
        "auth_type": "BASIC_AUTH",
        "credentials": {
            "client_id": CLIENT_ID,
            "token_secret": {"name": "token"},
            "hmac_secret": {"name": "hmac"},
        },
    }
    values = {"token": CLIENT_SECRET, "hmac": secrets.token_urlsafe(32)}

    def config(variant: Variant, admin: Path) -> dict:
        made = shipped(variant, admin)
        replace_filter(
            made,
            [{"name": "envoy.filters.http.oauth2", "typed_config": {"@type": TYPE, "config": settings}}],
        )
        resources = made["static_resources"]
        resources["secrets"] = [
            {"name": name, "generic_secret": {"secret": {"inline_string": value}}} for name, value in values.items()
        ]
        endpoint = {"endpoint": {"address": socket_address(f"127.0.0.1:{server.port}")}}
        resources["clusters"].append(
            {
                "name": "provider",
                "type": "STATIC",
                "load_assignment": {"cluster_name": "provider", "endpoints": [{"lb_endpoints": [endpoint]}]},
            }
        )
        return made

    return config


def oauth2_proxy_variants(
    provider: Provider, secret: str, redis: Redis, cookie: Path, ticket: Path, stack: ExitStack
) -> list[Variant]:
    """oauth2-proxy behind ext_authz, as docs/migration.md has it before the filter. It reads the same sessions."""
    store = {"session_store_type": "redis", "redis_connection_url": redis.url}

    def variant(key: str, title: str, cookies: Path, servers: tuple[Redis, ...] = (), **options: object) -> Variant:
        proxy = start_oauth2_proxy(provider, secret, options)
        stack.callback(proxy.close)
        return Variant(key, title, None, cookies, config=ext_authz(proxy), processes=(proxy.pid,), servers=servers)

    return [
        variant("oauth2-proxy", "oauth2-proxy behind ext_authz, cookie store", cookie),
        variant("oauth2-proxy-redis", "oauth2-proxy behind ext_authz, Redis store", ticket, (redis,), **store),
    ]


def start_oauth2_proxy(provider: Provider, secret: str, options: dict) -> OAuth2Proxy:
    """With the shipped configuration, and without lines in its log for each request."""
    settings = read_toml(CONFIG / "oauth2-proxy.cfg")
    upstreams = settings.pop("upstreams")
    for ours in ("http_address", "oidc_issuer_url", "client_id", "redirect_url", "cookie_refresh"):
        settings.pop(ours, None)
    quiet = {"request_logging": False, "auth_logging": False, "standard_logging": False}
    return OAuth2Proxy(provider, upstreams, secret, **{**settings, **quiet, **options})


def ext_authz(proxy: OAuth2Proxy) -> Callable[[Variant, Path], dict]:
    def config(_: Variant, admin: Path) -> dict:
        return json.loads(
            render(
                None,
                listen="127.0.0.1:0",
                upstream="127.0.0.1:9",
                variables=[],
                template=CONFIG / "ext-authz.yaml",
                clusters={"oauth2_proxy": proxy.address},
                admin_socket=admin,
            )
        )

    return config
