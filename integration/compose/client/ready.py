"""Whether everything answers: exit code 0, or what does not answer yet.

    python3 -m client.ready
"""

from __future__ import annotations

import sys

import httpx

from client.servers import ENVOYS, PROVIDER_CONTROL

# /ping is Envoy with the filter, /ready the way to Redis.
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


if __name__ == "__main__":
    main()
