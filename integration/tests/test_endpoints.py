"""The filter's own endpoints."""

import base64
import json
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from harness.service import arrived


@pytest.mark.parametrize("path", ["/ping", "/ready"])
def test_probes_answer_without_a_session(path, browser, upstream):
    upstream.seen.clear()
    answer = browser.get(path)
    assert answer.status_code == 200
    assert not upstream.seen


def test_probes_answer_at_configured_paths(service):
    browser = service(ping_path="/healthz").browser()
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/ping").status_code == 302


def test_endpoints_answer_under_a_configured_prefix(service, provider):
    running = service(proxy_prefix="/login")
    provider.control("redirect_uri", uri=f"{running.url}/login/callback")
    browser = running.browser()
    assert urlsplit(browser.get("/echo").headers["location"]).path == "/login/sign_in"
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert browser.get("/oauth2/userinfo").json()["path"] == "/oauth2/userinfo", "not the upstream's answer"


def test_userinfo_names_the_signed_in_user(browser):
    stranger = browser.get("/oauth2/userinfo")
    assert stranger.status_code == 401
    browser.sign_in("alice")
    answer = browser.get("/oauth2/userinfo")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "user": "alice",
        "email": "alice@example.com",
        "groups": ["admins", "staff"],
        "preferredUsername": "alice",
    }


def test_userinfo_has_additional_claims(service):
    browser = service(additional_claims=["name"]).browser()
    browser.sign_in("alice")
    assert browser.get("/oauth2/userinfo").json()["additionalClaims"] == {"name": "Alice Example"}


def test_auth_is_202_only_for_a_signed_in_user(service):
    browser = service(set_xauthrequest=True).browser()
    assert browser.get("/oauth2/auth").status_code == 401
    browser.sign_in("alice")
    answer = browser.get("/oauth2/auth")
    assert answer.status_code == 202
    assert answer.headers["x-auth-request-user"] == "alice"
    assert answer.headers["x-auth-request-email"] == "alice@example.com"
    assert answer.headers["x-auth-request-groups"] == "admins,staff"
    assert answer.headers["x-auth-request-preferred-username"] == "alice"


@pytest.mark.parametrize(
    "query, status",
    [
        ({"allowed_groups": "admins"}, 202),
        ({"allowed_groups": "guests,staff"}, 202),
        ({"allowed_groups": "guests"}, 403),
        ({"allowed_emails": "alice@example.com"}, 202),
        ({"allowed_emails": "bob@example.com"}, 403),
        ({"allowed_email_domains": "example.com"}, 202),
        ({"allowed_email_domains": "example.org", "allowed_groups": "admins"}, 403),
    ],
)
def test_auth_restricts_users_by_its_query(query, status, browser):
    browser.sign_in("alice")
    assert browser.get("/oauth2/auth?" + urlencode(query)).status_code == status


@pytest.mark.parametrize("path", ["/oauth2/start", "/oauth2/callback", "/oauth2/sign_in", "/oauth2/userinfo"])
def test_endpoint_refuses_post(path, browser):
    answer = browser.request("POST", path)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/oauth2/sign_in", "/oauth2/start", "/oauth2/userinfo", "/oauth2/auth"])
def test_answers_of_the_filter_forbid_caching(path, browser, upstream):
    upstream.seen.clear()
    assert "no-store" in browser.get(path).headers["cache-control"]
    assert not upstream.seen


