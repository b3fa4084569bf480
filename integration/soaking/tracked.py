"""`make soak WHAT=tracking`: two Envoys with two workers each serve sessions from memory, with the default of
`redis_tracking`, while the sessions end, and while the way to Redis breaks.

```text
28 browsers, each with one session after the other ──► Envoy ───────────────────────────────► Redis
 4 users who stay, and renew their sessions        ──► Envoy ──► a relay that has faults ──►
```

The sessions end at one of the Envoys, at Redis, and all at once by `FLUSHALL`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import random
import threading
import time
from collections import Counter

from harness.browser import OF_THE_UPSTREAM
from harness.envoy import Envoy
from harness.envoy import version as envoy_version
from harness.known_secrets import SECRETS
from harness.ports import HOST
from harness.provider import Provider
from harness.redis import Redis
from harness.redis import version as redis_version
from harness.relay import FaultyRelay
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, client, filter_config

from .faults import Faults
from .sessions import Session, make_sessions
from .stayers import TOKEN, Stayer
from .verdict import Life, is_beside, mistakes, spread, unexplained, worst
from .visits import IDENTITY, Task, visit

WORKERS = 2
PROCESSES, BROWSERS = 2, 28
STAYING = ("alice", "carol", "dave", "alice")
SILENCE, COMMAND_TIMEOUT = 1, 1
LIMIT = SILENCE + COMMAND_TIMEOUT
# At most so many sessions end in a second, all browsers together.
MOST_A_SECOND = 45
# Seconds without faults: before each fault, and in a run of less than three minutes; after the last fault.
PAUSE, SHORT_PAUSE, LAST = (10, 25), (3, 5), 5
# Until so many seconds after a fault, times are not those of a healthy fleet.
REST = 6
TURN = 5
SHOWN = 40


def run(wanted: argparse.Namespace, seed: int) -> int:
    """The exit code: 1 if a request was let through too long after the end of its session, or with another identity, or
    if a session ended too early."""
    Envoy.at_its_end = staticmethod(lambda log: SECRETS.check("Envoy's log", log))
    seconds, load = wanted.minutes * 60, os.getloadavg()[0]
    count = int(min(seconds * MOST_A_SECOND, wanted.sign_outs * 2 or math.inf)) + 200
    print(f"soak: makes {count:,} sessions", flush=True)
    sessions = make_sessions(count)
    with contextlib.ExitStack() as stack:
        provider = Provider([client()])
        stack.callback(provider.stop)
        redis = Redis(keep=True)
        stack.callback(redis.close)
        relay = FaultyRelay((HOST, redis.port))
        stack.callback(relay.close)
        services = [start(stack, provider, port, json.loads(wanted.filter)) for port in (redis.port, relay.port)]
        urls = [service.url for service in services]
        stayers = [stack.enter_context(Stayer(user, urls)) for user in STAYING]

        report = Report(stayers)
        faults = Faults(
            redis,
            relay,
            [service.envoy for service in services],
            random.Random(seed),
            SHORT_PAUSE if seconds < 180 else PAUSE,
        )
        browsers = Browsers(urls, redis.port, sessions, seed, report)
        commands = counters(services)["redis.commands"]
        began = time.monotonic()
        with browsers:
            go_on(faults, report, began + seconds - LAST, wanted.sign_outs)
            time.sleep(LAST)
        report.seconds = time.monotonic() - began
        report.commands = counters(services)["redis.commands"] - commands
        lost = [f"{stayer} is signed out at {url}" for stayer in stayers for url in stayer.lost_at()]
        print(report.summary(faults, services, load), flush=True)
        found = [*browsers.failures, *lost, *report.mistakes(faults, wanted.sign_outs)]
        found += [sign for service in services for sign in service.envoy.crashes()][:SHOWN]
        found += refused_grants(provider)
        for mistake in [*found[:SHOWN], *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]:
            print(f"soak: FAILED: {mistake}")
    # Each Envoy has ended: its VM had not died, and its log had no secret.
    print("soak: failed" if found else "soak: passed", flush=True)
    return 1 if found else 0


def go_on(faults: Faults, report: Report, end: float, sign_outs: int) -> None:
    """Faults, until the time is over, or enough users have signed out. In the middle, all sessions end."""
    began = time.monotonic()
    while (now := time.monotonic()) < end and not (sign_outs and report.sign_outs >= sign_outs):
        faults.run_until(min(end, now + TURN))
        print(f"soak: {end - time.monotonic():5.0f} s left, {report.line()}", flush=True)
        is_half = time.monotonic() - began > (end - began) / 2 or (sign_outs and report.sign_outs > sign_outs / 2)
        if is_half and not faults.flushes:
            # A refresh may write its session again while Redis has just come back.
            time.sleep(REST)
            faults.flush()


def start(stack: contextlib.ExitStack, provider: Provider, redis_port: int, more: dict) -> Service:
    options = {
        "session_store_type": "redis",
        "redis_connection_url": f"redis://{HOST}:{redis_port}",
        "redis_command_timeout": f"{COMMAND_TIMEOUT}s",
        "redis_session_index": True,
        "pass_access_token": True,
        **more,
    }
    envoy = Envoy(
        filter_config(provider, **options),
        upstream=f"{HOST}:9",  # never called
        environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
        concurrency=WORKERS,
        render=answering,
    )
    stack.callback(envoy.stop)
    return Service(envoy, provider)


def answering(*arguments, **options) -> str:
    """Envoy itself answers in the place of an upstream, which costs little. It says with what a request arrived."""
    config = json.loads(render(*arguments, **options))
    main = named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
    headers = {IDENTITY: "%REQ(x-forwarded-user)%", TOKEN: "%REQ(x-forwarded-access-token):16%", OF_THE_UPSTREAM: "yes"}
    main["route_config"]["virtual_hosts"][0]["routes"] = [
        {
            "match": {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}},
            "response_headers_to_add": [{"header": {"key": name, "value": value}} for name, value in headers.items()],
        }
    ]
    return json.dumps(config)


def counters(services: list[Service]) -> Counter[str]:
    return sum((Counter(service.envoy.counters()) for service in services), Counter())


def refused_grants(provider: Provider) -> list[str]:
    refused = [entry for entry in provider.seen("token", "refresh_token") if entry["status"] not in (200, None)]
    return [f"{len(refused)} refresh grants were refused: a refresh token was used twice"] if refused else []


class Browsers:
    """Processes with browsers, from the beginning of the `with` block to its end. `failures` is for its end."""

    def __init__(self, urls: list[str], redis_port: int, sessions: list[Session], seed: int, report: Report):
        context = multiprocessing.get_context("spawn")
        self.failures: list[str] = []
        self._report = report
        self._stop, self._lives = context.Event(), context.Queue()
        tasks = [
            Task(urls, redis_port, sessions[part::PROCESSES], BROWSERS // PROCESSES, LIMIT, seed + part)
            for part in range(PROCESSES)
        ]
        self._processes = [
            context.Process(target=visit, args=(task, self._stop, self._lives), daemon=True) for task in tasks
        ]
        self._collector = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self):
        for process in self._processes:
            process.start()
        self._collector.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(90)
            if process.exitcode != 0:
                self.failures.append(f"a process with browsers ended with {process.exitcode}")
                process.kill()
        self._collector.join(10)

    def _collect(self) -> None:
        running = len(self._processes)
        while running:
            life = self._lives.get()
            if life is None:
                running -= 1
            else:
                self._report.add(life)


class Report:
    """The lives of sessions, as they end."""

    def __init__(self, stayers: list[Stayer]):
        self._stayers = stayers
        self._lives: list[Life] = []
        self._answers: Counter[str] = Counter()
        self.sign_outs = 0
        self.seconds = 0.0
        self.commands = 0

    def add(self, life: Life) -> None:
        self._lives.append(life)
        self._answers += life.answers
        self.sign_outs += life.is_ended and life.way.startswith("sign-out")

    def line(self) -> str:
        last = spread([life.lag for life in self._lives[-200:]])
        return f"{self.sign_outs:,} of {len(self._lives):,} ends are sign-outs; of late {last}"

    def mistakes(self, faults: Faults, sign_outs: int) -> list[str]:
        found = [mistake for life in self._lives for mistake in mistakes(life, faults.flushes, LIMIT)]
        found += [mistake for stayer in self._stayers for mistake in stayer.mistakes(faults.flushes, LIMIT)]
        late = [lag for when, lag in self._renewals(faults, is_beside_fault=False) if lag > LIMIT]
        found += [f"an old session was served {lag:.3f} s after it had been renewed" for lag in late]
        if self.sign_outs < max(1, sign_outs):
            found.append(f"there was too little load: {self.sign_outs} users signed out")
        return found

    def _renewals(self, faults: Faults, *, is_beside_fault: bool) -> list[tuple[float, float]]:
        return [
            (when, lag)
            for stayer in self._stayers
            for when, lag in stayer.lags
            if any(one.began < when + LIMIT and when < one.confirmed + REST for one in faults.steps) is is_beside_fault
        ]

    def summary(self, faults: Faults, services: list[Service], load: float) -> str:
        healthy = [life for life in self._lives if life.is_ended and not is_beside(life, faults.steps, REST)]
        beside = [life for life in self._lives if life.is_ended and is_beside(life, faults.steps, REST)]
        answers = sum((stayer.answers() for stayer in self._stayers), self._answers)
        requests = sum(answers.values())
        outages = unexplained(self._lives, faults.steps, REST)
        ways = Counter(life.way for life in self._lives)
        renewed = sum((stayer.renewals for stayer in self._stayers), Counter())
        open_ends = sum(not life.is_ended for life in self._lives)
        lines = {
            "requests": f"{requests:,}, {requests / self.seconds:,.0f} a second, {dict(sorted(answers.items()))}",
            "commands": f"{self.commands:,} to Redis, {self.commands / requests:.4f} a request",
            "ends": f"{dict(sorted(ways.items()))}, {open_ends} not confirmed",
            "faults": f"{dict(sorted(faults.count.items()))}",
            "from a confirmed end to the last request that was let through": "",
            "  healthy": spread([life.lag for life in healthy]),
            **{
                f"    {way}": spread([life.lag for life in healthy if life.way == way])
                for way in sorted({life.way for life in healthy})
            },
            "    worst": "; ".join(worst(healthy, faults.steps)),
            "  DEL or UNLINK, healthy, since the command was sent": spread(
                [max(0, life.passed - life.ended.began) for life in healthy if life.way in ("DEL", "UNLINK")]
            ),
            "  beside faults": spread([life.lag for life in beside]),
            "from a renewed session to the last request with the old one": "",
            "  healthy ": spread([lag for _, lag in self._renewals(faults, is_beside_fault=False)]),
            "  beside faults ": spread([lag for _, lag in self._renewals(faults, is_beside_fault=True)]),
            "renewals": f"{dict(sorted(renewed.items()))}",
            "503 far from faults": f"{sum(outages.values())}, {dict(outages.most_common(8))}",
            "statistics": f"{dict(sorted(counters(services).items()))}",
            "proxies": f"{services[0].url}, and {services[1].url} behind the relay",
            "machine": f"{os.cpu_count()} cores, load average {load:.1f} before, {os.getloadavg()[0]:.1f} after;"
            f" Envoy {envoy_version()}, Redis {redis_version()}",
        }
        return "\n".join([f"\nsoak: summary of {self.seconds:.0f} s", *(f"  {k:<13} {v}" for k, v in lines.items())])
