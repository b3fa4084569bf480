"""TLS on one side, the same bytes plain on the other: for a server that was built without TLS."""

from __future__ import annotations

import socket
import ssl

from .relay import Relay


class TlsRelay(Relay):
    """Speaks TLS to its clients, and plain TCP to `target`. `version` is the only version of TLS that it takes.

    It closes a connection whose handshake fails: the client refused the certificate, or does not speak TLS."""

    def __init__(self, target: tuple[str, int], certificate: str, key: str, version: ssl.TLSVersion | None = None):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version:
            self._context.minimum_version = self._context.maximum_version = version
        self._context.load_cert_chain(certificate, key)
        super().__init__(target)

    def greet(self, accepted: socket.socket) -> socket.socket:
        return self._context.wrap_socket(accepted, server_side=True)
