"""Records what a control plane made of our manifests, from the Envoy that it configured: docs/recording.md.

    .venv/bin/python integration/record_xds.py --of "Istio 1.30.3" --case base \\
        --dump http://127.0.0.1:15000/config_dump integration/recorded/istio-wasmplugin.json

The file has one case, `base`, as a whole. Of every other case it has the resources that differ from it. `--dump` may
also be a file. `--replace A=B` writes B for A, such as for the path of a folder of this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = ("listeners", "routes", "clusters", "extensions")
# What has no effect on the filter.
LEFT_OUT = ("access_log", "metadata", "tracing")
BRIDGE = "oauth2_session_"
# What Istio's agent puts in the place of a module that it cannot pull.
REPLACED = "wasm-default-deny"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--of", required=True, help="control plane and version")
    parser.add_argument("--case", required=True)
    parser.add_argument("--dump", required=True, help="URL or file of Envoy's config_dump")
    parser.add_argument("--replace", action="append", default=[])
    arguments = parser.parse_args()
    recording = json.loads(arguments.file.read_text(encoding="utf-8")) if arguments.file.is_file() else {"cases": {}}
    text = read(arguments.dump)
    for pair in arguments.replace:
        text = text.replace(*pair.split("=", 1))
    made = recorded(json.loads(text))
    if REPLACED in json.dumps(made):
        print("record-xds: Istio's agent has no module: its log says why it could not pull the image", file=sys.stderr)
        return 1
    if arguments.case == "base":
        recording = {"of": arguments.of, "cases": {"base": made}}
    elif recording.get("of") != arguments.of:
        print(f"record-xds: {arguments.file} is of {recording.get('of')}: record `base` first", file=sys.stderr)
        return 1
    else:
        recording["cases"][arguments.case] = difference(recording["cases"]["base"], made)
    arguments.file.write_text(json.dumps(recording, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


def read(place: str) -> str:
    if place.startswith("http"):
        with urllib.request.urlopen(place, timeout=60) as answer:
            return answer.read().decode()
    return Path(place).read_text(encoding="utf-8")


def recorded(dump: dict) -> dict:
    """What a test needs: the listeners with routes to a service, the bridge, and what both refer to."""
    bootstrap = next(part["bootstrap"] for part in dump["configs"] if "bootstrap" in part)
    found = {
        "listeners": list(resources(dump, "dynamic_listeners", "listener")),
        "routes": list(resources(dump, "dynamic_route_configs", "route_config")),
        "clusters": list(resources(dump, "dynamic_active_clusters", "cluster")),
        "extensions": list(resources(dump, "ecds_filters", "ecds_filter")),
    }
    used = json.dumps(found["listeners"])
    found["listeners"] = [
        each for each in found["listeners"] if BRIDGE in json.dumps(each) or "rds" in json.dumps(each)
    ]
    found["routes"] = [each for each in found["routes"] if f'"{each["name"]}"' in used]
    found["clusters"] = [each for each in found["clusters"] if each["name"].startswith(BRIDGE)]
    return {
        "bootstrap": {name: bootstrap[name] for name in ("bootstrap_extensions", "stats_config") if name in bootstrap},
        **{kind: sorted((clean(each) for each in found[kind]), key=lambda each: each["name"]) for kind in KINDS},
    }


def resources(dump: dict, kind: str, name: str) -> Iterator[dict]:
    for part in dump["configs"]:
        for each in part.get(kind, []):
            # A listener that waits for its module or its secrets is not active yet.
            state = next((each[state] for state in ("active_state", "warming_state") if state in each), each)
            yield {field: value for field, value in state[name].items() if field != "@type"}


def clean(value: Any) -> Any:
    if isinstance(value, list):
        return [clean(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "vm_config" in value:
        value["vm_config"]["code"] = {"local": {"filename": "plugin.wasm"}}
    return {name: clean(each) for name, each in value.items() if name not in LEFT_OUT}


def difference(base: dict, made: dict) -> dict:
    """The resources that differ from the base, and the names of those that are gone."""
    changed: dict = {}
    for kind in KINDS:
        of_base = {each["name"]: each for each in base[kind]}
        if new := [each for each in made[kind] if of_base.get(each["name"]) != each]:
            changed[kind] = new
        if gone := sorted(of_base.keys() - {each["name"] for each in made[kind]}):
            changed.setdefault("gone", {})[kind] = gone
    return changed


if __name__ == "__main__":
    sys.exit(main())
