"""A host that lacks functions of the filter: the filter names them in a log line and refuses to start.

`capability_restriction_config` makes Envoy such a host: it lists the functions that a module may call.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.envoy import Envoy
from harness.module import exports, imports
from harness.process import StartFailed
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, filter_config

LACKS = "host: lacks functions that the filter needs: "


def without(*functions: str):
    """Envoy's configuration, with all functions but these allowed."""

    def made(filter_json: str, **options: Any) -> str:
        config = json.loads(render(filter_json, **options))
        main = named(config["static_resources"]["listeners"], "main")
        filters = main["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        allowed = {name for _, name, _ in imports()} | exports()
        assert allowed.issuperset(functions)
        named(filters, "oauth2_session")["typed_config"]["config"]["capability_restriction_config"] = {
            "allowed_capabilities": {name: {} for name in sorted(allowed - set(functions))},
        }
        return json.dumps(config)

    return made


def without_internal_listeners(filter_json: str, **options: Any) -> str:
    config = json.loads(render(filter_json, **options))
    del config["bootstrap_extensions"]
    return json.dumps(config)


@pytest.fixture
def start(provider, upstream):
    started = []

    def start(*functions: str, render=None, **options: Any) -> Envoy:
        started.append(
            Envoy(
                filter_config(provider, **options),
                upstream=upstream.address,
                render=render or without(*functions),
                environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
            )
        )
        return started[-1]

    yield start
    for envoy in started:
        envoy.stop()


def lines_that_say_so(lines: list[str]) -> set[str]:
    """The missing functions; Envoy may load the configuration more than once."""
    return {line.partition(LACKS)[2] for line in lines if LACKS in line}


@pytest.mark.parametrize(
    "functions",
    [
        ["random_get"],
        ["proxy_http_call"],
        ["proxy_set_tick_period_milliseconds"],
        ["proxy_get_current_time_nanoseconds", "proxy_get_shared_data"],
    ],
)
def test_host_that_lacks_functions_is_refused_at_the_start(start, functions):
    with pytest.raises(StartFailed) as failed:
        start(*functions)
    assert lines_that_say_so(failed.value.lines) == {", ".join(functions)}
    assert not [line for line in failed.value.lines if "panicked" in line]


def test_grpc_streams_are_needed_only_for_redis(start):
    with pytest.raises(StartFailed) as failed:
        start("proxy_grpc_stream", session_store_type="redis", redis_connection_url="redis://127.0.0.1:1")
    assert lines_that_say_so(failed.value.lines) == {"proxy_grpc_stream"}
    assert not lines_that_say_so(start("proxy_grpc_stream").process.lines())


def test_envoy_without_internal_listeners_refuses_the_configuration(start):
    with pytest.raises(StartFailed) as failed:
        start(render=without_internal_listeners)
    assert [line for line in failed.value.lines if "InternalListener bootstrap extension is mandatory" in line]


def test_host_without_metrics_is_accepted(start):
    start("proxy_define_metric")  # its end fails if a VM died
