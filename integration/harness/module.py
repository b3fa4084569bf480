"""The import and the export section of the filter's wasm module."""

from __future__ import annotations

from collections.abc import Iterator

from trim_exports import read_u32

from .render import WASM

IMPORTS, EXPORTS = 2, 7
FUNCTION = 0


def imports() -> Iterator[tuple[str, str, int]]:
    """Module, name and kind of each import."""
    content = section(IMPORTS)
    count, at = read_u32(content, 0)
    for _ in range(count):
        module, at = text(content, at)
        name, at = text(content, at)
        kind, at = content[at], at + 1
        yield module, name, kind
        if kind != FUNCTION:
            return  # the rest has another form, and a test has failed already
        _, at = read_u32(content, at)


def exports() -> set[str]:
    content = section(EXPORTS)
    count, at = read_u32(content, 0)
    names = set()
    for _ in range(count):
        name, at = text(content, at)
        _, at = read_u32(content, at + 1)
        names.add(name)
    return names


def section(wanted: int) -> bytes:
    module, at = WASM.read_bytes(), 8
    while at < len(module):
        number = module[at]
        size, at = read_u32(module, at + 1)
        if number == wanted:
            return module[at : at + size]
        at += size
    raise AssertionError(f"the module has no section {wanted}")


def text(content: bytes, at: int) -> tuple[str, int]:
    size, at = read_u32(content, at)
    return content[at : at + size].decode(), at + size
