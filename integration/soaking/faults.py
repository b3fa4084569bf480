"""What happens to Redis, to the connections to it, and to an Envoy."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable

from harness.envoy import Envoy
from harness.redis import Redis, RedisError
from harness.relay import Fault, FaultyRelay

from .verdict import Step

# So few keys that the server forgets what it has told, all the time; and its default.
SMALL_TABLE, DEFAULT_TABLE = 8, 1_000_000


class Faults:
    """One fault after the other, with a time without faults between them. FLUSHALL happens once."""

    def __init__(
        self,
        redis: Redis,
        relay: FaultyRelay,
        envoys: list[Envoy],
        chance: random.Random,
        pause: tuple[float, float],
    ):
        self._redis, self._relay, self._envoys = redis, relay, envoys
        self._chance, self._pause = chance, pause
        self._kinds: dict[str, Callable[[], None]] = {
            "closed connections": self._close_connections,
            "hang": self._hang,
            "replies are lost": lambda: self._lose(Fault.REPLIES_LOST),
            "commands are lost": lambda: self._lose(Fault.COMMANDS_LOST),
            "everything is late": self._delay,
            "restart": self._restart,
            "crash": self._crash,
            "small tracking table": self._small_table,
            "an Envoy hangs": self._hang_envoy,
        }
        # In turns, so that a short run has each of them.
        self._due: list[str] = []
        self._next = 0.0
        self.steps: list[Step] = []
        self.flushes: list[Step] = []
        self.count: Counter[str] = Counter()

    def run_until(self, end: float) -> None:
        """Faults for some time. The last one may end a bit later."""
        while (now := time.monotonic()) < end:
            if not self._next:
                self._next = now + self._chance.uniform(*self._pause)
            if now < self._next:
                time.sleep(min(self._next, end) - now)
                continue
            self._due = self._due or self._chance.sample(list(self._kinds), len(self._kinds))
            kind = self._due.pop()
            began = time.monotonic()
            self._kinds[kind]()
            self.steps.append(Step(began, time.monotonic(), kind))
            self.count[kind] += 1
            self._next = 0.0

    def flush(self) -> None:
        """Ends all sessions. Call it while nothing else is broken."""
        began = time.monotonic()
        self._redis.command("FLUSHALL")
        self.flushes.append(Step(began, time.monotonic(), "FLUSHALL"))
        self.steps.append(self.flushes[-1])
        self.count["FLUSHALL"] += 1

    def _while(self, longest: float) -> None:
        time.sleep(self._chance.uniform(0.1, longest))

    def _close_connections(self) -> None:
        """Those of the filter. A connection may be gone already."""
        for line in self._redis.clients():
            with contextlib.suppress(RedisError):
                self._redis.command("CLIENT", "KILL", "ID", re.findall(r"\bid=(\d+)", line)[0])

    def _hang(self) -> None:
        self._redis.pause()
        try:
            self._while(4)
        finally:
            self._redis.resume()

    def _hang_envoy(self) -> None:
        """Messages of Redis and requests arrive at the same moment when it goes on."""
        pid = self._chance.choice(self._envoys).process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            self._while(4)
        finally:
            os.kill(pid, signal.SIGCONT)

    def _lose(self, fault: Fault) -> None:
        self._relay.begin(fault)
        self._while(4)
        self._relay.end()

    def _delay(self) -> None:
        self._relay.begin(Fault.ALL_LATE, delay=self._chance.uniform(0.03, 0.4))
        self._while(4)
        self._relay.end()

    def _restart(self) -> None:
        self._redis.stop()
        self._redis.start()

    def _crash(self) -> None:
        self._redis.kill()
        self._while(2)
        self._redis.start()

    def _small_table(self) -> None:
        self._redis.command("CONFIG", "SET", "tracking-table-max-keys", SMALL_TABLE)
        self._while(4)
        self._redis.command("CONFIG", "SET", "tracking-table-max-keys", DEFAULT_TABLE)
