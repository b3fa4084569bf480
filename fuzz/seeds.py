"""What the fuzzer begins with: what other implementations wrote, from the vectors of the tests.

`make fuzz-corpus` keeps of it, and of what fuzzing found, what reaches code that nothing else reaches.
"""

import json
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROXY = json.loads((ROOT / "tests/vectors/oauth2-proxy.json").read_text())
OIDC = json.loads((ROOT / "tests/vectors/oidc.json").read_text())
ISSUER = "https://login.example.com"


def cookie(set_cookie):
    return set_cookie.split(";")[0].encode()


def dump(value):
    return json.dumps(value).encode()


def bridge():
    def frame(message):
        return b"\0" + struct.pack(">I", len(message)) + message

    yield b"\x03" + frame(b"*1\r\n$4\r\nPING\r\n") + frame(b"") + frame(b"x")
    yield b"\xff" + frame(b"cut")[:-1]
    yield b"\x01\x01\0\0\0\0"
    yield b"\x10/oauth2_session.Redis/tcp"


def claims():
    base = {"iss": ISSUER, "sub": "248289761001", "aud": "s6BhdRkqt3", "nonce": "n-0S6_WzA2Mj"}
    times = {"iat": 1700000000, "nbf": 1700000000.5, "exp": 1700003600}
    person = {"email": "a@example.com", "email_verified": True, "groups": ["a", {"b": 1}], "name": "A", "upn": "a"}
    roles = {"realm_access": {"roles": ["r"]}, "resource_access": {"shop": {"roles": ["admin"]}}}
    entra = {"tid": "t", "_claim_names": {"groups": "src1"}, "hasgroups": True}
    yield dump(base | times)
    yield dump(base | times | person | roles | entra | {"address": {"locality": "x"}, "azp": "s6BhdRkqt3"})
    yield dump(base | {"aud": ["x", "s6BhdRkqt3"], "exp": 1.7e9, "azp": None})


def config():
    for file in sorted((ROOT / "envoy-config").glob("filter*.json")):
        if file.name != "filter.schema.json":
            yield file.read_bytes()
    options = json.loads((ROOT / "envoy-config/filter.schema.json").read_text())["properties"]
    least = {
        "oidc_issuer_url": ISSUER,
        "client_id": "my-service",
        "client_secret": "hush-hush-hush",
        "cookie_secret": "0123456789abcdef",
        "email_domains": ["example.com"],
    }
    yield dump(least)
    yield dump({"oidc_issuer_url": ISSUER, "client_id": "x"}) + b"\0OAUTH2_PROXY_COOKIE_SECRET=0123456789abcdef"
    samples = {"boolean": True, "integer": 7, "array": ["^/a", "https://a.example=b"], "string": "15m"}
    for name, option in options.items():
        kind = option.get("type", "string")
        sample = option.get("default", samples[kind if isinstance(kind, str) else kind[0]])
        yield dump(least | {name: sample})
        yield dump(least | {name: option.get("enum", [samples["string"]])[-1]})
    redis = {"session_store_type": "redis"}
    yield dump(least | redis | {"redis_connection_url": "rediss://user:password@redis:6379/1"})
    yield dump(
        least
        | redis
        | {
            "redis_use_sentinel": True,
            "redis_sentinel_master_name": "main",
            "redis_sentinel_connection_urls": ["redis://a", "redis://b:26379"],
        }
    )
    yield dump(least | redis | {"redis_use_cluster": True, "redis_cluster_connection_urls": ["redis://a:7000"]})


def cookies():
    full, minimal = cookie(PROXY["cookie_store_full"]["set_cookie"][0]), cookie(PROXY["cookie_store_minimal"][0])
    ticket = cookie(PROXY["ticket_store"]["set_cookie"][0])
    yield full
    yield b"a=1; " + minimal + b'; b="2"\n' + ticket
    name, value = full.split(b"=", 1)
    yield b"; ".join(
        name + b"_%d=%s" % (number, value[at : at + 200]) for number, at in enumerate(range(0, len(value), 200))
    )
    yield b"_oauth2_proxy_1=b; _oauth2_proxy_0=a; _oauth2_proxy_csrf=x; _oauth2_proxy_Yw3NKWbE_csrf=y"


