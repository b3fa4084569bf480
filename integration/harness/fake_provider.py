"""An OpenID provider with real signatures, whose answers can all be changed.

    fake = FakeProvider(keys=[Key("ES512")])
    fake.metadata = {"userinfo_endpoint": None}
    fake.answers["token:refresh_token"] = [Answer(members={"id_token": None}), Answer(400, {"error": "invalid_grant"})]

The certified provider (provider.py) shows that the filter follows the standards; this one answers as other providers
do. It runs in this process, and each attribute of a `FakeProvider` can be set at any time. It asks each browser for a
user name, by the form that `Browser.sign_in` knows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import ssl
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .known_secrets import SECRETS
from .ports import HOST

ENDPOINTS = {
    "/.well-known/openid-configuration": "discovery",
    "/jwks": "jwks",
    "/authorize": "authorization",
    "/token": "token",
    "/userinfo": "userinfo",
    "/revoke": "revocation",
    "/logout": "end_session",
}
# Each endpoint but the form is also below this path, as the target of redirects: "/moved/jwks".
MOVED = "/moved"
CURVES: dict[str, Any] = {"256": ec.SECP256R1, "384": ec.SECP384R1, "512": ec.SECP521R1}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
FORM = '<!doctype html><title>Fake provider</title><form method="post" action="{}"><input name="login"></form>'


@dataclass
class Answer:
    """A scripted answer of an endpoint. Without a status, it changes the endpoint's own answer."""

    status: int | None = None  # 0: the connection is closed without an answer
    body: Any = b""  # bytes, text, or what becomes JSON
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds before the request is handled
    gate: Event | None = None  # the request is handled when this is set
    members: dict = field(default_factory=dict)  # of its JSON; None removes one
    claims: dict = field(default_factory=dict)  # of the ID token, or of userinfo; None removes one


