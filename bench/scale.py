"""`make bench-scale`: a measured point for each formula of docs/scale.md, written into that page.

    .venv/bin/python bench/scale.py                      about five minutes
    .venv/bin/python bench/scale.py --print              only prints
    .venv/bin/python bench/scale.py --short              half a minute: connections and commands of a small fleet

Real Envoys, real Redis servers, and little load: counts do not depend on the machine. Times do, so the page says how
busy the machine was. Needs Linux, wrk and `make build` before.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import os
import re
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "integration"), str(ROOT / "tools")]

# From integration/ and tools/, which are on the path from here on.
from bench import cargo, load, make_cookies, say, values, write_lines
from harness import redis as redis_server
from harness.envoy import Envoy, version
from harness.load import ask
from harness.process import stop_on_signals
from harness.redis import Redis
from harness.render import WASM
from harness.topologies import ClusterTopology, SentinelTopology, Topology
from harness.waiting import until
from measure import commands_of, cpu_seconds, measure, memory_mib
from report import processor
from variants import LARGE_CACHE, Variant, has_option
from variants import Envoy as BenchEnvoy

PAGE = ROOT / "docs" / "scale.md"
SECRET = secrets.token_urlsafe(24)
ENVIRONMENT = {"OAUTH2_PROXY_COOKIE_SECRET": SECRET, "OAUTH2_PROXY_CLIENT_SECRET": "not used"}
# Answers 202 for a session, and needs no upstream.
PATH = "/oauth2/auth"
SIGNED_IN = 202
ENVOYS, WORKERS = 2, 2
# The fleet that loses its server.
STORM_WORKERS, STORM_RATE, STORM_SECONDS = 8, 25, 3


@dataclass(frozen=True)
class Point:
    """A formula and what it gives for this point, and what was measured."""

    what: str
    point: str
    formula: str
    computed: str
    measured: str

    def row(self) -> str:
        return f"| {self.what} | {self.point} | {self.formula} | {self.computed} | {self.measured} |"


@dataclass(frozen=True)
class Sessions:
    cookies: list[str]
    commands: Path
    """`SET` for each of them, as it goes over the wire."""

    @classmethod
    def make(cls, folder: Path, count: int) -> Sessions:
        commands = folder / f"{count}.resp"
        return cls(make_cookies(SECRET, count, commands), commands)

    @property
    def count(self) -> int:
        return len(self.cookies)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="only print, do not write docs/scale.md")
    parser.add_argument("--short", action="store_true", help="only connections and commands of a small fleet")
    wanted = parser.parse_args()
    stop_on_signals()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        if wanted.short:
            points = [*connections(folder, SINGLE), *commands(folder, 200)]
        else:
            points = [
                *connections(folder, SINGLE, SENTINEL, CLUSTER),
                *commands(folder, 1000),
                *tracked_commands(folder, 1000),
                *memory_of_redis(folder),
                *memory_of_workers(folder),
                *cost_of_commands(folder),
            ]
        parts = [table(points)]
        print(parts[0], flush=True)
        if not wanted.short:
            parts += [storms(folder), machine(before)]
            print("", *parts[1:], sep="\n\n")
    if not (wanted.print or wanted.short):
        write("\n\n".join(parts))
    return 0


# ---- fleets ----


@contextlib.contextmanager
def single() -> Iterator[tuple[dict, list[Redis], Topology | None]]:
    redis = Redis(keep=True)
    try:
        yield {"session_store_type": "redis", "redis_connection_url": redis.url}, [redis], None
    finally:
        redis.close()


@contextlib.contextmanager
def sentinel() -> Iterator[tuple[dict, list[Redis], Topology | None]]:
    topology = SentinelTopology()
    try:
        yield topology.options, [topology.master()], topology
    finally:
        topology.close()


@contextlib.contextmanager
def cluster() -> Iterator[tuple[dict, list[Redis], Topology | None]]:
    topology = ClusterTopology(has_replicas=False)
    try:
        yield topology.options, topology.nodes, topology
    finally:
        topology.close()


Store = tuple[str, Callable[[], contextlib.AbstractContextManager]]
SINGLE: Store = ("a server", single)
SENTINEL: Store = ("Sentinel", sentinel)
CLUSTER: Store = ("a Cluster of three", cluster)


def store_sessions(sessions: Sessions, nodes: list[Redis], topology: Topology | None) -> None:
    if topology:
        load(topology, sessions.commands)
    else:
        with nodes[0].connect() as connection:
            connection.pipe(sessions.commands, sessions.count)


@contextlib.contextmanager
def fleet(envoys: int, workers: int, options: dict, log_level: str = "error") -> Iterator[list[Envoy]]:
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(envoys):
            envoy = Envoy(
                {
                    "oidc_issuer_url": "https://login.example.com",  # never called here
                    "client_id": "bench",
                    "email_domains": ["*"],
                    **options,
                },
                upstream="127.0.0.1:9",
                environment=ENVIRONMENT,
                concurrency=workers,
                wasm_log_level=log_level,
            )
            stack.callback(envoy.stop)
            started.append(envoy)
        yield started


NUMBERS = itertools.count()


def visit(envoys: list[Envoy], cookies: list[str], count: int) -> None:
    """So many requests, each on a connection of its own, which the kernel gives to some worker."""
    for number in itertools.islice(NUMBERS, count):
        envoy = envoys[number % len(envoys)]
        status = ask(envoy.url + PATH, cookies[number // len(envoys) % len(cookies)])
        assert status == SIGNED_IN, f"{PATH} answered {status}"


def visit_all(envoys: list[Envoy], cookies: list[str], nodes: list[Redis], count: int) -> list[int]:
    """Requests until each worker has asked each node; then the connections of each node."""

    def found() -> list[int]:
        return [len(node.clients()) for node in nodes]

    for _ in range(100):
        visit(envoys, cookies, 8 * len(envoys))
        if all(connected >= count for connected in found()):
            break
    return found()


# ---- the points ----


def connections(folder: Path, *stores: Store) -> list[Point]:
    points = []
    sessions = Sessions.make(folder, 60)
    for title, start in stores:
        say(f"connections to {title}")
        with start() as (options, nodes, topology):
            store_sessions(sessions, nodes, topology)
            with fleet(ENVOYS, WORKERS, options) as envoys:
                expected = ENVOYS * WORKERS
                found = visit_all(envoys, sessions.cookies, nodes, expected)
                where = f"{ENVOYS} Envoys, {WORKERS} workers each, {title}"
                shown = f"{found[0]}" if len(set(found)) == 1 else ", ".join(map(str, found))
                points.append(Point("connections to a node", where, "E × W", f"{expected}", shown))
                if isinstance(topology, SentinelTopology):
                    held = sum(watchers(each) for each in topology.sentinels)
                    what = "connections to all Sentinels"
                    points.append(Point(what, where, "E × W", f"{expected}", f"{held}"))
    return points


def watchers(one) -> int:
    """The workers that are subscribed at a Sentinel."""
    lines = one.command("CLIENT", "LIST").decode().splitlines()
    return sum(" name=oauth2-session-filter " in line for line in lines)


def commands(folder: Path, requests: int) -> list[Point]:
    say("commands for requests")
    sessions = Sessions.make(folder, 20)
    untracked = {"redis_tracking": "off"} if has_option("redis_tracking") else {}
    with single() as (options, nodes, topology):
        store_sessions(sessions, nodes, topology)
        with fleet(ENVOYS, WORKERS, {**options, **untracked}) as envoys:
            visit_all(envoys, sessions.cookies, nodes, ENVOYS * WORKERS)
            before = commands_of(tuple(nodes))
            visit(envoys, sessions.cookies, requests)
            asked = commands_of(tuple(nodes)) - before
    where = f"{requests:,} requests"
    return [Point("commands, not tracked", where, "1 a request", f"{requests:,}", f"{asked:,}")]


def tracked_commands(folder: Path, requests: int) -> list[Point]:
    """Nothing in a build without tracked sessions."""
    if not has_option("redis_tracking"):
        return []
    say("commands for requests, tracked")
    sessions = Sessions.make(folder, 20)
    fleets = ENVOYS * WORKERS
    # So many that each worker gets each session.
    enough = 20 * fleets * sessions.count
    with single() as (options, nodes, topology):
        store_sessions(sessions, nodes, topology)
        with fleet(ENVOYS, WORKERS, {**options, "redis_tracking": "on"}) as envoys:
            visit(envoys, sessions.cookies, enough)
            with nodes[0].monitor() as monitor:
                began = time.monotonic()
                visit(envoys, sessions.cookies, requests)
                seconds = time.monotonic() - began
                read, others = reads(monitor.commands(), sessions)
                touched = change(nodes[0], sessions)
                monitor.commands()
                visit(envoys, sessions.cookies, enough)
                again, _ = reads(monitor.commands(), sessions)
    where = f"{requests:,} requests in {seconds:.0f} s, all sessions seen before"
    proofs = f"at most {2 * fleets * seconds + 5 * fleets * (1 + seconds // 60):,.0f}"
    changed = f"{touched} sessions change, {fleets} workers use them"
    formula = "changes × workers that use the session"
    return [
        Point("reads of sessions, tracked", where, "0", "0", f"{read:,}"),
        Point("other commands, tracked", where, "2 a second and 5 a minute for each worker", proofs, f"{others:,}"),
        Point("reads of sessions, tracked", changed, formula, f"{touched * fleets}", f"{again:,}"),
    ]


def reads(commands: list[list[str]], sessions: Sessions) -> tuple[int, int]:
    """How many of them read one of these sessions, and how many do something else."""
    keys = {key.decode() for key, _ in values(sessions.commands.read_bytes())}
    of_sessions = [words for words in commands if len(words) > 1 and words[1] in keys]
    return sum(words[0].upper() == "GET" for words in of_sessions), len(commands) - len(of_sessions)


def reads_of(server: Redis) -> int:
    """How many `GET` it ran."""
    found = re.search(rb"cmdstat_get:calls=(\d+)", server.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


def change(server: Redis, sessions: Sessions) -> int:
    """Writes each session once more, as another proxy does that refreshes it."""
    written = 0
    with server.connect() as connection:
        for key, value in values(sessions.commands.read_bytes()):
            connection.command("SET", key, value)
            written += 1
    return written


def memory_of_redis(folder: Path) -> list[Point]:
    say("memory of Redis")
    sessions = Sessions.make(folder, 20_000)
    pairs = list(values(sessions.commands.read_bytes()))
    size = len(pairs[0][0]) + len(pairs[0][1])
    redis = Redis()
    try:
        before = used_memory(redis)
        store_sessions(sessions, [redis], None)
        with redis.connect() as connection:
            for key, _ in pairs:
                connection.command("EXPIRE", key, 24 * 3600)
        each = (used_memory(redis) - before) / sessions.count
        where = f"{sessions.count:,} sessions of {size:,} bytes with their keys"
        session = Point(
            "memory of a session in Redis", where, "bytes + 160", f"{size + 160:,} bytes", f"{each:,.0f} bytes"
        )
    finally:
        redis.close()
    keys = [key for key, _ in pairs]
    tables = {clients: tracking_table(keys, clients) for clients in (1, 4, 8)}
    slope = (tables[8] - tables[1]) / 7
    base = tables[1] - slope
    formula = f"{base:.0f} + {slope:.0f} × workers that have read it"
    where = f"{len(keys):,} sessions read by 4 connections"
    computed, measured = f"{base + 4 * slope:.0f} bytes a session", f"{tables[4]:.0f} bytes a session"
    return [session, Point("memory of the tracking table", where, formula, computed, measured)]


def tracking_table(keys: list[bytes], clients: int) -> float:
    """Bytes for each key that so many connections read with `CLIENT TRACKING`."""
    redis = Redis()
    try:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(redis.connect())
            target = listener.command("CLIENT", "ID")
            readers = [stack.enter_context(redis.connect()) for _ in range(clients)]
            for reader in readers:
                # The table has the same entries as for a connection with RESP3 that gets the pushes itself.
                reader.command("CLIENT", "TRACKING", "ON", "REDIRECT", target)
                for _ in range(100):
                    reader.command("PING")
            # What a server allocates for its connections is there before; the keys need not exist.
            before = used_memory(redis)
            for reader in readers:
                for key in keys:
                    reader.command("GET", key)
            return (used_memory(redis) - before) / len(keys)
    finally:
        redis.close()


def used_memory(redis: Redis) -> int:
    return int(redis.command("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])


def memory_of_workers(folder: Path) -> list[Point]:
    say("memory of workers")
    few = Sessions.make(folder, 10)
    with single() as (options, nodes, _topology):
        store_sessions(few, nodes, None)
        sizes = {}
        for workers in (1, 2, 4):
            with fleet(1, workers, options) as envoys:
                visit_all(envoys, few.cookies, nodes, workers)
                sizes[workers] = memory_mib(envoys[0].process.pid)
    slope = (sizes[4] - sizes[1]) / 3
    base = sizes[1] - slope
    formula = f"{base:.0f} MiB + {slope:.0f} MiB × W"
    computed, measured = f"{base + 2 * slope:.0f} MiB", f"{sizes[2]:.0f} MiB"
    points = [Point("memory of an Envoy without sessions", "2 workers", formula, computed, measured)]
    sessions = Sessions.make(folder, 20_000)
    cookies = folder / "cookies"
    write_lines(cookies, sessions.cookies)
    limit = {"session_cache_bytes": LARGE_CACHE} if has_option("session_cache_bytes") else {}
    cache = limit or {"session_cache_size": sessions.count}
    with single() as (options, nodes, _topology):
        store_sessions(sessions, nodes, None)
        envoy = BenchEnvoy(Variant("scale", "", WASM, cookies, options={**options, **cache}), ENVIRONMENT)
        try:
            before = memory_mib(envoy.pid)
            # wrk begins with the first cookie each time.
            seconds = 2
            while measure(envoy, seconds, 16).requests < sessions.count:
                seconds *= 2
            each = (memory_mib(envoy.pid) - before) * 1024 * 1024 / sessions.count
        finally:
            envoy.stop()
    where = f"{sessions.count:,} sessions of 1.2 kB, one worker"
    expected = "700 bytes" if limit else "2,100 bytes"
    return [*points, Point("memory of a remembered session", where, expected, expected, f"{each:,.0f} bytes")]


def cost_of_commands(folder: Path) -> list[Point]:
    say("CPU time of Redis")
    sessions = Sessions.make(folder, 1000)
    cookies = folder / "thousand"
    write_lines(cookies, sessions.cookies)
    untracked = {"redis_tracking": "off"} if has_option("redis_tracking") else {}
    with single() as (options, nodes, _topology):
        store_sessions(sessions, nodes, None)
        envoy = BenchEnvoy(Variant("scale", "", WASM, cookies, options={**options, **untracked}), ENVIRONMENT)
        try:
            measure(envoy, 1, 32)
            pid = nodes[0].pid
            before, ran = cpu_seconds(pid), commands_of(tuple(nodes))
            measure(envoy, 5, 32)
            each = (cpu_seconds(pid) - before) / (commands_of(tuple(nodes)) - ran) * 1e6
        finally:
            envoy.stop()
    where = "`GET` of 1.2 kB, one worker with 32 clients"
    carried = f"{0.7e6 / each:,.0f} a second at 70 % of a core"
    return [
        Point("what a Redis node carries", where, "0.7 / CPU time of a command", carried, f"{each:.1f} µs a command")
    ]


# ---- a server goes away ----


class Asking:
    """So many requests a second, on connections of their own, until the end."""

    def __init__(self, envoy: Envoy, cookies: list[str], rate: int, threads: int = 16):
        self.answers: list[tuple[float, float, object]] = []
        self._url, self._cookies, self._pause = envoy.url + PATH, cookies, threads / rate
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        while not self._is_over.wait(self._pause):
            began = time.monotonic()
            status = ask(self._url, self._cookies[number % len(self._cookies)])
            self.answers.append((began, time.monotonic(), status))

    def first_good(self, since: float) -> float:
        return min(end for began, end, status in self.answers if status == SIGNED_IN and began >= since)

    def failed(self, since: float) -> int:
        return sum(status != SIGNED_IN for began, _, status in self.answers if began >= since)

    def worst_p99(self, since: float) -> float:
        """Of the seconds since then."""
        worst = 0.0
        last = max(began for began, _, _ in self.answers)
        while since < last:
            times = sorted(
                end - began for began, end, status in self.answers if since <= began < since + 1 and status == SIGNED_IN
            )
            worst = max([worst, *times[int(len(times) * 0.99) :][:1]])
            since += 1
        return worst


def storms(folder: Path) -> str:
    rows = [
        "| | workers | lost for | connects | most in 100 ms | first / last worker answers | worst p99 | failed afterwards |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|")
    for title, start in (SINGLE, SENTINEL):
        say(f"{STORM_WORKERS} workers lose {title}")
        row, seconds = real_storm(folder, title, start)
        rows.append(row)
        scenario = "restart" if title == SINGLE[0] else "sentinel, crash"
        rows.append(simulated(scenario, STORM_WORKERS, STORM_RATE, round(seconds), 511))
    for scenario in ("restart", "sentinel, crash", "sentinel, silence", "cold start"):
        say(f"simulating 1,000 workers: {scenario}")
        rows.append(simulated(scenario, 1000, 10, 5, 511))
    rows += [simulated(scenario, 1000, 10, 5, 4096) for scenario in ("sentinel, silence", "cold start")]
    return "\n".join(rows)


def real_storm(folder: Path, title: str, start: Callable) -> tuple[str, float]:
    sessions = Sessions.make(folder, 16)
    with start() as (options, nodes, topology):
        store_sessions(sessions, nodes, topology)
        with fleet(1, STORM_WORKERS, options) as (envoy,):
            visit_all([envoy], sessions.cookies, nodes, STORM_WORKERS)
            if isinstance(topology, SentinelTopology):
                until(topology.is_prepared, "the replicas have all writes")
            before = envoy.counters()
            with Asking(envoy, sessions.cookies, STORM_RATE * STORM_WORKERS) as asking:
                time.sleep(2)
                lost = time.monotonic()
                nodes[0].kill()
                if isinstance(topology, SentinelTopology):
                    back = topology.wait_for_another_master(nodes[0])
                    server = topology.master()
                else:
                    time.sleep(STORM_SECONDS)
                    server = nodes[0].start()
                    back = time.monotonic()
                seen: list[tuple[float, int]] = []
                while time.monotonic() < back + 5:
                    seen.append((time.monotonic() - back, len(server.clients())))
                    time.sleep(0.005)
                after = envoy.counters()
    connects = after["redis.connects"] - before["redis.connects"]
    complete = next((at for at, count in seen if count >= STORM_WORKERS), None)
    last = f"{complete * 1000:.0f} ms" if complete is not None else f"{seen[-1][1]} of {STORM_WORKERS} after 5 s"
    steps = [(at, count - earlier) for (_, earlier), (at, count) in zip([(0.0, 0), *seen], seen) if count > earlier]
    most = max(sum(new for at, new in steps if start <= at < start + 0.1) for start, _ in steps)
    cells = [
        f"measured: {'restart' if title == SINGLE[0] else 'sentinel, crash'}",
        f"{STORM_WORKERS}",
        f"{back - lost:.1f} s",
        f"{connects}",
        f"{most}",
        f"{(asking.first_good(back) - back) * 1000:.0f} ms / {last}",
        f"{asking.worst_p99(back) * 1000:.0f} ms",
        f"{asking.failed(back)}",
    ]
    return f"| {' | '.join(cells)} |", back - lost


def simulated(scenario: str, workers: int, rate: int, seconds: int, backlog: int) -> str:
    words = ["run", "--quiet", "--example", "reconnect_storm", "--", workers, rate, seconds, backlog]
    lines = [json.loads(line) for line in cargo(*words).splitlines()]
    found = next(line for line in lines if line["scenario"] == scenario)
    cells = [
        f"simulated: {scenario}" + (f", `tcp-backlog` {backlog:,}" if backlog != 511 else ""),
        f"{workers:,}",
        f"{found['outage_s']} s",
        f"{found['connects']:,}",
        f"{found['most_connects_in_100_ms']:,}",
        f"{found['first_good_answer_ms']:.0f} ms / {found['last_good_answer_ms']:,.0f} ms",
        f"{found['worst_p99_ms']:,.0f} ms",
        f"{found['failed_afterwards']:,}",
    ]
    return f"| {' | '.join(cells)} |"


# ---- the page ----


def table(points: list[Point]) -> str:
    head = ["| What | at | formula | computed | measured |", "|---|---|---|---|---|"]
    return "\n".join(head + [point.row() for point in points])


def machine(before: float) -> str:
    load_average = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
    return (
        f"{datetime.date.today().isoformat()}, Envoy {version()}, Redis {redis_server.version()}, {processor()}, "
        f"{os.cpu_count()} cores. The load average was {load_average}:\nif it is above the number of cores, other programs "
        "slowed the times down. Counts and bytes do not depend on it."
    )


BLOCK = re.compile(r"(<!-- measured by make bench-scale -->\n).*(<!-- end -->)", re.DOTALL)


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BLOCK.search(page), f"{PAGE.name} has no place for the results"
    PAGE.write_text(BLOCK.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page), encoding="utf-8")
    say("wrote docs/scale.md")


if __name__ == "__main__":
    sys.exit(main())
