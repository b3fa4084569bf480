"""Puts the documentation's pieces of configuration into a whole configuration, as its reader would."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .render import ROOT, named, render, system_ca

Change = Callable[[dict], None]


def blocks(page: str, heading: str, language: str) -> list[str]:
    """The blocks of a language between a heading of a page and the next one."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page} has no {heading}"
    section = re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def piece(page: str, heading: str) -> dict:
    """The only piece of Envoy's configuration below a heading."""
    [block] = blocks(page, heading, "yaml")
    return yaml.safe_load(block)


def manager(config: dict) -> dict:
    listener = named(config["static_resources"]["listeners"], "main")
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def add_filters(config: dict, filters: list[dict]) -> None:
    """Puts HTTP filters after the filter and before the router."""
    chain = manager(config)["http_filters"]
    chain[-1:-1] = filters


def add_hosts(config: dict, hosts: list[dict]) -> None:
    manager(config)["route_config"]["virtual_hosts"][:0] = hosts


def add_resources(kind: str) -> Callable[[dict, list[dict]], None]:
    """Adds each item, or replaces the one of its name."""

    def add(config: dict, resources: list[dict]) -> None:
        for resource in resources:
            tls = resource.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
            if "validation_context" in tls:
                tls["validation_context"]["trusted_ca"]["filename"] = system_ca()
            others = [other for other in config["static_resources"][kind] if other["name"] != resource["name"]]
            config["static_resources"][kind] = [*others, resource]

    return add


def add_to_redis_tls(config: dict, context: dict) -> None:
    cluster = named(config["static_resources"]["clusters"], "oauth2_session_redis_tls")
    cluster["transport_socket"]["typed_config"]["common_tls_context"].update(context)


PLACES: dict[str, Callable] = {
    "http_filters": add_filters,
    "virtual_hosts": add_hosts,
    "listeners": add_resources("listeners"),
    "clusters": add_resources("clusters"),
    "common_tls_context": add_to_redis_tls,
    "path_with_escaped_slashes_action": lambda config, action: manager(config).update(
        path_with_escaped_slashes_action=action
    ),
}


def apply(config: dict, content: dict) -> None:
    """Puts a piece into a configuration."""
    for name, value in copy.deepcopy(content).items():
        PLACES[name](config, value)


def rendering(content: dict, change: Change = lambda config: None) -> Callable[..., str]:
    """A function for `Envoy(render=…)`: the shipped configuration with a piece in it, then changed."""

    def made(*arguments: Any, wasm: Path, ca: str | None = None, **options: Any) -> str:
        config = json.loads(render(*arguments, wasm=wasm, ca=ca, **options))
        apply(config, content)
        change(config)
        return json.dumps(config, indent=1)

    return made
