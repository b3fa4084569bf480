"""A load for as long as wanted: requests over two Envoys while something goes on.

    .venv/bin/python integration/soak.py --minutes 10                   Redis crashes, restarts and hangs
    .venv/bin/python integration/soak.py --minutes 10 --what index      the same, and users sign out everywhere
    .venv/bin/python integration/soak.py --minutes 1 --what secrets     each second all secrets change
    .venv/bin/python integration/soak.py --minutes 1 --what tracking    tracked sessions end: see soaking/tracked.py

Signed-in browsers request a page without a pause, each time on a new connection. Their sessions are due every few
seconds, so a refresh is always under way when Redis goes away. Redis keeps its
data (`appendfsync always`), so no user may be signed out, whatever happens to it.

With `secrets`, Redis refuses the password from before at once, and there must be no 503 either: as an IAM token that a
sidecar renews, but faster. Now and then a secret is malformed. With `index`, a user who was told to be signed out
everywhere must be signed out at both Envoys.

Exit code 1 if an answer was neither 200 nor 503, a browser was signed out, something crashed, or Envoy's
memory kept growing.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.browser import OF_THE_UPSTREAM
from harness.envoy import Envoy
from harness.load import ask
from harness.mounted import Mounted
from harness.ports import HOST
from harness.process import stop_on_signals
from harness.provider import Provider
from harness.redis import Redis
from harness.repeated import Repeated
from harness.service import CLIENT_SECRET, Service, Services, arrived, client, filter_config
from harness.vm import VmDied
from soaking import tracked
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
    users: Counter = field(default_factory=Counter)
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
    arguments.add_argument("--what", choices=["redis", "index", "secrets", "tracking"], default="redis")
    arguments.add_argument("--sign-outs", type=int, default=0, help="tracking: end after so many, if not before")
    arguments.add_argument("--filter", default="{}", help="tracking: more options of the filter, as JSON")
    wanted = arguments.parse_args()
    seed = wanted.seed if wanted.seed is not None else random.SystemRandom().randrange(1_000_000)
    stop_on_signals()

    print(f"soak: {wanted.what}, {wanted.minutes:g} minutes, --seed {seed}", flush=True)
    if wanted.what == "tracking":
        return tracked.run(wanted, seed)
    provider = Provider([client()])
    upstream = Upstream().start()
    services = Services(provider, upstream)
    redis = Redis(keep=True)
    rotation = Rotation(redis, upstream, provider) if wanted.what == "secrets" else None
    try:
        envoys = (
            rotation.envoys
            if rotation
            else [
                services.start(
                    session_store_type="redis",
                    redis_connection_url=redis.url,
                    concurrency=WORKERS,
                    cookie_refresh=REFRESH,
                    redis_command_timeout=COMMAND_TIMEOUT,
                    is_shared=False,
                    redis_session_index=wanted.what == "index",
                )
                for _ in range(2)
            ]
        )
        return run(envoys, redis, provider, wanted, random.Random(seed), rotation)
    finally:
        if rotation:
            rotation.close()
        # The report has named a VM that died.
        with contextlib.suppress(VmDied):
            services.stop()
        redis.close()
        upstream.stop()
        provider.stop()


class Rotation:
    """Two Envoys with all secrets in files, which change each second."""

    def __init__(self, redis: Redis, upstream: Upstream, provider: Provider):
        self._redis = redis
        self._folder = tempfile.TemporaryDirectory(prefix="soak-")
        # The cookies of the browsers stay as they are, so the first secret stays the last of the list.
        self._first = secrets.token_urlsafe(32)
        password = self._new_password()
        self._mounted, self.envoys = [], []
        for number in range(2):
            mounted = Mounted(
                Path(self._folder.name) / str(number),
                cookie_secret=self._first,
                client_secret=CLIENT_SECRET,
                redis_password=password,
            )
            options = {
                "session_store_type": "redis",
                "redis_connection_url": f"redis://{HOST}:{redis.port}",
                "redis_username": "filter",
                "cookie_refresh": REFRESH,
                "secrets_from": "bridge",
                "secrets_refresh": "500ms",
            }
            envoy = Envoy(
                filter_config(provider, **options),
                upstream=upstream.address,
                concurrency=WORKERS,
                render=mounted.render,
            )
            self._mounted.append(mounted)
            self.envoys.append(Service(envoy, provider))

    def _new_password(self) -> str:
        """From now on, Redis takes no other one."""
        password = secrets.token_urlsafe(24)
        self._redis.command("ACL", "SETUSER", "filter", "on", "resetpass", f">{password}", "~*", "+@all")
        return password

    def change(self, end: float, chance: random.Random, count: Count) -> None:
        while end - time.monotonic() > 5:
            cookie_secret = f"{secrets.token_urlsafe(32)},{self._first}"
            values = {
                "redis_password": self._new_password(),
                "cookie_secret": chance.choice([cookie_secret, cookie_secret, "not a key"]),
                "client_secret": chance.choice([CLIENT_SECRET, CLIENT_SECRET, "a\tb"]),
            }
            for mounted in self._mounted:
                mounted.change(**values)
            count.faults["change"] += 1
            if chance.random() < 0.3:
                self._redis.command("CLIENT", "KILL", "USER", "filter")
                count.faults["closed connections"] += 1
            time.sleep(1)
        for mounted in self._mounted:
            mounted.change(client_secret=CLIENT_SECRET)

    def close(self) -> None:
        for service in self.envoys:
            service.envoy.stop()
        self._folder.cleanup()


class Leaving(Repeated):
    """Users who sign in at one Envoy and sign out everywhere at the other, again and again."""

    def __init__(self, envoys: list[Service], count: Count):
        super().__init__(2)
        self._envoys, self._count = envoys, count

    def turn(self, number: int) -> None:
        here, there = (self._envoys[(number + more) % 2] for more in (0, 1))
        browser = here.browser()
        # Not the user of the browsers that stay.
        if OF_THE_UPSTREAM not in browser.sign_in("mallory", "/echo").headers:
            self._count.users["sign-in failed"] += 1
            return
        cookie = browser.cookie
        page = "/oauth2/sign_out_everywhere"
        headers = {"cookie": cookie, "sec-fetch-site": "same-origin", "accept": "application/json"}
        answer = browser.request("POST", f"{there.url}{page}", headers=headers)
        self._count.users[f"sign-out {answer.status_code}"] += 1
        if answer.status_code == 200:
            for service in self._envoys:
                status = ask(f"{service.url}/echo", cookie)
                self._count.users["came back"] += status == 200
        browser.close()


def run(
    envoys: list[Service],
    redis: Redis,
    provider: Provider,
    wanted: argparse.Namespace,
    chance: random.Random,
    rotation: Rotation | None,
) -> int:
    count, seconds = Count(), wanted.minutes * 60
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
    users = Leaving(envoys, count) if wanted.what == "index" else contextlib.nullcontext()
    try:
        with users:
            if rotation:
                rotation.change(end, chance, count)
            else:
                break_redis(redis, end, chance, count)
    finally:
        end_of_faults = time.monotonic()
        for thread in threads:
            thread.join()
    # Without faults, every user has to be signed in still.
    time.sleep(2)
    lost = [number for number, cookie in enumerate(cookies) if not is_signed_in(envoys, cookie, end_of_faults)]
    return report(envoys, provider, count, lost, seconds, may_be_503=rotation is None)


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


def report(
    envoys: list[Service], provider: Provider, count: Count, lost: list[int], seconds: float, *, may_be_503: bool
) -> int:
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
  users       {dict(sorted(count.users.items()))}
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
    # A wrong client secret is refused, and costs no refresh token.
    accepted = ("200", "None") if may_be_503 else ("200", "None", "401")
    if refused := sum(value for status, value in statuses.items() if status not in accepted):
        mistakes.append(f"{refused} refresh grants were refused: a refresh token was used twice")
    if growth > GROWTH_MIB:
        mistakes.append(f"memory grew by {growth} MiB")
    if count.users and not count.users["sign-out 200"]:
        mistakes.append("there was too little load: no user signed out everywhere")
    if count.users["came back"]:
        mistakes.append(f"{count.users['came back']} requests got through after a sign-out everywhere")
    if count.answers["503"] and not may_be_503:
        mistakes.append(f"{count.answers['503']} requests got a 503 while secrets changed")
    if not count.answers["200"] or (may_be_503 and not count.answers["503"]) or not statuses["200"]:
        mistakes.append("there was too little load: it takes answers of both kinds and refreshes")
    for mistake in mistakes:
        print(f"soak: FAILED: {mistake}")
    print("soak: failed" if mistakes else "soak: passed", flush=True)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
