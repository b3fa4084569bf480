"""Sessions that end when they should: after session_idle_timeout and session_max_lifetime, in both stores."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from harness.service import arrived
from harness.tracking import ASKED, both_ways
from harness.waiting import until

IDLE = "_oauth2_proxy_idle"
FROM_THIS_SITE = {"sec-fetch-site": "same-origin"}


@pytest.fixture(params=["cookie", "redis, tracked", "redis, asked"])
def limited(request, service, with_redis, redis):
    """Starts the filter with each store."""

    def start(**options):
        if request.param == "cookie":
            return service(**options)
        return with_redis(redis, **options, **({"redis_tracking": ASKED} if request.param == "redis, asked" else {}))

    return start


def uses(browser, seconds: float) -> None:
    """Uses the session twice a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert browser.get("/echo").status_code == 200
        time.sleep(0.5)


def ends(answer) -> dict[str, datetime]:
    return {key: datetime.fromisoformat(value) for key, value in answer.json().items() if key.endswith("At")}


def test_session_ends_if_no_request_uses_it(limited):
    browser = limited(session_idle_timeout="4s", idle_ignore_routes=["^/echo/poll$"]).browser()
    browser.sign_in("alice")
    uses(browser, 6)
    for _ in range(9):
        time.sleep(0.5)
        browser.get("/echo/poll")
        browser.get("/oauth2/userinfo")
    assert browser.get("/echo").status_code == 302


def test_sign_out_clears_the_cookie_with_the_last_use(service):
    browser = service(session_idle_timeout="20s").browser()
    browser.sign_in("alice")
    time.sleep(1.5)
    assert browser.get("/echo").status_code == 200
    assert IDLE in browser.cookies
    browser.get("/oauth2/sign_out")
    assert not [name for name in browser.cookies if name.startswith("_oauth2_proxy")]


def test_session_ends_after_its_lifetime_although_it_is_refreshed(limited, make_provider):
    provider = make_provider()
    browser = limited(provider=provider, session_max_lifetime="9s", cookie_refresh="1s").browser()
    browser.sign_in("alice")
    uses(browser, 3.5)
    assert provider.seen("token", "refresh_token")
    time.sleep(6)
    refreshes = len(provider.seen("token", "refresh_token"))
    assert browser.get("/echo").status_code == 302
    assert len(provider.seen("token", "refresh_token")) == refreshes


def test_userinfo_says_when_the_session_ends(limited):
    browser = limited(session_idle_timeout="10m", session_max_lifetime="1h").browser()
    browser.sign_in("alice")
    said = ends(browser.get("/oauth2/userinfo"))
    assert said["idleExpiresAt"] < said["absoluteExpiresAt"]
    assert said["expiresAt"] <= said["absoluteExpiresAt"]


def test_page_renews_its_session_on_demand(limited, make_provider):
    provider = make_provider()
    browser = limited(provider=provider, pass_access_token=True).browser()
    first = arrived(browser.sign_in("alice", "/echo"))["x-forwarded-access-token"]
    time.sleep(5.5)  # a session that has just been made is not renewed
    assert browser.request("POST", "/oauth2/refresh", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert not provider.seen("token", "refresh_token")
    answers = [browser.request("POST", "/oauth2/refresh", headers=FROM_THIS_SITE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[-1].json()["user"] == "alice"
    assert len(provider.seen("token", "refresh_token")) == 1
    assert arrived(browser.get("/echo"))["x-forwarded-access-token"] != first


@both_ways
def test_use_is_not_written_with_every_request(with_redis, redis, redis_tracking):
    browser = with_redis(redis, session_idle_timeout="1h").browser()
    browser.sign_in("alice")
    with redis.monitor() as monitor:
        for _ in range(20):
            assert browser.get("/echo").status_code == 200
        verbs = [command[0] for command in monitor.commands()]
    assert verbs.count("PEXPIRE") <= 1
    if redis_tracking == ASKED:
        assert verbs.count("GET") == 20


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_idle_end_goes_through_a_failover(service, request, kind):
    """A session that is used lasts, also if the new master has lost the last uses; one that is not used ends."""
    topology = request.getfixturevalue(kind)
    idle = 30
    one, other = (
        service(**topology.options, session_idle_timeout=f"{idle}s", concurrency=2, is_shared=False) for _ in range(2)
    )
    used, unused = one.browser(), one.browser()
    for browser in (used, unused):
        browser.sign_in("alice")
    began = time.monotonic()

    def use(seconds: float) -> set[int]:
        """The answers to a user who asks both Envoys."""
        end, statuses = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            for url in (one.url, other.url):
                statuses.add(used.get(f"{url}/echo", headers={"cookie": used.cookie}).status_code)
            time.sleep(0.3)
        return statuses

    assert use(idle / 3) == {200}
    if kind == "sentinel":
        before = topology.master()
        topology.fail_over()
        topology.wait_for_another_master(before)
    else:
        for node in topology.nodes[:3]:
            topology.replica_of(node).command("CLUSTER", "FAILOVER", "TAKEOVER")
    # In the failover there may be a 503, and no user is signed out.
    assert use(began + 1.5 * idle - time.monotonic()) <= {200, 503}
    assert use(1) == {200}
    # A worker that has heard of no failover until now does not bring it back.
    until(lambda: unused.get("/echo").status_code == 302, "the session that was not used is over", seconds=20)
    assert used.get("/echo").status_code == 200
