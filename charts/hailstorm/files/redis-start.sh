#!/bin/sh
# Runs Redis with the password in a file only its own user can read: on the
# command line every process list would show it. Needs: PASSWORD_FILE.
set -eu
umask 077
printf 'requirepass "%s"\n' "$(cat "$PASSWORD_FILE")" >/tmp/auth.conf
exec redis-server /etc/redis/redis.conf
