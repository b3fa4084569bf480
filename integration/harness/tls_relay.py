"""TLS on one side, the same bytes plain on the other: for a server that was built without TLS."""

from __future__ import annotations

import socket
import ssl

from .relay import Relay


class TlsRelay(Relay):
    """A client that does not like the certificate, or speaks no TLS, is not passed on."""

    def __init__(self, target: tuple[str, int], certificate: str, key: str):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        super().__init__(target)

    def greet(self, accepted: socket.socket) -> socket.socket:
        return self._context.wrap_socket(accepted, server_side=True)
