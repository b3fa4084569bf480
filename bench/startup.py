"""`make bench-startup`: what the module costs before the first request: the time to start, and the memory of its VMs.

    .venv/bin/python bench/startup.py            about three minutes; writes bench/startup.md
    .venv/bin/python bench/startup.py --print    only prints
    .venv/bin/python bench/startup.py --short    one start of each variant and three updates; only prints

Envoys with an empty filter and with this one are started in turn, so that other load of the machine affects both
alike. Then the listener is replaced a hundred times. Needs Linux and `make build` before.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "integration"), str(ROOT / "tools")]

# From integration/ and tools/, which are on the path from here on.
from bench import build, say
from harness.envoy import Envoy, version
from harness.lds import Listeners
from harness.process import stop_on_signals
from harness.render import WASM
from measure import cpu_seconds, memory_mib
from report import processor

PAGE = Path(__file__).with_name("startup.md")
WORKERS = (1, 4)
ENVIRONMENT = {"OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(24), "OAUTH2_PROXY_CLIENT_SECRET": "not used"}
OPTIONS = {"provider": "oidc", "oidc_issuer_url": "https://login.example.com", "client_id": "a", "email_domains": ["*"]}
# No server is asked: nothing is known of the browser, and a cookie cannot be checked at the provider.
UPSTREAM = "127.0.0.1:9"


@dataclass(frozen=True)
class Start:
    seconds: float
    """From the start of the process until the listener is there."""
    cpu: float
    """CPU time of the process until then, in seconds."""
    memory: float
    """Resident memory then, in MiB."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", default=7, type=int, help="of each variant")
    parser.add_argument("--updates", default=100, type=int)
    parser.add_argument("--print", action="store_true", help="only print, do not write bench/startup.md")
    parser.add_argument("--short", action="store_true", help="one start of each variant and three updates")
    wanted = parser.parse_args()
    if wanted.short:
        wanted.starts, wanted.updates, wanted.print = 1, 3, True
    stop_on_signals()
    modules = {"an empty filter": build("empty-filter"), "this filter": WASM}
    starts = measure_starts(modules, wanted.starts)
    updates = {name: measure_updates(module, wanted.updates) for name, module in modules.items()}
    text = page(starts, updates, wanted)
    print(text)
    if not wanted.print:
        PAGE.write_text(text, encoding="utf-8")
        say("wrote bench/startup.md")
    return 0


def measure_starts(modules: dict[str, Path], count: int) -> dict[tuple[str, int], list[Start]]:
    found = defaultdict(list)
    for number in range(count):
        for workers in WORKERS:
            for name, module in modules.items():
                began = time.monotonic()
                envoy = start(module, workers)
                seconds = time.monotonic() - began
                pid = envoy.process.pid
                found[name, workers].append(Start(seconds, cpu_seconds(pid), memory_mib(pid)))
                envoy.stop()
        say(f"start {number + 1} of {count}")
    return found


def start(module: Path, workers: int, **more: Any) -> Envoy:
    return Envoy(OPTIONS, upstream=UPSTREAM, environment=ENVIRONMENT, concurrency=workers, wasm=module, **more)


def measure_updates(module: Path, count: int) -> list[tuple[int, float]]:
    """Updates so far, and the memory then. Each update changes an option, so that the filter is configured anew."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        listeners = Listeners(Path(folder))
        envoy = start(module, 1, render=listeners.render)
        stack.callback(envoy.stop)
        pid = envoy.process.pid
        found = [(0, memory_mib(pid))]
        for number in range(1, count + 1):
            update(envoy, listeners, number)
            ask(envoy)
            if number in (1, 10, count):
                found.append((number, memory_mib(pid)))
        return found


def update(envoy: Envoy, listeners: Listeners, number: int) -> None:
    """Gives Envoy the listener with another option, and waits until it is there."""

    def configure() -> None:
        plugin = listeners.plugin()
        value = json.loads(plugin["configuration"]["value"])
        plugin["configuration"]["value"] = json.dumps({**value, "cookie_expire": f"{number + 1}h"})

    def created() -> dict[str, int]:
        return envoy.statistics("listener_manager.listener_create_success")

    before = created()
    listeners.update(configure)
    envoy.process.wait_until(lambda: created() != before)


def ask(envoy: Envoy) -> None:
    host, _, port = envoy.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


def page(starts: dict[tuple[str, int], list[Start]], updates: dict[str, list[tuple[int, float]]], wanted) -> str:
    rows = [
        f"| {name}, {workers} worker{'s' if workers > 1 else ''} | {show([one.seconds * 1000 for one in of])} "
        f"| {show([one.cpu * 1000 for one in of])} | {show([one.memory for one in of])} |"
        for (name, workers), of in sorted(starts.items(), key=lambda item: item[0][1])
    ]
    memory = {key: statistics.median(one.memory for one in of) for key, of in starts.items()}
    few, many = WORKERS
    empty, ours = updates
    per_worker = {name: (memory[name, many] - memory[name, few]) / (many - few) for name in updates}
    counts = [count for count, _ in next(iter(updates.values()))]
    newline = "\n"
    return f"""# What it costs before the first request

| | ms until it listens | ms of CPU | MiB resident |
|---|---|---|---|
{newline.join(rows)}

Medians of {wanted.starts} starts, (least..most) in parentheses. Envoy loads the module from a file, checks it and compiles
it once; the main thread and each worker have a VM of their own. So a gateway with one worker has two VMs.

- **Once for the process**: {memory[ours, few] - memory[empty, few]:.0f} MiB more than the empty filter. This is the code
  that V8 compiles the module to, and what it keeps of the module; all VMs share it.
- **For each worker**: {per_worker[ours]:.1f} MiB for its VM; with the empty filter, {per_worker[empty]:.1f} MiB.

## Updates of the configuration

The listener is replaced with another option of the filter, and asked once, again and again. Resident memory in MiB
after so many updates, with one worker:

| | {" | ".join(map(str, counts))} |
|---|{"---|" * len(counts)}
{newline.join(f"| {name} | {' | '.join(f'{mib:.0f}' for _, mib in of)} |" for name, of in updates.items())}

## Machine and command

{datetime.date.today().isoformat()}, Envoy {version()}, {processor()}. The command:

```sh
make bench-startup
```
"""


def show(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}..{max(values):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
