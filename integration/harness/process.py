"""A child process; its output is kept, and it never outlives this process."""

from __future__ import annotations

import collections
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Lines of output that are kept; a demo can run for days.
MAX_LINES = 20_000
MAX_KEPT = 100
STOP_SECONDS = 10


class StartFailed(Exception):
    """The process ended, or was not ready in time."""

    def __init__(self, name: str, reason: str, process: Process):
        self.lines = process.lines()
        self.exit_code = process.exit_code
        tail = "\n".join(f"    {line}" for line in self.lines[-15:])
        super().__init__(f"{name} {reason}" + (f"; its output:\n{tail}" if tail else ""))


class Process:
    """Starts at once. `echo` also prints each line of its output. Lines that match `keep` stay in `kept`, even after
    MAX_LINES newer lines."""

    def __init__(
        self,
        name: str,
        command: Sequence[object],
        *,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        echo: bool = False,
        keep: re.Pattern | None = None,
    ):
        self.name = name
        self._kept: list[str] = []
        self._keep = keep
        self._lines: collections.deque[str] = collections.deque(maxlen=MAX_LINES)
        self._echo = echo
        # If this process is killed and cannot stop the child, the kernel does (Linux).
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "TERM", *command]
        # In a session of its own: Ctrl-C reaches only this process, which stops its children in order.
        self._popen = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._popen.stdout
        self._pipe = self._popen.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._reading = threading.Lock()
        self._rest = b""
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while self._drain():
            poll.poll()

    def _drain(self) -> bool:
        """Keeps what the process has written so far. False at the end of its output."""
        with self._reading:
            while True:
                try:
                    chunk = os.read(self._pipe, 1 << 16)
                except BlockingIOError:
                    return True
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                if not chunk and self._rest:
                    lines, self._rest = [self._rest], b""
                for line in lines:
                    self._keep_line(line.decode("utf-8", "backslashreplace"))
                if not chunk:
                    return False

    def _keep_line(self, line: str) -> None:
        self._lines.append(line)
        if self._keep and len(self._kept) < MAX_KEPT and self._keep.search(line):
            self._kept.append(line)
        if self._echo:
            print(line, file=sys.stderr, flush=True)

    def lines(self) -> list[str]:
        """The output so far: also what the process has written just now, and the thread has not read yet."""
        self._drain()
        return list(self._lines)

    @property
    def kept(self) -> list[str]:
        """The lines that match `keep`, also of what the process has written just now."""
        self._drain()
        return list(self._kept)

    def forget_kept(self) -> None:
        self._drain()
        self._kept.clear()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    def wait_until(self, is_ready: Callable[[], Any], seconds: float = 30) -> Any:
        """Waits for something true; fails at once when the process ends."""
        deadline = time.monotonic() + seconds
        while True:
            if self.exit_code is not None:
                self._reader.join(STOP_SECONDS)
                raise StartFailed(self.name, f"ended with exit code {self.exit_code}", self)
            if result := is_ready():
                return result
            if time.monotonic() > deadline:
                self.stop()
                raise StartFailed(self.name, f"was not ready after {seconds:.0f} seconds", self)
            time.sleep(0.02)

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code; None if it still runs after so many seconds."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """Ends the process, by force if necessary. Does nothing if it has ended already."""
        if self.exit_code is None:
            self._popen.send_signal(signal.SIGTERM)
            if self.wait(STOP_SECONDS) is None:
                self._popen.kill()
        code = self._popen.wait()
        self._reader.join(STOP_SECONDS)
        return code


def stop_on_signals() -> None:
    """SIGTERM and SIGINT raise KeyboardInterrupt, so that our children are stopped too. This includes a SIGINT that a
    shell has set to be ignored, as it does for background jobs."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
