"""A provider that has keys and refuses every code; its own cost is not measured."""

from __future__ import annotations

import json

from harness.fake_provider import Answer, FakeProvider, Key, encode


class Issuer(FakeProvider):
    """`bits` are those of its two RSA keys."""

    def __init__(self, bits: int):
        super().__init__(
            client_id="bench", client_secret="", keys=[Key(kid=f"key-{number}", bits=bits) for number in (1, 2)]
        )
        self.bits = bits
        self.answers["token"] = Answer(400, {"error": "invalid_grant"})

    def token(self, kid: str | None, number: int) -> str:
        """A token that this issuer did not sign; each number makes another one."""
        header = {"alg": "RS256", **({"kid": kid} if kid else {})}
        claims = {"iss": self.issuer, "aud": "bench", "sub": f"mallory-{number}", "exp": 4_000_000_000}
        # Less than the modulus; otherwise the filter refuses it without computing anything.
        signature = b"\x01" + number.to_bytes(8, "big") * (self.bits // 64)
        return ".".join(
            [
                encode(json.dumps(header).encode()),
                encode(json.dumps(claims).encode()),
                encode(signature[: self.bits // 8]),
            ]
        )
