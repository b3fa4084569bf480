"""`make bench`: the cost of the filter for a request, compared with no filter and with an empty one.

    .venv/bin/python bench/bench.py                      writes bench/results.md and its pictures
    .venv/bin/python bench/bench.py --rounds 3 --seconds 2 --print
    .venv/bin/python bench/bench.py --print --also other.wasm     also another build of the filter
    .venv/bin/python bench/bench.py --short              only checks the answer of each variant; needs no wrk

With OAUTH2_PROXY=/path/to/oauth2-proxy in the environment, an oauth2-proxy behind ext_authz is measured too.

Every variant is an Envoy of its own with one worker and a direct response in the upstream's place. All of
them run the whole time; wrk loads one after the other, for some seconds each, in rounds, and every round
begins with another variant. So other load of the machine affects all of them alike, and ratios are made
within a round. The measure is Envoy's CPU time a request: it hardly depends on the client. A run takes seconds times
rounds for each variant; there are about twenty.

Needs Linux, wrk, and `make build` before.
"""

from __future__ import annotations

import argparse
import binascii
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "integration"), str(ROOT / "tools")]

# From integration/ and tools/, which are on the path from here on.
from harness.process import StartFailed, stop_on_signals
from harness.redis import Redis
from harness.render import WASM
from harness.topologies import SLOTS, ClusterTopology, SentinelTopology, Topology
from harness.vm import VmDied
from measure import BadRun, check, measure, memory_mib
from others import native_variant, oauth2_proxy_variants, start_provider
from report import Memory, Result, goals, table, write
from trim_exports import trim
from variants import Envoy, Variant, redis_variants, topology_variants, variants

