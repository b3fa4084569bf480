"""Tracked sessions behind TLS, and in a network that loses or delays the bytes between the filter and Redis."""

from __future__ import annotations

import time

import pytest

from harness.authority import Authority
from harness.load import Load
from harness.ports import HOST
from harness.relay import Fault, FaultyRelay, ReconnectingRelay
from harness.tracking import TELLS, in_memory, is_signed_out, sign_in
from harness.waiting import until

TIMEOUT = 1
# The default of `redis_tracking_silence`.
SILENCE = 1


def test_deletion_is_noticed_over_tls(service, make_redis, tmp_path):
    authority = Authority.make(tmp_path / "authority")
    redis = make_redis(certificate=authority.issue(HOST))
    running = service(
        session_store_type="redis",
        redis_connection_url=f"rediss://{HOST}:{redis.tls_port}",
        ca=authority.file,
        is_shared=False,
    )
    browser = sign_in(running)
    in_memory(running, browser)
    assert running.envoy.says(TELLS)
    redis.command("DEL", *redis.keys())
    until(lambda: is_signed_out(browser), "the deletion is noticed")
    assert is_signed_out(browser)


def test_proxy_that_connects_to_redis_anew_serves_no_ended_session(service, make_redis):
    redis = make_redis()
    relay = ReconnectingRelay((HOST, redis.port))
    try:
        running = service(
            session_store_type="redis", redis_connection_url=f"redis://{HOST}:{relay.port}", is_shared=False
        )
        browser = sign_in(running)
        in_memory(running, browser)
        [key] = redis.keys()
        redis.command("CLIENT", "KILL", "TYPE", "normal")
        until(lambda: relay.reconnects > 0, "the proxy has another connection to Redis")
        redis.command("DEL", key)
        # The next probe, a minute after the one before, is later than that.
        until(lambda: browser.get("/echo").status_code != 200, "the session is not served any more", seconds=30)
        until(lambda: is_signed_out(browser), "the session has ended")
        assert running.envoy.says("connected to it anew")
    finally:
        relay.close()


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_faulty_network_serves_no_ended_session_and_heals(fault, service, make_redis, record_property):
    redis = make_redis()
    relay = FaultyRelay((HOST, redis.port))
    try:
        running = service(
            session_store_type="redis",
            redis_connection_url=f"redis://{HOST}:{relay.port}",
            redis_command_timeout=f"{TIMEOUT}s",
            concurrency=2,
            is_shared=False,
        )
        gone = sign_in(running)
        [key] = redis.keys()
        stays = sign_in(running, "carol")
        for browser in (gone, stays):
            in_memory(running, browser)
        users = {gone.cookie: "alice", stays.cookie: "carol"}
        with (
            Load([running], [gone.cookie], users=users, threads=2) as ended,
            Load([running], [stays.cookie], users=users, threads=2) as present,
        ):
            for load in (ended, present):
                load.wait_for_answers(30)
            relay.begin(fault)
            redis.command("DEL", key)
            confirmed = time.monotonic()
            # From then on, no request may be served with that session.
            limit = confirmed + SILENCE + TIMEOUT
            until(
                lambda: ended.statuses(limit)[503] > 10 and present.statuses(limit)[503] > 10,
                "the requests are answered during the fault",
            )
            relay.end()
            healed = time.monotonic()
            until(lambda: present.statuses(healed)[200] > 10, "the fault is over")
            until(lambda: ended.statuses(healed)[302] > 10, "the deletion is noticed")
        record_property("answers for the ended session", dict(ended.statuses(confirmed)))
        assert set(ended.statuses(limit)) == {302, 503}, "the ended session was served"
        assert set(present.statuses()) <= {200, 503}, "a user was signed out"
        # The worker of this browser may be the last to connect anew.
        until(lambda: stays.get("/echo").status_code == 200, "the user is served again")
        in_memory(running, stays)
    finally:
        relay.close()
