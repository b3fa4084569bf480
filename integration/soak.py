"""A load for as long as wanted: requests over two Envoys while Redis crashes, restarts and hangs.

    .venv/bin/python integration/soak.py --minutes 10

Signed-in browsers request a page without a pause, each time on a new connection. Their sessions are due every few
seconds, so a refresh is always under way when Redis goes away. Redis keeps its
data (`appendfsync always`), so no user may be signed out, whatever happens to it.

Exit code 1 if an answer was neither 200 nor 503, a browser was signed out, something crashed, or Envoy's
memory kept growing.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.envoy import Envoy
from harness.load import ask
from harness.process import stop_on_signals
from harness.provider import Provider
from harness.redis import Redis
from harness.service import Service, Services, arrived, client
from harness.vm import VmDied
from upstream import Upstream

BROWSERS = 8
THREADS = 8
WORKERS = 2
PAUSE = 0.02  # between two requests of a thread
REFRESH = "5s"
GRANT_MS = 500
COMMAND_TIMEOUT = "1s"
SAMPLE_SECONDS = 5
# Memory may grow by so much after its first minute, or its first third if the run is shorter.
GROWTH_MIB = 40


@dataclass
class Count:
    """The results of a run."""

    answers: Counter = field(default_factory=Counter)
    strange: dict[str, list[float]] = field(default_factory=dict)
    slowest: float = 0
    faults: Counter = field(default_factory=Counter)
    memory: list[list[int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: str, seconds: float, browser: int, left: float) -> None:
        """An answer after so many seconds, to a request when so many seconds were left."""
        with self.lock:
            self.answers[answer] += 1
            self.slowest = max(self.slowest, seconds)
            if answer not in ("200", "503"):
                self.strange.setdefault(f"{answer} for browser {browser}", []).append(left)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=5)
    arguments.add_argument("--seed", type=int, default=None, help="repeat the faults of an earlier run")
    wanted = arguments.parse_args()
    seed = wanted.seed if wanted.seed is not None else random.SystemRandom().randrange(1_000_000)
    stop_on_signals()

    print(f"soak: {wanted.minutes:g} minutes, --seed {seed}", flush=True)
    provider = Provider([client()])
    upstream = Upstream().start()
    services = Services(provider, upstream)
    redis = Redis(keep=True)
    try:
        envoys = [
            services.start(
                session_store_type="redis",
                redis_connection_url=redis.url,
                concurrency=WORKERS,
                cookie_refresh=REFRESH,
                redis_command_timeout=COMMAND_TIMEOUT,
                is_shared=False,
            )
            for _ in range(2)
        ]
        return run(envoys, redis, provider, wanted.minutes * 60, random.Random(seed))
    finally:
        # The report has named a VM that died.
        with contextlib.suppress(VmDied):
            services.stop()
        redis.close()
        upstream.stop()
        provider.stop()


def run(envoys: list[Service], redis: Redis, provider: Provider, seconds: float, chance: random.Random) -> int:
    count = Count()
    browsers = [envoys[number % 2].browser() for number in range(BROWSERS)]
    cookies = []
    for browser in browsers:
        arrived(browser.sign_in("alice", "/echo"))
        cookies.append(browser.cookie)
    provider.control("forget")
    # So slow that Redis goes away between a grant and the storing of its session.
    provider.control("faults", token={"delay": GRANT_MS})
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=ask_all, args=(envoys, cookies, number, end, count)) for number in range(THREADS)
    ]
    threads.append(threading.Thread(target=watch, args=(envoys, end, count)))
    for thread in threads:
        thread.start()
    try:
        break_redis(redis, end, chance, count)
    finally:
        end_of_faults = time.monotonic()
        for thread in threads:
            thread.join()
    # Without faults, every user has to be signed in still.
    time.sleep(2)
    lost = [number for number, cookie in enumerate(cookies) if not is_signed_in(envoys, cookie, end_of_faults)]
    return report(envoys, provider, count, lost, seconds)


def ask_all(envoys: list[Service], cookies: list[str], number: int, end: float, count: Count) -> None:
    """Requests of all browsers at all Envoys, in turns."""
    targets = [(service.url, number, cookie) for number, cookie in enumerate(cookies) for service in envoys]
    while time.monotonic() < end:
        number += 1
        url, browser, cookie = targets[number % len(targets)]
        began = time.monotonic()
        answer = str(ask(f"{url}/echo", cookie))
        count.add(answer, time.monotonic() - began, browser, end - began)
        time.sleep(PAUSE)


def is_signed_in(envoys: list[Service], cookie: str, since: float) -> bool:
    """Whether all Envoys are ready; waits for a while if Redis has just come back."""
    for service in envoys:
        while (status := ask(f"{service.url}/echo", cookie)) == 503 and time.monotonic() < since + 20:
            time.sleep(0.2)
        if status != 200:
            return False
    return True


def break_redis(redis: Redis, end: float, chance: random.Random, count: Count) -> None:
    """One fault after the other, with pauses between them; the last one ends a bit before the run."""
    faults = ["crash", "crash and a pause", "hang", "stop"]
    while (left := end - time.monotonic()) > 12:
        time.sleep(chance.uniform(0.2, 4))
        fault = chance.choice(faults)
        away = chance.uniform(0.1, min(8, left / 2))
        count.faults[fault] += 1
        if fault == "hang":
            redis.pause()
            time.sleep(away)
            redis.resume()
            continue
        (redis.stop if fault == "stop" else redis.kill)()
        if fault == "crash and a pause":
            time.sleep(away)
        redis.start()


def watch(envoys: list[Service], end: float, count: Count) -> None:
    """Envoys' memory, and a line now and then."""
    while time.monotonic() < end:
        memory = [resident(service.envoy) for service in envoys]
        count.memory.append(memory)
        with count.lock:
            answers = dict(sorted(count.answers.items()))
        print(f"soak: {end - time.monotonic():5.0f} s left, {answers}, memory {memory} MiB", flush=True)
        time.sleep(min(SAMPLE_SECONDS, max(0, end - time.monotonic())))


