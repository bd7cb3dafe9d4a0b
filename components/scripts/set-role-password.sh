#!/bin/sh
# Gives the database's role the password that the pod was started with. Runs beside the server at each start (postStart),
# because the image reads POSTGRES_PASSWORD only while the data directory is empty.
#
#     set-role-password.sh [LOG]    reports to LOG, where it can be written to, instead of its standard error
#
#     POSTGRES_USER POSTGRES_PASSWORD    as the image reads them
#     PGHOST PGPORT                      libpq's, for another socket than the image's
#     PATIENCE                           seconds to wait for the server (300)
set -eu

# The kubelet drops what a hook says; in the server's log people find it.
if [ -w "${1:-}" ]; then exec 2>>"$1"; fi

fail() {
  printf 'set-role-password: %s; the password was NOT set\n' "$1" >&2
  exit 1
}

# While the image initialises a new data directory it runs a temporary server, which has no TCP: localhost answers only
# once the server that stays is ready. 300 s is many times the replay of max_wal_size (1 GB) after a crash.
patience=${PATIENCE:-300}
waited=0
until pg_isready --quiet --host=localhost --timeout=1; do
  [ "$waited" -lt "$patience" ] || fail "PostgreSQL did not answer on localhost within $patience s"
  sleep 1
  waited=$((waited + 1))
done

# \password hashes on this side: neither the command line nor the server ever sees the password itself. It asks twice.
# The options keep the hash, too, out of the server's log, and what somebody has set for the role out of this session: one
# that may only read would keep the server from starting. In the database that is always there: where somebody has moved the
# app's away, the server must start all the same, or nobody could put it back.
reason=$(
  printf '%s\n%s\n' "$POSTGRES_PASSWORD" "$POSTGRES_PASSWORD" |
    PGOPTIONS='-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic
      -c default_transaction_read_only=off -c role=none -c statement_timeout=0 -c lock_timeout=0
      -c transaction_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0' \
      psql --no-psqlrc --no-password --quiet --username="$POSTGRES_USER" --dbname=postgres --command='\password' 2>&1
) || fail "$reason"
