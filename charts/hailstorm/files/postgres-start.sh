#!/bin/bash
# Runs Postgres: makes the database on first start, stops fast on SIGTERM.
#
# Postgres answers SIGTERM by waiting for its clients, who have pools and never
# leave; SIGINT ends sessions and writes a clean checkpoint. Hence this script is
# process 1 and turns the one into the other.
#
# Needs: PGDATA (a directory that does not exist yet, on the volume),
# PASSWORD_FILE, DATABASE, DATABASE_USER. Superuser is `postgres`, on the socket
# only. A second SIGTERM does not hurry it: half a shutdown costs a recovery.
set -euo pipefail

# Set first: the kernel drops signals that process 1 does not handle.
server=''
stop() {
  [[ -n $server ]] || exit 143
  kill -INT "$server"
}
trap stop TERM INT

config=(-c config_file=/etc/postgres/postgresql.conf -c hba_file=/etc/postgres/pg_hba.conf)

# single DATA DATABASE: SQL from stdin, one statement a line, without a server.
single() {
  postgres --single -D "$1" "${config[@]}" -c exit_on_error=on "$2" >/dev/null
}

quote() { printf "'%s'" "${1//\'/\'\'}"; }
password=$(quote "$(<"$PASSWORD_FILE")")

if [[ ! -s $PGDATA/PG_VERSION ]]; then
  # Beside the final place, so that an initdb cut short is done again.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --data-checksums
  printf 'CREATE ROLE "%s" LOGIN\nCREATE DATABASE "%s" OWNER "%s"\n' \
    "$DATABASE_USER" "$DATABASE" "$DATABASE_USER" | single "$PGDATA.new" postgres
  mv "$PGDATA.new" "$PGDATA"
fi

# On every start: the volume may outlive the Secret, and a changed password
# should not lock its own service out. Through stdin, never on a command line.
printf 'ALTER ROLE "%s" PASSWORD %s\n' "$DATABASE_USER" "$password" | single "$PGDATA" postgres
unset password

postgres -D "$PGDATA" "${config[@]}" &
server=$!
# A trapped signal ends `wait` early; the shutdown it started is waited for again.
while :; do
  code=0
  wait "$server" || code=$?
  kill -0 "$server" 2>/dev/null || exit "$code"
done
