"""Failovers under load: the answers to signed-in users while one master replaces another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ticket import redis_key

from .load import Load
from .service import Service, arrived
from .topologies import Topology
from .waiting import attempt, until

# So sessions are due for a refresh again and again, also during the failover.
REFRESH = "8s"
PEOPLE = ("alice", "carol", "mallory")


class Failover:
    """Two Envoys with two workers each, and users who are signed in at them.

    `figures` collects measurements; they are shown at the end of the run, and nothing depends on them.
    """

    def __init__(self, service, topology: Topology, figures: list, **options: Any):
        self.topology = topology
        self._figures = figures
        self._announced: float | None = None
        self.services: list[Service] = [
            service(**{**topology.options, "cookie_refresh": REFRESH, "concurrency": 2, "is_shared": False, **options})
            for _ in range(2)
        ]
        self.browsers = {}
        for number, person in enumerate(PEOPLE):
            self.browsers[person] = self.services[number % 2].browser()
            assert arrived(self.browsers[person].sign_in(person, "/echo"))["x-forwarded-user"] == person
        # Replication is asynchronous: Redis itself loses what only the master has.
        until(topology.is_prepared, "the replicas have these sessions too")

    @contextlib.contextmanager
    def load(self, people: tuple[str, ...] = PEOPLE) -> Iterator[Load]:
        """Requests without a pause. All answers have to be 200, with the identity of the user, or 503, and every user
        stays signed in."""
        users = {self.browsers[person].cookie: person for person in people}
        with Load(self.services, list(users), threads=6, users=users) as load:
            load.wait_for_answers(30)
            yield load
            load.wait_for_answers(30)
        assert set(load.statuses()) <= {200, 503}, f"{load.statuses()}, {self.where_sessions_are()}"
        if self._announced is not None and (late := load.last(503) - self._announced) > 0:
            self.note("last 503 after the announcement, s", round(late, 2))
        self.note("answers", dict(load.statuses()))
        self.check_users()

    def recovered(self, load: Load, announced: float) -> None:
        """Waits for the first success after a new master was announced, and notes how long that took."""
        self._announced = announced
        self.note("first success after the announcement, s", round(load.wait_for_success(announced) - announced, 2))

    def note(self, what: str, value: object) -> None:
        self._figures.append((what, value))

    def where_sessions_are(self) -> dict[str, list[int]]:
        """The ports of the servers with each user's session. An empty list: Redis lost it, and not the filter."""
        keys = {person: redis_key(browser.cookie) for person, browser in self.browsers.items()}
        return {
            person: [node.port for node in self.topology.nodes if key in (attempt(node.keys) or [])]
            for person, key in keys.items()
        }

    def check_users(self) -> None:
        """Every user is still signed in. A 503 is allowed for a while, for example while a server that came back copies
        its data; it is noted with the last lines of the log."""
        for person, browser in self.browsers.items():
            for service in self.services:
                asked = f"{person} at {service.url}"

                def is_there() -> bool:
                    answer = browser.get(f"{service.url}/echo", headers={"cookie": browser.cookie})
                    if answer.status_code == 503:
                        self.note(f"503 at the end, {asked}", service.envoy.log().splitlines()[-3:])
                        return False
                    assert answer.status_code == 200, (
                        f"{asked}: {answer.status_code}, {self.where_sessions_are()}\n{service.envoy.log()[-5000:]}"
                    )
                    assert arrived(answer)["x-forwarded-user"] == person
                    return True

                until(is_there, f"{asked} is signed in, {self.where_sessions_are()}", seconds=10, pause=0.5)
