"""Redis servers that are announced by address and have a certificate for a name, as at Azure and Redis Enterprise."""

from __future__ import annotations

import pytest

from harness.authority import Authority
from harness.envoy import tells_what_is_wrong_with_certificates
from harness.ports import HOST
from harness.redis import has_tls
from harness.service import arrived
from harness.topologies import ClusterTopology, SentinelTopology
from harness.waiting import until

# The only name of the certificate. The servers name each other by `HOST`, an address.
NAME = "localhost"

pytestmark = pytest.mark.skipif(
    not has_tls(),
    reason="this redis-server is built without TLS, and a relay is neither a sentinel nor a node of a cluster",
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("authority") / "right")


@pytest.fixture(scope="module")
def cluster(authority):
    topology = ClusterTopology(certificate=authority.issue(NAME), ca=authority.file, has_replicas=False)
    yield topology
    topology.close()


@pytest.fixture(scope="module")
def sentinel(authority):
    topology = SentinelTopology(certificate=authority.issue(NAME), ca=authority.file)
    yield topology
    topology.close()


def by_cluster(topology: ClusterTopology, host: str) -> dict:
    urls = [f"rediss://{host}:{node.tls_port}" for node in topology.nodes]
    return {**topology.options, "redis_cluster_connection_urls": urls}


def by_sentinel(topology: SentinelTopology, host: str) -> dict:
    urls = [f"rediss://{host}:{one.tls_port}" for one in topology.sentinels]
    return {**topology.options, "redis_sentinel_connection_urls": urls}


@pytest.fixture(params=["single", "sentinel", "cluster"])
def options(request):
    """The options to reach the servers by URLs with this host."""
    topology = request.getfixturevalue("cluster" if request.param == "cluster" else "sentinel")
    if request.param == "single":
        return lambda host: {
            "session_store_type": "redis",
            "redis_connection_url": f"rediss://{host}:{topology.master().tls_port}",
        }
    return lambda host: (by_cluster if request.param == "cluster" else by_sentinel)(topology, host)


def sign_in(running) -> None:
    # Often enough for every master of a cluster.
    for _ in range(6):
        assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def assert_refused(running, host: str) -> None:
    assert running.browser().get("/ready").status_code == 503
    assert running.envoy.says("Redis does not answer (")
    assert "Redis: connected to" not in running.envoy.log()
    if host == HOST:
        # Envoy's reason: the certificate is for another name. The name has several addresses, of which the last
        # does not answer.
        reason = "verify SAN list" if tells_what_is_wrong_with_certificates() else ""
        assert any(reason in line for line in running.envoy.says("CERTIFICATE_VERIFY_FAILED"))


def test_certificate_for_the_host_of_the_url_is_accepted(service, authority, options):
    running = service(**options(NAME), ca=authority.file, is_shared=False)
    sign_in(running)
    if "redis_connection_url" not in options(NAME):
        assert running.envoy.says(f"Redis: connected to {HOST}:")


def test_certificate_is_accepted_after_a_failover_too(service, authority, sentinel):
    running = service(**by_sentinel(sentinel, NAME), ca=authority.file, is_shared=False)
    browser = running.browser()
    browser.sign_in("alice")
    before = sentinel.master()
    sentinel.fail_over()
    sentinel.wait_for_another_master(before)
    until(lambda: browser.get("/echo").status_code == 200, "the new master is followed", seconds=30)


def test_option_names_the_expected_host_of_the_certificate(service, authority, options):
    sign_in(service(**options(HOST), redis_tls_server_name=NAME, ca=authority.file, is_shared=False))


def test_certificate_for_another_name_is_refused(service, authority, options):
    for host in (NAME, HOST):
        assert_refused(
            service(
                **options(host),
                redis_tls_server_name="elsewhere.example",
                redis_command_timeout="500ms",
                ca=authority.file,
                is_shared=False,
            ),
            host,
        )


def test_certificate_without_a_name_has_to_match_the_address(service, authority, options):
    assert_refused(service(**options(HOST), redis_command_timeout="500ms", ca=authority.file, is_shared=False), HOST)


def test_allowed_hosts_are_compared_by_address(service, authority, cluster, sentinel):
    """The name is used only for the certificate."""
    for options in (by_cluster(cluster, NAME), by_sentinel(sentinel, NAME)):
        sign_in(service(**options, redis_allowed_hosts=[f"{HOST}/32"], ca=authority.file, is_shared=False))
        refused = service(
            **options,
            redis_allowed_hosts=["*.example.com"],
            redis_command_timeout="500ms",
            ca=authority.file,
            is_shared=False,
        )
        assert refused.browser().get("/ready").status_code == 503
        assert refused.envoy.says("which redis_allowed_hosts does not allow")
