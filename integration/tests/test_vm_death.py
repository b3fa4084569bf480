"""The harness notices a VM that dies: a module that traps fails every check."""

from __future__ import annotations

from typing import Any

import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.load import ask
from harness.process import Process
from harness.service import Service, Services
from harness.trap import write_trap
from harness.vm import VmDied


@pytest.fixture
def trapping(upstream, tmp_path):
    """Starts Envoys whose filter traps at every request."""
    envoys = []

    def start(**options: Any) -> Envoy:
        envoys.append(Envoy("{}", upstream=upstream.address, wasm=write_trap(tmp_path / "trap.wasm"), **options))
        return envoys[-1]

    yield start
    for envoy in envoys:
        envoy.process.stop()


def test_browser_refuses_the_answer_of_a_dead_vm(trapping):
    envoy = trapping(may_crash=True)
    with Browser(envoy.url) as browser, pytest.raises(VmDied):
        browser.get("/echo")
    envoy.stop()


def test_load_reports_a_dead_vm_instead_of_a_status(trapping):
    envoy = trapping(may_crash=True)
    assert ask(f"{envoy.url}/echo", "") == "VmDied"
    envoy.stop()


def test_stopping_an_envoy_with_a_dead_vm_fails(trapping):
    envoy = trapping()
    ask(f"{envoy.url}/echo", "")
    with pytest.raises(VmDied) as died:
        envoy.stop()
    assert [sign for sign in died.value.signs if "proxy_on_request_headers failed: Uncaught RuntimeError" in sign]


def test_statistics_show_a_death_that_the_log_missed(trapping):
    envoy = trapping(may_crash=True)
    for _ in range(3):
        ask(f"{envoy.url}/echo", "")
    envoy.process.forget_kept()
    assert [sign for sign in envoy.crashes() if sign.startswith("wasm.oauth2_session.vm_reload")]
    envoy.stop()


def test_dead_vm_fails_only_its_own_test(trapping, provider, upstream):
    services = Services(provider, upstream)
    service = services._running["trap"] = Service(trapping(), provider)
    services.check([service])
    ask(f"{service.url}/echo", "")
    with pytest.raises(VmDied):
        services.check([service])
    services.stop()  # the dead Envoy is no longer among its Envoys


def test_death_is_seen_before_a_thread_has_read_the_log(trapping, monkeypatch):
    monkeypatch.setattr(Process, "_read", lambda _: None)
    envoy = trapping(may_crash=True)
    ask(f"{envoy.url}/echo", "")
    assert [sign for sign in envoy.crashes() if "proxy_on_request_headers failed: Uncaught RuntimeError" in sign]
    envoy.stop()