def test_pages_escape_input_and_forbid_foreign_scripts(browser):
    page = browser.get("/oauth2/sign_in?rd=" + "%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    # The page has one script of its own.
    assert page.text.count("<script") == 1
    assert "alert" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


# ---- sign-out ----


def test_sign_out_ends_the_session(browser):
    browser.sign_in("alice")
    answer = browser.get("/oauth2/sign_out")
    assert answer.status_code == 200
    assert "signed out" in answer.text
    assert not [name for name in browser.cookies if name.startswith("_oauth2_proxy")]
    assert browser.get("/echo").status_code == 302


def test_sign_out_by_post_ends_the_session(browser):
    browser.sign_in("alice")
    assert browser.request("POST", "/oauth2/sign_out").status_code == 200
    assert browser.get("/echo").status_code == 302


# As Chromium sends them.
UNASKED = {
    "image": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    "prerender": {
        "sec-fetch-site": "same-origin",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
        "sec-purpose": "prefetch;prerender",
        "purpose": "prefetch",
    },
}
ASKED = {
    "link": {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
        "sec-fetch-user": "?1",
    },
    "front channel": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
}


@pytest.mark.parametrize("path", ["/oauth2/sign_out", "/oauth2/sign_in"])
@pytest.mark.parametrize("headers", UNASKED.values(), ids=UNASKED.keys())
def test_unrequested_sign_out_is_403_and_keeps_the_session(path, headers, browser):
    browser.sign_in("alice")
    answer = browser.get(path, headers=headers)
    assert answer.status_code == 403
    assert "no-store" in answer.headers["cache-control"]
    assert "set-cookie" not in answer.headers
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("headers", ASKED.values(), ids=ASKED.keys())
def test_requested_sign_out_from_another_site_ends_the_session(headers, browser):
    browser.sign_in("alice")
    assert browser.get("/oauth2/sign_out", headers=headers).status_code == 200
    assert browser.get("/echo").status_code == 302


def test_sign_out_redirects_to_its_target(browser):
    browser.sign_in("alice")
    answer = browser.get("/oauth2/sign_out?rd=/goodbye")
    assert (answer.status_code, answer.headers["location"]) == (302, "/goodbye")


def test_sign_out_never_redirects_to_an_unlisted_host(browser):
    browser.sign_in("alice")
    answer = browser.get("/oauth2/sign_out?" + urlencode({"rd": "https://evil.example/"}))
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert browser.get("/echo").status_code == 302


def test_sign_out_continues_at_the_provider_with_the_id_token(service, provider):
    host = urlsplit(provider.issuer).netloc
    browser = service(whitelist_domains=[host]).browser()
    browser.sign_in("alice")
    end = f"{provider.issuer}/session/end?id_token_hint={{id_token}}"
    answer = browser.get("/oauth2/sign_out?" + urlencode({"rd": end}))
    assert answer.status_code == 302
    assert browser.get(answer.headers["location"]).status_code == 200, "the provider does not take the ID token"


def test_sign_out_sends_the_id_token_only_to_the_provider(service, provider):
    provider_host = urlsplit(provider.issuer).netloc
    running = service(whitelist_domains=[provider_host, "app.example.org"])
    for target in (
        "http://app.example.org/?t={id_token}",
        f"https://{provider_host}/?t={{id_token}}",
        "/?t={id_token}",
    ):
        browser = running.browser()
        browser.sign_in("alice")
        answer = browser.get("/oauth2/sign_out?" + urlencode({"rd": target}))
        assert (answer.status_code, answer.headers["location"]) == (302, target.format(id_token=""))


def test_sign_out_calls_the_backend_logout_url(service, upstream):
    browser = service(backend_logout_url=f"http://{upstream.address}/logout?hint={{id_token}}").browser()
    browser.sign_in("alice")
    upstream.seen.clear()
    assert browser.get("/oauth2/sign_out").status_code == 200
    deadline = time.monotonic() + 10
    while not upstream.seen:
        assert time.monotonic() < deadline, "backend_logout_url was not called"
        time.sleep(0.02)
    (call,) = upstream.seen
    method, target = call.split(" ", 1)
    assert (method, urlsplit(target).path) == ("GET", "/logout")
    _header, claims, _signature = parse_qs(urlsplit(target).query)["hint"][0].split(".")
    assert json.loads(base64url(claims))["sub"] == "alice"


def base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
