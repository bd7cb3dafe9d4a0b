#!/bin/sh
# After CloudNativePG's operator has upgraded the server in place: compares the database with the backup that was taken right
# before, and collects the planner's statistics, which pg_upgrade does not bring along whole.
# Leaves by a status other than 0, with the reason as the last line, where the database does not hold what the backup does.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the database, as libpq reads them
#     BACKUPS                                the backup volume (/backups)
#     BACKUP                                 name of that backup
#     MAJOR                                  version that the server has to be of
#     PATIENCE                               seconds to wait for the server (600)
set -eu
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

trap 'exit 143' TERM
is_backup "$backups/$BACKUP" || fail "$BACKUP is no whole backup"
waited=0
until pg_isready >/dev/null; do
  [ "$waited" -lt "${PATIENCE:-600}" ] || fail "the server did not get ready within ${PATIENCE:-600} s"
  sleep 1
  waited=$((waited + 1))
done
version=$(sql --command='SHOW server_version_num') || fail "the server does not answer"
[ "$((version / 10000))" -eq "$MAJOR" ] || fail "the server is PostgreSQL $((version / 10000)), and not $MAJOR"
found=$(catalog_sql --file="$scripts/inventory.sql") || fail "the rows of the database cannot be counted"
expected=$(sed -n 's/^  "inventory": //p' "$backups/$BACKUP/manifest.json")
differences=$(printf '[%s,%s]' "$expected" "$found" | catalog_sql --file="$scripts/compare.sql") ||
  fail "the database cannot be compared with $BACKUP"
[ -z "$differences" ] || fail "the database is not what $BACKUP holds:
$differences"
say "the database holds what $BACKUP does; collecting statistics"
sql --command=ANALYZE || say "not all tables could be analyzed: autovacuum does the others"
say "PostgreSQL $MAJOR has all of it"
