"""A sign-in from the first redirect to the page, and everything that must not become a session."""

import re
import time
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest

from harness.service import CLIENT_ID, arrived
from harness.text import find


def test_sign_in_returns_to_the_requested_page(browser):
    target = "/echo?x=1&name=%C3%A4%26b"
    first = browser.get(target)
    assert first.status_code == 302
    assert urlsplit(first.headers["location"]).path == "/oauth2/sign_in"
    page = browser.sign_in("alice", target)
    assert page.json()["path"] == target
    headers = arrived(page)
    assert headers["x-forwarded-user"] == "alice"
    assert headers["x-forwarded-email"] == "alice@example.com"
    assert headers["x-forwarded-preferred-username"] == "alice"
    assert headers["x-forwarded-groups"] == "admins,staff"


def test_sign_in_page_can_be_skipped(service):
    browser = service(skip_provider_button=True).browser()
    location = browser.get("/echo").headers["location"]
    assert urlsplit(location).path == "/oauth2/start"
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_authorization_request_follows_the_standards(service, provider):
    running = service()
    running.browser().sign_in("alice")
    asked = provider.seen("authorization")[0]["params"]
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT_ID
    assert asked["redirect_uri"] == f"{running.url}/oauth2/callback"
    assert {"openid", "email", "profile"} <= set(asked["scope"].split())
    assert asked["code_challenge_method"] == "S256"
    assert re.fullmatch(r"[\w-]{43}", asked["code_challenge"])
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20


def test_code_is_redeemed_once_with_its_verifier(service, provider):
    service().browser().sign_in("alice")
    grants = provider.seen("token")
    assert [grant["grant_type"] for grant in grants] == ["authorization_code"]
    assert "code_verifier" in grants[0]["params"]
    assert grants[0]["headers"]["authorization"].startswith("Basic ")
    assert "client_secret" not in grants[0]["params"]


def test_client_secret_post_sends_the_secret_in_the_form(service, make_provider):
    provider = make_provider({"method": "client_secret_post"}, client_auth_methods=["client_secret_post"])
    browser = service(provider=provider).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    grant = provider.seen("token")[0]
    assert "authorization" not in grant["headers"]
    assert "client_secret" in grant["params"]


def test_provider_sees_no_header_of_the_bridge(service, provider):
    service().browser().sign_in("alice")
    headers = provider.seen("token")[0]["headers"]
    assert not [name for name in headers if name.startswith(("x-envoy", "x-forwarded", "x-oauth2", "x-request"))]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_id_token_is_accepted_if_signed_with(algorithm, service, provider):
    provider.control("sign_with", alg=algorithm)
    try:
        page = service().browser().sign_in("alice", "/echo")
    finally:
        provider.control("sign_with", alg="RS256")
    assert arrived(page)["x-forwarded-user"] == "alice"


def test_missing_claims_come_from_userinfo(service, provider):
    provider.control("options", claims_only_in_userinfo=True)
    try:
        page = service().browser().sign_in("alice", "/echo")
    finally:
        provider.control("options", claims_only_in_userinfo=False)
    assert arrived(page)["x-forwarded-email"] == "alice@example.com"
    assert arrived(page)["x-forwarded-groups"] == "admins,staff"
    assert len(provider.seen("userinfo")) == 1


def test_rotated_keys_of_the_provider_are_found(service, make_provider):
    provider = make_provider()
    running = service(provider=provider)
    assert running.browser().sign_in("alice", "/echo").status_code == 200
    provider.control("rotate_keys")
    # The filter limits how often it fetches keys because of unknown tokens, so this may take a few seconds.
    deadline = time.monotonic() + 30
    while (page := running.browser().sign_in("alice", "/echo")).status_code != 200:
        assert time.monotonic() < deadline, "the new keys are never fetched"
        time.sleep(1)
    assert arrived(page)["x-forwarded-user"] == "alice"


# ---- two tabs ----


def test_two_tabs_both_sign_in(browser):
    first = browser.open_form("/echo?tab=1")
    second = browser.open_form("/echo?tab=2")
    first_page = browser.submit(first, "alice")
    second_page = browser.submit(second, "alice")
    assert first_page.json()["path"] == "/echo?tab=1"
    assert second_page.json()["path"] == "/echo?tab=2"


def test_two_tabs_both_sign_in_in_the_other_order(browser):
    first = browser.open_form("/echo?tab=1")
    second = browser.open_form("/echo?tab=2")
    assert browser.submit(second, "alice").json()["path"] == "/echo?tab=2"
    assert browser.submit(first, "alice").json()["path"] == "/echo?tab=1"


# ---- what must not become a session ----


def with_query(url: str, **changed: str | None) -> str:
    parts = urlsplit(url)
    query: dict[str, str | None] = {**{name: values[0] for name, values in parse_qs(parts.query).items()}, **changed}
    return urlunsplit(parts._replace(query=urlencode({name: v for name, v in query.items() if v is not None})))


