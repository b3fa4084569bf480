"""Users who stay signed in while others come and go. A session is renewed at one Envoy, and requests go to both."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

from harness.browser import Browser
from harness.vm import is_answer_of_dead_vm

from .verdict import OUTAGE, REFUSED, Life, Step, mistakes
from .visits import HANGS, IDENTITY, NOT_ARRIVED

# The beginning of an access token, in the answer.
TOKEN = "x-arrived-token"
PAUSE = 0.02
# The filter renews no session that was renewed less than 5 s ago.
RENEWED_EVERY = 6
# Seconds until a request has to pass, if nothing is broken any more.
PATIENCE = 20


class Stayer:
    """A user with a thread of its own. After FLUSHALL, or if the filter made a mistake, the user signs in again."""

    def __init__(self, user: str, urls: list[str]):
        self._user, self._urls = user, urls
        self._browser = Browser(urls[0])
        self._lives: list[Life] = []
        # Access tokens of the present session, with the time at which an answer first had them.
        self._tokens: dict[str, float] = {}
        # For each token that was replaced: when that was, and the seconds until the last request with the old one.
        self.lags: list[tuple[float, float]] = []
        self.renewals: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._sign_in()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._browser.close()

    def _sign_in(self) -> None:
        began = time.monotonic()
        # During an outage it is tried again.
        while self._browser.sign_in(self._user, "/").headers.get(IDENTITY) != self._user and not self._over.is_set():
            time.sleep(0.5)
        self._cookie = self._browser.cookie
        self._tokens = {}
        self._lives.append(Life(self._user, "none", Step(began, time.monotonic())))

    def _stay(self) -> None:
        turn, renewed_at = 0, time.monotonic()
        while not self._over.is_set():
            turn += 1
            if time.monotonic() > renewed_at + RENEWED_EVERY:
                renewed_at = time.monotonic()
                answer, _, _ = ask(self._urls[turn % 2], self._cookie, "POST", "/oauth2/refresh")
                self.renewals[answer] += 1
            if self._visit(self._urls[turn % 2]) in REFUSED:
                self._sign_in()
            time.sleep(PAUSE)

    def _visit(self, url: str) -> str:
        began = time.monotonic()
        answer, user, token = ask(url, self._cookie)
        came = time.monotonic()
        self._lives[-1].add(began, came, answer, user)
        if token:
            self._saw(token, began, came)
        return answer

    def _saw(self, token: str, began: float, came: float) -> None:
        if token not in self._tokens:
            self._tokens[token] = came
            if len(self._tokens) > 1:
                self.lags.append((came, 0))
            return
        newer = [when for other, when in self._tokens.items() if when > self._tokens[token]]
        if newer:
            # It is the one before, or a much older one.
            place = len(self.lags) - len(newer)
            since, lag = self.lags[place]
            self.lags[place] = (since, max(lag, began - since))

    def lost_at(self) -> list[str]:
        """The Envoys that refuse this user, although nothing is broken any more."""
        return [url for url in self._urls if not self._passes(url)]

    def _passes(self, url: str) -> bool:
        deadline = time.monotonic() + PATIENCE
        while (answer := self._visit(url)) == OUTAGE and time.monotonic() < deadline:
            time.sleep(0.2)
        return answer == "200"

    def answers(self) -> Counter[str]:
        return sum((life.answers for life in self._lives), Counter())

    def mistakes(self, flushes: list[Step], limit: float) -> list[str]:
        return [mistake for life in self._lives for mistake in mistakes(life, flushes, limit)]


def ask(url: str, cookie: str, method: str = "GET", path: str = "/") -> tuple[str, str | None, str | None]:
    """The status of an answer, and the identity and the token with which the request arrived; or the name of the error.
    Each request has a connection of its own, so that every worker gets some."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HANGS)
    headers = {"cookie": cookie, "accept": "application/json", "sec-fetch-site": "same-origin"}
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__, None, None
    finally:
        connection.close()
    if is_answer_of_dead_vm(answer.status, answer.headers, body):
        return "VmDied", None, None
    user, token = (answer.headers.get(name, NOT_ARRIVED) for name in (IDENTITY, TOKEN))
    return str(answer.status), None if user == NOT_ARRIVED else user, None if token == NOT_ARRIVED else token
