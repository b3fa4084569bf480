"""The Helm chart and the kustomize bases, with helm, kustomize and kubeconform; without these programs, the tests fail.

The expectation is the manifests of envoy-config/, which the end-to-end tests run: with its default values, the chart
renders them, and each value changes what it says and nothing else.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cargo import package
from check_manifests import definitions

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "oauth2-session-filter"
MANIFESTS = ROOT / "envoy-config"
NAMESPACE = {"istio": "istio-system", "istio-trafficextension": "istio-system", "envoy-gateway": "default"}
# What each has with its default values.
DEFAULT = {
    "istio": ("istio/authorizationpolicy", "istio/envoyfilter", "istio/wasmplugin"),
    "istio-trafficextension": ("istio/authorizationpolicy", "istio/envoyfilter", "istio/trafficextension"),
    "envoy-gateway": (
        "envoy-gateway/clienttrafficpolicy",
        "envoy-gateway/envoyextensionpolicy",
        "envoy-gateway/envoypatchpolicy",
        "envoy-gateway/envoyproxy",
        "envoy-gateway/httproute",
        "envoy-gateway/securitypolicy",
    ),
}
# All that the values can switch on.
EVERYTHING = {
    "config": {"backchannel_logout": True},
    "maxRequestHeadersKb": 96,
    "image": {"digest": f"sha256:{'0' * 64}"},
    "secret": {"files": {"enabled": True}},
    "istio": {"ports": [443], "imagePullSecret": "registry"},
    "envoyGateway": {"oauth2Route": {"hostnames": ["app.example.com"]}},
}
# Every switch, and the objects that it removes from all that there is.
SWITCHES = {
    "istio": {
        "filter.enabled": {"WasmPlugin oauth2-session"},
        "bridge.enabled": {
            "EnvoyFilter oauth2-session-bridge",
            "EnvoyFilter oauth2-session-backchannel-logout",
        },
        "backchannelLogout.enabled": {"EnvoyFilter oauth2-session-backchannel-logout"},
        "maxRequestHeadersKb": {"EnvoyFilter oauth2-session-header-limit"},
        "secret.files.resources.enabled": {"ConfigMap oauth2-session-resources"},
        "guard.enabled": {"AuthorizationPolicy oauth2-session"},
    },
    "envoy-gateway": {
        "filter.enabled": {"EnvoyExtensionPolicy oauth2-session"},
        "bridge.enabled": {
            "EnvoyPatchPolicy oauth2-session-bridge",
            "EnvoyPatchPolicy oauth2-session-backchannel-logout",
        },
        "backchannelLogout.enabled": {"EnvoyPatchPolicy oauth2-session-backchannel-logout"},
        "maxRequestHeadersKb": {"EnvoyPatchPolicy oauth2-session-header-limit"},
        "secret.files.resources.enabled": {"ConfigMap oauth2-session-resources"},
        "guard.enabled": {"SecurityPolicy oauth2-session"},
        "envoyGateway.oauth2Route.enabled": {"HTTPRoute oauth2-session"},
        "envoyGateway.envoyProxy.enabled": {"EnvoyProxy oauth2-session"},
        "envoyGateway.clientTrafficPolicy.enabled": {"ClientTrafficPolicy oauth2-session"},
    },
}

Objects = dict[str, dict]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(["helm", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


def objects(text: str) -> Objects:
    found = {}
    for each in filter(None, yaml.safe_load_all(text)):
        each["metadata"].pop("labels", None)
        found[f"{each['kind']} {each['metadata']['name']}"] = each
    return found


@pytest.fixture
def template(tmp_path):
    """What the chart renders: for a file of ci/, with more values."""

    def run(which: str, values: dict | None = None) -> subprocess.CompletedProcess:
        more = tmp_path / "values.json"
        more.write_text(json.dumps(values or {}), encoding="utf-8")
        of_ci = CHART / "ci" / f"{which}-values.yaml"
        return helm("template", "mine", CHART, "--namespace", NAMESPACE[which], "--values", of_ci, "--values", more)

    return run


@pytest.fixture
def rendered(template):
    def run(which: str, values: dict | None = None) -> Objects:
        ended = template(which, values)
        assert ended.returncode == 0, ended.stderr
        return objects(ended.stdout)

    return run


def shipped(*names: str, with_secrets: bool = False) -> Objects:
    """Manifests of envoy-config/; with their lines for secrets in files."""
    text = "\n---\n".join((MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8") for name in names)
    return objects(text.replace("#SECRETS ", "") if with_secrets else text)


def nested(path: str, value: Any) -> dict:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def both(first: dict, second: dict) -> dict:
    made = copy.deepcopy(first)
    for name, value in second.items():
        made[name] = both(made[name], value) if isinstance(value, dict) and name in made else value
    return made


@pytest.mark.parametrize("which", DEFAULT)
def test_chart_renders_the_tested_manifests(rendered, which):
    assert rendered(which) == shipped(*DEFAULT[which])


@pytest.mark.parametrize("which, plane", [("istio", "istio"), ("envoy-gateway", "envoy-gateway")])
def test_chart_renders_what_is_tested_besides(rendered, which, plane):
    found = rendered(which, {"config": {"backchannel_logout": True}, "maxRequestHeadersKb": 96})
    for name, manifest in shipped(f"{plane}/backchannel-logout", f"{plane}/header-limit").items():
        assert found[name] == manifest


@pytest.mark.parametrize("which", DEFAULT)
def test_secrets_in_files_are_those_lines_of_the_manifests(rendered, which):
    found = rendered(which, {"secret": {"files": {"enabled": True}}})
    assert json.dumps(found).count("/oauth2_session.Secret/") == 4
    resources = found.pop("ConfigMap oauth2-session-resources")
    assert resources["data"] == {
        path.name: path.read_text(encoding="utf-8") for path in (MANIFESTS / "secrets").glob("*.yaml")
    }
    wanted = shipped(*DEFAULT[which], with_secrets=True)
    # A secret that comes in both ways is a mistake: there are no variables.
    for each in [*wanted.values()]:
        spec = each["spec"]
        if each["kind"] == "EnvoyProxy":
            del spec["provider"]["kubernetes"]["envoyDeployment"]["container"]["env"]
        elif each["kind"] == "EnvoyExtensionPolicy":
            spec["wasm"][0]["env"]["hostKeys"] = []
        elif each["kind"] in ("WasmPlugin", "TrafficExtension"):
            spec.get("wasm", spec)["vmConfig"]["env"] = []
    assert found == wanted


def test_chart_has_every_manifest():
    """A new manifest is rendered, or is named here with the reason."""
    names = {
        str(path.relative_to(MANIFESTS))
        for plane in ("istio", "envoy-gateway")
        for path in (MANIFESTS / plane).iterdir()
    }
    templates = "".join(path.read_text(encoding="utf-8") for path in CHART.glob("templates/*/*.yaml"))
    found = {name for name in names if f'"{name}"' in templates}
    of_kinds = {"istio/wasmplugin.yaml", "istio/trafficextension.yaml"}
    bases = {"istio/Kustomization", "envoy-gateway/Kustomization"}
    assert names - found == of_kinds | bases


@pytest.mark.parametrize("which", SWITCHES)
def test_each_switch_removes_its_objects_only(rendered, which):
    everything = rendered(which, EVERYTHING)
    for switch, removed in SWITCHES[which].items():
        off: Any = 0 if switch == "maxRequestHeadersKb" else False
        found = rendered(which, both(EVERYTHING, nested(switch, off)))
        assert set(everything) - set(found) == removed, switch
        assert {name: everything[name] for name in found} == found, switch


@pytest.mark.parametrize("which", SWITCHES)
def test_all_switches_off_leave_nothing(rendered, which):
    values: dict = {}
    for switch in SWITCHES[which]:
        values = both(values, nested(switch, 0 if switch == "maxRequestHeadersKb" else False))
    assert rendered(which, values) == {}


@pytest.mark.parametrize("which", DEFAULT)
def test_digest_pins_every_reference_to_the_image(template, which):
    digest = f"sha256:{'a' * 64}"
    text = template(
        which, {"image": {"repository": "registry.example.com:5000/it", "tag": "1", "digest": digest}}
    ).stdout
    references = re.findall(r"\b(?:url|uri|reference): (?:oci://)?(registry\S+)", text)
    assert references == [f"registry.example.com:5000/it@{digest}"] * 2


@pytest.mark.parametrize("which", DEFAULT)
def test_filter_gets_the_options(rendered, which):
    found = rendered(
        which, {"config": {"cookie_max_bytes": 60000, "proxy_prefix": "/auth", "backchannel_logout": True}}
    )
    specs = [each["spec"] for each in found.values()]
    [config] = [
        each["pluginConfig"] if "pluginConfig" in each else each["config"]
        for spec in specs
        for each in [spec, spec.get("wasm"), *(spec["wasm"] if isinstance(spec.get("wasm"), list) else [])]
        if isinstance(each, dict) and ("pluginConfig" in each or "config" in each)
    ]
    assert (config["cookie_max_bytes"], config["client_id"]) == (60000, "my-service")
    text = json.dumps(found)
    assert "/auth/backchannel_logout" in text
    assert "/oauth2/" not in text.replace("/oauth2/v3", "")


def test_istio_gets_ports_selector_and_authorities(rendered):
    values = {
        "istio": {"ports": [443, 8443], "selector": {"istio": "inner"}, "imagePullSecret": "registry"},
        "bridge": {"providerAuthorities": {"filename": "/a.pem"}, "redisAuthorities": {"filename": "/b.pem"}},
        "name": "inner",
    }
    found = rendered("istio", values)
    plugin, bridge = found["WasmPlugin inner"]["spec"], found["EnvoyFilter inner-bridge"]["spec"]
    guard = found["AuthorizationPolicy inner"]["spec"]
    assert guard["selector"]["matchLabels"] == {"istio": "inner"}
    assert plugin["match"] == [{"mode": "CLIENT", "ports": [{"number": 443}, {"number": 8443}]}]
    assert plugin["selector"]["matchLabels"] == bridge["workloadSelector"]["labels"] == {"istio": "inner"}
    assert plugin["imagePullSecret"] == "registry"
    assert re.findall(r'"filename": "([^"]*)"', json.dumps(bridge)) == ["/a.pem", "/b.pem"]


def test_headers_with_underscores_can_stay(rendered):
    def manager(**values: Any) -> set[str]:
        patches = rendered("istio", values)["EnvoyFilter oauth2-session-bridge"]["spec"]["configPatches"]
        of_manager = [patch["patch"]["value"] for patch in patches if patch["applyTo"] == "NETWORK_FILTER"]
        return {name for value in of_manager for name in value["typed_config"]} - {"@type"}

    guard, underscores = "early_header_mutation_extensions", "common_http_protocol_options"
    assert manager() == {guard, underscores}
    assert manager(dropHeadersWithUnderscores=False) == {guard}
    assert manager(config={"pass_guard_header": ""}) == {underscores}
    assert manager(dropHeadersWithUnderscores=False, config={"pass_guard_header": ""}) == set()
    values = {
        "config": {"pass_guard_header": ""},
        "dropHeadersWithUnderscores": False,
        "envoyGateway": {"clientTrafficPolicy": {"rejectEscapedSlashes": False}},
    }
    assert set(rendered("envoy-gateway", values)["ClientTrafficPolicy oauth2-session"]["spec"]) == {"targetRefs"}


def test_envoy_gateway_gets_listener_secret_and_own_settings(rendered):
    values = {
        "maxRequestHeadersKb": 96,
        "config": {"backchannel_logout": True},
        "secret": {
            "name": "mine",
            "environment": {
                "OAUTH2_PROXY_CLIENT_SECRET": {"key": "oidc"},
                "OAUTH2_PROXY_REDIS_PASSWORD": None,
                "OAUTH2_PROXY_REDIS_SENTINEL_PASSWORD": None,
            },
        },
        "envoyGateway": {
            "gateway": "edge",
            "listener": "public",
            "envoyProxy": {"spec": {"provider": {"kubernetes": {"envoyDeployment": {"replicas": 3}}}}},
            "clientTrafficPolicy": {"spec": {"headers": {"enableEnvoyHeaders": True}}},
        },
    }
    found = rendered("envoy-gateway", values)
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "sectionName": "public"}
    policy, traffic = (
        found["EnvoyExtensionPolicy oauth2-session"]["spec"],
        found["ClientTrafficPolicy oauth2-session"]["spec"],
    )
    assert policy["targetRefs"] == found["SecurityPolicy oauth2-session"]["spec"]["targetRefs"] == [ref]
    assert [each["name"] for each in traffic["targetRefs"]] == ["edge"]
    assert found["HTTPRoute oauth2-session"]["spec"]["parentRefs"] == [{"name": "edge", "sectionName": "public"}]
    assert traffic["headers"] == {
        "withUnderscoresAction": "DropHeader",
        "earlyRequestHeaders": {"remove": ["x-oauth2-session-guard"]},
        "enableEnvoyHeaders": True,
    }
    for each in found.values():
        assert each["spec"].get("targetRef", {"name": "edge"})["name"] == "edge"
    limit = found["EnvoyPatchPolicy oauth2-session-header-limit"]["spec"]["jsonPatches"]
    logout = found["EnvoyPatchPolicy oauth2-session-backchannel-logout"]["spec"]["jsonPatches"]
    assert {patch["name"] for patch in limit + logout} == {"default/edge/public"}
    deployment = found["EnvoyProxy oauth2-session"]["spec"]["provider"]["kubernetes"]["envoyDeployment"]
    assert deployment["replicas"] == 3
    assert deployment["container"]["env"] == [
        {"name": "OAUTH2_PROXY_CLIENT_SECRET", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "oidc"}}},
        {"name": "OAUTH2_PROXY_COOKIE_SECRET", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "cookie-secret"}}},
    ]
    assert policy["wasm"][0]["env"]["hostKeys"] == ["OAUTH2_PROXY_CLIENT_SECRET", "OAUTH2_PROXY_COOKIE_SECRET"]


def test_guard_has_the_value_of_the_filter(rendered):
    value = {"config": {"pass_guard_header": "0123abcd"}}
    [rule] = rendered("istio", value)["AuthorizationPolicy oauth2-session"]["spec"]["rules"]
    assert rule["when"] == [{"key": "request.headers[x-oauth2-session-guard]", "notValues": ["0123abcd"]}]
    assert "AuthorizationPolicy oauth2-session" not in rendered("istio", {"config": {"pass_guard_header": ""}})
    found = rendered("envoy-gateway", value)
    [rule] = found["SecurityPolicy oauth2-session"]["spec"]["authorization"]["rules"]
    assert rule["principal"]["headers"] == [{"name": "x-oauth2-session-guard", "values": ["0123abcd"]}]
    without = rendered("envoy-gateway", {"config": {"pass_guard_header": ""}})
    assert "SecurityPolicy oauth2-session" not in without
    assert "earlyRequestHeaders" not in without["ClientTrafficPolicy oauth2-session"]["spec"]["headers"]


@pytest.mark.parametrize(
    ("ports", "redirects", "to"),
    [
        ([8443], [8080, 80], [{"operation": {"notPorts": ["8080", "80"]}}]),
        ([8443, 8080], [8080], None),
        ([], [], None),
    ],
    ids=["redirects", "has the filter", "none"],
)
def test_guard_of_istio_leaves_open_what_redirects(rendered, ports, redirects, to):
    found = rendered("istio", {"istio": {"ports": ports, "redirectPorts": redirects}})
    [rule] = found["AuthorizationPolicy oauth2-session"]["spec"]["rules"]
    assert rule.get("to") == to


def test_route_has_the_paths_of_the_filter(rendered):
    config = {"proxy_prefix": "/auth/", "ping_path": "/alive", "ready_path": "/up"}
    [rule] = rendered("envoy-gateway", {"config": config})["HTTPRoute oauth2-session"]["spec"]["rules"]
    assert [match["path"]["value"] for match in rule["matches"]] == ["/auth", "/alive", "/up"]


@pytest.mark.parametrize("which", ["istio", "envoy-gateway"])
def test_all_ports_and_listeners_can_have_the_filter(rendered, which):
    found = rendered(which, {"istio": {"ports": []}, "envoyGateway": {"onlyThisListener": False}})
    text = json.dumps(found)
    assert "sectionName" not in text
    assert '"match": [' not in json.dumps(found.get("WasmPlugin oauth2-session", {}))


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"config": {"email_domainz": ["*"]}}, "email_domainz"),
        ({"config": {"cookie_samesite": "perhaps"}}, "/config/cookie_samesite"),
        ({"config": {"client_secret": "s3cret"}}, "client_secret"),
        ({"config": {"cookie_secret": "s3cret"}}, "cookie_secret"),
        ({"config": {"email_domains": None}}, "email_domains"),
        ({"target": "nginx"}, "/target"),
        ({"istio": {"failStrategy": "FAIL_OPEN"}}, "/istio/failStrategy"),
        ({"image": {"digest": "sha256:short"}}, "/image/digest"),
        ({"config": {"pass_guard_header": "*"}}, "config.pass_guard_header"),
        ({"istio": {"phase": "STATS"}}, "istio.phase"),
        ({"unknown": 1}, "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_value_is_refused_by_name(template, values, reason):
    ended = template("istio", values)
    assert ended.returncode != 0
    assert reason in ended.stderr
    assert "s3cret" not in ended.stderr


@pytest.mark.parametrize("which", DEFAULT)
def test_lint_finds_nothing(which):
    ended = helm("lint", "--strict", CHART, "--values", CHART / "ci" / f"{which}-values.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_chart_has_the_version_of_the_filter():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == package().version


def test_package_of_a_release_pins_the_image():
    digest = f"sha256:{'b' * 64}"
    tool = [sys.executable, str(ROOT / "tools" / "package_chart.py"), "--image", "ghcr.io/acme/it", "--digest", digest]
    tool += ["--source", "https://github.com/acme/filter"]
    assert subprocess.run(tool, check=False, capture_output=True).returncode == 0
    of_ci = CHART / "ci" / "istio-values.yaml"
    packaged = ROOT / "dist" / f"{CHART.name}-{package().version}.tgz"
    text = helm("template", "mine", packaged, "--namespace", NAMESPACE["istio"], "--values", of_ci).stdout
    assert text.count(f"oci://ghcr.io/acme/it@{digest}") == 2
    shown = yaml.safe_load(helm("show", "chart", packaged).stdout)
    [image] = yaml.safe_load(shown["annotations"]["artifacthub.io/images"])
    assert image["image"] == f"ghcr.io/acme/it@{digest}"
    assert shown["sources"] == [shown["home"]] == ["https://github.com/acme/filter"]


# ---- kustomize ----


@pytest.mark.parametrize("plane", ["istio", "envoy-gateway"])
@pytest.mark.parametrize("folder", ["", "kustomize/"])
def test_kustomize_builds_the_tested_manifests(plane, folder):
    ended = subprocess.run(
        ["kustomize", "build", MANIFESTS / folder / plane], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert objects(ended.stdout) == shipped(*DEFAULT[plane])


# ---- kubeconform ----


@pytest.fixture(scope="session")
def schemas(tmp_path_factory):
    """The definitions in the folder CRDS, as kubeconform reads them."""
    folder = tmp_path_factory.mktemp("schemas")
    given = Path(os.environ["CRDS"])
    for kind, schema in definitions(given):
        version, _, name = kind.partition(" ")
        path = folder / version.partition("/")[0] / f"{name.lower()}_{version.partition('/')[2]}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(schema), encoding="utf-8")
    return folder


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
@pytest.mark.parametrize("which", DEFAULT)
def test_rendered_objects_are_valid(template, schemas, which, values, record_property):
    ended = template(which, values)
    assert ended.returncode == 0, ended.stderr
    # STRICT: every kind needs a definition.
    unknown = [] if os.environ.get("STRICT") else ["-ignore-missing-schemas"]
    place = f"{schemas}/{{{{ .Group }}}}/{{{{ .ResourceKind }}}}_{{{{ .ResourceAPIVersion }}}}.json"
    # A ConfigMap is of Kubernetes itself, which has no definition of it here.
    unknown += ["-skip", "ConfigMap"]
    checked = subprocess.run(
        ["kubeconform", "-strict", "-summary", "-verbose", *unknown, "-schema-location", place, "-"],
        input=ended.stdout,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert " is valid" in checked.stdout
    record_property("kubeconform", checked.stdout.strip().rpartition("\n")[2])
