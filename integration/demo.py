"""`make run`: the filter, a provider, an upstream, and Redis if STORE says so, on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import functools
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ticket
from harness.envoy import ConfigurationError, Envoy
from harness.process import StartFailed, stop_on_signals
from harness.provider import Provider
from harness.redis import Redis
from harness.render import WASM
from harness.topologies import ClusterTopology, SentinelTopology, Topology
from upstream import Upstream

STORES = ["cookie", "redis", "sentinel", "cluster"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default=8080, type=int, help="the port for browsers, on loopback")
    parser.add_argument("--store", default="cookie", choices=STORES, help="the store of the sessions")
    parser.add_argument("--wasm", default=WASM, type=Path, help="the filter, as `make build` makes it")
    wanted = parser.parse_args()
    if not wanted.wasm.is_file():
        print(f"demo: {wanted.wasm}: there is no such file", file=sys.stderr)
        return 1

    stop_on_signals()
    with contextlib.ExitStack() as stack:
        try:
            run(wanted.port, wanted.store, wanted.wasm, stack)
        except KeyboardInterrupt:
            say("stopping")
        except (ConfigurationError, StartFailed) as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    say("stopped")
    return 0


def run(port: int, store: str, wasm: Path, stack: contextlib.ExitStack) -> None:
    """Starts the parts and waits; `stack` stops them in the opposite order."""
    address = f"127.0.0.1:{port}"
    client: dict[str, Any] = {
        "client_id": "demo",
        "client_secret": secrets.token_urlsafe(32),
        "redirect_uris": [f"http://{host}:{port}/oauth2/callback" for host in ("127.0.0.1", "localhost")],
    }
    say("starting the OpenID provider")
    provider = Provider([client])
    stack.callback(provider.stop)

    store_options, server_of = start_store(store, stack)
    more_rows = functools.partial(ticket.rows, server_of) if server_of else None

    say("starting the upstream")
    upstream = Upstream(more_rows=more_rows).start()
    stack.callback(upstream.stop)

    say("starting Envoy with the filter")
    envoy = Envoy(
        {
            "provider": "oidc",
            "oidc_issuer_url": provider.issuer,
            "client_id": client["client_id"],
            "email_domains": ["*"],
            "prompt": "login",  # otherwise the provider signs the same user in again after a sign-out
            "provider_display_name": "the demo provider",
            "cookie_secure": False,  # plain http, on loopback alone
            "cookie_refresh": "1m",
            **store_options,
        },
        listen=address,
        wasm=wasm,
        upstream=upstream.address,
        environment={
            "OAUTH2_PROXY_CLIENT_SECRET": client["client_secret"],
            "OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(32),
        },
        echo=True,
    )
    stack.callback(envoy.stop)

    say("sign in as alice, carol (in 400 groups) or mallory; bob's email address is not verified. No password.")
    say("Ctrl-C ends it")
    say(f"ready: open {envoy.url}")
    code = envoy.process.wait()
    raise StartFailed("Envoy", f"ended with exit code {code}", envoy.process)


def start_store(store: str, stack: contextlib.ExitStack) -> tuple[dict, Callable[[str], Redis] | None]:
    """Starts a store on loopback: the filter's options for it, and a function that finds the server of a key."""
    if store == "cookie":
        return {}, None
    if store == "redis":
        say("starting Redis")
        redis = Redis()
        stack.callback(redis.close)
        return {"session_store_type": "redis", "redis_connection_url": redis.url}, lambda _key: redis
    if store == "sentinel":
        say("starting a master, two replicas and three sentinels")
        topology: Topology = SentinelTopology()
    else:
        say("starting a cluster of three masters and three replicas")
        topology = ClusterTopology()
    stack.callback(topology.close)
    return topology.options, topology.server_of


def say(line: str) -> None:
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
