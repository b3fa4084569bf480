"""Two versions side by side: what begins at a proxy of one version goes on at a proxy of the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.service import arrived
from harness.visitor import Visitor
from harness.waiting import until
from rollout.fleet import DUE_SECONDS, NOW

COOKIE = "_oauth2_proxy"
# carol has so many groups that her session is split over several cookies, if sessions are in cookies.
PEOPLE = ("alice", "carol")

# Sessions in cookies have no lock that proxies share.
with_a_lock = pytest.mark.parametrize("mixed", ["redis", "redis, new"], indirect=True, scope="module")


def token(answer) -> str:
    return arrived(answer)["x-forwarded-access-token"]


def grants(provider) -> int:
    return len([entry for entry in provider.seen("token", "refresh_token") if entry["status"] == 200])


@pytest.mark.parametrize("user", PEOPLE)
def test_session_is_valid_at_the_other_version(mixed, way, user):
    where, elsewhere = way
    visitor = mixed.sign_in(where, user)
    is_split = len(visitor.session(COOKIE)) > 1
    assert is_split == (user == "carol" and mixed.redis is None)
    here, there = arrived(visitor.get_at(where)), arrived(visitor.get_at(elsewhere))
    for name in ("user", "email", "groups", "preferred-username", "access-token"):
        assert here[f"x-forwarded-{name}"] == there[f"x-forwarded-{name}"]
    here, there = (visitor.get_at(url, "/oauth2/userinfo").json() for url in way)
    # This version also says when the session ends.
    for name in ("user", "email", "groups", "preferredUsername"):
        assert here[name] == there[name]


@pytest.mark.parametrize("user", PEOPLE)
def test_session_refreshed_by_one_version_is_valid_at_the_other(mixed, way, user, provider):
    where, elsewhere = way
    visitor = mixed.sign_in(where, user)
    tokens = [token(visitor.get_at(where))]
    provider.control("forget")
    for count, (renews, takes) in enumerate([(elsewhere, where), (where, elsewhere)], 1):
        time.sleep(DUE_SECONDS)
        tokens.append(token(visitor.get_at(renews)))
        assert token(visitor.get_at(takes)) == tokens[-1]
        assert grants(provider) == count
    assert len(set(tokens)) == 3


@pytest.mark.parametrize("user", PEOPLE)
def test_sign_out_at_one_version_ends_the_session_at_the_other(mixed, way, user):
    where, elsewhere = way
    visitor = mixed.sign_in(where, user)
    assert visitor.get_at(elsewhere).status_code == 200
    copy = visitor.copy()
    assert visitor.get_at(elsewhere, "/oauth2/sign_out").status_code == 200
    assert not visitor.session(COOKIE), "a session cookie remains after the sign-out"
    assert visitor.get_at(where).status_code == 302
    if mixed.redis:
        # Without its session, a copy of the ticket is worth nothing.
        copy.wait_for_end(*way)


@pytest.mark.parametrize("user", PEOPLE)
def test_sign_in_begun_at_one_proxy_is_finished_at_the_other(mixed, way, user):
    where, elsewhere = way
    visitor = Visitor(where)
    back = visitor.callback_url(user, "/echo?from=start")
    visitor.where = elsewhere
    answer = visitor.follow(visitor.get(back))
    assert arrived(answer)["x-forwarded-user"] == user
    assert answer.json()["path"] == "/echo?from=start"
    assert arrived(visitor.get_at(where))["x-forwarded-user"] == user


def test_tabs_begun_at_both_versions_are_both_finished(mixed, way):
    where, elsewhere = way
    visitor = Visitor(where)
    first = visitor.callback_url("alice", "/echo?tab=1")
    visitor.where = elsewhere
    visitor.elsewhere.cookies.clear()
    second = visitor.callback_url("alice", "/echo?tab=2")
    for number, back in ((1, first), (2, second)):
        assert visitor.follow(visitor.get(back)).json()["path"] == f"/echo?tab={number}"
        visitor.where = where


@with_a_lock
def test_lock_of_one_proxy_stops_the_refresh_of_the_other(mixed, way, provider):
    """One proxy is in the middle of a grant when the other gets a request."""
    where, elsewhere = way
    visitor = mixed.sign_in(where, "alice")
    time.sleep(DUE_SECONDS)
    provider.control("forget")
    provider.control("faults", token={"delay": 1200})
    with ThreadPoolExecutor(9) as pool:
        early = pool.submit(visitor.copy().get_at, where)
        until(lambda: provider.seen("token", "refresh_token"), "the grant is under way")
        late = [pool.submit(visitor.copy().get_at, elsewhere) for _ in range(8)]
        tokens = {token(answer.result()) for answer in (early, *late)}
    assert len(tokens) == 1, "a request did not wait for the session of the first refresh"
    assert grants(provider) == 1
    keys = mixed.redis.keys()
    assert not [key for key in keys if f"{key}.lock" in keys]


@with_a_lock
def test_sign_out_at_one_version_ends_a_refresh_at_the_other(mixed, way, provider):
    """The proxy in the middle of a grant does not restore the session."""
    where, elsewhere = way
    visitor = mixed.sign_in(where, "alice")
    copy = visitor.copy()
    time.sleep(DUE_SECONDS)
    provider.control("forget")
    provider.control("faults", token={"delay": 1200})
    with ThreadPoolExecutor(1) as pool:
        refreshing = pool.submit(visitor.copy().get_at, where)
        until(lambda: provider.seen("token", "refresh_token"), "the grant is under way")
        assert visitor.get_at(elsewhere, "/oauth2/sign_out").status_code == 200
        refreshing.result()
    copy.wait_for_end(*way)


@pytest.mark.parametrize("mixed", ["redis, new"], indirect=True, scope="module")
def test_sign_out_everywhere_ends_sessions_of_both_versions(mixed, way):
    """The index has a session of the version before when a proxy of this version has loaded it."""
    where, now = way[0], mixed.url(NOW)
    visitor, other = mixed.sign_in(where, "alice"), mixed.sign_in(way[1], "alice")
    for each in (visitor, other):
        assert each.get_at(now).status_code == 200

    def listed() -> list[dict]:
        answer = visitor.get_at(now, "/oauth2/sessions", headers={"accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()["sessions"]

    until(lambda: len(listed()) >= 2, "both sessions are in the index")
    visitor.where = now
    answer = visitor.request("POST", "/oauth2/sign_out_everywhere", headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 200, answer.text
    for each in (visitor, other):
        each.wait_for_end(*way)
