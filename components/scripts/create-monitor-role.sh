#!/bin/sh
# Creates the role that postgres_exporter reads statistics with, and gives it the password that the pod was started with.
# Runs as the app's role before each start of the exporter, a superuser or one with CREATEROLE that may grant pg_monitor;
# neither the database nor the app ever waits for it.
#
#     MONITOR_USER MONITOR_PASSWORD          the role: lower-case letters, digits and _
#     PGHOST PGPORT PGUSER PGPASSWORD        libpq's, of the owner
set -eu

fail() {
  printf 'create-monitor-role: %s\n' "$1" >&2
  exit 1
}

case $MONITOR_USER in
"$PGUSER") fail "the exporter's role must not be the owner's" ;;
*[!a-z0-9_]* | '') fail "MONITOR_USER is not made of lower-case letters, digits and _" ;;
esac

# Neither the statements nor the hash reach the server's log.
export PGOPTIONS='-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic
  -c default_transaction_read_only=off -c role=none -c client_min_messages=warning'

on_server() { psql --no-psqlrc --no-password --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --dbname=postgres "$@"; }

# A hung exporter must neither use up the connections of the app nor keep old rows from being removed.
on_server --single-transaction --file=- <<SQL || fail "the role could not be created"
DO \$\$ BEGIN CREATE ROLE $MONITOR_USER; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;
DO \$\$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    ALTER ROLE $MONITOR_USER NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
  ELSIF (
    SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls FROM pg_roles
    WHERE rolname = '$MONITOR_USER'
  ) THEN
    RAISE 'role $MONITOR_USER has attributes that only a superuser can take away, as postgres over the socket of its pod: ALTER ROLE $MONITOR_USER NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS';
  END IF;
END
\$\$;
ALTER ROLE $MONITOR_USER LOGIN CONNECTION LIMIT 5;
ALTER ROLE $MONITOR_USER RESET ALL;
ALTER ROLE $MONITOR_USER SET default_transaction_read_only = on;
ALTER ROLE $MONITOR_USER SET statement_timeout = '10s';
ALTER ROLE $MONITOR_USER SET idle_in_transaction_session_timeout = '10s';
GRANT pg_monitor TO $MONITOR_USER;
SQL

others=$(on_server --command="SELECT string_agg(roleid::regrole::text, ', ') FROM pg_auth_members
  WHERE member = '$MONITOR_USER'::regrole AND roleid <> 'pg_monitor'::regrole")
[ -z "$others" ] || fail "role $MONITOR_USER is also a member of $others: REVOKE that, it needs pg_monitor alone"

# \password hashes on this side: the server never sees the password itself. It asks twice.
printf '%s\n%s\n' "$MONITOR_PASSWORD" "$MONITOR_PASSWORD" |
  on_server --command="\\password $MONITOR_USER" >/dev/null || fail "the password could not be set"
