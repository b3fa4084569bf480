"""The ends of a session that only the filter knows, beside an oauth2-proxy that renews the session too."""

from __future__ import annotations

import time

import pytest

from harness.service import arrived

from .conftest import DUE_SECONDS, ONE_OF_EACH

TOKEN = "x-forwarded-access-token"
every_store = pytest.mark.parametrize("store", ONE_OF_EACH)


@every_store
def test_time_of_sign_in_survives_refreshes_of_oauth2_proxy(start_pair, store):
    """oauth2-proxy renews the session twice. If that moved its absolute end, the filter would accept it for longer."""
    with start_pair(store, ours={"session_max_lifetime": "13s"}) as pair:
        visitor = pair.sign_in(pair.ours, "alice")
        seen = [arrived(visitor.get_at(pair.ours))[TOKEN]]
        for _ in range(2):
            time.sleep(DUE_SECONDS)
            seen.append(arrived(visitor.get_at(pair.theirs))[TOKEN])
        assert len(set(seen)) == 3, "oauth2-proxy did not renew it"
        assert visitor.get_at(pair.ours, "/echo").status_code == 200
        time.sleep(DUE_SECONDS + 1)
        assert visitor.get_at(pair.ours, "/echo").status_code == 302


@every_store
def test_session_that_oauth2_proxy_uses_ends_idle_at_the_filter(start_pair, store):
    """oauth2-proxy knows no idle end, and its requests are no use for the filter, unless they renew the session."""
    with start_pair(store, ours={"session_idle_timeout": "4s"}, cookie_refresh="1h") as pair:
        visitor = pair.sign_in(pair.ours, "alice")
        for _ in range(4):
            time.sleep(2)
            assert visitor.get_at(pair.ours, "/echo").status_code == 200
        for _ in range(2):
            time.sleep(2)
            visitor.get_at(pair.theirs, "/echo")
        time.sleep(0.5)
        assert visitor.get_at(pair.ours, "/echo").status_code == 302
