"""The container engine, by its own commands: `docker`, and `docker compose` or `docker-compose`.

Every command has a time limit: a command that hangs is an error that names it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache


class EngineError(Exception):
    """A command failed. The text has its output."""


def run(
    command: Sequence[object],
    *,
    seconds: float = 60,
    environment: dict[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Runs a command and returns its output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=seconds,
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"not done after {seconds:g} s: {' '.join(words)}") from error
    except FileNotFoundError as error:
        raise EngineError(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        raise EngineError(f"command failed: {' '.join(words)}\n{(done.stderr + done.stdout).strip()}")
    return done.stdout


def docker(*words: object, seconds: float = 60) -> str:
    return run(["docker", *words], seconds=seconds)


def check() -> None:
    """Fails if no container engine answers."""
    if not shutil.which("docker"):
        raise EngineError("docker is not installed; on Debian: apt install docker.io docker-compose")
    try:
        docker("version", seconds=20)
    except EngineError as error:
        raise EngineError(f"no container engine answers; is dockerd running?\n{error}") from error
    compose_command()


def check_that_containers_run(image: str) -> None:
    """Fails if the engine answers but lacks the rights (cgroups, namespaces) to run a container."""
    try:
        docker("run", "--rm", image, "true", seconds=60)
    except EngineError as error:
        raise EngineError(f"this machine cannot run containers: {error}") from error


@lru_cache(maxsize=1)
def compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            run([*command, "version"], seconds=30)
            return command
        except EngineError:
            pass
    raise EngineError("there is neither `docker compose` nor `docker-compose`; on Debian: apt install docker-compose")


class Project:
    """The containers of one project of compose, by the names of their services."""

    def __init__(self, name: str, files: Sequence[object], environment: dict[str, str]):
        self.name = name
        self._command = [*compose_command(), "--project-name", name, *(word for file in files for word in ("-f", file))]
        self._environment = environment

    def up(self) -> None:
        self._compose("up", "--detach", seconds=180)

    def down(self) -> None:
        """Removes containers, networks and volumes. A paused container has to run before it can be stopped."""
        for service in self.services("--filter", "status=paused"):
            docker("unpause", self.container(service))
        self._compose("down", "--volumes", "--remove-orphans", "--timeout", 3, seconds=180)

    def _compose(self, *words: object, seconds: float) -> str:
        return run([*self._command, *words], seconds=seconds, environment=self._environment)

    def services(self, *filters: str) -> list[str]:
        """The services that have a container, or those that the filters choose."""
        label = '{{.Label "com.docker.compose.service"}}'
        return sorted(docker("ps", "--all", *self._mine(), *filters, "--format", label).split())

    def container(self, service: str) -> str:
        found = docker(
            "ps", "--all", "--quiet", *self._mine(), "--filter", f"label=com.docker.compose.service={service}"
        ).split()
        if len(found) != 1:
            raise EngineError(f"there are {len(found)} containers of {service}")
        return found[0]

    def _mine(self) -> list[str]:
        return ["--filter", f"label=com.docker.compose.project={self.name}"]

    @property
    def network(self) -> str:
        return f"{self.name}_default"

    def execute(self, service: str, *words: object, seconds: float = 30) -> str:
        """Runs a command in a container."""
        return docker("exec", self.container(service), *words, seconds=seconds)

    def logs(self, service: str) -> str:
        """The output of its container, from both streams."""
        done = subprocess.run(
            ["docker", "logs", "--timestamps", self.container(service)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=60,
            check=False,
        )
        return done.stdout
