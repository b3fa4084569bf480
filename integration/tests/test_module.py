"""The functions that the module needs: only those of the proxy-wasm ABI 0.2.1, so it loads in every host with it."""

from __future__ import annotations

import re

from harness.module import ABI, exports, unknown_imports
from harness.render import ROOT, WASM
from trim_exports import NEEDED

# A folder of the machine that built it; the paths of the standard library are below /rustc/ everywhere.
PATH = re.compile(rb"/(?:root|home|Users|opt|tmp|work|usr|build)/[\w./-]+|/[\w./-]*\.cargo/[\w./-]+")


def test_module_imports_only_functions_of_the_specification():
    assert not unknown_imports(ABI)


def test_module_exports_its_abi_version_and_its_callbacks():
    names = exports()
    assert {"proxy_abi_version_0_2_1", "_initialize", "memory", *NEEDED} <= names
    assert len([name for name in names if name.startswith("proxy_abi_version_")]) == 1


def test_module_contains_no_build_path():
    module = WASM.read_bytes()
    assert not PATH.findall(module)
    assert str(ROOT).encode() not in module
