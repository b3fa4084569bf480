"""The same sources in another folder, compiled anew, are the same image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from image import IMAGE, ROOT, SBOM

# Made by tools/environment.py, and no part of the module.
SHARED = (".venv", "integration/provider/node_modules", "tools/wasm-opt/node_modules")


def test_another_checkout_builds_the_same_image(tmp_path):
    checkout = tmp_path / "a folder of another name"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    for name in SHARED:
        (checkout / name).symlink_to(ROOT / name, target_is_directory=True)
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    subprocess.run(["make", "image"], cwd=checkout, check=True, env=environment)

    def made(root, path):
        return (root / path.relative_to(ROOT)).read_bytes()

    index = IMAGE / "index.json"
    assert json.loads(made(checkout, index)) == json.loads(made(ROOT, index))
    assert made(checkout, SBOM) == made(ROOT, SBOM)
