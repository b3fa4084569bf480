"""The fake provider: without scripted answers it signs users in."""

from __future__ import annotations

import time

import pytest

from harness.fake_provider import Answer, Key
from harness.service import arrived


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_fake_provider_signs_in(service, make_fake_provider, algorithm):
    fake = make_fake_provider(keys=[Key(algorithm)])
    headers = arrived(service(provider=fake).browser().sign_in("alice", "/echo"))
    assert headers["x-forwarded-email"] == "alice@example.com"
    assert [request["form"]["grant_type"] for request in fake.seen("token")] == ["authorization_code"]


def test_scripted_answers_come_in_order(service, fake):
    fake.answers["token:refresh_token"] = [Answer(claims={"email": "alice@new.example"})]
    browser = service(provider=fake, cookie_refresh="1s").browser()
    browser.sign_in("alice", "/echo")
    for email in ("alice@new.example", "alice@example.com"):
        time.sleep(1.1)
        assert arrived(browser.get("/echo"))["x-forwarded-email"] == email


def test_unpublished_key_signs_no_user_in(service, make_fake_provider):
    fake = make_fake_provider(keys=[Key(is_published=False), Key()])
    assert service(provider=fake).browser().sign_in("alice", "/echo").status_code == 502
