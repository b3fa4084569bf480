"""A provider that has keys and takes no code, in a few lines: what it costs is not measured."""

from __future__ import annotations

import base64
import json
import socket

from cryptography.hazmat.primitives.asymmetric import rsa

from harness.listener import Listener


class Issuer:
    """`bits` are those of its two RSA keys."""

    def __init__(self, bits: int):
        self.bits = bits
        self._keys = {f"key-{number}": rsa.generate_private_key(65537, bits).public_key().public_numbers()
                      for number in (1, 2)}
        self._listener = Listener(self._serve)
        self.url = f"http://127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        self._listener.close()

    def token(self, kid: str | None, number: int) -> str:
        """A token that this issuer did not sign; each number makes another one."""
        header = {"alg": "RS256", **({"kid": kid} if kid else {})}
        claims = {"iss": self.url, "aud": "bench", "sub": f"mallory-{number}", "exp": 4_000_000_000}
        # Less than the modulus, or nobody would compute anything.
        signature = b"\x01" + number.to_bytes(8, "big") * (self.bits // 64)
        return ".".join([encode(json.dumps(header).encode()), encode(json.dumps(claims).encode()),
                         encode(signature[:self.bits // 8])])

    def _answers(self, path: str) -> tuple[str, dict]:
        if path == "/.well-known/openid-configuration":
            return "200 OK", {
                "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/jwks",
                "code_challenge_methods_supported": ["S256"],
            }
        if path == "/jwks":
            return "200 OK", {"keys": [
                {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                 "n": encode(number_bytes(key.n)), "e": encode(number_bytes(key.e))}
                for kid, key in self._keys.items()
            ]}
        return "400 Bad Request", {"error": "invalid_grant"}

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            while line := lines.readline():
                length = 0
                while (header := lines.readline().rstrip().lower()):
                    name, _, value = header.partition(b":")
                    length = int(value) if name == b"content-length" else length
                lines.read(length)
                status, answer = self._answers(line.split()[1].decode())
                body = json.dumps(answer).encode()
                client.sendall(f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
                               f"content-length: {len(body)}\r\n\r\n".encode() + body)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number_bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")
