"""Secrets in files, which change while two Envoys with two workers each answer requests."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.envoy import Envoy
from harness.known_secrets import SECRETS
from harness.load import Load
from harness.mounted import Mounted
from harness.ports import HOST
from harness.service import CLIENT_SECRET, Service, arrived, filter_config
from harness.waiting import until
from ticket import redis_key


@pytest.fixture
def fleet(tmp_path, provider, upstream):
    """Starts Envoys with these secrets in files: `fleet(2, cookie_secret=…, options={…})`."""
    running: list[tuple[Service, Mounted]] = []

    def start(count: int, options: dict | None = None, log_level: str = "warning", **values: str):
        for number in range(count):
            mounted = Mounted(tmp_path / str(number), **values)
            envoy = Envoy(
                filter_config(provider, **{"secrets_from": "bridge", "secrets_refresh": "500ms", **(options or {})}),
                upstream=upstream.address,
                concurrency=2,
                render=mounted.render,
                log_level=log_level,
                wasm_log_level="info",
            )
            running.append((Service(envoy, provider), mounted))
        return running

    yield start
    for service, _ in running:
        try:
            service.check()
        finally:
            service.envoy.stop()


def changed(service: Service) -> int:
    return service.envoy.counters().get("secrets_changed", 0)


def test_secret_that_is_missing_at_the_start_is_503_and_heals(fleet):
    [(service, mounted)] = fleet(1, client_secret=CLIENT_SECRET)
    browser = service.browser()
    for path in ("/echo", "/ready", "/oauth2/start"):
        answer = browser.get(path)
        assert (answer.status_code, "does not have its secrets" in answer.text) == (503, True), path
    assert browser.get("/ping").status_code == 200
    assert service.envoy.says("secrets: cookie_secret cannot be used: its file is missing or empty")
    assert service.envoy.counters()["unavailable.secret"] >= 3
    mounted.change(cookie_secret=secrets.token_urlsafe(32))
    until(lambda: browser.get("/ready").status_code == 200, "it is ready")
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"


def test_malformed_secret_after_a_change_keeps_the_last_good_one(fleet):
    [(service, mounted)] = fleet(1, cookie_secret=secrets.token_urlsafe(32), client_secret=CLIENT_SECRET)
    browser = service.browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    for value in ("not a key", "a\x01b" * 8, "two\nlines"):
        before = service.envoy.counters()["secrets_unusable"]
        mounted.change(cookie_secret=value)
        until(lambda: service.envoy.counters()["secrets_unusable"] > before, "it was noticed")
        assert browser.get("/echo").status_code == browser.get("/ready").status_code == 200
    assert service.envoy.says("secrets: cookie_secret cannot be used: its file is malformed; the last good one stays")


def test_secrets_are_in_no_log_of_envoy_at_debug_level(fleet):
    """The fixture searches the log. Without a browser, because Envoy itself logs the headers of requests then."""
    [(service, mounted)] = fleet(
        1, cookie_secret=secrets.token_urlsafe(32), client_secret=CLIENT_SECRET, log_level="debug"
    )
    assert service.browser().get("/ready").status_code == 200
    mounted.change(cookie_secret=secrets.token_urlsafe(32), client_secret=secrets.token_urlsafe(32))
    until(lambda: changed(service) >= 2, "both have changed")
    SECRETS.check("the configuration in the admin interface", service.envoy.admin("/config_dump"))


def change_under_load(running: list[tuple[Service, Mounted]], name: str, values: list[str]) -> None:
    """Changes a secret at each Envoy, and waits until both of its workers have read each value."""
    for value in values:
        for service, mounted in running:
            before = read(service)
            mounted.change(**{name: value})
            until(lambda: read(service) >= before + 2, f"both workers see value {values.index(value)} of {name}")


def read(service: Service) -> int:
    """How many new values the workers have read. Each worker counts a good one, and logs a malformed one once."""
    return changed(service) + service.envoy.log().count("cannot be used: its file is malformed")


def begin(running: list[tuple[Service, Mounted]]) -> None:
    """A worker reads the secrets from its first request on."""
    for service, _ in running:
        assert {answer.status_code for answer in service.answers_of_each_worker("/ready")} == {200}


def test_client_secret_changes_under_load_without_a_failure(fleet):
    """The provider takes one secret alone, so the value in between is wrong there, and is read anew."""
    running = fleet(2, cookie_secret=secrets.token_urlsafe(32), client_secret="a wrong secret")
    begin(running)
    browser = running[0][0].browser()
    for _, mounted in running:
        mounted.change(client_secret=CLIENT_SECRET + "\n")
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    for service, _ in running:
        until(lambda: changed(service) >= 2, "both workers see the right one")
    processes = [service.envoy.process.pid for service, _ in running]
    with Load([service for service, _ in running], [browser.cookie]) as load:
        values = [secrets.token_urlsafe(24), "a\tb", secrets.token_urlsafe(24), CLIENT_SECRET]
        change_under_load(running, "client_secret", values)
        load.wait_for_answers(50)
    assert set(load.statuses()) == {200}
    assert [service.envoy.process.pid for service, _ in running] == processes
    again = running[1][0].browser()
    answer = again.sign_in("alice", "/echo")
    assert answer.status_code == 200, running[1][0].envoy.log()[-1500:]
    assert arrived(answer)["x-forwarded-user"] == "alice"


def test_cookie_secret_changes_under_load_without_a_failure(fleet):
    """The steps of docs/rotation.md, with a malformed value between them."""
    first, second, third = (secrets.token_urlsafe(32) for _ in range(3))
    running = fleet(2, cookie_secret=first, client_secret=CLIENT_SECRET)
    begin(running)
    browser = running[0][0].browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    cookie = browser.cookie
    processes = [service.envoy.process.pid for service, _ in running]
    with Load([service for service, _ in running], [cookie]) as load:
        values = [f"{first},{second}", "not a key", f"{second},{first}", f"{third},{second},{first}"]
        change_under_load(running, "cookie_secret", values)
        load.wait_for_answers(50)
    assert set(load.statuses()) == {200}
    assert [service.envoy.process.pid for service, _ in running] == processes
    # The session goes out anew, so the old secrets can go.
    assert browser.get("/echo").status_code == 200
    change_under_load(running, "cookie_secret", [third])
    for service, _ in running:
        assert service.browser().get("/echo", headers={"cookie": cookie}).status_code == 302
    assert browser.get("/echo").status_code == 200


def set_password(servers, *rules: str) -> None:
    """Changes the user of the filter on every server."""
    for server in servers:
        server.command("ACL", "SETUSER", "filter", *rules)


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_passwords_of_redis_change_under_load_without_a_failure(fleet, request, kind):
    """The steps of docs/secrets.md, three times, with a malformed value between them; then another master takes over,
    and every server refuses the passwords from before."""
    topology = request.getfixturevalue(kind)
    sentinels = topology.sentinels if kind == "sentinel" else []
    groups = {"redis_password": topology.nodes, **({"redis_sentinel_password": sentinels} if sentinels else {})}
    current = {name: secrets.token_urlsafe(24) for name in groups}
    for name, servers in groups.items():
        set_password(servers, "reset", "on", f">{current[name]}", "~*", "&*", "+@all")
    options = {**topology.options, "redis_username": "filter"}
    if sentinels:
        options["redis_sentinel_username"] = "filter"
    running = fleet(2, options, cookie_secret=secrets.token_urlsafe(32), client_secret=CLIENT_SECRET, **current)
    services = [service for service, _ in running]
    browser = services[0].browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    processes = [service.envoy.process.pid for service in services]
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with Load(services, [cookie]) as load:
        load.wait_for_answers(50)  # so each worker has begun to ask
        for turn in range(4):
            is_malformed = turn == 1
            new = {
                name: f"{secrets.token_urlsafe(24)}\t" if is_malformed else secrets.token_urlsafe(24) for name in groups
            }
            if not is_malformed:
                for name, servers in groups.items():
                    set_password(servers, f">{new[name]}")
            counter = "secrets_unusable" if is_malformed else "secrets_changed"
            before = [service.envoy.counters()[counter] for service in services]
            for _, mounted in running:
                mounted.change(**new)
            for service, count in zip(services, before):
                wanted = count + 2 * len(groups)
                until(lambda: service.envoy.counters()[counter] >= wanted, f"both workers see it: {counter}")
            if not is_malformed:
                for name, servers in groups.items():
                    set_password(servers, f"<{current[name]}")
                current = new
            load.wait_for_answers(20)
        load.wait_for_answers(50)
    assert set(load.statuses()) == {200}
    assert [service.envoy.process.pid for service in services] == processes
    # No server takes a connection that has authenticated with an older password.
    for server in [*topology.nodes, *sentinels]:
        server.command("CLIENT", "KILL", "USER", "filter")
    if kind == "sentinel":
        topology.fail_over()
    else:
        topology.replica_of(topology.owner(redis_key(browser.cookie))).command("CLUSTER", "FAILOVER", "TAKEOVER")
    for service in services:
        for _ in range(10):  # at each worker
            until(
                lambda: browser.get(f"{service.url}/echo", headers={"cookie": cookie}).status_code == 200,
                "the new password reaches the new master",
            )


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_lookup_with_a_refused_password_waits_for_the_new_one(fleet, request, kind):
    """The servers change first. A worker is refused when it asks for the master or the map, and asks for the secret."""
    topology = request.getfixturevalue(kind)
    old, new = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    options = {**topology.options, "redis_username": "filter", "redis_command_timeout": "20s", "secrets_refresh": "1h"}
    before = {"redis_password": old}
    if kind == "sentinel":
        asked, name = topology.sentinels, "redis_sentinel_password"
        options["redis_sentinel_username"] = "filter"
        before = {"redis_password": new, name: old}
        set_password(topology.nodes, "reset", "on", f">{new}", "~*", "&*", "+@all")
    else:
        asked, name = topology.nodes, "redis_password"
    set_password(asked, "reset", "on", f">{new}", "~*", "&*", "+@all")
    [(service, mounted)] = fleet(
        1, options, cookie_secret=secrets.token_urlsafe(32), client_secret=CLIENT_SECRET, **before
    )
    with ThreadPoolExecutor() as pool:
        ready = pool.submit(service.browser().get, "/ready")
        assert service.envoy.says("WRONGPASS")
        mounted.change(**{name: new})
        assert ready.result().status_code == 200


def test_redis_password_that_is_renewed_all_the_time_signs_nobody_out(fleet, make_redis):
    """As an IAM token that a sidecar renews: each password is valid for a few seconds, and the old ones are refused."""
    redis = make_redis()
    rights = ("~_oauth2_proxy-*", "+@all")
    password = secrets.token_urlsafe(24)
    redis.command("ACL", "SETUSER", "filter", "reset", "on", f">{password}", *rights)
    options = {
        "session_store_type": "redis",
        "redis_connection_url": f"redis://{HOST}:{redis.port}",
        "redis_username": "filter",
    }
    running = fleet(
        2,
        options,
        cookie_secret=secrets.token_urlsafe(32),
        client_secret=CLIENT_SECRET,
        redis_password=password,
    )
    begin(running)
    browser = running[0][0].browser()
    assert arrived(browser.sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
    with Load([service for service, _ in running], [browser.cookie]) as load:
        for turn in range(6):
            password = secrets.token_urlsafe(24)
            # All passwords before it are refused from now on, and the connections of some workers end.
            redis.command("ACL", "SETUSER", "filter", "resetpass", f">{password}")
            for _, mounted in running:
                mounted.change(redis_password=password)
            if turn % 2:
                redis.command("CLIENT", "KILL", "USER", "filter")
            time.sleep(1)
        load.wait_for_answers(50)
    assert set(load.statuses()) == {200}
    for service, _ in running:
        assert changed(service) >= 6
        assert service.browser().get("/ready").status_code == 200
