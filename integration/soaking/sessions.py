"""Many sessions without a sign-in, each of another user, as an oauth2-proxy beside the filter could write them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from harness.known_secrets import SECRETS
from harness.render import ROOT
from harness.service import COOKIE_SECRET


@dataclass(frozen=True)
class Session:
    """A session that is not in Redis yet."""

    user: str
    cookie: str
    key: bytes
    value: bytes


def make_sessions(count: int) -> list[Session]:
    """Sessions that examples/make_cookies.rs writes."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        commands = Path(folder) / "sessions.resp"
        # Not --release, which would be another build of everything.
        words = ["run", "--locked", "--quiet", "--example", "make_cookies", "--", str(count), str(commands)]
        made = subprocess.run(
            [os.environ.get("CARGO", "cargo"), *words],
            cwd=ROOT,
            env={**os.environ, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        cookies = made.stdout.split()
        stored = list(stored_by(commands.read_bytes()))
    assert len(cookies) == len(stored) == count
    for cookie in cookies:
        SECRETS.add("a cookie", cookie)
    return [
        Session(f"person-{number}", f"_oauth2_proxy={cookie}", key, value)
        for number, (cookie, (key, value)) in enumerate(zip(cookies, stored))
    ]


def stored_by(commands: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of `SET` commands, as they go over the wire."""
    stream = BytesIO(commands)

    def word() -> bytes:
        length = int(stream.readline()[1:])
        return stream.read(length + 2)[:-2]

    while stream.readline():
        _, key, value = word(), word(), word()
        yield key, value
