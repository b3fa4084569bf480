"""Requests without a pause, while something goes wrong elsewhere."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from urllib.parse import urlsplit

from .repeated import Repeated
from .vm import is_answer_of_dead_vm

# A request that takes longer hangs.
SECONDS = 30


def ask(url: str, cookie: str, user: str | None = None) -> int | str:
    """The status of an answer, on a connection of its own; the name of the error if there was none.

    With `user`, the path is the upstream's /echo, and an answer for another user counts as `OfAnother`."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=SECONDS)
    try:
        connection.request("GET", target.path, headers={"cookie": cookie})
        answer = connection.getresponse()
        body = answer.read()
        # Neither is a status that a test expects: the VM of the filter died, or a user got the identity of another.
        if is_answer_of_dead_vm(answer.status, answer.headers, body):
            return "VmDied"
        if user and answer.status == 200 and ["x-forwarded-user", user] not in json.loads(body)["headers"]:
            return "OfAnother"
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


class Load(Repeated):
    """Threads that ask for a path with the cookies of signed-in browsers, in turns.

        with Load([running], [browser.cookie], threads=4) as load:
            redis.kill()
        assert set(load.statuses()) == {200, 503}

    Each request has a connection of its own, so that every worker gets some. Set-Cookie is ignored: a
    ticket stays the same for the whole life of a session. `users` are the users of the cookies: an answer of /echo for
    another user counts as `OfAnother`.
    """

    def __init__(
        self,
        services: list,
        cookies: list[str],
        *,
        threads: int = 4,
        path: str = "/echo",
        pause: float = 0.01,
        users: dict[str, str] | None = None,
    ):
        super().__init__(threads)
        self._targets = [(service.url + path, cookie) for service in services for cookie in cookies]
        self._pause = pause
        self._users = users or {}
        self._answers: list[tuple[float, float, object]] = []  # begin, end, status or error

    def turn(self, number: int) -> None:
        url, cookie = self._targets[number % len(self._targets)]
        began = time.monotonic()
        status = ask(url, cookie, self._users.get(cookie))
        self._answers.append((began, time.monotonic(), status))
        time.sleep(self._pause)

    def statuses(self, since: float = 0) -> Counter:
        """How many answers of each status there were, of requests that began after `since` (monotonic)."""
        return Counter(status for began, _, status in self._answers if began >= since)

    def last(self, status: int) -> float:
        """When the last answer of that status came; 0 if there was none."""
        return max((end for _, end, other in self._answers if other == status), default=0)

    def wait_for_success(self, since: float, seconds: float = 15) -> float:
        """When the first 200 came after `since`, also of a request that began before."""
        deadline = time.monotonic() + seconds
        while True:
            ends = [end for _, end, status in self._answers[-500:] if status == 200 and end >= since]
            if ends:
                return min(ends)
            assert time.monotonic() < deadline, f"no 200 within {seconds:g} seconds: {self.statuses(since)}"
            time.sleep(0.005)

    def wait_for_answers(self, count: int) -> None:
        """Waits for so many more answers."""
        wanted = len(self._answers) + count
        while len(self._answers) < wanted:
            time.sleep(0.01)
