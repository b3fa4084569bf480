"""Redis in its three forms for run.py: how it is set up, which server has a key, and when it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from engine import EngineError, Project

MASTER_NAME = "sessions"
NODES_OF_A_CLUSTER = 6


class Single:
    """One server. Nothing replaces it while it is away."""

    name = "single"
    nodes: ClassVar[list[str]] = ["redis-1"]
    has_replacement = False
    options: ClassVar[dict] = {"redis_connection_url": "redis://redis-1:6379"}

    # The containers; run.py sets it.
    project: Project

    def __init__(self, network: str):
        # The first three numbers of all addresses.
        self._network = network

    def address(self, service: str) -> str:
        """As the files of compose have it: redis-1 is .11, sentinel-1 is .21."""
        kind, number = service.rsplit("-", 1)
        return f"{self._network}.{10 + int(number) if kind == 'redis' else 20 + int(number)}"

    def service(self, address: str) -> str:
        return next(node for node in self.nodes if self.address(node) == address)

    def set_up(self) -> None:
        """What has to be done once the containers run."""

    def is_whole(self) -> bool:
        """Whether every server runs and has its data."""
        return self.role("redis-1") == "master"

    def master(self, _key: str) -> str:
        """The server that has a key, as the answering servers say."""
        return "redis-1"

    def redis(self, service: str, *words: object, seconds: int = 10) -> str:
        """An answer of redis-cli, in the container of that server."""
        script = 'REDISCLI_AUTH="$OAUTH2_PROXY_REDIS_PASSWORD" exec redis-cli "$@"'
        return self.project.execute(
            service, "timeout", seconds, "sh", "-c", script, "redis-cli", *words, seconds=seconds + 20
        )

    def role(self, service: str) -> str | None:
        answer = attempt(lambda: self.redis(service, "ROLE"))
        return answer.split()[0] if answer else None

    def is_synchronized(self, service: str) -> bool:
        answer = attempt(lambda: self.redis(service, "INFO", "replication")) or ""
        return "role:slave" in answer and "master_link_status:up" in answer

    def ask_one(self, services: list[str], *words: object) -> str:
        """The first answer. A server that is paused or cut off gives none."""
        for service in services:
            if answer := attempt(lambda: self.redis(service, *words)):
                return answer
        raise EngineError(f"none of {', '.join(services)} answers")


class Sentinel(Single):
    """A master, two replicas, three sentinels."""

    name = "sentinel"
    nodes: ClassVar[list[str]] = ["redis-1", "redis-2", "redis-3"]
    sentinels: ClassVar[list[str]] = ["sentinel-1", "sentinel-2", "sentinel-3"]
    has_replacement = True
    options: ClassVar[dict] = {
        "redis_use_sentinel": True,
        "redis_sentinel_master_name": MASTER_NAME,
        "redis_sentinel_connection_urls": [f"redis://{sentinel}:26379" for sentinel in sentinels],
    }

    def is_whole(self) -> bool:
        named = {attempt(lambda: self._named_by(one)) for one in self.sentinels}
        return (
            len(named) == 1
            and None not in named
            and all(map(self._sees_all, self.sentinels))
            and all(
                self.role(node) == "master" if self.address(node) in named else self.is_synchronized(node)
                for node in self.nodes
            )
        )

    def _sees_all(self, sentinel: str) -> bool:
        words = (attempt(lambda: self.redis(sentinel, "-p", 26379, "SENTINEL", "MASTER", MASTER_NAME)) or "").split(
            "\n"
        )
        state = dict(zip(words[::2], words[1::2]))
        return [state.get(name) for name in ("flags", "num-slaves", "num-other-sentinels")] == ["master", "2", "2"]

    def _named_by(self, sentinel: str) -> str:
        return self.redis(sentinel, "-p", 26379, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME).split()[0]

    def master(self, _key: str) -> str:
        """The one that most sentinels name."""

        def find() -> str | None:
            named = [attempt(lambda: self._named_by(one)) for one in self.sentinels]
            for node in self.nodes:
                if named.count(self.address(node)) > len(self.sentinels) / 2:
                    return node
            return None

        return until(find, "most sentinels name the same master")


class Cluster(Single):
    """Three masters, a third of the slots each, with a replica for each of them."""

    name = "cluster"
    nodes: ClassVar[list[str]] = [f"redis-{number}" for number in range(1, NODES_OF_A_CLUSTER + 1)]
    has_replacement = True
    options: ClassVar[dict] = {
        "redis_use_cluster": True,
        "redis_cluster_connection_urls": [f"redis://{node}:6379" for node in nodes[:3]],
    }

    def set_up(self) -> None:
        until(lambda: all(self.role(node) == "master" for node in self.nodes), "the nodes answer")
        addresses = [f"{self.address(node)}:6379" for node in self.nodes]
        # It waits until all nodes agree.
        self.redis("redis-1", "--cluster", "create", *addresses, "--cluster-replicas", 1, "--cluster-yes", seconds=100)

    def is_whole(self) -> bool:
        states = [attempt(lambda: self.redis(node, "CLUSTER", "INFO")) or "" for node in self.nodes]
        roles = [self.role(node) for node in self.nodes]
        return (
            all("cluster_state:ok" in state and "cluster_known_nodes:6" in state for state in states)
            and roles.count("master") == 3
            and all(self.is_synchronized(node) for node, role in zip(self.nodes, roles) if role != "master")
        )

    def master(self, key: str) -> str:
        """As most of the answering nodes say: one that is cut off takes itself for the master."""
        slot = int(self.ask_one(self.nodes, "CLUSTER", "KEYSLOT", key))

        def find() -> str | None:
            named = [attempt(lambda: self._owner(slot, node)) for node in self.nodes]
            for node in self.nodes:
                if named.count(self.address(node)) > len(self.nodes) / 2:
                    return node
            return None

        return until(find, "most nodes name the same master")

    def _owner(self, slot: int, node: str) -> str | None:
        """The address of the slot's master, as a node says."""
        for line in self.redis(node, "CLUSTER", "NODES").splitlines():
            _id, address, flags, _master, _ping, _pong, _epoch, _link, *slots = line.split()
            ranges = [[int(end) for end in span.split("-")] for span in slots if "[" not in span]
            if "master" in flags and "fail" not in flags and any(span[0] <= slot <= span[-1] for span in ranges):
                return address.split(":")[0]
        return None


TOPOLOGIES = {topology.name: topology for topology in (Single, Sentinel, Cluster)}


def attempt(ask: Callable[[], object]):
    """The answer; None if the container is gone, is paused or answers with an error."""
    try:
        return ask()
    except EngineError:
        return None


def until(holds: Callable[[], object], what: str, *, seconds: float = 120, pause: float = 0.1):
    """Waits until a function returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        if time.monotonic() > deadline:
            raise EngineError(f"not after {seconds:g} seconds: {what}")
        time.sleep(pause)
    return result
