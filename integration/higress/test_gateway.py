"""Sessions in Redis by the calls of the gateway: sign-in, sessions, refresh, sign-out, and whatever goes wrong.

The stop of each gateway checks that every call was one command, that none of them changes the connection, and that no
secret is in the log (conftest.py).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.service import arrived
from harness.waiting import until

from .conftest import CLUSTER

TOKEN = "x-forwarded-access-token"
BROWSERS, REQUESTS = 20, 200


def signed_in(gateway, user: str = "alice"):
    browser = gateway.browser()
    answer = browser.sign_in(user, "/echo")
    assert answer.status_code == 200, f"{answer.text}\n{gateway.log()}"
    return browser


def session_key(redis) -> str:
    (key,) = redis.keys()
    return key


def is_well(browser) -> bool:
    """Whether the session is there. It is never lost: a request has it, or fails with 503."""
    status = browser.get("/echo").status_code
    assert status in (200, 503)
    return status == 200


def test_user_signs_in_and_session_is_read_by_calls(make_gateway, make_redis):
    redis = make_redis()
    gateway = make_gateway(redis)
    browser = signed_in(gateway)
    assert arrived(browser.get("/echo"))["x-forwarded-email"] == "alice@example.com"
    verbs = [words[0] for words in gateway.calls()]
    assert verbs.count(b"SETEX") == 1 and b"GET" in verbs
    assert redis.command("EXISTS", session_key(redis)) == 1


def test_gateway_is_told_once_how_to_log_in(make_gateway, make_redis, password):
    redis = make_redis(password=password)
    url = f"redis://:{password}@ignored.example.com/3"
    gateway = make_gateway(redis, redis_connection_url=url, redis_command_timeout="1500ms")
    browser = signed_in(gateway)
    for _ in range(20):
        assert browser.get("/echo").status_code == 200
    (init,) = gateway.inits()
    service, _, parameters = init["service"].partition("?")
    assert service == CLUSTER
    assert parse_qs(parameters) == {
        "db": ["3"], "buffer_flush_timeout": ["0"], "max_buffer_size_before_flush": ["0"]
    }  # fmt: skip
    assert (init["username"], init["password"], init["timeout"]) == ("", password, 1500)
    assert len(redis.keys(3)) == 1 and not redis.keys(0)


def test_user_with_the_documented_rights_signs_in_and_out(make_gateway, make_redis, password):
    rights = "~_oauth2_proxy-* +ping +get +set +setex +del +eval +pexpire"  # docs/stores.md
    redis = make_redis(user=[f"alice on >{password} {rights}", "default off"])
    gateway = make_gateway(redis, redis_username="alice", redis_connection_url=f"redis://:{password}@redis")
    browser = signed_in(gateway)
    assert is_well(browser)
    assert browser.get("/oauth2/sign_out").status_code < 400
    assert browser.get("/echo").is_redirect


def test_replies_in_any_order_reach_their_own_browsers(make_gateway, make_redis):
    gateway = make_gateway(make_redis(), pass_access_token=True)
    browsers = [signed_in(gateway) for _ in range(BROWSERS)]
    own = [arrived(browser.get("/echo"))[TOKEN] for browser in browsers]
    assert len(set(own)) == BROWSERS
    gateway.goes_wrong(shuffled=True)

    def ask(number: int) -> bool:
        which = number % BROWSERS
        return arrived(browsers[which].get("/echo"))[TOKEN] == own[which]

    with ThreadPoolExecutor(BROWSERS) as pool:
        assert all(pool.map(ask, range(REQUESTS)))
    assert len(gateway.inits()) == 1


def test_refresh_waits_for_the_lock_and_uses_each_token_once(make_gateway, make_redis, provider):
    # The provider ends a session whose refresh token is used twice.
    redis = make_redis()
    gateway = make_gateway(redis, cookie_refresh="1s", pass_access_token=True)
    browser = signed_in(gateway)
    before = arrived(browser.get("/echo"))[TOKEN]
    lock = f"{session_key(redis)}.lock"
    assert redis.command("SET", lock, "another proxy", "NX", "PX", "1500") == b"OK"
    time.sleep(1.2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: browser.get("/echo"), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: arrived(browser.get("/echo"))[TOKEN] != before, "a renewed session")
    time.sleep(1.2)
    assert arrived(browser.get("/echo"))[TOKEN] != before
    until(lambda: not redis.command("EXISTS", lock), "the lock is released")
    assert provider.seen("token", "refresh_token")
    assert all(b"NX" in words for words in gateway.calls() if words[0] == b"SET" and words[1] == lock.encode())


def test_sign_out_ends_session_in_redis(make_gateway, make_redis):
    redis = make_redis()
    gateway = make_gateway(redis)
    browser = signed_in(gateway)
    cookie = browser.cookie
    browser.get("/oauth2/sign_out")
    assert redis.keys() == []
    answer = gateway.browser().get("/echo", headers={"cookie": cookie})
    assert answer.is_redirect and urlsplit(answer.headers["location"]).path == "/oauth2/start"


def test_outage_is_503_and_logs_nobody_out(make_gateway, make_redis):
    redis = make_redis(keep=True)
    browser = signed_in(make_gateway(redis, redis_command_timeout="500ms"))
    redis.kill()
    answer = browser.get("/echo")
    assert answer.status_code == 503 and "set-cookie" not in answer.headers
    redis.start()
    until(lambda: is_well(browser), "the session is there again")


def test_short_outage_is_waited_for(make_gateway, make_redis):
    redis = make_redis(keep=True)
    browser = signed_in(make_gateway(redis, redis_command_timeout="20s"))
    redis.restart()
    assert browser.get("/echo").status_code == 200


def test_replies_that_never_come_are_503(make_gateway, make_redis):
    gateway = make_gateway(make_redis(), redis_command_timeout="300ms")
    browser = signed_in(gateway)
    gateway.goes_wrong(silent=True)
    assert browser.get("/echo").status_code == 503
    gateway.goes_wrong()
    until(lambda: is_well(browser), "the session is there again")


def test_wrong_password_is_503_until_the_server_has_it(make_gateway, make_redis, password):
    redis = make_redis(password="another")
    gateway = make_gateway(redis, redis_connection_url=f"redis://:{password}@redis")
    browser = gateway.browser()
    assert gateway.browser().get("/ready").status_code == 503
    assert "Redis refused the credentials or the database (AUTH: NOAUTH)" in gateway.log()
    redis.command("CONFIG", "SET", "requirepass", password)
    redis.password = password
    until(lambda: gateway.browser().get("/ready").status_code == 200, "ready with the right password")
    assert browser.sign_in("alice", "/echo").status_code == 200


def test_gateway_that_forgets_the_login_is_told_again(make_gateway, make_redis, password):
    redis = make_redis(password=password)
    gateway = make_gateway(redis, redis_connection_url=f"redis://:{password}@redis/2")
    browser = signed_in(gateway)
    assert gateway.ask("/forget")
    # The command that gets NOAUTH has not run, so it is sent again: no request fails.
    assert browser.get("/echo").status_code == 200
    assert len(gateway.inits()) == 2
    assert len(redis.keys(2)) == 1 and not redis.keys(0)


@pytest.mark.parametrize("status", ["init_status", "call_status"])
def test_service_that_the_gateway_does_not_know_is_503(make_gateway, make_redis, status):
    gateway = make_gateway(make_redis(), redis_command_timeout="500ms")
    gateway.goes_wrong(**{status: 2})
    assert gateway.browser().get("/ready").status_code == 503
    assert f"the gateway has no cluster {CLUSTER}: set redis_service to a service that it knows" in gateway.log()
    gateway.goes_wrong()
    until(lambda: gateway.browser().get("/ready").status_code == 200, "ready when the gateway knows it")
    assert is_well(signed_in(gateway))


def test_service_without_endpoint_is_503_and_logs_nobody_out(make_gateway, make_redis):
    gateway = make_gateway(make_redis(), redis_command_timeout="500ms")
    browser = signed_in(gateway)
    gateway.goes_wrong(call_status=10)
    assert browser.get("/echo").status_code == 503
    assert f"the gateway has no healthy endpoint in the cluster {CLUSTER}" in gateway.log()
    gateway.goes_wrong()
    until(lambda: is_well(browser), "the session is there again")


NOT_READY = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "busy": b"-BUSY Redis is busy running a script.\r\n",
    "master is down": b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
}


@pytest.mark.parametrize("reply", NOT_READY.values(), ids=NOT_READY)
def test_server_that_is_not_ready_is_waited_for(make_gateway, make_redis, reply):
    gateway = make_gateway(make_redis(), redis_command_timeout="20s")
    browser = signed_in(gateway)
    gateway.goes_wrong(replies=[reply])
    assert browser.get("/echo").status_code == 200


def test_server_that_stays_unready_is_503(make_gateway, make_redis):
    gateway = make_gateway(make_redis(), redis_command_timeout="300ms")
    browser = signed_in(gateway)
    gateway.goes_wrong(replies=[NOT_READY["loading"]] * 1000)
    assert browser.get("/echo").status_code == 503
    gateway.goes_wrong()
    until(lambda: is_well(browser), "the session is there again")


def test_sign_in_at_a_replica_fails_and_hands_out_no_session(make_gateway, make_redis):
    redis = make_redis()
    gateway = make_gateway(redis)
    browser = gateway.browser()
    callback = browser.callback_url("alice", "/echo")
    gateway.goes_wrong(replies=[b"-READONLY You can't write against a read only replica.\r\n"] * 50)
    answer = browser.get(callback)
    assert answer.status_code == 503
    assert "_oauth2_proxy=" not in "".join(answer.headers.get_list("set-cookie"))
    assert redis.keys() == []


HOSTILE = {
    "nothing": b"",
    "two values": b"$-1\r\n$-1\r\n",
    "half a value": b"$10\r\nabc",
    "a map of RESP3": b"%1\r\n+a\r\n+b\r\n",
    "a number": b":1\r\n",
    "a value of another": b"$5\r\nhello\r\n",
    "an array without end": b"*2147483647\r\n",
    "arrays in arrays": b"*1\r\n" * 5000 + b":1\r\n",
    "a negative length": b"$-7\r\n",
    "no number": b"$x\r\n",
    "an error with a line end": b"-ERR a\rb\nc\r\n",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_hostile_reply_neither_opens_nor_ends_a_session(make_gateway, make_redis, reply):
    gateway = make_gateway(make_redis(), redis_command_timeout="500ms")
    browser, stranger = signed_in(gateway), gateway.browser()
    for _ in range(3):
        gateway.goes_wrong(replies=[reply])
        is_well(browser)
        assert stranger.get("/echo").status_code == 302
    gateway.goes_wrong()
    until(lambda: is_well(browser), "the session is there still")
