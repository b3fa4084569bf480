"""envoy-config/monitoring: the dashboard and the alert rules use statistics that a real Envoy has, also by the names
that Istio and Envoy Gateway give them.

promtool tests the rules themselves, with alerts-test.yaml; if promtool is missing, those tests are skipped with this
reason. Grafana's own types read the dashboard. They know the names of all fields, but not every value that Grafana
takes.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from harness.envoy import Envoy
from harness.recorded import ENVOY_GATEWAY, TRAFFIC_EXTENSION, WASM_PLUGIN, recorded
from harness.render import ROOT
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config
from harness.text import find

MONITORING = ROOT / "envoy-config" / "monitoring"
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# Envoy merges histograms every few seconds.
HISTOGRAM_SECONDS = 20

# A metric by its name or by matchers; without matchers it is followed by a range.
NAME = r"(?:envoy|oauth2_session)_[a-z0-9_]+"
SELECTOR = re.compile(rf'(?<![\w"])({NAME})?\{{([^}}]*)\}}|\b({NAME})(?=\[)')
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')
IS_MATCH = {
    "=": lambda pattern, value: value == pattern,
    "!=": lambda pattern, value: value != pattern,
    "=~": lambda pattern, value: re.fullmatch(pattern, value) is not None,
    "!~": lambda pattern, value: re.fullmatch(pattern, value) is None,
}
PLAIN = "envoy.yaml"
# Istio's tags have no label for the listener.
NOT_THERE = {(way, "variable listener") for way in (WASM_PLUGIN, TRAFFIC_EXTENSION)}


def queries() -> dict[str, str]:
    """All queries to Prometheus, by their place."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']}, {target['refId']}"] = target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["query"].replace("label_values(", "").replace(", ", "{}, ")
    return found


@pytest.fixture(scope="module")
def scrapes(services, shared_provider, shared_redis, upstream) -> Iterator[Callable[[str], str]]:
    """What Prometheus scrapes from an Envoy that was in use, for each kind of configuration: `scrapes(way)`."""
    shared_provider.reset()
    options = {"session_store_type": "redis", "redis_connection_url": shared_redis.url}
    started: list[Envoy] = []

    def start(way: str) -> Service:
        if way == PLAIN:
            return services.start(is_shared=False, **options)
        started.append(
            Envoy(
                filter_config(shared_provider, **options),
                upstream=upstream.address,
                render=recorded(way),
                environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
            )
        )
        return Service(started[-1], shared_provider)

    @functools.cache
    def scrape(way: str) -> str:
        at = start(way)
        browser = at.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        deadline = time.monotonic() + HISTOGRAM_SECONDS
        while True:
            scraped = at.envoy.admin("/stats/prometheus")
            done = re.search(r"^oauth2_session_redis_command_time_us_count\{\} ([1-9]\d*)$", scraped, re.MULTILINE)
            if done or time.monotonic() > deadline:
                return scraped
            time.sleep(0.2)

    yield scrape
    for envoy in started:
        envoy.stop()


@pytest.fixture(scope="module")
def scrape(scrapes) -> str:
    return scrapes(PLAIN)


def series_of(scrape: str) -> list[dict[str, str]]:
    """The labels of each series, its name among them."""
    lines = re.findall(r"^(\w+)\{([^}]*)\} ", scrape, re.MULTILINE)
    return [{"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', labels))} for name, labels in lines]


def selectors(query: str) -> list[list[tuple[str, str, str]]]:
    """The matchers of each selector of a query."""
    found = []
    for with_matchers, matchers, alone in SELECTOR.findall(query):
        name = [("__name__", "=", with_matchers or alone)] if with_matchers or alone else []
        found.append(name + MATCHER.findall(matchers))
    return [selector for selector in found if selector]


def fits(series: dict[str, str], selector: list[tuple[str, str, str]]) -> bool:
    # Prometheus itself adds `job` and `instance`; the user chooses `$listener`.
    wanted = [matcher for matcher in selector if "$" not in matcher[2]]
    return all(IS_MATCH[how](pattern, series.get(name, "")) for name, how, pattern in wanted)


WAYS = [PLAIN, WASM_PLUGIN, TRAFFIC_EXTENSION, ENVOY_GATEWAY]


@pytest.mark.parametrize("way", WAYS)
def test_queried_statistics_exist(way, scrapes):
    series = series_of(scrapes(way))
    missing = []
    for where, query in queries().items():
        assert selectors(query), f"{where}: no metric in {query}"
        if (way, where) not in NOT_THERE:
            missing += [
                f"{where}: {selector}"
                for selector in selectors(query)
                if not any(fits(one, selector) for one in series)
            ]
    assert not missing, "this Envoy lacks:\n" + "\n".join(missing)


@pytest.mark.parametrize("way", WAYS)
def test_every_query_of_the_dashboard_has_a_result(way, scrapes, tmp_path):
    """Prometheus itself evaluates them, with growing series of this Envoy: a rate over several metrics may be empty."""
    promtool = find_promtool()
    series = [{"job": "envoy", "instance": "a", **one} for one in series_of(scrapes(way))]
    selector = lambda labels: "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items()) + "}"  # noqa: E731
    chosen = {"$job": ".*", "$instance": "a", "$listener": ".*", "$__rate_interval": "1m"}
    tests = []
    for where, query in queries().items():
        if where.startswith("panel"):
            filled = query
            for variable, value in chosen.items():
                filled = filled.replace(variable, value)
            tests.append(
                {"expr": f"count({filled}) > bool 0", "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]}
            )
    (tmp_path / "test.yaml").write_text(
        json.dumps(
            {
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "15s",
                        "input_series": [{"series": selector(labels), "values": "0+1x40"} for labels in series],
                        "promql_expr_test": tests,
                    }
                ],
            }
        ),
        encoding="utf-8",
    )
    ended = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def own_metrics(scrape: str) -> set[str]:
    """The filter's statistics, by their names in Prometheus."""
    return set(re.findall(r"^# TYPE (oauth2_session_\w+) ", scrape, re.MULTILINE))


