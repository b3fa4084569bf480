"""Chromium at an Envoy with the filter.

    def test_something(chromium):
        browser = chromium(prompt="login")

`chromium(**options)` starts an Envoy with these filter options, as `service` does, and a Chromium without
cookies for it. A test fails if a console has a message, if a browser sent a request to another server than the
service and the provider, or if one of its cookies is in Envoy's log.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from harness.known_secrets import SECRETS

from .chromium import Chromium


@pytest.fixture
def chromium(service):
    running = []

    def start(*, host: str = "127.0.0.1", **options: Any) -> Chromium:
        at = service(**options)
        url = at.url.replace("127.0.0.1", host)
        at.provider.control("redirect_uri", uri=f"{url}/oauth2/callback")
        browser = Chromium(url)
        running.append((browser, at))
        return browser

    yield start
    try:
        for browser, at in running:
            check(browser, at)
    finally:
        for browser, _ in running:
            browser.close()


def check(browser: Chromium, at) -> None:
    assert browser.complaints() == []
    known = {urlsplit(browser.base_url).netloc, urlsplit(at.provider.issuer).netloc}
    assert browser.asked_hosts() <= known
    for cookie in browser.session_cookies():
        SECRETS.add("a cookie", cookie["value"])
    SECRETS.check("Envoy's log", at.envoy.log())
