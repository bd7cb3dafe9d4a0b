#!/bin/sh
# Takes one backup of the database, proves it readable, and only then gives it its name; then prunes.
# Leaves by a status other than 0, with the reason as the last line, where any of that fails.
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the database, as libpq reads them
#     BACKUPS                                the backup volume (/backups)
#     KIND                                   first part of the name (DATABASE): before-restore, recovered
#     DATABASE                               what the database is called in the names of backups (PGDATABASE)
#     NAME_FILE                              file that gets the name, once it is the backup's
#     KEEP_DAILY KEEP_WEEKLY KEEP_MONTHLY    see retention.sh
#     DUMP_COMPRESSION                       as pg_dump --compress takes it (gzip); `none` where copies are deduplicated
#     TAKEN_BY IMAGE                         who takes it, and the app's image at this moment, where that is known: for people
#     HOURLY_IF_SMALL                        true: a run of the schedule takes one a day only, unless dumps are small
#     RESULT                                 file that says what was backed up, now or last, and whether PGUSER is a superuser
#     PATIENCE                               seconds to wait for the server (600)
#     SEEN_SECONDS                           seconds to stay where the volume is nearly full (150)
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

database=${DATABASE:-$PGDATABASE}
kind=${KIND:-$database}
place="no backup was taken"

# label TEXT: what a line of the manifest and a tag of the copy can hold.
label() { printf %s "$1" | tr -cd 'A-Za-z0-9 @:/._+-'; }

# Asks without logging in, so that a wrong password still fails at once.
wait_for_server() {
  patience=$(($(seconds) + $1))
  trap 'exit 143' TERM # the first process of a container gets no signal that it has no trap for
  until answer=$(pg_isready); do
    [ "$(seconds)" -lt "$patience" ] || fail "no backup was taken: the server did not get ready within $1 s: $answer"
    [ -n "${waiting:-}" ] || say "waiting for the server: $answer"
    waiting=yes
    sleep 1
  done
  trap - TERM
}

# is_scheduled: the controller ends the names of the Jobs that it makes with the minute that they were due at, by its own
# clock, of which ours may be ahead or behind.
is_scheduled() {
  due=${TAKEN_BY##*-}
  case $due in
  '' | 0* | *[!0-9]* | ??????????*) return 1 ;;
  esac
  late=$(($(date +%s) / 60 - due))
  [ "${late#-}" -le 1440 ]
}

# is_due: whether a run of the hourly schedule is to take a backup. All of two days are kept (retention.sh), so a dump is small
# if as many as those and the daily, weekly and monthly ones fit into half of the volume, and if it takes no more than a minute.
is_due() {
  newest=$(list_backups "$database" | head -n 1)
  [ -n "$newest" ] || return 0
  bytes=$(manifest_value "$backups/$newest/manifest.json" dumpBytes)
  took=$(manifest_value "$backups/$newest/manifest.json" seconds)
  count=$((48 + ${KEEP_DAILY:-7} + ${KEEP_WEEKLY:-0} + ${KEEP_MONTHLY:-0}))
  small=$(df -Pk "$backups" | awk -v count="$count" 'NR == 2 { printf "%.0f", $2 * 1024 / 2 / count }')
  say "the last dump had $bytes bytes and took ${took:-0} s; small are $small bytes and 60 s"
  if [ "$bytes" -le "$small" ] && [ "${took:-0}" -le 60 ]; then return 0; fi
  # By the clock that dated both files: on NFS it is the server's, and .lock has just been touched. A backup of a time to come
  # was dated by a clock that was ahead, and says nothing of its age. Half an hour less than a day, because not every run
  # begins equally late.
  age=$(($(stat -c %Y "$backups/.lock") - $(stat -c %Y "$backups/$newest/manifest.json")))
  [ "$age" -lt 0 ] || [ "$age" -ge 84600 ]
}

# repeat_result BACKUP: says of one of this kind what its own run said; nothing of one whose manifest does not know all of it.
repeat_result() {
  manifest=$backups/$1/manifest.json
  took=$(manifest_value "$manifest" seconds)
  superuser=$(sed -n 's/^  "about": .*"superuser": \([a-z]*\).*/\1/p' "$manifest")
  [ -n "$took" ] && [ -n "$superuser" ] || return 0
  rows=$(rows_of "$manifest") bytes=$(manifest_value "$manifest" dumpBytes)
  result "{\"backup\": \"$1\", \"rows\": $rows, \"bytes\": $bytes, \"seconds\": $took, \"superuser\": $superuser}"
}

touch "$backups/.lock" || fail "$backups cannot be written to"
# pg_dump inherits the lock: where it outlives this shell, it still writes into the unfinished directory.
exec 9>"$backups/.lock"
lock 9 "another backup is being taken"
rm -rf "$backups"/.unfinished-* "$backups"/.pruned-*
# A fetch may be under way, whose Job ends after hours.
find "$backups" -maxdepth 1 -name '.fetched-*' -mtime +0 -exec rm -rf {} + || true

if [ "${HOURLY_IF_SMALL:-}" = true ] && is_scheduled; then
  is_due || {
    say "dumps are not small: one a day is taken, and the last is not a day old"
    # The pods of three runs are kept, so none that took it may be.
    repeat_result "$newest"
    exit 0
  }
fi

# A server that restarts or recovers at three must not cost the day's backup. Three tries of the Job with 600 s each leave
# half of its hour to the dump. A restore has just spoken to the server, and the app is stopped meanwhile.
if [ "$kind" = "$database" ]; then wait_for_server "${PATIENCE:-600}"; fi
started=$(seconds)

