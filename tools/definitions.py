"""`make definitions`: the custom resource definitions of Istio and Envoy Gateway, as released: .cache/crds

    .venv/bin/python tools/definitions.py

For `make check-manifests CRDS=.cache/crds` and `make check-chart CRDS=.cache/crds`.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "crds"
SOURCES = {
    "istio-1.30.3.yaml": "https://raw.githubusercontent.com/istio/istio/1.30.3/manifests/charts/base/files/crd-all.gen.yaml",
    # It has those of the Gateway API too.
    "envoy-gateway-1.9.0.yaml": "https://github.com/envoyproxy/gateway/releases/download/v1.9.0/install.yaml",
}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, url in SOURCES.items():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            print(f"definitions: cannot download {url}: {error}", file=sys.stderr)
            return 1
        (FOLDER / name).write_bytes(content)
        print(f"definitions: {FOLDER.relative_to(ROOT) / name}, from {url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
