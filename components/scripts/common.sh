# shellcheck shell=sh
# What backup.sh, drill.sh and restore.sh share. A backup is a directory of the backup volume,
#
#     <kind>-<number>-<UTC time>/database.dump     pg_dump's custom format
#                               /manifest.json     what a restored copy must equal
#
# that got its name in one rename, after both files were complete, checked and on disk. The number grows by one with each
# backup and gives the order, so that a clock that jumps cannot make an old backup the newest.

backups=${BACKUPS:-/backups}
scripts=${0%/*}

say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*"; }

fail() {
  say "FAILED: $*" >&2
  exit 1
}

sql() { psql --no-psqlrc --no-password --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }

# manifest_value DIRECTORY KEY: a number or plain text of the manifest's outer level.
manifest_value() { sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\$/\1/p" "$1/manifest.json"; }

# is_named_as_backup DIRECTORY: has a name that backup.sh gives to what is complete.
is_named_as_backup() {
  case ${1##*/} in
  *-[0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z) ;;
  *) return 1 ;;
  esac
}

# is_backup DIRECTORY: written by backup.sh, and both files still as long as they were.
is_backup() {
  is_named_as_backup "$1" &&
    [ -d "$1" ] && [ ! -L "$1" ] && [ -f "$1/manifest.json" ] && [ -f "$1/database.dump" ] &&
    [ "$(manifest_value "$1" name)" = "${1##*/}" ] && [ "$(tail -n 1 "$1/manifest.json")" = "}" ] &&
    [ "$(manifest_value "$1" dumpBytes)" = "$(stat -c %s "$1/database.dump")" ]
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

# compare EXPECTED FOUND: fails with every table whose rows differ; both are inventories, see compare.sql.
compare() {
  differences=$(sql --set=expected="$1" --set=found="$2" --file="$scripts/compare.sql") ||
    fail "the restored rows cannot be compared"
  [ -z "$differences" ] || fail "what was restored is not what is expected:
$differences"
}
