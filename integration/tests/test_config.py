"""An invalid configuration: Envoy does not start, every mistake is named, no secret is shown. And `make envoy`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness.envoy import ConfigurationError, Envoy
from harness.service import CLIENT_SECRET, COOKIE_SECRET, arrived, filter_config

FOLDER = Path(__file__).resolve().parents[2] / "envoy-config"
EXAMPLES = sorted(set(FOLDER.glob("filter*.json")) - set(FOLDER.glob("*.schema.json")))
RUN_ENVOY = Path(__file__).resolve().parents[1] / "run_envoy.py"
SECRETS = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}


def mistakes_of(config, upstream, environment=SECRETS) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        Envoy(config, upstream=upstream.address, environment=environment).stop()
    assert refused.value.exit_code not in (0, None)
    return refused.value.lines


def test_error_lists_all_mistakes(provider, upstream):
    config = filter_config(
        provider,
        oidc_issuer_url="not a url",
        cookie_expire="two days",
        client_id=None,
        cokie_name="x",
        email_domains=None,
        skip_auth_routes=["("],
    )
    lines = mistakes_of(config, upstream, environment={})
    for option in (
        "oidc_issuer_url",
        "cookie_expire",
        "client_id",
        "cokie_name",
        "email_domains",
        "skip_auth_routes",
        "cookie_secret",
    ):
        assert [line for line in lines if option in line], f"the error does not name {option}:\n" + "\n".join(lines)
    assert any("cokie_name" in line and "cookie_name" in line for line in lines), (
        "the error does not suggest the right name"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "null", '{"provider": "oidc"} more'])
def test_configuration_that_is_not_a_json_object_is_refused(text, upstream):
    assert mistakes_of(text, upstream)


def test_errors_never_show_a_secret(provider, upstream):
    secret = "a-secret-of-the-wrong-length"
    with pytest.raises(ConfigurationError) as refused:
        Envoy(
            filter_config(provider, client_secret=["not", "a", "string", "sesame-open"], basic_auth_password=17),
            upstream=upstream.address,
            environment={"OAUTH2_PROXY_COOKIE_SECRET": secret},
        ).stop()
    said = str(refused.value)
    assert "cookie_secret" in said
    assert secret not in said
    assert "sesame-open" not in said


def test_unsupported_oauth2_proxy_option_is_explained(provider, upstream):
    lines = mistakes_of(filter_config(provider, upstreams=["http://127.0.0.1:8080/"]), upstream)
    (line,) = [line for line in lines if "upstreams" in line]
    assert len(line.split()) > 4, f"the error does not say what to do instead: {line}"


def test_unreachable_callback_is_a_mistake(provider, upstream):
    for options in ({"redirect_url": "https://app.example.com/callback"}, {"cookie_path": "/app"}):
        (option,) = options
        (line,) = [line for line in mistakes_of(filter_config(provider, **options), upstream) if f"{option}: " in line]
        assert "/oauth2/callback" in line


def test_callback_that_needs_a_rewrite_logs_a_warning(service):
    running = service(redirect_url="http://app.example.com/tools/oauth2/callback")
    assert running.envoy.says("configuration: redirect_url: its path is not /oauth2/callback")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_shipped_filter_json_is_valid(example, upstream):
    text = example.read_text(encoding="utf-8")
    password = {"OAUTH2_PROXY_REDIS_PASSWORD": "of-redis"} if "redis_username" in text else {}
    secrets = SECRETS if "client_id" in text else {"OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}
    envoy = Envoy(text, upstream=upstream.address, environment={**secrets, **password})
    assert urllib.request.urlopen(f"{envoy.url}/ping", timeout=10).status == 200
    assert envoy.stop() == 0


def test_environment_overrides_the_json(provider, upstream):
    lines = mistakes_of(
        filter_config(provider, cookie_expire="1h"),
        upstream,
        environment={**SECRETS, "OAUTH2_PROXY_COOKIE_EXPIRE": "two days"},
    )
    assert [line for line in lines if "cookie_expire" in line.lower()]


# ---- make envoy ----


class RunEnvoy:
    """integration/run_envoy.py as a process."""

    def __init__(self, tmp_path, upstream, config, environment):
        file = tmp_path / "filter.json"
        file.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, RUN_ENVOY, "--config", file, "--listen", "127.0.0.1:0", "--upstream", upstream.address],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.stdout = self.process.stdout
        self.output = ""
        self._giving_up = threading.Timer(60, self.process.kill)
        self._giving_up.start()

    def until(self, pattern: str) -> str:
        for line in self.stdout:
            self.output += line
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"{pattern} is not in the output:\n{self.output}")

    def end(self) -> int:
        self.output += self.stdout.read()
        return self.process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._giving_up.cancel()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self.stdout.close()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_make_envoy_runs_until_a_signal(signal_number, tmp_path, provider, upstream):
    config = filter_config(provider, skip_auth_routes=["^/echo"])
    with RunEnvoy(tmp_path, upstream, config, SECRETS) as envoy:
        url = envoy.until(r"listening on (http://\S+),")
        with urllib.request.urlopen(f"{url}/echo", timeout=10) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/oauth2/userinfo", timeout=10)
        command_lines = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True, check=True).stdout
        assert CLIENT_SECRET not in command_lines
        envoy.process.send_signal(signal_number)
        assert envoy.end() == 0
    assert CLIENT_SECRET not in envoy.output
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/ping", timeout=2)


def test_make_envoy_lists_the_mistakes(tmp_path, provider, upstream):
    config = filter_config(provider, client_id=None, cookie_expire="two days")
    with RunEnvoy(tmp_path, upstream, config, SECRETS) as envoy:
        envoy.until("(has mistakes)")
        assert envoy.end() != 0
    listed = envoy.output.partition("has mistakes")[2]
    assert "client_id" in listed
    assert "cookie_expire" in listed


def test_make_envoy_names_a_missing_file(tmp_path):
    ended = subprocess.run(
        [sys.executable, RUN_ENVOY, "--config", tmp_path / "none.json"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert "none.json" in ended.stderr


def test_two_envoys_run_at_the_same_time(service):
    first, second = service(is_shared=False), service(is_shared=False)
    assert first.url != second.url
    for running in (first, second):
        assert arrived(running.browser().sign_in("alice", "/echo"))["x-forwarded-user"] == "alice"
