"""Bytes that no browser sends. The filter answers, and works for all others afterwards.

After every test, the harness checks that nothing crashed (harness/service.py).
"""

from __future__ import annotations

import random
import socket
from urllib.parse import quote, urlsplit

import pytest

from harness.ports import address_of
from harness.service import arrived

NAME = b"_oauth2_proxy"


class Raw:
    """One HTTP/1.1 connection, byte by byte."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._host = parts.netloc.encode()
        self._socket = socket.create_connection(address_of(url), timeout=10)

    def get(self, path: bytes, *headers: bytes, method: bytes = b"GET") -> int | None:
        """The status; None if Envoy closed the connection without an answer."""
        lines = [method + b" " + path + b" HTTP/1.1", b"host: " + self._host, *headers]
        answer = b""
        try:
            self._socket.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            while b"\r\n" not in answer and (part := self._socket.recv(65536)):
                answer += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        finally:
            self._socket.close()
        return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


@pytest.fixture
def running(service):
    """An Envoy, and at the end a sign-in that has to work."""
    running = service(skip_auth_routes=["^/public/"])
    yield running
    assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


@pytest.mark.parametrize(
    "cookie",
    [
        b"a=\xff",
        NAME + b"=\xff\xfe\x80",
        NAME + b"=" + bytes(range(0x80, 0x100)),
        NAME + b"_0=\xc3\x28; " + NAME + b"_1=\xff",
        NAME + b"_csrf=\xff",
        b"\xff=\xff",
        b"=; ;; = ;=" + NAME,
        NAME,
        NAME + b"=",
        NAME + b"=||",
        NAME + b"=|||||||",
        NAME + b"=a|99999999999999999999999|c",
        NAME + b"=a|-1|c",
        NAME + b"_99999999999999999999=x",
        NAME + b"_-1=x; " + NAME + b"_00=y",
        NAME + b'="quoted"',
        b"; ".join(NAME + b"_%d=x" % number for number in range(1000)),
        b"; ".join(NAME + b"=x" for _ in range(3000)),
        b"; ".join(NAME + b"_%d_csrf=x" % number for number in range(500)),
    ],
    ids=range(19),
)
def test_cookie_header_of_invalid_bytes_is_survived(cookie, running):
    answers = {
        path: Raw(running.url).get(path, b"cookie: " + cookie)
        for path in (
            b"/echo",
            b"/oauth2/start",
            b"/oauth2/sign_out",
            b"/oauth2/userinfo",
            b"/oauth2/callback?code=a&state=a:/",
        )
    }
    assert list(answers.values()) == [302, 302, 200, 401, 403]


def test_sixty_kilobytes_of_cookies_go_to_sign_in(running):
    junk = random.Random(7)
    cookies = [b"cookie: " + b"c%d=" % n + bytes(junk.choices(b"abcdef0123456789", k=3800)) for n in range(15)]
    assert Raw(running.url).get(b"/echo", *cookies) == 302
    session = [b"cookie: " + NAME + b"_%d=" % n + bytes(junk.choices(b"abcdef0123456789", k=3800)) for n in range(15)]
    assert Raw(running.url).get(b"/echo", *session) == 302


def test_more_headers_than_envoy_allows_are_refused(running):
    cookies = [b"cookie: " + NAME + b"_%d=" % n + b"x" * 3900 for n in range(40)]
    assert Raw(running.url).get(b"/echo", *cookies) in (431, None)


def test_session_among_junk_is_found(running):
    browser = running.browser()
    browser.sign_in("alice")
    session = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    assert Raw(running.url).get(b"/oauth2/userinfo", b"cookie: a=\xff; " + session + b"; =; b=\x80") == 200
    assert Raw(running.url).get(b"/oauth2/userinfo", b"cookie: junk", b"cookie: " + session) == 200


def test_second_session_cookie_of_junk_is_survived(running):
    # A browser can send several cookies of one name; the filter chooses one.
    browser = running.browser()
    browser.sign_in("alice")
    session = browser.cookies[NAME.decode()].encode()
    for cookie in (NAME + b"=" + session + b"; " + NAME + b"=junk", NAME + b"=junk; " + NAME + b"=" + session):
        assert Raw(running.url).get(b"/oauth2/userinfo", b"cookie: " + cookie) in (200, 401)


@pytest.mark.parametrize(
    "path",
    [
        b"/oauth2/callback",
        b"/oauth2/callback?",
        b"/oauth2/callback?state",
        b"/oauth2/callback?state=&code=",
        b"/oauth2/callback?state=:&code=x",
        b"/oauth2/callback?state=%ff%fe:%00&code=%80",
        b"/oauth2/callback?state=" + b"a" * 20_000 + b"&code=" + b"b" * 20_000,
        b"/oauth2/callback?" + b"&".join(b"state=%d" % n for n in range(2000)),
        b"/oauth2/callback?error=%ff",
        b"/oauth2/callback?error=" + b"x" * 30_000,
        b"/oauth2/callback?state=a:https://evil.example/&code=x",
    ],
    ids=range(11),
)
def test_callback_of_invalid_bytes_is_refused(path, running):
    assert Raw(running.url).get(path) == 403


@pytest.mark.parametrize(
    "target",
    [
        b"%ff%fe",
        b"%00",
        b"%0d%0aset-cookie:%20a=b",
        b"/%0d%0ax",
        b"/" + b"a" * 30_000,
        b"%",
        b"%zz",
        b"/%f0%9f%98%80",
    ],
    ids=range(8),
)
def test_target_of_invalid_bytes_is_survived(target, running):
    assert Raw(running.url).get(b"/oauth2/start?rd=" + target) == 302
    assert Raw(running.url).get(b"/oauth2/sign_in?rd=" + target) == 200
    assert Raw(running.url).get(b"/oauth2/sign_out?rd=" + target) in (200, 302)
    assert Raw(running.url).get(b"/oauth2/sign_in", b"x-auth-request-redirect: \xff" + target) == 200


@pytest.mark.parametrize(
    "path",
    [
        b"/\xff\xfe",
        b"/%ff%fe",
        b"/a b",
        b"*",
        b"//",
        b"/\x01",
        b"/echo?\xff=%ff",
        b"/" + b"a" * 60_000,
    ],
    ids=range(8),
)
def test_path_of_invalid_bytes_does_not_arrive(path, running, upstream):
    upstream.seen.clear()
    assert Raw(running.url).get(path) in (302, 400, 404, 431, None)
    assert not upstream.seen


@pytest.mark.parametrize(
    "header",
    [
        b"accept: \xff",
        b"x-forwarded-user: \xff\xfe",
        b"x_forwarded_user: \xff",
        b"x-forwarded-proto: \xff",
        b"x-requested-with: \xff",
        b"sec-fetch-mode: \xff",
        b"upgrade: \xff",
        b"x-auth-request-redirect: \xff",
        b"authorization: Bearer \xff",
        b"x-forwarded-host: \xff",
    ],
    ids=lambda header: header.split(b":")[0].decode(),
)
def test_header_of_invalid_bytes_is_survived(header, running):
    assert Raw(running.url).get(b"/echo", header) in (302, 400, 401, 403)
    assert Raw(running.url).get(b"/public/echo", header) in (200, 400, 403)


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"PROPFIND", b"FOO", b"get"])
def test_unusual_method_does_not_arrive(method, running, upstream):
    upstream.seen.clear()
    assert Raw(running.url).get(b"/echo", method=method) in (302, 400, 401, 403, 404, 405)
    assert not upstream.seen


@pytest.mark.parametrize("host", ["evil.example", "a" * 300, "[::1]:80", "x:99999", "ä.example"])
def test_unusual_host_gets_no_session(host, running):
    answer = running.browser().get("/oauth2/start", headers={"host": quote(host, safe=":[]")})
    assert answer.status_code in (302, 400, 403, 503)


def test_random_bytes_as_a_session_go_to_sign_in(running):
    junk = random.Random(42)
    for _ in range(300):
        value = bytes(junk.choices(range(0x21, 0x7F), k=junk.randrange(200))).replace(b";", b"|")
        assert Raw(running.url).get(b"/echo", b"cookie: " + NAME + b"=" + value) == 302
