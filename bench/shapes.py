"""The requests of `bench/hostile.py`: what strangers may send, chosen to cost as much as possible."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from issuer import Issuer
from wire import Request, connect

KB = 1024
COOKIE = "_oauth2_proxy"
# The longest path that HPACK's table of 4,096 bytes holds, with its name and 32 bytes for the entry.
INDEXED = 4096 - 32 - len(":path")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

# Patterns as an operator writes them.
ORDINARY = {
    "skip_auth_routes": ["^/public/", "^/healthz$", r"\.(css|js|png|woff2)$", r"GET=^/docs/[^/]+\.html$"],
    "api_routes": ["^/api/v[0-9]+/", "/rpc/", "^/graphql$"],
}
# Patterns that cost other engines most, and a hundred ordinary ones.
NASTY = {
    "skip_auth_routes": [r"(a|aa)+$", r".*x.*y.*z", r"[a-z]{1,50}/[0-9]{1,50}/end", r"(?i)\bpublic\b.*\.html$"],
    "api_routes": [f"^/service-{number}/v[0-9]+/[^/]+/items" for number in range(100)],
}

# Makes requests for one sample, at the Envoy on that port.
Requests = Callable[[int], Iterator[Request]]


@dataclass(frozen=True)
class Shape:
    title: str
    site: str
    """Which Envoy: a key of `sites`."""
    requests: Requests
    statuses: tuple[int, ...] = (302,)
    http2: bool = False
    needs_more: str = ""
    """Why it costs more than the others; the aim is for requests that have to be answered at once."""


def base(shape: Shape) -> Shape:
    """What a shape is compared with."""
    return Shape("`/x` without a cookie", shape.site, same(Request("/x")), http2=shape.http2)


def shapes(issuers: dict[str, Issuer]) -> list[Shape]:
    return [
        *paths("routes", "ordinary patterns"),
        *paths("nasty", "nasty patterns"),
        *cookies(),
        *tokens(issuers),
        *logins(),
        *others(),
    ]


def same(request: Request) -> Requests:
    return lambda port: itertools.repeat(request)


def text(length: int, letters: str) -> str:
    """That many letters, in an order that does not repeat soon."""
    state, letters_of_text = 7, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % (1 << 31)
        letters_of_text.append(letters[(state >> 8) % len(letters)])
    return "".join(letters_of_text)


def paths(site: str, patterns: str) -> list[Shape]:
    def path(length: int, letters: str, start: str = "/") -> Request:
        return Request(start + text(length - len(start), letters))

    public = "/public/" if site == "routes" else "/x/y/z/"
    found = []
    for title, request, http2 in [
        ("2 kB, random", path(2 * KB, LETTERS + "/-.0123456789"), False),
        ("2 kB, one letter", path(2 * KB, "a"), False),
        ("2 kB, of what patterns begin with", Request(("/service-1/v2/x/item" * 110)[: 2 * KB]), False),
        ("2 kB, in percent-encoding", Request("/" + ("%c3%a4" * 400)[: 2 * KB - 2]), False),
        ("2 kB, on a public route, read in three ways", Request((public + "%c3%a4;v=1/" * 200)[: 2 * KB - 6]), False),
        ("4 kB", path(4 * KB, LETTERS + "/-."), False),
        ("90 kB", path(90 * KB, LETTERS + "/-."), False),
        ("2 kB, HTTP/2 with HPACK", path(2 * KB, LETTERS + "/-."), True),
        ("4 kB, HTTP/2 with HPACK", path(INDEXED, LETTERS + "/-."), True),
    ]:
        # It does not matter whether a pattern matches: without a match, the answer is a sign-in.
        found.append(Shape(f"{patterns}: a path of {title}", site, same(request), (200, 302), http2))
    return found


def cookies() -> list[Shape]:
    def cookie(*pairs: tuple[str, str]) -> Requests:
        return same(Request("/x", (("cookie", "; ".join(f"{name}={value}" for name, value in pairs)),)))

    def forged(length: int) -> str:
        """A value in the form of a current signed value."""
        rest = f"|{int(time.time())}|{'a' * 43}="
        return "A" * (length - len(rest)) + rest

    def chunks(length: int) -> list[tuple[str, str]]:
        value = forged(length)
        return [
            (f"{COOKIE}_{number}", value[start : start + 3800]) for number, start in enumerate(range(0, length, 3800))
        ]

    found = []
    for site, sessions in (("plain", "sessions"), ("redis", "tickets")):
        for size in (4 * KB, 60 * KB):
            kb = f"{size // KB} kB"
            found += [
                Shape(f"forged {sessions}: {kb} in one cookie", site, cookie((COOKIE, forged(size - 20)))),
                Shape(f"forged {sessions}: {kb} in chunks", site, cookie(*chunks(size - size // 200))),
                Shape(
                    f"forged {sessions}: {kb} in cookies of 100 bytes",
                    site,
                    cookie(*[(COOKIE, forged(85))] * (size // 101)),
                ),
                Shape(
                    f"forged {sessions}: {kb} in chunks of one byte",
                    site,
                    cookie(*((f"{COOKIE}_{number}", "x") for number in range(size // 22))),
                ),
                # Each first chunk could begin a cookie, and one of them continues through all the others.
                Shape(
                    f"forged {sessions}: {kb} in first chunks, and one of each other",
                    site,
                    cookie(
                        *[(f"{COOKIE}_0", "")] * (size // 42),
                        *((f"{COOKIE}_{number}", "") for number in range(1, size // 42)),
                    ),
                ),
            ]
    for size in (4 * KB, 90 * KB):
        state = "a" * 43
        for title, name in (
            (f"of one name, {size // KB} kB", f"{COOKIE}_{state[:8]}_csrf"),
            (f"of the shared name, {size // KB} kB", f"{COOKIE}_csrf"),
        ):
            length = 352
            value = "; ".join([f"{name}={forged(length)}"] * (size // (length + len(name) + 3)))
            request = Request(f"/oauth2/callback?code=x&state={state}:/", (("cookie", value),))
            found.append(Shape(f"callback: forged cookies of sign-ins {title}", "plain", same(request), (403,)))
        many = "; ".join(f"{COOKIE}_{number:08}_csrf={forged(352)}" for number in range(size // 382))
        found.append(
            Shape(
                f"start: forged cookies of sign-ins, {size // KB} kB",
                "plain",
                same(Request("/oauth2/start", (("cookie", many),))),
            )
        )
    return found


def tokens(issuers: dict[str, Issuer]) -> list[Shape]:
    numbers = itertools.count()
    found = []
    for site, issuer in issuers.items():
        for title, kid in (
            ("without a kid", None),
            ("with an unknown kid", "no-such-key"),
            ("with a known kid", "key-1"),
        ):

            def requests(port: int, issuer: Issuer = issuer, kid: str | None = kid) -> Iterator[Request]:
                for number in numbers:
                    yield Request("/x", (("authorization", f"Bearer {issuer.token(kid, number)}"),))

            found.append(
                Shape(
                    f"forged token {title}, RSA-{issuer.bits}",
                    site,
                    requests,
                    (302, 401, 403, 429, 503),
                    needs_more="a signature of RSA is checked",
                )
            )
        again = Request("/x", (("authorization", f"Bearer {issuer.token(None, 0)}"),))
        found.append(
            Shape(f"one forged token again and again, RSA-{issuer.bits}", site, same(again), (302, 401, 403, 429, 503))
        )
    return found


def logins() -> list[Shape]:
    def guesses(port: int) -> Iterator[Request]:
        client = connect(port)
        answer = client.exchange([Request("/oauth2/start")]).answers[0]
        client.close()
        state = parse_qs(urlsplit(answer.all("location")[0]).query)["state"][0]
        jar = "; ".join(cookie.partition(";")[0] for cookie in answer.all("set-cookie"))
        for number in itertools.count():
            yield Request(f"/oauth2/callback?code=guess-{number}&state={state}", (("cookie", jar),))

    found = [Shape("`/oauth2/start`", site, same(Request("/oauth2/start"))) for site in ("plain", "redis")]
    for site, title in (("plain", "cookie store"), ("redis", "Redis")):
        found.append(
            Shape(
                f"callback: guessed codes, {title}",
                site,
                guesses,
                (403, 429, 502, 503),
                needs_more="the provider is asked",
            )
        )
    return found


def others() -> list[Shape]:
    def long(path: str, size: int) -> Requests:
        return same(Request(path + text(size, LETTERS + "-_")))

    forwarded = tuple((f"x-forwarded-{text(8, LETTERS)}-{number}", "mallory") for number in range(90))
    spelt = tuple((f"x_forwarded_user_{number}", "mallory") for number in range(90))
    found = [
        Shape("`/ready`", "plain", same(Request("/ready")), (200,)),
        Shape("`/ready`, Redis", "redis", same(Request("/ready")), (200,), needs_more="Redis is asked"),
        Shape("90 headers named x-forwarded-…", "plain", same(Request("/x", forwarded))),
        Shape("90 headers named x_forwarded_…", "plain", same(Request("/x", spelt))),
        Shape("90 headers on a public route", "routes", same(Request("/public/x", forwarded)), (200,)),
    ]
    for size in (2 * KB, 4 * KB, 60 * KB):
        kb = f"{size // KB} kB"
        found += [
            Shape(f"a query of {kb}", "plain", long("/x?", size - 10)),
            Shape(f"start: `rd` of {kb}", "plain", long("/oauth2/start?rd=/x?", size - 30)),
            Shape(f"sign_in: `rd` of {kb}", "plain", long("/oauth2/sign_in?rd=/x?", size - 30), (200, 302)),
            Shape(f"sign_out: `rd` of {kb}", "plain", long("/oauth2/sign_out?rd=/x?", size - 30), (200, 302, 403)),
            Shape(
                f"callback: a state of {kb}", "plain", long("/oauth2/callback?code=x&state=a:/x?", size - 40), (403,)
            ),
            Shape(
                f"callback: {kb} of parameters",
                "plain",
                same(Request("/oauth2/callback?" + "a=%41&" * (size // 6))),
                (403,),
            ),
        ]
    return found


def sites(issuers: dict[str, Issuer], redis_url: str) -> dict[str, dict]:
    """Filter JSON by site, without the options of all sites."""
    plain = {"oidc_issuer_url": issuers["bearer"].issuer}
    bearer = {
        name: {"oidc_issuer_url": issuer.issuer, "skip_jwt_bearer_tokens": True} for name, issuer in issuers.items()
    }
    return {
        "plain": plain,
        "routes": {**plain, **ORDINARY},
        "nasty": {**plain, **NASTY},
        "redis": {**plain, "session_store_type": "redis", "redis_connection_url": redis_url},
        **bearer,
    }
