"""A login that begins at one proxy and is finished at the other, as if Envoy had routes to both."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from harness.service import arrived

from .conftest import ONE_OF_EACH

CSRF = {
    "one CSRF cookie": {},
    "one for each login": {"cookie_csrf_per_request": True, "cookie_csrf_per_request_limit": 3},
}
# Options whose defaults differ have to be set alike.
SAME = {"insecure_oidc_skip_nonce": False}


def callback(pair, begin: str, user: str = "alice", visitor=None, path: str = "/echo?from=start"):
    """A visitor who comes back from the provider, and the address of the callback."""
    visitor = visitor or pair.visitor(begin)
    visitor.where = begin
    visitor.elsewhere.cookies.clear()  # the provider asks for the user again
    return visitor, visitor.callback_url(user, path)


@pytest.mark.parametrize("csrf", CSRF)
@pytest.mark.parametrize("encode_state", [False, True])
def test_sign_in_begun_at_one_proxy_is_finished_at_the_other(start_pair, csrf, encode_state):
    with start_pair("cookie", **SAME, **CSRF[csrf], encode_state=encode_state) as pair:
        for begin, finish in pair.ways:
            visitor, back = callback(pair, begin)
            visitor.where = finish
            answer = visitor.follow(visitor.get(back))
            assert arrived(answer)["x-forwarded-user"] == "alice", f"begun at {pair.name(begin)}"
            assert answer.json()["path"] == "/echo?from=start"
            assert arrived(visitor.get_at(begin))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("store", ONE_OF_EACH)
def test_start_and_callback_may_be_routed_to_different_proxies(start_pair, store):
    with start_pair(store, **SAME) as pair:
        for begin, finish in pair.ways:
            visitor = pair.visitor(pair.ours, {"/oauth2/start": begin, "/oauth2/callback": finish})
            assert arrived(visitor.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
            assert arrived(visitor.get_at(pair.theirs))["x-forwarded-user"] == "alice"


def test_two_tabs_with_own_cookies_are_finished_at_the_other_proxy(start_pair):
    with start_pair("cookie", **SAME, cookie_csrf_per_request=True) as pair:
        for begin, finish in pair.ways:
            visitor, first = callback(pair, begin, path="/echo?tab=1")
            _, second = callback(pair, begin, path="/echo?tab=2", visitor=visitor)
            visitor.where = finish
            for number, back in ((1, first), (2, second)):
                answer = visitor.follow(visitor.get(back))
                assert answer.json()["path"] == f"/echo?tab={number}", f"begun at {pair.name(begin)}"
            assert not [name for name in visitor.cookies if name.endswith("_csrf")], (
                "a cookie of a finished sign-in remains"
            )


def test_limit_of_sign_ins_under_way_counts_both_proxies(start_pair):
    with start_pair("cookie", **SAME, **CSRF["one for each login"]) as pair:
        visitor = pair.visitor(pair.ours)
        for number in range(8):
            visitor.get_at((pair.ours, pair.theirs)[number % 2], "/oauth2/start?rd=/echo")
        # oauth2-proxy removes cookies before it adds its own, so there is one more than its limit.
        assert len([name for name in visitor.cookies if name.endswith("_csrf")]) <= 4
        visitor, back = callback(pair, pair.theirs, visitor=visitor)
        visitor.where = pair.ours
        assert arrived(visitor.follow(visitor.get(back)))["x-forwarded-user"] == "alice"


def test_two_tabs_at_the_filter_survive_the_shared_cookie_of_oauth2_proxy(start_pair):
    """The filter writes a cookie for each login beside the one that oauth2-proxy knows."""
    with start_pair("cookie", **SAME) as pair:
        visitor, first = callback(pair, pair.ours, path="/echo?tab=1")
        _, second = callback(pair, pair.theirs, path="/echo?tab=2", visitor=visitor)
        visitor.where = pair.ours
        for number, back in ((1, first), (2, second)):
            assert visitor.follow(visitor.get(back)).json()["path"] == f"/echo?tab={number}"


def test_sign_in_without_nonce_works_if_both_proxies_skip_it(start_pair):
    """oauth2-proxy's default; see docs/compatibility.md."""
    with start_pair("cookie", insecure_oidc_skip_nonce=True) as pair:
        for begin, finish in pair.ways:
            visitor, back = callback(pair, begin)
            visitor.where = finish
            assert arrived(visitor.follow(visitor.get(back)))["x-forwarded-user"] == "alice"


def test_filter_that_needs_a_nonce_refuses_a_sign_in_without_one(start_pair):
    with start_pair("cookie", theirs={"insecure_oidc_skip_nonce": True}) as pair:
        visitor, back = callback(pair, pair.theirs)
        visitor.where = pair.ours
        assert visitor.get(back).status_code == 502
        # The other way it does not matter: oauth2-proxy does not check the nonce.
        visitor, back = callback(pair, pair.ours)
        visitor.where = pair.theirs
        assert arrived(visitor.follow(visitor.get(back)))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("csrf", CSRF)
def test_both_proxies_refuse_a_stranger_s_callback(start_pair, csrf):
    with start_pair("cookie", **SAME, **CSRF[csrf]) as pair:
        for begin, finish in pair.ways:
            _, back = callback(pair, begin)
            stranger = pair.visitor(finish)
            assert stranger.get(back).status_code == 403
            assert not pair.session(stranger)


def test_both_proxies_use_the_same_redirect_uri(start_pair):
    with start_pair("cookie") as pair:
        assert {urlsplit(callback(pair, where)[1]).netloc for where in (pair.ours, pair.theirs)} == {"app.example.com"}
