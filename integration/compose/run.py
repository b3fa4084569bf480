"""The suite in containers: an Envoy with the built filter as it is deployed, and Redis in each of its forms.

    make integration [TOPOLOGY=single|sentinel|cluster|all] [KEEP=1] [IMAGES=official|stand-in]

For each topology: brings it up, runs the end-to-end tests in the container `client`, then injects faults
into the master's container while that client asks. If something fails, the logs of all containers are
shown. At the end no container, network or volume is left. With KEEP=1 they stay, for inspection.

Secrets are new in each run, and pass only through the environment.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import httpx  # its folder is the one of the client's packages

import engine
import images
from engine import EngineError, Project
from faults import FAULTS, Failure, inject
from harness.process import stop_on_signals
from harness.render import WASM, render
from harness.vm import DEATH
from images import say
from topologies import TOPOLOGIES, Single, attempt, until

CLIENT_ID = "integration"
START_SECONDS = 120
TEST_SECONDS = 300
# With KEEP=1, Envoy on loopback.
PORT = 8080


class Suite:
    """One topology, from its first container to its last."""

    def __init__(self, topology_class: type[Single], names: dict[str, str], keep: bool):
        self.keep = keep
        network = free_network()
        self.topology = topology_class(network)
        self._folder = Path(tempfile.mkdtemp(prefix="oauth2-session-"))
        self._secrets = {
            "OAUTH2_PROXY_CLIENT_SECRET": secrets.token_urlsafe(32),
            "OAUTH2_PROXY_COOKIE_SECRET": secrets.token_urlsafe(32),
            "OAUTH2_PROXY_REDIS_PASSWORD": secrets.token_urlsafe(32),
        }
        self._fill_folder()
        files = [FOLDER / name for name in ("compose.yaml", f"{self.topology.name}.yaml", *["keep.yaml"] * keep)]
        name = f"oauth2-session-{self.topology.name}-{secrets.token_hex(3)}"
        self.project = self.topology.project = Project(
            name,
            files,
            {
                **os.environ,
                **names,
                **self._secrets,
                "INTEGRATION": str(self._folder / "integration"),
                "PACKAGES": str(Path(httpx.__file__).parents[1]),
                "SUITE_FOLDER": str(self._folder),
                "NETWORK": network,
                "PORT": str(PORT),
                "TOPOLOGY": self.topology.name,
                "REDIS_NODES": ",".join(self.topology.nodes),
                "PROVIDER_OPTIONS": json.dumps(self._provider_options()),
            },
        )

    def _fill_folder(self) -> None:
        """Copies what the containers mount, so that later changes in the tree do not change this run."""
        without = shutil.ignore_patterns("__pycache__", ".pytest_cache")
        shutil.copytree(FOLDER.parent, self._folder / "integration", ignore=without)
        shutil.copy(WASM, self._folder / "filter.wasm")
        (self._folder / "envoy.json").write_text(
            render(
                json.dumps(self._filter_config()),
                listen="0.0.0.0:8080",
                upstream="upstream:9000",
                variables=list(self._secrets),
                ca="/etc/ssl/certs/ca-certificates.crt",
                wasm=Path("/suite/filter.wasm"),
            ),
            encoding="utf-8",
        )
        # Envoy's image has a user of its own for it.
        self._folder.chmod(0o755)
        for name in ("filter.wasm", "envoy.json"):
            (self._folder / name).chmod(0o644)

    def _filter_config(self) -> dict:
        return {
            "provider": "oidc",
            "oidc_issuer_url": "http://provider:9000",
            "client_id": CLIENT_ID,
            "email_domains": ["*"],
            "cookie_secure": False,  # the client speaks http
            "cookie_refresh": "8s",  # REFRESH_SECONDS in client/servers.py; due in the middle of every fault
            "pass_access_token": True,
            "session_store_type": "redis",
            **self.topology.options,
        }

    def _provider_options(self) -> dict:
        hosts = ["envoy-a:8080", "envoy-b:8080", f"127.0.0.1:{PORT}", f"localhost:{PORT}"]
        client = {
            "client_id": CLIENT_ID,
            "client_secret": self._secrets["OAUTH2_PROXY_CLIENT_SECRET"],
            "redirect_uris": [f"http://{host}/oauth2/callback" for host in hosts],
        }
        return {"host": "provider", "port": 9000, "control_port": 9001, "clients": [client]}

    def run(self) -> bool:
        """Runs everything; whether it passed."""
        began = time.monotonic()
        try:
            self._start()
            self._test()
            for fault in FAULTS:
                self._say(inject(self.topology, fault))
            self._check_logs()
        except (EngineError, Failure) as error:
            self._show_logs()
            self._say(f"FAILED: {error}")
            return False
        finally:
            self._finish()
        self._say(f"all passed, in {time.monotonic() - began:.0f} s")
        return True

    def _start(self) -> None:
        self._say(f"starting {self.project.name}")
        self.project.up()
        self.topology.set_up()
        until(self._is_up, f"the {self.topology.name} topology is whole", seconds=START_SECONDS)
        until(self._is_ready, "Envoy, the filter and the provider answer", seconds=START_SECONDS, pause=0.5)
        self._say(", ".join(self.project.services()))

    def _is_up(self) -> bool:
        if ended := self.project.services("--filter", "status=exited"):
            raise EngineError(f"ended at once: {', '.join(ended)}")
        return self.topology.is_whole()

    def _is_ready(self) -> bool:
        if ended := self.project.services("--filter", "status=exited"):
            raise EngineError(f"ended at once: {', '.join(ended)}")
        return attempt(lambda: self.project.execute("client", "python3", "-m", "client.ready")) is not None

    def _test(self) -> None:
        """The end-to-end tests. The configuration of the other tests is not for this container."""
        tests = "/integration/compose/client"
        output = self.project.execute(
            "client",
            "python3",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--confcutdir={tests}",
            tests,
            seconds=TEST_SECONDS,
        )
        self._say(output.strip().splitlines()[-1])

    def _check_logs(self) -> None:
        """Fails if something crashed, or a secret is in a log."""
        for service in self.project.services():
            log = self.project.logs(service)
            for name, secret in self._secrets.items():
                if secret in log:
                    raise Failure(f"{name} is in the log of {service}")
            if service.startswith("envoy") and (death := DEATH.search(log)):
                raise Failure(f"{service} crashed: {death[0]}")
        if ended := self.project.services("--filter", "status=exited"):
            raise Failure(f"ended: {', '.join(ended)}")

    def _show_logs(self) -> None:
        for service in attempt(self.project.services) or []:
            print(f"\n---- {service} ----", flush=True)
            log = attempt(lambda: self.project.logs(service)) or ""
            print("\n".join(log.splitlines()[-80:]), flush=True)
        print(flush=True)

    def _finish(self) -> None:
        if self.keep:
            self._say_how_to_look()
            return
        try:
            self.project.down()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _say_how_to_look(self) -> None:
        name = self.project.name
        redis = attempt(lambda: self.project.container("redis-1"))
        mine = f"--filter label=com.docker.compose.project={name}"
        print(
            f"""
