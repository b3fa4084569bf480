"""A real oauth2-proxy beside the filter: the same provider, the same secret, the same upstream.

The environment names the program, by OAUTH2_PROXY: see https://github.com/oauth2-proxy/oauth2-proxy/releases,
or /bin/oauth2-proxy in the image quay.io/oauth2-proxy/oauth2-proxy.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .ports import free_port
from .process import Process
from .provider import Provider
from .service import CLIENT_ID, CLIENT_SECRET

REQUEST = "REQUEST"
LINE = re.compile(r"\s*(\w+)\s*=\s*(.+)")


class OAuth2Proxy:
    """Starts at once, on loopback, with a configuration file. Options have oauth2-proxy's names."""

    def __init__(self, provider: Provider, upstreams: list[str], cookie_secret: str, /, **options: Any):
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {
            "http_address": self.url,
            "upstreams": upstreams,
            "provider": "oidc",
            "oidc_issuer_url": provider.issuer,
            "client_id": CLIENT_ID,
            "scope": "openid email profile",
            "code_challenge_method": "S256",
            "email_domains": ["*"],
            "cookie_secure": False,
            "skip_provider_button": True,
            "request_logging_format": REQUEST + " {{.RequestMethod}} {{.RequestURI}}",
            "silence_ping_logging": True,
            **options,
        }
        self._ping = f"{self.url}{settings.get('ping_path', '/ping')}"
        self._prefix = str(settings.get("proxy_prefix", "/oauth2"))
        self._secrets = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": cookie_secret}
        self._folder = Path(tempfile.mkdtemp(prefix="oauth2-proxy-", dir="/tmp"))
        self._config = self._folder / "oauth2-proxy.cfg"
        self._config.write_text(to_toml(settings), encoding="utf-8")
        self._process: Process | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        self._process = Process("oauth2-proxy", [program(), "--config", self._config], environment=self._secrets)
        self._process.wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ping, timeout=1) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def log(self) -> str:
        return "\n".join(self._started().lines())

    def requests(self) -> list[str]:
        """Methods and targets of its requests since its start, oldest first."""
        # A request of our own marks the end, so that no line is missed that is still to come.
        own = f"{self._prefix}/static/{time.monotonic()}"
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{self.url}{own}", timeout=10).close()
        process = self._started()
        process.wait_until(lambda: any(own in line for line in process.lines()))
        lines = [line.partition(REQUEST)[2] for line in process.lines() if REQUEST in line]
        found = [line.replace('"', "").strip() for line in lines]  # it puts the target in quotes
        return [request for request in found if f"{self._prefix}/static/" not in request]

    def _started(self) -> Process:
        assert self._process, "oauth2-proxy was not started"
        return self._process

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def program() -> str:
    return os.environ["OAUTH2_PROXY"]


def version() -> str:
    """Its version as it says it; a local build may say nothing useful."""
    return subprocess.run([program(), "--version"], capture_output=True, text=True, check=True).stdout.strip()


def to_toml(settings: dict[str, object]) -> str:
    """Texts, numbers, booleans and lists of them look the same in TOML and in JSON."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def read_toml(path: Path) -> dict[str, Any]:
    """Reads such a file: one option in each line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    options = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            option = LINE.fullmatch(line)
            assert option, line
            options[option[1]] = json.loads(option[2])
    return options
