"""The provider is down: signed-in users go on working, a sign-in can be repeated, no stranger gets through."""

import time

import pytest

from harness.browser import link_to
from harness.service import arrived


def assert_unavailable(answer) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0


def eventually(get, seconds: float = 30):
    """The first answer of `get` that is not 503."""
    deadline = time.monotonic() + seconds
    while (answer := get()).status_code == 503:
        assert time.monotonic() < deadline, "still unavailable, though the provider is back"
        time.sleep(0.5)
    return answer


def test_envoy_starts_without_a_provider_and_recovers_with_it(services, service, make_provider):
    provider = make_provider()
    provider.control("down")
    running = service(provider=provider)
    browser = running.browser()
    assert browser.get("/ping").status_code == 200
    assert browser.get("/echo").status_code == 302
    assert_unavailable(browser.get("/oauth2/start?rd=/echo"))
    provider.control("up")
    page = browser.follow(eventually(lambda: browser.get("/oauth2/start?rd=/echo")))
    assert arrived(browser.submit(page, "alice"))["x-forwarded-user"] == "alice"


def test_signed_in_user_needs_no_provider(service, make_provider):
    provider = make_provider()
    running = service(provider=provider)
    browser = running.browser()
    browser.sign_in("alice")
    provider.control("down")
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
    assert browser.get("/oauth2/auth").status_code == 202
    # So does a worker that never saw this cookie: it checks the cookie by itself.
    other = service(provider=provider, session_cache_bytes=0).browser()
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    assert arrived(other.get("/echo", headers={"cookie": cookie}))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"delay": 5000}], ids=["500", "429", "slow"])
def test_sign_in_without_metadata_is_503(fault, service, make_provider):
    provider = make_provider()
    provider.control("faults", discovery=fault)
    browser = service(provider=provider, provider_request_timeout="1s").browser()
    assert_unavailable(browser.get("/oauth2/start"))
    provider.control("faults")
    assert eventually(lambda: browser.get("/oauth2/start")).status_code == 302


def test_program_gets_401_while_the_provider_is_down(service, make_provider):
    provider = make_provider()
    provider.control("down")
    browser = service(provider=provider).browser()
    assert browser.get("/echo", headers={"accept": "application/json"}).status_code == 401


@pytest.mark.parametrize("endpoint", ["token", "jwks"])
def test_callback_can_be_repeated_after_an_outage(endpoint, service, make_provider):
    provider = make_provider()
    browser = service(provider=provider).browser()
    callback = browser.callback_url("alice", "/echo")
    # An answer that came before the code was used: the code still works.
    provider.control("faults", **{endpoint: {"status": 503}})
    answer = browser.get(callback)
    assert_unavailable(answer)
    assert browser.get("/echo").status_code == 302
    provider.control("faults")
    if endpoint == "jwks":
        # The code is used by now, so the page leads to a new sign-in.
        time.sleep(1.1)
        page = browser.follow(browser.get(link_to(answer, "/oauth2/start")))
        assert arrived(page)["x-forwarded-user"] == "alice"
        return
    answer = eventually(lambda: browser.get(callback))
    assert (answer.status_code, answer.headers["location"]) == (302, "/echo")
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def test_slow_token_endpoint_is_503(service, make_provider):
    provider = make_provider()
    browser = service(provider=provider, provider_request_timeout="1s").browser()
    callback = browser.callback_url()
    provider.control("faults", token={"delay": 10_000})
    assert_unavailable(browser.get(callback))


def test_sign_in_calls_userinfo_only_for_missing_claims(service, make_provider):
    provider = make_provider()
    provider.control("faults", userinfo={"status": 500})
    assert arrived(service(provider=provider).browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    provider.control("options", claims_only_in_userinfo=True)
    browser = service(provider=provider).browser()
    assert_unavailable(browser.sign_in("alice", "/echo"))
    assert browser.get("/echo").status_code == 302


def test_untrusted_answer_makes_no_session(service, make_provider):
    provider = make_provider()
    browser = service(provider=provider).browser()
    provider.control(
        "faults",
        token={
            "status": 200,
            "body": {
                "access_token": "a",
                "token_type": "Bearer",
                "id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.",
            },
        },
    )
    page = browser.sign_in("alice", "/echo")
    assert page.status_code == 502
    assert browser.get("/echo").status_code == 302
