#!/bin/sh
# Envoy in the compose.yaml of the top folder: envoy-config/envoy.yaml, with the values that are marked CHANGE.
set -eu

if [ ! -f /filter.wasm ]; then
  echo "envoy: there is no module: make build, or name one of a release: WASM=/path/to/it docker compose up" >&2
  exit 1
fi

OAUTH2_PROXY_COOKIE_SECRET=$(head -c 32 /dev/urandom | base64 | tr -- '+/' '-_')
export OAUTH2_PROXY_COOKIE_SECRET

filter=$(sed "s/9090/$PROVIDER_PORT/" /demo/filter.json | tr -d '\n')
sed -e '/port_value: 8080/s/127\.0\.0\.1/0.0.0.0/' \
  -e 's|dist/oauth2_session_filter\.wasm|/filter.wasm|' \
  -e "/^ *value: |\$/,/^ *}\$/c\\                  value: '$filter'" \
  /envoy.yaml > /tmp/envoy.yaml

exec envoy --config-path /tmp/envoy.yaml --concurrency 2 --disable-hot-restart --log-level warning --component-log-level wasm:info
