"""The image, pushed to a real registry with every tool that is there, and pulled by the rules of its readers."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from cargo import checksums, package
from image import IMAGE, ROOT, SBOM, WASM, digest_of, labels
from push import TOOLS

from .fetcher import pull

# The most bytes of the module, as it is pulled.
LARGEST = 614_400  # 94,000 of them are the crates that read the patterns of routes, 18,000 that for P-521


def local_digest() -> str:
    return json.loads((IMAGE / "index.json").read_bytes())["manifests"][0]["digest"]


def push(image: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "push.py", "--plain-http", image],
        capture_output=True,
        text=True,
        check=False,
        env=environment or None,
    )


@pytest.fixture(params=[tool for tool in TOOLS if shutil.which(tool)])
def pulled(request, registry):
    """The module from the registry, after a push with this tool."""
    finished = push(
        f"{registry}/filters/{request.param}:1",
        PATH=str(shutil.which(request.param).rpartition("/")[0]),
        PUSH_WITH=request.param,
    )
    assert finished.returncode == 0, finished.stderr
    assert local_digest() in finished.stdout
    return pull(registry, f"filters/{request.param}", "1")


def test_a_push_tool_is_installed():
    assert any(map(shutil.which, TOOLS)), f"none of {', '.join(TOOLS)} is installed; on Debian: apt install skopeo"


def test_pulled_module_is_the_built_one(pulled):
    assert pulled.module == WASM.read_bytes()
    assert list(pulled.files) == ["plugin.wasm", "LICENSE", "THIRD-PARTY-LICENSES"]


def test_pulled_image_has_one_layer_and_the_built_digest(pulled):
    assert pulled.manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert pulled.manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert len(pulled.manifest["layers"]) == 1
    assert pulled.digest == local_digest()


def test_image_has_its_annotations(pulled):
    about, said = package(), pulled.manifest["annotations"]
    assert pulled.config["config"]["Labels"] == said
    assert said["org.opencontainers.image.version"] == about.version
    assert said["org.opencontainers.image.licenses"] == "MIT"
    # Not the `sha256` of a WasmPlugin, which is the digest of the image.
    assert said["module.wasm.digest"] == f"sha256:{hashlib.sha256(WASM.read_bytes()).hexdigest()}"


def test_release_names_source_and_revision(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    said = labels(package(), b"", "https://git.example.com/filter", "0123abc")
    assert said["org.opencontainers.image.source"] == "https://git.example.com/filter"
    assert said["org.opencontainers.image.revision"] == "0123abc"
    assert said["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"


def test_image_of_the_module_for_a_host_names_the_host():
    said = labels(package(), b"", None, None, "higress")
    assert said["org.opencontainers.image.title"] == "oauth2-session-filter-higress"
    assert "for Higress alone" in said["org.opencontainers.image.description"]


def test_release_on_github_has_what_artifact_hub_needs():
    said = labels(package(), b"", "https://github.com/acme/filter", "0123abc")
    assert (
        said["io.artifacthub.package.readme-url"] == "https://raw.githubusercontent.com/acme/filter/0123abc/README.md"
    )
    assert said["io.artifacthub.package.license"] == "MIT"
    assert "io.artifacthub.package.readme-url" not in labels(package(), b"", "https://git.example.com/filter", None)


def test_image_is_small(pulled, record_property):
    record_property("bytes to pull", pulled.size)
    assert len(gzip.compress(pulled.module, 9, mtime=0)) <= LARGEST


def test_push_without_a_tool_names_the_tools(tmp_path):
    finished = push("127.0.0.1:1/none:1", PATH=str(tmp_path))
    assert finished.returncode == 1
    assert "one of skopeo, oras, crane is needed" in finished.stderr


def test_failed_push_is_an_error():
    finished = push("127.0.0.1:1/none:1")
    assert finished.returncode == 1
    assert "could not push to 127.0.0.1:1/none:1" in finished.stderr


def test_image_has_the_license_of_every_linked_package(pulled):
    text = pulled.files["THIRD-PARTY-LICENSES"].decode()
    named = {name for line in re.findall(r"^-{80}\n.+?: (.+)\n-{80}$", text, re.MULTILINE) for name in line.split("; ")}
    bill = json.loads(SBOM.read_bytes())
    assert {each["name"] for each in bill["components"] if "purl" in each} <= named
    for words in ("Apache License", "Redistributions in binary form", "This software is provided 'as-is'"):
        assert words in text


def test_bill_of_materials_is_valid_cyclonedx():
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(SBOM.read_text(encoding="utf-8"))
    assert errors is None, errors


def test_bill_of_materials_lists_the_linked_packages():
    bill = json.loads(SBOM.read_bytes())
    hashes = bill["metadata"]["component"]["hashes"]
    assert [f"sha256:{each['content']}" for each in hashes] == [digest_of(WASM.read_bytes())]
    of_registry = {each["purl"]: each for each in bill["components"] if "purl" in each}
    for (name, version), checksum in checksums().items():
        if entry := of_registry.pop(f"pkg:cargo/{name}@{version}", None):
            assert entry["hashes"] == [{"alg": "SHA-256", "content": checksum}]
            assert entry["licenses"]
    assert not of_registry, "not in Cargo.lock"
    names = {each["name"] for each in bill["components"]}
    # Linked; of the tests; a macro; of another target.
    assert {"aes-gcm", "proxy-wasm", "serde", "std"} <= names
    assert not {"proptest", "serde_derive", "askama_derive", "libc"} & names
