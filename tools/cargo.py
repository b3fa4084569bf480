"""Cargo's knowledge of the package, and of the packages in the wasm module."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = "wasm32-wasip1"


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    license: str | None
    description: str | None
    repository: str | None
    is_of_registry: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.version


@dataclass(frozen=True)
class Graph:
    """The packages in the module, and what each of them uses."""

    packages: dict[tuple[str, str], Package]
    uses: dict[tuple[str, str], list[tuple[str, str]]]


def package() -> Package:
    """The filter's package: the one of the repository's top folder."""
    packages = metadata("--no-deps")["packages"]
    return of(next(each for each in packages if Path(each["manifest_path"]) == ROOT / "Cargo.toml"))


def linked() -> Graph:
    """The packages that are linked into the module: without dependencies of tests and builds, and without macros.

    `cargo tree` knows the features that a build for this target has, `cargo metadata` the rest.
    """
    tree = cargo(
        "tree",
        "--target",
        TARGET,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}",
    )
    lines = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    keys = {(name, version.removeprefix("v")) for name, version in lines}
    known = metadata("--filter-platform", TARGET)
    by_id = {entry["id"]: of(entry) for entry in known["packages"]}
    uses = {}
    for node in known["resolve"]["nodes"]:
        used = [by_id[each["pkg"]].key for each in node["deps"] if None in {kind["kind"] for kind in each["dep_kinds"]}]
        uses[by_id[node["id"]].key] = sorted(set(used) & keys)
    packages = {each.key: each for each in by_id.values() if each.key in keys}
    return Graph(packages, {key: uses[key] for key in packages})


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of the packages as the registry has them, by Cargo.lock."""
    entry = re.compile(r'^name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"$', re.MULTILINE)
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    return {(name, version): checksum for name, version, checksum in entry.findall(lock)}


def compiler() -> str:
    """The version of Rust, whose standard library is in the module too."""
    told = subprocess.run(
        [os.environ.get("RUSTC", "rustc"), "--version"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    return told.split()[1]


def of(entry: dict) -> Package:
    return Package(
        entry["name"],
        entry["version"],
        entry["license"],
        entry["description"],
        entry["repository"],
        bool(entry["source"]),
    )


def metadata(*options: str) -> dict:
    return json.loads(cargo("metadata", "--format-version", "1", *options))


def cargo(*words: str) -> str:
    return subprocess.run(
        [os.environ.get("CARGO", "cargo"), *words, "--locked"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
