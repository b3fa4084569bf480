"""A session from its sign-in to its sign-out, at two Envoys and in each form of Redis."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from client.servers import COOKIE, ENVOYS, REFRESH_SECONDS, TOPOLOGY, Connection, ask, until
from harness.known_secrets import ticket_of
from harness.service import arrived

WEEK = 7 * 24 * 3600


def sign_in(browser, person: str = "alice") -> str:
    """Signs a user in; returns the key of the session in Redis."""
    assert arrived(browser.sign_in(person, "/echo"))["x-forwarded-user"] == person
    digits, _secret = ticket_of(browser.cookies[COOKIE])
    return f"{COOKIE}-{digits}"


def echo(envoy: str, cookie: str) -> httpx.Response:
    """On a connection of its own, so that every worker gets some."""
    return httpx.get(f"{envoy}/echo", headers={"cookie": cookie}, timeout=30, trust_env=False, verify=False)


def test_page_without_a_session_leads_to_the_sign_in(browser):
    answer = browser.get("/echo")
    assert answer.status_code == 302
    assert "/oauth2/sign_in" in answer.headers["location"] or "/oauth2/start" in answer.headers["location"]


def test_both_envoys_are_ready():
    for envoy in ENVOYS:
        assert httpx.get(f"{envoy}/ready", trust_env=False, timeout=30).status_code == 200


@pytest.mark.parametrize("person", ["alice", "carol"])
def test_session_of_one_envoy_is_valid_at_the_other(person, browsers):
    """Carol has so many groups that her session is a large one."""
    for browser in browsers:
        sign_in(browser, person)
        for envoy in ENVOYS * 6:
            assert arrived(echo(envoy, browser.cookie))["x-forwarded-user"] == person


def test_session_in_redis_is_encrypted(browser, redis):
    before = redis.keys()
    key = sign_in(browser)
    assert redis.keys() - before == {key}
    assert WEEK - 60 < redis.command("TTL", key) <= WEEK
    value = redis.command("GET", key)
    _digits, secret = ticket_of(browser.cookies[COOKIE])
    for readable in ("alice", "eyJhbGciOi", secret):
        assert readable.encode() not in value
    assert len(browser.cookies[COOKIE]) < 250


def test_expired_session_at_both_envoys_makes_one_grant(browser, provider, redis):
    key = sign_in(browser)
    cookie, before = browser.cookies[COOKIE], redis.command("GET", key)
    token = arrived(browser.get("/echo"))["x-forwarded-access-token"]
    time.sleep(REFRESH_SECONDS + 0.5)
    provider.control("forget")
    answers = []
    threads = [
        threading.Thread(target=lambda envoy=envoy: answers.append(echo(envoy, browser.cookie))) for envoy in ENVOYS * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {arrived(answer)["x-forwarded-user"] for answer in answers} == {"alice"}
    assert provider.grants("refresh_token") == 1
    renewed = {arrived(echo(envoy, browser.cookie))["x-forwarded-access-token"] for envoy in ENVOYS}
    assert len(renewed) == 1 and renewed != {token}
    assert redis.command("GET", key) != before
    assert redis.command("EXISTS", f"{key}.lock") == 0
    assert browser.cookies[COOKIE] == cookie, "the ticket changed"


def test_sign_out_ends_every_copy_of_the_session(browser, redis):
    key = sign_in(browser)
    kept = browser.cookie
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert key not in redis.keys()
    assert COOKIE not in browser.cookies
    assert {echo(envoy, kept).status_code for envoy in ENVOYS} == {302}


def test_key_deleted_in_redis_is_an_immediate_sign_out(browser, redis):
    key = sign_in(browser)
    redis.command("DEL", key)
    assert {echo(envoy, browser.cookie).status_code for envoy in ENVOYS} == {302}


def test_redis_refuses_commands_without_the_password(redis):
    """So the other tests run with a Redis that refuses clients without a password."""
    with Connection(redis.nodes[0]) as connection:
        requirement = connection.command("CONFIG", "GET", "requirepass")
    assert requirement[1]


@pytest.mark.skipif(TOPOLOGY == "single", reason="there are no replicas")
def test_replicas_have_the_session_too(browser, redis):
    key = sign_in(browser)
    assert redis.command("EXISTS", key) == 1

    def copies() -> int:
        return sum(key.encode() in ask(node, "KEYS", "*") for node in redis.replicas())

    wanted = 2 if TOPOLOGY == "sentinel" else 1
    until(lambda: copies() == wanted, f"{wanted} replicas have it")


@pytest.mark.skipif(TOPOLOGY != "cluster", reason="there is one master")
def test_sessions_are_spread_over_the_masters(browsers, redis):
    owners = set()
    for browser in browsers * 8:
        owners.add(redis.owner(sign_in(browser)))
        # Otherwise the next sign-in finds the browser signed in.
        browser.get("/oauth2/sign_out")
    assert len(owners) > 1 and None not in owners
