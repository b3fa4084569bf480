"""Makes a module smaller, above all compressed: with Binaryen's wasm-opt, and by the order of its functions.

    .venv/bin/python tools/optimize.py module.wasm optimized.wasm

A module is pulled and stored compressed with gzip, and gzip replaces only what it has seen within the last 32 KiB. So
two things are done here that LLVM does not do:

1. wasm-opt without the passes that only save plain bytes. Inlining, and other numbers for local variables, make
   functions with the same content differ (`-Oz`: fewer bytes plain, 30 kB more compressed).
2. Functions that are alike become neighbours, for example the copies that Rust makes of a generic function for each
   type. Nothing in a module depends on the order of its functions, and V8 compiles each on its own.

wasm-opt numbers the functions anew: it sorts them by the names in the section "name", which are their places in the
wanted order here. Afterwards it takes the section out.

    name section:  0 size:u32 4 "name"  1 size:u32 count:u32 (index:u32 name_size:u32 name) * count    u32 in LEB128
"""

from __future__ import annotations

import hashlib
import heapq
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict, deque
from pathlib import Path

from environment import StepFailed, node_of_venv
from trim_exports import Unfit, read_u32, section, u32, write

WASM_OPT = Path(__file__).resolve().parent / "wasm-opt" / "node_modules" / "binaryen" / "bin" / "wasm-opt"
# What rustc uses by default on wasm32-wasip1, and SIMD (Makefile).
FEATURES = (
    "--enable-bulk-memory --enable-multivalue --enable-mutable-globals --enable-nontrapping-float-to-int "
    "--enable-reference-types --enable-sign-ext --enable-simd"
).split()
# -O1 inlines nothing. The second pass takes arguments out of functions if no caller needs them.
SMALLER = ["-O1", "--dae-optimizing"]
IN_ORDER = ["--reorder-functions-by-name", "--strip-debug"]

CUSTOM_SECTION, IMPORT_SECTION, CODE_SECTION = 0, 2, 10
FUNCTION_NAMES = 1

# What counts as alike: the same sequences of so many bytes, in at most so many functions. A sequence in more of them is
# near in any order.
SEQUENCE, COMMON = 6, 60
WINDOW = 32_000


def optimize(module: bytes) -> bytes:
    smaller = wasm_opt(module, SMALLER)
    return wasm_opt(smaller + names(imported(smaller), neighbours(functions(smaller))), IN_ORDER)


def wasm_opt(module: bytes, passes: list[str]) -> bytes:
    node, _ = node_of_venv()
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.wasm"), Path(folder, "after.wasm")
        before.write_bytes(module)
        subprocess.run([node, WASM_OPT, *FEATURES, *passes, before, "-o", after], check=True)
        return after.read_bytes()


def neighbours(bodies: list[bytes]) -> list[int]:
    """An order in which alike functions are near: always the one that repeats most of the last 32 KiB, for its size."""
    having = defaultdict(list)
    sequences = []
    for index, body in enumerate(bodies):
        found = list(dict.fromkeys(body[at : at + SEQUENCE] for at in range(len(body) - SEQUENCE + 1)))
        sequences.append(found)
        for sequence in found:
            having[sequence].append(index)
    shared = {sequence: indices for sequence, indices in having.items() if 1 < len(indices) <= COMMON}
    sequences = [[sequence for sequence in found if sequence in shared] for found in sequences]

    repeated = [0] * len(bodies)  # sequences of a function that the window has
    in_window: Counter[bytes] = Counter()
    window: deque[int] = deque()
    size, order, waiting = 0, [], dict.fromkeys(range(len(bodies)))
    # The best first; an entry is outdated if its function was taken, or repeats something else by now.
    best: list[tuple[float, int]] = []

    def rank(index: int) -> float:
        return -repeated[index] / (len(bodies[index]) + 20)

    def take() -> int:
        while best:
            ranked, index = heapq.heappop(best)
            if index not in waiting:
                continue
            if ranked == rank(index):
                return index
            if repeated[index]:
                heapq.heappush(best, (rank(index), index))
        return next(iter(waiting))

    while waiting:
        taken = take()
        del waiting[taken]
        order.append(taken)
        window.append(taken)
        size += len(bodies[taken])
        alike: dict[int, None] = {}
        for sequence in sequences[taken]:
            in_window[sequence] += 1
            if in_window[sequence] == 1:
                for index in shared[sequence]:
                    repeated[index] += 1
                    alike[index] = None
        while size > WINDOW and len(window) > 1:
            left = window.popleft()
            size -= len(bodies[left])
            for sequence in sequences[left]:
                in_window[sequence] -= 1
                if not in_window[sequence]:
                    for index in shared[sequence]:
                        repeated[index] -= 1
        for index in alike:
            if index in waiting:
                heapq.heappush(best, (rank(index), index))
    return order


def names(imports: int, order: list[int]) -> bytes:
    """A section that names each function by its place in the order. The functions that are imported stay first."""
    place = [0] * len(order)
    for position, index in enumerate(order):
        place[index] = imports + position
    named = [sized(f"{number:06}".encode()) for number in [*range(imports), *place]]
    content = u32(len(named)) + b"".join(u32(index) + name for index, name in enumerate(named))
    return bytes([CUSTOM_SECTION]) + sized(sized(b"name") + bytes([FUNCTION_NAMES]) + sized(content))


def sized(content: bytes) -> bytes:
    return u32(len(content)) + content


def functions(module: bytes) -> list[bytes]:
    content = section(module, CODE_SECTION)
    count, at = read_u32(content, 0)
    found = []
    for _ in range(count):
        size, at = read_u32(content, at)
        found.append(content[at : at + size])
        at += size
    return found


def imported(module: bytes) -> int:
    """How many functions; the module imports nothing else (test_module.py)."""
    return read_u32(section(module, IMPORT_SECTION), 0)[0]


class Done:
    """Remembers beside the source what came of it, because `make` builds before each test and this takes seconds."""

    def __init__(self, source: Path, target: Path):
        self.stamp = source.with_suffix(".optimized")
        self.source, self.target = source, target

    def is_current(self) -> bool:
        return self.target.exists() and self.stamp.exists() and self.stamp.read_text() == self.content()

    def remember(self) -> None:
        self.stamp.write_text(self.content())

    def content(self) -> str:
        lock = WASM_OPT.parents[3] / "package-lock.json"
        files = [self.source, self.target, lock, Path(__file__)]
        return "\n".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: optimize.py module.wasm optimized.wasm", file=sys.stderr)
        return 2
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    done = Done(source, target)
    try:
        if not done.is_current():
            write(target, optimize(source.read_bytes()))
            done.remember()
    except (OSError, Unfit, StepFailed, subprocess.CalledProcessError) as error:
        print(f"optimize: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
