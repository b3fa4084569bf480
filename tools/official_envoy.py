"""`make official-envoy`: the Envoy of its official image, for `make test-envoy ENVOY=official`.

    .venv/bin/python tools/official_envoy.py [image]

`make test-envoy` puts a package of the name `envoy` before the one of PyPI; this makes one with the program of the
image.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "envoyproxy/envoy:v1.40-latest"
FOLDER = ROOT / ".cache" / "envoy" / "official"
PACKAGE = '''"""The Envoy of an image, made by tools/official_envoy.py."""

from pathlib import Path


def get_envoy_path() -> Path:
    return Path(__file__).parent / "_bin" / "envoy"
'''


def main() -> int:
    image = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else IMAGE
    new = FOLDER.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "envoy" / "_bin").mkdir(parents=True)
    (new / "envoy" / "__init__.py").write_text("", encoding="utf-8")
    (new / "envoy" / "_envoy.py").write_text(PACKAGE, encoding="utf-8")
    program = new / "envoy" / "_bin" / "envoy"
    try:
        container = run("docker", "create", image)
        try:
            run("docker", "cp", f"{container}:/usr/local/bin/envoy", str(program))
        finally:
            run("docker", "rm", container)
        program.chmod(0o755)
        version = run(str(program), "--version")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"official-envoy: {getattr(error, 'stderr', '') or error}", file=sys.stderr)
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    new.rename(FOLDER)
    print(f"official-envoy: {FOLDER.relative_to(ROOT)}, from {image}: {version}")
    return 0


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
