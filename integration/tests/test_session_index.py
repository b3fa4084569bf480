"""The index of sessions by user: what is in Redis, and who can end a user's sessions by it."""

from __future__ import annotations

import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from harness.fake_provider import Answer
from harness.redis import is_6
from harness.service import COOKIE_SECRET, arrived
from harness.tracking import both_ways
from harness.waiting import until
from ticket import redis_key

NAME = "_oauth2_proxy"
TOOL = Path(__file__).resolve().parents[2] / "tools" / "end_sessions.py"
JSON = {"accept": "application/json"}
# As a browser sends it with a request of a page of this site.
HERE = {**JSON, "sec-fetch-site": "same-origin"}


def sign_in(running, user: str = "alice"):
    browser = running.browser()
    assert arrived(browser.sign_in(user, "/echo"))["x-forwarded-user"] == user
    return browser


def is_signed_in(browser) -> bool:
    answer = browser.get("/echo")
    assert answer.status_code in (200, 302), answer.text
    return answer.status_code == 200


def sessions(browser, query: str = "") -> list[dict]:
    answer = browser.get(f"/oauth2/sessions{query}", headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()["sessions"]


def hashes(redis) -> list[str]:
    return [key for key in redis.keys() if "-user." in key]


def the_hash(redis) -> str:
    [key] = hashes(redis)
    return key


def end_sessions(redis, provider, *words: str, secret: str = COOKIE_SECRET) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, "--issuer", provider.issuer, *words, "--", *redis]
    environment = {"OAUTH2_PROXY_COOKIE_SECRET": secret}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def indexed(with_redis, redis):
    return with_redis(redis, redis_session_index=True, admin_groups=["operators"], oidc_groups_claim="groups")


# ---- one server ----


def test_index_leads_to_tickets_and_lives_as_long_as_sessions(indexed, redis):
    began = int(time.time())
    browsers = [sign_in(indexed), sign_in(indexed)]
    key = the_hash(redis)
    assert re.fullmatch(rf"{NAME}-user\.[0-9a-f]{{32}}", key)
    week = 7 * 24 * 3600
    assert week - 60 < redis.command("TTL", key) <= week + 1
    reply = redis.command("HGETALL", key)
    entries = dict(zip(reply[::2], reply[1::2]))
    assert set(entries) == {str(redis_key(browser.cookie)).encode() for browser in browsers}
    for times in entries.values():
        started, ends = map(int, times.split())
        assert 0 <= started - began < 60
        assert week <= ends - started < week + 60


@both_ways
def test_user_ends_one_session_and_then_all(indexed, redis, remember):
    browser, first, second = [sign_in(indexed) for _ in range(3)]
    other = sign_in(indexed, "carol")
    for one in (browser, first, second, other):
        remember(indexed, one)
    listed = sessions(browser)
    assert [session["current"] for session in listed].count(True) == 1
    assert len(listed) == 3
    [name, *_] = [session["id"] for session in listed if not session["current"]]
    answer = browser.request("POST", f"/oauth2/sessions?end={name}", headers=HERE)
    assert (answer.status_code, answer.json()) == (200, {"ended": 1})
    assert sorted([is_signed_in(first), is_signed_in(second)]) == [False, True]
    answer = browser.request("POST", "/oauth2/sign_out_everywhere", headers=HERE)
    assert (answer.status_code, answer.json()) == (200, {"ended": 2})
    assert not any(is_signed_in(one) for one in (browser, first, second))
    assert is_signed_in(other)
    assert len(hashes(redis)) == 1, "the index still has the user who is signed out"


def test_buttons_of_the_pages_work(indexed):
    browser, other = sign_in(indexed), sign_in(indexed)
    page = browser.get("/oauth2/sessions", headers={"accept": "text/html"})
    assert page.text.count('method="post"') == 3
    page = browser.get("/oauth2/sign_out")
    [action] = re.findall(r'<form method="post" action="([^"]+)"', page.text)
    assert is_signed_in(other)
    # A page with the policy `no-referrer` sends this origin.
    answer = browser.request("POST", action, headers={"origin": "null", "accept": "text/html"})
    assert (answer.status_code, "You are signed out" in answer.text) == (200, True)
    assert not is_signed_in(other)


