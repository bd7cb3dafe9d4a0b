#!/bin/sh
# Fills a volume with a data directory of these programs' major version, from a server of an earlier one, which it leaves as it
# was. A server of the new version runs in here for as long as that takes: a backup of the old one is restored into it, and
# compared, by the restore's own scripts. The data directory gets its name in one rename, when it is complete and on disk.
# Leaves by a status other than 0, with the reason as the last line, where there is no such directory.
#
#     upgrade.sh [--PARAMETER=VALUE...]      what the new server will be started with
#
#     PGHOST PGUSER PGPASSWORD PGDATABASE    the old server, as libpq reads them; the user is the app's role, which owns the
#                                            database, and is made a superuser by `ops upgrade` for as long as this runs
#     RESTORE_LENT                           true: that has been done, and is undone at the end
#     BACKUPS                                the backup volume (/backups); keeps the dump of the old data
#     UPLOAD                                 folder in which it may write (/upload)
#     VOLUME                                 the new volume (/var/lib/postgresql)
#     RESULT                                 file that says what was moved
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

upload=${UPLOAD:-/upload}
volume=${VOLUME:-/var/lib/postgresql}
major=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
# Where the image of this version looks for it (docker-library/postgres#1259), or makes an empty one.
complete=$volume/$major/docker
filling=$volume/$major/filling
log=$upload/server.log
saved_as=$upload/moved
place="the database is where it was, untouched"
started=$(seconds)
done=no

# new ROLE COMMAND...: as a role of the new server, which only its socket leads to.
new() {
  as=$1
  shift
  PGHOST=$upload PGHOSTADDR="" PGUSER=$as "$@"
}

stop() { pg_ctl --pgdata="$filling" --mode="$1" --timeout=300 --silent stop; }

# in_background COMMAND...: so that the end of the pod is not waited for until the command has ended.
in_background() {
  "$@" &
  wait $!
}

leave() {
  if [ "$done" = no ]; then
    stop immediate 2>/dev/null || true
    rm -rf "$filling"
    [ ! -s "$saved_as" ] || remove_backup "$(cat "$saved_as")" 2>/dev/null || true
  fi
  # `ops upgrade` does so, too, unless it was killed.
  [ "${RESTORE_LENT:-}" != true ] || printf 'ALTER ROLE CURRENT_USER NOSUPERUSER' | PGDATABASE=postgres sql 2>/dev/null || true
  explain "$1"
}

trap 'exit 143' TERM
touch "$backups/.upgrade-lock" || fail "$backups cannot be written to"
exec 7>"$backups/.upgrade-lock"
lock 7 "another upgrade is running"
trap 'leave $?' EXIT

# The one server that clients reach is the one in use: while that is older, nobody uses a directory of this version.
version=$(sql --command='SHOW server_version_num') || fail "the database server does not answer"
[ "$((version / 10000))" -lt "$major" ] ||
  fail "the database is on PostgreSQL $((version / 10000)) already, and the programs here are of $major"
[ ! -e "$complete/postmaster.pid" ] || fail "a server runs on $complete"
inventory=$(catalog_sql --file="$scripts/inventory.sql") || fail "the rows of the database cannot be counted"
rm -f "$saved_as"
# Renamed first, so that what is half removed does not bear the name of what is complete.
rm -rf "$filling"
[ ! -e "$complete" ] || mv -T "$complete" "$filling"
rm -rf "$filling"

# As the image does it where it finds nothing, so that the server is what it would be in a new stack.
say "making a data directory of PostgreSQL $major"
mkdir -p "$volume/$major" || fail "$volume cannot be written to"
printf '%s\n' "$PGPASSWORD" |
  new_cluster "$upload" --pgdata="$filling" --username="$PGUSER" --pwfile=/dev/stdin --no-sync >"$log" 2>&1 ||
  fail "initdb: $(tail -n 3 "$log")"
printf '\nhost all all all scram-sha-256\n' >>"$filling/pg_hba.conf"

unknown=
for parameter in "$@"; do
  name=${parameter#--}
  name=${name%%=*}
  said=$(postgres -D "$filling" "$parameter" -C "$name" 2>&1 >/dev/null) || unknown="$unknown
  $name: $(printf '%s\n' "$said" | sed -n 's/.*FATAL:  //p' | head -n 1)"
done
[ -z "$unknown" ] || fail "PostgreSQL $major does not take what database.parameters says:$unknown"

# Until it is complete, nobody needs it after a crash, and nothing waits for the disk.
pg_ctl --pgdata="$filling" --log="$log" --silent --timeout=120 start \
  --options="$* -c listen_addresses= -c unix_socket_directories='$upload' -c fsync=off -c full_page_writes=off" ||
  fail "the new server did not start: $(tail -n 5 "$log")"
new "$PGUSER" createdb --maintenance-db=postgres "$PGDATABASE" || fail "the new server makes no database"
new "$PGUSER" sql --set=role="$PGUSER" --set=monitor= --file="$scripts/hand-over.sql" ||
  fail "the new server's superuser cannot be made a role of its own"

passwords=$(catalog_sql --set=owner= --set=administrator= --file="$scripts/passwords.sql") ||
  fail "the roles' passwords cannot be read: $PGUSER is no superuser"
printf '%s\n' "$passwords" | new postgres sql --file="$scripts/take-passwords.sql" ||
  fail "the roles and their passwords cannot be taken over"
unset passwords

case $inventory in
'{"rows": {},'*) say "the database has no tables yet: nothing to move" ;;
*)
  KIND=before-restore NAME_FILE=$saved_as in_background sh "$scripts/backup.sh" || fail "the old data could not be dumped"
  printf 'ALTER ROLE :"role" SUPERUSER' | new postgres sql --set=role="$PGUSER" || fail "the new server gives no superuser"
  RESTORE_LENT=true RESTORE_FROM=$(cat "$saved_as") in_background new "$PGUSER" sh "$scripts/restore.sh" ||
    fail "the old data could not be restored into PostgreSQL $major"
  ;;
esac

say "writing it to disk"
in_background stop fast || fail "the new server does not stop"
in_background initdb --pgdata="$filling" --sync-only >/dev/null || fail "the new data could not be written to disk"
mv -T "$filling" "$complete" || fail "the new data directory could not be given its name"
sync "$volume/$major"
done=yes
place="the new data directory is complete"
[ ! -s "$saved_as" ] || result "{\"upgraded\": $major, \"backup\": \"$(cat "$saved_as")\"}"
say "PostgreSQL $major has all of it, $(($(seconds) - started)) s"
