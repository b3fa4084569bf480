"""Requests on their way to the upstream: the identity that they carry, and that they arrive whole."""

import hashlib
import http.client
import threading
from urllib.parse import urlsplit

import pytest
import websockets.sync.client
from websockets.exceptions import InvalidStatus

from harness.service import arrived


def cookie_header(browser) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


@pytest.fixture
def signed_in(browser):
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    return browser


# ---- the identity ----

FORGED = [
    "X-Forwarded-User",
    "x_forwarded_user",
    "X-Forwarded_User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "x_forwarded_groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "x_auth_request_groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
]


@pytest.mark.parametrize("name", FORGED)
def test_forged_header_never_arrives(name, signed_in):
    headers = arrived(signed_in.get("/echo", headers=[(name, "forged"), (name, "forged-again")]))
    assert not [value for value in headers.values() if "forged" in value]
    assert headers["x-forwarded-user"] == "alice"


@pytest.mark.parametrize("name", FORGED)
def test_forged_header_never_arrives_on_skipped_routes(name, service):
    browser = service(skip_auth_routes=["^/echo"]).browser()
    headers = arrived(browser.get("/echo", headers={name: "forged"}))
    assert "forged" not in headers.values()


def test_missing_claim_cannot_be_forged(service):
    # mallory is in no group, so the filter has no groups header that would replace the forged one.
    browser = service().browser()
    browser.sign_in("mallory")
    headers = arrived(browser.get("/echo", headers={"X-Forwarded-Groups": "admins"}))
    assert headers["x-forwarded-user"] == "mallory"
    assert "x-forwarded-groups" not in headers


def test_other_headers_arrive_unchanged(signed_in):
    sent = {
        "X-Forwarded-Userx": "1",
        "X.Forwarded.For": "1",
        "X-Auth-Request-Redirect": "/x",
        "X-Other": "2",
        "Accept-Language": "de",
        "Authorization": "Bearer theirs",
    }
    headers = arrived(signed_in.get("/echo", headers=sent))
    assert {name: headers.get(name.lower()) for name in sent} == sent


def test_access_token_is_passed_if_configured(service):
    running = service(pass_access_token=True)
    headers = arrived(running.browser().sign_in("alice", "/echo"))
    assert len(headers["x-forwarded-access-token"]) > 20
    assert headers["x-forwarded-access-token"] not in running.envoy.log()


def test_id_token_is_passed_if_configured(service):
    running = service(pass_authorization_header=True)
    headers = arrived(running.browser().sign_in("alice", "/echo"))
    scheme, token = headers["authorization"].split(" ")
    assert scheme == "Bearer"
    assert len(token.split(".")) == 3
    assert token not in running.envoy.log()


def test_identity_is_not_passed_if_switched_off(service):
    browser = service(pass_user_headers=False, pass_basic_auth=False).browser()
    headers = arrived(browser.sign_in("alice", "/echo"))
    assert not [value for value in headers.values() if "alice" in value]
    assert browser.get("/oauth2/userinfo").json()["user"] == "alice"


def test_response_has_the_identity_if_configured(service):
    page = service(set_xauthrequest=True).browser().sign_in("alice", "/echo")
    assert page.headers["x-auth-request-user"] == "alice"
    assert page.headers["x-auth-request-email"] == "alice@example.com"


def test_session_cookie_arrives_unless_stripped(service):
    for strips in (False, True):
        browser = service(strip_session_cookie=strips).browser()
        browser.sign_in("alice")
        cookie = f"theirs=1; {cookie_header(browser)['cookie']}; more=2"
        headers = arrived(browser.get("/echo", headers={"cookie": cookie}))
        assert ("_oauth2_proxy" in headers["cookie"]) is not strips
        assert "theirs=1" in headers["cookie"]
        assert "more=2" in headers["cookie"]


def test_stripping_the_only_cookie_removes_the_header(service):
    browser = service(strip_session_cookie=True).browser()
    browser.sign_in("alice")
    session = {name: value for name, value in browser.cookies.items() if name.startswith("_oauth2_proxy")}
    cookie = "; ".join(f"{name}={value}" for name, value in session.items())
    # Without a jar, so that this is the only cookie header.
    browser._jar.clear()
    headers = arrived(browser.get("/echo", headers={"cookie": cookie}))
    assert headers["x-forwarded-user"] == "alice"
    assert "cookie" not in headers


# ---- pages and programs ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "application/json"},
        {"Accept": "text/plain, application/json;q=0.9"},
        {"X-Requested-With": "XMLHttpRequest"},
        {"Sec-Fetch-Mode": "cors"},
    ],
)
def test_program_gets_401(headers, browser):
    answer = browser.get("/echo", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {}
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
        {"Accept": "*/*"},
        {"Sec-Fetch-Mode": "navigate"},
    ],
)
def test_page_gets_302(headers, browser):
    answer = browser.get("/echo", headers=headers)
    assert answer.status_code == 302
    assert urlsplit(answer.headers["location"]).path == "/oauth2/sign_in"


