"""Fills in envoy-config/envoy.yaml, or another template there: the file that is shipped is the file that is run.

The values marked CHANGE in it are set here; all others stay as they are. The result is JSON, which Envoy reads too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "envoy-config" / "envoy.yaml"
ACCESS_LOG = ROOT / "envoy-config" / "access-log.yaml"
RATE_LIMIT = ROOT / "envoy-config" / "rate-limit.yaml"
WASM = ROOT / "dist" / "oauth2_session_filter.wasm"
# Debian, Alpine; Red Hat; macOS.
SYSTEM_CA = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def render(
    filter_json: str | None,
    *,
    listen: str,
    upstream: str,
    variables: list[str],
    ca: str | None = None,
    wasm: Path = WASM,
    template: Path = TEMPLATE,
    clusters: dict[str, str] | None = None,
    admin_socket: Path | None = None,
    access_log: str | None = None,
    filters_before: str | None = None,
) -> str:
    """Envoy's configuration as JSON. `variables` are names in Envoy's environment, not their values; `clusters` are
    addresses of clusters besides the upstream. Without a filter JSON the template has no filter either.
    `access_log` is YAML such as access-log.yaml has, `filters_before` such as rate-limit.yaml has."""
    config = yaml.safe_load(template.read_text(encoding="utf-8"))
    resources = config["static_resources"]

    main = named(resources["listeners"], "main")
    main["address"] = socket_address(listen)
    manager = main["filter_chains"][0]["filters"][0]["typed_config"]
    if access_log is not None:
        manager.update(yaml.safe_load(access_log))
    for name, address in {"upstream": upstream, **(clusters or {})}.items():
        endpoints = named(resources["clusters"], name)["load_assignment"]["endpoints"]
        endpoints[0]["lb_endpoints"][0]["endpoint"]["address"] = socket_address(address)
    if filter_json is not None:
        plugin = named(manager["http_filters"], "oauth2_session")["typed_config"]["config"]
        plugin["configuration"]["value"] = filter_json
        plugin["vm_config"]["code"]["local"]["filename"] = str(wasm)
        plugin["vm_config"]["environment_variables"] = {"host_env_keys": sorted(variables)}
        for verified in ("oauth2_session_https", "oauth2_session_redis_tls"):
            tls = named(resources["clusters"], verified)["transport_socket"]["typed_config"]
            tls["common_tls_context"]["validation_context"]["trusted_ca"]["filename"] = ca or system_ca()

    if filters_before is not None:
        manager["http_filters"] = yaml.safe_load(filters_before)["http_filters"] + manager["http_filters"]

    if admin_socket is not None:
        # A socket in a folder of our own: no port is taken, and no other user can reach it.
        config["admin"] = {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}}
    return json.dumps(config, indent=1)


def text_access_log(line: str) -> str:
    """An access log on Envoy's standard output, for `access_log`: one line of this format for each request."""
    typed_config = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"text_format_source": {"inline_string": f"{line}\n"}},
    }
    return json.dumps({"access_log": [{"name": "envoy.access_loggers.stdout", "typed_config": typed_config}]})


def named(items: list[dict], name: str) -> dict:
    return next(item for item in items if item["name"] == name)


def socket_address(address: str) -> dict:
    """`host:port`; an IPv6 host in brackets."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not host:port")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def system_ca() -> str:
    """The certificates that this machine trusts."""
    candidates = [os.environ.get("SSL_CERT_FILE", ""), *SYSTEM_CA]
    return next((path for path in candidates if path and Path(path).is_file()), SYSTEM_CA[0])
