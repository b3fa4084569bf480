"""Back-channel logout: the provider posts a logout token, whose body a stock Envoy hands to the filter."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import unescape
from threading import Event
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from harness.browser import Browser
from harness.fake_provider import Answer, FakeProvider, Key
from harness.render import named, render
from harness.service import CLIENT_ID, CLIENT_SECRET, arrived
from harness.topologies import ClusterTopology, SentinelTopology
from harness.tracking import TRACKED, both_ways
from harness.waiting import until
from harness.wire import ask

EVENT = "http://schemas.openid.net/event/backchannel-logout"
PATH = "/oauth2/backchannel_logout"
FORM = "application/x-www-form-urlencoded"
LONGEST = 64 << 10


def options(redis, redis_tracking: str | None = TRACKED) -> dict:
    return {
        "session_store_type": "redis",
        "redis_connection_url": redis.url,
        "redis_tracking": redis_tracking,
        "redis_session_index": True,
        "backchannel_logout": True,
        "concurrency": 2,  # of Envoy
    }


@pytest.fixture
def fake():
    provider = FakeProvider(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    yield provider
    provider.stop()


def logout_token(fake: FakeProvider, *, key: Key | None = None, header: dict | None = None, **claims) -> str:
    now = int(time.time())
    own = {
        "iss": fake.issuer,
        "aud": CLIENT_ID,
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid.uuid4()),
        "sub": "alice",
        "events": {EVENT: {}},
    }
    claims = {name: value for name, value in {**own, **claims}.items() if value is not None}
    return (key or fake.keys[0]).token(claims, {"typ": "logout+jwt", **(header or {})})


def post(url: str, token: str, **more) -> httpx.Response:
    return httpx.post(f"{url}{PATH}", data={"logout_token": token}, trust_env=False, timeout=30, **more)


def is_signed_in(browser: Browser, url: str = "") -> bool:
    answer = browser.get(f"{url}/echo", headers={"cookie": browser.cookie} if url else {})
    assert answer.status_code in (200, 302)
    return answer.status_code == 200


def is_answered(browser: Browser, url: str) -> bool:
    return browser.get(f"{url}/echo", headers={"cookie": browser.cookie}).status_code != 503


def sign_out_at_provider(browser: Browser, issuer: str) -> None:
    """Confirms on the provider's own page, as a user does."""
    page = browser.elsewhere.get(f"{issuer}/session/end")
    assert page.status_code == 200, page.text
    form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    assert form, page.text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    answer = browser.elsewhere.post(unescape(form[1]), data={**fields, "logout": "yes"})
    assert answer.status_code in (302, 303), answer.text


