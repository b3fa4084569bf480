"""`make config`: Envoy starts with the filter JSON that it makes of a configuration of oauth2-proxy."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from harness.envoy import PREFIX
from harness.service import CLIENT_ID, CLIENT_SECRET, COOKIE_SECRET, arrived

ROOT = Path(__file__).resolve().parents[2]


def test_converted_configuration_signs_in(tmp_path, service, provider):
    source = tmp_path / "oauth2-proxy.cfg"
    source.write_text(f"""
        http_address = "127.0.0.1:4180"
        upstreams = ["http://127.0.0.1:9000/"]
        provider = "oidc"
        oidc_issuer_url = "{provider.issuer}"
        client_id = "{CLIENT_ID}"
        client_secret = "{CLIENT_SECRET}"
        cookie_secret = "{COOKIE_SECRET}"
        cookie_secure = false
        cookie_name = "_portal"
        email_domains = ["example.com"]
        skip_provider_button = true
        skip_auth_regex = ["^/echo/public$"]
        set_xauthrequest = true
    """)
    # `make config` without make.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    result = subprocess.run(
        ["cargo", "run", "--locked", "--quiet", "--example", "config", "--", source],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=True,
    )
    assert CLIENT_SECRET not in result.stdout + result.stderr
    assert "OAUTH2_PROXY_CLIENT_SECRET" in result.stderr
    assert "http_address: Envoy is the server" in result.stderr

    options = json.loads(result.stdout)
    assert (options.pop("provider"), options.pop("oidc_issuer_url")) == ("oidc", provider.issuer)
    browser = service(**options).browser()
    assert arrived(browser.get("/echo/public"))
    assert browser.get("/echo").headers["location"].startswith("/oauth2/start?")
    page = browser.sign_in("alice", "/echo")
    assert arrived(page)["x-forwarded-email"] == "alice@example.com"
    assert page.headers["x-auth-request-user"] == "alice"
    assert "_portal" in browser.cookies
