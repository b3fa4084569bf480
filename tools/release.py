"""`make release`: the files of a release, in dist/release, after `make image` and `make chart`.

    .venv/bin/python tools/release.py [--tag v0.1.0]

    oauth2_session_filter.wasm             the module
    oauth2_session_filter.cdx.json         its bill of materials
    oauth2_session_filter_higress.…        the same of the module for Higress
    oauth2-session-filter-<version>.tgz    the Helm chart
    LICENSE, THIRD-PARTY-LICENSES
    SHA256SUMS                             the checksums of all of these
    notes.md                               what CHANGELOG.md says of the version; not a file of the release

With a tag, it is an error if the tag is not that of the version, or if CHANGELOG.md has no section for the version.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
from pathlib import Path

from cargo import package
from image import HOSTS, SBOM, WASM, of_host

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
RELEASE = DIST / "release"
NOTES = "notes.md"


class NotReady(Exception):
    """The release cannot be made. The text says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", help="the tag of the release; without it, the notes are those of what is unreleased")
    wanted = parser.parse_args()
    version = package().version
    try:
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        notes = notes_of(changelog, version, wanted.tag)
        shutil.rmtree(RELEASE, ignore_errors=True)
        RELEASE.mkdir(parents=True)
        for path in files(version):
            shutil.copy(path, RELEASE / path.name)
        sums = [f"{checksum(path)}  {path.name}\n" for path in sorted(RELEASE.iterdir())]
        (RELEASE / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        (RELEASE / NOTES).write_text(notes, encoding="utf-8")
    except (OSError, NotReady) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"release: {RELEASE.relative_to(ROOT)}, {', '.join(sorted(path.name for path in RELEASE.iterdir()))}")
    return 0


def files(version: str) -> list[Path]:
    return [
        *(of_host(path, host) for path in (WASM, SBOM) for host in (None, *HOSTS)),
        DIST / f"oauth2-session-filter-{version}.tgz",
        ROOT / "LICENSE",
        ROOT / "THIRD-PARTY-LICENSES",
    ]


def notes_of(changelog: str, version: str, tag: str | None) -> str:
    """The section of the version; without a tag, that of what is unreleased."""
    if tag is None:
        wanted = "Unreleased"
    elif tag == f"v{version}":
        wanted = version
    else:
        raise NotReady(f"the tag is {tag}, but the version in Cargo.toml is {version}")
    heading = rf"^## \[?{re.escape(wanted)}\]?(?: [^\n]*)?$"
    found = re.search(rf"{heading}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise NotReady(f"CHANGELOG.md has no section ## {wanted}")
    return found[1].strip() + "\n"


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
