"""Browsers in a process of their own, each with one session after the other: several connections to each Envoy that ask
without a pause, and an end of the session in the middle.

A connection goes on with the cookie of the ended session until the limit is over. It then asks less often, and the
browser has another session meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

from harness.ports import HOST

from .sessions import Session
from .verdict import OUTAGE, REFUSED, Life, Step

# The identity with which a request arrived, in the answer.
IDENTITY = "x-arrived-user"
NOT_ARRIVED = "-"
# To each Envoy.
CONNECTIONS = 2
# Seconds of a session before its end, and of full load after it.
LIVES = (0.2, 0.8)
ALERT = 0.4
# Seconds between two requests of a connection, and after that.
PAUSE, SLOW = 0.004, 0.25
# A request that takes longer hangs.
HANGS = 30
# Seconds until a failed step is tried again.
AGAIN = 0.1

WAYS = {"sign-out": 6, "sign-out everywhere": 4, "DEL": 2, "UNLINK": 1, "PEXPIRE": 1}


# What happens with a life that is over.
Tell = Callable[[Life], None]


@dataclass(frozen=True)
class Task:
    """What a process has to do."""

    urls: list[str]
    """Of the Envoys."""
    redis_port: int
    sessions: list[Session]
    browsers: int
    limit: float
    seed: int


def visit(task: Task, stop: Event, lives: Queue) -> None:
    """The process: puts each `Life` into the queue, and None at its end."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(visit_all(task, stop, lives.put))
    lives.put(None)


async def visit_all(task: Task, stop: Event, tell: Tell) -> None:
    chance = random.Random(task.seed)
    after: set[asyncio.Task] = set()
    await asyncio.gather(*(browse(task, stop, tell, chance, after) for _ in range(task.browsers)))
    await asyncio.gather(*after)


async def browse(task: Task, stop: Event, tell: Tell, chance: random.Random, after: set[asyncio.Task]) -> None:
    """The sessions of one browser."""
    redis = Redis(task.redis_port)
    while task.sessions and not stop.is_set():
        way = chance.choices(list(WAYS), list(WAYS.values()))[0]
        browser = Browser(task.urls, task.sessions.pop(), way, redis, chance)
        await browser.begin()
        await asyncio.sleep(chance.uniform(*LIVES))
        await browser.end()
        await asyncio.sleep(ALERT)
        rest = asyncio.ensure_future(browser.rest(task.limit, tell))
        after.add(rest)
        rest.add_done_callback(after.discard)


class Browser:
    """One session, from its beginning until the limit is over."""

    def __init__(self, urls: list[str], session: Session, way: str, redis: Redis, chance: random.Random):
        self._urls, self._session, self._redis, self._chance = urls, session, redis, chance
        self._way = way
        self._pause = PAUSE
        self._is_over = False

    async def begin(self) -> None:
        began = time.monotonic()
        await self._redis.command(b"SET", self._session.key, self._session.value, b"EX", b"3600")
        self.life = Life(self._session.user, self._way, Step(began, time.monotonic()))
        self._tasks = [asyncio.ensure_future(self._ask(url)) for url in self._urls for _ in range(CONNECTIONS)]

    async def _ask(self, url: str) -> None:
        connection = Connection(url)
        while not self._is_over:
            began = time.monotonic()
            answer, user = await connection.ask("GET", "/", self._session.cookie)
            self.life.add(began, time.monotonic(), answer, user, url)
            await asyncio.sleep(self._pause)
        connection.close()

    async def end(self) -> None:
        """Ends the session. A step that failed may have ended it all the same, so the first one counts as the begin."""
        began = time.monotonic()
        self.life.ended = Step(began)
        while not await self._step():
            await asyncio.sleep(AGAIN)
        self.life.ended = Step(began, time.monotonic())

    async def _step(self) -> bool:
        key, cookie = self._session.key, self._session.cookie
        if not self._way.startswith("sign-out"):
            more = [b"1"] if self._way == "PEXPIRE" else []
            await self._redis.command(self._way.encode(), key, *more)
            if more:
                await asyncio.sleep(0.001)
            return True
        connection = Connection(self._chance.choice(self._urls))
        everywhere = self._way == "sign-out everywhere"
        method, path = ("POST", "/oauth2/sign_out_everywhere") if everywhere else ("GET", "/oauth2/sign_out")
        answer, _ = await connection.ask(method, path, cookie)
        connection.close()
        self.life.answers[f"{path} {answer}"] += 1
        # Without a session, as after FLUSHALL, there is nothing to end.
        return answer == "200" or answer in REFUSED

    async def rest(self, limit: float, tell: Tell) -> None:
        """The time until the limit is over, and a bit more."""
        self._pause = SLOW
        await asyncio.sleep(max(0, self.life.ended.confirmed + limit + 1 - time.monotonic()))
        self._is_over = True
        await asyncio.gather(*self._tasks)
        tell(self.life)


class Connection:
    """HTTP/1.1, kept alive. Its one request at a time is sent at once, so that it begins when `ask` is called."""

    def __init__(self, url: str):
        target = urlsplit(url)
        self._host, self._port = target.hostname, target.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, cookie: str) -> tuple[str, str | None]:
        """The status of the answer, and the identity with which the request arrived. Or the name of the error."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\naccept: application/json\r\n"
                f"sec-fetch-site: same-origin\r\ncontent-length: 0\r\ncookie: {cookie}\r\n\r\n".encode()
            )
            timer = asyncio.get_running_loop().call_later(HANGS, writer.transport.abort)
            try:
                return await self._answer(reader)
            finally:
                timer.cancel()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            return type(error).__name__, None

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, str | None]:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        length = int(headers.get("content-length", 0))
        if length:
            await reader.readexactly(length)
        status = first.split()[1]
        if status == OUTAGE and not length and "retry-after" not in headers:
            return "VmDied", None
        user = headers.get(IDENTITY, NOT_ARRIVED)
        return status, None if user == NOT_ARRIVED else user

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


class Redis:
    """A connection for commands whose replies are OK or a number. A command is tried until it is confirmed."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def command(self, *words: bytes) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reply = await self._attempt(words)
                if reply[:1] in b"+:":
                    return
            await asyncio.sleep(AGAIN)

    async def _attempt(self, words: tuple[bytes, ...]) -> bytes:
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(HOST, self._port)
            reader, writer = self._streams
            writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            return await reader.readuntil(b"\r\n")
        except (OSError, asyncio.IncompleteReadError):
            if self._streams:
                self._streams[1].close()
            self._streams = None
            raise
