"""Signed data of providers: userinfo as a JWT, keys that are not used, numbers in unusual forms."""

from __future__ import annotations

import pytest

from harness.fake_provider import Answer, Key
from harness.service import arrived


@pytest.fixture
def with_signed_userinfo(fake):
    """A provider whose ID token has no email address, and whose userinfo is a JWT."""
    fake.claims = {"email": None}
    fake.userinfo_key = fake.keys[0]
    return fake


def test_userinfo_may_be_a_signed_jwt(service, with_signed_userinfo):
    headers = arrived(service(provider=with_signed_userinfo).browser().sign_in("alice", "/echo"))
    assert headers["x-forwarded-email"] == "alice@example.com"
    assert len(with_signed_userinfo.seen("userinfo")) == 1


@pytest.mark.parametrize(
    "claims", [{"sub": "mallory"}, {"sub": None}, {"iss": "https://evil.example"}, {"aud": "other"}], ids=str
)
def test_userinfo_with_wrong_subject_issuer_or_audience_is_refused(service, with_signed_userinfo, claims):
    with_signed_userinfo.answers["userinfo"] = Answer(claims=claims)
    assert service(provider=with_signed_userinfo).browser().sign_in("alice", "/echo").status_code == 502


@pytest.mark.parametrize(
    "key", [Key("none"), Key("HS256", secret=b"x" * 32), Key("ES256")], ids=lambda key: key.algorithm
)
def test_userinfo_without_a_valid_signature_is_refused(service, with_signed_userinfo, key):
    with_signed_userinfo.userinfo_key = key
    assert service(provider=with_signed_userinfo).browser().sign_in("alice", "/echo").status_code == 502


def test_encrypted_userinfo_is_refused_and_named_in_the_log(service, with_signed_userinfo):
    # In the form of the example of RFC 7516 section 3.3.
    with_signed_userinfo.answers["userinfo"] = Answer(
        200, "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOa.48V1.5eym.XFBo", {"content-type": "application/jwt"}
    )
    running = service(provider=with_signed_userinfo)
    assert running.browser().sign_in("alice", "/echo").status_code == 502
    assert running.envoy.says("userinfo: it is encrypted")


def test_log_says_why_a_key_is_not_used(service, make_fake_provider):
    keys = [Key("ES256"), Key("RS256", kid="small", bits=1024), Key("RS256", kid="for-encryption", jwk={"use": "enc"})]
    fake = make_fake_provider(keys=keys)
    running = service(provider=fake)
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-email"] == "alice@example.com"
    assert running.envoy.says('key 2 (kid "small") is not used: RSA is taken with 2048 to 4096 bits')
    assert running.envoy.says('key 3 (kid "for-encryption") is not used: it is not for signatures (use)')


def test_numbers_in_strings_are_accepted(service, fake):
    fake.claims = {"exp": "4102444800", "iat": "1700000000", "sub": 42, "email": None}
    fake.answers["userinfo"] = Answer(claims={"sub": "42"})
    headers = arrived(service(provider=fake).browser().sign_in("alice", "/echo"))
    assert (headers["x-forwarded-user"], headers["x-forwarded-email"]) == ("42", "alice@example.com")


def test_empty_use_of_a_key_means_no_use(service, make_fake_provider):
    fake = make_fake_provider(keys=[Key("ES256", jwk={"use": "", "alg": ""})])
    headers = arrived(service(provider=fake).browser().sign_in("alice", "/echo"))
    assert headers["x-forwarded-email"] == "alice@example.com"
