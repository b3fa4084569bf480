"""Any bytes for a real Envoy, in HTTP/1 and HTTP/2, from a stranger and from a signed-in user.

    .venv/bin/python integration/fuzz_envoy.py --seconds 60 [--seed 7]

Exit code 1 if a request got through without a session, if an identity that a client claimed arrived at the upstream,
if Envoy or the filter's VM died, or if an ordinary request was not answered as before. The message has the seed and
the number of the connection: `--seed S --only N` sends that one connection again.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import random
import re
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from fuzzing import http1, http2, words
from fuzzing.arrivals import Arrival, Arrivals
from harness.browser import Browser
from harness.envoy import Envoy
from harness.process import stop_on_signals
from harness.provider import Provider
from harness.redis import Redis
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, client, filter_config

# An answer takes less, and a client that sent half a request waits no longer.
PATIENCE = 0.25
# Most of the time is waiting, for Envoy keeps a connection.
THREADS = 32
# Connections between two checks.
CONNECTIONS_PER_LOOK = 320
IDENTITY = frozenset(words.IDENTITY)
NO_LETTER = re.compile(rb"[^a-z0-9]")
# Her identity at the upstream, see integration/provider/accounts.mjs.
ALICE = sorted(
    (
        (b"x-forwarded-user", b"alice"),
        (b"x-forwarded-email", b"alice@example.com"),
        (b"x-forwarded-preferred-username", b"alice"),
        (b"x-forwarded-groups", b"admins,staff"),
    )
)


class Failed(Exception):
    """A request was answered, or arrived, in a way that is not allowed."""


@dataclass
class Site:
    """An Envoy, and the expected answers."""

    name: str
    envoy: Envoy
    upstream: Arrivals
    sessions: list[bytes] = field(default_factory=list)
    answers: Counter = field(default_factory=Counter)
    arrived: int = 0

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.envoy.address.rpartition(":")
        return host, int(port)

    def sign_in(self) -> None:
        """Signs alice in."""
        with Browser(self.envoy.url) as browser:
            page = browser.sign_in("alice", "/known")
            if page.status_code != 200:
                raise Failed(f"a sign-in ends with {page.status_code} {page.text}")
            name = words.NAME.decode()
            self.sessions.append(f"{name}={browser.cookies[name]}".encode())

    def send(self, seed: int, number: int) -> None:
        """One connection, which depends only on these two numbers."""
        chance = random.Random(f"{seed} {number}")
        exchange = chance.choice((http1.exchange, http2.exchange))
        for status, has_type in exchange(chance, self.address, self.sessions[-1], PATIENCE):
            self.answers[status] += 1
            # The filter's own 503 says what it is, and so does Envoy's about an upstream.
            if status in (500, 502, 504) or (status == 503 and not has_type):
                raise Failed(f"the answer to connection {number} is {status}")

    def look(self) -> None:
        """Fails if something went wrong; checks the requests that arrived."""
        self.check_arrivals()
        if self.envoy.process.exit_code is not None:
            raise Failed(f"Envoy ended with {self.envoy.process.exit_code}:\n{self.envoy.log()[-2000:]}")
        if crashes := self.envoy.crashes():
            raise Failed("\n".join(crashes))
        with Browser(self.envoy.url) as browser:
            stranger = browser.get("/x", headers={"accept": "application/json"}).status_code
        if stranger != 401:
            raise Failed(f"an ordinary request without a session is answered {stranger}")
        # Again, because one of the requests may have been a sign-out.
        self.sign_in()

    def check_arrivals(self) -> None:
        for arrival in self.arrivals():
            self.arrived += 1
            if arrival.path == b"/known":
                continue
            cookies = b"; ".join(arrival.values(b"cookie"))
            is_signed_in = any(session in cookies for session in self.sessions)
            if not is_signed_in and not is_public(arrival.path):
                raise Failed(f"a stranger gets through: {arrival}")
            said = [(name.lower(), value) for name, value in arrival.headers if folded(name) in IDENTITY]
            is_person = is_signed_in and sorted(said) == ALICE
            # A stranger may ask for what is public, and so may a user who signed out meanwhile.
            if not is_person and (said or not is_public(arrival.path)):
                raise Failed(f"the upstream is told {said}: {arrival}")

    def arrivals(self) -> list[Arrival]:
        return [self.upstream.seen.get() for _ in range(self.upstream.seen.qsize())]


def folded(name: bytes) -> bytes:
    """A name as a CGI-like server reads it: all bytes other than letters and digits are the same."""
    return NO_LETTER.sub(b"-", name.lower())


def is_public(path: bytes) -> bool:
    """Whether every reader takes it for a path under /public/: decoded or not, with `\\` or `;` or without."""
    path = path.partition(b"?")[0]
    readings = [path, unquote_to_bytes(path), unquote_to_bytes(unquote_to_bytes(path))]
    readings += [re.sub(rb";[^/]*", b"", reading) for reading in readings]
    readings += [reading.replace(b"\\", b"/") for reading in readings]
    return all(posixpath.normpath(reading + b"x").startswith(b"/public/") for reading in readings)


def with_trailers(filter_json: str, **options: Any) -> str:
    """envoy.yaml with trailers in HTTP/1 too, on both sides: without that, Envoy drops them."""
    config = json.loads(render(filter_json, **options))
    main = named(config["static_resources"]["listeners"], "main")
    http1 = {"http_protocol_options": {"enable_trailers": True}}
    main["filter_chains"][0]["filters"][0]["typed_config"].update(http1)
    named(config["static_resources"]["clusters"], "upstream")["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": http1,
        },
    }
    return json.dumps(config)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    arguments.add_argument("--only", type=int, help="send only the connection with this number")
    wanted = arguments.parse_args()
    stop_on_signals()
    print(f"fuzz-envoy: {wanted.seconds:g} seconds, --seed {wanted.seed}", flush=True)
    provider, redis = Provider([client()]), Redis()
    try:
        return run(provider, redis, wanted.seconds, wanted.seed, wanted.only)
    finally:
        redis.close()
        provider.stop()


def run(provider: Provider, redis: Redis, seconds: float, seed: int, only: int | None) -> int:
    routes = {"skip_auth_routes": ["^/public/"], "api_routes": ["^/api/"]}
    of_redis = {"session_store_type": "redis", "redis_connection_url": redis.url}
    variants: dict[str, dict] = {
        "cookies": routes,
        "Redis": {**routes, **of_redis, "cookie_csrf_per_request": True, "skip_provider_button": True},
        "tokens": {**routes, "skip_jwt_bearer_tokens": True, "encode_state": True},
    }
    for number, (name, options) in enumerate(variants.items()):
        if not fuzz(provider, name, options, seconds / len(variants), seed + number, only):
            return 1
    print("fuzz-envoy: nothing failed")
    return 0


def fuzz(provider: Provider, name: str, options: dict, seconds: float, seed: int, only: int | None) -> bool:
    """Fuzzes an Envoy with these options; whether it passed."""
    upstream = Arrivals()
    envoy = Envoy(
        filter_config(provider, **options),
        upstream=upstream.address,
        render=with_trailers,
        may_crash=True,
        environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
    )
    number = 0
    try:
        site = Site(name, envoy, upstream)
        provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
        site.sign_in()
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(THREADS) as threads:
            while time.monotonic() < end:
                numbers = [only] if only is not None else range(number, number + CONNECTIONS_PER_LOOK)
                list(threads.map(lambda number: site.send(seed, number), numbers))
                site.look()
                number += len(numbers)
                if only is not None:
                    break
    except Failed as failure:
        last = number + CONNECTIONS_PER_LOOK - 1
        print(
            f"fuzz-envoy: FAILED with {name}, --seed {seed}, in the connections {number} to {last}: {failure}",
            file=sys.stderr,
        )
        return False
    finally:
        envoy.stop()
        upstream.stop()
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(site.answers.items()))
    print(f"fuzz-envoy: {name}: {number} connections; {site.arrived} requests arrived; answers: {answers}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
