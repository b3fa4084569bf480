"""Pulls a module from a registry by the rules of Istio's agent, in plain HTTP requests.

Istio, pkg/wasm/imagefetcher.go: the manifest is Docker's or OCI's; the last layer has the media type that belongs to
it; its tar, compressed with gzip, has a file whose base name is plugin.wasm. Envoy Gateway's internal/wasm has the
same rules. (A third form, an artifact of two layers, is not one that we make.)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath

import httpx

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_OF = {
    OCI_MANIFEST: "application/vnd.oci.image.layer.v1.tar+gzip",
    DOCKER_MANIFEST: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


@dataclass
class Pulled:
    digest: str
    manifest: dict
    config: dict
    files: dict[str, bytes]
    module: bytes
    size: int


def pull(registry: str, name: str, reference: str) -> Pulled:
    with httpx.Client(base_url=f"http://{registry}/v2/{name}/", trust_env=False) as client:
        answer = client.get(f"manifests/{reference}", headers={"accept": ", ".join(LAYER_OF)}).raise_for_status()
        kind, manifest = answer.headers["content-type"], answer.json()
        assert digest_of(answer.content) == answer.headers["docker-content-digest"]
        config = blob(client, manifest["config"])
        layer = manifest["layers"][-1]
        assert layer["mediaType"] == LAYER_OF[kind], f"{layer['mediaType']} in a {kind}"
        packed = blob(client, layer)
    unpacked = gzip.decompress(packed)
    config_json = httpx.Response(200, content=config).json()
    assert config_json["rootfs"]["diff_ids"][-1] == digest_of(unpacked)
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        files = {member.name: content.read() for member in archive if (content := archive.extractfile(member))}
    modules = [content for path, content in files.items() if PurePosixPath(path).name == "plugin.wasm"]
    size = len(answer.content) + len(config) + sum(each["size"] for each in manifest["layers"])
    return Pulled(digest_of(answer.content), manifest, config_json, files, modules[0], size)


def blob(client: httpx.Client, described: dict) -> bytes:
    content = client.get(f"blobs/{described['digest']}", follow_redirects=True).raise_for_status().content
    assert (len(content), digest_of(content)) == (described["size"], described["digest"])
    return content


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
