"""The short forms of the benchmarks check every answer, and the page of results says which aims are met."""

import subprocess
import sys
from pathlib import Path

import pytest

# From bench/ and tools/.
from bench import cargo
from environment import node_of_venv
from harness.render import WASM
from measure import Sample
from report import Result, goals, summary
from variants import Variant

BENCH = Path(__file__).resolve().parents[2] / "bench"


def run(program: str, *words: str) -> str:
    command = [sys.executable, str(BENCH / program), *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_each_hostile_shape_gets_its_expected_answer():
    assert "each got its expected answer" in run("hostile.py", "--short")


def test_each_compared_filter_gives_its_expected_answer():
    only = "none,empty,trimmed,floor,native,cached,anonymous,redis-1"
    said = run("bench.py", "--short", "--only", only)
    assert "8 variants, each gave its expected answer" in said


def test_filter_starts_and_is_configured_anew():
    said = run("startup.py", "--short")
    assert "| this filter, 4 workers |" in said
    assert "| | 0 | 1 | 3 |" in said


def test_filter_in_v8_alone_lets_a_session_through(tmp_path):
    secret = {"OAUTH2_PROXY_COOKIE_SECRET": "0123456789abcdef0123456789abcdef"}
    cookie = tmp_path / "cookie.txt"
    cookie.write_text(cargo("run", "--quiet", "--example", "make_cookies", "--", 1, environment=secret))
    node, _ = node_of_venv()
    for options in ("{}", '{"session_cache_size": 0}'):
        said = subprocess.run(
            [node, BENCH / "in_v8.mjs", WASM, cookie, "100", options], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, said.stderr
        assert said.stdout.endswith(" us\n")


def test_small_fleet_has_a_connection_for_each_worker_and_asks_redis_for_each_request():
    said = run("scale.py", "--short")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")]
    assert rows[0] == ["What", "at", "formula", "computed", "measured"]
    assert rows[1:] and all(computed == measured for *_, computed, measured in rows[1:]), said


def results(**cpu: list[float]) -> list[Result]:
    """Results with these CPU times a request in each round."""
    return [
        Result(Variant(key, key, None, Path()), [Sample(1000, 1, one, 100) for one in times])
        for key, times in cpu.items()
    ]


@pytest.mark.parametrize(
    "floor, outcome",
    [([20, 30, 50], "1.05 (1.05..1.05) | met"), ([19, 29, 49], "1.09 (1.07..1.11) | **not met**")],
    ids=["at the limit", "above the limit"],
)
def test_aim_is_compared_with_median_of_ratios_of_a_round(floor, outcome):
    lines = goals(results(empty=[20, 30, 50], floor=floor, cached=[21, 31.5, 52.5]))
    line = next(line for line in lines if "to the floor" in line)
    assert line.endswith(f"at most 1.05 | {outcome} |")


def test_summary_has_only_what_an_operator_chooses_from():
    lines = summary(results(none=[10], empty=[20], floor=[21], native=[26], cached=[25])).splitlines()
    assert lines[2:] == ["| none | 10.0 | 0.50 |", "| native | 26.0 | 1.30 |", "| cached | 25.0 | 1.25 |"]


def test_aim_without_its_variant_is_not_measured():
    lines = goals(results(empty=[20], cached=[21]))
    assert all(line.endswith("|  | not measured |") for line in lines if "floor" in line or "native" in line)


@pytest.mark.parametrize("commands, outcome", [(0, "met"), (1, "**not met**")], ids=["few", "many"])
def test_commands_to_redis_are_counted_a_request(commands, outcome):
    asked = Variant("redis-1", "redis-1", None, Path(), servers=(object(),))  # type: ignore[arg-type]
    found = [*results(empty=[20], cached=[20]), Result(asked, [Sample(1000, 1, 20, 100, commands)])]
    line = next(line for line in goals(found) if "commands to Redis" in line and "one session" in line)
    assert line.endswith(f"| {commands / 100:.4f} | {outcome} |")
