"""A fleet moves from the version before to this one, proxy by proxy, and back: no user is signed out on the way."""

from __future__ import annotations

import time

import pytest

from harness.service import arrived
from harness.visitor import Visitor
from rollout.fleet import BEFORE, DUE_SECONDS, FLEETS, NOW, Fleet

# The versions at the two addresses: the roll-out, and from its middle and its end the roll-back.
STAGES = [(BEFORE, BEFORE), (NOW, BEFORE), (NOW, NOW), (NOW, BEFORE), (BEFORE, BEFORE)]


def look(fleet: Fleet, people: list[tuple[str, Visitor]]) -> None:
    """Every user asks every proxy."""
    for user, visitor in people:
        for url in fleet.urls:
            assert arrived(visitor.get_at(url))["x-forwarded-user"] == user


@pytest.mark.parametrize("store", list(FLEETS))
def test_rolling_update_signs_no_user_out(start_fleet, store, provider):
    fleet = start_fleet(store)
    people: list[tuple[str, Visitor]] = []
    gone: list[Visitor] = []
    pending: list[tuple[str, Visitor, str]] = []
    for stage, versions in enumerate(STAGES):
        fleet.runs(*versions)
        # The users that were signed in before; first as they are, then when their sessions are due for a refresh.
        look(fleet, people)
        time.sleep(DUE_SECONDS)
        provider.control("forget")
        look(fleet, people)
        assert bool(provider.seen("token", "refresh_token")) == bool(people)
        # Logins that began before the proxy was replaced.
        for user, visitor, back in pending:
            visitor.where = fleet.urls[stage % 2]
            assert arrived(visitor.follow(visitor.get(back)))["x-forwarded-user"] == user
            people.append((user, visitor))
        pending.clear()
        for number, url in enumerate(fleet.urls):
            user = ("alice", "carol")[number]
            people.append((user, fleet.sign_in(url, user)))
            visitor = Visitor(url)
            pending.append((user, visitor, visitor.callback_url(user, "/echo")))
        look(fleet, people)
        # One of them signs out; a copy of the cookie of a session in Redis is worth nothing afterwards.
        _, leaving = people.pop(0)
        gone.append(leaving.copy() if fleet.redis else leaving)
        assert leaving.get_at(fleet.urls[stage % 2], "/oauth2/sign_out").status_code == 200
        for visitor in gone:
            visitor.wait_for_end(*fleet.urls)
