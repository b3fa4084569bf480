"""`provider_sign_out`: a sign-out ends the session at the provider too (OpenID Connect RP-Initiated Logout 1.0)."""

import html
import re
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from harness.known_secrets import SECRETS
from harness.service import CLIENT_ID, arrived

# Nothing listens there: the tests look only at the redirect.
BYE = "https://app.example.com/bye?x=1"


def inputs(page: str) -> dict[str, str]:
    """The hidden fields of a form."""
    return {
        name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def confirm(browser, page, **answer):
    """Answers the provider's question, and follows the redirects at the provider."""
    assert page.status_code == 200 and "Sign out of the demo provider?" in page.text, page.text
    action = re.search(r'<form id="op.logoutForm" method="post" action="([^"]+)"', page.text)
    assert action, page.text
    target = urljoin(str(page.url), html.unescape(action[1]))
    return browser.request("POST", target, data={**inputs(page.text), **answer})


def is_signed_in_at_the_provider(browser) -> bool:
    """A sign-in without a prompt shows the provider's form if its own session has ended."""
    return "<form" not in browser.follow(browser.get("/oauth2/start?rd=/echo")).text


@pytest.fixture(params=["cookie", "redis"])
def store(request):
    if request.param == "cookie":
        return {}
    redis = request.getfixturevalue("redis")
    return {"session_store_type": "redis", "redis_connection_url": redis.url}


def test_sign_out_ends_the_session_at_the_provider(service, make_provider, store):
    provider = make_provider({"post_logout_redirect_uris": [BYE]})
    running = service(provider=provider, is_shared=False, provider_sign_out=True, post_logout_redirect_url=BYE, **store)
    browser = running.browser()
    arrived(browser.sign_in("alice", "/echo"))
    copy = browser.cookie
    answer = browser.get("/oauth2/sign_out")
    target = urlsplit(answer.headers["location"])
    assert (answer.status_code, f"{target.scheme}://{target.netloc}") == (302, provider.issuer)
    query = {name: values[0] for name, values in parse_qs(target.query, strict_parsing=True).items()}
    assert sorted(query) == ["client_id", "id_token_hint", "post_logout_redirect_uri", "state"]
    assert query["client_id"] == CLIENT_ID
    assert "no-store" in answer.headers["cache-control"]
    assert browser.get("/echo").status_code == 302
    if store:
        assert running.browser().get("/echo", headers={"cookie": copy}).status_code == 302, "the store has it"

    # The provider knows the user by the ID token, and asks. The address to come back to is registered.
    done = confirm(browser, browser.get(answer.headers["location"]), logout="yes")
    assert done.is_redirect, done.text
    back = urlsplit(done.headers["location"])
    assert parse_qs(back.query) == {"x": ["1"], "state": [query["state"]]}
    assert back._replace(query="").geturl() == BYE.split("?")[0]
    assert not is_signed_in_at_the_provider(browser)


def test_without_an_address_the_provider_shows_its_own_page(service, make_provider):
    provider = make_provider()
    browser = service(provider=provider, is_shared=False, provider_sign_out=True).browser()
    arrived(browser.sign_in("alice", "/echo"))
    page = browser.follow(browser.get("/oauth2/sign_out"))
    done = browser.follow(confirm(browser, page, logout="yes"))
    assert done.status_code == 200 and "Signed out of the demo provider" in done.text, done.text
    assert not is_signed_in_at_the_provider(browser)


def test_user_who_stays_at_the_provider_is_signed_out_here(service, make_provider):
    browser = service(provider=make_provider(), is_shared=False, provider_sign_out=True).browser()
    arrived(browser.sign_in("alice", "/echo"))
    page = browser.follow(browser.get("/oauth2/sign_out"))
    assert browser.get("/echo").status_code == 302
    confirm(browser, page)
    assert is_signed_in_at_the_provider(browser)


def test_address_that_is_not_registered_is_the_providers_error(service, make_provider):
    """So the filter sends none unless the operator says that it is registered."""
    running = service(provider=make_provider(), is_shared=False, provider_sign_out=True, post_logout_redirect_url=BYE)
    browser = running.browser()
    arrived(browser.sign_in("alice", "/echo"))
    page = browser.follow(browser.get("/oauth2/sign_out"))
    assert page.status_code == 400 and "post_logout_redirect_uri not registered" in page.text


def test_session_without_id_token_ends_at_the_provider(service, make_provider):
    running = service(provider=make_provider(), is_shared=False, provider_sign_out=True, session_cookie_minimal=True)
    browser = running.browser()
    arrived(browser.sign_in("alice", "/echo"))
    answer = browser.get("/oauth2/sign_out")
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"client_id": [CLIENT_ID]}
    browser.follow(confirm(browser, browser.follow(answer), logout="yes"))
    assert not is_signed_in_at_the_provider(browser)


def test_rd_wins_over_the_provider(service):
    browser = service(provider_sign_out=True).browser()
    arrived(browser.sign_in("alice", "/echo"))
    assert browser.get("/oauth2/sign_out?rd=/ping").headers["location"] == "/ping"


@pytest.mark.parametrize("user", ["carol", "dave"])
def test_provider_asks_if_the_id_token_is_too_long(user, service, make_provider):
    provider = make_provider({"post_logout_redirect_uris": [BYE]})
    running = service(provider=provider, is_shared=False, provider_sign_out=True, post_logout_redirect_url=BYE)
    browser = running.browser()
    arrived(browser.sign_in(user, "/echo"))
    answer = browser.get("/oauth2/sign_out")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert sorted(query) == ["client_id", "post_logout_redirect_uri", "state"]
    done = confirm(browser, browser.follow(answer), logout="yes")
    assert done.headers["location"].startswith(BYE)
    assert not is_signed_in_at_the_provider(browser)
    assert running.envoy.says("sign-out: the provider gets no ID token and asks the user: ")


def test_provider_that_is_down_gets_another_try(service, make_provider):
    provider = make_provider()
    running = service(provider=provider, is_shared=False, provider_sign_out=True)
    provider.control("down")
    browser = running.browser()
    page = browser.get("/oauth2/sign_out")
    assert page.status_code == 200 and 'href="/oauth2/sign_out"' in page.text
    assert running.envoy.says("sign-out: the browser was not sent to the provider, whose session goes on: ")
    provider.control("up")


def test_odd_provider_gets_the_id_token_at_its_own_address(service, make_fake_provider):
    fake = make_fake_provider()
    fake.metadata = {"end_session_endpoint": f"{fake.issuer}/logout?p=B2C_1"}
    browser = service(provider=fake, is_shared=False, provider_sign_out=True).browser()
    arrived(browser.sign_in("alice", "/echo"))
    assert browser.follow(browser.get("/oauth2/sign_out")).text == "signed out"
    (request,) = fake.seen("end_session")
    assert sorted(request["query"]) == ["client_id", "id_token_hint", "p"]
    assert request["query"]["p"] == "B2C_1"
    SECRETS.add("an ID token", request["query"]["id_token_hint"])


def test_provider_without_the_endpoint_ends_at_the_page(service, make_fake_provider):
    fake = make_fake_provider()
    fake.metadata = {"end_session_endpoint": None}
    running = service(provider=fake, is_shared=False, provider_sign_out=True)
    browser = running.browser()
    arrived(browser.sign_in("alice", "/echo"))
    page = browser.get("/oauth2/sign_out")
    assert page.status_code == 200 and "You are signed out" in page.text
    assert running.envoy.says("has no end_session_endpoint; set oidc_end_session_url")
