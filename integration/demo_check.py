"""Runs `make run` as a new user does: signs in and out by script, ends it, and checks that nothing is left.

.venv/bin/python integration/demo_check.py [cookie|redis|sentinel|cluster] [module.wasm]
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness.browser import Browser
from harness.ports import free_port
from harness.vm import signs_in_log

ROOT = Path(__file__).resolve().parent.parent
READY = re.compile(r"ready: open (http://\S+)")
# `make run` may have to build first.
START_SECONDS = 20 * 60
STOP_SECONDS = 20


def main() -> int:
    port = free_port()
    store = sys.argv[1] if len(sys.argv) > 1 else "cookie"
    command = ["make", "run", f"PORT={port}", f"STORE={store}", *(f"WASM={path}" for path in sys.argv[2:])]
    say(" ".join(command))
    make = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    giving_up = threading.Timer(START_SECONDS, make.terminate)
    giving_up.start()
    try:
        url = next((found[1] for line in echoed(make) if (found := READY.search(line))), None)
        giving_up.cancel()
        if url is None:
            return fail(f"make run ended with exit code {make.wait()} and gave no address")
        # Later output is read too; otherwise make would wait for room in the pipe.
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(echoed(make)), daemon=True)
        reader.start()
        for host in ("127.0.0.1", "localhost"):
            say(f"signing in at {host}")
            sign_in_and_out(f"http://{host}:{port}", store)
        say("ending it with SIGTERM")
        make.send_signal(signal.SIGTERM)
        make.wait(STOP_SECONDS)
        wait_until_closed(port)
        reader.join(STOP_SECONDS)
        assert not (signs := signs_in_log(lines)), f"a VM died: {signs[0]}"
    except AssertionError as error:
        return fail(str(error))
    except subprocess.TimeoutExpired:
        return fail(f"make run did not end within {STOP_SECONDS} seconds")
    finally:
        giving_up.cancel()
        if make.poll() is None:
            make.kill()
    say("passed")
    return 0


def sign_in_and_out(url: str, store: str) -> None:
    with Browser(url) as browser:
        page = browser.sign_in("alice")
        assert page.status_code == 200 and "alice@example.com" in page.text, (
            f"the page after the sign-in does not show alice: {page.status_code}\n{page.text}"
        )
        assert ("Redis key" in page.text) == (store != "cookie"), f"the page is not that of {store}:\n{page.text}"
        say("signed in: the page shows alice")
        page = browser.get("/oauth2/sign_out")
        assert page.status_code == 200, f"sign_out answered {page.status_code}"
        page = browser.get("/")
        assert page.status_code == 302, f"after the sign-out the page answers {page.status_code}, not 302"
        say("signed out: the page asks for a sign-in again")


def wait_until_closed(port: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while is_open(port):
        assert time.monotonic() < deadline, f"port {port} is still open after make run ended"
        time.sleep(0.1)
    say("ended: nothing listens any more")


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def echoed(make: subprocess.Popen):
    assert make.stdout
    for line in make.stdout:
        print(f"    {line}", end="", flush=True)
        yield line


def say(line: str) -> None:
    print(f"demo_check: {line}", flush=True)


def fail(reason: str) -> int:
    print(f"demo_check: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
