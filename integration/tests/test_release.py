"""The notes of a release, from the changelog, and the pins of the workflows that make it."""

from __future__ import annotations

import re
import subprocess

import pytest

from harness.render import ROOT
from release import NotReady, notes_of

CHANGELOG = """# Changelog

## Unreleased

### Added

- New.

## 0.2.0 - 2026-12-01

### Fixed

- Old.

## 0.1.0

- Oldest.
"""


def test_notes_are_the_section_of_the_version():
    assert notes_of(CHANGELOG, "0.2.0", "v0.2.0") == "### Fixed\n\n- Old.\n"
    assert notes_of(CHANGELOG, "0.1.0", "v0.1.0") == "- Oldest.\n"


def test_notes_without_a_tag_are_what_is_unreleased():
    assert notes_of(CHANGELOG, "0.2.0", None) == "### Added\n\n- New.\n"


def test_tag_of_another_version_is_refused():
    with pytest.raises(NotReady, match=r"the tag is v0\.3\.0, but the version in Cargo\.toml is 0\.2\.0"):
        notes_of(CHANGELOG, "0.2.0", "v0.3.0")


def test_version_without_a_section_is_refused():
    with pytest.raises(NotReady, match=r"no section ## 0\.3\.0"):
        notes_of(CHANGELOG, "0.3.0", "v0.3.0")


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_pins_its_actions_by_commit(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        if action.startswith("./"):
            continue
        assert re.search(r"@[0-9a-f]{40}$", action), action
        assert re.search(r"# v\d", comment), f"{action} does not say its version"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_calls_targets_that_exist(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^\s*(?:- )?(?:run: )?make ([a-z0-9-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


BUILDS = re.compile(r'(?:\$\(CARGO\)|CARGO,|run: cargo) "?(?:build|run|test|clippy|doc|install)\b.*')


def test_every_build_uses_the_lock_files():
    """Without --locked, cargo may choose other versions, and the digest of the module depends on them."""
    places = [ROOT / "Makefile", ROOT / "fuzz" / "fuzz.py", *WORKFLOWS]
    found = [line for path in places for line in BUILDS.findall(path.read_text(encoding="utf-8"))]
    assert len(found) > 8
    assert [line for line in found if "--locked" not in line] == []


@pytest.mark.parametrize("folder", [".", "fuzz", "bench/empty-filter"])
def test_lock_file_is_up_to_date(folder):
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    ended = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
