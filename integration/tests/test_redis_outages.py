"""Redis is down, hangs, is full, may not be written, or loads its data: 503, and no user is signed out.

A session in memory is served until its worker notices the outage: by the end of the connection, or because Redis has
not answered for `redis_tracking_silence`.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.load import Load
from harness.ports import HOST, free_port
from harness.redis import RedisError, is_6
from harness.relay import Relay
from harness.service import arrived, assert_unavailable
from harness.topologies import is_synchronized
from harness.tracking import both_ways
from harness.waiting import until

NAME = "_oauth2_proxy"
DUE = "1s"
DUE_SECONDS = 1.1


def sign_in(running):
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    return browser


def until_200(browser, path: str = "/ready", seconds: float = 10) -> None:
    """Waits for 200; before it, only 503 is allowed."""
    deadline = time.monotonic() + seconds
    while (status := browser.get(path).status_code) != 200:
        assert status == 503
        assert time.monotonic() < deadline, f"{path} does not recover"
        time.sleep(0.05)


# ---- no server ----


def test_envoy_starts_without_redis_and_recovers_with_it(with_redis, make_redis):
    redis = make_redis(is_started=False)
    running = with_redis(redis)
    browser = running.browser()
    assert browser.get("/ping").status_code == 200
    assert_unavailable(browser.get("/ready"))
    assert browser.get("/echo").status_code == 302, "the answer without a ticket needs Redis"
    redis.start()
    until_200(browser)
    sign_in(running)


@pytest.fixture
def down(with_redis, make_redis, remember):
    """A browser that was signed in, and its Redis, which is stopped."""
    redis = make_redis(keep=True)
    running = with_redis(redis, redis_command_timeout="1s")
    browser = sign_in(running)
    remember(running, browser)
    redis.kill()
    return browser, redis


@both_ways
@pytest.mark.parametrize("path", ["/echo", "/oauth2/auth", "/oauth2/userinfo"])
def test_outage_of_redis_is_503_and_keeps_the_session(path, down, assert_outage):
    browser, redis = down
    assert_outage(browser, path)
    keeps_its_session_after_503(path, browser, redis)


@pytest.mark.parametrize("path", ["/oauth2/sign_out", "/oauth2/sign_out?rd=/", "/oauth2/sign_in", "/ready"])
def test_outage_is_503_at_endpoints_that_always_ask_redis(path, down):
    browser, redis = down
    keeps_its_session_after_503(path, browser, redis)


def keeps_its_session_after_503(path, browser, redis) -> None:
    for _ in range(3):
        assert_unavailable(browser.get(path))
    assert browser.get("/ping").status_code == 200
    redis.start()
    until_200(browser)
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def test_outage_answers_browsers_with_a_page_and_programs_with_json(down, assert_outage):
    browser, _ = down
    assert_outage(browser)
    page = browser.get("/echo", headers={"accept": "text/html"})
    assert_unavailable(page)
    assert "the session store does not answer" in page.text.lower()
    program = browser.get("/echo", headers={"accept": "application/json"})
    assert_unavailable(program)
    assert program.headers["content-type"].startswith("application/json")


def test_callback_in_an_outage_can_be_repeated(with_redis, make_redis, provider):
    redis = make_redis()
    browser = with_redis(redis).browser()
    callback = browser.callback_url("alice", "/echo")
    redis.kill()
    provider.control("forget")
    assert_unavailable(browser.get(callback))
    assert provider.seen("token") == [], "the code was used up although the session cannot be stored"
    redis.start()
    until_200(browser)
    answer = browser.get(callback)
    assert (answer.status_code, answer.headers["location"]) == (302, "/echo")
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("seconds, status", [(4, 302), (14, 503)], ids=["4 s", "14 s"])
def test_sign_in_with_a_used_code_waits_for_redis(seconds, status, with_redis, make_redis, provider):
    """Redis goes away after the filter's PING, and before the session is written."""
    redis = make_redis()
    browser = with_redis(redis).browser()
    callback = browser.callback_url("alice", "/echo")
    provider.control("faults", token={"delay": 1000})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(browser.get, callback)
        until(lambda: provider.seen("token"), "the code is asked for")
        redis.pause()
        time.sleep(seconds)
        redis.resume()
        assert answer.result().status_code == status
    provider.control("faults")
    until_200(browser)
    if status == 503:
        # The page leads to a new sign-in, which the provider answers without a question.
        assert "/oauth2/start?rd=%2Fecho" in answer.result().text
        assert arrived(browser.follow(browser.get("/oauth2/start?rd=/echo")))["x-forwarded-user"] == "alice"
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


# ---- while requests run ----


