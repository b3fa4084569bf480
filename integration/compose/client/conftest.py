"""Browsers at both Envoys, control of the provider, and access to Redis."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from client.servers import ENVOYS, PROVIDER_CONTROL, Envoy, Redis


class Provider:
    """The commands of provider.mjs that these tests need."""

    def control(self, command: str, **arguments: Any):
        answer = httpx.post(f"{PROVIDER_CONTROL}/{command}", json=arguments, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def grants(self, grant_type: str) -> int:
        """The number of grants since the last `forget`."""
        return sum(entry.get("grant_type") == grant_type for entry in self.control("seen"))


@pytest.fixture
def provider():
    provider = Provider()
    provider.control("forget")
    return provider


@pytest.fixture
def redis():
    """Redis, whatever its topology. Other tests' sessions are there too."""
    return Redis()


@pytest.fixture
def browsers():
    """Two browsers without cookies, each at an Envoy of its own."""
    browsers = [Envoy(url).browser() for url in ENVOYS]
    yield browsers
    for browser in browsers:
        browser.close()


@pytest.fixture
def browser(browsers):
    return browsers[0]
