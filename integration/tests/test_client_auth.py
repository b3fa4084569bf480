"""How a provider accepts the client's secret, even if its metadata lists other methods."""

from __future__ import annotations

import time

import pytest

from harness.fake_provider import Answer
from harness.service import CLIENT_SECRET, arrived

# Characters that form-encoding changes.
SECRET = f"{CLIENT_SECRET[:20]}+/%2B:="


@pytest.mark.parametrize(
    ("methods", "decodes_basic", "secret", "codes"),
    [
        (["client_secret_basic"], True, SECRET, 1),
        (["client_secret_post"], True, CLIENT_SECRET, 2),
        (["client_secret_basic", "client_secret_post"], False, SECRET, 2),
        (["client_secret_basic"], False, SECRET, 3),
    ],
    ids=["basic", "post", "both, basic not decoded", "basic, not decoded"],
)
def test_client_authenticates_for_sign_in_and_refresh(
    service, make_fake_provider, methods, decodes_basic, secret, codes
):
    fake = make_fake_provider(client_secret=secret)
    fake.auth_methods, fake.decodes_basic = methods, decodes_basic
    browser = service(provider=fake, client_secret=secret, cookie_refresh="1s").browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    assert len(fake.seen("token", "authorization_code")) == codes
    assert len({request["form"]["code"] for request in fake.seen("token")}) == 1
    time.sleep(1.1)
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
    assert len(fake.seen("token", "refresh_token")) == 1


def test_wrong_secret_is_tried_once_by_another_method(service, fake):
    fake.client_secret = "another"
    running = service(provider=fake)
    for _ in range(4):
        assert running.browser().sign_in("alice", "/echo").status_code == 502
    assert len(fake.seen("token")) == 5
    assert running.envoy.says("the provider does not take this client (invalid_client)")


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(400, {"error": "invalid_grant"}),
        Answer(400, {"error": "unauthorized_client"}),
        Answer(401),
        Answer(500),
    ],
)
def test_code_is_sent_once_after_any_other_error(service, fake, refusal):
    fake.answers["token"] = refusal
    service(provider=fake).browser().sign_in("alice", "/echo")
    assert len(fake.seen("token")) == 1


def test_sign_in_after_a_used_up_code_works(service, fake):
    fake.auth_methods, fake.uses_code_up_first = ["client_secret_post"], True
    browser = service(provider=fake).browser()
    assert browser.sign_in("alice", "/echo").status_code == 403
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
