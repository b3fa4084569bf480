"""TLS to the provider and to Redis: the authority and the name of certificates are checked, and the version of TLS."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.authority import Authority
from harness.ports import HOST
from harness.render import ROOT
from harness.service import arrived
from harness.tls_relay import TlsRelay


@pytest.fixture
def authority(tmp_path):
    return Authority.make(tmp_path / "right")


def test_provider_with_a_valid_certificate_signs_in(service, make_provider, authority):
    provider = make_provider(host="localhost", **authority.issue("localhost"))
    assert provider.issuer.startswith("https://localhost:")
    browser = service(provider=provider, ca=authority.file).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("wrong", ["authority", "host", "date"])
def test_invalid_certificate_is_refused_for_its(wrong, service, make_provider, authority, tmp_path):
    host = "elsewhere.example" if wrong == "host" else "localhost"
    provider = make_provider(host="localhost", **authority.issue(host, expired=wrong == "date"))
    trusted = Authority.make(tmp_path / "wrong") if wrong == "authority" else authority
    browser = service(provider=provider, ca=trusted.file).browser()
    answer = browser.get("/oauth2/start")
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert provider.seen("discovery") == [], "a request was sent in spite of the certificate"


# ---- versions of TLS ----

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_provider_with_one_tls_version_is_accepted(version, service, make_fake_provider, authority):
    provider = make_fake_provider(host="localhost", tls_version=version, **authority.issue("localhost"))
    browser = service(provider=provider, ca=authority.file).browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("is_checked", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_redis_with_one_tls_version_is_accepted(version, is_checked, with_redis, redis, authority):
    certificate = authority.issue("localhost")
    relay = TlsRelay((HOST, redis.port), certificate["tls_cert"], certificate["tls_key"], version)
    running = with_redis(
        redis,
        redis_connection_url=f"rediss://localhost:{relay.port}",
        ca=authority.file,
        **({} if is_checked else {"redis_insecure_skip_tls_verify": True}),
    )
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    relay.close()


YAML_BLOCK = re.compile(r"^( *)```yaml\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
CONTEXT = "UpstreamTlsContext"


def shipped() -> Iterator[tuple[Path, str]]:
    """All that an operator may copy: the configurations and the blocks of the documentation."""
    for path in sorted((ROOT / "envoy-config").rglob("*.yaml")):
        yield path, path.read_text(encoding="utf-8")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        yield from ((page, block[2]) for block in YAML_BLOCK.finditer(page.read_text(encoding="utf-8")))


def contexts(value: object) -> Iterator[dict]:
    """The TLS contexts of clusters, also in YAML inside of a string, such as a bootstrap."""
    if isinstance(value, dict):
        if str(value.get("@type", "")).endswith(CONTEXT):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from contexts(each)
    elif isinstance(value, str) and CONTEXT in value and "\n" in value:
        yield from contexts(yaml.safe_load(value))


def test_each_shipped_cluster_with_tls_allows_1_3():
    seen = 0
    for path, text in shipped():
        found = [context for document in yaml.safe_load_all(text) for context in contexts(document)]
        assert len(found) >= text.count(CONTEXT), f"{path}: a TLS context is in a place that this test does not read"
        for context in found:
            versions = context["common_tls_context"].get("tls_params", {})
            assert versions.get("tls_maximum_protocol_version") == "TLSv1_3", f"{path}: {context}"
            assert versions.get("tls_minimum_protocol_version") == "TLSv1_2", f"{path}: {context}"
        seen += len(found)
    assert seen >= 12
