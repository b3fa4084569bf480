"""The steps from an oauth2-proxy in front of every request to the filter alone, as docs/migration.md has them.

A file of envoy-config/ is started as it is shipped; only what belongs to its environment (addresses, names, the
store) is replaced.
"""

from __future__ import annotations

import json
from typing import Any

from upstream import Upstream

from .envoy import Envoy
from .oauth2_proxy import OAuth2Proxy, read_toml
from .ports import free_port
from .provider import Provider
from .render import ROOT
from .service import CLIENT_ID, CLIENT_SECRET
from .visitor import SITE

CONFIG = ROOT / "envoy-config"
EXT_AUTHZ, BESIDE, ALONE = "1: ext_authz asks oauth2-proxy", "2: the filter beside oauth2-proxy", "3: the filter alone"
TEMPLATES = {EXT_AUTHZ: "ext-authz.yaml", BESIDE: "beside.yaml", ALONE: "envoy.yaml"}
FILTERS = {BESIDE: "filter-beside.json", ALONE: "filter.json"}


class Steps:
    """One site at one address, whose Envoy is replaced at each step; and its oauth2-proxy, until it is stopped.

    `options` are for the filter and for oauth2-proxy: the store, and what a test needs. `ours` are for the filter
    alone; None removes an option, and without a client the filter gets no client secret.
    """

    def __init__(
        self, provider: Provider, upstream: Upstream, cookie_secret: str, *, ours: dict | None = None, **options: Any
    ):
        self._upstream = upstream
        self._secrets = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": cookie_secret}
        self._own = {
            "oidc_issuer_url": provider.issuer,
            "client_id": CLIENT_ID,
            "email_domains": ["*"],
            "cookie_secure": False,
            "redirect_url": f"{SITE}/oauth2/callback",
            **options,
        }
        self._ours = {**self._own, **(ours or {})}
        provider.control("redirect_uri", uri=self._own["redirect_url"])
        shipped = read_toml(CONFIG / "oauth2-proxy.cfg")
        upstreams: list[str] = shipped.pop("upstreams")
        shipped.pop("http_address")
        self.oauth2_proxy = OAuth2Proxy(provider, upstreams, cookie_secret, **{**shipped, **self._own})
        self._listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._listen}"
        self.envoy: Envoy | None = None

    def go_to(self, step: str) -> None:
        """Replaces the Envoy by that of another step."""
        self._stop_envoy()
        filter_json = None
        if step in FILTERS:
            shipped = json.loads((CONFIG / FILTERS[step]).read_text(encoding="utf-8"))
            filter_json = {name: value for name, value in {**shipped, **self._ours}.items() if value is not None}
        secrets = dict(self._secrets)
        if filter_json and "client_id" not in filter_json:
            del secrets["OAUTH2_PROXY_CLIENT_SECRET"]
        self.envoy = Envoy(
            filter_json,
            upstream=self._upstream.address,
            environment=secrets,
            listen=self._listen,
            concurrency=2,
            template=CONFIG / TEMPLATES[step],
            clusters={"oauth2_proxy": self.oauth2_proxy.address} if step != ALONE else None,
        )

    def _stop_envoy(self) -> None:
        if self.envoy:
            self.envoy.stop()

    def close(self) -> None:
        try:
            self._stop_envoy()
        finally:
            self.oauth2_proxy.close()