def flow():
    start, callback = b"> GET /oauth2/start?rd=/x%3Fa\n", b"> GET /oauth2/callback?code=alice&state={state}\n"
    sign_in = start + b"cookie: {jar}\n" + callback + b"cookie: {jar}\n"
    page = b"> GET /x\ncookie: {jar}\n"
    for number in b"0", b"1", b"2", b"3", b"6", b"7":
        yield number + b"\n" + sign_in + page + b"x-forwarded-user: root\nX_Forwarded_Groups: admins\n"
        out = b"> GET /oauth2/sign_out?rd=https://a.example.net/\ncookie: {jar}\n"
        yield number + b"\n" + sign_in + out + page + sign_in + b"> GET /oauth2/sign_in\ncookie: {jar}\n" + page
        two = b">> GET /a\ncookie: {old}\n" * 2 + b"! ms 50\n> GET /oauth2/userinfo\ncookie: {old}\n"
        yield number + b"\n" + two + b"! finish\n" + page + b"! wait 7200\n" + page
        refused = b'! answer /token 400 {"error":"invalid_grant"}\n'
        yield number + b"\n" + sign_in + refused + b"! wait 3600\n" + page + b"! provider down\n" + sign_in
        yield (
            number
            + b"\n> GET /oauth2/auth\ncookie: {session}\n>> GET /oauth2/sign_out\ncookie: {old}\n>> GET /\ncookie: {old}\n! drop\n! finish\n"
        )
        yield (
            number
            + b"\n> GET /oauth2/sign_out?rd=//evil.example\n> GET /oauth2/sign_in\nx-auth-request-redirect: /\\evil\n> GET /oauth2/callback?error=access_denied&state={state}\n"
        )
        token = b"authorization: Bearer {token}\n"
        yield (
            number
            + b"\n> GET /api/\n"
            + token
            + b"> OPTIONS /\n"
            + token
            + b"> GET /public/..%2f\naccept: application/json\n> GET /public/a\nx-forwarded-email: r\n"
        )
    for number in b"1", b"3", b"7":
        yield (
            number
            + b"\n> GET /ready\n! redis down\n"
            + sign_in
            + page
            + b"! redis up\n! wait 2\n"
            + sign_in
            + b"! redis break\n"
            + page
        )
        yield (
            number
            + b"\n"
            + sign_in
            + b"! redis says $-1~\n"
            + page
            + b"! redis says -READONLY x~\n"
            + page
            + b"! redis delay 3000\n>> GET /\ncookie: {old}\n! drop\n> GET /ready\n"
        )
    yield b"4\n> GET /oauth2/start\nx-forwarded-user: root\n> GET /oauth2/static/../x\n> GET /\ncookie: {session}\n> GET /oauth2/auth\n> GET /x\ncookie: _oauth2_proxy=junk\n"
    yield b'5\n! hand {"user":"carol","email":"carol@example.com","expires_in":60}\n> POST /login\n> GET /x\ncookie: {jar}\n> GET /\n! hand {"user":"x"}\n> GET /\ncookie: {session}\n> GET /oauth2/sign_out\ncookie: {jar}\n'
    for name in b"grpc", b"grpc-web", b"connect+json":
        http, kind = b"x-forwarded-proto: http\n", b"content-type: application/" + name + b"\n"
        yield b"6\n> GET /oauth2/auth\n" + http + kind + b"> GET /oauth2/auth/\n" + kind + b"> GET /x\n" + http + kind
        yield b"6\n> CONNECT\n:authority: x:443\n" + kind + b"> CONNECT\n:authority: x:443\n" + http + kind


def head():
    def block(*pairs):
        lengths = b"".join(struct.pack("<II", len(name), len(value)) for name, value in pairs)
        texts = b"".join(name + b"\0" + value + b"\0" for name, value in pairs)
        return struct.pack("<I", len(pairs)) + lengths + texts

    yield block(
        (b":method", b"GET"),
        (b":path", b"/a?rd=%2Fb+c&rd=d"),
        (b":authority", b"app.example.com"),
        (b":scheme", b"https"),
        (b"x-forwarded-proto", b"http"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    )
    yield block((b"a", b"1"))[:-3]
    yield b"\xff\xff\xff\xff" + b"\0" * 16


def id_token():
    yield from (token.encode() for token in OIDC["tokens"].values())
    yield OIDC["small_rsa"]["token"].encode()


def jwks():
    yield dump({"keys": OIDC["keys"]})
    yield from (dump({"keys": [key | {"alg": "ES256"}]}) for key in OIDC["keys"] + [OIDC["small_rsa"]["key"]])


def lz4():
    yield from (bytes.fromhex(case["lz4_hex"]) for case in PROXY["lz4"])
    edge = PROXY["lz4_edge"]
    good = bytes.fromhex(edge["good_hex"])
    yield from (bytes.fromhex(edge[name]) for name in ("70000x_hex", "empty_input_frame", "good_hex"))
    yield b"\x50\x2a\x4d\x18\x03\0\0\0abc" + good + good
    yield good[:-4]


def metadata():
    document = {
        "issuer": ISSUER,
        "authorization_endpoint": ISSUER + "/authorize?a=b",
        "token_endpoint": ISSUER + ":8443/token",
        "jwks_uri": ISSUER + "/jwks",
        "userinfo_endpoint": ISSUER + "/userinfo",
        "end_session_endpoint": ISSUER + "/end",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "none"],
    }
    yield dump(document)
    yield dump(document | {"issuer": "https://other.example", "token_endpoint": "http://[::1]:1/"})


def msgpack():
    yield from (bytes.fromhex(case["hex"]) for case in PROXY["msgpack"])
    yield bytes.fromhex(PROXY["csrf_msgpack_hex"])
    yield bytes.fromhex(PROXY["csrf_noverifier_msgpack_hex"])


