"""An https provider: its certificate is checked, by whom and for which name."""

from __future__ import annotations

import pytest

from harness.authority import Authority
from harness.service import arrived


@pytest.fixture
def authority(tmp_path):
    return Authority.make(tmp_path / "right")


def test_a_provider_with_a_good_certificate_signs_in(service, make_provider, authority):
    provider = make_provider(host="localhost", **authority.issue("localhost"))
    assert provider.issuer.startswith("https://localhost:")
    browser = service(provider=provider, ca=authority.file).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("wrong", ["authority", "host", "date"])
def test_a_certificate_is_refused_for_its(wrong, service, make_provider, authority, tmp_path):
    host = "elsewhere.example" if wrong == "host" else "localhost"
    provider = make_provider(host="localhost", **authority.issue(host, expired=wrong == "date"))
    trusted = Authority.make(tmp_path / "wrong") if wrong == "authority" else authority
    browser = service(provider=provider, ca=trusted.file).browser()
    answer = browser.get("/oauth2/start")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert provider.seen("discovery") == [], "a request was sent in spite of the certificate"
