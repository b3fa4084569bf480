"""A master dies while a browser alternates between the proxies: the filter loses no session."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.service import arrived
from harness.topologies import ClusterTopology, SentinelTopology, is_synchronized, role
from harness.waiting import attempt, until

from .conftest import every_key

# Longer than this test takes: a refresh that oauth2-proxy begins and cannot save has used up the refresh token.
NO_REFRESH = "5m"


def replacement(server, key: str, than) -> float:
    """Waits until another master took over; returns the monotonic time."""
    if isinstance(server, SentinelTopology):
        return server.wait_for_another_master(than)
    return server.wait_for_another_owner(key, than)


def is_whole(server) -> bool:
    if isinstance(server, ClusterTopology):
        return server.is_whole()
    return all(attempt(lambda: role(node) == "master" or is_synchronized(node)) for node in server.nodes)


def bring_back(server, node) -> None:
    node.start(wait=False)
    until(lambda: attempt(lambda: role(node)) == "slave", "the old master is a replica")
    until(lambda: is_whole(server), "all servers have the data")


@contextlib.contextmanager
def killed(server, key: str):
    """Kills the master of a key; the value is the time at which another took over. Starts it again at the end."""
    until(lambda: is_whole(server), "the replicas have these sessions too")
    time.sleep(0.5)
    master = server.server_of(key)
    master.kill()
    try:
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(replacement, server, key, master)
    finally:
        bring_back(server, master)


def sign_in_at_the_same_master(pair, where: str, user: str, key: str | None):
    """A visitor and the key of the session, which is on the master of another's."""
    while True:
        before = every_key(pair.server)
        visitor = pair.sign_in(where, user)
        (own,) = every_key(pair.server) - before
        if key is None or pair.server.server_of(own) is pair.server.server_of(key):
            return visitor, own


def ask_both(pair, visitor) -> tuple[int, int]:
    """oauth2-proxy clears the cookie and the session in Redis if it cannot load the session. So it gets its own session
    in this test, and copies of the cookie."""
    of_theirs = visitor.copy().get_at(pair.theirs).status_code
    return visitor.copy().get_at(pair.ours).status_code, of_theirs


@pytest.mark.parametrize("store", ["sentinel", "cluster"])
@pytest.mark.parametrize("patience", ["2s", "15s"])
def test_filter_loses_no_session_when_the_master_dies(start_pair, store, patience, request):
    """If the patience is longer than the failover, users of the filter do not see it. If it is shorter, the answer is a
    503 that keeps the cookie, and never a sign-in."""
    note = request.node.user_properties
    with start_pair(store, ours={"redis_command_timeout": patience}, cookie_refresh=NO_REFRESH) as pair:
        visitor, key = sign_in_at_the_same_master(pair, pair.theirs, "alice", None)
        both, shared = sign_in_at_the_same_master(pair, pair.theirs, "mallory", key)
        session = pair.session(visitor)
        ours: Counter[int] = Counter()
        theirs: Counter[int] = Counter()
        with killed(pair.server, key) as agreed, ThreadPoolExecutor(1) as pool:
            alternating = pool.submit(ask_both, pair, both)
            while not agreed.done() or time.monotonic() < agreed.result() + 6:
                ours[visitor.get_at(pair.ours).status_code] += 1
                assert pair.session(visitor) == session, "the cookie changed"
                if alternating.done():
                    status, of_theirs = alternating.result()
                    assert status in (200, 503) or shared not in every_key(pair.server)
                    theirs[of_theirs] += 1
                    alternating = pool.submit(ask_both, pair, both)
        note += [("the filter", dict(ours)), ("oauth2-proxy", dict(theirs))]
        note.append(("oauth2-proxy deleted the session in Redis", shared not in every_key(pair.server)))
        assert set(ours) <= ({200} if patience == "15s" else {200, 503}) and ours[200]
        assert arrived(visitor.get_at(pair.ours))["x-forwarded-user"] == "alice"
        # oauth2-proxy finds the new master in its own time; the session is there.
        until(
            lambda: visitor.copy().get_at(pair.theirs).status_code == 200 or key not in every_key(pair.server),
            "oauth2-proxy takes the session again",
            seconds=40,
        )
