"""A registry for the tests of the image. If its program is missing, they fail; they are not skipped."""

from __future__ import annotations

import shutil

import httpx
import pytest

from harness.ports import HOST, free_port
from harness.process import Process

CONFIG = """
version: 0.1
log: {{ level: warn }}
storage: {{ filesystem: {{ rootdirectory: {folder} }} }}
http: {{ addr: "{address}" }}
"""


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """The address of an empty registry, Debian's docker-registry."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is missing; on Debian: apt install docker-registry"
    folder = tmp_path_factory.mktemp("registry")
    address = f"{HOST}:{free_port()}"
    config = folder / "config.yml"
    config.write_text(CONFIG.format(folder=folder / "storage", address=address))
    process = Process("docker-registry", [program, "serve", config])
    process.wait_until(lambda: answers(address), seconds=20)
    yield address
    process.stop()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