def assert_refused(browser, answer, status=403):
    assert answer.status_code == status, answer.text
    assert browser.get("/echo").status_code == 302, "the refused callback made a session"


def test_changed_state_is_refused(browser):
    callback = browser.callback_url()
    state = parse_qs(urlsplit(callback).query)["state"][0]
    changed = ("B" if state[0] == "A" else "A") + state[1:]
    assert_refused(browser, browser.get(with_query(callback, state=changed)))


@pytest.mark.parametrize("missing", ["state", "code"])
def test_callback_is_refused_without(missing, browser):
    callback = browser.callback_url()
    assert_refused(browser, browser.get(with_query(callback, **{missing: None})))


def test_callback_in_another_browser_is_refused(service, provider):
    running = service()
    callback = running.browser().callback_url("mallory")
    victim = running.browser()
    assert_refused(victim, victim.get(callback))
    assert provider.seen("token") == [], "the code of a login that began elsewhere was redeemed"


def test_callback_works_only_once(browser):
    callback = browser.callback_url("alice", "/echo")
    assert browser.get(callback).status_code == 302
    cookies = dict(browser.cookies)
    again = browser.get(callback)
    assert (again.status_code, "You are signed in" in again.text) == (200, True)
    assert "set-cookie" not in again.headers
    assert browser.cookies == cookies, "a replayed callback ended the session"
    assert browser.get("/echo").status_code == 200


def test_repeated_callback_with_old_cookies_is_refused_by_the_provider(service):
    running = service()
    browser, thief = running.browser(), running.browser()
    callback = browser.callback_url()
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items() if "csrf" in name)
    assert browser.get(callback).status_code == 302
    answer = thief.get(callback, headers={"cookie": cookies})
    assert_refused(thief, answer)


def test_error_of_the_provider_is_an_error_page(browser):
    callback = browser.callback_url()
    refused = with_query(callback, code=None, error="access_denied", error_description="<script>alert(1)</script>")
    answer = browser.get(refused)
    assert_refused(browser, answer)
    assert "alert(1)" not in answer.text


def test_reference_of_an_error_page_is_in_the_log(service):
    running = service()
    browser = running.browser()
    callback = browser.callback_url()
    answer = browser.get(with_query(callback, code=None, error="access_denied"))
    reference = find(r"<code>(\w+)</code>", answer.text)[1]
    lines = running.envoy.says(reference)
    assert len(lines) == 1
    assert "access_denied" in lines[0]


def test_error_text_of_a_stranger_is_not_logged(service):
    running = service()
    browser = running.browser()
    browser.get(with_query(browser.callback_url(), code=None, error="made-up-by-a-stranger"))
    lines = [line for line in running.envoy.log().splitlines() if "made-up-by-a-stranger" in line]
    assert [line for line in lines if "wasm log" in line] == []


# ---- which users are allowed ----


def test_unverified_email_address_is_refused(browser):
    page = browser.sign_in("bob", "/echo")
    assert_refused(browser, page)


def test_unverified_email_address_can_be_allowed(service):
    browser = service(insecure_oidc_allow_unverified_email=True).browser()
    assert arrived(browser.sign_in("bob", "/echo"))["x-forwarded-email"] == "bob@example.com"


def test_only_listed_email_domains_are_allowed(service):
    running = service(email_domains=["example.com"])
    stranger = running.browser()
    assert_refused(stranger, stranger.sign_in("mallory", "/echo"))
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_only_listed_groups_are_allowed(service):
    running = service(allowed_groups=["admins"])
    other = running.browser()
    assert_refused(other, other.sign_in("carol", "/echo"))
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


# ---- the page after a sign-in ----


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/%09/evil.example",
        "https:evil.example",
        "http://127.0.0.1@evil.example/",
        "javascript:alert(1)",
    ],
)
def test_sign_in_never_redirects_to_an_unlisted_host(target, service):
    running = service()
    browser = running.browser()
    start = "/oauth2/start?" + urlencode({"rd": target}) if "%" not in target else f"/oauth2/start?rd={target}"
    callback = browser.submit(browser.follow(browser.get(start)), "alice", stop_before="/oauth2/callback")
    answer = browser.get(callback.headers["location"])
    assert answer.status_code == 302
    assert answer.headers["location"] == "/"


def test_sign_in_redirects_to_a_whitelisted_domain(service):
    running = service(whitelist_domains=["app.example.com"])
    browser = running.browser()
    start = "/oauth2/start?" + urlencode({"rd": "https://app.example.com/x?y=1"})
    callback = browser.submit(browser.follow(browser.get(start)), "alice", stop_before="/oauth2/callback")
    assert browser.get(callback.headers["location"]).headers["location"] == "https://app.example.com/x?y=1"
