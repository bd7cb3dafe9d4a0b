#!/bin/sh
# Restores the newest backup into a PostgreSQL of its own, by the code that a restore uses (incoming.sh), and compares it with
# its manifest. Needs no network.
# Leaves by a status other than 0, with the reason as the last line, where the backup would not have saved anybody,
# or where any backup has lost something since it was taken.
#
#     BACKUPS              the backup volume (/backups), may be read-only
#     DRILL                an empty folder for the server's data (/drill)
#     DRILLED_FROM         where the backups are: volume or s3
#     RESULT               file that says what was restored
#     PGUSER PGDATABASE    names that the restored copy gets
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"
# shellcheck source=components/scripts/incoming.sh
. "${0%/*}/incoming.sh"

drill=${DRILL:-/drill}
started=$(seconds)
scratch=$drill
database=$PGDATABASE incoming=${PGDATABASE}_incoming replaced=${PGDATABASE}_replaced
export PGHOST="$drill"

for name in $(list_names "$PGDATABASE"; list_names before-restore); do
  # What is gone by now has been pruned.
  is_backup "$backups/$name" || [ ! -e "$backups/$name" ] ||
    fail "$backups/$name is no whole backup any more: its dump or its manifest is lost or shortened; move it away"
done
name=$(list_backups "$PGDATABASE" | head -n 1)
[ -n "$name" ] || fail "there is no backup in $backups"
backup=$backups/$name
dump=$backup/database.dump
MANIFEST=$backup/manifest.json
export MANIFEST
say "restoring $name, taken at $(manifest_value "$MANIFEST" takenAt)"
has_checksum "$dump" "$(manifest_value "$MANIFEST" dumpSha256)" ||
  fail "$dump is damaged: its checksum is not the manifest's"

trap 'explain $?; pg_ctl --pgdata="$drill/data" --mode=immediate --silent stop || true; rm -rf "$drill/data"' EXIT
# The first role has a name of its own, as where the app's is no superuser: here it is one beside that.
new_cluster "$drill" --pgdata="$drill/data" --username=postgres --auth=trust --encoding=UTF8 --no-sync >"$drill/log" 2>&1 ||
  fail "initdb: $(tail -n 3 "$drill/log")"
# As many locks as the server has that the backup is of: a restore there has to make do with them.
locks="-c max_connections=$(about "$MANIFEST" connections) -c max_locks_per_transaction=$(about "$MANIFEST" locksPerTransaction)"
case $locks in
*'= '* | *=) locks= ;; # a backup of an earlier release
esac
# Nobody needs this copy after a crash, so nothing waits for the disk.
pg_ctl --pgdata="$drill/data" --log="$drill/log" --silent --timeout=120 start \
  --options="$locks -c listen_addresses= -c unix_socket_directories='$drill' -c fsync=off -c full_page_writes=off" ||
  fail "the server did not start: $(tail -n 5 "$drill/log")"

createuser --username=postgres --superuser "$PGUSER" || fail "the role $PGUSER cannot be made"
createdb --maintenance-db=postgres "$database" || fail "the database to be replaced cannot be made"
read_contents
prepare
fill || fail "$name cannot be restored"
prove
swap
drop "$replaced" || fail "the replaced database cannot be dropped"
different=$(maintenance --set=database="$database" --set=owner="$owner" --file="$scripts/differences.sql") ||
  fail "the restored database cannot be compared with the backup's"
[ -z "$different" ] || fail "what was restored is not what is expected:
$different"
seconds=$(($(seconds) - started))
say "$name restores completely: $(manifest_value "$MANIFEST" dumpTables) tables, $seconds s"
result "{\"drilled\": \"$name\", \"from\": \"${DRILLED_FROM:-volume}\", \"rows\": $(rows_of "$MANIFEST"), \"seconds\": $seconds}"