def pattern():
    yield b"^/public/\n^\\/public\\/[a-z_\\-]+\\.(?:css|js)$\n/public/a-b_c.css"
    yield b"(?i)^/a.*b$\n(?m)a$|^b\n(?s)^.$\nab\n/AxB"
    yield rb"^[[:^alpha:]0-9\x{2f}]+\b(|a)*?$" + b"\n^a{2,3}?(?-i:b)\\B\\d\\z\n/a12"
    yield "^[\u00e4-\u00f6]$\n^[^]a]$\n\u00ef".encode()


def redirect():
    allowed = (
        "/x?a=b#c",
        "https://x.b.example/",
        "http://a.example",
        "https://port.example:8443/",
        "https://any.example:1/x",
    )
    refused = (
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "https://a.example@evil.example/",
        "/./\\evil",
    )
    yield from (target.encode() for target in allowed + refused)
    yield b"/\t/evil.example"
    yield b"https://b.example/?t={id_token}"


def redis():
    def bulk(text):
        return b"$%d~%s~" % (len(text), text)

    yield b"1\ng0\nw1\nl2\no0\na0 0\na0 0\np100\nx0\ng1\nk0\np500\no0\na0 1\na0 3"
    yield b"1\ng0\no0\nr0 -NOAUTH x~\np2500\ng1\no0\na0 0\nr0 $5~ab\nr0 cde~\nr0 !~"
    yield b"s\ng0\no0\na0 0\na0 0\no0\na0 0\na0 0\na0 0\nl1\na0 5\np100\na0 0"
    message = b"*3~" + bulk(b"message") + bulk(b"+switch-master") + bulk(b"main s3 7000 s4 7000")
    yield b"s\ng0\no0\na0 0\na0 0\nr1 " + message + b"\nr0 " + message + b"\np300\no0\na0 0\nw0\na0 0"
    yield b"c\ng0\no0\na0 0\na0 0\no0\na0 0\na0 0\ng1\ng2\na0 7\na0 8\na1 9\no0\na0 0\na0 0"
    slots = b"*1~*3~:0~:16383~*2~" + bulk(b"s9") + b":7000~"
    node = bulk(b"endpoint") + bulk(b"?") + bulk(b"port") + b":7000~" + bulk(b"role") + bulk(b"master")
    shards = b"*1~*4~" + bulk(b"slots") + b"*2~:0~:16383~" + bulk(b"nodes") + b"*1~*6~" + node
    yield (
        b"c\ng0\no0\na0 0\nr0 " + shards + b"\nr0 " + slots + b"\np100\no0\na0 0\nr0 -MOVED 1 s5:7000~\np100\no0\na0 0"
    )
    for lie in b"r0 -MOVED 1 s5:7000~", b"r0 -ASK 1 10.0.0.9:7000~", b"a0 2":
        yield b"C\ng0\no0\na0 0\na0 0\no0\na0 0\n" + lie + b"\np100\no0\na0 0\na0 0"
    yield b"S\ng0\no0\na0 0\na0 2\no0\na0 0\na0 0\nr1 " + message.replace(b"s4", b"s9") + b"\np300\no0\na0 2"
    yield b"c\nl0\no0\na0 0\na0 0\nr0 -ASK 1 s6:7000~\no0\na0 0\na0 0\nr0 -CLUSTERDOWN x~\np1000\na0 1\nk0\nk1"


def split():
    yield b"app.example.com\n" + b"session"
    yield b"app.example.com\n" + bytes(range(256)) * 4
    yield b"sub.example.com:8443\nx"


def ticket():
    value = bytes.fromhex(PROXY["ticket_store"]["redis_value_hex"])
    yield PROXY["ticket_plain"].encode() + b"\n" + value
    yield b"_oauth2_proxy-000102030405060708090a0b0c0d0e0f.EBESExQVFhcYGRobHB0eHw\n" + value
    yield b"v2.YQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"


def token_response():
    tokens = {"token_type": "bearer", "access_token": "a", "refresh_token": "r", "id_token": "i", "expires_in": 3600}
    yield struct.pack(">H", 200) + dump(tokens)
    yield struct.pack(">H", 200) + dump(tokens | {"expires_in": "3600.5", "token_type": "mac"})
    yield from (
        struct.pack(">H", status) + dump({"error": error})
        for status, error in ((400, "invalid_grant"), (401, "invalid_client"), (503, "temporarily_unavailable"))
    )


def userinfo():
    yield OIDC["tokens"]["EdDSA"].encode()
    yield dump({"sub": "alice", "email": "b@example.com", "email_verified": "false", "groups": "a"})
    yield dump({"preferred_username": "A", "groups": ["a", 1, None], "sub": 7})


TARGETS = (
    bridge,
    claims,
    config,
    cookies,
    flow,
    head,
    id_token,
    jwks,
    lz4,
    metadata,
    msgpack,
    pattern,
    redirect,
    redis,
    split,
    ticket,
    token_response,
    userinfo,
)


def write(folder):
    """The seeds of every target, each in a folder of its name."""
    for target in TARGETS:
        place = Path(folder) / target.__name__
        place.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target()):
            (place / f"seed-{number}").write_bytes(seed)
