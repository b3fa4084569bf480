"""Programs without a session, in their own protocols: the answers of the filter as a real Envoy sends them.

The expectations come from gRPC's PROTOCOL-HTTP2.md, PROTOCOL-WEB.md and statuscodes.md, and from Connect's Protocol
Reference.
"""

from __future__ import annotations

import json
import socket
import struct
from urllib.parse import urlsplit

import h2.connection
import h2.events
import httpx
import pytest

from harness.ports import address_of
from harness.redis import Redis
from harness.service import arrived
from harness.waiting import until

METHOD = "/example.v1.Greeter/Greet"
# A message of no bytes, as gRPC frames it.
MESSAGE = b"\0\0\0\0\0"
UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE = 16, 7, 14


def call(url: str, headers: dict[str, str], body: bytes = MESSAGE) -> tuple[dict[str, str], dict[str, str], bytes]:
    """A call as gRPC makes it, over HTTP/2 without TLS: head, trailers and body of the response."""
    at = urlsplit(url)
    with socket.create_connection(address_of(url), timeout=20) as client:
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", at.netloc),
                (":path", METHOD),
                ("te", "trailers"),
                *headers.items(),
            ],
        )
        connection.send_data(stream, body, end_stream=True)
        client.sendall(connection.data_to_send())
        blocks: list[dict[str, str]] = []
        received = b""
        while True:
            data = client.recv(65536)
            assert data, "Envoy closed the connection"
            for event in connection.receive_data(data):
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    blocks.append({name.decode(): value.decode() for name, value in event.headers})
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return blocks[0], blocks[1] if len(blocks) > 1 else {}, received
                assert not isinstance(event, h2.events.StreamReset)
            client.sendall(connection.data_to_send())


@pytest.fixture(scope="module")
def cases(services, shared_provider, shared_redis):
    """Clients without a session, with a forbidden one, and with one that cannot be checked: their URL and headers, and
    the status of each in gRPC, in Connect and in HTTP."""
    shared_provider.reset()
    away = Redis()
    options = {"session_store_type": "redis", "is_shared": False, "redis_command_timeout": "500ms"}
    at = services.start(redis_connection_url=shared_redis.url, **options)
    strict = services.start(redis_connection_url=shared_redis.url, allowed_groups=["no-such-group"], **options)
    outage = services.start(redis_connection_url=away.url, **options)
    cookies = []
    for running in (at, outage):
        browser = running.browser()
        assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
        cookies.append({"cookie": browser.cookie})
    away.stop()
    until(lambda: browser.get("/echo").status_code == 503, "the worker knows of the outage")
    yield [
        (at.url, {}, UNAUTHENTICATED, "unauthenticated", 401),
        (strict.url, cookies[0], PERMISSION_DENIED, "permission_denied", 403),
        (outage.url, cookies[1], UNAVAILABLE, "unavailable", 503),
    ]
    away.close()


def test_grpc_client_gets_its_code_and_a_short_message(cases):
    for url, cookie, code, _, _ in cases:
        head, trailers, body = call(url, {"content-type": "application/grpc", **cookie})
        assert (head[":status"], head["content-type"], head["grpc-status"]) == ("200", "application/grpc", str(code))
        assert 0 < len(head["grpc-message"]) < 120
        assert "location" not in head
        # Trailers-Only.
        assert (trailers, body) == ({}, b"")


@pytest.mark.parametrize("content_type", ["application/grpc-web+proto", "application/grpc-web-text"])
def test_grpc_web_client_gets_its_code_in_the_headers(content_type, cases):
    for url, cookie, code, _, _ in cases:
        answer = httpx.post(
            url + METHOD,
            content=MESSAGE,
            trust_env=False,
            timeout=20,
            headers={"content-type": content_type, "x-grpc-web": "1", **cookie},
        )
        assert (answer.status_code, answer.headers["grpc-status"]) == (200, str(code))
        assert answer.headers["content-type"] == content_type
        assert 0 < len(answer.headers["grpc-message"]) < 120
        assert answer.content == b""


# In many configurations, Envoy's filter for gRPC-Web comes before the authentication, and makes gRPC of it.
GRPC_WEB_FILTER = """
http_filters:
- name: envoy.filters.http.grpc_web
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb }
"""


def test_grpc_web_behind_envoy_s_filter_gets_its_code(service):
    at = service(filters_before=GRPC_WEB_FILTER)
    answer = httpx.post(
        at.url + METHOD,
        content=MESSAGE,
        trust_env=False,
        timeout=20,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    # When the request came, Envoy did not know that it was gRPC: so 401, which clients take for UNAUTHENTICATED too.
    assert (answer.status_code, answer.headers["grpc-status"]) == (401, str(UNAUTHENTICATED))
    assert "location" not in answer.headers


def test_connect_client_gets_its_error(cases):
    for url, cookie, _, code, status in cases:
        for content_type in ("application/json", "application/proto"):
            answer = httpx.post(
                url + METHOD,
                content=b"{}",
                trust_env=False,
                timeout=20,
                headers={"content-type": content_type, "connect-protocol-version": "1", **cookie},
            )
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
            assert answer.json()["code"] == code
        answer = httpx.post(
            url + METHOD,
            content=MESSAGE,
            trust_env=False,
            timeout=20,
            headers={"content-type": "application/connect+proto", "connect-protocol-version": "1", **cookie},
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/connect+proto")
        flags, length = struct.unpack(">BI", answer.content[:5])
        assert (flags, length) == (2, len(answer.content) - 5)
        assert json.loads(answer.content[5:])["error"]["code"] == code


def test_form_goes_to_the_sign_in_and_script_gets_401(service):
    at = service()
    page = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "content-type": "application/x-www-form-urlencoded"}
    with httpx.Client(base_url=at.url, trust_env=False) as client:
        assert client.post("/form", content=b"a=b", headers=page).status_code == 302
        for headers in ({"content-type": "application/json"}, {"content-type": "application/x-www-form-urlencoded"}):
            answer = client.put("/api", content=b"{}", headers=headers)
            assert (answer.status_code, "location" in answer.headers) == (401, False)
        assert client.get("/events", headers={"accept": "text/event-stream"}).status_code == 401
        assert client.get("/part", headers={"hx-request": "true"}).status_code == 401


@pytest.mark.parametrize("http2", [False, True])
def test_auth_endpoint_answers_grpc_headers_with_a_status_of_http(http2, service):
    """nginx' auth_request, Traefik and Caddy ask with the headers of a stranger. Envoy would turn each answer to a
    request with a gRPC content type into 200, and the asking proxy would let the stranger through."""
    at = service(ready_path="/ready")
    with httpx.Client(base_url=at.url, http1=not http2, http2=http2, trust_env=False) as client:
        for content_type in (
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "application/connect+json",
        ):
            for path in ("/oauth2/auth", "/oauth2/userinfo"):
                answer = client.get(path, headers={"content-type": content_type})
                assert answer.status_code == 401, (path, content_type)
            assert client.post("/oauth2/userinfo", headers={"content-type": content_type}).status_code == 405
    browser = at.browser(http2=http2)
    browser.sign_in("alice")
    assert browser.get("/oauth2/auth", headers={"content-type": "application/grpc"}).status_code == 202
    assert browser.get("/oauth2/auth?allowed_groups=x", headers={"content-type": "application/grpc"}).status_code == 403
