"""What the real control planes made of our manifests, as renderers: an Envoy starts with them as with envoy.yaml.

integration/recorded/ has a file for each way to install the filter, which integration/record_xds.py made: see
docs/recording.md. The cases of a file differ in the manifests:

    base                 the manifests of envoy-config/istio or envoy-config/envoy-gateway, but backchannel-logout.yaml
    backchannel-logout   with backchannel-logout.yaml
    secrets              with the lines `#SECRETS`
    no-filter            Istio, without the plugin
    no-route             Envoy Gateway, without httproute.yaml
    conflict             Envoy Gateway, with an older EnvoyExtensionPolicy on the same Gateway
    overridden           Envoy Gateway, with an EnvoyExtensionPolicy on the route of the service

The renderer sets what a test has to choose: the address, the service, the filter JSON, the module and the authorities.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from .render import ROOT, WASM, named, socket_address, system_ca

# The ways to install the filter.
WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY = "Istio, WasmPlugin", "Istio, TrafficExtension", "Envoy Gateway"
ALL = (WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY)
ISTIO = (WASM_PLUGIN, TRAFFIC_EXTENSION)
FILES = {
    WASM_PLUGIN: "istio-wasmplugin.json",
    TRAFFIC_EXTENSION: "istio-trafficextension.json",
    ENVOY_GATEWAY: "envoy-gateway.json",
}
# The listeners of the Gateway by their ports: that of the services, and one that redirects to it.
MAIN, REDIRECTS = 8888, 8887
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
KINDS = ("listeners", "routes", "clusters", "extensions")

Renderer = Callable[..., str]
Change = Callable[[str], str]


@lru_cache
def recording(which: str) -> dict:
    return json.loads((ROOT / "integration" / "recorded" / FILES[which]).read_text(encoding="utf-8"))


def case(which: str, name: str = "base") -> dict:
    """The resources of a case: those of the base, with those that differ."""
    made = copy.deepcopy(recording(which)["cases"]["base"])
    if name == "base":
        return made
    changed = copy.deepcopy(recording(which)["cases"][name])
    for kind in KINDS:
        new = {each["name"] for each in changed.get(kind, [])} | set(changed.get("gone", {}).get(kind, []))
        made[kind] = [each for each in made[kind] if each["name"] not in new] + changed.get(kind, [])
    return made


def recorded(which: str, name: str = "base", *, port: int = MAIN, change: Change = lambda text: text) -> Renderer:
    """A function for `Envoy(render=…)`: the listener of this port and the bridge, as they were recorded. `change` is
    for paths in them."""

    def render(
        filter_json: str,
        *,
        listen: str,
        upstream: str,
        variables: list[str],
        ca: str | None = None,
        wasm: Path = WASM,
        admin_socket: Path,
    ) -> str:
        text = change(json.dumps(case(which, name)))
        if port == REDIRECTS:
            # The policy of Istio leaves this port open. Here Envoy listens on a free one.
            text = text.replace(f'"destination_port": {REDIRECTS}', '"any": true')
        found = json.loads(text)
        main, bridge = listener_at(found, port), named(found["listeners"], "oauth2_session_bridge")
        main.update({"name": "main", "address": socket_address(listen)})
        routes = inline_routes(main, found["routes"])
        services = sorted({route["route"]["cluster"] for route in routes if "route" in route} - set(names(found)))
        for each in plugins([*found["listeners"], *found["extensions"]]):
            each["vm_config"]["code"] = {"local": {"filename": str(wasm)}}
            if each["root_id"] == "oauth2_session":
                given = json.loads(each["configuration"]["value"])
                each["configuration"]["value"] = json.dumps({**given, **json.loads(filter_json)})
        discover([main, bridge], found["extensions"], admin_socket.parent)
        clusters = [*found["clusters"], *(service(each, upstream) for each in services)]
        trust(clusters, ca)
        return json.dumps(
            {
                "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
                "node": {"id": "gateway", "cluster": "gateway"},
                **found["bootstrap"],
                "static_resources": {"listeners": [main, bridge], "clusters": clusters},
            },
            indent=1,
        )

    return render


def listener_at(found: dict, port: int) -> dict:
    def is_there(listener: dict) -> bool:
        return listener.get("address", {}).get("socket_address", {}).get("port_value") == port

    return next(filter(is_there, found["listeners"]))


def manager(listener: dict) -> dict:
    """The HTTP connection manager of a listener."""
    chain = listener.get("default_filter_chain") or listener["filter_chains"][0]
    return chain["filters"][0]["typed_config"]


def names(found: dict) -> list[str]:
    return [cluster["name"] for cluster in found["clusters"]]


def inline_routes(listener: dict, routes: list[dict]) -> list[dict]:
    """Puts the discovered routes into a listener, and lists them."""
    found = manager(listener)
    found["route_config"] = named(routes, found.pop("rds")["route_config_name"])
    return [route for host in found["route_config"]["virtual_hosts"] for route in host["routes"]]


def plugins(place: Any) -> list[dict]:
    """The configurations of the module, wherever they are."""
    if isinstance(place, list):
        return [found for each in place for found in plugins(each)]
    if not isinstance(place, dict):
        return []
    return [place] if "vm_config" in place else plugins(list(place.values()))


def discover(listeners: list[dict], extensions: list[dict], folder: Path) -> None:
    """Writes a file of resources, in the place of istiod, for each discovered filter."""
    for each in (filter for listener in listeners for filter in manager(listener)["http_filters"]):
        if "config_discovery" not in each:
            continue
        path = folder / f"{each['name'].replace('/', '_')}.json"
        resource = {**named(extensions, each["name"]), "@type": EXTENSION}
        path.write_text(json.dumps({"version_info": "1", "resources": [resource]}), encoding="utf-8")
        source = each["config_discovery"]["config_source"]
        del source["ads"]
        source["path_config_source"] = {"path": str(path)}


def service(name: str, address: str) -> dict:
    endpoint = {"endpoint": {"address": socket_address(address)}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "load_assignment": assignment}


def trust(clusters: list[dict], ca: str | None) -> None:
    """Replaces the certificate authorities of the proxy's image by those of this machine."""
    for cluster in clusters:
        tls = cluster.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
        if "trusted_ca" in tls.get("validation_context", {}):
            tls["validation_context"]["trusted_ca"]["filename"] = ca or system_ca()
