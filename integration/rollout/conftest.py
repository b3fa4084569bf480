"""`make test-rollout`: a fleet in which the version before and this one are in use at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from rollout import previous
from rollout.fleet import BEFORE, FLEETS, NOW, Fleet


def pytest_configure():
    if not previous.WASM.exists():
        pytest.exit("the version before this one is not built; run: make test-rollout", returncode=2)


def pytest_report_header() -> str:
    return f"the version before: {previous.COMMIT}"


@pytest.fixture(scope="module")
def start_fleet(shared_provider, upstream, shared_redis, tmp_path_factory):
    """Starts fleets: `start_fleet(name)`, a name of `FLEETS`."""
    fleets = []

    def start(name: str, **options: Any) -> Fleet:
        store, uses_new = FLEETS[name]
        redis = shared_redis if store == "redis" else None
        folder = tmp_path_factory.mktemp("secrets")
        fleets.append(Fleet(shared_provider, upstream.address, redis, folder=folder, uses_new=uses_new, **options))
        return fleets[-1]

    yield start
    for fleet in fleets:
        fleet.close()


@pytest.fixture(scope="module", params=list(FLEETS))
def mixed(request, start_fleet) -> Fleet:
    """One proxy of each version."""
    fleet = start_fleet(request.param)
    fleet.runs(BEFORE, NOW)
    return fleet


@pytest.fixture(params=[(BEFORE, NOW), (NOW, BEFORE)], ids=["before to now", "now to before"])
def way(request, mixed) -> tuple[str, str]:
    """The URLs of the proxy at which something begins, and of the other one."""
    return tuple(mixed.url(version) for version in request.param)
