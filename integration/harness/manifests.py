"""The Envoy configuration that our manifests result in, made as istiod and Envoy Gateway make it.

`istio` and `envoy_gateway` make functions with the parameters of harness/render.py, so an `Envoy` starts with them.
They follow the sources of these projects:

    Istio          pilot/pkg/model/extensions.go (buildWasmConfig), networking/core/extension/extensionfilter.go,
                   networking/core/envoyfilter (ADD of clusters, listeners and extension configurations; MERGE into
                   the HTTP connection managers of the gateway's own listeners, before listeners are added),
                   pkg/wasm/convert.go (the agent puts a file in the place of the image)
    Envoy Gateway  internal/xds/translator/wasm.go, internal/xds/translator/jsonpatch.go,
                   internal/xds/bootstrap/util.go (Merge), internal/gatewayapi/clienttrafficpolicy.go,
                   internal/xds/translator/listener.go

Not done here: pulling the image, which integration/registry/ tests, and Kubernetes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .render import ROOT, WASM, named, socket_address, system_ca

MANIFESTS = ROOT / "envoy-config"
WASM_TYPE = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
STRING = "type.googleapis.com/google.protobuf.StringValue"
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
RUNTIME = "envoy.wasm.runtime.v8"
# The match of an EnvoyFilter for all HTTP connection managers.
OF_THE_GATEWAY = {
    "context": "GATEWAY",
    "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
}
# Istio's bootstrap (1.30): only these statistics, besides those that proxyStatsMatcher names, and tags of its own.
ISTIO_STATISTICS = [
    *(
        {"prefix": prefix}
        for prefix in ("reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm")
    ),
    *({"suffix": suffix} for suffix in ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied")),
    {"safe_regex": {"regex": r"vhost\..*\.route\..*"}},
    {"prefix": "component"},
    {"prefix": "istio"},
]
ISTIO_TAGS = {
    "cluster_name": r"^cluster(\.(.+);)",
    "http_conn_manager_prefix": r"^http\.(((?:[_.[:digit:]\w]*|[_\[\]aAbBcCdDeEfF[:digit:]\w\:]*));\.)",
    "response_code": r"_rq(_(\d{3}))$",
    "response_code_class": r"_rq(_(\dxx))$",
}
STATISTICS = MANIFESTS / "monitoring" / "istio-statistics.yaml"
FAILURE_POLICY = {"FAIL_CLOSE": "FAIL_CLOSED", "FAIL_OPEN": "FAIL_OPEN", "FAIL_RELOAD": "FAIL_RELOAD"}
UNDERSCORES = {"Allow": "ALLOW", "RejectRequest": "REJECT_REQUEST", "DropHeader": "DROP_HEADER"}
PATHS = {
    "KeepUnchanged": "KEEP_UNCHANGED",
    "RejectRequest": "REJECT_REQUEST",
    "UnescapeAndForward": "UNESCAPE_AND_FORWARD",
    "UnescapeAndRedirect": "UNESCAPE_AND_REDIRECT",
}

# The name that Envoy Gateway gives to the routes of the listener `http` of the Gateway `my-gateway`.
ROUTES_OF_THE_GATEWAY = "default/my-gateway/http"

Renderer = Callable[..., str]


# The manifests that install the filter.
WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY = "Istio, WasmPlugin", "Istio, TrafficExtension", "Envoy Gateway"


def shipped(which: str, folder: Path, *more: str) -> Renderer:
    """Renders with the manifests as they are in envoy-config/, and these more. Files of Istio's discovery go to
    `folder`."""
    if which == ENVOY_GATEWAY:
        names = ("envoyextensionpolicy", "envoypatchpolicy", "envoyproxy", "clienttrafficpolicy")
        return envoy_gateway(*(manifest(f"envoy-gateway/{name}.yaml") for name in (*names, *more)))
    plugin = "wasmplugin" if which == WASM_PLUGIN else "trafficextension"
    rest = (manifest(f"istio/{name}.yaml") for name in more)
    return istio(manifest(f"istio/{plugin}.yaml"), manifest("istio/envoyfilter.yaml"), folder, *rest)


def manifest(path: str) -> dict:
    """A manifest of envoy-config/, as kubectl reads it."""
    return yaml.safe_load((MANIFESTS / path).read_text(encoding="utf-8"))


def istio(plugin: dict, bridge: dict, folder: Path, *more: dict) -> Renderer:
    """The configuration of a gateway with WasmPlugin or TrafficExtension and EnvoyFilters. Extension configurations
    come by discovery, as in Istio; the files for it go to `folder`."""

    def render(
        filter_json: str,
        *,
        listen: str,
        upstream: str,
        variables: list[str],
        ca: str | None = None,
        wasm: Path = WASM,
        admin_socket: Path | None = None,
    ) -> str:
        extensions = [istio_extension(plugin, filter_json)]
        found = []
        config = gateway(
            listen,
            upstream,
            [
                {
                    "name": extensions[0]["name"],
                    "config_discovery": {
                        "config_source": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
                        "type_urls": [WASM_TYPE],
                    },
                }
            ],
            admin_socket,
        )
        config["bootstrap_extensions"] = [internal_listeners(64)]
        config["stats_config"] = istio_statistics()
        manager(config["static_resources"]["listeners"][0])["stat_prefix"] = "outbound_0.0.0.0_8080;"
        patches = [patch for each in (bridge, *more) for patch in each["spec"]["configPatches"]]
        for patch in copy.deepcopy(patches):
            if patch["applyTo"] == "HTTP_ROUTE":
                assert (patch["match"], patch["patch"]["operation"]) == ({"context": "GATEWAY"}, "INSERT_FIRST")
                routes(config).insert(0, patch["patch"]["value"])
                continue
            if patch["applyTo"] == "NETWORK_FILTER":
                assert (patch["match"], patch["patch"]["operation"]) == (OF_THE_GATEWAY, "MERGE")
                merge(manager(config["static_resources"]["listeners"][0]), patch["patch"]["value"]["typed_config"])
                continue
            assert (patch["match"], patch["patch"]["operation"]) == ({"context": "GATEWAY"}, "ADD")
            where = {
                "LISTENER": config["static_resources"]["listeners"],
                "EXTENSION_CONFIG": extensions,
                "CLUSTER": config["static_resources"]["clusters"],
            }[patch["applyTo"]]
            where.append(patch["patch"]["value"])
        for extension in extensions:
            code = extension["typed_config"]["config"]["vm_config"]["code"]
            found.append(code["remote"]["http_uri"]["uri"])
            extension["typed_config"]["config"]["vm_config"]["code"] = {"local": {"filename": str(wasm)}}
        assert len(set(found)) == 1, f"filter and bridge are of different images: {found}"
        discover(config, extensions, folder)
        return finish(config, ca)

    return render


def istio_statistics() -> dict:
    """The statistics of a gateway whose pod has our annotation, and their names."""
    annotations = yaml.safe_load(STATISTICS.read_text(encoding="utf-8"))["spec"]["template"]["metadata"]["annotations"]
    matcher = yaml.safe_load(annotations["proxy.istio.io/config"])["proxyStatsMatcher"]
    assert set(matcher) == {"inclusionPrefixes"}
    more = [{"prefix": prefix} for prefix in matcher["inclusionPrefixes"]]
    return {
        "use_all_default_tags": False,
        "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in ISTIO_TAGS.items()],
        "stats_matcher": {"inclusion_list": {"patterns": [*ISTIO_STATISTICS, *more]}},
    }


def istio_extension(plugin: dict, filter_json: str) -> dict:
    """The filter that istiod makes of a WasmPlugin, or of a TrafficExtension with `wasm`."""
    spec = plugin["spec"].get("wasm", plugin["spec"])
    name = f"{plugin['metadata']['namespace']}.{plugin['metadata']['name']}"
    environment: dict = {"key_values": {}, "host_env_keys": []}
    for variable in spec["vmConfig"]["env"]:
        if variable["valueFrom"] == "HOST":
            environment["host_env_keys"].append(variable["name"])
        else:
            environment["key_values"][variable["name"]] = variable["value"]
    return {
        "name": f"extensions.istio.io/trafficextension/{name}",
        "typed_config": {
            "@type": WASM_TYPE,
            "config": {
                "name": name,
                "root_id": spec["pluginName"],
                "failure_policy": FAILURE_POLICY[spec["failStrategy"]],
                "configuration": merged(spec["pluginConfig"], filter_json),
                "vm_config": {
                    "runtime": RUNTIME,
                    "code": {"remote": {"http_uri": {"uri": spec["url"]}}},
                    "environment_variables": environment,
                },
            },
        },
    }


def discover(config: dict, extensions: list[dict], folder: Path) -> None:
    """Writes a file of resources, in the place of istiod, for each discovered filter."""
    for listener in config["static_resources"]["listeners"]:
        for each in manager(listener)["http_filters"]:
            if "config_discovery" not in each:
                continue
            path = folder / f"{each['name'].replace('/', '_')}.json"
            resource = {"@type": EXTENSION, **named(extensions, each["name"])}
            path.write_text(json.dumps({"version_info": "1", "resources": [resource]}), encoding="utf-8")
            source = each["config_discovery"]["config_source"]
            del source["ads"]
            source["path_config_source"] = {"path": str(path)}


def envoy_gateway(policy: dict, patches: dict, proxy: dict, traffic: dict, *more: dict) -> Renderer:
    """The configuration of a Gateway's proxy with an EnvoyExtensionPolicy, an EnvoyPatchPolicy, an EnvoyProxy, a
    ClientTrafficPolicy and more EnvoyPatchPolicies."""

    def render(
        filter_json: str,
        *,
        listen: str,
        upstream: str,
        variables: list[str],
        ca: str | None = None,
        wasm: Path = WASM,
        admin_socket: Path | None = None,
    ) -> str:
        [extension] = policy["spec"]["wasm"]
        about = policy["metadata"]
        name = f"envoy.filters.http.wasm/envoyextensionpolicy/{about['namespace']}/{about['name']}/wasm/0"
        # Off for all routes, and on again for those of the policy.
        config = gateway(
            listen,
            upstream,
            [
                {
                    "name": name,
                    "disabled": True,
                    "typed_config": {
                        "@type": WASM_TYPE,
                        "config": {
                            "name": extension["name"],
                            "root_id": extension["rootID"],
                            "fail_open": extension["failOpen"],
                            "configuration": merged(extension["config"], filter_json),
                            "vm_config": {
                                "vm_id": f"envoyextensionpolicy/{about['namespace']}/{about['name']}/wasm/0",
                                "runtime": RUNTIME,
                                "code": {"local": {"filename": str(wasm)}},
                                "environment_variables": {"host_env_keys": extension["env"]["hostKeys"]},
                            },
                        },
                    },
                }
            ],
            admin_socket,
        )
        main = manager(config["static_resources"]["listeners"][0])
        assert set(traffic["spec"]) == {"targetRefs", "headers", "path"}
        main.update(
            {
                "normalize_path": True,
                "merge_slashes": True,
                "path_with_escaped_slashes_action": PATHS[traffic["spec"]["path"]["escapedSlashesAction"]],
                "common_http_protocol_options": {
                    "headers_with_underscores_action": UNDERSCORES[traffic["spec"]["headers"]["withUnderscoresAction"]],
                },
            }
        )
        for route in main["route_config"]["virtual_hosts"][0]["routes"]:
            route["typed_per_filter_config"] = {
                name: {
                    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                    "config": {},
                }
            }
        assert proxy["spec"]["bootstrap"]["type"] == "Merge"
        config.update(yaml.safe_load(proxy["spec"]["bootstrap"]["value"]))
        for patch in copy.deepcopy([patch for each in (patches, *more) for patch in each["spec"]["jsonPatches"]]):
            operation = patch["operation"]
            if patch["type"].endswith(".RouteConfiguration"):
                assert patch["name"] == ROUTES_OF_THE_GATEWAY
                patch_json(main["route_config"], operation)
                continue
            assert (operation["op"], operation["path"], operation["value"]["name"]) == ("add", "", patch["name"])
            kind = patch["type"].rpartition(".")[2].lower() + "s"
            config["static_resources"][kind].append(operation["value"])
        bridge = manager(named(config["static_resources"]["listeners"], "oauth2_session_bridge"))
        mount_module(bridge["http_filters"], proxy, wasm)
        return finish(config, ca)

    return render


def routes(config: dict) -> list[dict]:
    """The routes of the gateway's own listener."""
    return manager(config["static_resources"]["listeners"][0])["route_config"]["virtual_hosts"][0]["routes"]


