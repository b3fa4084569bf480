#!/bin/sh
# A server of Redis, or a sentinel, in a container.
#
#   redis.sh [line of redis.conf]...
#   redis.sh --sentinel <address of the first master>
#
# Both change their configuration at run time, so it is written once and kept over a stop and a start. The
# password comes from the environment, and is in no command line. For the 3100, see harness/sentinel.py.
set -eu
umask 077
config=/data/redis.conf

server() {
  printf '%s\n' "$@" \
    'dir /data' 'save ""' \
    'appendonly yes' 'appendfsync always' \
    'repl-diskless-sync-delay 0' \
    "requirepass $OAUTH2_PROXY_REDIS_PASSWORD" "masterauth $OAUTH2_PROXY_REDIS_PASSWORD"
}

sentinel() {
  printf '%s\n' \
    'port 26379' 'dir /data' 'protected-mode no' \
    "sentinel monitor sessions $1 6379 2" \
    "sentinel auth-pass sessions $OAUTH2_PROXY_REDIS_PASSWORD" \
    'sentinel down-after-milliseconds sessions 3100' \
    'sentinel failover-timeout sessions 8000' \
    'sentinel parallel-syncs sessions 1'
}

if [ "${1-}" = --sentinel ]; then
  [ -s "$config" ] || sentinel "$2" > "$config"
  exec redis-server "$config" --sentinel
fi
[ -s "$config" ] || server "$@" > "$config"
exec redis-server "$config"