def test_full_hash_drops_what_has_ended_and_what_ends_first(indexed, redis):
    sign_in(indexed)
    key = the_hash(redis)
    now = int(time.time())
    redis.command("HSET", key, f"{NAME}-ended", f"1 {now - 5}", f"{NAME}-first", f"1 {now + 3600}")
    for number in range(254):
        redis.command("HSET", key, f"{NAME}-{number}", f"1 {now + 10**8}")
    browser = sign_in(indexed)
    assert redis.command("HLEN", key) == 256
    assert redis.command("HEXISTS", key, redis_key(browser.cookie)) == 1
    assert redis.command("HMGET", key, f"{NAME}-ended", f"{NAME}-first") == [None, None]
    assert redis.command("TTL", key) > 9 * 10**7, "the hash lives as long as its last entry"


def test_session_without_entry_gets_one(with_redis, redis, indexed):
    before = sign_in(with_redis(redis))
    assert hashes(redis) == []
    browser = indexed.browser()
    browser.request("GET", "/echo", headers={"cookie": before.cookie})
    until(lambda: len(hashes(redis)) == 1, "it is indexed")
    assert sessions(before_at(indexed, before))[0]["current"] is True


def before_at(running, browser):
    """The same cookies at another Envoy on this host."""
    browser.base_url = running.url
    return browser


@pytest.mark.skipif(is_6(), reason="the rules are those of Redis 7")
def test_sign_in_goes_on_if_acl_refuses_the_index(with_redis, make_redis):
    redis = make_redis(user="default on nopass ~* &* +@all -hset")
    running = with_redis(redis, redis_session_index=True, is_shared=False)
    browser = sign_in(running)
    assert is_signed_in(browser)
    assert running.envoy.says("session index: Redis refuses a command")
    assert running.envoy.counters()["redis.index_failed"] == 1
    for method, path in [("GET", "/oauth2/sessions"), ("POST", "/oauth2/sign_out_everywhere")]:
        assert browser.request(method, path, headers=HERE).status_code == 503
    assert is_signed_in(browser)
    redis.command("ACL", "SETUSER", "default", "+hset")
    assert browser.get("/oauth2/sessions", headers=JSON).status_code == 200
    assert running.envoy.says("session index: Redis executes its commands again")


@pytest.mark.skipif(is_6(), reason="the rules are those of Redis 7")
def test_documented_rights_are_those_of_the_index(with_redis, make_redis):
    page = (Path(__file__).resolve().parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^a server +(\S.*)$", page, re.MULTILINE)
    [more] = re.findall(r"`redis_session_index`\]\(.*\): `([^`]*)`", page)
    redis = make_redis()
    password = secrets.token_urlsafe(24)
    redis.command("ACL", "SETUSER", "filter", "reset", "on", f">{password}", *line.split(), *more.split())
    running = with_redis(
        redis, redis_session_index=True, redis_username="filter", redis_password=password, is_shared=False
    )
    one, other = sign_in(running), sign_in(running)
    assert len(sessions(one)) == 2
    assert one.request("POST", "/oauth2/sign_out_everywhere", headers=HERE).json() == {"ended": 2}
    assert not is_signed_in(other)
    denied = [dict(zip(entry[::2], entry[1::2]))[b"object"] for entry in redis.command("ACL", "LOG")]
    # Both are optional.
    assert set(denied) <= {b"client|setname", b"client|tracking"}


# ---- the operator's command ----


needs_redis_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="there is no redis-cli")


@needs_redis_cli
@both_ways
def test_operator_ends_the_sessions_of_a_user(indexed, redis, provider, remember, assert_ended):
    browsers = [sign_in(indexed), sign_in(indexed)]
    other = sign_in(indexed, "carol")
    for browser in (*browsers, other):
        remember(indexed, browser)
    cli = shlex.split(f"redis-cli -p {redis.port}")
    listed = end_sessions(cli, provider, "--user", "alice", "--list")
    assert set(listed.stdout.split()) == {redis_key(browser.cookie) for browser in browsers}
    ran = end_sessions(cli, provider, "--user", "alice", secret=f"another-secret-another-secret-32,{COOKIE_SECRET}")
    assert (ran.returncode, ran.stdout) == (0, "ended 2 sessions\n"), ran.stderr
    for browser in browsers:
        assert_ended(browser)
    assert is_signed_in(other)
    assert redis.command("GET", f"{redis_key(browsers[0].cookie)}.lock") == b"signed out"
    again = end_sessions(cli, provider, "--user", "alice")
    assert (again.returncode, again.stdout) == (0, "ended 0 sessions\n")


