"""Sessions too large for one cookie, in chunks that one proxy writes and the other joins; and minimal sessions."""

from __future__ import annotations

import time

import pytest

from harness.service import arrived

from .conftest import DUE_SECONDS

in_cookies = pytest.mark.parametrize("pair", ["cookie"], indirect=True, scope="module")


def chunks(pair, visitor) -> list[str]:
    return sorted(pair.session(visitor))


@in_cookies
def test_session_of_12_kilobytes_in_chunks_is_valid_at_both(pair):
    """dave's groups are hashes, which cannot be compressed."""
    for where, elsewhere in pair.ways:
        visitor = pair.sign_in(where, "dave")
        cookies = pair.session(visitor)
        assert len(cookies) >= 3 and sum(map(len, cookies.values())) >= 12_000
        here, there = arrived(visitor.get_at(where)), arrived(visitor.get_at(elsewhere))
        assert len(there["x-forwarded-groups"].split(",")) == 80
        assert there["x-forwarded-groups"] == here["x-forwarded-groups"]
        # The other proxy writes it again, into the same chunks.
        time.sleep(DUE_SECONDS)
        assert arrived(visitor.get_at(elsewhere))["x-forwarded-access-token"] != here["x-forwarded-access-token"]
        assert chunks(pair, visitor) == sorted(cookies)
        assert arrived(visitor.get_at(where))["x-forwarded-user"] == "dave"


@in_cookies
def test_both_proxies_split_a_cookie_at_the_same_places(pair):
    lengths = []
    for where, _ in pair.ways:
        cookies = pair.session(pair.sign_in(where, "dave"))
        lengths.append({name: len(value) for name, value in sorted(cookies.items())[:-1]})
    assert lengths[0] == lengths[1] and len(lengths[0]) >= 2


SMALLER = [("carol", "dave"), ("dave", "alice"), ("carol", "alice")]


@in_cookies
@pytest.mark.parametrize(("before", "after"), SMALLER)
def test_smaller_session_replaces_a_larger_one(pair, before, after):
    """Another user signs in with the same browser: the chunks that the smaller session does not need are stale."""
    visitor = pair.sign_in(pair.theirs, before)
    many = chunks(pair, visitor)
    visitor.where = pair.ours
    visitor.elsewhere.cookies.clear()  # the provider asks for the user again
    visitor.sign_in_again(after)
    assert len(chunks(pair, visitor)) < len(many), "stale chunks remain"
    for where in (pair.ours, pair.theirs):
        assert arrived(visitor.get_at(where))["x-forwarded-user"] == after


@in_cookies
@pytest.mark.parametrize(("before", "after"), SMALLER)
def test_smaller_session_of_oauth2_proxy_is_found_among_stale_chunks(pair, before, after):
    """oauth2-proxy leaves chunks that it no longer needs, and then cannot read its own session."""
    visitor = pair.sign_in(pair.ours, before)
    many = chunks(pair, visitor)
    visitor.where = pair.theirs
    visitor.elsewhere.cookies.clear()
    visitor.sign_in_again(after, is_followed=False)
    assert len(chunks(pair, visitor)) >= len(many), "no stale chunks remain, so this tests nothing"
    assert arrived(visitor.get_at(pair.ours))["x-forwarded-user"] == after


@in_cookies
@pytest.mark.parametrize(("before", "after"), [(after, before) for before, after in SMALLER])
def test_larger_session_replaces_a_smaller_one(pair, before, after):
    """oauth2-proxy leaves the cookie of the smaller session, and goes on using it."""
    for where, elsewhere in pair.ways:
        visitor = pair.sign_in(elsewhere, before)
        time.sleep(1.1)  # signatures have whole seconds
        visitor.where = where
        visitor.elsewhere.cookies.clear()
        visitor.sign_in_again(after, is_followed=False)
        assert arrived(visitor.get_at(pair.ours))["x-forwarded-user"] == after, f"written by {pair.name(where)}"
        if where == pair.ours:
            assert arrived(visitor.get_at(pair.theirs))["x-forwarded-user"] == after


@pytest.mark.parametrize("user", ["alice", "dave"])
def test_sessions_without_tokens_are_valid_at_both(start_pair, user):
    """session_cookie_minimal: these sessions cannot be refreshed, so oauth2-proxy refuses cookie_refresh with it."""
    options = {"session_cookie_minimal": True, "cookie_refresh": "0s", "pass_access_token": False}
    with start_pair("cookie", **options) as pair:
        for where, elsewhere in pair.ways:
            visitor = pair.sign_in(where, user)
            size = sum(map(len, pair.session(visitor).values()))
            here, there = arrived(visitor.get_at(where)), arrived(visitor.get_at(elsewhere))
            assert there["x-forwarded-user"] == user
            assert there["x-forwarded-groups"] == here["x-forwarded-groups"]
            if user == "alice":
                assert size < 700, "the session contains a token"
            answers = [visitor.get_at(url, "/oauth2/userinfo").json() for url in (where, elsewhere)]
            assert answers[0] == answers[1]
