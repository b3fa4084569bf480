"""Faults of the container of a master, while signed-in users send requests.

stop         the server ends, as in an update: connections are closed, then refused
pause        the server hangs: connections stay, nothing is answered
disconnect   the server is cut off the network, and goes on alone
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time

from engine import Project, docker
from topologies import Single, until

# Longer than redis_command_timeout (2 s), so that requests fail during the outage.
OUTAGE_SECONDS = 6
# Requests must succeed again within this time: a failover takes about 6 s here, and Envoy resolves a name every 10 s.
RECOVERY_SECONDS = 60


class Stop:
    name = "stop"

    def __init__(self, topology: Single, node: str):
        self._container = topology.project.container(node)

    def begin(self) -> None:
        docker("stop", "--time", 5, self._container)

    def end(self) -> None:
        docker("start", self._container)


class Pause(Stop):
    name = "pause"

    def begin(self) -> None:
        docker("pause", self._container)

    def end(self) -> None:
        docker("unpause", self._container)


class Disconnect(Stop):
    name = "disconnect"

    def __init__(self, topology: Single, node: str):
        super().__init__(topology, node)
        self._network = topology.project.network
        self._again = ["--ip", topology.address(node), "--alias", node]

    def begin(self) -> None:
        docker("network", "disconnect", self._network, self._container)

    def end(self) -> None:
        docker("network", "connect", *self._again, self._network, self._container)


FAULTS = (Stop, Pause, Disconnect)


class Failure(Exception):
    """A request was answered in a way that is not allowed."""


class Client:
    """The users in the container `client`, see client/asking.py."""

    def __init__(self, project: Project):
        self._popen = subprocess.Popen(
            ["docker", "exec", "--interactive", project.container("client"), "python3", "-m", "client.asking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.keys: dict[str, str] = self._answer(60)["keys"]

    def _read(self) -> None:
        assert self._popen.stdout
        for line in self._popen.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _answer(self, seconds: float) -> dict:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise Failure(f"the client said nothing for {seconds:g} seconds") from None
        if line is None:
            raise Failure("the client ended")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(f"{answer['error']}; all answers: {answer['statuses']}")
        return answer

    def success(self) -> float:
        """Seconds until the next 200."""
        return self._command("success", RECOVERY_SECONDS)["seconds"]

    def steady(self) -> float:
        """Seconds until nothing but 200 comes."""
        return self._command("steady", RECOVERY_SECONDS)["seconds"]

    def end(self) -> dict:
        return self._command("end", wait=60)

    def _command(self, word: str, *arguments: float, wait: float = RECOVERY_SECONDS + 15) -> dict:
        try:
            print(json.dumps([word, *arguments]), file=self._popen.stdin, flush=True)
        except BrokenPipeError:
            raise Failure("the client ended") from None
        return self._answer(wait)

    def close(self) -> None:
        assert self._popen.stdin
        self._popen.stdin.close()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()


def inject(topology: Single, fault_class: type[Stop]) -> str:
    """One fault, until the topology is complete again; returns a sentence about what happened."""
    client = Client(topology.project)
    try:
        client.steady()
        node = topology.master(client.keys["alice"])
        fault = fault_class(topology, node)
        seen = [f"{fault.name} of {node}"]
        began = time.monotonic()
        try:
            fault.begin()
            if topology.has_replacement:
                seen.append(f"another master after {replaced(topology, client, node) - began:.1f} s")
                seen.append(f"200 again {client.success():g} s later")
                client.steady()
            else:
                time.sleep(OUTAGE_SECONDS)
        finally:
            fault.end()
        if topology.has_replacement:
            until(lambda: topology.role(node) == "slave", f"{node} is a replica")
            seen.append(f"{node} is a replica")
        else:
            seen.append(f"200 again {client.success():g} s after its end")
        client.steady()
        until(topology.is_whole, "the topology is whole again")
        verdict = client.end()
    finally:
        client.close()
    check(verdict, expects_outage=not topology.has_replacement)
    return "; ".join([*seen, describe(verdict), "no user signed out"])


def replaced(topology: Single, client: Client, node: str) -> float:
    """Waits until most servers agree on another master; returns the monotonic time."""
    until(lambda: topology.master(client.keys["alice"]) != node, f"another master than {node}")
    return time.monotonic()


def check(verdict: dict, *, expects_outage: bool) -> None:
    if unexpected := set(verdict["statuses"]) - {"200", "503"}:
        raise Failure(f"answers other than 200 and 503: {sorted(unexpected)}, {describe(verdict)}")
    if verdict["signed_out"]:
        raise Failure(f"signed out: {', '.join(verdict['signed_out'])}; {describe(verdict)}")
    if expects_outage and "503" not in verdict["statuses"]:
        raise Failure(f"no request failed, so Redis was not away: {describe(verdict)}")


def describe(verdict: dict) -> str:
    return ", ".join(f"{count} times {status}" for status, count in sorted(verdict["statuses"].items()))
