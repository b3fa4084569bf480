"""Signed-in users who send requests without a pause, while faults come from outside.

    python3 -m client.asking

It reads and writes lines of JSON. First it names its users: {"keys": {person: key in Redis}}. Its
commands: ["success", seconds] waits for the next 200, ["steady", seconds] waits until all answers are 200,
["end"] stops and returns the verdict. Each command gets one line as its answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from client.servers import COOKIE, ENVOYS, Envoy
from harness.known_secrets import ticket_of
from harness.load import Load
from harness.service import arrived

PEOPLE = ("alice", "carol", "mallory")
THREADS = 4
# Between two requests of a thread: the machine has other things to do too.
PAUSE_SECONDS = 0.03
# A steady state: so many answers in a row, over so many seconds.
STEADY_ANSWERS = 60
STEADY_SECONDS = 2


class Asking:
    def __init__(self) -> None:
        self.envoys = [Envoy(url) for url in ENVOYS]
        self.browsers = {}
        for number, person in enumerate(PEOPLE):
            self.browsers[person] = self.envoys[number % len(self.envoys)].browser()
            assert arrived(self.browsers[person].sign_in(person, "/echo"))["x-forwarded-user"] == person
        time.sleep(0.5)  # by then the replicas have these sessions too
        self.load = Load(
            self.envoys, [browser.cookie for browser in self.browsers.values()], threads=THREADS, pause=PAUSE_SECONDS
        )

    def keys(self) -> dict[str, str]:
        return {
            person: f"{COOKIE}-{ticket_of(browser.cookies[COOKIE])[0]}" for person, browser in self.browsers.items()
        }

    def success(self, seconds: float) -> dict:
        """Seconds until the next 200."""
        began = time.monotonic()
        while not self.load.statuses(began)[200]:
            assert time.monotonic() - began < seconds, f"no 200 after {seconds:g} seconds: {self.load.statuses(began)}"
            time.sleep(0.01)
        return {"seconds": round(time.monotonic() - began, 2)}

    def steady(self, seconds: float) -> dict:
        """Seconds until all answers are 200."""
        began = since = time.monotonic()
        while True:
            time.sleep(0.1)
            statuses = self.load.statuses(since)
            if set(statuses) - {200}:
                since = time.monotonic()
            elif statuses[200] >= STEADY_ANSWERS and time.monotonic() - since >= STEADY_SECONDS:
                return {"seconds": round(since - began, 2)}
            assert time.monotonic() - began < seconds, f"not only 200 after {seconds:g} seconds: {statuses}"

    def end(self) -> dict:
        """The answers, and the users that are signed out."""
        self.load.__exit__()
        return {
            "statuses": {str(status): count for status, count in self.load.statuses().items()},
            "signed_out": self.signed_out(),
        }

    def signed_out(self) -> list[str]:
        """The users that an Envoy no longer knows, or takes for another user."""
        return [
            f"{person} at {envoy.url}: {status}"
            for person, browser in self.browsers.items()
            for envoy in self.envoys
            if (status := user_at(envoy.url, browser.cookie)) != person
        ]


def user_at(url: str, cookie: str) -> object:
    """The user whose cookie this is, as an Envoy says it; otherwise the status of its answer."""
    with Envoy(url).browser() as browser:
        answer = browser.get("/echo", headers={"cookie": cookie})
        return arrived(answer)["x-forwarded-user"] if answer.status_code == 200 else answer.status_code


def main() -> None:
    asking = Asking()
    commands: dict[str, Callable[..., dict]] = {"success": asking.success, "steady": asking.steady, "end": asking.end}
    with asking.load as load:
        load.wait_for_answers(30)
        say({"keys": asking.keys()})
        for line in sys.stdin:
            word, *arguments = json.loads(line)
            try:
                say(commands[word](*arguments))
            except AssertionError as error:
                say({"error": str(error), "statuses": {str(key): count for key, count in load.statuses().items()}})
            if word == "end":
                return


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
