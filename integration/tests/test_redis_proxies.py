"""A proxy before Redis does not know all commands, or the user is not allowed all of them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from harness.fake_redis import FakeRedis, Keeper
from harness.load import ask
from harness.ports import HOST
from harness.redis_proxy import TWEMPROXY, EnvoyRedisProxy, Twemproxy
from harness.tracking import DOES_NOT_TELL, asks_for_each_request, is_signed_out, sign_in
from harness.waiting import until
from ticket import redis_key


@pytest.fixture
def without_client():
    """A server that hangs up on CLIENT, as twemproxy does."""
    keeper = Keeper()
    server = FakeRedis(lambda words: None if words[0].upper() == b"CLIENT" else keeper(words))
    yield server
    server.close()


def test_server_that_refuses_a_client_name_is_used_without_one(with_redis, without_client):
    running = with_redis(without_client, is_shared=False)
    browser = sign_in(running)
    assert browser.get("/echo").status_code == 200
    counted = Counter(without_client.commands)
    assert (counted["CLIENT"], counted["PING"] > 0) == (1, True)
    assert [line for line in running.envoy.log().splitlines() if "no connection" in line] == []


@pytest.fixture(params=["twemproxy", "Envoy"])
def proxy(request, make_redis, tmp_path):
    """A real proxy, and the Redis behind it: its port leads to `proxy.redis`."""
    if request.param == "twemproxy" and not TWEMPROXY:
        pytest.skip("not run: twemproxy is missing; on Debian it is in the package nutcracker, or set TWEMPROXY")
    redis = make_redis()
    proxy = Twemproxy(redis.port, tmp_path) if request.param == "twemproxy" else EnvoyRedisProxy(redis.port)
    yield SimpleNamespace(redis=redis, url=f"redis://{HOST}:{proxy.port}")
    proxy.close()


def test_sessions_are_kept_behind_a_proxy(service, proxy):
    running = service(
        session_store_type="redis",
        redis_connection_url=proxy.url,
        cookie_refresh="1s",
        is_shared=False,
    )
    browser = running.browser()
    until(lambda: browser.get("/ready").status_code == 200, "the filter is ready")
    browser = sign_in(running)
    until(
        lambda: browser.get("/echo").status_code == 200 and running.envoy.counters()["refreshes"] > 0,
        "the session is refreshed",
    )
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert browser.get("/echo").status_code == 302


@pytest.mark.parametrize("tracking, level", [("auto", "[info]"), ("on", "[warning]")])
def test_proxy_that_tells_of_no_changes_is_asked_for_each_request(tracking, level, service, proxy):
    running, other = (
        service(session_store_type="redis", redis_connection_url=proxy.url, redis_tracking=tracking, is_shared=False)
        for _ in range(2)
    )
    until(lambda: running.browser().get("/ready").status_code == 200, "the filter is ready")
    browser, deleted, signed_out = (sign_in(running) for _ in range(3))
    asks_for_each_request(running, browser)
    # Once for the only connection of the only worker.
    [line] = running.envoy.says(DOES_NOT_TELL)
    assert level in line
    assert running.envoy.counters()["redis.untracked"] == 1
    proxy.redis.command("DEL", redis_key(deleted.cookie))
    assert is_signed_out(deleted)
    until(lambda: other.browser().get("/ready").status_code == 200, "the other filter is ready")
    assert ask(f"{other.url}/oauth2/sign_out", signed_out.cookie) == 200
    assert is_signed_out(signed_out)
    assert not is_signed_out(browser)


@pytest.mark.parametrize("command, verb", [("setex", "SETEX"), ("set", "SET"), ("eval", "EVAL")])
def test_forbidden_command_makes_unready_and_is_logged(command, verb, with_redis, make_redis):
    redis = make_redis()
    redis.command("ACL", "SETUSER", "default", f"-{command}")
    running = with_redis(redis, is_shared=False)
    assert running.browser().get("/ready").status_code == 503
    assert running.envoy.says(f"it answered {verb} with NOPERM no permissions to run the command")
    redis.command("ACL", "SETUSER", "default", f"+{command}")
    assert running.browser().get("/ready").status_code == 200


def test_renamed_command_makes_unready_and_is_logged(with_redis, make_redis):
    redis = make_redis(rename_command='SETEX ""')
    running = with_redis(redis, is_shared=False)
    assert running.browser().get("/ready").status_code == 503
    assert running.envoy.says("it answered SETEX with ERR unknown command")
