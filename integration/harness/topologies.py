"""Redis with Sentinel and as a Cluster, on loopback: real servers and real failovers."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from typing import Any

from .ports import HOST, free_port
from .redis import Redis
from .relay import Relay
from .sentinel import MASTER_NAME, Sentinel
from .waiting import attempt, until

SLOTS = 16384
# Milliseconds until a node of a Cluster takes another for dead.
NODE_TIMEOUT = 1000


class Topology:
    """Several servers that are one Redis for the filter. `options` are the filter's options for it."""

    options: dict
    nodes: list[Redis]

    def __init__(self) -> None:
        self._close: list[Callable[[], object]] = []

    def server_of(self, key: str) -> Redis:
        """The server that has a key."""
        raise NotImplementedError

    def is_prepared(self) -> bool:
        """Whether a failover may begin: every replica has confirmed all writes of its master."""
        states = [attempt(lambda: node.command("ROLE")) or [None] for node in self.nodes]
        return all(
            int(confirmed) >= state[1] for state in states if state[0] == b"master" for _, _, confirmed in state[2]
        )

    def _relay_to(self, port: int) -> int:
        """Another port, which leads to a server."""
        relay = Relay((HOST, port))
        self._close.append(relay.close)
        return relay.port

    def close(self) -> None:
        for close in reversed(self._close):
            close()


class SentinelTopology(Topology):
    """A master, two replicas and three sentinels that all know each other.

    With `certificate` and `ca`, they speak TLS among each other too, and name the ports for it. With `host`,
    they know each other by that name; with `are_relayed`, by other ports than those on which they listen.
    """

    def __init__(
        self,
        *,
        sentinel_password: str | None = None,
        certificate: dict[str, str] | None = None,
        ca: str | None = None,
        host: str = HOST,
        are_relayed: bool = False,
        **options: Any,
    ):
        super().__init__()
        tls = None
        if certificate:
            options |= {"certificate": certificate, "tls_ca_cert_file": ca, "tls_replication": "yes"}
            tls = [
                f"tls-cert-file {certificate['tls_cert']}",
                f"tls-key-file {certificate['tls_key']}",
                f"tls-ca-cert-file {ca}",
                "tls-auth-clients no",
                "tls-replication yes",
            ]
        self.nodes = [Redis(keep=True, **options) for _ in range(3)]
        self._close += [node.close for node in self.nodes]
        for node in self.nodes if are_relayed else []:
            node.announced_port = self._relay_to(node.port)
        master, *replicas = self.nodes
        for node in self.nodes:
            node.command("CONFIG", "SET", "replica-announce-ip", host)
            node.command("CONFIG", "SET", "replica-announce-port", named_port(node))
        for replica in replicas:
            replica.command("REPLICAOF", host, named_port(master))
        self.sentinels = [
            Sentinel(named_port(master), host=host, password=sentinel_password, tls=tls) for _ in range(3)
        ]
        self._close += [sentinel.close for sentinel in self.sentinels]
        until(lambda: all(self._is_complete(sentinel) for sentinel in self.sentinels), "the sentinels know each other")
        until(lambda: all(is_synchronized(node) for node in self.nodes[1:]), "the replicas have the data")
        urls = [
            f"rediss://{HOST}:{sentinel.tls_port}" if tls else f"redis://{HOST}:{sentinel.port}"
            for sentinel in self.sentinels
        ]
        self.options = {
            "session_store_type": "redis",
            "redis_use_sentinel": True,
            "redis_sentinel_master_name": MASTER_NAME,
            "redis_sentinel_connection_urls": urls,
        }

    def _is_complete(self, sentinel: Sentinel) -> bool:
        words = sentinel.command("SENTINEL", "master", MASTER_NAME)
        state = dict(zip(words[::2], words[1::2]))
        return state[b"num-slaves"] == b"2" and state[b"num-other-sentinels"] == b"2"

    def is_prepared(self) -> bool:
        """Also, no sentinel is in its TILT mode: if the master dies while all are, they never find a replica that is
        good enough."""
        return super().is_prepared() and not any(one.is_tilted() for one in self.sentinels)

    def master(self) -> Redis:
        """The master, as it says itself and as most sentinels say."""

        def find() -> Redis | None:
            named = [port for one in self.sentinels if (port := attempt(one.master_port))]
            for node in self.nodes:
                if named.count(named_port(node)) > len(self.sentinels) / 2 and attempt(lambda: role(node)) == "master":
                    return node
            return None

        return until(find, "there is a master")

    def server_of(self, key: str) -> Redis:
        return self.master()

    def keys(self) -> list[str]:
        return self.master().keys()

    def wait_for_another_master(self, than: Redis) -> float:
        """Waits until the sentinels agree on another master; returns the monotonic time."""
        until(
            lambda: self.master() is not than,
            "there is another master",
            pause=0.01,
            report=lambda: "\n\n".join(one.log() for one in self.sentinels),
        )
        return time.monotonic()

    def set_patience(self, milliseconds: int) -> None:
        """How long the sentinels wait for the master before they replace it."""
        for one in self.sentinels:
            one.command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", milliseconds)

    def fail_over(self) -> None:
        """Replaces the master as planned."""
        until(self.sentinels[0].fail_over, "the sentinel replaces the master")


