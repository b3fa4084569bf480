"""Makes logout.json: logout tokens in the forms of three providers, and the keys that verify them.

Python's `cryptography` (OpenSSL) signs, so the expectations are another implementation's:

    python3 make_logout.py > logout.json

The forms are those of the standard's example (OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.5), of
Keycloak (`LogoutToken` and `DefaultTokenManager`; before version 25 with the type `JWT` and without `exp`) and of
oidc-provider (`lib/models/client.js`).
"""

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

ISSUER, CLIENT, ISSUED = "https://login.example.com", "s6BhdRkqt3", 1_700_000_000
EVENT = "http://schemas.openid.net/event/backchannel-logout"

rsa_key = rsa.generate_private_key(65537, 2048)
ed_key = ed25519.Ed25519PrivateKey.generate()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def token(header, claims):
    data = ".".join(b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    if header["alg"] == "RS256":
        signature = rsa_key.sign(data.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = ed_key.sign(data.encode())
    return f"{data}.{b64(signature)}"


def keycloak(typ, more):
    claims = {
        **more,
        "iat": ISSUED,
        "jti": "7c0b1a0e-6f0f-4c0a-9f0c-3b0b5a0d2f11",
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "f3b7e6b4-20a7-4d7a-8a1b-6f1c0a5f9a10",
        "typ": "Logout",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {EVENT: {}, "revoke_offline_access": True},
    }
    return token({"alg": "RS256", "typ": typ, "kid": "rsa"}, claims)


public = rsa_key.public_key().public_numbers()
print(
    json.dumps(
        {
            "keys": [
                {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(public.n), "e": number(public.e)},
                {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed_key.public_key().public_bytes_raw())},
            ],
            "tokens": {
                "standard": token(
                    {"alg": "RS256", "typ": "logout+jwt", "kid": "rsa"},
                    {
                        "iss": ISSUER,
                        "sub": "248289761001",
                        "aud": CLIENT,
                        "iat": ISSUED,
                        "exp": ISSUED + 120,
                        "jti": "bWJq",
                        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
                        "events": {EVENT: {}},
                    },
                ),
                "keycloak": keycloak("logout+jwt", {"exp": ISSUED + 120}),
                "keycloak_24": keycloak("JWT", {}),
                "oidc_provider": token(
                    {"alg": "EdDSA", "typ": "logout+jwt", "kid": "ed"},
                    {
                        "sub": "alice",
                        "events": {EVENT: {}},
                        "jti": "V1StGXR8_Z5jdHi6B-myT",
                        "aud": CLIENT,
                        "exp": ISSUED + 120,
                        "iat": ISSUED,
                        "iss": ISSUER,
                    },
                ),
            },
        },
        indent=1,
    )
)
