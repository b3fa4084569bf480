"""Makes oidc.json: keys that are for tests alone, and a token of each algorithm.

Python's `cryptography` (OpenSSL) signs, so the expectations are another implementation's:

    python3 make_oidc.py > oidc.json
"""

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

CLAIMS = {
    "iss": "https://login.example.com",
    "sub": "248289761001",
    "aud": "s6BhdRkqt3",
    "nonce": "n-0S6_WzA2Mj",
    "iat": 1_700_000_000,
    "exp": 1_700_003_600,
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def ecdsa(key, digest, size):
    def sign(message):
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign


def pss(key, digest):
    scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return lambda message: key.sign(message, scheme, digest)


def pkcs1(key, digest):
    return lambda message: key.sign(message, padding.PKCS1v15(), digest)


def ec_jwk(key, curve, size):
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": curve, "x": number(point.x, size), "y": number(point.y, size)}


def der(key, form):
    return b64(key.private_bytes(Encoding.DER, form, NoEncryption()))


rsa_key = rsa.generate_private_key(65537, 2048)
other_rsa_key = rsa.generate_private_key(65537, 2048)
small_rsa_key = rsa.generate_private_key(65537, 1024)
p256_key = ec.generate_private_key(ec.SECP256R1())
p384_key = ec.generate_private_key(ec.SECP384R1())
p521_key = ec.generate_private_key(ec.SECP521R1())
ed_key = ed25519.Ed25519PrivateKey.generate()


def rsa_jwk(key):
    public = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(public.n), "e": number(public.e)}


keys = {
    "rsa": rsa_jwk(rsa_key),
    "other-rsa": rsa_jwk(other_rsa_key),
    "p256": ec_jwk(p256_key, "P-256", 32),
    "p384": ec_jwk(p384_key, "P-384", 48),
    "ed25519": {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": b64(ed_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
    },
    "p521": ec_jwk(p521_key, "P-521", 66),
}
signers = {
    "RS256": ("rsa", pkcs1(rsa_key, hashes.SHA256())),
    "RS384": ("rsa", pkcs1(rsa_key, hashes.SHA384())),
    "RS512": ("rsa", pkcs1(rsa_key, hashes.SHA512())),
    "PS256": ("rsa", pss(rsa_key, hashes.SHA256())),
    "PS384": ("rsa", pss(rsa_key, hashes.SHA384())),
    "PS512": ("rsa", pss(rsa_key, hashes.SHA512())),
    "ES256": ("p256", ecdsa(p256_key, hashes.SHA256(), 32)),
    "ES384": ("p384", ecdsa(p384_key, hashes.SHA384(), 48)),
    "EdDSA": ("ed25519", ed_key.sign),
    "ES512": ("p521", ecdsa(p521_key, hashes.SHA512(), 66)),
}


def token(algorithm, sign, kid):
    header = {"alg": algorithm, "typ": "JWT", "kid": kid}
    message = ".".join(b64(json.dumps(part).encode()) for part in (header, CLAIMS))
    return f"{message}.{b64(sign(message.encode()))}"


vectors = {
    "about": "Keys for tests alone, and tokens that Python's cryptography signed; see make_oidc.py",
    "keys": [{"kid": kid, "use": "sig", **jwk} for kid, jwk in keys.items()],
    "small_rsa": {
        "key": {"kid": "small", **rsa_jwk(small_rsa_key)},
        "token": token("RS256", pkcs1(small_rsa_key, hashes.SHA256()), "small"),
    },
    "tokens": {name: token(name, sign, kid) for name, (kid, sign) in signers.items()},
    "private": {
        "rsa": der(rsa_key, PrivateFormat.TraditionalOpenSSL),
        "p256": der(p256_key, PrivateFormat.PKCS8),
        "ed25519": der(ed_key, PrivateFormat.PKCS8),
    },
}
print(json.dumps(vectors, indent=1))
