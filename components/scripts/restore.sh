#!/bin/sh
# Puts a backup, or a dump made elsewhere by pg_dump --format=custom, in the place of the database.
#
# The dump is restored into a database of its own, beside the old one, and compared there; then the two change names in one
# transaction (incoming.sh). So the old data stays as it was until the new data is complete and proved, whatever fails on the way. A dump
# of it is taken meanwhile, and removed where it was not needed.
# Leaves by a status other than 0, with the reason as the last line, where the old data is still in place, or where the
# server no longer says which is.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the database, as libpq reads them; the user is a superuser, or is made one by
#                                            `ops restore` for as long as this runs
#     RESTORE_LENT                           true: that has been done, and is undone at the end
#     OWNER                                  role that gets what is restored from elsewhere (PGUSER)
#     BACKUPS                                the backup volume (/backups); gets the dump of the old data
#     RESTORE_FROM                           name of a backup, `latest`, or `upload`: the file that `ops restore` brings
#     UPLOAD                                 folder in which it arrives, and where the script may write (/upload)
#     RESTORE_INTO                           name: nothing is replaced, and a database <live>_look_<name> holds the dump
#     RESTORE_EXPECT                         rows that must be there, as {"rows": {"invoices": 567}, "partial": true}
#     RESTORE_CLEAR_SESSIONS                 true: nobody stays logged in
#     RESTORE_SESSION_TABLES                 tables to empty for that, as ["user_sessions", "auth.logins"]; else those that
#                                            are known to hold sessions
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/incoming.sh
. "${0%/*}/incoming.sh"

upload=${UPLOAD:-/upload}
scratch=$upload
saved_as=$upload/saved-as
database=$PGDATABASE
incoming=${database}_incoming
replaced=${database}_replaced
reserve_kib=65536
place="the old data is untouched"
into=${RESTORE_INTO:+${database}_look_$RESTORE_INTO}
swapping=no

# The file is complete once its checksum stands beside it: ops writes that last, when the app is stopped.
wait_for_upload() {
  waited=0
  until [ -f "$upload/database.dump.sha256" ]; do
    [ "$waited" -lt 3600 ] || fail "no file arrived within an hour"
    sleep 1
    waited=$((waited + 1))
  done
}

# exists DATABASE: sets `found` to t or f.
exists() {
  found=$(printf "SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'name')" | maintenance --set=name="$1")
}

free_kib() { maintenance --file="$scripts/space.sql"; }

# Twice the data: the write-ahead log of a restore is about as large. A dump tells nothing of the size; tenfold is usual.
check_space() {
  needed=$(about "${MANIFEST:-/dev/null}" databaseBytes)
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

# Silently, since the reason has to be the last line. An attempt that replaces nothing takes no place among the dumps that
# are kept, and leaves no role.
tidy_up() {
  [ "$swapping" = yes ] || [ ! -s "$saved_as" ] || remove_backup "$(cat "$saved_as")" 2>/dev/null || true
  patiently clear_away || {
    say "$incoming is left behind; the next restore removes it"
    [ -z "$reason" ] || say "FAILED: $reason" >&2
  }
}
clear_away() {
  { give_back && drop "$incoming"; } >/dev/null || return
  [ "$swapping" = yes ] || remove_made_roles || true
}

# `ops restore` takes SUPERUSER back, too, unless it was killed. Silently, as above.
end() {
  [ "${RESTORE_LENT:-}" != true ] || printf 'ALTER ROLE CURRENT_USER NOSUPERUSER' | maintenance 2>/dev/null || true
  explain "$1"
}

leave() {
  tidy_up
  end "$1"
}

# save INVENTORY: a dump of the old data, where there is any.
save() {
  case $1 in
  '') ;;
  '{"rows": {},'*) say "the database is empty: nothing to save" ;;
  *) KIND=before-restore NAME_FILE="$saved_as" sh "$scripts/backup.sh" ;;
  esac
}

# The first process of a container gets no signal that it has no trap for, and this one would be killed 30 s later.
trap 'exit 143' TERM

touch "$backups/.restore-lock" || fail "$backups cannot be written to"
exec 8>"$backups/.restore-lock"
lock 8 "another restore is running"
# Not before: the other one still needs SUPERUSER.
trap 'end $?' EXIT