@dataclass
class Key:
    """A signing key. `algorithm` is RS256 to EdDSA, HS256 (of `secret`), or none."""

    algorithm: str = "RS256"
    kid: str | None = field(default_factory=lambda: secrets.token_hex(4))
    bits: int = 2048
    secret: bytes = b""
    jwk: dict = field(default_factory=dict)  # changes to its entry at `jwks_uri`; None removes a member
    is_published: bool = True

    def __post_init__(self) -> None:
        family, size = self.algorithm[:2], self.algorithm[2:]
        self.private: Any = {
            "RS": lambda: rsa.generate_private_key(65537, self.bits),
            "PS": lambda: rsa.generate_private_key(65537, self.bits),
            "ES": lambda: ec.generate_private_key(CURVES[size]()),
            "Ed": ed25519.Ed25519PrivateKey.generate,
        }.get(family, lambda: None)()

    def sign(self, data: bytes) -> bytes:
        family, size = self.algorithm[:2], self.algorithm[2:]
        digest: Any = HASHES.get(size)
        if family == "RS":
            return self.private.sign(data, padding.PKCS1v15(), digest)
        if family == "PS":
            return self.private.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        if family == "ES":
            length, parts = (
                (self.private.key_size + 7) // 8,
                decode_dss_signature(self.private.sign(data, ec.ECDSA(digest))),
            )
            return b"".join(part.to_bytes(length, "big") for part in parts)
        if family == "HS":
            return hmac.digest(self.secret, data, f"sha{size}")
        return self.private.sign(data) if family == "Ed" else b""

    def public(self) -> dict:
        """As a JWK (RFC 7518 section 6, RFC 8037)."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = self.private.public_key().public_numbers()
            common |= {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        elif isinstance(self.private, ec.EllipticCurvePrivateKey):
            point, length = self.private.public_key().public_numbers(), (self.private.key_size + 7) // 8
            common |= {
                "kty": "EC",
                "crv": f"P-{self.private.key_size}",
                "x": number(point.x, length),
                "y": number(point.y, length),
            }
        else:
            common |= {"kty": "OKP", "crv": "Ed25519", "x": encode(self.private.public_key().public_bytes_raw())}
        return changed(common, self.jwk)

    def token(self, claims: dict, header: dict | None = None) -> str:
        """A JWT; `header` changes its own header."""
        header = changed({"alg": self.algorithm, "kid": self.kid}, header or {})
        data = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        return f"{data}.{encode(self.sign(data.encode()))}"


class FakeProvider:
    """A provider on loopback; https with the options that `Authority.issue` gives."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        keys: list[Key] | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        tls_version: ssl.TLSVersion | None = None,
        host: str = HOST,
    ):
        self.client_id, self.client_secret = client_id, client_secret
        self.keys = keys or [Key()]  # the first one signs
        self.metadata: dict = {}  # changes; None removes a member
        self.claims: dict = {}  # changes of every ID token
        self.token_header: dict = {}  # changes of every ID token's header
        self.userinfo_key: Key | None = None  # with one, userinfo is a JWT
        self.lifetime = 3600  # seconds, of tokens
        # How the client may authenticate; a client without a secret need not.
        self.auth_methods = ["client_secret_basic", "client_secret_post"]
        self.decodes_basic = True  # as in RFC 6749 section 2.3.1
        self.refusal = Answer(401, {"error": "invalid_client"})  # otherwise
        self.uses_code_up_first = False  # also if the client is refused
        # By endpoint, by "token:" and a grant type, or by a path below /moved: one answer for all, or one each in turn
        # and then its own. The more exact name wins.
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.requests: list[dict] = []
        self._codes: dict[str, dict] = {}
        self._refresh_tokens: dict[str, str] = {}
        self._access_tokens: dict[str, str] = {}
        self._server = ThreadingHTTPServer((HOST, 0), type("Handler", (Handler,), {"provider": self}))
        self._server.daemon_threads = True
        if tls_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if tls_version:  # only this version
                context.minimum_version = context.maximum_version = tls_version
            context.load_cert_chain(tls_cert, tls_key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.issuer = f"{'https' if tls_cert else 'http'}://{host}:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_redirect_uri(self, uri: str) -> None:
        """Every redirect URI is accepted."""

    def seen(self, endpoint: str, grant_type: str | None = None) -> list[dict]:
        """The requests to an endpoint, oldest first: `path`, `headers` (names in lower case) and `form`."""
        return [
            request
            for request in self.requests
            if request["endpoint"] == endpoint and grant_type in (None, request["form"].get("grant_type"))
        ]

    def answer(self, request: dict) -> tuple[Answer, Any]:
        """The answer to a request, and its body with the scripted changes."""
        endpoint, path, grant_type = request["endpoint"], request["path"], request["form"].get("grant_type")
        names = [path] if path.startswith(MOVED) else [f"{endpoint}:{grant_type}", endpoint]
        script = next((self.answers[name] for name in names if self.answers.get(name)), Answer())
        answer = script.pop(0) if isinstance(script, list) else script
        time.sleep(answer.delay)
        if answer.gate:
            answer.gate.wait(60)
        if answer.status is not None:
            return answer, answer.body
        own = getattr(self, f"_{endpoint}", lambda *_: Answer(404))(request, answer.claims)
        body = changed(own.body, answer.members) if isinstance(own.body, dict) else own.body
        return Answer(own.status, headers={**own.headers, **answer.headers}), body

    # ---- its own answers ----

    def _discovery(self, *_: object) -> Answer:
        url = {name: self.issuer + path for path, name in ENDPOINTS.items()}
        return Answer(
            200,
            changed(
                {
                    "issuer": self.issuer,
                    "jwks_uri": url["jwks"],
                    **{f"{name}_endpoint": url[name] for name in ("authorization", "token", "userinfo", "revocation")},
                    "end_session_endpoint": url["end_session"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                },
                self.metadata,
            ),
        )

    def _jwks(self, *_: object) -> Answer:
        return Answer(200, {"keys": [key.public() for key in self.keys if key.is_published and key.private]})

    def _authorization(self, request: dict, _: dict) -> Answer:
        if request["method"] != "POST":
            return Answer(200, FORM.format(html.escape(request["url"])), {"content-type": "text/html"})
        asked = request["query"]
        code = issued("a code")
        self._codes[code] = {**asked, "login": request["form"]["login"]}
        separator = "&" if "?" in asked["redirect_uri"] else "?"
        back = urlencode({"code": code, "state": asked["state"]})
        return Answer(302, headers={"location": f"{asked['redirect_uri']}{separator}{back}"})

    def _token(self, request: dict, claims: dict) -> Answer:
        form = request["form"]
        is_client = self._is_client(request)
        if form.get("grant_type") == "authorization_code":
            take = self._codes.pop if is_client or self.uses_code_up_first else self._codes.get
            grant = take(form.get("code"), None)
            is_good = (
                grant is not None
                and grant["redirect_uri"] == form.get("redirect_uri")
                and grant.get("code_challenge") in (None, challenge(form.get("code_verifier", "")))
            )
        else:
            login = self._refresh_tokens.get(form.get("refresh_token"))
            grant, is_good = {"login": login}, login is not None
        if not is_client:
            return self.refusal
        if grant is None or not is_good:
            return Answer(400, {"error": "invalid_grant"})
        self._refresh_tokens.pop(form.get("refresh_token"), None)
        return Answer(200, self._tokens(grant, claims))

    def _tokens(self, grant: dict, claims: dict) -> dict:
        login, access_token, refresh_token = grant["login"], issued("an access token"), issued("a refresh token")
        self._access_tokens[access_token] = self._refresh_tokens[refresh_token] = login
        now = int(time.time())
        nonce = {"nonce": grant["nonce"]} if "nonce" in grant else {}
        own = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": now,
            "exp": now + self.lifetime,
            **nonce,
            **person(login),
        }
        id_token = self.keys[0].token(changed(own, {**self.claims, **claims}), self.token_header)
        SECRETS.add("an ID token", id_token)
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": refresh_token,
            "id_token": id_token,
        }

    def _userinfo(self, request: dict, claims: dict) -> Answer:
        login = self._access_tokens.get(request["headers"].get("authorization", "").removeprefix("Bearer "))
        if login is None:
            return Answer(401, {"error": "invalid_token"}, {"www-authenticate": "Bearer"})
        if self.userinfo_key is None:
            return Answer(200, changed(person(login), claims))
        signed = changed({"iss": self.issuer, "aud": self.client_id, **person(login)}, claims)
        return Answer(200, self.userinfo_key.token(signed), {"content-type": "application/jwt"})

    def _revocation(self, request: dict, _: dict) -> Answer:
        self._refresh_tokens.pop(request["form"].get("token"), None)
        return Answer(200)

    def _end_session(self, request: dict, _: dict) -> Answer:
        target = request["query"].get("post_logout_redirect_uri")
        return Answer(302, headers={"location": target}) if target else Answer(200, "signed out")

    def _is_client(self, request: dict) -> bool:
        form, (scheme, _, credentials) = request["form"], request["headers"].get("authorization", "").partition(" ")
        name, secret, method = form.get("client_id"), form.get("client_secret"), "client_secret_post"
        if scheme.lower() == "basic":
            method = "client_secret_basic"
            name, _, secret = base64.b64decode(credentials).decode().partition(":")
            if self.decodes_basic:
                name, secret = unquote_plus(name), unquote_plus(secret)
        is_allowed = method in self.auth_methods or not self.client_secret
        return is_allowed and (name, secret or "") == (self.client_id, self.client_secret)


