"""Connections to Redis: user, database and TLS, connections that close, and servers that lie."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harness.authority import Authority
from harness.envoy import tells_what_is_wrong_with_certificates
from harness.fake_redis import FakeRedis, bulk, default_answer
from harness.ports import HOST, free_port
from harness.service import arrived, assert_unavailable
from harness.tracking import TRACKED, both_ways

PASSWORD = "correct-horse-battery-staple"
WRONG = "wrong-horse-battery-staple"
# The commands that the filter sends, as rights of an ACL user.
COMMANDS = "+ping +get +setex +set +del +eval +pexpire +client|setname"
# What it needs besides so that Redis tells of changes.
TRACKING = "+client|tracking +pttl"


def sign_in(running):
    browser = running.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    return browser


def assert_no_sign_in(running) -> None:
    """Redis refuses the filter: no user gets in, and the code of a sign-in is not used up in vain."""
    browser = running.browser()
    assert_unavailable(browser.get("/ready"))
    assert_unavailable(browser.get(browser.callback_url()))
    assert browser.get("/echo").status_code == 302


# ---- the user of the filter ----


def test_password_of_redis_in_the_environment_is_used(with_redis, make_redis):
    redis = make_redis(password=PASSWORD)
    sign_in(with_redis(redis, redis_password=PASSWORD))
    assert len(redis.keys()) == 1


def test_password_of_redis_in_the_url_is_used(with_redis, make_redis):
    redis = make_redis(password=PASSWORD)
    sign_in(with_redis(redis, redis_connection_url=f"redis://:{PASSWORD}@127.0.0.1:{redis.port}"))


@pytest.mark.parametrize("password", [WRONG, None], ids=["wrong", "missing"])
def test_wrong_password_of_redis_is_an_outage(password, with_redis, make_redis):
    redis = make_redis(password=PASSWORD)
    running = with_redis(redis, redis_password=password)
    assert_no_sign_in(running)
    assert running.envoy.says("refused the credentials")
    # After a repair at the server, it works without a restart of Envoy.
    redis.command("CONFIG", "SET", "requirepass", password or "")
    redis.password = password
    assert eventually_200(running.browser(), "/ready")
    sign_in(running)


def eventually_200(browser, path: str, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while browser.get(path).status_code != 200:
        assert time.monotonic() < deadline, f"{path} does not recover"
        time.sleep(0.1)
    return True


@pytest.fixture
def commands(redis_tracking):
    """The rights that the filter needs."""
    return f"{COMMANDS} {TRACKING}" if redis_tracking is TRACKED else COMMANDS


@both_ways
def test_acl_user_with_minimal_rights_signs_in(with_redis, make_redis, commands, provider):
    redis = make_redis(user=[f"filter on >{PASSWORD} ~_oauth2_proxy-* {commands}"])
    running = with_redis(redis, redis_username="filter", redis_password=PASSWORD, cookie_refresh="1s")
    browser = sign_in(running)
    time.sleep(1.1)
    assert browser.get("/echo").status_code == 200
    assert len(provider.seen("token", "refresh_token")) == 1
    assert redis.command("ACL", "LOG") == [], "an ACL refused a command"
    assert browser.get("/oauth2/sign_out").status_code == 200
    assert redis.keys() == []


def test_acl_user_with_a_wrong_password_is_an_outage(with_redis, make_redis):
    redis = make_redis(user=[f"filter on >{PASSWORD} ~* +@all"])
    assert_no_sign_in(with_redis(redis, redis_username="filter", redis_password=WRONG))


def with_acl_user(with_redis, redis, **options):
    return with_redis(redis, redis_username="filter", redis_password=PASSWORD, **options)


@both_ways
def test_acl_user_without_get_is_an_outage(with_redis, make_redis, commands, remember, assert_outage):
    redis = make_redis(user=[f"filter on >{PASSWORD} ~* {commands}"])
    running = with_acl_user(with_redis, redis)
    browser = sign_in(running)
    remember(running, browser)
    redis.command("ACL", "SETUSER", "filter", "-get")
    assert_outage(browser)
    assert_unavailable(browser.get("/echo"))
    assert_unavailable(browser.get("/oauth2/auth"))
    redis.command("ACL", "SETUSER", "filter", "+get")
    assert browser.get("/echo").status_code == 200


def test_acl_user_without_write_refuses_sign_ins_and_keeps_sessions(with_redis, make_redis, commands):
    redis = make_redis(user=[f"filter on >{PASSWORD} ~* {commands}"])
    running = with_acl_user(with_redis, redis)
    browser = sign_in(running)
    redis.command("ACL", "SETUSER", "filter", "-setex")
    newcomer = running.browser()
    answer = newcomer.get(newcomer.callback_url())
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert newcomer.get("/echo").status_code == 302
    assert browser.get("/echo").status_code == 200


@pytest.mark.parametrize("command", ["set", "eval"])
def test_acl_user_without_lock_loses_no_session(command, with_redis, make_redis, commands, provider):
    """Without EVAL, a lock ends with its lease; without SET, no session is refreshed and all go on."""
    redis = make_redis(user=[f"filter on >{PASSWORD} ~* {commands}"])
    running = with_acl_user(with_redis, redis, cookie_refresh="1s")
    browser = sign_in(running)
    redis.command("ACL", "SETUSER", "filter", f"-{command}")
    time.sleep(1.1)
    answers = [browser.get("/echo").status_code for _ in range(3)]
    assert answers == [200] * 3
    assert len(provider.seen("token", "refresh_token")) == (1 if command == "eval" else 0)


# ---- which database ----


def test_database_of_the_url_is_used(with_redis, redis):
    sign_in(with_redis(redis, redis_connection_url=f"{redis.url}/3"))
    assert redis.keys() == []
    assert len(redis.keys(database=3)) == 1


def test_missing_database_is_an_outage(with_redis, redis):
    running = with_redis(redis, redis_connection_url=f"{redis.url}/16")
    assert_no_sign_in(running)
    assert running.envoy.says("DB index is out of range")
    assert redis.keys() == [], "a session was stored in another database"


# ---- TLS ----


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.make(tmp_path_factory.mktemp("authority") / "right")


@pytest.fixture
def tls_redis(make_redis, authority):
    """A Redis with TLS, and certificates for a host: `tls_redis(host)`."""

    def make(host: str = "localhost", by: Authority = authority, **options: Any):
        return make_redis(certificate=by.issue(host), **options)

    return make


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_server_with_a_valid_certificate_is_trusted(host, with_redis, tls_redis, authority):
    redis = tls_redis(host, password=PASSWORD)
    url = f"rediss://{host}:{redis.tls_port}"
    sign_in(with_redis(redis, redis_connection_url=url, redis_password=PASSWORD, ca=authority.file))
    assert len(redis.keys()) == 1


@pytest.fixture
def wrong_authority(tmp_path):
    return Authority.make(tmp_path / "wrong")


@pytest.mark.parametrize(
    "asked, named",
    [
        ("localhost", "elsewhere.example"),
        ("127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "localhost"),
        ("localhost", "127.0.0.1"),
    ],
)
def test_certificate_for_another_host_is_refused(asked, named, with_redis, tls_redis, authority):
    redis = tls_redis(named)
    with redis.monitor() as monitor:
        running = with_redis(redis, redis_connection_url=f"rediss://{asked}:{redis.tls_port}", ca=authority.file)
        assert_no_sign_in(running)
        assert running.envoy.says("Redis does not answer (")
        assert monitor.commands() == [], "a command was sent in spite of the certificate"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_certificate_of_another_authority_is_refused(host, with_redis, tls_redis, wrong_authority, authority):
    redis = tls_redis(host, by=wrong_authority)
    with redis.monitor() as monitor:
        running = with_redis(redis, redis_connection_url=f"rediss://{host}:{redis.tls_port}", ca=authority.file)
        assert_no_sign_in(running)
        assert running.envoy.says("Redis does not answer (")
        assert monitor.commands() == []


# Envoy reports the error of a host's last address: so this host has only one.
@pytest.mark.parametrize(
    "fault, reason",
    [
        ("expired", "certificate has expired"),
        ("authority", "unable to get local issuer certificate"),
        ("name", "verify SAN list"),
    ],
)
def test_log_says_why_a_certificate_is_refused(fault, reason, with_redis, make_redis, authority, wrong_authority):
    by = wrong_authority if fault == "authority" else authority
    certificate = by.issue("elsewhere.example" if fault == "name" else HOST, expired=fault == "expired")
    redis = make_redis(certificate=certificate)
    running = with_redis(redis, redis_connection_url=f"rediss://{HOST}:{redis.tls_port}", ca=authority.file)
    assert running.browser().get("/ready").status_code == 503
    lines = running.envoy.says(f"Redis: no connection to {HOST}:{redis.tls_port}: Redis does not answer (")
    reason = reason if tells_what_is_wrong_with_certificates() else ""
    assert lines and all("CERTIFICATE_VERIFY_FAILED" in line and reason in line for line in lines), lines


def test_log_says_why_there_is_no_connection(with_redis, redis):
    for host, reason in (
        (f"{HOST}:{free_port()}", "Connection refused"),
        (f"redis.invalid:{redis.port}", "DNS resolution failure"),
    ):
        running = with_redis(redis, redis_connection_url=f"redis://{host}")
        assert running.browser().get("/ready").status_code == 503
        lines = running.envoy.says(f"Redis: no connection to {host}: Redis does not answer (")
        assert lines and all(reason in line for line in lines), lines


@pytest.mark.parametrize("scheme", ["rediss", "redis"])
def test_certificate_is_not_checked_if_configured(scheme, with_redis, tls_redis, wrong_authority, authority):
    redis = tls_redis("elsewhere.example", by=wrong_authority)
    sign_in(
        with_redis(
            redis,
            redis_connection_url=f"{scheme}://127.0.0.1:{redis.tls_port}",
            redis_insecure_skip_tls_verify=True,
            ca=authority.file,
        )
    )
    assert len(redis.keys()) == 1


def test_plain_connection_to_a_tls_port_is_an_outage(with_redis, tls_redis):
    redis = tls_redis()
    assert_no_sign_in(with_redis(redis, redis_connection_url=f"redis://localhost:{redis.tls_port}"))


def test_tls_connection_to_a_plain_port_is_an_outage(with_redis, redis, authority):
    running = with_redis(redis, redis_connection_url=f"rediss://localhost:{redis.port}", ca=authority.file)
    assert_no_sign_in(running)
    # The server waits for the end of a line.
    assert running.envoy.says(f"Redis: no connection to localhost:{redis.port}: Redis does not answer")


def test_unknown_host_name_is_an_outage(with_redis, redis):
    assert_no_sign_in(with_redis(redis, redis_connection_url=f"redis://redis.invalid:{redis.port}"))


# ---- how many connections, and for how long ----


def test_worker_uses_one_connection_for_all_requests(with_redis, make_redis):
    redis = make_redis()
    running = with_redis(redis)
    browsers = [sign_in(running) for _ in range(3)]
    assert {browser.get("/echo").status_code for browser in browsers * 5} == {200}
    assert len(redis.clients()) == 1


def test_server_without_free_connections_is_an_outage(with_redis, make_redis):
    redis = make_redis(maxclients=1)
    running = with_redis(redis)
    browser = running.browser()
    with redis.connect() as taken:
        taken.command("PING")
        assert_unavailable(browser.get("/ready"))
        assert running.envoy.says("max number of clients")
    assert eventually_200(browser, "/ready")
    sign_in(running)


def test_connection_closed_by_redis_fails_no_request(with_redis, make_redis):
    redis = make_redis(timeout=2)
    browser = sign_in(with_redis(redis))
    for _ in range(2):
        closed = redis.closed_for_being_idle()
        wait_until(lambda: redis.closed_for_being_idle() > closed, "Redis closed nothing; then this tests nothing")
        assert browser.get("/echo").status_code == 200


def test_filter_closes_idle_connections_before_redis(with_redis, make_redis):
    redis = make_redis(timeout=2)
    browser = sign_in(with_redis(redis, redis_connection_idle_timeout=1))
    for _ in range(2):
        time.sleep(4)
        assert redis.clients() == []
        assert browser.get("/echo").status_code == 200
    assert redis.closed_for_being_idle() == 0


def test_connection_killed_by_an_operator_fails_no_request(with_redis, redis):
    browser = sign_in(with_redis(redis))
    for _ in range(5):
        redis.command("CLIENT", "KILL", "TYPE", "normal")
        assert browser.get("/echo").status_code == 200


def wait_until(is_so, otherwise: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


# ---- broken servers, by a script: a real one never gives such replies ----

FLOOD = b"+" + b"x" * (1 << 20)


def flood(piece: bytes, times: int = 64):
    return (piece for _ in range(times))


@pytest.fixture(scope="module")
def shared_fake():
    server = FakeRedis()
    yield server
    server.close()


@pytest.fixture
def fake(shared_fake):
    """The script, with its default answers."""
    shared_fake.answer = default_answer
    return shared_fake


def answer_to(command: bytes, answer):
    """A server that answers one command in another way."""
    return lambda words: answer(words) if words[0].upper() == command else default_answer(words)


LIES = {
    "garbage": lambda _: b"\x00\xff\xfe garbage \r\n" * 20,
    "http": lambda _: b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    "a type of RESP3": lambda _: b"%1\r\n+a\r\n+b\r\n",
    "a huge length": lambda _: b"$9223372036854775807\r\n" + b"x" * 1000,
    "a length that is too long for a number": lambda _: b"$" + b"9" * 100 + b"\r\n",
    "a negative length": lambda _: b"$-2\r\n",
    "a huge array": lambda _: b"*2147483647\r\n",
    "arrays without end": lambda _: b"*1\r\n" * 100_000,
    "a line without end": lambda _: flood(FLOOD),
    "a value without end": lambda _: [b"$1000000000\r\n", *flood(b"x" * (1 << 20))],
    "a wrong line end": lambda _: b"$1\r\nxyz\r\n",
    "nothing": lambda _: b"",
    "the end": lambda _: None,
    "an unknown error": lambda _: b"-WHAT is this\r\n",
    "an integer": lambda _: b":1\r\n",
    "an array": lambda _: b"*2\r\n+a\r\n$-1\r\n",
}


@pytest.fixture
def lied_to(with_redis, fake):
    """An Envoy whose Redis is the script, and that is ready again after earlier lies of the script."""
    running = with_redis(fake, redis_command_timeout="1500ms", redis_connect_timeout="1500ms")
    eventually_200(running.browser(), "/ready")
    return running


@pytest.mark.parametrize("lie", LIES)
def test_invalid_reply_instead_of_a_session_is_an_outage(lie, lied_to, fake):
    browser = sign_in_by_script(lied_to, fake)
    good = fake.answer
    fake.answer = answer_to(b"GET", LIES[lie])
    assert_unavailable(browser.get("/echo"))
    assert "_oauth2_proxy" in browser.cookies
    fake.answer = good
    assert eventually_200(browser, "/echo")


def sign_in_by_script(running, fake):
    """Signs in with a script that stores sessions."""
    kept: dict[bytes, bytes] = {}

    def answer(words):
        name = words[0].upper()
        if name == b"SETEX":
            kept[words[1]] = words[3]
        return bulk(kept[words[1]]) if name == b"GET" and words[1] in kept else default_answer(words)

    fake.answer = answer
    return sign_in(running)


# Any reply to the greeting is accepted. If a server hangs up on the client name, the filter greets it without one.
GREETINGS = ("an unknown error", "an integer", "an array", "a type of RESP3", "the end")


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie not in GREETINGS])
def test_invalid_greeting_is_an_outage(lie, lied_to, fake):
    browser = lied_to.browser()
    fake.answer = answer_to(b"PING", lambda _: None)
    assert_unavailable(browser.get("/ready"))  # and the connection has ended
    fake.answer = answer_to(b"CLIENT", LIES[lie])
    assert_unavailable(browser.get("/ready"))
    fake.answer = default_answer
    assert eventually_200(browser, "/ready")


def test_unasked_reply_is_not_a_session(lied_to, fake):
    """A surplus reply must not be taken for the answer to the next request."""
    browser = sign_in_by_script(lied_to, fake)
    good = fake.answer
    fake.answer = lambda words: good(words) + bulk(b"x" * 100)
    statuses = {browser.get("/echo").status_code for _ in range(10)}
    assert statuses <= {200, 503}, "an unasked reply of Redis signed a user out"
    fake.answer = good
    assert eventually_200(browser, "/echo")


def test_reply_that_comes_byte_by_byte_is_read(with_redis, fake):
    browser = sign_in_by_script(with_redis(fake, redis_command_timeout="10s"), fake)
    good = fake.answer

    def slowly(words):
        for byte in good(words):
            yield bytes([byte])

    fake.answer = slowly
    assert {browser.get("/echo").status_code for _ in range(5)} == {200}


def test_late_reply_does_not_answer_the_next_command(lied_to, fake):
    """The reply of a command that timed out comes on a connection that is closed."""
    browser = sign_in_by_script(lied_to, fake)
    good = fake.answer
    late: list[list[bytes]] = []

    def answer(words):
        if words[0] == b"GET" and not late:
            late.append(words)
            time.sleep(2.5)
            return b"$-1\r\n"  # would be a sign-out
        return good(words)

    fake.answer = answer
    assert_unavailable(browser.get("/echo"))
    assert {browser.get("/echo").status_code for _ in range(10)} == {200}
    time.sleep(1.5)
    assert browser.get("/echo").status_code == 200


def resident(envoy) -> int:
    """Envoy's resident memory in MiB."""
    status = Path(f"/proc/{envoy.process.pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("lie", ["a line without end", "a value without end", "arrays without end"])
def test_flooding_server_does_not_fill_envoy_s_memory(lie, lied_to, fake):
    browser = sign_in_by_script(lied_to, fake)
    fake.answer = answer_to(b"GET", LIES[lie])
    for _ in range(3):
        browser.get("/echo")
    before = resident(lied_to.envoy)
    for _ in range(20):
        browser.get("/echo")
    # 64 MiB each time: keeping a single one would be visible.
    assert resident(lied_to.envoy) - before < 64