@both_ways
def test_short_restart_of_redis_fails_no_request(with_redis, make_redis):
    """So often that it hits each state of a connection; a Redis that just started answers LOADING for a moment."""
    redis = make_redis(keep=True)
    running = with_redis(redis, concurrency=2, redis_command_timeout="5s")
    cookie = sign_in(running).cookie
    with Load([running], [cookie]) as load:
        for _ in range(20):
            load.wait_for_answers(6)
            redis.restart()
        load.wait_for_answers(30)
    assert set(load.statuses()) == {200}, running.envoy.log()[-5000:]


def test_long_restart_of_redis_is_503_and_then_200(with_redis, make_redis):
    redis = make_redis(keep=True)
    running = with_redis(redis, concurrency=2, redis_command_timeout="500ms")
    cookies = [sign_in(running).cookie for _ in range(3)]
    with Load([running], cookies, threads=6) as load:
        load.wait_for_answers(50)
        redis.kill()
        time.sleep(3)
        redis.start()
        back = time.monotonic()
        time.sleep(5)
    assert set(load.statuses()) == {200, 503}
    # The last attempt may have been just before; the next one is a second later at most.
    assert set(load.statuses(since=back + 3)) == {200}


def test_orderly_restart_of_redis_fails_no_request(with_redis, make_redis):
    """With SIGTERM it closes its connections in order, and a command may be under way."""
    redis = make_redis(keep=True)
    running = with_redis(redis, concurrency=2, redis_command_timeout="5s")
    cookie = sign_in(running).cookie
    with Load([running], [cookie]) as load:
        load.wait_for_answers(30)
        redis.stop()
        redis.start()
        load.wait_for_answers(30)
    assert set(load.statuses()) == {200}


# ---- Redis hangs ----


@both_ways
def test_hanging_redis_is_503(with_redis, make_redis, remember, assert_outage):
    redis = make_redis()
    running = with_redis(redis)
    browser = sign_in(running)
    remember(running, browser)
    redis.pause()
    assert_outage(browser)
    # It might be back in a moment, so requests that come now wait as long. Once it was away for that long, a
    # request waits for an attempt to connect, and for no more.
    assert_unavailable(browser.get("/echo"))
    for _ in range(5):
        assert_unavailable(browser.get("/echo"))
    redis.resume()
    until_200(browser, "/echo", seconds=3)


def test_all_requests_waiting_for_a_hanging_redis_are_answered(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis, concurrency=2)
    cookie = sign_in(running).cookie
    with Load([running], [cookie], threads=20) as load:
        load.wait_for_answers(40)
        redis.pause()
        time.sleep(4)
        redis.resume()
        back = time.monotonic()
        time.sleep(5)
    assert set(load.statuses()) == {200, 503}
    assert set(load.statuses(since=back + 2)) == {200}


@both_ways
def test_redis_that_hangs_briefly_fails_no_request(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis, concurrency=2)
    cookie = sign_in(running).cookie
    with Load([running], [cookie]) as load:
        for _ in range(3):
            load.wait_for_answers(20)
            redis.pause()
            time.sleep(1)
            redis.resume()
        load.wait_for_answers(20)
    assert set(load.statuses()) == {200}


# ---- Redis refuses commands ----


def assert_no_new_session(running) -> None:
    newcomer = running.browser()
    answer = newcomer.get(newcomer.callback_url("alice", "/echo"))
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert NAME not in newcomer.cookies
    assert newcomer.get("/echo").status_code == 302


def test_full_redis_refuses_sign_ins_and_keeps_sessions(with_redis, make_redis, provider):
    redis = make_redis()
    running = with_redis(redis, cookie_refresh=DUE)
    browser = sign_in(running)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(RedisError, match="OOM"):
        redis.command("SET", "a", "b")
    assert_no_new_session(running)
    # This one is due by now, and cannot be refreshed: no proxy can take the lock.
    time.sleep(DUE_SECONDS)
    assert browser.get("/echo").status_code == 200
    assert provider.seen("token", "refresh_token") == []
    redis.command("CONFIG", "SET", "maxmemory", "0")
    assert browser.get("/echo").status_code == 200
    assert len(provider.seen("token", "refresh_token")) == 1
    sign_in(running)


def test_replica_refuses_sign_ins_and_keeps_sessions(with_redis, make_redis, provider):
    """As after a failover if the filter's address still leads to the old master."""
    redis = make_redis()
    running = with_redis(redis, cookie_refresh=DUE)
    browser = sign_in(running)
    redis.command("REPLICAOF", "127.0.0.1", free_port())
    with pytest.raises(RedisError, match="READONLY"):
        redis.command("SET", "a", "b")
    assert_no_new_session(running)
    assert browser.get("/echo").status_code == 200
    assert_unavailable(browser.get("/oauth2/sign_out"))
    assert provider.seen("token", "refresh_token") == []
    redis.command("REPLICAOF", "NO", "ONE")

    def is_refreshed() -> bool:
        assert browser.get("/echo").status_code == 200
        return bool(provider.seen("token", "refresh_token"))

    # A new stream to Redis is a disturbance, and after one the filter refreshes nothing for a moment.
    until(is_refreshed, "the session is refreshed", seconds=30)
    assert len(provider.seen("token", "refresh_token")) == 1
    sign_in(running)


