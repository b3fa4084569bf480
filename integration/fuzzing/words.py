"""The parts of hostile requests. All come from one `random.Random`, so the same seed makes the same request."""

from __future__ import annotations

import random

# The headers that an upstream takes for the filter's.
IDENTITY = (
    b"x-forwarded-user",
    b"x-forwarded-email",
    b"x-forwarded-groups",
    b"x-forwarded-preferred-username",
    b"x-forwarded-access-token",
    b"x-auth-request-user",
    b"x-auth-request-email",
    b"x-auth-request-groups",
    b"x-auth-request-preferred-username",
    b"x-auth-request-access-token",
    b"x-auth-request-id-token",
    b"gap-auth",
    b"x-oauth2-session",
)
# Bytes that a name may have instead of `-` (RFC 9110 section 5.6.2), and some that it may not have.
SEPARATORS = (
    b"-",
    b"-",
    b"-",
    b"_",
    b"_",
    b".",
    b"~",
    b"!",
    b"+",
    b"*",
    b"'",
    b"|",
    b"`",
    b"#",
    b"$",
    b"%",
    b"&",
    b"^",
    b"",
)
ODD_SEPARATORS = (b" ", b"\t", b"\0", b"\xad", b"\xe2\x80\x90", b":")
FORGED = b"forged"

PATHS = (
    b"/",
    b"/x",
    b"/x?a=b",
    b"/ping",
    b"/ready",
    b"/public/x",
    b"/public/",
    b"/public",
    b"/api/x",
    b"//",
    b"/./x",
    b"/oauth2/start",
    b"/oauth2/start?rd=/x",
    b"/oauth2/sign_in",
    b"/oauth2/sign_in?rd=//evil.example",
    b"/oauth2/sign_out",
    b"/oauth2/sign_out?rd=https://evil.example/%7Bid_token%7D",
    b"/oauth2/auth?allowed_groups=a",
    b"/oauth2/userinfo",
    b"/oauth2/callback?code=a&state=b:/",
    b"/oauth2/callback?error=access_denied&state=b:/",
    b"/oauth2/static/x",
    b"/oauth2",
    b"/oauth2/",
    b"/oauth2//start",
    b"http://localhost/x",
    b"https://evil.example/public/",
    b"/x;/public/",
)
ODD_PATHS = (b"", b"x", b"?", b"#", b"/%", b"/%zz", b"/\xff", b"/x#/public/", b"*", b"/a b")
# Texts between `/public` and `/x`.
DETOURS = (
    b"/..",
    b"/../",
    b"/%2e%2e",
    b"/%2E.",
    b"/.%2e/",
    b"/..%2f",
    b"/..%5c",
    b"/..\\",
    b"\\..\\",
    b"/..;",
    b"/..;a/",
    b"/%252e%252e/",
    b"/..%00",
    b"/..%3f",
    b"/..%23",
    b"/..?",
    b"/..#",
    b"/.",
    b"//",
    b"/;",
    b"/%2f",
    b"%00",
    b"/..%c0%af",
)
METHODS = (b"GET",) * 8 + (b"HEAD", b"POST", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"get", b"FOO")
ODD_METHODS = (b"CONNECT", b"PRI", b"X" * 300, b"", b"G\0T", b"GET\t")
FETCH = (b"cors", b"navigate", b"cross-site", b"same-site", b"none", b"prefetch", b"\xff")
TYPES = (b"text/html", b"application/json", b"*/*", b"," * 50, b"\xff")
TARGETS = (
    b"/x",
    b"//evil.example",
    b"/\\evil.example",
    b"https://evil.example/",
    b"javascript:alert(1)",
    b"/%0d%0ax:y",
    b"\xff\xfe",
    b"/" + b"a" * 3000,
    b"http://x@y/",
    b"{id_token}",
)
NAME = b"_oauth2_proxy"


def pick(chance: random.Random, ordinary: tuple, odd: tuple, rate: float = 0.03):
    """An ordinary value; rarely an odd one, because each of these may end the whole request with a 400."""
    return chance.choice(odd if chance.random() < rate else ordinary)


def name_of_ours(chance: random.Random) -> bytes:
    """A name of identity, in any spelling."""
    parts = chance.choice(IDENTITY).split(b"-")
    name = pick(chance, SEPARATORS, ODD_SEPARATORS, 0.01).join(parts)
    if chance.random() < 0.1:
        name += chance.choice(SEPARATORS)
    if chance.random() < 0.3:
        name = bytes(chance.choice((byte, byte ^ 0x20)) if 0x61 <= byte <= 0x7A else byte for byte in name)
    return name


