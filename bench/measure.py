"""One measurement: wrk against one Envoy for some seconds, with Envoy's CPU time over that window."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.redis import Redis
from variants import HOST, Envoy

LOAD = Path(__file__).with_name("load.lua")
TICKS = os.sysconf("SC_CLK_TCK")


class BadRun(Exception):
    """The measurement was not one of the variant."""


@dataclass(frozen=True)
class Sample:
    requests_per_second: float
    p99_ms: float
    cpu_us: float
    """CPU time a request, user and system, in microseconds: Envoy's, and of what works for it besides Redis."""
    requests: int = 0
    commands: int = 0
    """How many commands Redis ran meanwhile, all servers together."""


def measure(envoy: Envoy, seconds: int, connections: int) -> Sample:
    servers = envoy.variant.servers
    commands = commands_of(servers)
    before = sum(map(cpu_seconds, envoy.pids))
    output = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            LOAD,
            f"http://127.0.0.1:{envoy.port}/",
            "--",
            envoy.variant.cookies,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    cpu = sum(map(cpu_seconds, envoy.pids)) - before
    if output.returncode != 0:
        raise BadRun(f"wrk ended with {output.returncode}: {output.stderr.strip()}")
    result = json.loads(output.stdout.splitlines()[-1])
    if result["errors"] or not result["requests"]:
        raise BadRun(f"{envoy.variant.key}: {result['errors']} errors in {result['requests']} requests")
    return Sample(
        requests_per_second=result["requests"] / result["seconds"],
        p99_ms=result["p99_us"] / 1000,
        cpu_us=cpu / result["requests"] * 1e6,
        requests=result["requests"],
        commands=commands_of(servers) - commands,
    )


def check(envoy: Envoy) -> None:
    """Checks that the first and the last cookie get the variant's answer."""
    cookies = envoy.variant.cookies.read_text(encoding="ascii").splitlines()
    for cookie in dict.fromkeys([*cookies[:1], *cookies[-1:]]) or [None]:
        connection = http.client.HTTPConnection("127.0.0.1", envoy.port, timeout=10)
        connection.request("GET", "/", headers={"Host": HOST, **({"Cookie": cookie} if cookie else {})})
        status = connection.getresponse().status
        connection.close()
        if status != envoy.variant.status:
            raise BadRun(f"{envoy.variant.key}: the answer is {status}, not {envoy.variant.status}")


def commands_of(servers: tuple[Redis, ...]) -> int:
    """How many commands these servers ran since their start, except our question itself."""
    total = 0
    for server in servers:
        lines = server.command("INFO", "commandstats").decode().splitlines()
        calls = {line.split(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in lines if "calls=" in line}
        total += sum(calls.values()) - calls.get("cmdstat_info", 0)
    return total


def cpu_seconds(pid: int) -> float:
    """utime and stime of all threads (proc_pid_stat(5), fields 14 and 15)."""
    # The second field is the name in parentheses, which may have blanks.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mib(pid: int) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
