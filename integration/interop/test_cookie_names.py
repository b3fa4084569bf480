"""The attributes of cookies: they have to be the same at both proxies, or a browser would keep two cookies."""

from __future__ import annotations

import pytest

from harness.service import arrived

from .conftest import ONE_OF_EACH

COOKIES: dict[str, dict] = {
    "plain": {},
    "a dot in the name": {"cookie_name": "my.app"},
    "__Host-": {"cookie_name": "__Host-session", "cookie_secure": True},
    "__Secure- and a dot": {"cookie_name": "__Secure-my.app", "cookie_secure": True},
    "a domain": {"cookie_domains": [".example.com"]},
    "the longest domain that fits": {"cookie_domains": [".app.example.com", ".example.com", ".elsewhere.example"]},
    # The visitor of these tests sends a cookie to any path.
    "a path": {"cookie_path": "/oauth2"},
    "SameSite": {"cookie_samesite": "lax", "cookie_csrf_samesite": "none", "cookie_secure": True},
    "for scripts": {"cookie_httponly": False},
    "until the browser is closed": {"cookie_expire": "0s", "cookie_refresh": "0s"},
}
# http in the tests, so with `Secure` the redirect URI has to be given.
REDIRECT = "http://app.example.com/oauth2/callback"


def attributes(answer, name: str) -> list[set[str]]:
    """The attributes of the cookies whose names begin with this."""
    headers = [header for header in answer.headers.get_list("set-cookie") if header.startswith(name)]
    return [{part.strip().lower() for part in header.split(";")[1:]} for header in headers]


@pytest.mark.parametrize("store", ONE_OF_EACH)
@pytest.mark.parametrize("cookies", COOKIES)
def test_both_proxies_set_and_clear_the_same_cookies(start_pair, store, cookies):
    with start_pair(store, **{"redirect_url": REDIRECT, "insecure_oidc_skip_nonce": False, **COOKIES[cookies]}) as pair:
        seen: dict[str, list] = {"start": [], "callback": [], "sign_out": []}
        for where, elsewhere in pair.ways:
            visitor = pair.visitor(where)
            start = visitor.get("/oauth2/start?rd=/echo")
            seen["start"].append(attributes(start, f"{pair.cookie_name}_csrf="))
            back = visitor.submit(visitor.follow(start), "alice", stop_before="/oauth2/callback").headers["location"]
            done = visitor.get(back)
            seen["callback"].append(attributes(done, f"{pair.cookie_name}="))
            assert len(seen["callback"][-1]) == 1, f"{pair.name(where)} sets one session cookie"
            assert arrived(visitor.follow(done))["x-forwarded-user"] == "alice"
            assert arrived(visitor.get_at(elsewhere))["x-forwarded-user"] == "alice"
            # Each proxy takes the cookie for its own, so a sign-out at either one removes it.
            seen["sign_out"].append(attributes(visitor.get_at(elsewhere, "/oauth2/sign_out"), f"{pair.cookie_name}="))
            assert not pair.session(visitor)
        # The filter clears the scopes of other configurations too.
        by_theirs, by_ours = seen.pop("sign_out")
        assert all(cleared in by_ours for cleared in by_theirs)
        assert all("max-age=0" in cleared for cleared in by_ours)
        for moment, (of_ours, of_theirs) in seen.items():
            assert of_ours == of_theirs, moment
