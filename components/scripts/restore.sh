#!/bin/sh
# Puts a backup, or a dump made elsewhere by pg_dump --format=custom, in the place of the database.
#
# The dump is restored into a database of its own, beside the old one, and compared there; then the two change names in one
# transaction. So the old data stays as it was until the new data is complete and proved, whatever fails on the way. A dump
# of it is taken meanwhile, and removed where it was not needed.
# Leaves by a status other than 0, with the reason as the last line, where the old data is still in place, or where the
# server no longer says which is.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the database, as libpq reads them; the user is a superuser
#     BACKUPS                                the backup volume (/backups); gets the dump of the old data
#     RESTORE_FROM                           name of a backup, or `upload`: the file that `ops restore` brings
#     UPLOAD                                 folder in which it arrives, and where the script may write (/upload)
#     RESTORE_EXPECT                         rows that must be there, as {"rows": {"invoices": 567}, "partial": true}
#     RESTORE_CLEAR_SESSIONS                 true: nobody stays logged in
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

upload=${UPLOAD:-/upload}
saved_as=$upload/saved-as
database=$PGDATABASE
incoming=${database}_incoming
replaced=${database}_replaced
reserve_kib=65536

maintenance() { PGDATABASE=postgres sql "$@"; }

drop() {
  printf 'SET client_min_messages = warning; DROP DATABASE IF EXISTS :"name" WITH (FORCE);' | maintenance --set=name="$1"
}

# The file is complete once its checksum stands beside it: ops writes that last, when the app is stopped.
wait_for_upload() {
  waited=0
  until [ -f "$upload/database.dump.sha256" ]; do
    [ "$waited" -lt 3600 ] || fail "no file arrived within an hour"
    sleep 1
    waited=$((waited + 1))
  done
}

free_kib() { maintenance --file="$scripts/space.sql"; }

# Twice the data: the write-ahead log of a restore is about as large. A dump tells nothing of the size; tenfold is usual.
check_space() {
  needed=$(sed -n 's/.*"databaseBytes": \([0-9]*\).*/\1/p' "${dump%/*}/manifest.json" 2>/dev/null || true)
  needed=$((2 * ${needed:-$((10 * $(stat -c %s "$dump")))} / 1024 + 2 * reserve_kib))
  free=$(free_kib) || fail "the server's free space cannot be read"
  [ "$free" -ge "$needed" ] ||
    fail "the server's volume has $((free / 1024)) MiB free; $((needed / 1024)) MiB are needed to restore beside the old data"
}

# A server that cannot write its log stops, and does not start again before there is room. PostgreSQL removes a file of this
# name at every start, even before it recovers: what is set aside here is there when it is needed, whatever happens to us.
set_aside=base/pgsql_tmp/pgsql_tmp.restore
reserve() { on_the_server "mkdir -p ${set_aside%/*} && head -c $((1024 * reserve_kib)) /dev/zero >$set_aside"; }
give_back() { on_the_server "rm -f $set_aside"; }
on_the_server() { printf "COPY (SELECT WHERE false) TO PROGRAM :'command'" | maintenance --set=command="$1"; }

# patiently COMMAND...: until it succeeds. 300 s is many times the recovery of a server that has crashed.
patiently() {
  for _ in $(seq 100); do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 3
  done
  return 1
}

# Silently, for the reason is to be the last line. An attempt that replaces nothing takes no place among the dumps that
# are kept.
tidy_up() {
  [ "$swapping" = yes ] || [ ! -s "$saved_as" ] || remove_backup "$(cat "$saved_as")" 2>/dev/null || true
  patiently clear_away || say "$incoming is left behind; the next restore removes it"
}
clear_away() { give_back && drop "$incoming"; }

# In one transaction, at whose end the rows are counted.
restore() {
  PGDATABASE="$incoming" sql --set=generator="$(sed '/^\\gexec$/d' "$scripts/inventory.sql")" --file="$scripts/counting.sql" &&
    pg_restore --dbname="$incoming" --single-transaction --no-owner --no-privileges --no-password "$dump"
}

# save INVENTORY: a dump of the old data, where there is any.
save() {
  case $1 in
  '{"rows": {},'*) say "the database is empty: nothing to save" ;;
  *) KIND=before-restore NAME_FILE="$saved_as" sh "$scripts/backup.sh" ;;
  esac
}

