"""`force_https`: requests over http are redirected to https."""

from __future__ import annotations

import pytest
import yaml

# Envoy trusts the headers of one load balancer in front.
BEHIND_ONE = "xff_num_trusted_hops: 1"
# Envoy's own redirect. The filter answers before it.
REQUIRE_TLS = {
    "name": "all",
    "domains": ["*"],
    "require_tls": "ALL",
    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
}


@pytest.mark.parametrize("http2", [False, True])
def test_request_over_http_is_redirected_to_https(http2, service):
    at = service(force_https=True, skip_auth_routes=["^/echo"])
    browser = at.browser(http2=http2)
    host = at.url.removeprefix("http://").rpartition(":")[0]
    for path in ("/page?a=b%2Fc", "/oauth2/sign_in", "/oauth2/callback?code=x&state=y"):
        # A client cannot say that it came over https.
        for headers in ({}, {"x-forwarded-proto": "https"}):
            answer = browser.get(path, headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (308, f"https://{host}{path}")
            assert "set-cookie" not in answer.headers
    assert browser.request("POST", "/page", content=b"a=b").status_code == 308
    for path in ("/ping", "/ready", "/echo"):
        assert browser.get(path).status_code == 200


def test_forwarded_proto_of_a_trusted_proxy_counts(service):
    at = service(force_https=True, access_log=BEHIND_ONE)
    browser = at.browser()
    assert browser.get("/page", headers={"x-forwarded-proto": "http"}).status_code == 308
    answer = browser.get("/page", headers={"x-forwarded-proto": "https"})
    assert (answer.status_code, answer.headers["location"]) == (302, "/oauth2/sign_in?rd=%2Fpage")
    begin = browser.get("/oauth2/start", headers={"x-forwarded-proto": "https"})
    assert "redirect_uri=https%3A%2F%2F" in begin.headers["location"]


def test_filter_without_force_https_answers_before_envoy_redirects(service):
    """Why Envoy's own redirect to https cannot replace the option if the route has the filter."""
    routes = yaml.safe_dump({"route_config": {"virtual_hosts": [REQUIRE_TLS]}})
    at = service(access_log=routes, skip_auth_routes=["^/public"])
    browser = at.browser()
    answer = browser.get("/page")
    assert (answer.status_code, answer.headers["location"]) == (302, "/oauth2/sign_in?rd=%2Fpage")
    assert browser.get("/public").status_code == 301
