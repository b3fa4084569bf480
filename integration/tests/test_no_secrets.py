"""No secret in any log: every test checks that at its end (conftest.py). These tests check the check."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.known_secrets import KnownSecrets
from harness.render import text_access_log
from harness.service import CLIENT_SECRET, COOKIE_SECRET, arrived, filter_config

RANDOM = "Zm9vYmFyLXNvLWxvbmctdGhhdC1pdC1pcy1jdXQ"
JWT = f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.{RANDOM}"
TICKET = base64.urlsafe_b64encode(b"_oauth2_proxy-00112233445566778899aabbccddeeff.c2VjcmV0LW9mLTE2LWJ5dGVz").decode()

# Formats of access logs that leak a secret.
LEAKS = {
    "a cookie": "%REQ(COOKIE)%",
    "a code": "%REQ(:PATH)%",
    "a access_token": "%REQ(X-FORWARDED-ACCESS-TOKEN)%",
    "a id_token": "%REQ(AUTHORIZATION)%",
}


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        (RANDOM, f"the token {RANDOM} is bad"),
        (RANDOM, f"cookie={RANDOM[:20]}..."),
        (RANDOM, f"... {RANDOM[-20:]}"),
        (f"{RANDOM}|1700000000|x", f"value {RANDOM}"),
        (JWT, f"signature {RANDOM}"),
        (f"a+/{RANDOM}=", f"path /?code={quote(f'a+/{RANDOM}=', safe='')}"),
        (TICKET, "no session at 00112233445566778899aabbccddeeff"),
        (TICKET, "key c2VjcmV0LW9mLTE2LWJ5dGVz"),
        ("hunter2", "AUTH sessions hunter2"),
    ],
    ids=range(9),
)
def test_part_of_a_secret_is_found(secret, line):
    known = KnownSecrets()
    assert not known.found_in(line)
    known.add("it", secret)
    assert known.found_in(line) == {"it"}
    assert not known.found_in("eyJhbGciOiJSUzI1NiJ9 1700000000 not signed in: no session cookie")


def test_secrets_of_the_configuration_are_known():
    known = KnownSecrets()
    known.add_options({"OAUTH2_PROXY_COOKIE_SECRET": "0123456789abcdef"})
    known.add_options(
        json.dumps(
            {
                "redis_connection_url": "redis://user:p%40ss@host",
                "redis_password": "t1ny",
                "redis_sentinel_connection_urls": ["redis://a", "redis://:l4st@b"],
            }
        )
    )
    for text in ("0123456789abcdef", base64.b64encode(b"0123456789abcdef").decode(), "p@ss", "t1ny", "l4st"):
        assert known.found_in(f"text {text}"), text
    assert not known.found_in("user host redis")


def test_short_word_is_no_secret_of_a_test():
    known = KnownSecrets()
    for options in ({"redis_password": "redis"}, {"redis_connection_url": "redis://:default@host"}):
        with pytest.raises(ValueError, match="short word"):
            known.add_options(options)


def envoy_with(provider, upstream, access_log: str | None) -> Envoy:
    """An Envoy at which a user was signed in, with every option that gives out a secret."""
    options = filter_config(provider, pass_access_token=True, pass_authorization_header=True)
    envoy = Envoy(
        options,
        upstream=upstream.address,
        access_log=access_log,
        wasm_log_level="debug",
        environment={"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET},
    )
    provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
    with Browser(envoy.url) as browser:
        assert arrived(browser.sign_in("alice", "/echo"))["authorization"].startswith("Bearer ")
        browser.get("/oauth2/sign_out")
    return envoy


@pytest.mark.parametrize("leak", LEAKS)
def test_envoy_that_logs_a_secret_fails_its_test(leak, provider, upstream):
    envoy = envoy_with(provider, upstream, text_access_log(f"ACCESS {LEAKS[leak]}"))
    with pytest.raises(AssertionError, match=f"Envoy's log has a secret:.*{leak}"):
        envoy.stop()


def test_envoy_without_a_logged_secret_passes(provider, upstream):
    envoy = envoy_with(provider, upstream, None)
    assert "sign-in: done" in envoy.log()
    assert envoy.stop() == 0
