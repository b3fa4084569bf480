"""Finds out whether a VM died: by Envoy's log, by its statistics, and by its answers.

Envoy goes on without that VM. It starts another one after a pause, and until then answers with an empty 503 or with
nothing. So a test that looks only at its own answers may pass in spite of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.message import Message

# What V8 and Envoy write about it: `Function: proxy_on_… failed: Uncaught RuntimeError: unreachable` for a trap,
# `Uncaught RangeError` for a stack that overflowed; `panicked at` is Rust's, `Caught Seg` Envoy's own crash. A
# configuration that the filter refuses ends the VM too; that is not a crash.
DEATH = re.compile(
    r"Uncaught |Function: \S+ failed|in-VM backtrace|panicked at|Caught Seg"
    r"|Wasm VM failed (?!Failed to configure base Wasm plugin)"
)
# `vm_reload` counts the attempts, `vm_reload_backoff` the requests in the pause before one.
RELOAD = re.compile(r"^wasm\..*vm_reload")


class VmDied(AssertionError):
    """The filter trapped, or Envoy crashed. `signs` are lines of the log and statistics."""

    def __init__(self, signs: list[str]):
        super().__init__("a VM died:\n" + "\n".join(f"    {sign}" for sign in signs[:20]))
        self.signs = signs


def signs_in_log(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if DEATH.search(line)]


def signs_in_statistics(counters: Mapping[str, int]) -> list[str]:
    return [f"{name}: {value}" for name, value in counters.items() if value and RELOAD.match(name)]


def is_answer_of_dead_vm(status: int, headers: Mapping[str, str] | Message, body: bytes) -> bool:
    """Envoy's answer if the VM of the filter is dead: an empty 503. A 503 of the filter has `retry-after`."""
    return status == 503 and not body and "retry-after" not in headers
