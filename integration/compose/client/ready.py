"""Exit code 0 if everything answers; otherwise prints what does not answer yet.

python3 -m client.ready
"""

from __future__ import annotations

import sys

import httpx

from client.servers import ENVOYS, PROVIDER_CONTROL
from harness.browser import Browser
from harness.service import arrived

# /ping checks Envoy with the filter, /ready its connection to Redis. At last, a sign-in at each Envoy checks its
# connection to the upstream too.
ADDRESSES = (f"{PROVIDER_CONTROL}/seen", *(f"{envoy}{path}" for envoy in ENVOYS for path in ("/ping", "/ready")))


def main() -> None:
    missing = []
    for address in ADDRESSES:
        try:
            answer = httpx.get(address, timeout=5, trust_env=False)
        except httpx.HTTPError as error:
            missing.append(f"{address}: {type(error).__name__}")
        else:
            if answer.status_code != 200:
                missing.append(f"{address}: {answer.status_code}")
    if missing:
        sys.exit("; ".join(missing))
    for envoy in ENVOYS:
        try:
            with Browser(envoy) as browser:
                arrived(browser.sign_in("alice", "/echo"))
        except (AssertionError, httpx.HTTPError) as error:
            sys.exit(f"a sign-in at {envoy}: {error}")


if __name__ == "__main__":
    main()
