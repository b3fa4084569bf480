"""A proxy before Redis does not know all commands, or the user is not allowed all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter

import pytest

from harness.fake_redis import FakeRedis, Keeper
from harness.ports import HOST, free_port
from harness.service import arrived
from harness.waiting import until

# From Debian's package nutcracker.
TWEMPROXY = os.environ.get("TWEMPROXY") or shutil.which("nutcracker")


def sign_in(running):
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    return browser


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


@pytest.mark.skipif(not TWEMPROXY, reason="needs twemproxy: Debian's package nutcracker, or TWEMPROXY")
def test_sessions_are_kept_behind_twemproxy(service, redis, tmp_path):
    port = free_port()
    (tmp_path / "twemproxy.yml").write_text(
        f"pool:\n  listen: {HOST}:{port}\n  redis: true\n  servers:\n   - {HOST}:{redis.port}:1\n"
    )
    proxy = subprocess.Popen(
        [
            str(TWEMPROXY),
            "-c",
            str(tmp_path / "twemproxy.yml"),
            "-s",
            str(free_port()),
            "-o",
            str(tmp_path / "twemproxy.log"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        running = service(
            session_store_type="redis",
            redis_connection_url=f"redis://{HOST}:{port}",
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
    finally:
        proxy.terminate()
        proxy.wait()


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
