"""Threads that do something again and again."""

from __future__ import annotations

import threading


class Repeated:
    """`turn(number)` in each thread without a pause, from the beginning of the `with` block to its end."""

    def __init__(self, threads: int):
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            self.turn(number)
            number += 1

    def turn(self, number: int) -> None:
        """One repetition. The first numbers of the threads are 0, 1, 2, …"""
        raise NotImplementedError