class ClusterTopology(Topology):
    """Three masters, a third of the slots each, with a replica for each of them.

    With `certificate` and `ca`, they speak TLS among each other too, and name the ports for it. With
    `are_relayed`, they announce other ports than those on which they listen.
    """

    def __init__(
        self,
        *,
        certificate: dict[str, str] | None = None,
        ca: str | None = None,
        has_replicas: bool = True,
        are_relayed: bool = False,
        **options: Any,
    ):
        super().__init__()
        settings = {
            "keep": True,
            "cluster_enabled": "yes",
            "cluster_node_timeout": NODE_TIMEOUT,
            **options,
        }
        if certificate:
            settings |= {
                "certificate": certificate,
                "tls_ca_cert_file": ca,
                "tls_cluster": "yes",
                "tls_replication": "yes",
            }
        self.nodes = [
            self._node(
                free_cluster_port(), are_relayed, tls_port=free_cluster_port() if certificate else None, **settings
            )
            for _ in range(6 if has_replicas else 3)
        ]
        self._close += [node.close for node in self.nodes]
        masters, replicas = self.nodes[:3], self.nodes[3:]
        for number, node in enumerate(masters):
            node.command("CLUSTER", "ADDSLOTS", *range(SLOTS * number // 3, SLOTS * (number + 1) // 3))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.command("CLUSTER", "MEET", HOST, self.nodes[0].tls_port or self.nodes[0].port)
        until(
            lambda: all(len(self._members(node)) == len(self.nodes) for node in self.nodes), "the nodes know each other"
        )
        for master, replica in zip(masters, replicas):
            replica.command("CLUSTER", "REPLICATE", node_id(master))
        until(lambda: all(is_synchronized(replica) for replica in replicas), "the replicas have the data")
        until(self.is_ok, "the cluster is ok")
        if are_relayed:
            announced = {node.announced_port for node in self.nodes}
            until(
                lambda: all(named_ports(node) == announced for node in self.nodes), "the nodes know what is announced"
            )
        self.options = {
            "session_store_type": "redis",
            "redis_use_cluster": True,
            "redis_cluster_connection_urls": [node.url for node in masters],
        }

    def _node(self, port: int, is_relayed: bool, **settings: Any) -> Redis:
        if not is_relayed:
            return Redis(port=port, **settings)
        # From its start, because Redis 6.2 reads these options only then.
        announced = self._relay_to(port)
        node = Redis(port=port, cluster_announce_port=announced, cluster_announce_bus_port=port + 10000, **settings)
        node.announced_port = announced
        return node

    def _members(self, node: Redis) -> list[str]:
        return node.command("CLUSTER", "NODES").decode().splitlines()

    def is_ok(self) -> bool:
        """Whether all answering nodes call the cluster ok."""
        states = [attempt(lambda: node.command("CLUSTER", "INFO")) for node in self.nodes]
        return all(b"cluster_state:ok" in state for state in states if state)

    def owner(self, key: str) -> Redis:
        """The master that has a key's slot."""
        slot = next(
            slot
            for slot in (attempt(lambda: node.command("CLUSTER", "KEYSLOT", key)) for node in self.nodes)
            if slot is not None
        )

        def find() -> Redis | None:
            for node in self.nodes:
                for first, last, master, *_ in attempt(lambda: node.command("CLUSTER", "SLOTS")) or []:
                    if first <= slot <= last:
                        owner = next(
                            (other for other in self.nodes if master[1] in (other.port, other.announced_port)), None
                        )
                        return owner if owner and attempt(lambda: role(owner)) == "master" else None
            return None

        return until(find, "a master has the slot")

    def is_whole(self) -> bool:
        """Whether every replica has its master's data: otherwise a failover would lose it."""
        return self.is_ok() and all(
            attempt(lambda: role(node) == "master" or is_synchronized(node)) for node in self.nodes
        )

    def server_of(self, key: str) -> Redis:
        return self.owner(key)

    def replica_of(self, master: Redis) -> Redis:
        identity = node_id(master)
        for node in self.nodes:
            words = attempt(lambda: self._myself(node)) or []
            if len(words) > 3 and words[3] == identity:
                return node
        raise AssertionError("it has no replica")

    def _myself(self, node: Redis) -> list[str]:
        return next(line.split() for line in self._members(node) if "myself" in line)

    def keys(self) -> list[str]:
        masters = [node for node in self.nodes if attempt(lambda: role(node)) == "master"]
        return sorted(itertools.chain.from_iterable(node.keys() for node in masters))

    def move_slot(self, key: str, to: Redis) -> None:
        """Moves a slot while it is in use, key by key, as `redis-cli --cluster reshard` does."""
        source = self.owner(key)
        slot = source.command("CLUSTER", "KEYSLOT", key)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(to))
        time.sleep(0.3)
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.command("MIGRATE", HOST, to.port, keys[0], 0, 5000)
            time.sleep(0.1)
        time.sleep(0.3)
        to.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(to))
        # After its last slot it may be a replica by now, and refuse.
        attempt(lambda: source.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(to)))

    def hand_slot_over(self, key: str, to: Redis) -> None:
        """Moves a slot at once, as `CLUSTER MIGRATION` of Redis 8.4 does: the new owner has the keys before the old one
        removes its own. Redis 7.0 and older remove them without a word to those who have read them."""
        source = self.owner(key)
        slot = source.command("CLUSTER", "KEYSLOT", key)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(to))
        for name in source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            source.command("MIGRATE", HOST, to.port, name, 0, 5000, "COPY")
        to.command("CLUSTER", "SETSLOT", slot, "NODE", node_id(to))
        until(lambda: source.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0, "the old owner has removed the keys")

    def wait_for_another_owner(self, key: str, than: Redis) -> float:
        """Waits until the nodes agree on another owner; returns the monotonic time."""
        until(lambda: self.owner(key) is not than, "another master has the slot", pause=0.01)
        return time.monotonic()


def named_ports(node: Redis) -> set[int]:
    """The ports under which a node of a cluster knows the masters."""
    return {master[1] for _first, _last, master, *_ in node.command("CLUSTER", "SLOTS")}


def named_port(node: Redis) -> int:
    """The port under which others know a server."""
    return node.announced_port or node.tls_port or node.port


def free_cluster_port() -> int:
    """A port that has another free one 10,000 above it, where the nodes of a cluster talk to each other."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            if port <= 55535 and probe.connect_ex((HOST, port + 10000)) != 0:
                return port


def node_id(node: Redis) -> str:
    return node.command("CLUSTER", "MYID").decode()


def role(node: Redis) -> str:
    return node.command("ROLE")[0].decode()


def is_synchronized(replica: Redis) -> bool:
    state = replica.command("INFO", "replication")
    return b"role:slave" in state and b"master_link_status:up" in state