def patch_json(document: dict, operation: dict) -> None:
    """`add` to a list, or `copy` to an object (RFC 6902 section 4)."""

    def at(pointer: str) -> tuple[Any, Any]:
        place: Any = document
        *way, last = [int(step) if step.isdecimal() else step for step in pointer.split("/")[1:]]
        for step in way:
            place = place[step]
        return place, last

    place, last = at(operation["path"])
    if operation["op"] == "add":
        place.insert(last, operation["value"])
    else:
        assert operation["op"] == "copy"
        source, name = at(operation["from"])
        place[last] = copy.deepcopy(source[name])


def mount_module(filters: list[dict], proxy: dict, wasm: Path) -> None:
    """The file of the module, in the folder at which the EnvoyProxy mounts the image."""
    deployment = proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]
    [mount] = deployment["container"]["volumeMounts"]
    assert mount["name"] in {volume["name"] for volume in deployment["pod"]["volumes"] if "image" in volume}
    code = named(filters, "oauth2_session_bridge")["typed_config"]["config"]["vm_config"]["code"]["local"]
    assert code["filename"] == f"{mount['mountPath']}/plugin.wasm"
    code["filename"] = str(wasm)


def gateway(listen: str, upstream: str, filters: list[dict], admin_socket: Path | None) -> dict:
    """A gateway with one route for all requests, and only the filters of ours."""
    return {
        "admin": {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}},
        "node": {"id": "gateway", "cluster": "gateway"},
        "static_resources": {
            "listeners": [
                {
                    "name": "main",
                    "address": socket_address(listen),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": {
                                        "@type": MANAGER,
                                        "stat_prefix": "main",
                                        "use_remote_address": True,
                                        "route_config": {
                                            "virtual_hosts": [
                                                {
                                                    "name": "all",
                                                    "domains": ["*"],
                                                    "routes": [
                                                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                                                    ],
                                                }
                                            ]
                                        },
                                        "http_filters": [
                                            *filters,
                                            {
                                                "name": "envoy.filters.http.router",
                                                "typed_config": {"@type": ROUTER},
                                            },
                                        ],
                                    },
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "upstream",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "upstream",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {"endpoint": {"address": socket_address(upstream)}},
                                ]
                            }
                        ],
                    },
                }
            ],
        },
    }


def internal_listeners(buffer_size_kb: int) -> dict:
    return {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
            "buffer_size_kb": buffer_size_kb,
        },
    }


def finish(config: dict, ca: str | None) -> str:
    """Replaces the certificate authorities of the proxy's image by those of this machine."""
    for cluster in config["static_resources"]["clusters"]:
        tls = cluster.get("transport_socket", {}).get("typed_config", {}).get("common_tls_context", {})
        if "trusted_ca" in tls.get("validation_context", {}):
            tls["validation_context"]["trusted_ca"]["filename"] = ca or system_ca()
    return json.dumps(config, indent=1)


def merge(into: dict, what: dict) -> None:
    """As protobuf merges messages without lists."""
    for name, value in what.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def merged(given: dict, filter_json: str) -> dict:
    """The configuration of a manifest, with the addresses and secrets of the test."""
    return {"@type": STRING, "value": json.dumps({**given, **json.loads(filter_json)})}


def manager(listener: dict) -> dict:
    return listener["filter_chains"][0]["filters"][0]["typed_config"]
