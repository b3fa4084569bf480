"""An identity that a client claims never arrives: in no spelling, as no header and no trailer, on no path.

Envoy speaks to a Recorder, which reports byte for byte what arrived. The list of identity headers is written here a
second time: the names come from oauth2-proxy's documentation, the spellings from CGI (RFC 3875 section 4.1.18) and its
successors. lighttpd's CGI makes `_` of each byte that is not a letter or a digit.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import pytest

from harness.browser import Browser
from harness.envoy import Envoy
from harness.module import exports, imports
from harness.render import named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET, filter_config
from harness.wire import Answer, Fields, Recorder, ask

FORGED = "forged"
IDENTITY = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token",
    "X-Auth-Request-Id-Token",
    "GAP-Auth",
    "X-OAuth2-Session",
    "X-OAuth2-Session-Guard",
]
# The bytes that a name may have besides letters and digits (RFC 9110 section 5.6.2).
SEPARATORS = "-_.~!+#$%&'*^`|"
# Envoy accepts 100 headers.
AT_ONCE = 70


def separated_by(separator: str) -> Callable[[str], str]:
    return lambda name: name.lower().replace("-", separator)


SPELLINGS: dict[str, Callable[[str], str]] = {
    **{separator: separated_by(separator) for separator in SEPARATORS},
    "mixed separators": lambda name: name.lower().replace("-", "_", 1),
}
OF_HTTP1 = {
    "mixed case": lambda name: "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(name)),
    "capitals": str.upper,
}

# The value of `pass_guard_header`.
GUARD = secrets.token_urlsafe(24)
GUARD_HEADER = "x-oauth2-session-guard"

NO_IDENTITY = {"pass_user_headers": False, "pass_basic_auth": False}
KEEPS = {"skip_auth_strip_headers": False}
ROUTES = {"skip_auth_routes": ["^/public$"], "skip_auth_preflight": True}
APP = {
    "mode": "app",
    "login_app_path": "/login",
    "login_app_clusters": ["upstream"],
    "provider_name": None,
    "oidc_issuer_url": None,
    "client_id": None,
}

# The identity headers depend on the options, and so does whether X-Forwarded-User has to arrive.
OPTIONS: dict[str, dict] = {
    "default": {},
    "nothing to set": {**NO_IDENTITY, **KEEPS},
    "basic auth": {"basic_auth_password": "a-password-of-the-upstream", **KEEPS},
    # The app hands over a session without an ID token.
    "no ID token": {**NO_IDENTITY, **KEEPS, **APP, "pass_authorization_header": True},
    "app": APP,
    "redis": {"session_store_type": "redis", "pass_access_token": True, "pass_guard_header": GUARD},
    "redis, the head alone waits": {"session_store_type": "redis"},
}


def folded(name: str) -> str:
    """The name as a reader of CGI variables sees it."""
    return re.sub("[^a-z0-9]", "-", name.lower())


def ours(options: dict) -> list[str]:
    sets_authorization = "basic_auth_password" in options or "pass_authorization_header" in options
    return IDENTITY + (["Authorization"] if sets_authorization else [])


def forged(names: list[str], spellings: dict[str, Callable[[str], str]]) -> list[Fields]:
    """Every name in every spelling, in lots that Envoy accepts. Each lot also has an unrelated name in each spelling,
    which shows that such a spelling arrives."""
    fields = [(spell(name), FORGED) for spell in spellings.values() for name in names]
    lots = [fields[at : at + AT_ONCE] for at in range(0, len(fields), AT_ONCE)]
    return [[*lot, *((spell("X-Other-Groups"), "of-the-client") for spell in spellings.values())] for lot in lots]


def what_was_forged(fields: Fields, names: list[str]) -> Fields:
    all_ours = {folded(name) for name in names}
    return [(name, value) for name, value in fields if folded(name) in all_ours and FORGED in value]


def rendered(upstream_http2: bool = False, *, stop_iteration: bool = False, lacks: str = ""):
    """envoy.yaml with trailers also in HTTP/1.1, and with HTTP/2 to the upstream. Envoy leaves the names to the filter,
    those with `_` too. `lacks` is a function of the host that the filter may not call."""

    def made(filter_json: str, **options: Any) -> str:
        config = json.loads(render(filter_json, **options))
        main = named(config["static_resources"]["listeners"], "main")
        manager = main["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_protocol_options"] = {"enable_trailers": True}
        manager["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW"
        plugin = named(manager["http_filters"], "oauth2_session")["typed_config"]["config"]
        plugin["allow_on_headers_stop_iteration"] = stop_iteration
        if lacks:
            allowed = {name for _, name, _ in imports()} | exports()
            plugin["capability_restriction_config"] = {"allowed_capabilities": {name: {} for name in allowed - {lacks}}}
        protocol = {"http_protocol_options": {"enable_trailers": True}}
        if upstream_http2:
            protocol = {"http2_protocol_options": {}}
        named(config["static_resources"]["clusters"], "upstream")["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol,
            },
        }
        return json.dumps(config)

    return made


class Site:
    """An Envoy with a Recorder behind it, and the cookies of a signed-in user."""

    def __init__(self, envoy: Envoy, options: dict, provider, session: dict):
        self.envoy, self.options = envoy, options
        with Browser(envoy.url) as browser:
            if options.get("mode") == "app":
                handed_over = quote(f"x-oauth2-session:{json.dumps(session)}")
                assert browser.request("POST", f"/login?header={handed_over}").status_code == 200
            else:
                provider.control("redirect_uri", uri=f"{envoy.url}/oauth2/callback")
                browser.sign_in(session["user"])
            self.cookie = browser.cookie
        assert self.cookie

    def ask(
        self, line: str, headers: Sequence = (), trailers: Sequence = (), *, http2: bool, signed_in: bool = True
    ) -> Answer:
        method, _, target = line.partition(" ")
        cookie = [("cookie", self.cookie)] if signed_in else []
        return ask(self.envoy.url, method, target, [*cookie, *headers], trailers=trailers, http2=http2)


ALICE = {"user": "alice", "email": "alice@example.com"}


@contextlib.contextmanager
def site_with(options: dict, provider, *, redis=None, how=None, session: dict = ALICE):
    options = {**ROUTES, **options}
    if options.get("session_store_type") == "redis":
        options["redis_connection_url"] = redis.url
    environment = {"OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}
    if options.get("client_id", "") is not None:
        environment["OAUTH2_PROXY_CLIENT_SECRET"] = CLIENT_SECRET
    upstream = Recorder()
    envoy = Envoy(
        filter_config(provider, **options),
        upstream=upstream.address,
        environment=environment,
        render=how or rendered(),
        wasm_log_level="debug",
    )
    try:
        yield Site(envoy, options, provider, session)
        assert not envoy.crashes()
    finally:
        envoy.stop()
        upstream.close()


@pytest.fixture(
    scope="module",
    params=itertools.product(OPTIONS, [False, True]),
    ids=lambda param: f"{param[0]} - upstream HTTP/{2 if param[1] else 1}",
)
def site(request, shared_provider, shared_redis):
    name, upstream_http2 = request.param
    shared_provider.reset()
    how = rendered(upstream_http2, stop_iteration="head alone" in name)
    with site_with(OPTIONS[name], shared_provider, redis=shared_redis, how=how) as site:
        yield site


@pytest.fixture(params=[False, True], ids=["HTTP/1", "HTTP/2"])
def http2(request):
    return request.param


# Each way through the filter, and whether the client is signed in.
WAYS = {
    "protected": ("GET /private", True),
    "protected, with a body": ("POST /private", True),
    "skipped, signed in": ("GET /public", True),
    "skipped": ("GET /public", False),
    "preflight": ("OPTIONS /private", False),
    "preflight, signed in": ("OPTIONS /private", True),
    "login": ("GET /login", False),
}


@pytest.mark.parametrize("where", ["header", "trailer"])
@pytest.mark.parametrize("way", WAYS)
def test_claimed_identity_never_arrives(way, where, http2, site):
    names = ours(site.options)
    line, signed_in = WAYS[way]
    is_exception = way == "skipped" and site.options.get("skip_auth_strip_headers") is False
    seen = set()
    for lot in forged(names, SPELLINGS if http2 else SPELLINGS | OF_HTTP1):
        answer = site.ask(line, http2=http2, signed_in=signed_in, **{f"{where}s": lot})
        if way == "login" and "login_app_path" not in site.options:
            assert (answer.status, answer.arrived) == (302, None)
            return
        assert answer.status in (200, 101), answer
        arrived = answer.arrived
        assert not what_was_forged(arrived["trailers"], names)
        if is_exception:
            # The documented exception.
            assert bool(what_was_forged(arrived["headers"], names)) is (where == "header")
        else:
            assert not what_was_forged(arrived["headers"], names)
        said = dict(arrived["headers"])
        if "pass_guard_header" in site.options:
            assert [value for name, value in arrived["headers"] if folded(name) == GUARD_HEADER] == [GUARD]
        if signed_in and site.options.get("pass_user_headers", True):
            assert (said["x-forwarded-user"], said["x-forwarded-email"]) == ("alice", "alice@example.com")
        elif not is_exception:
            assert "x-forwarded-user" not in said
        if "basic_auth_password" in site.options and signed_in:
            assert said["authorization"].startswith("Basic ")
        seen |= {name.lower() for part in arrived.values() for name, value in part if value == "of-the-client"}
    # Envoy itself removes none of these spellings, so the filter did.
    assert {spell("X-Other-Groups").lower() for spell in SPELLINGS.values()} <= seen


def test_capitals_in_http2_names_are_malformed(site):
    # RFC 9113 section 8.2.1. However Envoy handles it, no identity header arrives.
    names = ours(site.options)
    for name, where in itertools.product(names, ["headers", "trailers"]):
        arrived = site.ask("GET /private", http2=True, **{where: [(name, FORGED)]}).arrived
        assert not what_was_forged([pair for pairs in (arrived or {}).values() for pair in pairs], names)


# ---- headers that `connection` asks the next proxy to drop ----


@pytest.fixture(scope="module")
def plain(shared_provider):
    shared_provider.reset()
    with site_with({"basic_auth_password": "a-password-of-the-upstream"}, shared_provider) as site:
        yield site


UPGRADE = ("upgrade", "websocket")


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (["Upgrade, X-Forwarded-User"], "Upgrade"),
        (["x.forwarded_groups,Upgrade,  keep-alive"], "Upgrade, keep-alive"),
        (["Upgrade", "X-FORWARDED-EMAIL", "authorization"], "Upgrade"),
        (["Upgrade, x X-Forwarded-User"], "Upgrade"),
        (["Upgrade, X-Forwarded-For"], "Upgrade, X-Forwarded-For"),
    ],
)
def test_client_cannot_remove_identity_by_connection_header(connection, expected, plain):
    answer = plain.ask("GET /private", [*(("connection", value) for value in connection), UPGRADE], http2=False)
    headers = dict(answer.arrived["headers"])
    assert (answer.status, headers["connection"], headers["x-forwarded-user"]) == (101, expected, "alice")
    assert headers["upgrade"] == "websocket"


def test_envoy_ignores_nominated_headers_without_an_upgrade(plain):
    # Envoy does this by itself; otherwise the filter would have to read more than `connection`.
    nominated = [(name, "x-forwarded-user") for name in ("connection", "keep-alive", "proxy-connection")]
    for more in ([], [UPGRADE, ("connection", "upgrade")]):
        headers = plain.ask("GET /private", [*nominated, *more, ("te", "trailers, x-forwarded-user")], http2=False)
        headers = dict(headers.arrived["headers"])
        assert headers["x-forwarded-user"] == "alice"
        assert {name: headers.get(name, "") for name, _ in nominated} == {
            "connection": "upgrade" if more else "",
            "keep-alive": "",
            "proxy-connection": "",
        }


# ---- trailers that cannot be removed, and trailers of a response ----


@pytest.mark.parametrize("upstream_http2", [False, True], ids=["upstream HTTP/1", "upstream HTTP/2"])
def test_trailers_that_cannot_be_removed_end_the_request(shared_provider, upstream_http2, http2):
    without_removal = rendered(upstream_http2, lacks="proxy_remove_header_map_value")
    with site_with({}, shared_provider, how=without_removal) as site:
        assert site.ask("POST /private", trailers=[("x-other", "1")], http2=http2).arrived["trailers"] == [
            ("x-other", "1")
        ]
        answer = site.ask("POST /private", trailers=[("x-forwarded-user", FORGED)], http2=http2)
        assert (answer.status, answer.arrived) == (0, None)
        # The same as for a header.
        assert site.ask("POST /private", [("x-forwarded-user", FORGED)], http2=http2).status == 503


@pytest.mark.parametrize("upstream_http2", [False, True], ids=["upstream HTTP/1", "upstream HTTP/2"])
def test_session_in_a_trailer_does_not_reach_the_browser(shared_provider, upstream_http2):
    session = json.dumps({"user": "root", "access_token": "a-token-in-a-trailer"})
    with site_with(APP, shared_provider, how=rendered(upstream_http2)) as site:
        for name, http2 in itertools.product(["x-oauth2-session", "x.oauth2_session"], [False, True]):
            late = quote(f"{name}:{session}")
            headers = [("te", "trailers")]
            answer = site.ask(f"GET /login?trailer={late}&trailer=x-late:1", headers, http2=http2, signed_in=False)
            assert (answer.status, answer.body, answer.trailers) == (200, b"body", [("x-late", "1")])
            assert "set-cookie" not in dict(answer.headers)
            answer = site.ask(f"GET /private?header={late}&trailer=x-late:1", headers, http2=http2)
            assert not [name for name, _ in answer.headers if "session" in name]
        assert site.envoy.counters()["handed_over_dropped"] == 8
        assert site.envoy.says("a session in the trailers of a response was dropped")


def test_session_header_in_another_spelling_is_the_same_header(shared_provider):
    session = quote('x_OAuth2.Session:{"user": "bob"}')
    with site_with(APP, shared_provider) as site:
        answer = site.ask(f"GET /login?header={session}", http2=False, signed_in=False)
        assert not [name for name, _ in answer.headers if "session" in name.lower()]
        cookie = dict(answer.headers)["set-cookie"].partition(";")[0]
        answer = site.ask("GET /private", [("cookie", cookie)], http2=False, signed_in=False)
        assert dict(answer.arrived["headers"])["x-forwarded-user"] == "bob"


# ---- identities that cannot be written into a header ----


def test_identity_that_no_header_can_carry_is_omitted_and_logged_once(shared_provider):
    session = {"user": "ad:min", "email": "admin@example.com", "groups": ["staff", "CN=admins,DC=example"]}
    options = {**APP, "basic_auth_password": "a-password-of-the-upstream", "allowed_groups": ["CN=admins,DC=example"]}
    with site_with(options, shared_provider, session=session) as site:
        for number in range(5):
            forged = [("authorization", FORGED), ("x-forwarded-groups", "CN=admins,DC=example")]
            headers = dict(site.ask(f"GET /private?{number}", forged, http2=False).arrived["headers"])
            assert (headers["x-forwarded-user"], headers["x-forwarded-groups"]) == ("ad:min", "staff")
            assert "authorization" not in headers
        lines = site.envoy.says("a header cannot carry the exact value: authorization, 1 of its groups")
        assert len(lines) == 1, "more than one line for a session"
    with site_with({**options, "groups_header_separator": "|"}, shared_provider, session=session) as site:
        headers = dict(site.ask("GET /private", http2=False).arrived["headers"])
        assert headers["x-forwarded-groups"] == "staff|CN=admins,DC=example"
