"""The module for Higress in a host that Higress' own people wrote: see gateway/main.go.

    gateway = make_gateway(redis, cookie_refresh="1s")
    browser = gateway.browser()

The calls of every test are read by a RESP parser of this folder: each has one command, which changes no state of the
connection that all plugins share.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.browser import Browser
from harness.known_secrets import SECRETS
from harness.process import Process
from harness.provider import Provider
from harness.redis import Redis
from harness.render import ROOT
from harness.service import CLIENT_SECRET, COOKIE_SECRET, filter_config

from .resp import one_command

MODULE = ROOT / "dist" / "oauth2_session_filter_higress.wasm"
GATEWAY = Path(__file__).resolve().parent / "gateway"
SERVICE, CLUSTER = "redis.dns", "outbound|6379||redis.dns"
# What a connection that others share must not be sent.
OF_A_CONNECTION = {
    "AUTH", "SELECT", "HELLO", "CLIENT", "SUBSCRIBE", "PSUBSCRIBE", "MONITOR", "MULTI", "WATCH", "RESET", "QUIT",
    "READONLY", "ASKING",
}  # fmt: skip


def pytest_configure() -> None:
    for program, what in (("go", "Go 1.24 or newer"), ("redis-server", "redis-server")):
        if not shutil.which(program):
            pytest.exit(f"{what} is missing", returncode=2)


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Path:
    built = tmp_path_factory.mktemp("gateway") / "gateway"
    subprocess.run(["go", "build", "-o", built, "."], cwd=GATEWAY, check=True)
    return built


class Gateway:
    """A gateway with one worker, and its browsers."""

    def __init__(self, program: Path, provider: Provider, redis: Redis, **plugin: Any):
        options = {
            "session_store_type": "redis",
            "redis_service": SERVICE,
            "bridge_cluster": "outbound|443||login.dns",
            "skip_provider_button": True,
            **plugin,
        }
        environment = {
            "OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET,
        }
        wanted = {
            "module": str(MODULE),
            "plugin": filter_config(provider, **options),
            "environment": environment,
            "services": {CLUSTER: f"127.0.0.1:{redis.port}"},
        }
        self.process = Process("the gateway", [program], environment={**os.environ, "GATEWAY": json.dumps(wanted)})
        line = self.process.wait_until(lambda: next((s for s in self.process.lines() if s.startswith("{")), None))
        addresses = json.loads(line)
        self.url, self._control = addresses["url"], addresses["control"]
        self._browsers: list[Browser] = []
        provider.add_redirect_uri(f"{self.url}/oauth2/callback")

    def browser(self) -> Browser:
        browser = Browser(self.url)
        self._browsers.append(browser)
        return browser

    def ask(self, path: str, **body: Any):
        answer = httpx.post(self._control + path, json=body, trust_env=False, timeout=30)
        return answer.json()

    def goes_wrong(self, **faults: Any) -> None:
        """From now on these faults happen, and no others: see `faults` in gateway/main.go."""
        replies = [base64.b64encode(reply).decode() for reply in faults.pop("replies", [])]
        assert self.ask("/faults", replies=replies, **faults)

    def calls(self) -> list[list[bytes]]:
        """The command of each call so far. A call that is not one command fails the test."""
        commands = []
        for call in self.ask("/calls") or []:
            assert call["service"] == CLUSTER
            commands.append(one_command(base64.b64decode(call["query"])))
        return commands

    def inits(self) -> list[dict]:
        return self.ask("/inits") or []

    def log(self) -> str:
        return "\n".join(self.process.lines())

    def stop(self) -> None:
        try:
            assert self.process.exit_code is None, f"the gateway ended:\n{self.log()[-3000:]}"
            sent = {words[0].decode().upper() for words in self.calls()}
            assert not sent & OF_A_CONNECTION, sent
            SECRETS.check("the gateway's log", self.log())
            for browser in self._browsers:
                SECRETS.check("a page or an error of the filter", "\n".join(browser.pages))
                browser.close()
        finally:
            self.process.stop()


@pytest.fixture
def make_gateway(program, provider):
    gateways: list[Gateway] = []

    def make(redis: Redis, **plugin: Any) -> Gateway:
        gateways.append(Gateway(program, provider, redis, **plugin))
        return gateways[-1]

    yield make
    for gateway in gateways:
        gateway.stop()


@pytest.fixture
def password() -> str:
    return secrets.token_urlsafe(24)
