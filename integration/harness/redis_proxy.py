"""Proxies that stand between the filter and Redis: twemproxy, and Envoy's own `redis_proxy`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import yaml

from .envoy import Envoy
from .ports import HOST, free_port
from .render import socket_address

# From Debian's package nutcracker.
TWEMPROXY = os.environ.get("TWEMPROXY") or shutil.which("nutcracker")


class Twemproxy:
    """It has one server, and closes a connection with a command that it does not know."""

    def __init__(self, redis_port: int, folder: Path):
        self.port = free_port()
        config = folder / "twemproxy.yml"
        pool = {"listen": f"{HOST}:{self.port}", "redis": True, "servers": [f"{HOST}:{redis_port}:1"]}
        config.write_text(yaml.safe_dump({"pool": pool}), encoding="utf-8")
        log = folder / "twemproxy.log"
        self._process = subprocess.Popen(
            [str(TWEMPROXY), "-c", str(config), "-s", str(free_port()), "-o", str(log)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class EnvoyRedisProxy:
    """An Envoy whose filter `redis_proxy` sends all commands to one server, and answers unknown ones with an error."""

    def __init__(self, redis_port: int):
        self._server = f"{HOST}:{redis_port}"
        self._envoy = Envoy(None, upstream=self._server, render=self._render)
        self.port = int(self._envoy.address.rpartition(":")[2])

    def _render(self, _: str | None, *, listen: str, admin_socket: Path, **__: object) -> str:
        proxy = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
            "stat_prefix": "redis",
            "settings": {"op_timeout": "5s"},
            "prefix_routes": {"catch_all_route": {"cluster": "redis"}},
        }
        server = {"endpoint": {"address": socket_address(self._server)}}
        return json.dumps(
            {
                "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
                "static_resources": {
                    "listeners": [
                        {
                            "name": "main",
                            "address": socket_address(listen),
                            "filter_chains": [
                                {"filters": [{"name": "envoy.filters.network.redis_proxy", "typed_config": proxy}]}
                            ],
                        }
                    ],
                    "clusters": [
                        {
                            "name": "redis",
                            "type": "STATIC",
                            "load_assignment": {
                                "cluster_name": "redis",
                                "endpoints": [{"lb_endpoints": [server]}],
                            },
                        }
                    ],
                },
            }
        )

    def close(self) -> None:
        self._envoy.stop()
