"""Sessions in Redis: the browser's part, Redis' part, and the ends of a session."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from harness.known_secrets import ticket_of
from harness.redis import is_6
from harness.service import arrived
from harness.tracking import asked, both_ways, in_memory, of_sessions
from harness.waiting import until

NAME = "_oauth2_proxy"
KEY = re.compile(rf"{NAME}-[0-9a-f]{{32}}")
# More than the largest session (1 MiB), so that the filter does not keep it.
HUGE = b"x" * (20 << 20)


@pytest.fixture
def running(with_redis, redis):
    return with_redis(redis)


@pytest.fixture
def browser(running):
    return running.browser()


def sign_in(browser) -> None:
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def is_signed_in(browser) -> bool:
    answer = browser.get("/echo")
    assert answer.status_code in (200, 302), answer.text
    return answer.status_code == 200


def shape(command: list[str], key: str) -> str:
    """A command as a line, with names for words that differ each time."""
    names = {key: "KEY", f"{key}.lock": "LOCK"}
    words = [names.get(word, word) for word in command]
    if words[0] == "SETEX":
        words[3] = "VALUE"
    if words[0] == "SET":
        words[2] = "TOKEN" if words[1] == "LOCK" else "VALUE"
    if words[0] == "EVAL":
        words = ["EVAL", *words[2:4], "TOKEN"]
    return " ".join(words)


# ---- keys and values ----


def test_session_is_one_key_with_the_cookie_s_lifetime(browser, redis):
    sign_in(browser)
    (key,) = redis.keys()
    assert KEY.fullmatch(key)
    week = 7 * 24 * 3600
    assert week - 60 < redis.command("TTL", key) <= week


def test_cookie_expire_is_the_lifetime_of_the_key(with_redis, redis):
    sign_in(with_redis(redis, cookie_expire="90m").browser())
    (key,) = redis.keys()
    assert 5340 < redis.command("TTL", key) <= 5400


def test_cookie_has_the_ticket_and_nothing_of_the_session(browser, redis):
    sign_in(browser)
    (key,) = redis.keys()
    digits, secret = ticket_of(browser.cookies[NAME])
    assert f"{NAME}-{digits}" == key
    assert len(secret) == 22  # 16 bytes
    assert len(browser.cookies[NAME]) < 250


def test_data_in_redis_is_unreadable_without_the_cookie(browser, redis):
    sign_in(browser)
    email = browser.get("/oauth2/userinfo").json()["email"]
    (key,) = redis.keys()
    value = redis.command("GET", key)
    _, secret = ticket_of(browser.cookies[NAME])
    for readable in (email, "alice", "eyJhbGciOi", secret):
        assert readable.encode() not in value
    # Encrypted data has nearly all byte values; text has fewer than half.
    assert len(set(value)) > 200


@asked
def test_session_sends_only_the_expected_commands(with_redis, redis):
    """So a new round trip, or a command that is not in the documented ACL, does not stay unnoticed."""
    running = with_redis(redis, cookie_refresh="2s", is_shared=False)
    browser = running.browser()
    with redis.monitor() as monitor:
        sign_in(browser)
        (key,) = redis.keys()
        assert [shape(command, key) for command in monitor.commands()] == [
            *([] if is_6() else ["CLIENT SETNAME oauth2-session-filter"]),
            "PING",  # before the code is used up
            "SETEX KEY 604800 VALUE",
            "GET KEY",  # /echo, to which the sign-in led
        ]
        assert browser.get("/echo").status_code == 200
        assert [shape(command, key) for command in monitor.commands()] == ["GET KEY"]
        time.sleep(2.1)
        assert browser.get("/echo").status_code == 200
        assert [shape(command, key) for command in monitor.commands()] == [
            "GET KEY",
            "SET LOCK TOKEN NX PX 6000",
            "GET KEY",  # again, because another proxy may have been faster
            "SET KEY VALUE XX PX 604800000",  # unless it was deleted meanwhile
            "EVAL 1 LOCK TOKEN",
            "lua GET LOCK",
            "lua DEL LOCK",
        ]
        assert browser.get("/oauth2/sign_out").status_code == 200
        assert [shape(command, key) for command in monitor.commands()] == [
            "SET LOCK TOKEN NX PX 6000",  # otherwise a refresh under way would save it again
            "GET KEY",
            "DEL KEY",
            "EVAL 1 LOCK TOKEN",
            "lua GET LOCK",
            "lua DEL LOCK",
        ]
    assert redis.keys() == []


def test_tracked_session_sends_only_the_expected_commands(with_redis, redis):
    running = with_redis(redis, cookie_refresh="2s", is_shared=False)
    browser = running.browser()
    with redis.monitor() as monitor:
        sign_in(browser)
        (key,) = redis.keys()
        until(lambda: is_signed_in(browser) and running.envoy.counters()["refreshes"], "the session is refreshed")
        in_memory(running, browser)
        assert browser.get("/oauth2/sign_out").status_code == 200
        commands = monitor.commands()
    for_sessions = of_sessions(commands)
    # A request reads its session; the first ones, while the connection has yet to prove itself, without its end.
    assert {shape(command, key) for command in for_sessions} == {
        *([] if is_6() else ["CLIENT SETNAME oauth2-session-filter"]),
        "PING",
        "SETEX KEY 604800 VALUE",
        "SET KEY VALUE XX PX 604800000",
        "GET KEY",
        "PTTL KEY",
        "SET LOCK TOKEN NX PX 6000",
        "EVAL 1 LOCK TOKEN",
        "lua GET LOCK",
        "lua DEL LOCK",
        "DEL KEY",
    }
    for_tracking = [command for command in commands if command not in for_sessions]
    probe = next(word for command in for_tracking for word in command if "-track-" in word)
    assert {shape(command, probe) for command in for_tracking} == {
        "HELLO 3",
        "HELLO",  # which connection is this?
        *([] if is_6() else ["CLIENT TRACKING ON"]),
        "SETEX KEY 10 VALUE",
        "GET KEY",
        "PTTL KEY",
        "DEL KEY",
    }


def test_requests_without_a_session_send_redis_no_command(with_redis, redis):
    browser = with_redis(redis).browser()
    with redis.monitor() as monitor:
        assert browser.get("/echo").status_code == 302
        assert browser.get("/ping").status_code == 200
        browser.get("/echo", headers={"cookie": f"{NAME}=forged|1|x"})
        browser.get("/oauth2/sign_in")
        assert monitor.commands() == []


def test_session_is_valid_at_every_worker_and_envoy(with_redis, redis):
    running = with_redis(redis, concurrency=2)
    other = with_redis(redis, is_shared=False)
    browser = running.browser()
    sign_in(browser)
    for service in (running, other):
        for answer in service.answers_of_each_worker("/echo", cookie=browser.cookie):
            assert arrived(answer)["x-forwarded-user"] == "alice"


# ---- how a session ends ----


@pytest.fixture
def known(running, browser, remember):
    """A browser that is signed in, whose session the worker has in memory if Redis tells of changes."""
    sign_in(browser)
    remember(running, browser)
    return browser


@both_ways
def test_sign_out_deletes_the_session(known, redis):
    browser = known
    old = {"cookie": browser.cookie}
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert redis.keys() == []
    assert NAME not in browser.cookies
    # A copy of the cookie is worth nothing.
    assert httpx.get(f"{browser.base_url}/echo", headers=old, trust_env=False).status_code == 302


@both_ways
def test_deleted_key_is_an_immediate_sign_out(known, redis, assert_ended):
    redis.command("DEL", *redis.keys())
    assert_ended(known)
    # By then a browser might clear another tab's new cookie.
    assert NAME in known.cookies, "the ticket was cleared"


@both_ways
def test_expired_key_is_a_sign_out(known, redis):
    (key,) = redis.keys()
    redis.command("PEXPIRE", key, 3000)
    assert is_signed_in(known)
    time.sleep(3.1)
    assert not is_signed_in(known)


@both_ways
def test_flushed_database_signs_all_out_and_accepts_new_sign_ins(running, redis, assert_ended):
    browsers = [running.browser() for _ in range(2)]
    for browser in browsers:
        sign_in(browser)
    redis.command("FLUSHALL")
    for browser in browsers:
        assert_ended(browser)
    sign_in(browsers[0])
    assert [is_signed_in(browser) for browser in browsers] == [True, False]


@asked
def test_session_cache_bridges_a_short_outage(with_redis, make_redis):
    redis = make_redis()
    browser = with_redis(redis, redis_session_cache="20s", redis_command_timeout="500ms", is_shared=False).browser()
    sign_in(browser)
    assert is_signed_in(browser)
    with redis.monitor() as monitor:
        assert all(is_signed_in(browser) for _ in range(5))
        assert monitor.commands() == []
    redis.stop()
    assert is_signed_in(browser), "a short outage signed the user out or failed a request"
    until(lambda: browser.get("/echo").status_code == 503, "after that Redis is asked again", seconds=30)
    assert NAME in browser.cookies


def test_session_cache_bridges_the_end_of_a_tracked_connection(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis, redis_session_cache="1m", redis_command_timeout="500ms", is_shared=False)
    browser = running.browser()
    sign_in(browser)
    in_memory(running, browser)
    redis.stop()
    until(lambda: running.envoy.counters()["redis.disconnects"], "the worker knows of the end")
    assert is_signed_in(browser), "a short outage signed the user out or failed a request"


@both_ways
@pytest.mark.parametrize(
    "garbage",
    [
        ["SET", "KEY", "garbage"],
        ["SET", "KEY", ""],
        ["SET", "KEY", b"\0" * 28],
        ["RPUSH", "KEY", "a", "b"],
        ["SET", "KEY", HUGE],
    ],
    ids=["a text", "nothing", "28 zeros", "a list", "20 MB"],
)
def test_invalid_value_signs_only_its_browser_out(garbage, running, known, redis, assert_ended):
    broken, fine = known, running.browser()
    (key,) = redis.keys()
    sign_in(fine)
    redis.command("DEL", key)
    redis.command(*[key if word == "KEY" else word for word in garbage])
    assert_ended(broken)
    assert is_signed_in(fine)
    sign_in(broken)
    assert is_signed_in(broken)


@both_ways
def test_session_copied_to_another_key_is_invalid(running, known, redis, assert_ended):
    """A reader of Redis sees the key, and not the secret in the ticket."""
    browser, other = known, running.browser()
    (key,) = redis.keys()
    sign_in(other)
    (others_key,) = set(redis.keys()) - {key}
    redis.command("SET", key, redis.command("GET", others_key))
    assert_ended(browser)
    assert is_signed_in(other)


def test_restored_older_value_of_a_session_is_valid(with_redis, redis):
    """A replica that took over may lack the last write; the refresh token of the older session is used up."""
    running = with_redis(redis, cookie_refresh="3s", pass_access_token=True)
    browser = running.browser()
    sign_in(browser)
    (key,) = redis.keys()
    older = redis.command("GET", key)
    time.sleep(3.2)
    renewed = arrived(browser.get("/echo"))["x-forwarded-access-token"]
    redis.command("SET", key, older)
    assert arrived(browser.get("/echo"))["x-forwarded-access-token"] == renewed
    deadline = time.monotonic() + 5
    while redis.command("GET", key) == older:
        assert time.monotonic() < deadline, "the newest session was not saved again"


@both_ways
def test_new_sign_in_gets_a_new_ticket_and_deletes_the_old(known, redis):
    browser = known
    (old,) = redis.keys()
    cookie = browser.cookies[NAME]
    callback = browser.get("/oauth2/start?rd=/echo")
    assert arrived(browser.follow(callback))["x-forwarded-user"] == "alice"
    (new,) = redis.keys()
    assert new != old
    assert ticket_of(browser.cookies[NAME])[1] != ticket_of(cookie)[1]


@both_ways
def test_sign_in_page_ends_the_session(known, redis):
    old = {"cookie": known.cookie}
    assert known.get("/oauth2/sign_in").status_code == 200
    assert redis.keys() == []
    assert httpx.get(f"{known.base_url}/echo", headers=old, trust_env=False).status_code == 302


def test_ticket_without_the_cookie_secret_is_refused(browser, redis):
    sign_in(browser)
    value, time_stamp, _ = browser.cookies[NAME].split("|")
    forged = {"cookie": f"{NAME}={value}|{time_stamp}|{'A' * 43}="}
    assert httpx.get(f"{browser.base_url}/echo", headers=forged, trust_env=False).status_code == 302
    assert len(redis.keys()) == 1, "the attempt ended a session"


# ---- the cookie's name, and the form of a ticket ----


@pytest.mark.parametrize("options", [{"cookie_name": "a.session"}, {"redis_ticket_form": "v2"}], ids=["dot", "v2"])
def test_ticket_in_the_v2_form_is_valid(options, with_redis, redis):
    browser = with_redis(redis, **options).browser()
    sign_in(browser)
    name = options.get("cookie_name", NAME)
    (key,) = redis.keys()
    assert re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{32}}", key)
    assert is_signed_in(browser)


# ---- statistics ----


@asked
def test_sessions_and_commands_are_counted(with_redis, redis, provider):
    running = with_redis(redis, cookie_refresh="2s", is_shared=False)
    assert running.envoy.counters() == dict.fromkeys(
        [
            "redis.commands",
            "redis.errors",
            "redis.connects",
            "redis.connect_failures",
            "redis.disconnects",
            "redis.tracked",
            "redis.untracked",
            "redis.changes",
            "redis.lock_waits",
            "refreshes",
            "refreshes_refused",
            "refreshes_failed",
            "sign_ins",
            "sign_ins_failed",
            "sign_outs",
            "cookies_of_older_secret",
            "sessions_ended",
            "sessions_idle",
            "sessions_too_old",
            "backchannel_logouts",
            "backchannel_logouts_refused",
            "backchannel_logouts_failed",
            "busy.logout_tokens",
            "redis.index_failed",
            "unavailable.provider",
            "unavailable.redis",
            "unavailable.random",
            "unavailable.secret",
            "secrets_changed",
            "secrets_unusable",
            "handed_over",
            "handed_over_refused",
            "handed_over_dropped",
            "busy.codes",
            "busy.logouts",
            "busy.refreshes",
            "callbacks_refused",
            "unavailable.busy",
            "client_refused",
            "provider_misconfigured",
        ],
        0,
    )
    browser = running.browser()
    sign_in(browser)
    counted = running.envoy.counters()
    assert (counted["redis.commands"], counted["redis.connects"]) == (3, 1)
    (key,) = redis.keys()
    time.sleep(2.1)
    redis.command("SET", f"{key}.lock", "another", "PX", 1500)
    assert is_signed_in(browser)
    counted = running.envoy.counters()
    assert counted["refreshes"] == 1
    assert counted["redis.lock_waits"] >= 1
    assert counted["redis.errors"] == 0
    redis.command("CLIENT", "KILL", "TYPE", "normal")
    redis.command("DEL", key)
    redis.command("RPUSH", key, "a list")
    assert not is_signed_in(browser)
    counted = running.envoy.counters()
    assert (counted["redis.disconnects"], counted["redis.errors"], counted["redis.connects"]) == (1, 1, 2)


def test_failed_refreshes_are_counted(with_redis, redis, provider):
    running = with_redis(redis, cookie_refresh="1s", is_shared=False)
    refused, failed = running.browser(), running.browser()
    sign_in(refused)
    sign_in(failed)
    time.sleep(1.1)
    provider.control("faults", token={"status": 500})
    assert is_signed_in(failed)
    assert (running.envoy.counters()["refreshes_failed"], running.envoy.counters()["refreshes_refused"]) == (1, 0)
    provider.control("faults")
    provider.control("revoke")
    assert not is_signed_in(refused)
    assert (running.envoy.counters()["refreshes_failed"], running.envoy.counters()["refreshes_refused"]) == (1, 1)


@asked
def test_statistics_are_exported_to_prometheus(with_redis, redis):
    running = with_redis(redis, is_shared=False)
    sign_in(running.browser())

    def counted() -> dict[str, int]:
        text = running.envoy.admin("/stats/prometheus")
        series = re.findall(r"^(\S*oauth2_session_\S+)\{\} (\d+)$", text, re.MULTILINE)
        return {name.rpartition("oauth2_session_")[2]: int(value) for name, value in series}

    # Envoy merges histograms every five seconds.
    until(lambda: counted().get("redis_command_time_us_count") == 3, "the histogram has all three commands")
    assert counted()["redis_commands"] == 3
    assert counted()["redis_connects"] == 1
