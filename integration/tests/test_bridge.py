"""The bridge: a lying Redis leaves room for sign-ins, and the limits of Redis and of the provider are separate."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest
import yaml

from harness.envoy import Envoy
from harness.fake_redis import FakeRedis, Keeper, all_slots
from harness.ports import HOST
from harness.recorded import manager
from harness.render import ROOT, TEMPLATE, named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, Service, arrived, filter_config
from harness.text import find

# The most hosts of a cache of names in this test.
ROOM = 5


def with_little_room(*args: Any, **options: Any) -> str:
    """The shipped configuration with small caches of names."""
    return re.sub(r'"max_hosts": \d+', f'"max_hosts": {ROOM}', render(*args, **options))


def is_a_cache_full(envoy: Envoy) -> bool:
    told = re.findall(r"^dns_cache\.\w+\.host_overflow: (\d+)$", envoy.admin("/stats?filter=^dns_cache"), re.MULTILINE)
    assert told
    return any(int(number) > 0 for number in told)


def test_node_with_endless_redirects_leaves_room_for_the_provider(provider, upstream):
    """It cannot fill the cache of names that sign-ins use."""
    node, keeper, number = FakeRedis(), Keeper(), count(1)
    is_lying = True

    def answer(words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"CLUSTER":
            return all_slots(HOST, node.port) if words[1].upper() == b"SLOTS" else b"-ERR unknown subcommand\r\n"
        if is_lying and name == b"PING":
            return b"-MOVED 0 127.1.0.%d:1\r\n" % next(number)
        return keeper(words)

    node.answer = answer
    envoy = Envoy(
        filter_config(
            provider,
            session_store_type="redis",
            redis_use_cluster=True,
            redis_command_timeout="300ms",
            redis_cluster_connection_urls=[node.url],
        ),
        upstream=upstream.address,
        render=with_little_room,
        environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
    )
    try:
        service = Service(envoy, provider)
        browser = service.browser()
        while not is_a_cache_full(envoy):
            assert next(number) < 100
            assert browser.get("/ready").status_code == 503
        is_lying = False
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        service.check()
    finally:
        envoy.stop()
        node.close()


def test_limits_of_the_bridge_are_above_the_limits_of_the_clusters_behind_it():
    """All calls of the filter go through one cluster to the bridge. Its limits have to be above the sum of the limits
    behind it: otherwise calls to a provider that hangs keep out the streams to Redis, and the other way round."""
    resources = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["static_resources"]

    def limits(cluster: str) -> dict[str, int]:
        [threshold] = named(resources["clusters"], cluster)["circuit_breakers"]["thresholds"]
        return threshold

    filters = manager(named(resources["listeners"], "oauth2_session_bridge"))["http_filters"]
    names = {
        of: named(filters, f"oauth2_session_{of}_host")["typed_config"]["dns_cache_config"]["dns_cache_circuit_breaker"]
        for of in ("provider", "redis")
    }
    behind = sum(cache["max_pending_requests"] for cache in names.values())
    for scheme in ("http", "https"):
        of_provider = limits(f"oauth2_session_{scheme}")
        behind += of_provider["max_requests"] + of_provider["max_pending_requests"]
    for way in ("redis", "redis_tls", "redis_tls_insecure"):
        of_redis = limits(f"oauth2_session_{way}")
        behind += of_redis["max_connections"] + of_redis["max_pending_requests"]
    of_bridge = limits("oauth2_session_bridge")
    assert of_bridge["max_requests"] > behind
    assert of_bridge["max_pending_requests"] > behind


# More workers than most machines have cores.
WORKERS = 32
# Kinds of calls, each limited by src/flow/util/gate.rs, and documents, of which a worker fetches each once at a time.
KINDS = 3
DOCUMENTS = 2


@pytest.mark.parametrize(
    "shipped", ["envoy.yaml", "beside.yaml", "istio/envoyfilter.yaml", "envoy-gateway/envoypatchpolicy.yaml"]
)
def test_limits_of_the_provider_are_above_the_simultaneous_calls_of_the_filter(shipped):
    """All kinds of calls share them: if they are reached, strangers take the places of signed-in users."""
    at_once = int(
        find(r"const AT_ONCE: usize = (\d+);", (ROOT / "src/flow/util/gate.rs").read_text(encoding="utf-8"))[1]
    )
    limits = re.findall(
        r"circuit_breakers: &limits\n +thresholds: (\[.*\])",
        (ROOT / "envoy-config" / shipped).read_text(encoding="utf-8"),
    )
    [[threshold]] = map(yaml.safe_load, limits)
    assert all(limit > (KINDS * at_once + DOCUMENTS) * WORKERS for limit in threshold.values()), threshold


def test_missing_envoy_cluster_is_named(service, redis):
    running = service(
        bridge_cluster="nowhere", session_store_type="redis", redis_connection_url=redis.url, is_shared=False
    )
    told = "Envoy has no cluster nowhere: set bridge_cluster to the name of the bridge's cluster"
    assert running.browser().get("/ready").status_code == 503
    assert running.envoy.says(f"Redis does not answer ({told})")
    assert running.browser().get("/oauth2/start").status_code == 503
    assert running.envoy.says(f"bridge: could not send an HTTP call: {told}")
