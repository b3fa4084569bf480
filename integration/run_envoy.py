"""`make envoy`: Envoy with your own filter JSON, in the foreground until Ctrl-C.

Envoy gets every OAUTH2_PROXY_… of the environment and gives it to the filter; no secret is written to a
file or a command line. The exit code is Envoy's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from harness.envoy import PREFIX, ConfigurationError, Envoy
from harness.process import StartFailed, stop_on_signals
from harness.render import WASM


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, type=Path, help="the filter JSON")
    parser.add_argument("--listen", default="127.0.0.1:8080", help="host:port for browsers")
    parser.add_argument("--upstream", default="127.0.0.1:9000", help="host:port of your service")
    parser.add_argument("--concurrency", default=1, type=int, help="worker threads of Envoy")
    parser.add_argument(
        "--ca", help="PEM file with the certificate authorities for the provider; default: the system's"
    )
    parser.add_argument("--wasm", default=WASM, type=Path, help="the filter, as `make build` makes it")
    wanted = parser.parse_args()

    for path in filter(None, (wanted.config, wanted.wasm, wanted.ca)):
        if not Path(path).is_file():
            return fail(f"{path}: there is no such file")
    stop_on_signals()
    running = None
    try:
        say("starting")
        running = Envoy(
            wanted.config.read_text(encoding="utf-8"),
            listen=wanted.listen,
            upstream=wanted.upstream,
            environment=dict(os.environ),
            concurrency=wanted.concurrency,
            ca=wanted.ca,
            wasm=wanted.wasm,
            echo=True,
            may_crash=True,  # its log is on the terminal
        )
        variables = sorted(name for name in os.environ if name.startswith(PREFIX))
        say(f"the filter reads from the environment: {', '.join(variables) or 'nothing'}")
        say(f"listening on {running.url}, upstream {wanted.upstream}; Ctrl-C ends it")
        return running.process.wait() or 0
    except KeyboardInterrupt:
        return (running.stop() if running else 0) or 0
    except ConfigurationError as error:
        mistakes = "\n".join(f"  - {line}" for line in error.lines)
        return fail(
            f"Envoy did not start: the configuration in {wanted.config} or in {PREFIX}… has mistakes:\n{mistakes}",
            error.exit_code or 1,
        )
    except StartFailed as error:
        return fail(
            f"Envoy did not start; the reason is in its log above (exit code {error.exit_code})", error.exit_code or 1
        )
    except ValueError as error:
        return fail(str(error))
    finally:
        if running:
            running.stop()


def say(line: str) -> None:
    print(f"envoy: {line}", flush=True)


def fail(reason: str, code: int = 1) -> int:
    print(f"envoy: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