TARGET = "wasm32-wasip1"
# The environment of each Envoy.
SECRETS = {"OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(24), "OAUTH2_PROXY_CLIENT_SECRET": "not used"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument("--seconds", default=5, type=int, help="for each variant in each round")
    parser.add_argument("--connections", default=32, type=int)
    parser.add_argument("--cookies", default=20_000, type=int, help="cookies of the variant with cookies in turn")
    parser.add_argument("--sessions", default=100_000, type=int, help="sessions in Redis of the variants with many")
    parser.add_argument("--only", help="keys of variants, separated by commas; `empty` always runs")
    parser.add_argument("--also", type=Path, help="another build of the filter, for the cookies")
    parser.add_argument("--print", action="store_true", help="only print, do not write bench/results.*")
    parser.add_argument("--short", action="store_true", help="only check the answer of each variant")
    wanted = parser.parse_args()

    if shutil.which("wrk") is None and not wanted.short:
        return fail("wrk is missing; on Debian: apt install wrk")
    if not Path("/proc/self/stat").exists():
        return fail("CPU times are read from /proc, which only Linux has")
    if not WASM.is_file():
        return fail(f"{WASM.relative_to(ROOT)} is missing: make build")
    stop_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            compared = prepare(wanted, stack)
            if wanted.short:
                return check_each(compared)
            results, memory = run(compared, wanted, stack)
            if not wanted.print:
                # While the files with the cookies are there.
                write(results, memory, wanted)
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except (BadRun, StartFailed, VmDied, AssertionError, subprocess.CalledProcessError) as error:
        return fail(str(error))
    print(table(results))
    if not wanted.only:
        print("\n".join(goals(results)))
    if not wanted.print:
        say("wrote bench/results.md and bench/results.svg")
    return 0


def prepare(wanted: argparse.Namespace, stack: contextlib.ExitStack) -> list[Variant]:
    """The modules, cookies and servers of all variants that are wanted."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    secret = SECRETS["OAUTH2_PROXY_COOKIE_SECRET"]
    if wanted.short:
        wanted.cookies = wanted.sessions = 3
    compared = prepare_cookies(folder, secret, wanted)
    only = {"empty", *wanted.only.split(",")} if wanted.only else None

    def is_wanted(*starts: str) -> bool:
        return only is None or any(key.startswith(starts) for key in only)

    redis = None
    if is_wanted("redis", "oauth2-proxy"):
        redis = Redis()
        stack.callback(redis.close)
        compared += prepare_redis(redis, folder, secret, wanted)
    if is_wanted("sentinel", "cluster"):
        compared += prepare_topologies(folder, secret, stack)
    provider = start_provider(stack)
    compared.insert(4, native_variant(provider, folder / "native"))
    if os.environ.get("OAUTH2_PROXY") and redis:
        say("starting oauth2-proxy")
        compared += oauth2_proxy_variants(provider, secret, redis, folder / "one", folder / "redis-one", stack)
    return [variant for variant in compared if only is None or variant.key in only]


def check_each(compared: list[Variant]) -> int:
    """One Envoy after the other, so that it fits into any machine."""
    for variant in compared:
        envoy = Envoy(variant, SECRETS)
        try:
            check(envoy)
        finally:
            envoy.stop()
    say(f"{len(compared)} variants, each gave its expected answer: {', '.join(each.key for each in compared)}")
    return 0


def run(
    compared: list[Variant], wanted: argparse.Namespace, stack: contextlib.ExitStack
) -> tuple[list[Result], Memory]:
    say(f"starting {len(compared)} Envoys")
    envoys = []
    for variant in compared:
        envoys.append(Envoy(variant, SECRETS))
        stack.callback(envoys[-1].stop)
        check(envoys[-1])
    at_start = {envoy.variant.key: memory_mib(envoy.pid) for envoy in envoys}
    for envoy in envoys:
        measure(envoy, 1, wanted.connections)  # connections, caches and allocators are warm

    results = {variant.key: Result(variant, []) for variant in compared}
    for number in range(wanted.rounds):
        first = number % len(envoys)
        for envoy in envoys[first:] + envoys[:first]:
            results[envoy.variant.key].samples.append(measure(envoy, wanted.seconds, wanted.connections))
        line = "  ".join(f"{key} {result.samples[-1].cpu_us:.1f}" for key, result in results.items())
        say(f"round {number + 1} of {wanted.rounds}, us a request: {line}")
    at_end = {envoy.variant.key: memory_mib(envoy.pid) for envoy in envoys}
    return list(results.values()), Memory(at_start, at_end)


def prepare_cookies(folder: Path, secret: str, wanted: argparse.Namespace) -> list[Variant]:
    """The modules and the cookies."""
    say("building the empty filter and the floor")
    modules = {name: build(f"{name}-filter") for name in ("empty", "floor")}
    for name, source in (("trimmed", modules["empty"]), ("floor", modules["floor"])):
        modules[name] = folder / f"{name}.wasm"
        modules[name].write_bytes(trim(source.read_bytes()))

    say(f"making {wanted.cookies:,} cookies")
    cookies = make_cookies(secret, wanted.cookies)
    files = none, one, many = [folder / name for name in ("none", "one", "many")]
    for path, lines in zip(files, ([], cookies[:1], cookies)):
        write_lines(path, lines)
    compared = variants(modules, none, one, many, wanted.cookies)
    if wanted.also:
        compared.append(Variant("also", f"signed in, cookie seen before, {wanted.also}", wanted.also, one))
        title = f"signed in, {wanted.cookies:,} cookies in turn, {wanted.also}"
        compared.append(Variant("also-uncached", title, wanted.also, many))
    return compared


def build(crate: str) -> Path:
    """Builds a filter of bench/."""
    target = ROOT / "target" / "empty-filter"
    manifest = ROOT / "bench" / crate / "Cargo.toml"
    words = [
        "--release",
        "--quiet",
        "--target",
        TARGET,
        "--target-dir",
        target,
        "--manifest-path",
        manifest,
    ]
    cargo("build", *words)
    return target / TARGET / "release" / f"{crate.replace('-', '_')}.wasm"


def make_cookies(secret: str, count: int, commands: Path | None = None) -> list[str]:
    """Headers `Cookie`. With `commands`, they have tickets, and that file gets the commands for Redis."""
    # Not --release, which would be another build of everything; the tests use this one too.
    words = ["run", "--quiet", "--example", "make_cookies", "--", count, *([commands] if commands else [])]
    values = cargo(*words, environment={"OAUTH2_PROXY_COOKIE_SECRET": secret}).split()
    return [f"_oauth2_proxy={value}" for value in values]


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def prepare_redis(redis: Redis, folder: Path, secret: str, wanted: argparse.Namespace) -> list[Variant]:
    """A Redis with sessions in it, and the cookies with their tickets."""
    say(f"making {wanted.sessions:,} sessions in Redis")
    commands = folder / "sessions.resp"
    cookies = make_cookies(secret, wanted.sessions, commands)
    with redis.connect() as connection:
        connection.pipe(commands, wanted.sessions)
    files = {}
    for name, count in {"one": 1, "thousand": 1000, "thirty-thousand": 30_000, "many": wanted.sessions}.items():
        files[name] = folder / f"redis-{name}"
        write_lines(files[name], cookies[:count])
    return redis_variants(redis, files, wanted.sessions)


def prepare_topologies(folder: Path, secret: str, stack: contextlib.ExitStack) -> list[Variant]:
    """The same with Sentinel and as a Cluster, with a thousand sessions in each."""
    say("starting Sentinel and a Cluster")
    commands = folder / "thousand.resp"
    cookies = folder / "thousand"
    write_lines(cookies, make_cookies(secret, 1000, commands))
    sentinel, cluster = SentinelTopology(), ClusterTopology()
    for topology in (sentinel, cluster):
        stack.callback(topology.close)
        load(topology, commands)
    return topology_variants(sentinel, cluster, cookies)


def load(topology: Topology, commands: Path) -> None:
    """Sends each `SET` of a file to the server that has its key."""
    servers = {}
    with contextlib.ExitStack() as stack:
        for key, value in values(commands.read_bytes()):
            slot = binascii.crc_hqx(key, 0) % SLOTS  # CRC-16/XMODEM; each master has a third of them
            part = sum(slot >= SLOTS * third // 3 for third in (1, 2)) if isinstance(topology, ClusterTopology) else 0
            if part not in servers:
                servers[part] = stack.enter_context(topology.server_of(key.decode()).connect())
            servers[part].command("SET", key, value)


def values(commands: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of `*3 $3 SET $n key $n value`."""
    at = 0
    while at < len(commands):
        words = []
        at = commands.index(b"\r\n", at) + 2
        for _ in range(3):
            end = commands.index(b"\r\n", at)
            start, size = end + 2, int(commands[at + 1 : end])
            words.append(commands[start : start + size])
            at = start + size + 2
        yield words[1], words[2]


def cargo(*words: object, environment: dict[str, str] | None = None) -> str:
    command = [os.environ.get("CARGO", "cargo"), str(words[0]), "--locked", *map(str, words[1:])]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def say(line: str) -> None:
    print(f"bench: {line}", flush=True)


def fail(reason: str, code: int = 1) -> int:
    print(f"bench: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
