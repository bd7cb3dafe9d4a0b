#!/bin/sh
# Moves the data of a database to another server: closes the old one, backs it up, and restores the backup in the new server
# with all that restore.sh proves. The old one keeps its data, under another name, so that no client finds a database at its address.
# Leaves by a status other than 0, with the reason as the last line, where the new server does not hold the data.
#
#     PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE    the new server, as restore.sh reads them, and the database's name in both
#     SOURCE_PGHOST SOURCE_PGPORT SOURCE_PGUSER SOURCE_PGPASSWORD SOURCE_PGCONNECT_TIMEOUT    the old one; the user is a
#                                                   superuser there, or is made one by `ops move-database` meanwhile
#     UPLOAD                                        where the script may write (/upload)
#     MOVE                                          fill; or give-back: the old database gets its name back
#     RESTORE_LENT, and what backup.sh reads
set -eu
umask 077
# shellcheck source=components/scripts/common.sh
. "${0%/*}/common.sh"

database=$PGDATABASE
closed=${database}_moved
name_file=${UPLOAD:-/upload}/moved-as
place="the old database is as it was"

maintenance() { PGDATABASE=postgres sql "$@"; }

at_target() { "$@"; }

at_source() (
  PGHOST=$SOURCE_PGHOST PGPORT=$SOURCE_PGPORT PGUSER=$SOURCE_PGUSER PGPASSWORD=$SOURCE_PGPASSWORD
  PGCONNECT_TIMEOUT=$SOURCE_PGCONNECT_TIMEOUT
  export PGHOST PGPORT PGUSER PGPASSWORD PGCONNECT_TIMEOUT
  "$@"
)

# there: `open`, `closed`, `both` or `none` of the names, in the server that is asked.
there() {
  printf "SELECT coalesce((SELECT CASE WHEN count(*) = 2 THEN 'both' WHEN bool_or(datname = :'open') THEN 'open'
    WHEN count(*) = 1 THEN 'closed' END FROM pg_database WHERE datname IN (:'open', :'closed')), 'none')" |
    maintenance --set=open="$database" --set=closed="$closed"
}

# rename FROM TO: ends all sessions. A client may connect again before the renaming, which then gives up.
rename() {
  for _ in 1 2 3 4 5; do
    if maintenance --set=from="$1" --set=to="$2" --file="$scripts/rename.sql"; then return 0; fi
    sleep 1
  done
  return 1
}

# open_again SERVER: gives the database its name back.
open_again() {
  state=$("$@" there) || fail "the server does not answer"
  case $state in
  closed) "$@" rename "$closed" "$database" || fail "the database $closed cannot be given the name $database" ;;
  both) fail "there are $database and $closed: the data is in $closed; drop the other by hand, and run this again" ;;
  esac
}

if [ "${MOVE:?is fill, or give-back}" = give-back ]; then
  open_again at_source
  say "the old database is open again"
  exit 0
fi

# What a move in the other direction has left in the new server, if any: restore.sh saves and replaces it.
open_again at_target
state=$(at_source there) || fail "the old server does not answer"
case $state in
open)
  at_source rename "$database" "$closed" || fail "the old database cannot be closed"
  ;;
closed) say "the old database is closed already" ;;
both) fail "the old server has $database and $closed: the data is in $closed; drop the other by hand, and run this again" ;;
none) fail "the old server has no database $database" ;;
esac
place="the old database is closed, and holds what it held"
say "the old database is closed"

unset HOURLY_IF_SMALL KIND
rm -f "$name_file" || fail "${name_file%/*} cannot be written to"
at_source env DATABASE="$database" PGDATABASE="$closed" NAME_FILE="$name_file" SEEN_SECONDS=0 sh "$scripts/backup.sh" || {
  trap - EXIT # it has said why
  exit 1
}
passwords=$(at_source maintenance --set=owner="${OWNER:-$database}" --set=administrator="$SOURCE_PGUSER" \
  --file="$scripts/passwords.sql") ||
  fail "the passwords of the old server's roles cannot be read"
printf '%s\n' "$passwords" | maintenance --file="$scripts/take-passwords.sql" ||
  fail "the new server does not take the passwords of the old one's roles"
unset passwords
RESTORE_FROM=$(cat "$name_file")
export RESTORE_FROM
# In the place of this shell: a pod that is to end gives its signal to its first process only.
exec sh "$scripts/restore.sh"
