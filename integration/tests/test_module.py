"""The functions that the module needs: only those of the proxy-wasm ABI 0.2.1, so it loads in every host with it."""

from __future__ import annotations

import re

from harness.module import FUNCTION, exports, imports
from harness.render import ROOT, WASM
from trim_exports import NEEDED

# The functions of the specification, including those of WASI:
# https://github.com/proxy-wasm/spec/blob/main/abi-versions/v0.2.1/README.md
ABI = {
    "env": """
        proxy_done proxy_set_effective_context
        proxy_log proxy_get_log_level
        proxy_get_current_time_nanoseconds proxy_set_tick_period_milliseconds
        proxy_get_buffer_bytes proxy_get_buffer_status proxy_set_buffer_bytes
        proxy_get_header_map_size proxy_get_header_map_pairs proxy_set_header_map_pairs
        proxy_get_header_map_value proxy_add_header_map_value proxy_replace_header_map_value
        proxy_remove_header_map_value
        proxy_continue_stream proxy_close_stream proxy_get_status
        proxy_send_local_response proxy_http_call
        proxy_grpc_call proxy_grpc_stream proxy_grpc_send proxy_grpc_cancel proxy_grpc_close
        proxy_set_shared_data proxy_get_shared_data
        proxy_register_shared_queue proxy_resolve_shared_queue proxy_enqueue_shared_queue proxy_dequeue_shared_queue
        proxy_define_metric proxy_record_metric proxy_increment_metric proxy_get_metric
        proxy_get_property proxy_set_property proxy_call_foreign_function
    """.split(),
    "wasi_snapshot_preview1": """
        fd_write clock_time_get random_get environ_sizes_get environ_get args_sizes_get args_get proc_exit
    """.split(),
}
# A folder of the machine that built it; the paths of the standard library are below /rustc/ everywhere.
PATH = re.compile(rb"/(?:root|home|Users|opt|tmp|work|usr|build)/[\w./-]+|/[\w./-]*\.cargo/[\w./-]+")


def test_module_imports_only_functions_of_the_specification():
    unknown = [
        f"{module}.{name}" for module, name, kind in imports() if kind != FUNCTION or name not in ABI.get(module, [])
    ]
    assert not unknown


def test_module_exports_its_abi_version_and_its_callbacks():
    names = exports()
    assert {"proxy_abi_version_0_2_1", "_initialize", "memory", *NEEDED} <= names
    assert len([name for name in names if name.startswith("proxy_abi_version_")]) == 1


def test_module_contains_no_build_path():
    module = WASM.read_bytes()
    assert not PATH.findall(module)
    assert str(ROOT).encode() not in module
