"""Runs the fuzz targets, one after the other: python3 fuzz/fuzz.py [--seconds 60] [TARGET ...]

It builds fuzz/ with the coverage counters of LLVM, which stable Rust has behind `-C passes`. The findings
are in fuzz/found/TARGET: inputs that reach new code, and `crash-…` for an input that fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import seeds

FUZZ = Path(__file__).resolve().parent
CARGO = os.environ.get("CARGO", "cargo")
# As cargo-fuzz has them, without the sanitizers that need a nightly Rust.
FLAGS = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
)
# The most time and memory for one input: all inputs need far less.
LIMITS = ("-timeout=20", "-rss_limit_mb=1024")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each target")
    parser.add_argument("--repeatable", action="store_true", help="the same inputs in the same order each time")
    parser.add_argument("--input", type=Path, help="run only this file, with a single target")
    parser.add_argument("--corpus", action="store_true", help="minimize the corpus instead of fuzzing")
    parser.add_argument("target", nargs="*", help="default: all targets")
    given = parser.parse_args()
    known = sorted(target.__name__ for target in seeds.TARGETS)
    if unknown := set(given.target) - set(known):
        sys.exit(f"fuzz: no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    targets = given.target or known
    if given.input and len(targets) != 1:
        sys.exit("fuzz: --input needs exactly one target")
    binary = build()
    if given.input:
        sys.exit(run(binary, targets[0], [given.input]).returncode)
    total = 0
    for target in targets:
        total += minimize(binary, target) if given.corpus else fuzz(binary, target, given)
    print(f"fuzz: {total:,} " + ("inputs in the corpus" if given.corpus else "executions, nothing failed"))


def build():
    if not (shutil.which("c++") or shutil.which("g++")):
        sys.exit("fuzz: libFuzzer needs a C++ compiler, and none is installed; on Debian: apt install g++")
    versions = subprocess.run(["rustc", "-vV"], check=True, text=True, capture_output=True).stdout
    # With its own target, build scripts and macros do not get the counters.
    (host,) = re.findall(r"^host: (.+)$", versions, re.MULTILINE)
    print("fuzz: building the targets", flush=True)
    command = [CARGO, "build", "--locked", "--quiet", "--release", "--target", host]
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(FLAGS)}
    subprocess.run(command, check=True, cwd=FUZZ, env=environment)
    folder = Path(os.environ.get("CARGO_TARGET_DIR", FUZZ / "target"))
    return folder / host / "release" / "oauth2-session-filter-fuzz"


def run(binary, target, arguments, **options):
    environment = os.environ | {"TARGET": target, "RUST_BACKTRACE": "1"}
    return subprocess.run([binary, *LIMITS, *map(str, arguments)], env=environment, check=False, **options)


def fuzz(binary, target, given):
    """Returns the number of executions; ends the program if one failed."""
    found = FUZZ / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    dictionary = FUZZ / "dictionaries" / f"{target}.dict"
    arguments = [f"-max_total_time={given.seconds}", "-print_final_stats=1", f"-artifact_prefix={found}/"]
    arguments += [f"-dict={dictionary}"] if dictionary.exists() else []
    with tempfile.TemporaryDirectory() as empty:
        # New inputs go to the first folder; earlier findings in it would change the order.
        arguments += ["-seed=1", empty] if given.repeatable else [found]
        arguments += [FUZZ / "corpus" / target]
        done = run(binary, target, arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    log = done.stderr.decode(errors="replace")
    if done.returncode:
        print("\n".join(log.splitlines()[-60:]), file=sys.stderr)
        sys.exit(f"fuzz: {target} failed; the input is in {found}; repeat it with: make fuzz TARGET={target} INPUT=…")
    executions = int(re.findall(r"number_of_executed_units: *(\d+)", log)[0])
    edges = re.findall(r" cov: (\d+)", log)[-1]
    print(f"fuzz: {target}: {executions:,} executions in {given.seconds} s, {edges} edges", flush=True)
    return executions


def minimize(binary, target):
    """Returns how many inputs are left of the seeds, the corpus and the findings."""
    corpus = FUZZ / "corpus" / target
    with tempfile.TemporaryDirectory() as folder:
        seeds.write(folder)
        least = Path(folder) / "least"
        least.mkdir()
        sources = [Path(folder) / target, corpus, FUZZ / "found" / target]
        done = run(
            binary,
            target,
            ["-merge=1", least, *(source for source in sources if source.exists())],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode:
            sys.exit(done.stderr.decode(errors="replace"))
        shutil.rmtree(corpus, ignore_errors=True)
        shutil.copytree(least, corpus)
    inputs = list(corpus.iterdir())
    size = sum(file.stat().st_size for file in inputs)
    print(f"fuzz: {target}: {len(inputs)} inputs, {size:,} bytes", flush=True)
    return len(inputs)


if __name__ == "__main__":
    main()