MANIFEST=
export MANIFEST
if [ "${RESTORE_FROM:-}" = latest ]; then
  RESTORE_FROM=$(list_backups "$PGDATABASE" | head -n 1)
  [ -n "$RESTORE_FROM" ] || fail "there is no backup in $backups"
  say "the newest backup is $RESTORE_FROM"
fi
case ${RESTORE_FROM:?is the name of a backup, or upload} in
upload)
  say "waiting for the file"
  wait_for_upload
  dump=$upload/database.dump
  checksum=$(cat "$dump.sha256")
  if [ -f "$upload/manifest.json" ]; then
    MANIFEST=$upload/manifest.json
    [ "$(manifest_value "$MANIFEST" dumpSha256)" = "$checksum" ] ||
      fail "the manifest that came with the file is another dump's: its checksum is not the file's"
  fi
  ;;
*/* | .*) fail "RESTORE_FROM is the name of a backup, or upload; given: $RESTORE_FROM" ;;
*)
  is_backup "$backups/$RESTORE_FROM" ||
    fail "$RESTORE_FROM is no backup; there are:
$(list_backups "$PGDATABASE"; list_backups before-restore; list_backups recovered)"
  dump=$backups/$RESTORE_FROM/database.dump
  MANIFEST=$backups/$RESTORE_FROM/manifest.json
  checksum=$(manifest_value "$MANIFEST" dumpSha256)
  ;;
esac
read_contents

drop "$incoming" || fail "the database server does not answer"
if [ -n "$into" ]; then
  exists "$into" || fail "the database server does not say whether there is a database $into"
  [ "$found" = f ] || fail "there is a database $into already: look into that, or first: --discard $RESTORE_INTO"
else
  drop "$replaced" || fail "what an earlier restore has left as $replaced cannot be dropped; the old data is untouched"
fi
check_space

old=
# What replaces nothing saves nothing first.
[ -n "$into" ] || old=$(catalog_sql --file="$scripts/inventory.sql") ||
  fail "the rows of the old data cannot be counted; it is untouched"

say "restoring beside the old data"
rm -f "$saved_as" || fail "$upload cannot be written to; the old data is untouched"
trap 'leave $?' EXIT
reserve || fail "no room can be set aside on the server's volume; the old data is untouched"
prepare
# Side by side, for each takes its time; all three must have succeeded before the databases change names.
fill &
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

prove
[ -z "${RESTORE_EXPECT:-}" ] || compare "$RESTORE_EXPECT" "$found"
say "rows restored: $found"
if [ "${RESTORE_CLEAR_SESSIONS:-false}" = true ]; then
  cleared=$(printf %s "${RESTORE_SESSION_TABLES:-[]}" | PGDATABASE="$incoming" sql --file="$scripts/clear-sessions.sql") ||
    fail "the sessions could not be cleared; the old data is untouched"
  say "sessions cleared: $cleared"
fi
# A backup brings its statistics along, since 18.
grep -q ' STATISTICS DATA ' "$scratch/contents" || printf 'ANALYZE' | PGDATABASE="$incoming" sql ||
  say "not all tables could be analyzed: autovacuum does the others"

if [ -n "$into" ]; then
  maintenance --set=incoming="$incoming" --set=into="$into" --set=from="${RESTORE_FROM}" --file="$scripts/look.sql" ||
    fail "the database cannot be given its name; the old data is untouched"
  trap 'end $?' EXIT
  give_back || say "$set_aside is left behind; the server's next start removes it"
  say "the database $into holds $RESTORE_FROM; nothing was replaced"
  exit 0
fi

swap
trap 'end $?' EXIT
place="the restored data is in place"
say "the restored data is in place"
[ -z "$changed" ] || say "put back as the backup has it, where this server takes it: $changed"
maintenance --set=database="$database" --file="$scripts/left-to-do.sql" || say "what is left to do cannot be read"
give_back || say "$set_aside is left behind; the server's next start removes it"
drop "$replaced" || say "the old data is still there as the database $replaced; the next restore removes it"
sh "$scripts/retention.sh" prune before-restore || say "older dumps from before a restore could not be pruned"
