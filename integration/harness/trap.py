"""A module that traps at every request, written byte by byte: it shows a dying VM from outside.

    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)

The rest is the least that Envoy accepts as a module of the proxy-wasm ABI 0.2.1.
"""

from __future__ import annotations

from pathlib import Path

I32, FUNCTION, MEMORY = 0x7F, 0x60, 0x02
UNREACHABLE, CONST, END = 0x00, 0x41, 0x0B

NOTHING = bytes([END])
ONE = bytes([CONST, 1, END])
TRAP = bytes([UNREACHABLE, END])
# Name, number of parameters, number of results, code.
FUNCTIONS = [
    ("proxy_abi_version_0_2_1", 0, 0, NOTHING),
    ("malloc", 1, 1, ONE),
    ("proxy_on_context_create", 2, 0, NOTHING),
    ("proxy_on_vm_start", 2, 1, ONE),
    ("proxy_on_configure", 2, 1, ONE),
    ("proxy_on_request_headers", 3, 1, TRAP),
]


def write_trap(path: Path) -> Path:
    types = [
        bytes([FUNCTION, *vector([bytes([I32])] * taken), *vector([bytes([I32])] * given)])
        for _, taken, given, _ in FUNCTIONS
    ]
    exports = [bytes([*name(word), 0, number]) for number, (word, *_) in enumerate(FUNCTIONS)]
    path.write_bytes(
        b"\0asm\1\0\0\0"
        + b"".join(
            [
                section(1, vector(types)),
                section(3, vector([bytes([number]) for number in range(len(FUNCTIONS))])),
                section(5, vector([bytes([0, 1])])),  # one memory of one page at least
                section(7, vector([*exports, bytes([*name("memory"), MEMORY, 0])])),
                section(10, vector([sized(bytes([0]) + code) for *_, code in FUNCTIONS])),  # no locals
            ]
        )
    )
    return path


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + sized(content)


def vector(items: list[bytes]) -> bytes:
    return bytes([len(items)]) + b"".join(items)


def sized(content: bytes) -> bytes:
    """The length is LEB128 in two bytes, which is enough here."""
    return bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content


def name(word: str) -> bytes:
    return bytes([len(word)]) + word.encode()
