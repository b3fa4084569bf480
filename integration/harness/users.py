"""Users who sign in without a pause, some of whom sign out again, while something goes wrong elsewhere."""

from __future__ import annotations

from collections import Counter

from .browser import OF_THE_UPSTREAM
from .load import ask
from .repeated import Repeated
from .service import Service
from .waiting import until

NAMES = ("alice", "carol")
# One in so many signs out at once.
LEAVES = 3


class Users(Repeated):
    """Threads that sign users in at one of the services, and some of them out at the next.

        with Users(services) as users:
            topology.fail_over()
        assert set(users.answers(users.present)) == {200}

    A user whose sign-in or sign-out fails (503) counts as `refused`.
    """

    def __init__(self, services: list[Service], threads: int = 4):
        super().__init__(threads)
        self._services = services
        self.present: list[str] = []  # cookies of sessions
        self.gone: list[str] = []  # cookies of users who signed out
        self.refused: Counter = Counter()

    def turn(self, number: int) -> None:
        here, there = (self._services[(number + more) % len(self._services)] for more in (0, 1))
        browser = here.browser()
        answer = browser.sign_in(NAMES[number % len(NAMES)], "/echo")
        cookie = browser.cookie
        if OF_THE_UPSTREAM not in answer.headers:
            # A 200 is the sign-in page: the session was lost between the callback and the page.
            self.refused[answer.status_code] += 1
        elif number % LEAVES:
            self.present.append(cookie)
        else:
            status = ask(there.url + "/oauth2/sign_out", cookie)
            self.refused[f"sign-out: {status}"] += status != 200
            if status == 200:
                self.gone.append(cookie)

    def wait_for(self, people: int) -> None:
        """Waits until so many more signed in, and a third as many signed out."""
        present, gone = len(self.present) + people, len(self.gone) + people // LEAVES
        until(lambda: len(self.present) >= present and len(self.gone) >= gone, "users sign in and out", seconds=60)

    def answers(self, cookies: list[str], path: str = "/echo") -> Counter:
        """The statuses with which all services answer these cookies."""
        return Counter(ask(service.url + path, cookie) for cookie in cookies for service in self._services)
