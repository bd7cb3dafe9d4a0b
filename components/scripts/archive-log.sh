#!/bin/sh
# Has the server archive everything that it has written until now: a recovery to a moment needs a commit after it.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the database, as libpq reads them
#     PATIENCE                               seconds to wait for the archive (120)
set -eu
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

trap 'exit 143' TERM
mode=$(sql --command="SHOW archive_mode") || fail "the server does not answer"
[ "$mode" != off ] || fail "the server archives nothing: archive_mode is off"
# A commit that changes nothing: recovery stops at the first one after the moment, and fails where there is none.
catalog_sql --command="SELECT pg_logical_emit_message(true, 'ops', 'recovery')" >/dev/null || fail "no commit can be written"
segment=$(catalog_sql --command="SELECT pg_walfile_name(pg_switch_wal())") || fail "the server does not end its segment"
waited=0
until [ "$(catalog_sql --command="SELECT coalesce(max(last_archived_wal), '') >= '$segment' FROM pg_stat_archiver")" = t ]; do
  [ "$waited" -lt "${PATIENCE:-120}" ] || fail "the write-ahead log is not archived; the last failure was at \
$(catalog_sql --command="SELECT coalesce(max(last_failed_time)::text, 'no time') FROM pg_stat_archiver")"
  sleep 1
  waited=$((waited + 1))
done
say "everything until now is archived, up to $segment"