def test_api_route_gets_401(service):
    browser = service(api_routes=["^/api/"]).browser()
    assert browser.get("/api/things").status_code == 401
    assert browser.get("/things").status_code == 302


def test_force_json_errors_answers_pages_with_401(service):
    browser = service(force_json_errors=True).browser()
    assert browser.get("/things").status_code == 401


# ---- without a sign-in ----


@pytest.fixture
def with_public(service):
    return service(skip_auth_routes=["^/public/", "POST=^/hook$"]).browser()


def test_skipped_route_needs_no_sign_in(with_public):
    assert "x-forwarded-user" not in arrived(with_public.get("/public/page"))
    assert with_public.request("POST", "/hook").status_code == 200
    assert with_public.get("/hook").status_code == 302
    assert with_public.get("/private").status_code == 302


def test_skipped_route_knows_a_signed_in_user(with_public):
    with_public.sign_in("alice", "/private")
    assert arrived(with_public.get("/public/page"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize(
    "path",
    [
        "/public/../private",
        "/public/%2e%2e/private",
        "/public/.%2e/private",
        "/public/..%2fprivate",
        "/public/..%5cprivate",
        "/public/..\\private",
        "/public/..;/private",
        "/public/%252e%252e/private",
        "/public/%2e%2e%2fprivate",
        "//public/../private",
        "/PUBLIC/page",
        "/private?/public/",
    ],
)
def test_ambiguous_path_skips_nothing(path, with_public):
    # By hand: httpx would normalize the path.
    parts = urlsplit(with_public.base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("host", parts.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    connection.close()
    assert answer.status in (302, 400), f"{path} came through: {answer.status}"


def test_negated_route_is_the_only_one_that_needs_a_sign_in(service):
    browser = service(skip_auth_routes=["GET!=^/private"]).browser()
    assert browser.get("/anything").status_code == 200
    assert browser.get("/private/page").status_code == 302
    assert browser.request("POST", "/anything").status_code == 401


def test_preflight_skips_the_sign_in_if_configured(service):
    assert service().browser().request("OPTIONS", "/echo").status_code == 401
    assert service(skip_auth_preflight=True).browser().request("OPTIONS", "/echo").status_code == 200


# ---- bodies, streams, WebSockets ----


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_body_arrives_whole(size, signed_in):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    answer = signed_in.request("POST", "/echo", content=body)
    assert answer.json()["body"] == {"length": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_body_in_chunks_arrives_whole(signed_in):
    answer = signed_in.request("PUT", "/echo", content=iter([b"one ", b"two ", b"three"]))
    assert answer.json()["body"]["sha256"] == hashlib.sha256(b"one two three").hexdigest()


def test_body_without_a_session_does_not_arrive(browser, upstream):
    upstream.seen.clear()
    assert browser.request("POST", "/echo", content=b"x" * 100_000).status_code == 401
    assert not upstream.seen


def test_stream_is_not_held_back(signed_in, upstream):
    # The upstream sends the rest only after the browser has the beginning.
    upstream.gate = threading.Event()
    with signed_in.service.stream("GET", f"{signed_in.base_url}/stream?gate") as answer:
        chunks = answer.iter_bytes()
        beginning = next(chunks)
        assert beginning == b"chunk 0\n"
        upstream.gate.set()
        assert b"".join(chunks) == b"".join(b"chunk %d\n" % number for number in range(1, 5))


@pytest.mark.parametrize("more", [{}, {"connection": "X-Forwarded-User"}], ids=["", "with a nominated header"])
def test_websocket_with_a_session_is_opened(more, signed_in):
    url = signed_in.base_url.replace("http://", "ws://") + "/ws"
    headers = {**cookie_header(signed_in), **more}
    with websockets.sync.client.connect(url, additional_headers=headers, proxy=None) as socket:
        assert socket.recv() == "alice"
        for message in ("hello", "x" * 100_000, b"\x00\xff"):
            socket.send(message)
            assert socket.recv() == message


def test_websocket_without_a_session_gets_401(browser):
    url = browser.base_url.replace("http://", "ws://") + "/ws"
    with pytest.raises(InvalidStatus) as refused:
        websockets.sync.client.connect(url, proxy=None)
    assert refused.value.response.status_code == 401


def test_route_patterns_match_as_documented(service):
    """The module has no Unicode tables, which the native tests have."""
    browser = service(
        skip_auth_routes=[
            r"(?i)^/Assets/\d+\b",
            r"^/gr\x{f6}\x{df}e/[ä-ü]$",
            r"^/[[:alpha:]_]+\.(?:css|js)$",
            r"^/a\B\wc\s?$",
        ]
    ).browser()
    for path in ("/aSSets/12", "/assets/1-x", "/gr%C3%B6%C3%9Fe/%C3%B6", "/site_a.css", "/abc"):
        assert arrived(browser.get(path)), path
    for path in ("/assets/x", "/assets/12x", "/gr%C3%B6%C3%9Fe/z", "/gr%F6%DFe/%F6", "/site.css/x", "/a-c"):
        assert browser.get(path).status_code == 302, path
