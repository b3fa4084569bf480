"""integration/record_xds.py, with what Envoy's admin interface says of a gateway that a control plane configured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.render import ROOT


def manager(**more: object) -> list[dict]:
    return [{"filters": [{"name": "hcm", "typed_config": {"access_log": [{"name": "file"}], **more}}]}]


def module(code: dict) -> dict:
    return {"name": "oauth2_session_bridge", "typed_config": {"config": {"vm_config": {"vm_id": "x", "code": code}}}}


def dump(path: str, *more_routes: dict) -> dict:
    bridge = module({"local": {"filename": path}})
    listeners = [
        {"name": "ready", "filter_chains": manager(route_config={"name": "ready"})},
        {"name": "main", "filter_chains": manager(rds={"route_config_name": "routes"})},
        {"name": "oauth2_session_bridge", "filter_chains": manager(http_filters=[bridge])},
    ]
    routes = [{"name": "routes", "virtual_hosts": [], "metadata": {"of": "app"}}, {"name": "unused"}, *more_routes]
    return {
        "configs": [
            {"bootstrap": {"node": {"id": "machine"}, "bootstrap_extensions": [{"name": "internal"}]}},
            {
                "dynamic_listeners": [
                    {"name": each["name"], "active_state": {"listener": each}} for each in listeners[:2]
                ]
            },
            # It still waits for its module.
            {"dynamic_listeners": [{"name": "bridge", "warming_state": {"listener": listeners[2]}}]},
            {"dynamic_route_configs": [{"route_config": each} for each in routes]},
            {
                "dynamic_active_clusters": [
                    {"cluster": {"name": name}} for name in ("oauth2_session_http", "app", "xds")
                ]
            },
        ]
    }


@pytest.fixture
def record(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Records a configuration dump as a case of `recorded.json`."""

    def record(case: str, content: dict, *more: str, of: str = "Plane 1.0") -> subprocess.CompletedProcess:
        (tmp_path / "dump.json").write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, str(ROOT / "integration" / "record_xds.py"), "--of", of, "--case", case]
        command += ["--dump", str(tmp_path / "dump.json"), *more, str(tmp_path / "recorded.json")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return record


@pytest.fixture
def cases(tmp_path) -> Callable[[], dict]:
    return lambda: json.loads((tmp_path / "recorded.json").read_text(encoding="utf-8"))["cases"]


def test_recording_has_what_concerns_the_filter(record, cases):
    assert record("base", dump("/home/me/x.wasm")).returncode == 0
    found = cases()["base"]
    assert {kind: [each["name"] for each in found[kind]] for kind in ("listeners", "routes", "clusters")} == {
        "listeners": ["main", "oauth2_session_bridge"],
        "routes": ["routes"],
        "clusters": ["oauth2_session_http"],
    }
    assert found["bootstrap"] == {"bootstrap_extensions": [{"name": "internal"}]}
    text = json.dumps(found)
    assert not [word for word in ("/home/me", "machine", "access_log", "metadata") if word in text]


def test_case_has_only_what_differs_from_the_base(record, cases):
    record("base", dump("x.wasm"))
    changed = dump("x.wasm")
    changed["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"] = [{"path": "/tmp/a/b"}]
    changed["configs"][4]["dynamic_active_clusters"] = []
    assert record("other", changed, "--replace", "/tmp/a=/etc").returncode == 0
    assert cases()["other"] == {
        "routes": [{"name": "routes", "virtual_hosts": [{"path": "/etc/b"}]}],
        "gone": {"clusters": ["oauth2_session_http"]},
    }


def test_case_of_another_version_is_refused(record):
    record("base", dump("x.wasm"))
    ended = record("other", dump("x.wasm"), of="Plane 2.0")
    assert ended.returncode == 1
    assert "is of Plane 1.0: record `base` first" in ended.stderr


def test_gateway_without_its_module_is_not_recorded(record, tmp_path):
    """Istio's agent denies every request then."""
    deny = {"name": "oauth2_session_bridge", "typed_config": {"rules": {}, "rules_stat_prefix": "wasm-default-deny"}}
    content = dump("x.wasm")
    content["configs"].append({"ecds_filters": [{"ecds_filter": deny}]})
    ended = record("base", content)
    assert ended.returncode == 1
    assert "could not pull the image" in ended.stderr
    assert not (tmp_path / "recorded.json").exists()
