"""Takes the callbacks that the filter does not use out of a module's export section.

    python3 tools/trim_exports.py module.wasm trimmed.wasm [higress]

The SDK exports every callback of the proxy-wasm ABI, and Envoy calls each one that it finds: for a plain
request also `proxy_on_response_body` and `proxy_on_log`, which do nothing here and cost a call into V8
each. Envoy treats a callback that is not there as one that does nothing
(`getFunctions` and `ContextBase::on…` in proxy-wasm-cpp-host). Only export entries go, so no index in
the module changes. Standard library only.

    section:  id:byte  size:u32  content        after the 8 bytes "\\0asm" and version
    exports:  count:u32  (name_size:u32 name kind:byte index:u32) * count        section 7; u32 in LEB128
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

HOST = Path(__file__).resolve().parents[1] / "src" / "host"
EXPORT_SECTION = 7

# The methods of the SDK's traits that src/host/ implements, and the exports that call them.
IMPLEMENTED = {
    "on_configure": "proxy_on_configure",
    "on_tick": "proxy_on_tick",
    "on_http_call_response": "proxy_on_http_call_response",
    "on_http_request_headers": "proxy_on_request_headers",
    "on_http_response_headers": "proxy_on_response_headers",
    # The bridge has a use for the bodies; the filter holds them back until it has decided about the head.
    "on_http_request_body": "proxy_on_request_body",
    "on_http_request_trailers": "proxy_on_request_trailers",
    "on_http_response_body": "proxy_on_response_body",
    "on_http_response_trailers": "proxy_on_response_trailers",
    "on_grpc_stream_message": "proxy_on_grpc_receive",
    "on_grpc_stream_close": "proxy_on_grpc_close",
    # Only the root context has a use for it, but the host calls it for each request too.
    "on_done": "proxy_on_done",
}
# What the SDK needs for itself: its allocator, and its list of contexts. A context is made in
# `context_create` and dropped in `delete`; without the latter each request would leak one.
OF_THE_SDK = {"proxy_on_memory_allocate", "proxy_on_context_create", "proxy_on_delete", "proxy_on_vm_start"}
NEEDED = OF_THE_SDK | set(IMPLEMENTED.values())
# What the module for a host has besides. Its root context gets the reply by `on_foreign_function`, which this callback
# calls (src/host/calls.rs), and the host does not.
OF_HOST = {"": set(), "higress": {"proxy_on_redis_call_response"}}
CALLED_BY_US = {"on_foreign_function"}


class Unfit(Exception):
    """The module is not one that can be trimmed."""


def trim(module: bytes, host: str = "") -> bytes:
    """The module without the exports `proxy_on_*` that are not needed."""
    needed = NEEDED | OF_HOST[host]
    if module[:4] != b"\0asm":
        raise Unfit("this is no wasm module")
    trimmed, at = bytearray(module[:8]), 8
    while at < len(module):
        section, start = module[at], at
        size, at = read_u32(module, at + 1)
        content, at = module[at : at + size], at + size
        if section == EXPORT_SECTION:
            content = trim_exports(content, needed)
            trimmed += bytes([section]) + u32(len(content)) + content
        else:
            trimmed += module[start:at]
    return bytes(trimmed)


def trim_exports(content: bytes, needed: set[str]) -> bytes:
    count, at = read_u32(content, 0)
    kept, names = [], set()
    for _ in range(count):
        start = at
        size, at = read_u32(content, at)
        name, at = content[at : at + size].decode(), at + size + 1  # one byte: what kind of thing it is
        _, at = read_u32(content, at)
        if not name.startswith("proxy_on_") or name in needed:
            kept.append(content[start:at])
            names.add(name)
    if missing := needed - names:
        raise Unfit(f"the module has no {', '.join(sorted(missing))}")
    return u32(len(kept)) + b"".join(kept)


def section(module: bytes, wanted: int) -> bytes:
    """The content of a section, by its number."""
    at = 8
    while at < len(module):
        number = module[at]
        size, at = read_u32(module, at + 1)
        if number == wanted:
            return module[at : at + size]
        at += size
    raise Unfit(f"the module has no section {wanted}")


def read_u32(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def u32(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def check_list() -> None:
    """A callback that is implemented and not in the list would silently never be called."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(HOST.glob("**/*.rs")))
    if unknown := set(re.findall(r"\bfn (on_\w+)\(&", sources)) - set(IMPLEMENTED) - CALLED_BY_US:
        raise Unfit(
            f"src/host/ implements {', '.join(sorted(unknown))}: add it to IMPLEMENTED in {Path(__file__).name}"
        )


def write(path: Path, content: bytes) -> None:
    """Whole or not at all, even if two `make` do it at once and an Envoy reads it meanwhile."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)


def main() -> int:
    module, trimmed, *host = sys.argv[1:] if len(sys.argv) > 2 else ("", "", "?")
    if host not in ([], *([name] for name in OF_HOST)):
        print("usage: trim_exports.py module.wasm trimmed.wasm [higress]", file=sys.stderr)
        return 2
    try:
        check_list()
        write(Path(trimmed), trim(Path(module).read_bytes(), *host))
    except (OSError, Unfit) as error:
        print(f"trim_exports: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