# On a new volume the numbers continue from those of the copies (upload.sh), or a fetched one would be the newest.
copied=$(cat "$backups/.offsite-copies" 2>/dev/null || true)
last=$({ list_names "$database"; list_names before-restore; list_names recovered; printf '%s\n' "$copied"; } |
  sed 's/.*-\([0-9]*\)-[^-]*$/\1/' | sort -n | tail -n 1)
# The leading 1 keeps the shell from reading 000010 as octal; it is cut off again.
number=$((1${last:-000000} + 1))
name=$kind-${number#1}-$(date -u +%Y%m%dT%H%M%SZ)
unfinished=$backups/.unfinished-$name
is_named_as_backup "$name" || fail "no number follows 999999: move the folder of that number out of $backups"
[ ! -e "$backups/$name" ] || fail "$backups/$name exists already"
mkdir "$unfinished" || fail "no backup was taken: $backups cannot be written to"
trap 'explain $?; rm -rf "$unfinished"' EXIT

say "dumping $PGDATABASE on $PGHOST as $name"
export DUMP="$unfinished/database.dump"
# pg_dump takes them along since 18.
STATISTICS=$(pg_dump --help | sed -n 's/^ *\(--statistics\) .*/\1/p')
export STATISTICS
tries=5
until catalog_sql --set=inventory="$unfinished/inventory" --set=about="$unfinished/about" \
  --set=globals_file="$unfinished/globals" --file="$scripts/snapshot.sql"; do
  tries=$((tries - 1))
  { [ -e "$DUMP.in-the-way" ] && [ "$tries" -gt 0 ]; } || fail "no backup was taken: the dump failed"
  rm "$DUMP.in-the-way"
  say "somebody changes a table at this moment: letting them pass"
  sleep 1
done
inventory=$(cat "$unfinished/inventory")
case $inventory in
'') fail "no backup was taken: the rows could not be counted" ;;
'{"rows": {},'*) fail "no backup was taken: the database has no tables yet" ;;
esac

contents=$(pg_restore --list "$DUMP") || fail "no backup was taken: the dump cannot be read back"
tables=$(printf '%s\n' "$contents" | grep -c ' TABLE DATA ' || true)
bytes=$(stat -c %s "$DUMP")
checksum=$(sha256sum <"$DUMP")
cat >"$unfinished/manifest.json" <<MANIFEST || fail "no backup was taken: the manifest could not be written"
{
  "format": 2,
  "name": "$name",
  "takenAt": "$(date -u +%FT%TZ)",
  "takenBy": "$(label "${TAKEN_BY:-}")",
  "image": "$(label "${IMAGE:-}")",
  "seconds": $(($(seconds) - started)),
  "dumpBytes": $bytes,
  "dumpSha256": "${checksum%% *}",
  "dumpTables": $tables,
  "about": $(cat "$unfinished/about"),
  "globals": $(cat "$unfinished/globals"),
  "inventory": $inventory
}
MANIFEST
superuser=$(sed -n 's/.*"superuser": \([a-z]*\).*/\1/p' "$unfinished/about")
rm "$unfinished/inventory" "$unfinished/globals" "$unfinished/about"

# pg_dump has synced the dump itself.
sync "$unfinished/manifest.json" "$unfinished" || fail "no backup was taken: it could not be written to disk"
mv -T "$unfinished" "$backups/$name" || fail "no backup was taken: it could not be given its name"
trap 'explain $?' EXIT
place="the backup $name is good"
sync "$backups"
took=$(($(seconds) - started)) rows=$(rows_of "$backups/$name/manifest.json")
result "{\"backup\": \"$name\", \"rows\": $rows, \"bytes\": $bytes, \"seconds\": $took, \"superuser\": $superuser}"
say "backup $name is complete: $tables tables, $bytes bytes, $took s"

[ -z "${NAME_FILE:-}" ] || printf '%s\n' "$name" >"$NAME_FILE"
# restore.sh prunes its own, once the restored data is in place. Of a recovered database nobody needs but the last dump.
[ "$kind" != recovered ] || say "rows: $(printf '%s' "$inventory" | sed -n 's/^{"rows": {\([^}]*\)}.*/\1/p')"
case $kind in
before-restore) exit 0 ;;
recovered) sh "$scripts/retention.sh" prune "$kind" || fail "the dump is good, but older ones could not be pruned"; exit 0 ;;
esac
sh "$scripts/retention.sh" prune "$kind" || fail "the backup is good, but old ones could not be pruned"

# No failure, or an alert on failures would hide the real ones to come. A large export that others fill is not nearly full
# for us while it has room for all that is kept once more.
kept=$(du -sk "$backups"/*/ 2>/dev/null | awk '{ kib += $1 } END { print kib }')
used=$(df -Pk "$backups" | awk -v kept="$kept" 'NR == 2 && $4 < kept { print int(100 * $3 / ($3 + $4)) }')
if [ "${used:-0}" -ge 80 ]; then
  say "NEARLY FULL: the backup is good, but its volume is $used % full: enlarge it or keep fewer"
  # The kubelet measures a volume while a pod uses it, and once a minute only (volumeStatsAggPeriod); Prometheus reads that
  # once a minute at the latest. A backup of seconds would leave the alert on volumes blind. Without the lock, or a migration's
  # backup, or a restore's of the old data, would fail meanwhile.
  exec 9>&-
  sleep "${SEEN_SECONDS:-150}"
fi
