#!/usr/bin/env python3
"""Ends or lists the sessions of a user with redis-cli alone, by the index of `redis_session_index`.

    export OAUTH2_PROXY_COOKIE_SECRET=…
    tools/end_sessions.py --issuer https://login.example.com --user alice -- redis-cli -h redis.example.com

What follows `--` is the redis-cli that reaches the server, the Sentinels' master, or with `-c` a Cluster. Another
program may start it, such as `kubectl exec`. `--user` is the `sub` claim, which is `user` in the access log of the
filter. With several cookie secrets, separated by commas, the command looks up the sessions of each.

The sessions end as by a sign-out: first the lock is taken, so that no proxy that refreshes the session at this moment
saves it again; then the session is deleted.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys

# As long as the filter holds the lock at a sign-out (`flow/store/redis/lock.rs`).
LOCK_SECONDS = "60"


def main() -> int:
    options = parse(sys.argv[1:])
    secrets = cookie_secrets(os.environ.get("OAUTH2_PROXY_COOKIE_SECRET", ""))
    if not secrets:
        return fail("OAUTH2_PROXY_COOKIE_SECRET is empty; export the cookie secret of the filter")
    is_id = re.compile(re.escape(options.cookie_name) + r"-[0-9a-f]{32}")
    ended = 0
    for secret in secrets:
        key = index_key(secret, options.cookie_name, options.issuer, options.user)
        names = redis(options.redis, "HKEYS", key).split()
        if refused := [name for name in names if not is_id.fullmatch(name)]:
            return fail(f"redis-cli answered: {' '.join(refused)}")
        for session in names:
            if options.list:
                print(session)
                continue
            expect("OK", redis(options.redis, "SETEX", f"{session}.lock", LOCK_SECONDS, "signed out"))
            ended += expect_number(redis(options.redis, "DEL", session))
            expect_number(redis(options.redis, "HDEL", key, session))
    if not options.list:
        print(f"ended {ended} sessions")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ends the sessions of a user.")
    parser.add_argument("--issuer", required=True, help="the issuer of the provider; empty for a sign-in app of yours")
    parser.add_argument("--user", required=True, help="the sub claim of the user")
    parser.add_argument("--cookie-name", default="_oauth2_proxy", help="cookie_name of the filter")
    parser.add_argument("--list", action="store_true", help="print the keys of the sessions, and end none")
    parser.add_argument("redis", nargs="+", metavar="REDIS_CLI", help="redis-cli with its options, after --")
    return parser.parse_args(arguments)


def cookie_secrets(text: str) -> list[bytes]:
    """As the filter reads `cookie_secret`: a JSON array; or one secret, or several with commas."""
    if text.startswith("["):
        return [secret.encode() for secret in json.loads(text)]
    return [secret.encode() for secret in dict.fromkeys([text, *text.split(",")]) if secret]


def index_key(secret: bytes, cookie_name: str, issuer: str, user: str) -> str:
    """The hash of a user's sessions: see `flow/store/redis/index.rs`, and `fingerprint` in `cookie/secret.rs`."""
    mac = hmac.new(secret, b"\0fingerprint", hashlib.sha256)
    for part in [cookie_name, "index", "user", issuer, user]:
        mac.update(len(part.encode()).to_bytes(8, "little") + part.encode())
    return f"{cookie_name}-user.{mac.digest()[:16].hex()}"


def redis(command: list[str], *words: str) -> str:
    """The reply as text. Without a terminal, redis-cli prints a value a line, and an error as it is."""
    ran = subprocess.run([*command, *words], stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(fail(f"redis-cli failed with status {ran.returncode}"))
    return ran.stdout.strip()


def expect(wanted: str, reply: str) -> None:
    if reply != wanted:
        raise SystemExit(fail(f"redis-cli answered: {reply}"))


def expect_number(reply: str) -> int:
    if not reply.isdigit():
        raise SystemExit(fail(f"redis-cli answered: {reply}"))
    return int(reply)


def fail(why: str) -> int:
    print(f"end_sessions: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
