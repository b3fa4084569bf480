"""The service behind Envoy, for the demo and the tests: it shows what arrives. Standard library only.

    python3 integration/upstream.py [host:port]     127.0.0.1:9000 without an argument

    /         a page that shows the signed-in user
    /echo     the request as JSON: method, path, every header, length and SHA-256 of the body
    /stream   five chunks, one at a time; with ?gate, all but the first wait for `Upstream.gate`
    /ws       a WebSocket that sends back what it gets
    /respond  the `status` and the headers (`header=name:value`) of the query; with `gate` it waits for `Upstream.gate`

Each `hand-over` in the query becomes a session for the filter in the response, as of a custom sign-in app.
It writes no log: a header may contain a token.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, urlsplit

CHUNKS = 5
PAUSE_SECONDS = 0.1
GATE_SECONDS = 20
# The most requests that are remembered.
MAX_SEEN = 1000
# RFC 6455 section 1.3.
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

PAGE = Template((Path(__file__).parent / "upstream.html").read_text(encoding="utf-8"))
# The most groups on the page.
SHOWN_GROUPS = 8


class Upstream(ThreadingHTTPServer):
    """The service, in threads of its own once it is started."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, more_rows: Callable[[str], dict[str, str]] | None = None
    ):
        """`more_rows` gives more to show on the page, from the request's cookies: labels and values."""
        super().__init__((host, port), Handler)
        self.more_rows = more_rows or (lambda _cookies: {})
        self.address = f"{host}:{self.server_address[1]}"
        self.gate = threading.Event()
        self.seen: deque[str] = deque(maxlen=MAX_SEEN)  # method and target, oldest first

    def start(self) -> Upstream:
        threading.Thread(target=self.serve_forever, name="upstream", daemon=True).start()
        return self

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path
        if path == "/ws":
            self.websocket()
        elif path == "/stream":
            self.stream()
        elif path == "/respond":
            self.respond()
        elif path == "/":
            more = self.server.more_rows(self.headers.get("cookie", ""))
            self.answer("text/html; charset=utf-8", page(self.headers, more))
        else:
            self.echo()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def end_headers(self) -> None:
        # So that a test can distinguish its responses from pages of the filter.
        self.send_header("x-upstream", "yes")
        super().end_headers()

    def echo(self) -> None:
        body = b"".join(self.body())
        answer = {
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()},
        }
        self.answer("application/json", json.dumps(answer, indent=2).encode() + b"\n")

    def answer(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        for session in parse_qs(urlsplit(self.path).query).get("hand-over", []):
            self.send_header("x-oauth2-session", session)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "gate" in query:
            self.server.gate.wait(GATE_SECONDS)
        status = int(query.get("status", ["200"])[0])
        body = b"" if status == 304 else b"respond\n"
        self.send_response(status)
        for header in query.get("header", []):
            self.send_header(*header.split(":", 1))
        if body:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        """The parts of the request's body, with a length or chunked (RFC 9112 section 7.1)."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass  # trailers
        elif length := int(self.headers.get("content-length", 0)):
            yield self.rfile.read(length)

    def stream(self) -> None:
        is_gated = urlsplit(self.path).query == "gate"
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(CHUNKS):
            if number and is_gated:
                self.server.gate.wait(GATE_SECONDS)
            elif number:
                time.sleep(PAUSE_SECONDS)
            self.write_chunk(b"chunk %d\n" % number)
        self.write_chunk(b"")

    def write_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def websocket(self) -> None:
        """The part of RFC 6455 that an echo needs: whole frames, no fragments, no extensions."""
        key = self.headers.get("sec-websocket-key", "")
        if not key or self.headers.get("upgrade", "").lower() != "websocket":
            self.send_error(426)
            return
        accept = base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "Upgrade")
        self.send_header("sec-websocket-accept", accept)
        self.end_headers()
        self.close_connection = True
        # The first message has the user, so that a test can see it.
        self.write_frame(TEXT, self.headers.get("x-forwarded-user", "").encode())
        while (frame := self.read_frame()) is not None:
            opcode, payload = frame
            if opcode == CLOSE:
                self.write_frame(CLOSE, payload)
                return
            if opcode in (TEXT, BINARY, PING):
                self.write_frame(PONG if opcode == PING else opcode, payload)

    def read_frame(self) -> tuple[int, bytes] | None:
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.rfile.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.rfile.read(8))
        mask = self.rfile.read(4) if head[1] & 0x80 else bytes(4)
        payload = self.rfile.read(length)
        return head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    def write_frame(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        self.wfile.write(head + payload)

    def log_message(self, *_: object) -> None:
        pass


def page(headers, more_rows: dict[str, str]) -> bytes:
    """The page with the signed-in user, as the filter's headers name it."""
    said = {
        "User": "x-forwarded-user",
        "Email": "x-forwarded-email",
        "User name": "x-forwarded-preferred-username",
    }
    values = {label: text(headers.get(name)) for label, name in said.items()} | more_rows
    rows = "\n".join(f"<dt>{label}</dt><dd>{html.escape(value) or '&ndash;'}</dd>" for label, value in values.items())
    groups = [group for group in text(headers.get("x-forwarded-groups")).split(",") if group]
    items = [f"<li>{html.escape(group)}</li>" for group in groups[:SHOWN_GROUPS]]
    if more := len(groups) - len(items):
        items.append(f'<li class="more">and {more} more</li>')
    name = text(headers.get("x-forwarded-preferred-username") or headers.get("x-forwarded-user"))
    return PAGE.substitute(
        name=html.escape(name) or "stranger",
        rows=rows,
        groups=f"<ul>{''.join(items)}</ul>" if items else "&ndash;",
    ).encode()


def text(value: str | None) -> str:
    """http.server reads header bytes as Latin-1; names are in UTF-8."""
    return (value or "").encode("latin-1", "replace").decode("utf-8", "replace")


def main() -> None:
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000").rpartition(":")
    upstream = Upstream(host, int(port))
    print(f"upstream: listening on http://{upstream.address}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        upstream.serve_forever()


if __name__ == "__main__":
    main()
