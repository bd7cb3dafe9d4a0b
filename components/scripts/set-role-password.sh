#!/bin/sh
# Gives the app's role the password that the pod was started with, and takes SUPERUSER from it where the database is new.
# Runs beside the server at each start (postStart), because the image reads POSTGRES_PASSWORD only while the data directory
# is empty, and makes the server's first role of POSTGRES_USER.
#
#     set-role-password.sh LOG HAND_OVER    reports to LOG, where it can be written to, instead of its standard error;
#                                           HAND_OVER is the text of hand-over.sql
#
#     POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB    as the image reads them
#     PGHOST PGPORT                                  libpq's, for another socket than the image's
#     PATIENCE                                       seconds to wait for the server (300)
set -eu

# The kubelet drops what a hook says; in the server's log people find it.
if [ -w "$1" ]; then exec 2>>"$1"; fi

fail() {
  printf 'set-role-password: %s; the password was NOT set\n' "$1" >&2
  exit 1
}

# While the image initialises a new data directory it runs a temporary server, which has no TCP: localhost answers only
# once the server that stays is ready. 300 s is many times the replay of max_wal_size (1 GB) after a crash.
patience=${PATIENCE:-300}
waited=0
# Without a user, pg_isready fails where the pod's own has no name, as in the images that are based on Debian.
until pg_isready --quiet --host=localhost --username="$POSTGRES_USER" --timeout=1; do
  [ "$waited" -lt "$patience" ] || fail "PostgreSQL did not answer on localhost within $patience s"
  sleep 1
  waited=$((waited + 1))
done

# What somebody has set for the role must not reach these sessions: one that may only read would keep the server from
# starting.
usual='-c default_transaction_read_only=off -c role=none -c statement_timeout=0 -c lock_timeout=0 -c transaction_timeout=0
  -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0'
# Only a superuser may set these: they keep a hash out of the server's log.
silent='-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c event_triggers=off'

# sql ROLE OPTIONS ARGUMENT...
sql() {
  role=$1 options=$2
  shift 2
  PGOPTIONS=$options psql --no-psqlrc --no-password --quiet --no-align --tuples-only --username="$role" "$@"
}

# In the database that is always there: where somebody has moved the app's away, the server must start all the same, or
# nobody could put it back.
find_first() {
  first=$(sql "$POSTGRES_USER" "$usual" --dbname=postgres --command='SELECT rolname FROM pg_roles WHERE oid = 10') ||
    fail "the role $POSTGRES_USER cannot log in over the pod's socket"
}

# A database with something in it is handed over by `ops revoke-superuser`, when somebody has decided so.
is_new() {
  [ "$first" = "$POSTGRES_USER" ] || return 1
  relations=$(sql "$first" "$usual" --dbname="$POSTGRES_DB" --command='SELECT count(*) FROM pg_class WHERE oid >= 16384') || return 1
  [ "$relations" = 0 ]
}

find_first
if is_new; then
  printf '%s\n' "$2" | sql "$first" "$usual $silent" --dbname="$POSTGRES_DB" --set=role="$POSTGRES_USER" --set=monitor= ||
    printf 'set-role-password: %s stays a superuser\n' "$POSTGRES_USER" >&2
  find_first
fi
if [ "$first" != "$POSTGRES_USER" ]; then
  printf '%s\n' "$2" | grep '^GRANT SET ON PARAMETER ' | sql "$first" "$usual" --dbname=postgres --set=role="$POSTGRES_USER" ||
    printf 'set-role-password: %s may not set all that its backups set\n' "$POSTGRES_USER" >&2
fi

# \password hashes on this side: neither the command line nor the server ever sees the password itself. It asks twice.
reason=$(
  printf '%s\n%s\n' "$POSTGRES_PASSWORD" "$POSTGRES_PASSWORD" |
    sql "$first" "$usual $silent" --dbname=postgres --command="\\password $POSTGRES_USER" 2>&1
) || fail "$reason"
