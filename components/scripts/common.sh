# shellcheck shell=sh disable=SC2034
# What backup.sh, drill.sh and restore.sh share. A backup is a directory of the backup volume,
#
#     <kind>-<number>-<UTC time>/database.dump     pg_dump's custom format
#                               /manifest.json     what a restored copy must equal
#
# that got its name in one rename, after both files were complete, checked and on disk. The number grows by one with each
# backup and gives the order, so that a clock that jumps cannot make an old backup the newest.

backups=${BACKUPS:-/backups}
scripts=${0%/*}
reason=
place= # which data is in place, or what else a reader of the failure wants to know

# In every session, whatever somebody has set for the role or the database: nothing is cut short by a timeout, read-only,
# filtered by row security, done as another role or met by an event trigger of the dump; and a NULL in an array is none of the
# text "NULL". What carries passwords (user mappings, subscriptions) stays out of the server's log, and messages are in the
# language that is searched for here. What only a superuser may set, hand-over.sql has to grant to the app's role.
sessions() {
  printf -- '-c %s_timeout=0 ' statement lock transaction idle_in_transaction_session idle_session
  printf -- '-c %s ' role=none row_security=off session_replication_role=origin default_transaction_read_only=off \
    'default_transaction_isolation=read\ committed' standard_conforming_strings=on lc_messages=C client_min_messages=warning \
    log_statement=none log_min_duration_statement=-1 log_min_error_statement=panic "event_triggers=$1" \
    array_nulls=on temp_file_limit=-1 restrict_nonsystem_relation_kind= plpgsql.extra_errors=none
}
PGOPTIONS=$(sessions off)
PGCLIENTENCODING=UTF8
export PGOPTIONS PGCLIENTENCODING

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

seconds() { sed 's/\..*//' /proc/uptime; } # unlike the time of day, never set

fail() {
  reason=$*
  say "FAILED: $reason" >&2
  exit 1
}

# explain STATUS: where a command has ended the script that no `fail` follows, its last line still says so.
explain() {
  case $1:$reason in
  0:* | *:?*) ;;
  143:) say "FAILED: ended from outside (SIGTERM)${place:+; $place}" >&2 ;;
  *) say "FAILED: the step before this line ended with status $1${place:+; $place}" >&2 ;;
  esac
}
trap 'explain $?' EXIT

# lock DESCRIPTOR REASON: fails with the reason where somebody else holds the lock of this open file. An NFS export without
# a lock daemon holds nobody's, and gives none: what it says is not what a held lock is.
lock() {
  locked=0
  answer=$(flock -n "$1" 2>&1) || locked=$?
  case $locked:$answer in
  0:*) ;;
  1:) fail "$2" ;;
  *) fail "$backups cannot be locked: ${answer:-flock ended with status $locked}; an NFS export needs NFS 4 or a lock daemon" ;;
  esac
}

sql() { psql --no-psqlrc --no-password --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }

# catalog_sql OPTION...: in the app's database, whose owner may have made functions, operators and views that are found before
# PostgreSQL's own. We may be a superuser, who must call none of them (CVE-2018-1058).
catalog_sql() { PGOPTIONS="$PGOPTIONS -c search_path=pg_catalog,pg_temp" sql "$@"; }

# new_cluster FOLDER OPTION...: initdb, which works only for a user with a name. The pod's user has none in the images that are
# based on Debian; they contain nss_wrapper, with which their entrypoint gives it one (docker-library/postgres#359). FOLDER is
# for that name.
new_cluster() {
  named=$1/named
  shift
  for wrapper in ${NSS_WRAPPER:-/usr/lib/*/libnss_wrapper.so}; do
    if ! id -un >/dev/null 2>&1 && [ -s "$wrapper" ]; then
      printf 'postgres:x:%s:%s::/:\n' "$(id -u)" "$(id -g)" >"$named"
      LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=$named NSS_WRAPPER_GROUP=/etc/group initdb "$@"
      return
    fi
  done
  initdb "$@"
}

# manifest_value MANIFEST KEY: a number or plain text of its outer level.
manifest_value() { sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\$/\1/p" "$1"; }

# about MANIFEST KEY: a number of what it says of the server.
about() { sed -n "s/^  \"about\": .*\"$2\": \([0-9]*\).*/\1/p" "$1"; }

# rows_of MANIFEST: of all tables.
rows_of() {
  sed -n 's/^  "inventory": .*"rows": {\([^}]*\)}.*/\1/p' "$1" | tr ',' '\n' |
    awk '{ sub(/.*: /, ""); rows += $0 } END { printf "%d", rows }'
}

# result JSON: what the pod's status keeps of this run, for `ops verify` and `ops backups list`.
result() { printf '%s\n' "$*" >"${RESULT:-/dev/null}"; }

# is_named_as_backup DIRECTORY: has a name that backup.sh gives to what is complete.
is_named_as_backup() {
  case ${1##*/} in
  *-[0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
  *) return 1 ;;
  esac
}

# is_backup DIRECTORY: written by backup.sh, and both files still as long as they were.
is_backup() { is_named_as_backup "$1" && is_whole "$1" "${1##*/}"; }

# is_whole DIRECTORY NAME: holds all of the backup of this name.
is_whole() {
  [ -d "$1" ] && [ ! -L "$1" ] && [ -f "$1/manifest.json" ] && [ -f "$1/database.dump" ] &&
    [ "$(manifest_value "$1/manifest.json" name)" = "$2" ] && [ "$(tail -n 1 "$1/manifest.json")" = "}" ] &&
    [ "$(manifest_value "$1/manifest.json" dumpBytes)" = "$(stat -c %s "$1/database.dump")" ]
}

# list_names KIND: whatever is named as a backup, newest first.
list_names() {
  for directory in "$backups/$1"-*; do
    if is_named_as_backup "$directory"; then printf '%s\n' "${directory##*/}"; fi
  done | sort -r
}

# list_backups KIND: names of those that are whole, newest first.
list_backups() {
  list_names "$1" | while read -r name; do
    if is_backup "$backups/$name"; then printf '%s\n' "$name"; fi
  done
}

# remove_backup NAME: renamed first, so that a half-removed backup does not bear a backup's name.
remove_backup() {
  mv -T "$backups/$1" "$backups/.pruned-$1"
  rm -rf "$backups/.pruned-$1"
}

# has_checksum FILE SHA256
has_checksum() { [ "$(sha256sum <"$1")" = "$2  -" ]; }