class Handler(BaseHTTPRequestHandler):
    """HTTP for `FakeProvider.answer`."""

    provider: FakeProvider
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        form = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = {
            "endpoint": ENDPOINTS.get(url.path.removeprefix(MOVED)),
            "method": self.command,
            "url": self.path,
            "path": url.path,
            "query": dict(parse_qsl(url.query)),
            "form": dict(parse_qsl(form.decode())),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        self.provider.requests.append(request)
        answer, body = self.provider.answer(request)
        if not answer.status:
            self.close_connection = True
            return
        is_json = not isinstance(body, (bytes, str))
        data = body if isinstance(body, bytes) else (json.dumps(body) if is_json else body).encode()
        self.send_response(answer.status)
        kind = {"content-type": "application/json" if is_json else "text/plain"}
        for name, value in {
            **kind,
            "cache-control": "no-store",
            "content-length": str(len(data)),
            **answer.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_POST = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing: tests look at `requests`."""


def person(login: str) -> dict:
    return {
        "sub": login,
        "name": f"{login.capitalize()} Example",
        "preferred_username": login,
        "email": f"{login}@example.com",
        "email_verified": True,
        "groups": ["staff"],
    }


def issued(what: str) -> str:
    value = secrets.token_urlsafe(24)
    SECRETS.add(what, value)
    return value


def challenge(verifier: str) -> str:
    """PKCE's S256 (RFC 7636 section 4.2)."""
    return encode(hashlib.sha256(verifier.encode()).digest())


def changed(members: dict, changes: dict) -> dict:
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length: int | None = None) -> str:
    return encode(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))
