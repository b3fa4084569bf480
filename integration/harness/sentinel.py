"""One Sentinel on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

from .ports import HOST, free_port
from .process import Process
from .redis import FOLDERS, Connection, RedisError, server
from .waiting import answers, until

MASTER_NAME = "sessions"
# Milliseconds until a sentinel takes a server for dead. A sentinel that did not run for 2 seconds takes no server for
# dead during the next 30 seconds (TILT). Afterwards it refuses each replica whose link was down for longer than ten
# times this value. So the value is above 3 seconds; otherwise a failover on a busy machine may never come.
DOWN_AFTER = 3100


class Sentinel:
    """One sentinel, with a folder of its own, because it writes what it knows into its configuration."""

    def __init__(
        self,
        master_port: int,
        *,
        host: str = HOST,
        quorum: int = 2,
        password: str | None = None,
        user: str | None = None,
        tls: list[str] | None = None,
    ):
        """`user` is its user at the servers, with the same text as password. `tls` are the lines that make it speak
        TLS to its clients too, and only TLS to the servers."""
        self.port = free_port()
        self.tls_port = free_port() if tls else None
        self.password = password
        self._folder = Path(tempfile.mkdtemp(prefix="sentinel-", dir=FOLDERS))
        self._config = self._folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {self._folder}",
            *(["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"] if host != HOST else []),
            f"sentinel monitor {MASTER_NAME} {host} {master_port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER}",
            f"sentinel failover-timeout {MASTER_NAME} 6000",
            f"sentinel parallel-syncs {MASTER_NAME} 1",
        ]
        if tls:
            lines += [f"tls-port {self.tls_port}", *tls]
        if user:
            lines += [f"sentinel auth-user {MASTER_NAME} {user}", f"sentinel auth-pass {MASTER_NAME} {user}"]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.start()

    def start(self) -> None:
        self._process = Process("Sentinel", [server(), self._config, "--sentinel"])
        self._process.wait_until(lambda: answers(lambda: self.command("PING")))

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.stop()

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._process.exit_code is None:
            os.kill(self._process.pid, signal.SIGCONT)

    def command(self, *words: object):
        with Connection(self.port) as connection:
            if self.password:
                connection.command("AUTH", self.password)
            return connection.command(*words)

    def master_port(self) -> int:
        """The master that it names."""
        return int(self.command("SENTINEL", "get-master-addr-by-name", MASTER_NAME)[1])

    def fail_over(self) -> bool:
        """Replaces the master; returns when a replica was promoted. False if the sentinel gave up."""
        began = len(self._process.lines())
        try:
            self.command("SENTINEL", "failover", MASTER_NAME)
        except RedisError:
            return False  # INPROG, NOGOODSLAVE

        def events() -> str:
            return "\n".join(self._process.lines()[began:])

        until(
            lambda: "+promoted-slave" in events() or "-failover-abort" in events(),
            "a replica is promoted",
            pause=0.01,
            report=events,
        )
        return "+promoted-slave" in events()

    def is_tilted(self) -> bool:
        return b"sentinel_tilt:1" in self.command("INFO", "sentinel")

    def log(self) -> str:
        return "\n".join(self._process.lines())

    def close(self) -> None:
        self.resume()
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
