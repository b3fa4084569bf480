"""The functions that the module for Higress needs and has, by the sources of its host: proxy-wasm-cpp-host of
higress-group, src/wasm.cc, `registerCallbacks` and `getFunctions`."""

from __future__ import annotations

from harness.module import ABI, exports, imports, unknown_imports
from trim_exports import NEEDED

from .conftest import MODULE

CALLS = ["proxy_redis_init", "proxy_redis_call"]


def test_module_imports_the_calls_to_redis_and_the_specification():
    assert not unknown_imports({**ABI, "env": ABI["env"] + CALLS}, MODULE)
    assert {*CALLS} <= {name for _, name, _ in imports(MODULE)}


def test_module_exports_the_callback_and_the_version_for_which_the_host_has_the_calls():
    names = exports(MODULE)
    assert {"proxy_on_redis_call_response", "proxy_abi_version_0_2_1", *NEEDED} <= names
    # The filter calls it itself.
    assert "proxy_on_foreign_function" not in names
    assert len([name for name in names if name.startswith("proxy_abi_version_")]) == 1