@both_ways
@pytest.mark.parametrize("session_required", [True, False], ids=["by_session", "by_user"])
def test_sign_out_at_provider_ends_sessions_at_both_envoys(
    make_provider, make_service, redis, redis_tracking, assert_ended, session_required, record_property
):
    provider = make_provider()
    first, second = (make_service(provider, **options(redis, redis_tracking)) for _ in range(2))
    provider.control("backchannel_logout", uri=f"{first.url}{PATH}", session_required=session_required)
    here, elsewhere = first.browser(), second.browser()
    assert arrived(here.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert arrived(elsewhere.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert is_signed_in(here, second.url)
    began = time.monotonic()
    sign_out_at_provider(here, provider.issuer)
    assert_ended(here, second.url)
    record_property(
        "from the sign-out at the provider to the end at the other Envoy", f"{time.monotonic() - began:.3f} s"
    )
    assert_ended(here)
    # The other browser has its own session at the provider.
    if session_required:
        assert is_signed_in(elsewhere)
    else:
        assert_ended(elsewhere)
    assert [seen["result"] for seen in provider.seen("backchannel_logout")] == ["success"]


def test_token_that_is_not_valid_ends_nothing(make_service, redis, fake, assert_ended):
    running = make_service(fake, **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    now = int(time.time())
    used = logout_token(fake, sub="bob")
    assert post(running.url, used).status_code == 200
    for why, token in {
        "used": used,
        "expired": logout_token(fake, iat=now - 200, exp=now - 80),
        "too old": logout_token(fake, iat=now - 400, exp=None),
        "foreign": logout_token(fake, aud="another"),
        "another issuer": logout_token(fake, iss="https://evil.example"),
        "unsigned": logout_token(fake, key=Key("none")),
        "another key": logout_token(fake, key=Key("RS256", kid=fake.keys[0].kid)),
        "another type": logout_token(fake, header={"typ": "at+jwt"}),
        "ID token": logout_token(fake, nonce="n"),
        "no event": logout_token(fake, events=None),
        "no identifier": logout_token(fake, jti=None),
        "no user": logout_token(fake, sub=None),
        "no token": "",
    }.items():
        answer = post(running.url, token)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), why
        assert "no-store" in answer.headers["cache-control"], why
        assert not token or token not in answer.text
    assert is_signed_in(browser)
    answer = post(running.url, logout_token(fake))
    assert (answer.status_code, answer.text) == (200, "")
    assert "no-store" in answer.headers["cache-control"]
    assert_ended(browser)
    counters = running.envoy.counters()
    assert (counters["backchannel_logouts"], counters["backchannel_logouts_refused"]) == (2, 13)
    assert running.envoy.says("logout token: it was used before (jti)")


def test_token_is_used_once_at_both_envoys(make_service, redis, fake):
    first, second = (make_service(fake, **options(redis)) for _ in range(2))
    token = logout_token(fake)
    assert post(first.url, token).status_code == 200
    browser = first.browser()
    browser.sign_in("alice", "/echo")
    assert (post(first.url, token).status_code, post(second.url, token).status_code) == (400, 400)
    assert is_signed_in(browser)


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_body_arrives_whatever_its_form(make_service, redis, fake, http2):
    running = make_service(fake, **options(redis))
    form = urlencode({"logout_token": logout_token(fake)}).encode()
    client = httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=30)

    def send(content, **headers) -> int:
        answer = client.post(f"{running.url}{PATH}", content=content, headers={"content-type": FORM, **headers})
        assert "x-upstream" not in answer.headers
        return answer.status_code

    def slowly(body: bytes):
        for start in range(0, len(body), 200):
            yield body[start : start + 200]
            time.sleep(0.05)

    assert send(form) == 200
    assert send(slowly(urlencode({"logout_token": logout_token(fake)}).encode())) == 200
    padding = LONGEST - len(form) - len("&a=")
    fits = urlencode({"logout_token": logout_token(fake), "a": "x" * padding}).encode()
    assert len(fits) == LONGEST
    assert send(fits) == 200
    assert send(b"") == 400
    assert send(b"x" * (LONGEST + 1)) == 413
    assert send(slowly(b"x" * 100)) == 400
    assert send(iter([b"x" * LONGEST, b"x"])) == 413
    assert send(b"x", **{"content-type": "text/plain"}) == 400
    assert client.get(f"{running.url}{PATH}").status_code == 405


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_request_with_trailers_is_refused_and_reaches_no_upstream(make_service, redis, fake, assert_ended, http2):
    """In HTTP/2 the body does not say that it has ended, so the request goes on to the route that waits."""
    running = make_service(fake, **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    answer = ask(running.url, "POST", PATH, [("content-type", FORM)], trailers=[("x-late", "1")], http2=http2)
    assert (answer.status, "x-upstream" in dict(answer.headers)) == (400, False)
    assert is_signed_in(browser)
    assert post(running.url, logout_token(fake)).status_code == 200
    assert_ended(browser)


def logout_route(config: dict) -> dict:
    """The route in envoy.yaml that waits for the body."""
    manager = named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]
    assert route["match"] == {"path": PATH}
    return route["route"]


def with_short_limit(filter_json, **rendered):
    config = json.loads(render(filter_json, **rendered))
    limit = logout_route(config)["max_stream_duration"]
    assert limit == {"max_stream_duration": "30s"}
    limit["max_stream_duration"] = "2s"
    return json.dumps(config)


def test_body_that_does_not_end_is_given_up(make_service, redis, fake):
    running = make_service(fake, render=with_short_limit, **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: 1000\r\n\r\n"
        client.sendall(f"{head}logout_token=".encode())
        status = client.makefile("rb").readline()
    assert re.match(rb"HTTP/1.1 (408|504) ", status), status
    assert is_signed_in(browser)
    assert post(running.url, logout_token(fake)).status_code == 200


def test_client_that_hangs_up_in_the_body_does_no_harm(make_service, redis, fake):
    running = make_service(fake, **options(redis))
    address = urlsplit(running.url)
    for _ in range(20):
        with socket.create_connection((address.hostname, address.port)) as client:
            head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\ncontent-length: 1000\r\n\r\n"
            client.sendall(f"{head}logout_token=".encode())
    assert post(running.url, logout_token(fake)).status_code == 200


def test_header_of_the_bridge_leads_nowhere(make_service, redis, fake):
    running = make_service(fake, **options(redis))
    for value in ("http", "https"):
        answer = post(
            running.url, "x", headers={"x-oauth2-session-bridge": value, "host": urlsplit(fake.issuer).netloc}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def with_stop_iteration(filter_json, **rendered):
    config = json.loads(render(filter_json, **rendered))
    manager = named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
    plugin = named(manager["http_filters"], "oauth2_session")["typed_config"]["config"]
    plugin["allow_on_headers_stop_iteration"] = True
    return json.dumps(config)


def without_route(filter_json, **rendered):
    config = json.loads(render(filter_json, **rendered))
    manager = named(config["static_resources"]["listeners"], "main")["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert routes[0]["match"] == {"path": PATH}
    del routes[0]
    return json.dumps(config)


def test_without_the_route_no_logout_reaches_the_upstream(make_service, redis, fake):
    running = make_service(fake, render=without_route, **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    answer = browser.request("POST", PATH, data={"logout_token": logout_token(fake)})
    assert (answer.status_code, "x-upstream" in answer.headers) == (501, False)
    assert running.envoy.says("back-channel logout: Envoy has no route for /oauth2/backchannel_logout")
    assert is_signed_in(browser)


def test_without_the_option_the_route_leads_to_no_upstream(make_service, redis, fake):
    running = make_service(fake, **{**options(redis), "backchannel_logout": False})
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    answer = browser.request("POST", PATH, data={"logout_token": logout_token(fake)})
    assert (answer.status_code, "x-upstream" in answer.headers) == (400, False)
    assert is_signed_in(browser)


def test_outage_is_no_success_and_the_same_token_works_after_it(make_service, make_redis, fake):
    redis = make_redis()
    running = make_service(fake, redis_command_timeout="300ms", **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    token = logout_token(fake)
    redis.pause()
    answer = post(running.url, token)
    assert answer.status_code == 400
    redis.resume()
    until(lambda: post(running.url, token).status_code == 200, "the token works again")
    # The other worker may notice later that Redis is back.
    until(lambda: browser.get("/echo").status_code == 302, "the session is over")
    assert running.envoy.counters()["backchannel_logouts_failed"] >= 1


@both_ways
def test_refresh_under_way_does_not_bring_the_session_back(make_service, redis, redis_tracking, fake, assert_ended):
    first, second = (make_service(fake, cookie_refresh="1s", **options(redis, redis_tracking)) for _ in range(2))
    browser = first.browser()
    browser.sign_in("alice", "/echo")
    time.sleep(1.1)
    gate = Event()
    fake.answers["token:refresh_token"] = [Answer(gate=gate)]
    with ThreadPoolExecutor() as pool:
        request = pool.submit(browser.get, "/echo")
        until(
            lambda: [seen for seen in fake.requests if seen["form"].get("grant_type") == "refresh_token"], "a refresh"
        )
        logout = pool.submit(post, second.url, logout_token(fake))
        time.sleep(0.5)
        gate.set()
        assert logout.result().status_code == 200
        assert request.result().status_code in (200, 302)
    assert_ended(browser)
    assert_ended(browser, second.url)


@pytest.mark.parametrize("kind", [SentinelTopology, ClusterTopology], ids=["sentinel", "cluster"])
def test_logout_in_the_middle_of_a_failover_holds(make_service, fake, kind):
    topology = kind()
    try:
        of_redis = {**topology.options, "redis_session_index": True, "backchannel_logout": True, "concurrency": 2}
        first, second = (make_service(fake, **of_redis) for _ in range(2))
        browsers = [first.browser() for _ in range(6)]
        for browser in browsers:
            browser.sign_in("alice", "/echo")
        if isinstance(topology, ClusterTopology):
            for replica in [topology.replica_of(node) for node in topology.nodes[:3]]:
                replica.command("CLUSTER", "FAILOVER", "TAKEOVER")
        else:
            topology.fail_over()
        until(lambda: post(first.url, logout_token(fake)).status_code == 200, "a logout", seconds=60)
        time.sleep(8)  # until the workers that know of it have repeated what the new master may have lost
        # A worker that hears of the failover only now answers 503 for a while.
        for url in (first.url, second.url):
            for browser in browsers:
                until(partial(is_answered, browser, url), "Redis is trusted", seconds=30)
                assert not is_signed_in(browser, url)
    finally:
        topology.close()


def test_pause_that_holds_only_the_head_changes_nothing(make_service, redis, fake, assert_ended):
    running = make_service(fake, render=with_stop_iteration, **options(redis))
    browser = running.browser()
    browser.sign_in("alice", "/echo")
    assert post(running.url, logout_token(fake, aud="another")).status_code == 400
    assert post(running.url, logout_token(fake)).status_code == 200
    assert_ended(browser)
