"""The documents that a provider publishes: their redirects, and what the operator has to set."""

from __future__ import annotations

import time

import pytest

from harness.authority import Authority
from harness.browser import link_to
from harness.fake_provider import Answer, Key
from harness.service import arrived

MOVED = "/moved/.well-known/openid-configuration"


def led(location: str, status: int = 302) -> Answer:
    return Answer(status, headers={"location": location})


def assert_mistake(page) -> None:
    assert page.status_code == 502, page.text
    assert "retry-after" not in page.headers
    assert "often passes" not in page.text
    assert "operator has to fix this" in page.text


def metric(running) -> int:
    return running.envoy.counters()["provider_misconfigured"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_of_metadata_and_keys_are_followed(service, fake, make_fake_provider, status):
    keys = make_fake_provider(keys=fake.keys)
    fake.answers = {"discovery": led(MOVED, status), "jwks": led(f"{keys.issuer}/moved/jwks", status)}
    assert arrived(service(provider=fake).browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert [request["path"] for request in fake.seen("discovery")] == ["/.well-known/openid-configuration", MOVED]
    assert [request["path"] for request in keys.requests] == ["/moved/jwks"]
    assert "authorization" not in keys.requests[0]["headers"]


def test_redirects_from_https_to_http_are_refused(service, fake, make_fake_provider, tmp_path):
    authority = Authority.make(tmp_path / "right")
    secure = make_fake_provider(host="localhost", **authority.issue("localhost"))
    secure.answers["discovery"] = led(MOVED)
    running = service(provider=secure, ca=authority.file)
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    secure.answers["discovery"] = led(fake.issuer + MOVED)
    running = service(provider=secure, ca=authority.file, is_shared=False)
    assert_mistake(running.browser().get("/oauth2/start"))
    assert running.envoy.says(f'discovery: the provider answered 302 and leads to "{fake.issuer}{MOVED}"')
    assert running.envoy.says("see insecure_oidc_allow_http_endpoints")
    assert fake.requests == []


def test_redirect_loop_ends(service, fake):
    fake.answers = {"discovery": led(MOVED), MOVED: led(MOVED)}
    running = service(provider=fake)
    assert_mistake(running.browser().get("/oauth2/start"))
    assert len(fake.seen("discovery")) == 6
    assert running.envoy.says("discovery: more than 5 redirects")


@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
def test_requests_with_a_secret_follow_no_redirect(service, fake, make_fake_provider, endpoint):
    other = make_fake_provider()
    fake.claims = {"email": None}  # so the filter calls userinfo
    fake.answers[endpoint] = led(f"{other.issuer}/moved/{endpoint}", 307)
    assert service(provider=fake).browser().sign_in("alice", "/echo").status_code == 502
    assert other.requests == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(404), "discovery: the provider answered 404; see oidc_issuer_url"),
        (Answer(403, "<html>a firewall</html>"), "discovery: the provider answered 403; see oidc_issuer_url"),
        (
            Answer(200, "<html>welcome</html>"),
            "discovery: the document is not a JSON object, or too large; see oidc_issuer_url",
        ),
        (Answer(members={"issuer": "https://another.example"}), "which is not oidc_issuer_url"),
        (Answer(members={"token_endpoint": None}), "discovery: token_endpoint is missing"),
    ],
    ids=["404", "403", "html", "another issuer", "no token endpoint"],
)
def test_unusable_metadata_is_502_and_logged(service, fake, answer, says):
    fake.answers["discovery"] = answer
    running = service(provider=fake, is_shared=False)
    assert_mistake(running.browser().get("/oauth2/start"))
    assert running.envoy.says(says)
    assert metric(running) == 1
    fake.answers.clear()
    time.sleep(1.1)
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize(
    ("endpoint", "answer", "says"),
    [
        ("userinfo", Answer(401), "userinfo: the provider answered 401; see skip_claims_from_profile_url"),
        ("userinfo", Answer(200, "hello"), "see skip_claims_from_profile_url"),
        ("jwks", Answer(404), "keys (jwks_uri): the provider answered 404"),
        ("jwks", Answer(200, {"keys": [Key("RS256", bits=1024).public()]}), "none of the keys can be used"),
    ],
    ids=["userinfo 401", "userinfo text", "keys 404", "keys of 1024 bits"],
)
def test_unusable_answer_after_the_code_is_502(service, fake, endpoint, answer, says):
    fake.claims = {"email": None}
    fake.answers[endpoint] = answer
    running = service(provider=fake, is_shared=False)
    browser = running.browser()
    page = browser.sign_in("alice", "/echo")
    assert_mistake(page)
    assert running.envoy.says(says)
    assert metric(running) == 1
    fake.answers.clear()
    time.sleep(1.1)
    form = browser.follow(browser.get(link_to(page, "/oauth2/start")))
    assert arrived(browser.submit(form, "alice"))["x-forwarded-user"] == "alice"
