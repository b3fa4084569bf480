"""`make bench-hostile`: the cost of a stranger's request for a worker, by its shape.

    .venv/bin/python bench/hostile.py                     about ten minutes; writes bench/hostile.md
    .venv/bin/python bench/hostile.py --short             some seconds: checks only that each shape gets its expected answer
    .venv/bin/python bench/hostile.py --print --only rd   only the shapes with that in their title
    .venv/bin/python bench/hostile.py --print --wasm other.wasm

Each site is an Envoy with one worker. In each round every shape is sent, and before it `/x` without a cookie: other
load of the machine affects both alike, and a ratio is made of such a pair. The measure is the CPU time of the
worker's thread, so a slow client does not matter.

Needs Linux, and `make build` before.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import json
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "integration"))

# From integration/, which is on the path from here on.
from harness.envoy import Envoy
from harness.process import StartFailed, stop_on_signals
from harness.redis import Redis
from harness.render import WASM, named, render
from issuer import Issuer
from report import Spread, envoy_version, met, processor
from shapes import KB, Shape, base, shapes, sites
from wire import AT_A_TIME, Closed, Sent, connect

AIM = 5
# The aim is for requests of up to 4 kB, with some room for the names of headers.
AIMED = 4 * KB + 512
# Requests of a sample.
MOST = 4096


class BadAnswer(Exception):
    """A shape did not get its expected answer."""


@dataclass
class Measured:
    shape: Shape
    size: int
    """Bytes of a request's headers, as Envoy has them."""
    count: int
    """Requests of a sample."""
    cpu: list[float] = field(default_factory=list)
    """Seconds a request, a sample each round."""
    base_cpu: list[float] = field(default_factory=list)
    """The same of `/x`, just before."""
    wire: float = 0
    """Bytes of a request on the wire."""
    base_wire: float = 0

    def ratio(self) -> Spread:
        return Spread.of([cpu / base_cpu for cpu, base_cpu in zip(self.cpu, self.base_cpu)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default=7, type=int)
    parser.add_argument("--sample", default=0.1, type=float, help="seconds of CPU for each shape in each round, about")
    parser.add_argument("--only", default="", help="only shapes with this text in their title")
    parser.add_argument("--wasm", default=WASM, type=Path, help="another build of the filter")
    parser.add_argument("--short", action="store_true", help="only check the answers")
    parser.add_argument("--print", action="store_true", help="only print, do not write bench/hostile.md")
    wanted = parser.parse_args()
    if not Path("/proc/self/schedstat").exists():
        return fail("CPU times are read from /proc/PID/task/TID/schedstat, which this system lacks")
    if not wanted.wasm.is_file():
        return fail(f"{wanted.wasm} is missing: make build")
    stop_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            return run(wanted, stack)
    except KeyboardInterrupt:
        return fail("stopped", 130)
    except (BadAnswer, Closed, StartFailed, OSError) as error:
        return fail(str(error))


def run(wanted: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    issuers = {"bearer": Issuer(2048), "bearer-4096": Issuer(4096)}
    for issuer in issuers.values():
        stack.callback(issuer.stop)
    redis = Redis()
    stack.callback(redis.close)
    compared = [shape for shape in shapes(issuers) if wanted.only in shape.title]
    used = {shape.site for shape in compared}
    say(f"starting {len(used)} Envoys")
    envoys = {}
    for name, options in sites(issuers, redis.url).items():
        if name in used:
            envoys[name] = start(options, wanted.wasm)
            stack.callback(envoys[name].stop)

    results = []
    for shape in compared:
        results.append(first_look(envoys[shape.site], shape, wanted.sample))
        check(envoys)
    say(f"{len(results)} shapes, each got its expected answer")
    if wanted.short:
        return 0
    for number in range(wanted.rounds):
        for result in results:
            measure(envoys[result.shape.site], result, wanted.sample)
        check(envoys)
        say(f"round {number + 1} of {wanted.rounds}")
    print("\n".join(table(results)))
    say(f"`/x` took {base_us(results).show(1)} us")
    if not wanted.print:
        (Path(__file__).parent / "hostile.md").write_text(page(results, wanted), encoding="utf-8")
        say("wrote bench/hostile.md")
    return 0


def measure(envoy: Envoy, result: Measured, seconds: float) -> None:
    plain = base(result.shape)
    count = in_batches(seconds / 4 / (result.base_cpu or [20e-6])[-1])
    sent, cpu = sample(envoy, plain, count)
    result.base_cpu.append(cpu)
    result.base_wire = sent.bytes / count
    sent, cpu = sample(envoy, result.shape, result.count)
    result.cpu.append(cpu)
    result.wire = sent.bytes / result.count


def start(options: dict, wasm: Path) -> Envoy:
    """The shipped envoy.yaml, with a direct response in the upstream's place."""

    def rendered(*arguments: Any, **options: Any) -> str:
        config = json.loads(render(*arguments, **options))
        main_listener = named(config["static_resources"]["listeners"], "main")
        manager = main_listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"] = [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}},
        ]
        return json.dumps(config)

    common = {"provider": "oidc", "client_id": "bench", "email_domains": ["*"], "cookie_secure": False}
    return Envoy(
        {**common, **options},
        upstream="127.0.0.1:9",
        wasm=wasm,
        render=rendered,
        environment={
            "OAUTH2_PROXY_CLIENT_SECRET": secrets.token_urlsafe(24),
            "OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(24),
        },
    )


def first_look(envoy: Envoy, shape: Shape, seconds: float) -> Measured:
    """Whether the answers are right, and how many requests a sample should have."""
    _, cpu = sample(envoy, shape, AT_A_TIME)
    return Measured(shape, next(shape.requests(port(envoy))).size, in_batches(seconds / max(cpu, 1e-6)))


def in_batches(requests: float) -> int:
    return max(int(min(requests, MOST)) // AT_A_TIME, 1) * AT_A_TIME


def sample(envoy: Envoy, shape: Shape, count: int) -> tuple[Sent, float]:
    requests = list(itertools.islice(shape.requests(port(envoy)), count))
    with contextlib.closing(connect(port(envoy), shape.http2)) as client:
        before = worker_seconds(envoy.process.pid)
        sent = client.exchange(requests)
        cpu = (worker_seconds(envoy.process.pid) - before) / count
    wrong = {answer.status for answer in sent.answers} - set(shape.statuses)
    if wrong:
        raise BadAnswer(f"{shape.title} ({shape.site}): {sorted(wrong)} in the place of {shape.statuses}")
    return sent, cpu


def port(envoy: Envoy) -> int:
    return int(envoy.address.rpartition(":")[2])


def worker_seconds(pid: int) -> float:
    """CPU time of the one worker's thread, in nanoseconds in the first field of schedstat."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("wrk:worker"):
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise BadAnswer("Envoy has no thread named wrk:worker")


def check(envoys: dict[str, Envoy]) -> None:
    for name, envoy in envoys.items():
        if envoy.process.exit_code is not None or envoy.crashes():
            raise BadAnswer(f"the Envoy {name} crashed:\n{envoy.log()[-2000:]}")


def table(results: list[Measured]) -> list[str]:
    lines = [
        f"| Shape | bytes | on the wire | to `/x` | to `/x`, a byte on the wire | aim: {AIM} |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        ratio = result.ratio()
        if result.size > AIMED:
            aim = ""
        elif result.shape.needs_more and ratio.median > AIM:
            aim = f"not met: {result.shape.needs_more}"
        else:
            aim = met(ratio.median <= AIM)
        lines.append(
            f"| {result.shape.title} | {result.size:,} | {result.wire:,.0f} | {ratio.show(1)} | "
            f"{ratio.median * result.base_wire / result.wire:.2f} | {aim} |"
        )
    return lines


def base_us(results: list[Measured]) -> Spread:
    return Spread.of([cpu * 1e6 for result in results for cpu in result.base_cpu])


def page(results: list[Measured], wanted: argparse.Namespace) -> str:
    newline = "\n"
    return f"""# The cost of a stranger's requests

{newline.join(table(results))}

Medians of {wanted.rounds} rounds, (least..most) in parentheses. A ratio compares the CPU time of the worker's thread for a
request with that for `GET /x` without a cookie, at the same Envoy and by the same protocol just before, which is
{base_us(results).show(0)} µs here. "Bytes" are those of path and headers as Envoy has them; in HTTP/2, a repeated path is a
byte or two on the wire. The goal is for requests of up to 4 kB.

Ordinary patterns are those of an operator. Nasty ones are slow in other engines; there are also a hundred ordinary
ones. [shapes.py](shapes.py) has them all.

{datetime.date.today().isoformat()}, {envoy_version()}, {processor()}. The command:

```sh
make bench-hostile
```
"""


def say(line: str) -> None:
    print(f"bench: {line}", flush=True)


def fail(reason: str, code: int = 1) -> int:
    print(f"bench: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
