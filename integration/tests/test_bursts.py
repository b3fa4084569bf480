"""Thousands of requests that wait for the same event, and go on at the same moment.

Envoy nests the answers and resumes of one callback, so some hundred of them overflow the stack of the worker's VM
(src/runtime/tasks.rs). Each request has to get its own answer, and the VM has to live: the harness checks that at the
end of each test.
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from typing import Any

import pytest

from harness.burst import MANY, Burst, many_files, request
from harness.envoy import Envoy
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config
from harness.text import find
from harness.tracking import ASKED, both_ways
from harness.waiting import until

DELAY_MS = 3000  # longer than it takes to send so many requests
SILENCE = 1.2  # seconds, longer than `redis_tracking_silence`: from then on, requests wait for Redis


@pytest.fixture(autouse=True)
def files():
    with many_files():
        yield


@pytest.fixture
def measured(record_property):
    """Reads the answers, and reports the time until the last one."""

    def read(burst: Burst):
        answers = burst.answers()
        record_property(f"last of {len(answers)} answers", f"{burst.seconds:.2f} s")
        return answers

    return read


@pytest.fixture
def redis_tracking():
    """Each request asks Redis: a burst has to wait for it as a whole."""
    return ASKED


@pytest.fixture
def running(with_redis, make_redis):
    """An Envoy of one worker, and a Redis of its own."""
    redis = make_redis()
    service = with_redis(redis, set_xauthrequest=True, redis_command_timeout="60s", is_shared=False)
    return service, redis


def sent(service: Service, requests: list[bytes]) -> Burst:
    """Sends the requests; returns when Envoy has all of them."""
    name = "http.main.downstream_rq_total"
    before = service.envoy.statistics(name)[name]
    burst = Burst(service.url, requests)
    until(lambda: service.envoy.statistics(name)[name] >= before + len(requests), "Envoy has all requests")
    return burst


def waiting_for(redis, service: Service, requests: list[bytes]) -> Burst:
    """Sends the requests while Redis does not answer; returns when Redis does."""
    redis.pause()
    try:
        return sent(service, requests)
    finally:
        redis.resume()


def cookie(browser) -> str:
    return f"cookie: {browser.cookie}"


def test_burst_of_readiness_probes_is_answered(running, measured):
    service, redis = running
    service.browser().get("/ready")
    answers = measured(waiting_for(redis, service, [request("/ready")] * MANY))
    assert Counter(answer.status for answer in answers) == {200: MANY}


@both_ways
def test_burst_with_sessions_of_two_users_mixes_none_up(running, measured):
    service, redis = running
    people = ["alice", "carol"]
    browsers = {person: service.browser() for person in people}
    for person, browser in browsers.items():
        arrived(browser.sign_in(person, "/echo"))
    senders = [people[number % 2] for number in range(MANY)]
    answers = measured(
        waiting_for(redis, service, [request("/oauth2/auth", cookie(browsers[person])) for person in senders])
    )
    assert [(answer.status, answer.headers.get("x-auth-request-user")) for answer in answers] == [
        (202, person) for person in senders
    ]


def test_burst_with_a_deleted_session_goes_to_sign_in(running, measured):
    service, redis = running
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    redis.command("FLUSHALL")
    answers = measured(waiting_for(redis, service, [request(f"/n{number}", cookie(browser)) for number in range(MANY)]))
    assert [(answer.status, answer.headers.get("location")) for answer in answers] == [
        (302, f"/oauth2/sign_in?rd=%2Fn{number}") for number in range(MANY)
    ]


@both_ways
def test_burst_in_an_outage_is_503(with_redis, make_redis, measured):
    redis = make_redis()
    service = with_redis(redis, redis_command_timeout="10s", is_shared=False)
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    redis.pause()
    time.sleep(SILENCE)
    burst = sent(service, [request("/echo", cookie(browser))] * MANY)
    redis.kill()
    assert Counter(answer.status for answer in measured(burst)) == {503: MANY}


def test_burst_at_a_hanging_redis_is_503(with_redis, make_redis, measured):
    redis = make_redis()
    service = with_redis(redis, redis_command_timeout="3s", is_shared=False)
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    redis.pause()
    try:
        answers = measured(Burst(service.url, [request("/echo", cookie(browser))] * MANY))
    finally:
        redis.resume()
    assert Counter(answer.status for answer in answers) == {503: MANY}
    until(lambda: browser.get("/echo").status_code == 200, "the session is there again")


def test_burst_of_browsers_that_leave_is_survived(running):
    service, redis = running
    browser = service.browser()
    browser.sign_in("alice", "/echo")
    waiting_for(redis, service, [request("/echo", cookie(browser))] * MANY).leave()
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def with_config(change):
    """Renders envoy.yaml, changed by `change(resources, routes)`."""

    def made(filter_json, **options):
        config = json.loads(render(filter_json, **options))
        resources = config["static_resources"]
        manager = named(resources["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
        change(resources, manager["route_config"]["virtual_hosts"][0]["routes"])
        return json.dumps(config)

    return made


@pytest.fixture
def start(provider, upstream):
    """Starts an Envoy with another configuration: `start(change, **options)`."""
    envoys = []

    def started(change, **options: Any) -> Service:
        envoys.append(
            Envoy(
                filter_config(provider, **options),
                upstream=upstream.address,
                render=with_config(change),
                environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
            )
        )
        return Service(envoys[-1], provider)

    yield started
    for envoy in envoys:
        envoy.stop()


def test_burst_of_requests_to_a_direct_response_is_answered(start, redis, measured):
    """A route with a direct response: a resume leads to the response at once, nested as deep as a local reply."""

    def answer_at_once(_, routes):
        routes.insert(
            0,
            {
                "match": {"path": "/direct"},
                "direct_response": {"status": 200},
                "response_headers_to_add": [{"header": {"key": "x-number", "value": "%REQ(x-number)%"}}],
            },
        )

    service = start(
        answer_at_once, session_store_type="redis", redis_connection_url=redis.url, redis_command_timeout="60s"
    )
    browser = service.browser()
    arrived(browser.sign_in("alice", "/echo"))
    answers = measured(
        waiting_for(
            redis, service, [request("/direct", f"x-number: {number}", cookie(browser)) for number in range(MANY)]
        )
    )
    assert [(answer.status, answer.headers.get("x-number")) for answer in answers] == [
        (200, str(number)) for number in range(MANY)
    ]


def test_burst_of_callbacks_with_failing_calls_is_503(start, redis, measured):
    """Envoy's callback for a refused call is nested just as deep. The grants begin together, because each sign-in first
    checks whether Redis answers."""

    def take_no_call(resources, _):
        # The only request is the stream to Redis.
        one = {"thresholds": [{"max_requests": 1}]}
        named(resources["clusters"], "oauth2_session_bridge")["circuit_breakers"] = one

    issuer = "http://login.example"
    service = start(
        take_no_call,
        oidc_issuer_url=issuer,
        skip_oidc_discovery=True,
        login_url=f"{issuer}/auth",
        redeem_url=f"{issuer}/token",
        oidc_jwks_url=f"{issuer}/jwks",
        session_store_type="redis",
        redis_connection_url=redis.url,
        redis_command_timeout="60s",
    )
    assert service.browser().get("/ready").status_code == 200
    requests = []
    for answer in Burst(service.url, [request(f"/oauth2/start?rd=/n{number}") for number in range(1000)]).answers():
        csrf = answer.headers["set-cookie"].partition(";")[0]
        state = find(r"state=([^&]+)", answer.headers["location"])[1]
        requests.append(request(f"/oauth2/callback?code=c&state={state}", f"cookie: {csrf}"))
    answers = measured(waiting_for(redis, service, requests))
    assert Counter(answer.status for answer in answers) == {503: len(requests)}
    assert all("retry-after" in answer.headers for answer in answers)
    assert service.envoy.says(
        "bridge: could not send an HTTP call: Envoy refused it at the cluster oauth2_session_bridge: "
        "check its circuit_breakers"
    )


def test_burst_of_sign_ins_shares_one_discovery(service, make_provider, measured):
    provider = make_provider()
    running = service(provider=provider, is_shared=False)
    provider.control("faults", discovery={"delay": DELAY_MS, "times": 1})
    burst = Burst(running.url, [request(f"/oauth2/start?rd=/n{number}") for number in range(MANY)])
    targets = [find(r"state=[^&]+%3A%2Fn(\d+)", answer.headers.get("location", "")) for answer in measured(burst)]
    assert [target[1] for target in targets] == [str(number) for number in range(MANY)]


def test_burst_of_tokens_with_unknown_keys_goes_to_sign_in(service, make_provider, measured):
    provider = make_provider()
    running = service(provider=provider, skip_jwt_bearer_tokens=True, is_shared=False)
    provider.control("faults", jwks={"delay": DELAY_MS})  # the worker knows no keys yet, so each request waits for them

    def token(number: int) -> str:
        claims = {"iss": provider.issuer, "aud": "e2e", "sub": "mallory", "exp": 2**31}
        parts = [{"alg": "RS256", "kid": f"unknown-{number}"}, claims]
        return ".".join(
            [*(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts), "c2ln"]
        )

    burst = Burst(
        running.url, [request(f"/n{number}", f"authorization: Bearer {token(number)}") for number in range(MANY)]
    )
    assert [(answer.status, answer.headers.get("location")) for answer in measured(burst)] == [
        (302, f"/oauth2/sign_in?rd=%2Fn{number}") for number in range(MANY)
    ]
