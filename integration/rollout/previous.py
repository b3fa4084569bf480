"""The module of the version before this one, built from its own sources: a fleet moves from it to this one and back.

    .venv/bin/python integration/rollout/previous.py

Its commit is only here. A release writes its predecessor here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

COMMIT = "57ffdc0ed4ae4f8194bfffe6babdbda92cdc107b"

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "previous"
WASM = CACHE / f"{COMMIT}.wasm"
TARGET = "wasm32-wasip1"


class NotBuilt(Exception):
    """The version before is missing, or cannot be built. The text says what to do."""


def main() -> int:
    try:
        build()
    except NotBuilt as error:
        print(f"test-rollout: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> None:
    """Builds the module, unless it was built before."""
    if WASM.exists():
        return
    commit = COMMIT[:12]
    if subprocess.run(
        ["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=ROOT, stderr=subprocess.DEVNULL, check=False
    ).returncode:
        raise NotBuilt(
            f"the version before this one is the commit {commit}, which is not in this clone. "
            "If it is a shallow clone: git fetch --unshallow"
        )
    print(f"test-rollout: building the version before this one, {commit} (about a minute)", flush=True)
    sources = CACHE / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", sources], input=archive, check=True)
    target = CACHE / "target"
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(target),
        "CARGO_ENCODED_RUSTFLAGS": "-Ctarget-feature=+simd128",
    }
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--quiet", "--lib", "--target", TARGET]
    if subprocess.run(cargo, cwd=sources, env=environment, check=False).returncode:
        raise NotBuilt(f"the commit {commit} could not be built; cargo's output is above")
    built = target / TARGET / "release" / "oauth2_session_filter.wasm"
    # In tools/ today, in integration/ in older versions.
    (trim,) = sources.glob("*/trim_exports.py")
    trimmed = CACHE / "new.wasm"
    subprocess.run([sys.executable, trim, built, trimmed], check=True)
    trimmed.rename(WASM)
    shutil.rmtree(sources)
    shutil.rmtree(target)


if __name__ == "__main__":
    sys.exit(main())
