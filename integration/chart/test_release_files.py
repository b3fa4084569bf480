"""`make release`: the files, and their checksums as docs/verify.md checks them."""

from __future__ import annotations

import subprocess
import sys

from cargo import package
from image import SBOM, WASM
from release import NOTES, RELEASE, ROOT


def test_release_has_its_files_and_their_checksums():
    chart = f"oauth2-session-filter-{package().version}.tgz"
    assert SBOM.exists(), "make image"
    for tool in ("package_chart.py", "release.py"):
        subprocess.run([sys.executable, str(ROOT / "tools" / tool)], cwd=ROOT, check=True)
    names = {path.name for path in RELEASE.iterdir()}
    assert {WASM.name, SBOM.name, chart, "THIRD-PARTY-LICENSES"} <= names
    (RELEASE / "LICENSE").unlink()
    check = ["sha256sum", "--check", "--ignore-missing", "SHA256SUMS"]
    told = subprocess.run(check, cwd=RELEASE, check=True, capture_output=True, text=True).stdout
    assert {line.partition(":")[0] for line in told.splitlines()} == names - {NOTES, "SHA256SUMS", "LICENSE"}
