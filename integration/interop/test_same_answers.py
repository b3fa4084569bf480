"""Both proxies tell the service and a script the same about a session."""

from __future__ import annotations

import pytest

from harness.service import arrived

from .conftest import ONE_OF_EACH

TOLD = {"set_xauthrequest": True, "set_authorization_header": True, "pass_authorization_header": True}
HEADERS = {
    "by default": {"pass_access_token": False},
    "tokens": TOLD,
    "basic": {"pass_basic_auth": True, "basic_auth_password": "basic-auth-1"},
    "the email as the user": {"prefer_email_to_user": True, "set_xauthrequest": True},
    "none": {"pass_user_headers": False, "pass_basic_auth": False, "pass_access_token": False},
}
FORGED = {"x-forwarded-user": "root", "X_Forwarded_Email": "root@example.com", "x-forwarded-groups": "admins"}
QUERIES = {
    "": 202,
    "?allowed_groups=staff": 202,
    "?allowed_groups=nobody,admins": 202,
    "?allowed_groups=nobody": 403,
    "?allowed_emails=alice@example.com": 202,
    "?allowed_emails=eve@example.com": 403,
    "?allowed_email_domains=example.com": 202,
    "?allowed_email_domains=elsewhere.example": 403,
}


def identity(headers: dict[str, str]) -> dict[str, str]:
    """The headers about the user, without those about the connection."""
    connection = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    return {
        name: value
        for name, value in headers.items()
        if name.startswith(("x-forwarded-", "x-auth-request-", "authorization")) and name not in connection
    }


@pytest.mark.parametrize("store", ONE_OF_EACH)
@pytest.mark.parametrize("headers", HEADERS)
def test_both_proxies_set_the_same_headers(start_pair, store, headers):
    with start_pair(store, **HEADERS[headers]) as pair:
        for user in ("alice", "carol", "mallory"):
            for where, _ in pair.ways:
                visitor = pair.sign_in(where, user)
                # oauth2-proxy lets headers through that it does not set itself; see docs/compatibility.md.
                forged = FORGED if headers != "none" else {}
                ours, theirs = (visitor.get_at(url, headers=forged) for url in (pair.ours, pair.theirs))
                assert identity(arrived(ours)) == identity(arrived(theirs)), "for the upstream"
                assert identity(dict(ours.headers)) == identity(dict(theirs.headers)), "in the response"


@pytest.mark.parametrize("store", ONE_OF_EACH)
def test_endpoints_of_both_proxies_answer_alike(start_pair, store):
    with start_pair(store, **TOLD) as pair:
        for where, _ in pair.ways:
            visitor = pair.sign_in(where, "alice")
            ours, theirs = (visitor.get_at(url, "/oauth2/userinfo") for url in (pair.ours, pair.theirs))
            assert ours.status_code == theirs.status_code == 200
            assert ours.json() == theirs.json() and ours.json()["groups"] == ["admins", "staff"]
            for query, status in QUERIES.items():
                ours, theirs = (visitor.get_at(url, f"/oauth2/auth{query}") for url in (pair.ours, pair.theirs))
                assert (ours.status_code, theirs.status_code) == (status, status), query
                assert identity(dict(ours.headers)) == identity(dict(theirs.headers)), query
        stranger = pair.visitor(pair.ours)
        for path in ("/oauth2/auth", "/oauth2/userinfo"):
            assert [stranger.get_at(url, path).status_code for url in (pair.ours, pair.theirs)] == [401, 401]


@pytest.mark.parametrize("store", ONE_OF_EACH)
def test_both_proxies_refuse_a_forged_cookie(start_pair, store):
    with start_pair(store) as pair:
        visitor = pair.sign_in(pair.ours, "alice")
        for key, value in visitor.kept.items():
            payload, rest = value.split("|", 1)
            visitor.kept[key] = f"{'A' if payload[0] != 'A' else 'B'}{payload[1:]}|{rest}"
        for where in (pair.ours, pair.theirs):
            copy = visitor.copy()
            assert copy.get_at(where, "/oauth2/auth").status_code == 401
            assert not pair.session(copy), f"{pair.name(where)} clears it"


def test_both_proxies_refuse_a_user_whom_a_rule_excludes(start_pair):
    rules = {"email_domains": ["example.com"]}
    with start_pair("redis") as open_pair, start_pair("redis", **rules) as pair:
        assert open_pair.sign_in(open_pair.ours, "mallory")
        for where in (pair.ours, pair.theirs):
            visitor = pair.visitor(where)
            assert visitor.sign_in("mallory", "/echo").status_code == 403, pair.name(where)
            assert not pair.session(visitor)