def test_every_statistic_of_the_filter_is_documented_and_on_the_dashboard(scrape):
    assert len(own_metrics(scrape)) > 10
    asked = " ".join(query for where, query in queries().items() if where.startswith("panel"))
    for metric in own_metrics(scrape):
        assert f"`{metric}`" in OPERATIONS, f"docs/operations.md does not explain {metric}"
        assert metric in asked, f"no panel shows {metric}"


def test_sign_ins_and_commands_are_counted(scrape):
    value = lambda metric: int(find(rf"^{metric}\{{\}} (\d+)$", scrape)[1])  # noqa: E731
    assert value("oauth2_session_sign_ins") == 1
    assert value("oauth2_session_sign_ins_failed") == 0
    assert value("oauth2_session_redis_command_time_us_count") > 0


def test_failures_sign_outs_and_outages_are_counted(make_redis, with_redis):
    redis = make_redis()
    at = with_redis(redis, is_shared=False, redis_command_timeout="500ms")
    browser = at.browser()
    browser.get("/oauth2/callback?error=access_denied")
    browser.sign_in("alice")
    kept = browser.cookie
    browser.get("/oauth2/sign_out")
    redis.stop()
    assert at.browser().get("/", headers={"cookie": kept}).status_code == 503
    counted = dict(line.split(": ", 1) for line in at.envoy.admin("/stats?filter=oauth2_session").splitlines())
    of = lambda name: int(counted[f"wasmcustom.oauth2_session.{name}"])  # noqa: E731
    assert (of("sign_ins"), of("sign_ins_failed"), of("sign_outs")) == (1, 1, 1)
    assert (of("unavailable.redis"), of("unavailable.provider"), of("unavailable.random")) == (1, 0, 0)


def test_every_alert_is_documented():
    for rule in RULES:
        assert f"`{rule['alert']}`" in OPERATIONS


# ---- the dashboard ----


def test_grafana_s_types_know_every_field():
    try:
        from grafana_foundation_sdk.cog import encoder, plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard
    except ImportError:
        pytest.skip("not run: grafana-foundation-sdk needs Python 3.11")
    plugins.register_default_plugins()

    def read(dashboard: dict) -> list[str]:
        """Fields that Grafana's types do not know, or change."""
        return list(differences(dashboard, json.loads(encoder.JSONEncoder().encode(Dashboard.from_json(dashboard)))))

    assert read(DASHBOARD) == []
    spoilt = json.loads(json.dumps(DASHBOARD))
    spoilt["panels"][1]["fieldconfig"] = {}
    spoilt["panels"][1]["options"]["legend"]["show"] = True
    assert read(spoilt) == ["/panels/1/options/legend/show", "/panels/1/fieldconfig"]


def differences(ours: object, theirs: object, path: str = ""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            if name not in theirs:
                yield f"{path}/{name}"
            else:
                yield from differences(value, theirs[name], f"{path}/{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs)):
            yield from differences(*pair, f"{path}/{number}")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def test_panels_do_not_overlap():
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


# ---- the rules ----


def find_promtool() -> str:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("not run: promtool is missing; on Debian it is in the package prometheus")
    return promtool


@pytest.mark.parametrize(
    "command", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts-test.yaml"]], ids=["check", "test"]
)
def test_promtool_accepts_the_rules(command):
    promtool = find_promtool()
    ended = subprocess.run(
        [promtool, *command], cwd=MONITORING, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_firing_and_a_quiet_test():
    tests = yaml.safe_load((MONITORING / "alerts-test.yaml").read_text(encoding="utf-8"))["tests"]
    expected = [check for test in tests for check in test["alert_rule_test"]]
    for rule in RULES:
        sets_off = {bool(check["exp_alerts"]) for check in expected if check["alertname"] == rule["alert"]}
        assert sets_off == {True, False}, rule["alert"]
