"""Bearer tokens in the place of a session: ID tokens of a real provider, and invalid ones."""

import base64
import json

import pytest

from harness.service import CLIENT_ID, arrived


@pytest.fixture
def token(service):
    """An ID token of alice, as the upstream gets it."""
    page = service(pass_authorization_header=True).browser().sign_in("alice", "/echo")
    return arrived(page)["authorization"].removeprefix("Bearer ")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_token_is_a_session_without_a_cookie(service, provider, algorithm):
    provider.control("sign_with", alg=algorithm)
    try:
        page = service(pass_authorization_header=True).browser().sign_in("alice", "/echo")
    finally:
        provider.control("sign_with", alg="RS256")
    token = arrived(page)["authorization"].removeprefix("Bearer ")
    browser = service(skip_jwt_bearer_tokens=True).browser()
    for _ in range(3):
        answer = browser.get("/echo", headers=bearer(token))
        headers = arrived(answer)
        assert headers["x-forwarded-user"] == "alice"
        assert headers["x-forwarded-email"] == "alice@example.com"
        assert headers["x-forwarded-groups"] == "admins,staff"
        assert "set-cookie" not in answer.headers
    assert not browser.cookies


def test_token_in_basic_credentials_is_accepted(service, token):
    browser = service(skip_jwt_bearer_tokens=True).browser()
    for credentials in (f"{token}:", f"{token}:x-oauth-basic", f"alice:{token}"):
        value = base64.b64encode(credentials.encode()).decode()
        assert arrived(browser.get("/echo", headers={"authorization": f"Basic {value}"}))["x-forwarded-user"] == "alice"


def test_endpoints_accept_a_token(service, token):
    browser = service(skip_jwt_bearer_tokens=True, set_xauthrequest=True).browser()
    answer = browser.get("/oauth2/auth", headers=bearer(token))
    assert (answer.status_code, answer.headers["x-auth-request-user"]) == (202, "alice")
    assert browser.get("/oauth2/userinfo", headers=bearer(token)).json()["email"] == "alice@example.com"


def forgeries(token: str) -> dict[str, str]:
    header, payload, signature = token.split(".")

    def encode(part: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return {
        "other claims": f"{header}.{encode({**claims, 'sub': 'mallory'})}.{signature}",
        "no signature": f"{encode({'alg': 'none'})}.{payload}.",
        "alg none": f"{encode({'alg': 'none'})}.{payload}.{signature}",
        "a shared secret": f"{encode({'alg': 'HS256'})}.{payload}.{signature}",
        "opaque": "opaque",
        "too long": f"{header}.{payload}{'A' * 20_000}.{signature}",
    }


def test_forged_token_is_not_signed_in(service, token):
    browser = service(skip_jwt_bearer_tokens=True).browser()
    for what, forged in forgeries(token).items():
        page = browser.get("/echo", headers=bearer(forged))
        assert (page.status_code, "set-cookie" in page.headers) == (302, False), what
        program = browser.get("/echo", headers={**bearer(forged), "accept": "application/json"})
        assert program.status_code == 401, what


def test_forged_token_without_fallback_is_403(service, token):
    browser = service(skip_jwt_bearer_tokens=True, bearer_token_login_fallback=False).browser()
    for what, forged in forgeries(token).items():
        assert browser.get("/echo", headers=bearer(forged)).status_code == 403, what
    assert arrived(browser.get("/echo", headers=bearer(token)))
    assert browser.get("/echo").status_code == 302


def test_token_for_another_audience_is_not_signed_in(service, token):
    browser = service(skip_jwt_bearer_tokens=True, client_id="another").browser()
    assert browser.get("/echo", headers=bearer(token)).status_code == 302
    browser = service(skip_jwt_bearer_tokens=True, client_id="another", oidc_extra_audiences=[CLIENT_ID]).browser()
    assert arrived(browser.get("/echo", headers=bearer(token)))["x-forwarded-user"] == "alice"


def test_additional_issuer_is_accepted_if_configured(service, make_provider, token):
    people = make_provider()
    options = {"provider": people, "skip_jwt_bearer_tokens": True}
    assert service(**options).browser().get("/echo", headers=bearer(token)).status_code == 302
    issuer = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["iss"]
    browser = service(**options, extra_jwt_issuers=[f"{issuer}={CLIENT_ID}"]).browser()
    assert arrived(browser.get("/echo", headers=bearer(token)))["x-forwarded-user"] == "alice"


def test_token_with_unavailable_keys_is_503(service, make_provider):
    mine = make_provider()
    page = service(provider=mine, pass_authorization_header=True).browser().sign_in("alice", "/echo")
    token = arrived(page)["authorization"].removeprefix("Bearer ")
    known = service(provider=mine, skip_jwt_bearer_tokens=True, is_shared=False).browser()
    assert arrived(known.get("/echo", headers=bearer(token)))
    unknown = service(provider=mine, skip_jwt_bearer_tokens=True, is_shared=False).browser()
    mine.control("down")
    answer = unknown.get("/echo", headers=bearer(token))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert arrived(known.get("/echo", headers=bearer(token)))
    mine.control("up")