It is still there: {name}
  see:     docker ps {mine}
  ask:     curl -i http://127.0.0.1:{PORT}/
           a browser finds the provider with the line "127.0.0.1 provider" in /etc/hosts
  Redis:   docker exec {redis} sh -c 'REDISCLI_AUTH=$OAUTH2_PROXY_REDIS_PASSWORD redis-cli --scan'
  remove:  docker rm --force --volumes $(docker ps --all --quiet {mine})
           docker network rm {self.project.network}; rm -r {self._folder}
""",
            flush=True,
        )

    def _say(self, line: str) -> None:
        say(f"{self.topology.name}: {line}")


def free_network() -> str:
    """The first three numbers of an unused network."""
    taken = engine.docker("network", "ls", "--quiet").split()
    known = engine.docker("network", "inspect", *taken) + routes()
    return next(network for network in candidates() if f"{network}." not in known)


def candidates():
    while True:
        yield f"10.{random.randrange(64, 255)}.{random.randrange(1, 255)}"


def routes() -> str:
    """The networks that this machine itself reaches (Linux)."""
    try:
        lines = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return ""
    addresses = [bytes.fromhex(line.split()[1])[::-1] for line in lines]
    return " ".join(".".join(map(str, address)) for address in addresses)


def wanted_topologies(name: str) -> list[type[Single]]:
    if name == "all":
        return list(TOPOLOGIES.values())
    if name not in TOPOLOGIES:
        raise EngineError(f"TOPOLOGY={name}: expected {', '.join(TOPOLOGIES)} or all")
    return [TOPOLOGIES[name]]


def main() -> int:
    stop_on_signals()
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        topologies = wanted_topologies(os.environ.get("TOPOLOGY") or "all")
        if keep and len(topologies) > 1:
            raise EngineError("KEEP=1 needs a single topology: TOPOLOGY=single, sentinel or cluster")
        engine.check()
        names = images.chosen(os.environ.get("IMAGES") or "official")
        images.fetch(names)
        engine.check_that_containers_run(names["PYTHON_IMAGE"])
        failed = [topology.name for topology in topologies if not Suite(topology, names, keep).run()]
    except EngineError as error:
        print(f"integration: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