# A client may connect between being thrown out and the renaming, which then gives up: try again. But a server that goes
# down right after the renaming does not answer either. Until that is known, what was saved is the only copy.
swap() {
  swapping=yes
  for _ in 1 2 3 4 5; do
    if rename; then return; fi
    patiently has_swapped || {
      trap - EXIT
      fail "the server does not say which data is in place: the restored data where it has a database $replaced (which" \
        "then holds the old data), else the old data"
    }
    [ "$swapped" = f ] || return 0
    sleep 1
  done
  swapping=no
  fail "clients keep connecting; the old data is untouched"
}
rename() {
  maintenance --set=database="$database" --set=incoming="$incoming" --set=replaced="$replaced" --file="$scripts/swap.sql"
}
has_swapped() {
  swapped=$(maintenance --set=incoming="$incoming" --set=replaced="$replaced" --file="$scripts/swapped.sql")
}

# The first process of a container gets no signal that it has no trap for, and this one would be killed 30 s later.
trap 'exit 143' TERM

touch "$backups/.restore-lock" || fail "$backups cannot be written to"
exec 8>"$backups/.restore-lock"
flock -n 8 || fail "another restore is running"

expected=
case ${RESTORE_FROM:?is the name of a backup, or upload} in
upload)
  say "waiting for the file"
  wait_for_upload
  dump=$upload/database.dump
  checksum=$(cat "$dump.sha256")
  ;;
*/* | .*) fail "RESTORE_FROM is the name of a backup, or upload; given: $RESTORE_FROM" ;;
*)
  is_backup "$backups/$RESTORE_FROM" ||
    fail "$RESTORE_FROM is no backup; there are:
$(list_backups invoicetron; list_backups before-restore)"
  dump=$backups/$RESTORE_FROM/database.dump
  checksum=$(manifest_value "$backups/$RESTORE_FROM" dumpSha256)
  expected=$(sed -n 's/^  "inventory": //p' "$backups/$RESTORE_FROM/manifest.json")
  ;;
esac
pg_restore --list "$dump" >/dev/null ||
  fail "the file is no dump in pg_dump's custom format, or one of a newer version than $(pg_restore --version)"

drop "$incoming" || fail "the database server does not answer"
drop "$replaced"
check_space

old=$(sql --file="$scripts/inventory.sql") || fail "the rows of the old data cannot be counted"

say "restoring beside the old data"
rm -f "$saved_as"
swapping=no
trap tidy_up EXIT
reserve || fail "no room can be set aside on the server's volume"
printf 'CREATE DATABASE :"name" TEMPLATE template0;' | maintenance --set=name="$incoming"
# Side by side, for each takes its time; all three must have succeeded before the databases change names.
restore &
restoring=$!
has_checksum "$dump" "$checksum" &
checking=$!
save "$old" &
saving=$!
restored=yes checked=yes saved=yes
wait "$restoring" || restored=no
wait "$checking" || checked=no
wait "$saving" || saved=no
[ "$restored" = yes ] || fail "the dump could not be restored; the old data is untouched"
[ "$checked" = yes ] || fail "$dump is damaged: it is not what was written; the old data is untouched"
[ "$saved" = yes ] || fail "the old data could not be saved first; it is untouched"

export PGDATABASE="$incoming"
found=$(sql --file="$scripts/counted.sql") || fail "the restored rows could not be counted; the old data is untouched"
[ -z "$expected" ] || compare "$expected" "$found"
[ -z "${RESTORE_EXPECT:-}" ] || compare "$RESTORE_EXPECT" "$found"
say "rows restored: $found"
if [ "${RESTORE_CLEAR_SESSIONS:-false}" = true ]; then
  sql --file="$scripts/clear-sessions.sql" || fail "the sessions could not be cleared; the old data is untouched"
  say "sessions cleared"
fi
# A backup brings its statistics along.
[ -n "$expected" ] || printf 'ANALYZE' | sql

swap
trap - EXIT
say "the restored data is in place"
give_back || say "$set_aside is left behind; the server's next start removes it"
drop "$replaced" || say "the old data is still there as the database $replaced; the next restore removes it"
sh "$scripts/retention.sh" prune before-restore || say "older dumps from before a restore could not be pruned"
