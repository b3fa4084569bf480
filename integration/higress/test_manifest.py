"""The plugin's configuration in the manifest, as Higress hands it to the module."""

from __future__ import annotations

import pytest
import yaml

from harness.process import StartFailed
from harness.render import ROOT
from harness.service import arrived

from .conftest import CLUSTER, SERVICE

MANIFEST = ROOT / "envoy-config" / "higress" / "wasmplugin.yaml"


def test_configuration_of_the_manifest_signs_a_user_in(make_gateway, make_redis):
    plugin, bridge = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    config = plugin["spec"]["defaultConfig"]
    # What the manifest says to change.
    changed = ("provider", "oidc_issuer_url", "client_id")
    assert config["provider"] == "oidc"
    gateway = make_gateway(make_redis(), **{name: config[name] for name in config if name not in changed})
    browser = gateway.browser()
    browser.sign_in("alice", "/echo")
    assert arrived(browser.get("/echo"))["x-forwarded-email"] == "alice@example.com"
    services = {entry["name"]: entry for entry in bridge["spec"]["registries"]}
    assert config["redis_service"] == SERVICE == f"redis.{services['redis']['type']}"
    assert f"outbound|{services['redis']['port']}||{SERVICE}" == CLUSTER
    assert config["bridge_cluster"] == f"outbound|{services['login']['port']}||login.{services['login']['type']}"


def test_rules_for_single_routes_are_refused(make_gateway, make_redis):
    # Higress puts the matchRules of a plugin into its configuration, with this name.
    rules = {"_rules_": [{"_match_route_": ["a"], "email_domains": ["*"]}]}
    with pytest.raises(StartFailed, match="_rules_"):
        make_gateway(make_redis(), **rules)
