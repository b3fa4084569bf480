"""The targets of redirects after a sign-in and a sign-out, with the request heads of a real Envoy."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from harness.service import arrived


def at(host: str, **headers: str) -> dict[str, str]:
    return {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}


def rd(answer) -> str:
    """The page to which a sign-in that starts with this redirect leads back."""
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)["rd"][0]


def many_hosts(service, provider, **options):
    """Many hosts, and one callback for all; `redirect_url` has no path."""
    running = service(
        redirect_url="http://auth.example.com", whitelist_domains=[".example.com"], skip_provider_button=True, **options
    )
    provider.control("redirect_uri", uri="http://auth.example.com/oauth2/callback")
    return running


def test_sign_in_returns_to_the_host_of_its_start(service, provider):
    running = many_hosts(service, provider)
    browser = running.browser()
    page = browser.get("/echo?x=1", headers=at("app1.example.com"))
    assert rd(page) == "http://app1.example.com/echo?x=1"
    start = browser.get(page.headers["location"], headers=at("app1.example.com"))
    back = browser.submit(browser.follow(start), "alice", stop_before="/oauth2/callback").headers["location"]
    assert back.startswith("http://auth.example.com/oauth2/callback?")
    done = browser.get(back.removeprefix("http://auth.example.com"), headers=at("auth.example.com"))
    assert (done.status_code, done.headers["location"]) == (302, "http://app1.example.com/echo?x=1")
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"


def test_unlisted_host_is_never_a_redirect_target(service, provider):
    browser = many_hosts(service, provider).browser()
    for host in ("app.evil.example", "app1.example.com.evil.example", "app1.example.com:8443"):
        assert rd(browser.get("/echo", headers=at(host))) == "/echo", host


def test_forwarded_headers_of_a_proxy_name_the_page(service, provider):
    forwarded = at("envoy.internal", x_forwarded_host="app1.example.com", x_forwarded_uri="/tools/echo?x=1")
    browser = many_hosts(service, provider, reverse_proxy=True).browser()
    assert rd(browser.get("/echo?x=1", headers=forwarded)) == "http://app1.example.com/tools/echo?x=1"
    evil = at("envoy.internal", x_forwarded_host="evil.example", x_forwarded_uri="//evil.example/")
    assert rd(browser.get("/echo", headers=evil)) == "/echo"
    # No header says that there is one.
    browser = many_hosts(service, provider).browser()
    assert rd(browser.get("/echo?x=1", headers=forwarded)) == "/echo?x=1"


def test_redirect_header_names_the_page_after_the_sign_in(service, provider):
    browser = many_hosts(service, provider).browser()
    for target in ("http://app2.example.com/x?y=1", "http://app2.example.com/a b", "/x"):
        expected = target if target.startswith("http") else f"http://app1.example.com{target}"
        assert rd(browser.get("/echo", headers=at("app1.example.com", x_auth_request_redirect=target))) == expected


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ('https://app.example.com/a b?q="c"', "https://app.example.com/a%20b?q=%22c%22"),
        ("https://app.example.com/?q=<ü>", "https://app.example.com/?q=%3C%C3%BC%3E"),
        ("/a//b?x=//y", "/a//b?x=//y"),
    ],
)
def test_target_that_needs_encoding_is_reached(target, location, service):
    running = service(whitelist_domains=["app.example.com"], skip_provider_button=True)
    browser = running.browser()
    form = browser.follow(browser.get("/oauth2/start?" + urlencode({"rd": target})))
    callback = browser.submit(form, "alice", stop_before="/oauth2/callback").headers["location"]
    assert browser.get(callback).headers["location"] == location
    assert browser.get("/oauth2/sign_out?" + urlencode({"rd": target})).headers["location"] == location


def test_late_callback_of_a_signed_in_browser_links_to_its_page(service):
    running = service()
    browser = running.browser()
    browser.sign_in("alice")
    late = running.browser().callback_url("alice", "/echo?x=1")
    answer = browser.get(late)
    assert answer.status_code == 200
    (link,) = re.findall(r'href="([^"]*)"', answer.text)
    assert html.unescape(link) == "/echo?x=1"
    # A stranger can write a state, too.
    for target in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        answer = browser.get(f"/oauth2/callback?code=x&state={'a' * 43}:{quote(target)}")
        assert re.findall(r'href="([^"]*)"', answer.text) == ["/"], target
    assert arrived(browser.get("/echo"))["x-forwarded-user"] == "alice"
