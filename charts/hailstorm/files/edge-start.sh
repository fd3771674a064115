#!/bin/bash
# Runs Envoy and drains it before it ends. Usage: edge-start.sh ENVOY-ARGUMENTS...
#
# Envoy answers SIGTERM by closing every connection at once, with the calls in
# them. So this script is process 1: on SIGTERM it lets Envoy tell its callers
# to go elsewhere (GOAWAY, `connection: close`), keeps serving until the news
# has reached them and nothing is in flight, and only then ends Envoy. A preStop
# hook would do the same with less: a node's shutdown may cut it short.
#
# Needs: ADMIN_PORT, DRAIN_PROPAGATION_SECONDS, DRAIN_MAX_SECONDS; with a recorder
# LOG_FLUSH_SECONDS.
# A second SIGTERM ends at once. Exits with Envoy's code, or 0 after a drain.
set -u

# ask METHOD PATH: one request to Envoy's admin port; the whole answer on stdout.
# The image has no curl, so bash speaks HTTP by itself.
ask() {
  # shellcheck disable=SC2016 # The inner shell expands, not this one.
  timeout 2 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf "%s %s HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" "$2" "$3" >&3
    cat <&3' ask "$ADMIN_PORT" "$1" "$2"
}

# Calls in flight from callers; "unknown" when Envoy does not say.
in_flight() {
  local total=unknown name value
  while IFS=' ' read -r name value; do
    value=${value%$'\r'}
    case $name in
      http.public.downstream_rq_active: | http.internal.downstream_rq_active:)
        [[ $total == unknown ]] && total=0
        total=$((total + value))
        ;;
    esac
  done < <(ask GET '/stats?filter=downstream_rq_active$' 2>/dev/null)
  echo "$total"
}

say() { printf '{"level":"info","logger":"edge-start","message":"%s"}\n' "$1"; }

# Milliseconds that only ever grow; the clock of the day may be set back.
now() {
  local seconds
  read -r seconds _ </proc/uptime
  echo $((10 * 10#${seconds/./}))
}

drain() {
  local began quiet=0 active=unknown waited=0
  began=$(now)
  # Readiness fails from here on, and every answer asks its caller to leave.
  ask POST /healthcheck/fail >/dev/null || return
  # Listeners close after --drain-time-s, which the chart sets to the propagation.
  ask POST '/drain_listeners?graceful' >/dev/null || return
  while ((waited < DRAIN_MAX_SECONDS * 1000)); do
    active=$(in_flight)
    if [[ $active == 0 ]]; then quiet=$((quiet + 1)); else quiet=0; fi
    # Twice in a row: a single zero falls between two calls of one caller.
    if ((waited >= DRAIN_PROPAGATION_SECONDS * 1000 && quiet >= 2)); then break; fi
    sleep 0.25
    waited=$(($(now) - began))
  done
  say "drained after ${waited} ms with ${active} calls in flight"
}

# Set before Envoy starts: the kernel drops signals that process 1 does not handle.
envoy=''
stop() {
  [[ -z $envoy ]] && exit 143
  trap 'kill -TERM "$envoy" 2>/dev/null; exit 143' TERM INT
  drain
  # Lines of the last calls are still being gathered, and Envoy ends without sending them.
  sleep "${LOG_FLUSH_SECONDS:-0}"
  kill -TERM "$envoy" 2>/dev/null
  wait "$envoy"
  exit 0
}
trap stop TERM INT

envoy "$@" &
envoy=$!
wait "$envoy"
