"""The short form of the benchmarks checks every answer."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"


def test_each_hostile_shape_gets_its_expected_answer():
    command = [sys.executable, str(BENCH / "hostile.py"), "--short"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "each got its expected answer" in done.stdout
