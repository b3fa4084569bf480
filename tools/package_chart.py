"""`make chart`: packages the Helm chart, with helm: dist/oauth2-session-filter-<version>.tgz.

    .venv/bin/python tools/package_chart.py [--image registry/name] [--digest sha256:…] [--source URL]

The chart of a release names the image of that release, by its digest. In charts/, files/ leads to envoy-config/; the
package has the manifests themselves.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cargo import package

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "oauth2-session-filter"
DIST = ROOT / "dist"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="the image, without oci://, tag and digest")
    parser.add_argument("--digest", help="the digest of the image")
    parser.add_argument("--source", help="URL of the sources")
    wanted = parser.parse_args()
    copy = DIST / "chart" / CHART.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(CHART, copy)
    shutil.copy(ROOT / "LICENSE", copy / "LICENSE")
    try:
        write(copy / "values.yaml", values(copy / "values.yaml", wanted.image, wanted.digest))
        write(copy / "Chart.yaml", metadata(copy / "Chart.yaml", wanted.image, wanted.digest, wanted.source))
        ended = subprocess.run(["helm", "package", copy, "--destination", DIST], check=False)
    except (OSError, ValueError) as error:
        print(f"chart: {error}", file=sys.stderr)
        return 1
    return ended.returncode


def values(path: Path, image: str | None, digest: str | None) -> str:
    text = path.read_text(encoding="utf-8")
    if image:
        text = replaced(r"^  repository: .*$", f"  repository: {image}", text)
    if digest:
        text = replaced(r'^  digest: "".*$', f"  digest: {digest}", text)
    return text


def metadata(path: Path, image: str | None, digest: str | None, source: str | None) -> str:
    version = package().version
    text = replaced(r"^version: .*$", f"version: {version}", path.read_text(encoding="utf-8"))
    text = replaced(r"^appVersion: .*$", f"appVersion: {version}", text)
    text = replaced(r'prerelease: ".*"', f'prerelease: "{"true" if "-" in version else "false"}"', text)
    if image:
        named = [{"name": CHART.name, "image": f"{image}@{digest}" if digest else f"{image}:{version}"}]
        text += f"  artifacthub.io/images: {json.dumps(json.dumps(named))}\n"
    if source:
        text += f"home: {source}\nsources: [{source}]\n"
    return text


def replaced(pattern: str, by: str, text: str) -> str:
    made, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"expected one line {pattern}, found {count}")
    return made


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
