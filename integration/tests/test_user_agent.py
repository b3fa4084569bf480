"""The filter's calls to a provider have a user agent: firewalls refuse requests without one."""

from __future__ import annotations

import re
import time

import tomllib

from harness.render import ROOT
from harness.service import arrived
from harness.waiting import until

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
PRODUCT = f"oauth2-session-filter/{VERSION}"


def test_every_request_to_the_provider_names_the_filter_and_its_version(service, fake):
    fake.claims = {"email": None}  # so the filter calls userinfo
    logout = f"{fake.issuer}/logout?id_token_hint={{id_token}}"
    browser = service(provider=fake, cookie_refresh="1s", backend_logout_url=logout).browser()
    arrived(browser.sign_in("alice", "/echo"))
    time.sleep(1.1)
    arrived(browser.get("/echo"))
    browser.get("/oauth2/sign_out")
    until(lambda: fake.seen("end_session"), "the provider is told of the sign-out", seconds=10)
    own = [request for request in fake.requests if request["endpoint"] != "authorization"]
    assert {request["endpoint"] for request in own} == {"discovery", "jwks", "token", "userinfo", "end_session"}
    assert {request["headers"].get("user-agent") for request in own} == {PRODUCT}
    assert re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+", PRODUCT), "RFC 9110 section 10.1.5"
    # The browser's own requests have its own user agent.
    assert all(request["headers"]["user-agent"] != PRODUCT for request in fake.seen("authorization"))
