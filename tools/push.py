"""`make push IMAGE=registry/name:tag`: the image of `make image` to a registry, with the tool that is there.

    python3 tools/push.py registry/name:tag [--host higress] [--plain-http]

skopeo, oras or crane, the first that is found; `PUSH_WITH` names one of them. They have their own sign-in:
`skopeo login`, `oras login`, `crane auth login`. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "dist" / "image"
TOOLS = ("skopeo", "oras", "crane")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", help="registry/name:tag")
    parser.add_argument("--host", choices=["higress"], help="the host that the module is for; default: all others")
    parser.add_argument("--plain-http", action="store_true", help="for a registry without TLS")
    wanted = parser.parse_args()
    folder = IMAGE.with_name(f"{IMAGE.name}_{wanted.host}") if wanted.host else IMAGE
    if not (folder / "index.json").is_file():
        made_by = f"make image HOST={wanted.host}" if wanted.host else "make image"
        return fail(f"{folder.relative_to(ROOT)} is missing: {made_by}")
    tool = os.environ.get("PUSH_WITH") or next(filter(shutil.which, TOOLS), None)
    if tool not in TOOLS:
        return fail(f"one of {', '.join(TOOLS)} is needed; on Debian: apt install skopeo")
    manifest = json.loads((folder / "index.json").read_bytes())["manifests"][0]
    try:
        finished = subprocess.run(
            command(tool, folder, wanted.image, reference(manifest), wanted.plain_http), check=False
        )
    except OSError as error:
        return fail(f"{tool}: {error}")
    if finished.returncode:
        return fail(f"{tool} could not push to {wanted.image}")
    print(f"push: {wanted.image}, {manifest['digest']}")
    return 0


def command(tool: str, folder: Path, image: str, name: str, plain_http: bool) -> list[str]:
    if tool == "skopeo":
        # The digest is what people pin: pushed as it is, or not at all.
        return [
            "skopeo",
            "copy",
            "--quiet",
            "--preserve-digests",
            *["--dest-tls-verify=false"] * plain_http,
            f"oci:{folder}:{name}",
            f"docker://{image}",
        ]
    if tool == "oras":
        return ["oras", "cp", *["--to-plain-http"] * plain_http, "--from-oci-layout", f"{folder}:{name}", image]
    return ["crane", "push", *["--insecure"] * plain_http, str(folder), image]


def reference(manifest: dict) -> str:
    return manifest["annotations"]["org.opencontainers.image.ref.name"]


def fail(reason: str) -> int:
    print(f"push: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
