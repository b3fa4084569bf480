"""The manifests of envoy-config/ as data, for comparisons. What control planes make of them is in recorded.py."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from .mounted import MARK
from .recorded import ENVOY_GATEWAY, WASM_PLUGIN
from .render import ROOT

MANIFESTS = ROOT / "envoy-config"
BRIDGE = "oauth2_session_"


def manifest(path: str, *, secrets: bool = False) -> dict:
    """A file of envoy-config/, as kubectl reads it; with the lines about mounted secrets or without."""
    text = (MANIFESTS / path).read_text(encoding="utf-8")
    return yaml.safe_load(text.replace(MARK, "") if secrets else text)


def bridge(path: str, *, secrets: bool = False) -> tuple[dict, list[dict]]:
    """The internal listener and the clusters of a file."""
    content = manifest(path, secrets=secrets)
    kind, spec = content.get("kind"), content.get("spec", {})
    if kind == "EnvoyFilter":
        patches = spec["configPatches"]
        resources = [each["patch"]["value"] for each in patches if each["applyTo"] in ("LISTENER", "CLUSTER")]
    elif kind == "EnvoyPatchPolicy":
        resources = [each["operation"]["value"] for each in spec["jsonPatches"]]
    else:
        resources = [each for name in ("listeners", "clusters") for each in content["static_resources"][name]]
    ours = [each for each in resources if each["name"].startswith(BRIDGE)]
    listener = next(each for each in ours if "internal_listener" in each)
    return listener, [each for each in ours if each is not listener]


@dataclass
class Plugin:
    """The filter of a manifest: its filter JSON, and the variables that it may read."""

    config: dict
    variables: list[str]


def plugin_of(which: str, *, secrets: bool = False) -> Plugin:
    if which == ENVOY_GATEWAY:
        [wasm] = manifest("envoy-gateway/envoyextensionpolicy.yaml", secrets=secrets)["spec"]["wasm"]
        return Plugin(wasm["config"], wasm["env"]["hostKeys"])
    name = "wasmplugin" if which == WASM_PLUGIN else "trafficextension"
    spec = manifest(f"istio/{name}.yaml", secrets=secrets)["spec"]
    wasm = spec.get("wasm", spec)
    return Plugin(wasm["pluginConfig"], [each["name"] for each in wasm["vmConfig"]["env"]])