def path(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.6:
        return pick(chance, PATHS, ODD_PATHS)
    if kind < 0.95:
        return b"/public" + b"".join(chance.choices(DETOURS, k=chance.randint(1, 3))) + b"/x"
    if kind < 0.98:
        return b"/" + chance.choice((b"a", b"/", b"%41", b".", b"a=b&")) * chance.choice((100, 100, 4000, 20_000))
    return b"/" + junk(chance, 60)


def cookie(chance: random.Random, session: bytes) -> bytes:
    """The value of a `cookie` header; sometimes with the session of a signed-in user."""
    parts = []
    for _ in range(chance.choice((1, 1, 2, 5, 60))):
        parts.append(
            chance.choice(
                (
                    NAME + b"=" + token(chance, 60),
                    NAME + b"=" + signed(chance),
                    NAME + b"=||",
                    NAME + b"=\xff\xfe",
                    NAME + b"_%d=%s" % (chance.randrange(12), signed(chance)),
                    NAME + b"_00=x",
                    NAME + b"_4294967296=x",
                    NAME,
                    NAME + b"_csrf=" + signed(chance),
                    NAME + b"_abcdefgh_csrf=" + signed(chance),
                    b"a=b",
                    b"=",
                    b'a="b',
                )
            )
        )
    if chance.random() < 0.35:
        parts.insert(chance.randrange(len(parts) + 1), session)
    return chance.choice((b"; ", b"; ", b";", b" ;\t", b",")).join(parts)


def header(chance: random.Random, session: bytes) -> tuple[bytes, bytes]:
    """Name and value."""
    ours = name_of_ours(chance)
    return pick(
        chance,
        (
            lambda: (ours, FORGED),
            lambda: (ours, FORGED),
            lambda: (ours, FORGED),
            lambda: (ours, b"\xff" + FORGED),
            lambda: (b"cookie", cookie(chance, session)),
            lambda: (b"cookie", cookie(chance, session)),
            lambda: (b"authorization", chance.choice((b"Bearer ", b"bearer ", b"Basic ", b"")) + jwt(chance)),
            lambda: (b"x-forwarded-proto", chance.choice((b"https", b"http", b"\xff", b"ftp, x"))),
            lambda: (b"x-auth-request-redirect", chance.choice(TARGETS)),
            lambda: (b"accept", chance.choice(TYPES)),
            lambda: (b"x-requested-with", b"XMLHttpRequest"),
            lambda: (b"sec-fetch-mode", chance.choice(FETCH)),
            lambda: (b"sec-fetch-site", chance.choice(FETCH)),
            lambda: (b"sec-purpose", b"prefetch"),
            lambda: (b"te", b"trailers"),
            lambda: (b"x-oauth2-session", b'{"user":"forged"}'),
            lambda: (b"x-oauth2-session-bridge", b"http"),
            lambda: (b"x-oauth2-session-redis", b"evil.example:6379"),
            lambda: (b"x-oauth2-session-redis-tls-name", b"evil.example"),
            lambda: (b"x-envoy-original-path", b"/public/x"),
            lambda: (b"x-original-url", b"/public/x"),
            lambda: (token(chance, 20).strip(b"="), token(chance, 80)),
        ),
        (
            lambda: (
                b"connection",
                b"keep-alive, " + chance.choice((*IDENTITY, b"cookie", b"host", b":path", b"upgrade")),
            ),
            lambda: (b"upgrade", chance.choice((b"websocket", b"h2c", b"\xff"))),
            lambda: (b"expect", b"100-continue"),
            lambda: (b"trailer", chance.choice(IDENTITY)),
            lambda: (token(chance, 20), junk(chance, 80)),
        ),
    )()


def headers(chance: random.Random, session: bytes) -> list[tuple[bytes, bytes]]:
    many = chance.choice((0, 1, 2, 3, 4, 8, 16)) if chance.random() < 0.99 else chance.choice((150, 1200))
    return [header(chance, session) for _ in range(many)]


def signed(chance: random.Random) -> bytes:
    """A value in the form of a signed one."""
    return token(chance, 90) + b"|%d|" % chance.choice((0, -1, 1_700_000_000, 1 << 70)) + token(chance, 60)[:44]


def jwt(chance: random.Random) -> bytes:
    """A value in the form of a token, with a header, and with an issuer that may be the provider's."""
    parts = (
        b"eyJhbGciOiJSUzI1NiJ9",
        b"eyJhbGciOiJub25lIn0",
        b"eyJpc3MiOiJ4In0",
        b"ey" + token(chance, 60),
        b"",
        b"\xff",
    )
    return b".".join(chance.choices(parts, k=chance.choice((1, 2, 3, 3, 3, 5))))


def token(chance: random.Random, most: int) -> bytes:
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
    return bytes(chance.choices(letters, k=chance.randrange(1, most)))


def junk(chance: random.Random, most: int) -> bytes:
    return chance.randbytes(chance.randrange(most)) if chance.random() < 0.5 else token(chance, most)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """The value with a few bytes replaced, removed or doubled."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not data:
            break
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.randrange(256)
        elif kind == 2:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 3:
            data[at:at] = chance.choice((b"\r\n", b"\0", b"\xff", b"\n", b" ", b":", b"\r", junk(chance, 12)))
        else:
            data[at:at] = data[at : at + chance.randrange(1, 60)]
    return bytes(data)
