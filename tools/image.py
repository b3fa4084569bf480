"""`make image`: the filter as an OCI image, without Docker, and its bill of materials beside it.

    .venv/bin/python tools/image.py [--host higress] [--source URL] [--revision COMMIT]

An image of one layer with `plugin.wasm`, and with the licenses: the form that Istio's agent, Envoy Gateway and kgateway
all read (Istio, pkg/wasm/imagefetcher.go, `extractOCIStandardImage`), and that Kubernetes can mount as a volume.
It is written as an OCI image layout. It contains no time, place or author of the build, so two builds of the
same sources have the same digest. Standard library only.

    dist/image/oci-layout                  {"imageLayoutVersion": "1.0.0"}
    dist/image/index.json                  names the manifest
    dist/image/blobs/sha256/…              manifest, configuration, layer: a tar, compressed with gzip
    dist/oauth2_session_filter.cdx.json    CycloneDX: what is in the module

The module for a host (`make build HOST=higress`) has the name of the host behind these names: dist/image_higress.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import datetime, timezone
from pathlib import Path

import sbom
from cargo import Package, package

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
WASM = DIST / "oauth2_session_filter.wasm"
IMAGE = DIST / "image"
SBOM = DIST / "oauth2_session_filter.cdx.json"
# The hosts that have a module of their own, and what a registry shows of it.
HOSTS = {"higress": "for Higress alone, whose gateway calls Redis itself"}
LICENSES = (ROOT / "LICENSE", ROOT / "THIRD-PARTY-LICENSES")

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Of the module itself: what `sha256` of Envoy's remote code is compared with. Istio's `sha256` is the image's digest.
MODULE_DIGEST = "module.wasm.digest"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", choices=HOSTS, help="the host that the module is for; default: all others")
    parser.add_argument("--source", help="URL of the sources; default: `repository` in Cargo.toml")
    parser.add_argument("--revision", help="the commit; default: not named")
    wanted = parser.parse_args()
    wasm, image, bill = (of_host(path, wanted.host) for path in (WASM, IMAGE, SBOM))
    try:
        about = package()
        module = wasm.read_bytes()
        digest, size = write(image, module, about, labels(about, module, wanted.source, wanted.revision, wanted.host))
        bill.write_bytes(as_json(sbom.bill(about, module)))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(f"image: {image.relative_to(ROOT)}, {size} bytes, {digest}")
    print(f"image: {bill.relative_to(ROOT)}, the bill of materials")
    return 0


def of_host(path: Path, host: str | None) -> Path:
    """The same file of the module for a host."""
    stem, dot, rest = path.name.partition(".")
    return path.with_name(f"{stem}_{host}{dot}{rest}") if host else path


def labels(
    about: Package, module: bytes, source: str | None, revision: str | None, host: str | None = None
) -> dict[str, str]:
    source = source or about.repository
    said = {
        "org.opencontainers.image.title": f"{about.name}-{host}" if host else about.name,
        "org.opencontainers.image.description": f"{about.description}; {HOSTS[host]}" if host else about.description,
        "org.opencontainers.image.version": about.version,
        "org.opencontainers.image.licenses": about.license,
        "org.opencontainers.image.source": source,
        "org.opencontainers.image.documentation": source,
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.created": created(),
        # https://artifacthub.io/docs/topics/repositories/container-images/
        "io.artifacthub.package.license": about.license,
        "io.artifacthub.package.category": "security",
        "io.artifacthub.package.readme-url": readme(source, revision),
        MODULE_DIGEST: digest_of(module),
    }
    return {key: value for key, value in said.items() if value}


def readme(source: str | None, revision: str | None) -> str | None:
    """The address of README.md, if the sources are on GitHub."""
    _, on_github, name = (source or "").partition("https://github.com/")
    return f"https://raw.githubusercontent.com/{name}/{revision or 'HEAD'}/README.md" if on_github else None


def write(folder: Path, module: bytes, about: Package, said: dict[str, str]) -> tuple[str, int]:
    """The digest of the manifest, and how much there is to pull."""
    # Under another name until it is complete, so that no incomplete image is pushed.
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    blobs = new / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(media_type: str, content: bytes) -> dict:
        digest = digest_of(content)
        (blobs / digest.partition(":")[2]).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    archive = tar(module)
    layer = blob(LAYER, gzip.compress(archive, 9, mtime=0))
    config = blob(
        CONFIG,
        as_json(
            {
                # As of an image that is built FROM scratch: a runtime unpacks only what it takes for its own kind.
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": said},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(archive)]},
                "history": [
                    {
                        "created_by": "COPY plugin.wasm LICENSE THIRD-PARTY-LICENSES ./",
                        **({"created": created()} if created() else {}),
                    }
                ],
                **({"created": created()} if created() else {}),
            }
        ),
    )
    manifest = blob(
        MANIFEST,
        as_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [layer],
                "annotations": said,
            }
        ),
    )
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": about.version}}
    (new / "index.json").write_bytes(as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}))
    (new / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    return manifest["digest"], sum(part["size"] for part in (manifest, config, layer))


def tar(module: bytes) -> bytes:
    """An archive of `plugin.wasm` and the licenses: owned by root, readable by all, of no time."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        for name, content in {"plugin.wasm": module, **{path.name: path.read_bytes() for path in LICENSES}}.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(content), 0o644
            writer.addfile(file, io.BytesIO(content))
    return archive.getvalue()


def created() -> str | None:
    """Only if the environment says so: https://reproducible-builds.org/specs/source-date-epoch/"""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    return f"{datetime.fromtimestamp(int(seconds), timezone.utc):%Y-%m-%dT%H:%M:%SZ}" if seconds else None


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
