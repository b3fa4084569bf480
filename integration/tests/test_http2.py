"""HTTP/2 from the browser to Envoy."""

import hashlib

import httpx

from harness.service import arrived


def test_sign_in_over_http2_works(service):
    browser = service().browser(http2=True)
    page = browser.sign_in("alice", "/echo?x=1")
    assert page.http_version == "HTTP/2"
    assert arrived(page)["x-forwarded-user"] == "alice"
    assert page.json()["path"] == "/echo?x=1"


def test_sign_out_over_http2_works(service):
    browser = service().browser(http2=True)
    browser.sign_in("alice")
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert browser.get("/echo").status_code == 302


def test_split_cookie_headers_are_read_as_one(service):
    # RFC 9113 section 8.2.3: a client may send each cookie in a header of its own.
    running = service(strip_session_cookie=True)
    browser = running.browser()
    browser.sign_in("carol")
    session = browser.cookies
    assert len([name for name in session if name.startswith("_oauth2_proxy")]) > 1
    crumbs = [("cookie", "first=1")] + [("cookie", f"{n}={v}") for n, v in session.items()] + [("cookie", "last=2")]
    with httpx.Client(http1=False, http2=True, trust_env=False) as client:
        headers = arrived(client.get(f"{running.url}/echo", headers=crumbs))
    assert headers["x-forwarded-user"] == "carol"
    assert "first=1" in headers["cookie"]
    assert "last=2" in headers["cookie"]
    assert "_oauth2_proxy" not in headers["cookie"]


def test_many_requests_on_one_connection_are_answered(service):
    browser = service().browser(http2=True)
    browser.sign_in("alice")
    people = {arrived(browser.get(f"/echo?{number}"))["x-forwarded-user"] for number in range(50)}
    assert people == {"alice"}


def test_body_over_http2_arrives_whole(service):
    browser = service().browser(http2=True)
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    body = b"0123456789" * 100_000
    answer = browser.request("POST", "/echo", content=body)
    assert answer.json()["body"] == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_forged_header_over_http2_never_arrives(service):
    browser = service().browser(http2=True)
    browser.sign_in("alice")
    headers = arrived(browser.get("/echo", headers={"x_forwarded_user": "forged", "x-forwarded-email": "forged"}))
    assert "forged" not in headers.values()