def test_name_that_moves_to_another_master_is_followed(service, make_redis):
    """As at a managed Redis: the old master becomes a replica, and connections to it stay."""
    old, new = make_redis(), make_redis()
    relay = Relay((HOST, old.port))
    try:
        running = service(
            session_store_type="redis",
            redis_connection_url=f"redis://{HOST}:{relay.port}",
            is_shared=False,
        )
        browser = sign_in(running)
        new.command("REPLICAOF", HOST, old.port)
        until(lambda: is_synchronized(new) and new.keys() == old.keys(), "the replica has the session")
        relay.target = (HOST, new.port)
        new.command("REPLICAOF", "NO", "ONE")
        old.command("REPLICAOF", HOST, new.port)
        assert browser.get("/echo").status_code == 200
        sign_in(running)
        assert browser.get("/oauth2/sign_out").status_code == 200
        assert browser.get("/echo").status_code == 302
        assert new.clients() and not old.clients()
    finally:
        relay.close()


@both_ways
def test_replica_without_a_master_is_an_outage(with_redis, make_redis, remember, assert_outage):
    redis = make_redis(replica_serve_stale_data="no")
    running = with_redis(redis)
    browser = sign_in(running)
    remember(running, browser)
    redis.command("REPLICAOF", "127.0.0.1", free_port())
    assert_outage(browser)
    # Redis 6.2 answers a PING nevertheless.
    for path in ("/echo", "/oauth2/auth", *([] if is_6() else ["/ready"])):
        assert_unavailable(browser.get(path))
    redis.command("REPLICAOF", "NO", "ONE")
    until_200(browser, "/echo")


def test_redis_that_loads_its_data_signs_no_user_out(with_redis, make_redis):
    """It has the key, but answers LOADING until it has read all keys."""
    redis = make_redis(save="3600 1")
    running = with_redis(redis)
    browser = sign_in(running)
    with redis.connect() as connection:
        connection.command("CONFIG", "SET", "rdbcompression", "no")
        # While it loads, it serves clients after each 2 MiB.
        for number in range(20):
            connection.command("SET", f"a large value {number}", b"x" * (2 << 20))
        connection.command("SAVE")
        connection.command("CONFIG", "SET", "key-load-delay", "150000")  # microseconds for each key
        connection.command("CONFIG", "REWRITE")
    redis.kill()
    redis.start(wait=False)
    answers = set()
    loading = 0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = browser.get("/echo").status_code
        answers.add(status)
        loading += refusal(redis) == "LOADING"
        if status == 200:
            break
        time.sleep(0.05)
    assert loading, "Redis never answered LOADING, so this tests nothing"
    assert answers <= {200, 503}
    assert status == 200


def refusal(redis) -> str:
    """The code of the error with which it refuses a GET; empty if it answers, or is away."""
    try:
        redis.command("GET", "a")
    except RedisError as error:
        return str(error).split()[0]
    except OSError:
        pass
    return ""


@both_ways
def test_script_that_blocks_redis_signs_no_user_out(with_redis, make_redis, remember, assert_outage):
    """BUSY: a script of another client runs for longer than lua-time-limit."""
    redis = make_redis(lua_time_limit=100)
    running = with_redis(redis)
    browser = sign_in(running)
    remember(running, browser)

    def block() -> None:
        with pytest.raises(RedisError):
            redis.command("EVAL", "while true do end", 0)

    blocked = threading.Thread(target=block)
    blocked.start()
    until(lambda: refusal(redis) == "BUSY", "the script blocks it")
    assert_outage(browser)
    for path in ("/echo", "/ready"):
        assert_unavailable(browser.get(path))
    redis.command("SCRIPT", "KILL")
    blocked.join()
    until_200(browser, "/echo", seconds=3)


# ---- Redis is busy with a script ----


@both_ways
def test_slow_script_delays_requests_without_failing_them(with_redis, make_redis):
    redis = make_redis()
    redis.command("CONFIG", "SET", "lua-time-limit", 50)
    running = with_redis(redis, redis_command_timeout="10s")
    browser = sign_in(running)

    def is_busy() -> bool:
        try:
            redis.command("GET", "x")
        except RedisError as error:
            return str(error).startswith("BUSY")
        return False

    with ThreadPoolExecutor() as threads:
        script = threads.submit(lambda: redis.command("EVAL", "while true do end", 0))
        until(is_busy, "Redis is busy with the script")
        with Load([running], [browser.cookie]) as load:
            until(lambda: running.envoy.says("Redis is not ready (BUSY)"), "the filter has heard of it")
            redis.command("SCRIPT", "KILL")
            load.wait_for_answers(20)
        assert set(load.statuses()) == {200}
        with pytest.raises(RedisError):
            script.result()
