#!/usr/bin/env bash
# A container engine for a machine that runs none, such as a CI machine.
#
#   engine.sh start <folder>    starts dockerd if no engine answers; its log and process id are in the folder
#   engine.sh stop <folder>     stops the dockerd that was started
set -euo pipefail

folder=$2
answers() { timeout 20 docker version > /dev/null 2>&1; }

start() {
  if answers; then
    echo "engine: a container engine answers already"
    return
  fi
  if [ "$(id -u)" != 0 ] || ! command -v dockerd > /dev/null; then
    echo "engine: no container engine answers, and dockerd cannot be started: it needs root and the package docker.io" >&2
    return 1
  fi
  echo "engine: starting dockerd, its log is $folder/dockerd.log"
  setsid dockerd < /dev/null > "$folder/dockerd.log" 2>&1 &
  echo $! > "$folder/pid"
  for _ in $(seq 60); do
    if answers; then
      echo "engine: dockerd answers"
      return
    fi
    kill -0 "$(cat "$folder/pid")" 2> /dev/null || break
    sleep 1
  done
  echo "engine: this machine cannot run containers: dockerd did not come up. Its log ends with:" >&2
  tail -n 20 "$folder/dockerd.log" >&2
  return 1
}

stop() {
  [ -f "$folder/pid" ] || return 0
  local pid
  pid=$(cat "$folder/pid")
  kill "$pid" 2> /dev/null || return 0
  for _ in $(seq 30); do
    kill -0 "$pid" 2> /dev/null || break
    sleep 1
  done
  echo "engine: dockerd is stopped"
}

case $1 in
  start) start ;;
  stop) stop ;;
  *) echo "engine: $1: expected start or stop" >&2; exit 2 ;;
esac
