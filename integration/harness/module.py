"""The import and the export section of the filter's wasm module, and what a host has for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trim_exports import read_u32, section

from .render import WASM

IMPORTS, EXPORTS = 2, 7
FUNCTION = 0

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


def unknown_imports(known: dict[str, list[str]], module: Path = WASM) -> list[str]:
    """What the module imports and a host with these functions does not have."""
    return [f"{of}.{name}" for of, name, kind in imports(module) if kind != FUNCTION or name not in known.get(of, [])]


def imports(path: Path = WASM) -> Iterator[tuple[str, str, int]]:
    """Module, name and kind of each import."""
    content = section(path.read_bytes(), IMPORTS)
    count, at = read_u32(content, 0)
    for _ in range(count):
        module, at = text(content, at)
        name, at = text(content, at)
        kind, at = content[at], at + 1
        yield module, name, kind
        if kind != FUNCTION:
            return  # the rest has another form, and a test has failed already
        _, at = read_u32(content, at)


def exports(path: Path = WASM) -> set[str]:
    content = section(path.read_bytes(), EXPORTS)
    count, at = read_u32(content, 0)
    names = set()
    for _ in range(count):
        name, at = text(content, at)
        _, at = read_u32(content, at + 1)
        names.add(name)
    return names


def text(content: bytes, at: int) -> tuple[str, int]:
    size, at = read_u32(content, at)
    return content[at : at + size].decode(), at + size
