"""The bill of materials of the module, in CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/

What is linked into it, with the checksums of Cargo.lock. It has no date and no random number, so it is the same for
the same module.
"""

from __future__ import annotations

import hashlib
import re
import uuid

from cargo import Graph, Package, checksums, compiler, linked

# Old crates write MIT/Apache-2.0 for what SPDX calls MIT OR Apache-2.0.
OLD_OR = re.compile(r"\s*/\s*")
NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # of OIDs, RFC 9562


def bill(about: Package, module: bytes) -> dict:
    graph, sums = linked(), checksums()
    sha256 = hashlib.sha256(module).hexdigest()
    std = standard_library()
    others = sorted(key for key in graph.packages if key != about.key)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(NAMESPACE, f"sha256:{sha256}").urn,
        "version": 1,
        "metadata": {"component": {**component(about), "type": "application", "hashes": [hashed(sha256)]}},
        "components": [*(component(graph.packages[key], sums.get(key)) for key in others), std],
        "dependencies": [*dependencies(graph, about, std["bom-ref"]), {"ref": std["bom-ref"]}],
    }


def component(package: Package, checksum: str | None = None) -> dict:
    told = {
        "type": "library",
        "bom-ref": purl(*package.key),
        "name": package.name,
        "version": package.version,
        "description": package.description,
        "licenses": [{"expression": OLD_OR.sub(" OR ", package.license)}] if package.license else None,
        "purl": purl(*package.key) if package.is_of_registry else None,
        "hashes": [hashed(checksum)] if checksum else None,
        "externalReferences": [{"type": "vcs", "url": package.repository}] if package.repository else None,
    }
    return {key: value for key, value in told.items() if value}


def standard_library() -> dict:
    version = compiler()
    return {
        "type": "library",
        "bom-ref": f"rust-std@{version}",
        "name": "std",
        "version": version,
        "description": "The standard library of Rust",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "externalReferences": [{"type": "vcs", "url": "https://github.com/rust-lang/rust"}],
    }


def dependencies(graph: Graph, about: Package, std: str) -> list[dict]:
    found = []
    for key in sorted(graph.packages):
        used = [purl(*each) for each in graph.uses[key]]
        found.append({"ref": purl(*key), "dependsOn": [*used, std] if key == about.key else used})
    return found


def purl(name: str, version: str) -> str:
    return f"pkg:cargo/{name}@{version}"


def hashed(sha256: str) -> dict:
    return {"alg": "SHA-256", "content": sha256}