def resident(envoy: Envoy) -> int:
    """Resident memory in MiB; 0 if the system does not say."""
    try:
        lines = Path(f"/proc/{envoy.process.pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:")), 0)


def report(envoys: list[Service], provider: Provider, count: Count, lost: list[int], seconds: float) -> int:
    statuses = Counter(str(entry["status"]) for entry in provider.seen("token", "refresh_token"))
    crashes = []
    ours: Counter = Counter()
    for service in envoys:
        if service.envoy.process.exit_code is not None:
            crashes.append(f"Envoy ended with {service.envoy.process.exit_code}")
            continue
        crashes += service.envoy.crashes()
        ours.update(service.envoy.counters())
    settled = count.memory[min(60 // SAMPLE_SECONDS, len(count.memory) // 3) :]
    growth = max((last - first for first, last in zip(settled[0], settled[-1])), default=0)

    total = sum(count.answers.values())
    print(f"""
soak: summary of {seconds:.0f} s
  requests    {total}, {dict(sorted(count.answers.items()))}, the slowest {count.slowest:.1f} s
  faults      {dict(sorted(count.faults.items()))}
  grants      {dict(statuses)} at the provider
  signed out  {len(lost)} of {BROWSERS} browsers at the end
  crashes     {len(crashes)}
  memory      {settled[0]} -> {settled[-1]} MiB
  statistics  {dict(sorted(ours.items()))}""")

    mistakes = [
        *[f"{what}, {len(when)} times, first {max(when):.1f} s before the end" for what, when in count.strange.items()],
        *[f"browser {number} is signed out" for number in lost],
        *crashes[:20],
    ]
    if refused := sum(value for status, value in statuses.items() if status not in ("200", "None")):
        mistakes.append(f"{refused} refresh grants were refused: a refresh token was used twice")
    if growth > GROWTH_MIB:
        mistakes.append(f"memory grew by {growth} MiB")
    if not count.answers["200"] or not count.answers["503"] or not statuses["200"]:
        mistakes.append("there was too little load: it takes answers of both kinds and refreshes")
    for mistake in mistakes:
        print(f"soak: FAILED: {mistake}")
    print("soak: failed" if mistakes else "soak: passed", flush=True)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
