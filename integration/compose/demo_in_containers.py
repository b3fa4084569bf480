"""`make test-compose`: compose.yaml of the top folder, as a new user runs it, with a sign-in at each address.

    .venv/bin/python integration/compose/demo_in_containers.py

IMAGES=official|stand-in, as for `make integration`. The ports are free ones, so that nothing else is in the way.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import httpx

import engine
import images
from demo_check import sign_in_and_out
from engine import EngineError
from harness.ports import free_port
from harness.process import stop_on_signals
from harness.vm import signs_in_log

ROOT = FOLDER.parents[1]
START_SECONDS = 180


def main() -> int:
    stop_on_signals()
    try:
        engine.check()
        names = images.chosen(os.environ.get("IMAGES") or "official")
        images.fetch(names)
        check(names)
    except (EngineError, AssertionError) as error:
        print(f"test-compose: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("passed")
    return 0


def check(names: dict[str, str]) -> None:
    port = free_port()
    project = f"oauth2-session-demo-{secrets.token_hex(3)}"
    command = [*engine.compose_command(), "--project-name", project, "--file", ROOT / "compose.yaml"]
    environment = {**os.environ, **names, "PORT": str(port), "PROVIDER_PORT": str(free_port())}

    def compose(*words: str, seconds: float = 60) -> str:
        return engine.run([*command, *words], seconds=seconds, environment=environment)

    try:
        say(f"docker compose up, as {project}")
        compose("up", "--detach", seconds=START_SECONDS)
        try:
            wait_for(f"http://127.0.0.1:{port}/")
            for host in ("localhost", "127.0.0.1"):
                say(f"signing in at {host}")
                sign_in_and_out(f"http://{host}:{port}", "cookie")
        except (AssertionError, httpx.HTTPError) as error:
            raise EngineError(f"{error}\n{compose('logs', '--tail', '40')}") from error
        assert not (signs := signs_in_log(compose("logs").splitlines())), f"a VM died: {signs[0]}"
    finally:
        compose("down", "--volumes", "--timeout", "2")


def wait_for(url: str) -> None:
    """The page that asks for a sign-in: the filter is there, and knows the provider."""
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, trust_env=False, timeout=10)
            if answer.status_code == 302:
                return
            last = f"status {answer.status_code}"
        except httpx.TransportError as error:
            last = str(error)
        time.sleep(0.5)
    raise AssertionError(f"{url} did not ask for a sign-in within {START_SECONDS} s: {last}")


def say(line: str) -> None:
    print(f"test-compose: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
