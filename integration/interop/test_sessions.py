"""Sessions that go from one proxy to the other and back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.service import arrived
from harness.visitor import Visitor

from .conftest import DUE_SECONDS, STORES, TICKETS

REQUESTS = 200
# Before each of these requests the session becomes due for a refresh; the even ones are for the filter.
PAUSES = (20, 61, 100, 141, 180)

# carol's session is split into chunks in the cookie store; a ticket is a ticket.
CASES = [("cookie", "carol"), *((store, "alice") for store in STORES)]
every_store = pytest.mark.parametrize(("pair", "user"), CASES, indirect=["pair"], scope="module")
every_ticket_store = pytest.mark.parametrize("pair", TICKETS, indirect=True, scope="module")


def refreshers(provider) -> list[str]:
    """The clients of the refresh grants that gave new tokens, oldest first."""
    grants = [entry for entry in provider.seen("token", "refresh_token") if entry["status"] == 200]
    agents = [entry["headers"].get("user-agent", "") for entry in grants]
    return ["oauth2-proxy" if "oauth2-proxy" in agent else "the filter" for agent in agents]


@every_store
def test_sessions_of_either_proxy_are_valid_at_both(pair, user):
    for where, elsewhere in pair.ways:
        visitor = pair.sign_in(where, user)
        here = arrived(visitor.get_at(where))
        there = arrived(visitor.get_at(elsewhere))
        assert there["x-forwarded-email"] == f"{user}@example.com"
        assert there["x-forwarded-groups"] == here["x-forwarded-groups"]
        assert there["x-forwarded-access-token"] == here["x-forwarded-access-token"]


@every_store
def test_refreshed_session_is_valid_at_the_other_proxy(pair, user, provider):
    for where, elsewhere in pair.ways:
        visitor = pair.sign_in(where, user)
        old = arrived(visitor.get_at(where))["x-forwarded-access-token"]
        time.sleep(DUE_SECONDS)
        provider.control("forget")
        new = arrived(visitor.get_at(elsewhere))["x-forwarded-access-token"]
        assert refreshers(provider) == [pair.name(elsewhere)] and new != old
        assert arrived(visitor.get_at(where))["x-forwarded-access-token"] == new
        # Again, by the proxy that wrote it first.
        time.sleep(DUE_SECONDS)
        newest = arrived(visitor.get_at(where))["x-forwarded-access-token"]
        assert refreshers(provider) == [pair.name(elsewhere), pair.name(where)] and newest not in (old, new)
        assert arrived(visitor.get_at(elsewhere))["x-forwarded-access-token"] == newest


@every_store
def test_browser_alternates_between_proxies_over_refreshes(pair, user, provider):
    visitor = pair.sign_in(pair.theirs, user)
    for number in range(REQUESTS):
        if number in PAUSES:
            time.sleep(DUE_SECONDS)
        answer = visitor.get_at((pair.ours, pair.theirs)[number % 2])
        assert answer.status_code == 200, f"request {number}: {answer.status_code}"
        assert arrived(answer)["x-forwarded-user"] == user
    assert set(refreshers(provider)) == {"the filter", "oauth2-proxy"}


@every_store
def test_sign_out_at_one_proxy_ends_the_session_at_the_other(pair, user):
    for where, elsewhere in pair.ways:
        visitor = pair.sign_in(where, user)
        assert visitor.get_at(elsewhere).status_code == 200
        copy = visitor.copy()
        visitor.get_at(where, "/oauth2/sign_out")
        assert not pair.session(visitor), "a session cookie remains after the sign-out"
        assert visitor.get_at(elsewhere).status_code == 302
        if pair.server:
            # Without its session, a copy of the ticket is worth nothing.
            copy.wait_for_end(elsewhere)


@every_ticket_store
def test_simultaneous_requests_at_both_proxies_make_one_grant(pair, provider):
    for where, _ in pair.ways:
        visitor = pair.sign_in(where, "alice")
        time.sleep(DUE_SECONDS)
        provider.control("forget")
        # So that the lock is held for a while. The lock of oauth2-proxy lasts two seconds and is not renewed.
        provider.control("faults", token={"delay": 700})
        copies = [visitor.copy() for _ in range(40)]

        def ask(number: int, copies: list[Visitor] = copies):
            return copies[number].get_at((pair.ours, pair.theirs)[number % 2])

        with ThreadPoolExecutor(len(copies)) as pool:
            answers = list(pool.map(ask, range(len(copies))))
        assert {answer.status_code for answer in answers} == {200}
        assert len({arrived(answer)["x-forwarded-access-token"] for answer in answers}) == 1
        assert len(provider.seen("token", "refresh_token")) == 1
        # The lock of an ended session may stay for a minute.
        keys = pair.server.keys()
        assert not [key for key in keys if f"{key}.lock" in keys]
        provider.control("faults")


@pytest.mark.parametrize("pair", ["redis"], indirect=True, scope="module")
def test_lock_of_one_proxy_stops_the_refresh_of_the_other(pair, provider):
    """One proxy is in the middle of a grant when the other gets a request: the order is not left to chance."""
    for first, second in pair.ways:
        visitor = pair.sign_in(first, "alice")
        time.sleep(DUE_SECONDS)
        provider.control("forget")
        provider.control("faults", token={"delay": 1200})
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(visitor.copy().get_at, first)
            while not provider.seen("token", "refresh_token"):
                time.sleep(0.01)
            late = visitor.copy().get_at(second)
            tokens = {arrived(answer)["x-forwarded-access-token"] for answer in (early.result(), late)}
        assert len(tokens) == 1, f"{pair.name(second)} waited for the session that {pair.name(first)} got"
        assert refreshers(provider) == [pair.name(first)]
        provider.control("faults")