@needs_redis_cli
def test_operator_is_told_why_nothing_ended(redis, provider):
    assert end_sessions(["false"], provider, "--user", "alice").returncode == 1
    ran = end_sessions(["echo", "NOPERM"], provider, "--user", "alice")
    assert (ran.returncode, "NOPERM" in ran.stderr) == (1, True)
    ran = end_sessions(["true"], provider, "--user", "alice", secret="")
    assert (ran.returncode, "OAUTH2_PROXY_COOKIE_SECRET" in ran.stderr) == (1, True)


# ---- races ----


@both_ways
def test_refresh_under_way_brings_no_session_back(make_service, fake, redis, redis_tracking, assert_ended):
    of_redis = {
        "session_store_type": "redis",
        "redis_connection_url": redis.url,
        "redis_session_index": True,
        "redis_tracking": redis_tracking,
    }
    refreshing = make_service(fake, **of_redis, cookie_refresh="1s", concurrency=2)
    other = make_service(fake, **of_redis, concurrency=2)
    browser, here = sign_in(refreshing), sign_in(other)
    time.sleep(1.1)
    gate = Event()
    fake.answers["token:refresh_token"] = [Answer(gate=gate)]
    with ThreadPoolExecutor() as pool:
        request = pool.submit(browser.get, "/echo")
        until(
            lambda: [seen for seen in fake.requests if seen["form"].get("grant_type") == "refresh_token"], "a refresh"
        )
        everywhere = pool.submit(here.request, "POST", "/oauth2/sign_out_everywhere", headers=HERE)
        time.sleep(0.5)  # so that the sign-out meets the lock of the refresh
        gate.set()
        assert everywhere.result().json() == {"ended": 2}
        assert request.result().status_code in (200, 302)
    for url in (refreshing.url, other.url):
        for asks in (browser, here):
            assert_ended(asks, url)


# ---- failovers ----


def is_answered(browser) -> bool:
    return browser.get("/echo").status_code != 503


def is_gone(browser) -> bool:
    return browser.get("/echo").status_code == 302


def sign_out_everywhere_during(fail_over, service, topology) -> None:
    """Users sign in at one Envoy, and sign out everywhere at another one as soon as another master takes over."""
    one, other = [service(**topology.options, redis_session_index=True, is_shared=False) for _ in range(2)]
    browsers = [sign_in(one) for _ in range(6)]
    stays = sign_in(one, "carol")
    here = sign_in(other)
    # Not all of them may have reached a replica, which is the point.
    fail_over()
    until(
        lambda: here.request("POST", "/oauth2/sign_out_everywhere", headers=HERE).status_code in (200, 401),
        "it is signed out everywhere",
        seconds=60,
    )
    for browser in [*browsers, here]:
        # Served from memory until the worker has noticed the failover, then in doubt for a moment.
        until(partial(is_gone, browser), "the session has ended", seconds=30)
    time.sleep(8)
    for browser in [*browsers, here]:
        until(partial(is_answered, browser), "Redis is trusted", seconds=30)
        assert not is_signed_in(browser)
    assert is_signed_in(stays)


def test_sign_out_everywhere_survives_a_sentinel_failover(service, sentinel):
    master = sentinel.master()

    def fail_over() -> None:
        sentinel.fail_over()
        sentinel.wait_for_another_master(master)

    sign_out_everywhere_during(fail_over, service, sentinel)


def test_sign_out_everywhere_survives_a_cluster_failover(service, cluster):
    def fail_over() -> None:
        for node in cluster.nodes[:3]:
            cluster.replica_of(node).command("CLUSTER", "FAILOVER", "TAKEOVER")

    sign_out_everywhere_during(fail_over, service, cluster)
