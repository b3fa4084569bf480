"""The import and the export section of the filter's wasm module."""

from __future__ import annotations

from collections.abc import Iterator

from trim_exports import read_u32, section

from .render import WASM

IMPORTS, EXPORTS = 2, 7
FUNCTION = 0


def imports() -> Iterator[tuple[str, str, int]]:
    """Module, name and kind of each import."""
    content = section(WASM.read_bytes(), IMPORTS)
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
    content = section(WASM.read_bytes(), EXPORTS)
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
